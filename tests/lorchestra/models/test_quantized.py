"""Quantized base files: `check` and `bake` name the same quantization; neither says that the LoRA is for another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.gguf_files import gguf, tensor
from support.lora_files import factors, named, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.errors import CheckpointError
from lorchestra.fit.outcome import COMPATIBLE, UNKNOWN, check_file
from lorchestra.lora.examined import read_examined
from lorchestra.models.base import read_base_model
from lorchestra.stack import Entry, Stack

LAYERS = {"double_blocks.0.img_attn.qkv": (192, 64), "single_blocks.0.linear2": (64, 320)}
"""FLUX.1's, at widths that cost nothing."""

Format = Callable[[str, int, int], dict[str, Tensor]]


def bytes_of(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


def int8(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int8)


def int32(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32)


def bitsandbytes(kind: str) -> Format:
    def tensors(layer: str, out: int, inner: int) -> dict[str, Tensor]:
        return {
            f"{layer}.weight": bytes_of(out * inner // 2, 1),
            f"{layer}.weight.absmax": bytes_of(out * inner // 64),
            f"{layer}.weight.quant_map": torch.zeros(16),
            f"{layer}.weight.quant_state.bitsandbytes__{kind}": bytes_of(80),
        }

    return tensors


FORMATS: dict[str, tuple[str, str, Format]] = {
    "NF4": ("bitsandbytes NF4", COMPATIBLE, bitsandbytes("nf4")),
    "FP4": ("bitsandbytes FP4", COMPATIBLE, bitsandbytes("fp4")),
    "LLM.int8": (
        "bitsandbytes int8", COMPATIBLE,
        lambda layer, out, inner: {f"{layer}.weight": int8(out, inner), f"{layer}.SCB": torch.zeros(out)},
    ),
    "GPTQ": (
        "GPTQ", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.qweight": int32(inner // 8, out), f"{layer}.qzeros": int32(1, out // 8),
            f"{layer}.scales": torch.zeros(1, out), f"{layer}.g_idx": int32(inner),
        },
    ),
    "AWQ": (
        "AWQ", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.qweight": int32(inner, out // 8), f"{layer}.qzeros": int32(1, out // 8),
            f"{layer}.scales": torch.zeros(1, out),
        },
    ),
    "SVDQuant": (
        "SVDQuant, for Nunchaku", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.qweight": int8(out, inner // 2), f"{layer}.wscales": torch.zeros(inner // 64, out),
            f"{layer}.smooth_factor": torch.zeros(inner), f"{layer}.proj_down": torch.zeros(inner, 32),
            f"{layer}.proj_up": torch.zeros(out, 32),
        },
    ),
    "quanto": (
        "quanto", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.weight._data": int8(out, inner), f"{layer}.weight._scale": torch.zeros(out, 1)
        },
    ),
    "torchao": (
        "torchao", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.weight.int_data": int8(out, inner), f"{layer}.weight.scale": torch.zeros(out)
        },
    ),
    "int8 with scales": (
        "int8", COMPATIBLE,
        lambda layer, out, inner: {f"{layer}.weight": int8(out, inner), f"{layer}.weight_scale": torch.zeros(out)},
    ),
    "NVFP4": (
        "NVFP4", COMPATIBLE,
        lambda layer, out, inner: {
            f"{layer}.weight": bytes_of(out, inner // 2), f"{layer}.weight_scale_2": torch.zeros(()),
            f"{layer}.weight_scale": torch.zeros(out, inner // 16).to(torch.float8_e4m3fn),
        },
    ),
    "AWQ of ComfyUI": (
        "AWQ with 4 bits", COMPATIBLE,
        lambda layer, out, inner: {
            f"{layer}.weight": int8(out, inner // 2), f"{layer}.weight_scale": torch.zeros(inner // 32, out),
            f"{layer}.weight_zeros": torch.zeros(inner // 32, out),
        },
    ),
    "compressed-tensors": (
        "compressed-tensors", UNKNOWN,
        lambda layer, out, inner: {
            f"{layer}.weight_packed": int32(out, inner // 8), f"{layer}.weight_scale": torch.zeros(out, 1)
        },
    ),
    "HQQ": ("HQQ", UNKNOWN, lambda layer, out, inner: {f"{layer}.W_q": bytes_of(out // 2, inner)}),
}  # fmt: skip


def lora(folder: Path) -> Path:
    tensors: dict[str, Tensor] = {}
    for layer, shape in LAYERS.items():
        tensors |= named(f"lora_unet_{layer.replace('.', '_')}", factors(shape))
    return write(folder / "lora.safetensors", tensors)


@pytest.mark.parametrize("name", FORMATS)
def test_check_and_bake_say_the_same(name: str, tmp_path: Path) -> None:
    title, verdict, tensors_of = FORMATS[name]
    tensors = {"img_in.weight": weight((64, 16), dtype=torch.float16)}
    for layer, (out, inner) in LAYERS.items():
        tensors |= tensors_of(layer, out, inner)
    base, file = write(tmp_path / "base.safetensors", tensors), lora(tmp_path)
    sentence = f"the model's weights are quantized ({title})"
    found = check_file(read_examined(file), read_base_model(base))
    assert found.verdict == verdict and sentence in found.finding
    if verdict == COMPATIBLE:
        assert found.finding.startswith("all 2 modules fit; ")
    with pytest.raises(CheckpointError) as refused:
        bake(base, Stack((Entry(str(file)),)).checked(), tmp_path / "out.safetensors")
    assert sentence in refused.value.reason and "nothing can be baked into this file" in refused.value.reason
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_quantization_left_alone_can_be_baked(name: str, tmp_path: Path) -> None:
    """A LoRA for layers that are not packed."""
    _, _, tensors_of = FORMATS[name]
    tensors = {"img_in.weight": weight((64, 16), dtype=torch.float16)}
    for layer, (out, inner) in LAYERS.items():
        tensors |= tensors_of(layer, out, inner)
    base = write(tmp_path / "base.safetensors", tensors)
    file = write(tmp_path / "lora.safetensors", named("lora_unet_img_in", factors((64, 16))))
    done = bake(base, Stack((Entry(str(file)),)).checked(), tmp_path / "out.safetensors")
    assert done.changed == 1


def test_a_gguf_file(tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(gguf(tensors=[tensor(f"{layer}.weight", shape) for layer, shape in LAYERS.items()]))
    file = lora(tmp_path)
    found = check_file(read_examined(file), read_base_model(base))
    assert found.verdict == COMPATIBLE and "quantized (GGUF)" in found.finding
    with pytest.raises(CheckpointError, match=r"the model's weights are quantized \(GGUF\): nothing can be baked"):
        bake(base, Stack((Entry(str(file)),)).checked(), tmp_path / "out.safetensors")
