"""Writes safetensors files byte by byte, in the order given, and makes the tensors of LoRAs and small checkpoints."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

torch.set_num_threads(1)  # the tests' products are small: threads would only wait for each other

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64",
}  # fmt: skip

SUFFIXES: Mapping[str, Mapping[str, str]] = {
    "kohya": {"down": ".lora_down.weight", "up": ".lora_up.weight", "mid": ".lora_mid.weight", "alpha": ".alpha"},
    "PEFT": {"down": ".lora_A.weight", "up": ".lora_B.weight"},
    "PEFT with an adapter's name": {"down": ".lora_A.default.weight", "up": ".lora_B.default.weight"},
    "Mochi": {"down": ".lora_A", "up": ".lora_B"},
    "diffusers": {"down": ".lora.down.weight", "up": ".lora.up.weight"},
    "diffusers processors": {"down": "_lora.down.weight", "up": "_lora.up.weight"},
    "diffusers text encoders": {"down": ".lora_linear_layer.down.weight", "up": ".lora_linear_layer.up.weight"},
}
"""Every way to write the slots of a plain LoRA; `.alpha` and `.lora_mid.weight` go with any of them."""


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Writes a file; the header's keys stand in the order of `tensors`."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    blocks: list[bytes] = []
    position = 0
    for name, tensor in tensors.items():
        block = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, position + len(block)],
        }
        blocks.append(block)
        position += len(block)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))
    return path


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, through the safetensors library."""
    from safetensors.torch import load_file

    return load_file(path)


def named(module: str, parts: Mapping[str, Tensor], spelling: str = "kohya") -> dict[str, Tensor]:
    """The parts under their names in a file."""
    suffixes = {**SUFFIXES["kohya"], **SUFFIXES[spelling]}
    return {module + suffixes[part]: tensor for part, tensor in parts.items()}


def factors(
    shape: tuple[int, ...],
    rank: int = 4,
    *,
    seed: int = 0,
    size: float = 0.03,
    alpha: float | None = None,
    tucker: bool = False,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """A LoRA for a weight of this shape; the elements of its update are about as large as `size`, before alpha."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*lengths: int) -> Tensor:
        return torch.randn(lengths, generator=generator)

    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    parts = {"up": noise(out, rank, *ones) * (size / rank**0.5)}
    if tucker:
        parts["down"] = noise(rank, inner, *ones) / rank**0.5
        parts["mid"] = noise(rank, rank, *kernel)
    else:
        parts["down"] = noise(rank, inner, *kernel)
    parts = {part: tensor.to(dtype) for part, tensor in parts.items()}
    if alpha is not None:
        parts["alpha"] = torch.tensor(alpha, dtype=dtype)
    return parts


def weight(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """A weight as large as those of real models."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed)) * 0.03).to(dtype)


@contextlib.contextmanager
def locked(path: Path, mode: int) -> Iterator[None]:
    """A file or folder with other rights, and this process without root's right to ignore them."""
    if os.name == "nt":
        pytest.skip("Windows has other rights")
    user, before = os.geteuid(), path.stat().st_mode
    path.chmod(mode)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(before)


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may look into; pytest's own is for one user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


BLOCK = "input_blocks.1.1.transformer_blocks.0"
DIFFUSERS_BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
UNET_SHAPES: Mapping[str, tuple[int, ...]] = {
    "input_blocks.0.0": (32, 4, 3, 3),
    "input_blocks.1.0.in_layers.2": (32, 32, 3, 3),
    "input_blocks.1.0.emb_layers.1": (32, 48),
    "input_blocks.1.1.proj_in": (32, 32, 1, 1),
    f"{BLOCK}.attn1.to_q": (32, 32),
    f"{BLOCK}.attn1.to_out.0": (32, 32),
    f"{BLOCK}.attn2.to_k": (32, 24),
    f"{BLOCK}.ff.net.0.proj": (96, 32),
    "input_blocks.2.0.op": (32, 32, 3, 3),
}
"""Native names of a part of a Stable Diffusion UNet, at widths that cost nothing."""


def unet(dtype: torch.dtype = torch.float16, prefix: str = "model.diffusion_model.") -> dict[str, Tensor]:
    """The tensors of `UNET_SHAPES` as a checkpoint names them."""
    return {
        f"{prefix}{name}.weight": weight(shape, number, dtype)
        for number, (name, shape) in enumerate(UNET_SHAPES.items())
    }
