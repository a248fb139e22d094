"""Made-up LoRA files: the same layers with the same numbers in every spelling that trainers use."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from ..architectures.unet import diffusers_names
from ..errors import AdapterError, LorchestraError
from .checkpoint import Shape, clip_shapes, unet_shapes

Spelling = Literal["kohya", "diffusers-processor", "diffusers", "peft", "native"]
"""How the layer input_blocks.1.1.transformer_blocks.0.attn1.to_q is written, and a layer of the text encoder:

kohya: `lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight`, `lora_te_text_model_….lora_down.weight`, with alpha
diffusers-processor: `unet.….attn1.processor.to_q_lora.down.weight`, `text_encoder.….lora_linear_layer.down.weight`
diffusers: `unet.….attn1.to_q.lora.down.weight`, `text_encoder.….lora.down.weight`
peft: `unet.….attn1.to_q.lora_A.weight`, `text_encoder.….lora_A.weight`
native: `diffusion_model.input_blocks.1.1.….lora_A.weight`, `text_encoders.clip_l.transformer.….lora_A.weight`
"""
SPELLINGS: tuple[Spelling, ...] = get_args(Spelling)
_TEXT = "text_model."


def layers(*patterns: str) -> dict[str, Shape]:
    """Native name → weight shape of the demo checkpoint's layers that match any of the patterns; all without one.

    Pattern: `*.attn1.to_q`. The UNet's layers have no prefix, those of the text encoder begin with `text_model.`.
    """
    shapes = {**unet_shapes(), **clip_shapes()}
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if len(shape) >= 2
        and "embedding" not in name
        and (not patterns or any(fnmatchcase(name.removesuffix(".weight"), pattern) for pattern in patterns))
    }


def write_lora(
    path: Path,
    targets: Mapping[str, Shape],
    spelling: Spelling = "kohya",
    *,
    rank: int = 4,
    alpha: float | None = None,
    seed: int = 0,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float16,
    tucker: bool = False,
    names: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Writes a LoRA for `targets` (native layer name → weight shape, see `layers`) and returns its path.

    `alpha` None means `rank`. Spellings without a tensor for alpha get alpha / rank multiplied into the up half, so
    that all spellings describe the same update. `scale` is how large that update is beside the demo checkpoint's own
    weights at alpha = rank. 3 × 3 convolutions become LoCon, or with `tucker` (kohya only) the three-part form with
    `lora_mid`. `names` says how diffusers calls the UNet's layers; None means those of the demo checkpoint.

    Raises `AdapterError` for a layer that the spelling has no words for.
    """
    if tucker and spelling != "kohya":
        raise LorchestraError(f"{path}: the Tucker form (lora_mid) exists in the kohya spelling, not in {spelling}.")
    known = diffusers_names(name.rsplit(".", 1)[0] for name in unet_shapes()) if names is None else names
    ratio = 1.0 if alpha is None else alpha / rank
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in targets.items():
        parts = factors(name, shape, rank, seed=seed, scale=scale, tucker=tucker)
        if spelling == "kohya":
            parts["alpha"] = torch.tensor(rank * ratio)
        else:
            parts["up"] = parts["up"] * ratio
        for part, tensor in parts.items():
            tensors[_key(path, name, part, spelling, known)] = tensor.to(dtype).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"format": "pt", **(metadata or {})})
    return path


def factors(
    name: str, shape: Shape, rank: int, *, seed: int = 0, scale: float = 1.0, tucker: bool = False
) -> dict[str, torch.Tensor]:
    """`down`, `up` and, for Tucker, `mid` of one layer in fp32, without alpha; the update is up · (mid ·) down.

    Linear [out, in]: down [rank, in], up [out, rank]. Convolution [out, in, k, k]: down [rank, in, k, k],
    up [out, rank, 1, 1]; Tucker: down [rank, in, 1, 1], mid [rank, rank, k, k].
    """
    width_out, width_in, *kernel = shape
    ones = [1] * len(kernel)
    with_mid = tucker and math.prod(kernel) > 1
    parts = {
        "down": _noise(name, "down", [rank, width_in, *(ones if with_mid else kernel)], seed),
        "up": _noise(name, "up", [width_out, rank, *ones], seed) * scale,
    }
    if with_mid:
        parts["mid"] = _noise(name, "mid", [rank, rank, *kernel], seed)
    return parts


def _noise(name: str, part: str, shape: list[int], seed: int) -> torch.Tensor:
    """Noise of which a product has about the size of one factor: divided by the root of what is summed over."""
    digest = hashlib.sha256(f"lora {seed} {name} {part}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))


def _key(path: Path, name: str, part: str, spelling: Spelling, known: Mapping[str, str]) -> str:
    if name.startswith(_TEXT):
        return _text_key(name, part, spelling)
    if spelling == "native":
        return f"diffusion_model.{name}{_PEFT[part]}"
    words = known.get(name)
    if words is None:
        raise AdapterError(path, name, f"diffusers has no name for this layer, so the spelling {spelling} has none.")
    if spelling == "kohya":
        return f"lora_unet_{words.replace('.', '_')}{_KOHYA[part]}"
    if spelling == "peft":
        return f"unet.{words}{_PEFT[part]}"
    if spelling == "diffusers":
        return f"unet.{words}.lora.{part}.weight"
    attention, dot, leaf = words.removesuffix(".0").rpartition(".")
    if not dot or not leaf.startswith("to_"):
        raise AdapterError(path, name, "the spelling diffusers-processor has words for attention layers only.")
    return f"unet.{attention}.processor.{leaf}_lora.{part}.weight"


def _text_key(name: str, part: str, spelling: Spelling) -> str:
    if spelling == "kohya":
        return f"lora_te_{name.replace('.', '_')}{_KOHYA[part]}"
    if spelling == "native":
        return f"text_encoders.clip_l.transformer.{name}{_PEFT[part]}"
    if spelling == "peft":
        return f"text_encoder.{name}{_PEFT[part]}"
    layer = "lora" if spelling == "diffusers" else "lora_linear_layer"
    return f"text_encoder.{name}.{layer}.{part}.weight"


_KOHYA = {"down": ".lora_down.weight", "up": ".lora_up.weight", "mid": ".lora_mid.weight", "alpha": ".alpha"}
_PEFT = {"down": ".lora_A.weight", "up": ".lora_B.weight"}
