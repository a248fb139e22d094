"""Every algorithm as its files have it, and what it does to a weight: the formulas in fp64, none of our code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

Parts = Mapping[str, Tensor]
Shape = tuple[int, ...]

RANK = 4


@dataclass(frozen=True)
class Kind:
    """One algorithm in one spelling."""

    algorithm: str
    """Its name in `lorchestra.spelling.slots`."""
    make: Callable[[Shape, torch.Generator], dict[str, Tensor]]
    """End of the tensor's name → tensor, for a weight of this shape."""
    changed: Callable[[Parts, Tensor], Tensor]
    """The weight with all of it applied, from the tensors and the weight in fp64."""

    def delta(self, parts: Parts, weight: Tensor) -> Tensor:
        """Δ at strength 1."""
        wide = weight.double()
        return self.changed({end: tensor.double() for end, tensor in parts.items()}, wide) - wide


def made(kind: str, shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of one module by the ends of their names."""
    return KINDS[kind].make(shape, torch.Generator().manual_seed(seed))


def _noise(generator: torch.Generator, *shape: int, size: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=generator) * size


def _lora(shape: Shape, generator: torch.Generator, size: float = 0.01) -> dict[str, Tensor]:
    out, inner, *kernel = shape
    return {
        ".lora_up.weight": _noise(generator, out, RANK, *[1] * len(kernel), size=size),
        ".lora_down.weight": _noise(generator, RANK, inner, *kernel),
        ".alpha": torch.tensor(3.0),
    }


def _tucker(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    return {
        ".lora_up.weight": _noise(generator, out, RANK, *ones, size=0.005),
        ".lora_down.weight": _noise(generator, RANK, inner, *ones),
        ".lora_mid.weight": _noise(generator, RANK, RANK, *kernel),
        ".alpha": torch.tensor(3.0),
    }


def _lora_delta(parts: Parts, weight: Tensor) -> Tensor:
    up, down = parts[".lora_up.weight"].flatten(1), parts[".lora_down.weight"].flatten(1)
    product = up @ down
    if ".lora_mid.weight" in parts:
        product = torch.einsum("pqk,op,qi->oik", parts[".lora_mid.weight"].flatten(2), up, down)
    return product.reshape(weight.shape) * _scale(parts)


def _scale(parts: Parts) -> float:
    return float(parts[".alpha"]) / RANK if ".alpha" in parts else 1.0


def _loha(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    out, inner = shape[0], prod(shape[1:])
    return {
        **{f".hada_w{n}_a": _noise(generator, out, RANK, size=0.1) for n in (1, 2)},
        **{f".hada_w{n}_b": _noise(generator, RANK, inner, size=0.5) for n in (1, 2)},
        ".alpha": torch.tensor(2.0),
    }


def _loha_delta(parts: Parts, weight: Tensor) -> Tensor:
    first, second = (parts[f".hada_w{n}_a"] @ parts[f".hada_w{n}_b"] for n in (1, 2))
    return (first * second).reshape(weight.shape) * _scale(parts)


def _lokr(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    out, inner = shape[0] // 4, prod(shape[1:]) // 4
    return {
        ".lokr_w1": _noise(generator, 4, 4, size=0.3),
        ".lokr_w2_a": _noise(generator, out, RANK, size=0.05),
        ".lokr_w2_b": _noise(generator, RANK, inner, size=0.5),
        ".alpha": torch.tensor(2.0),
    }


def _lokr_delta(parts: Parts, weight: Tensor) -> Tensor:
    return torch.kron(parts[".lokr_w1"], parts[".lokr_w2_a"] @ parts[".lokr_w2_b"]).reshape(weight.shape) * _scale(
        parts
    )


def _glora(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    out, inner = shape[0], prod(shape[1:])
    return {
        ".a1.weight": _noise(generator, inner, RANK, size=0.1),
        ".a2.weight": _noise(generator, RANK, inner, size=0.1),
        ".b1.weight": _noise(generator, out, RANK, size=0.01),
        ".b2.weight": _noise(generator, RANK, inner),
        ".alpha": torch.tensor(2.0),
    }


def _glora_delta(parts: Parts, weight: Tensor) -> Tensor:
    a1, a2, b1, b2 = (parts[f".{name}.weight"] for name in ("a1", "a2", "b1", "b2"))
    return (weight @ a1 @ a2 + b1 @ b2) * _scale(parts)


def _dora(by_row: bool) -> Callable[[Shape, torch.Generator], dict[str, Tensor]]:
    def make(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        ones = [1] * (len(shape) - 2)
        size = (shape[0], 1, *ones) if by_row else (1, shape[1], *ones)
        length = prod(shape) / (shape[0] if by_row else shape[1])
        magnitude = _noise(generator, *size, size=0.1) + 1
        return {**_lora(shape, generator), ".dora_scale": magnitude * 0.03 * length**0.5}

    return make


def _dora_changed(parts: Parts, weight: Tensor) -> Tensor:
    magnitude = parts[".dora_scale"]
    whole = weight + _lora_delta(parts, weight)
    norms = whole.square()
    for dim, length in enumerate(magnitude.shape):
        if length == 1:
            norms = norms.sum(dim, keepdim=True)
    return magnitude * whole / (norms.sqrt() + 2.0**-23)


def _blocks(stages: tuple[int, ...]) -> Callable[[Shape, torch.Generator], dict[str, Tensor]]:
    def make(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        width = shape[0] // 4
        return {".oft_blocks": _noise(generator, *stages, 4, width, width, size=0.1 / width**0.5)}

    return make


def _rotations(blocks: Tensor) -> Tensor:
    skew, identity = blocks - blocks.mT, torch.eye(blocks.shape[-1], dtype=blocks.dtype)
    return (identity + skew) @ torch.linalg.inv(identity - skew)


def _turned(parts: Parts, weight: Tensor) -> Tensor:
    rotations = _rotations(parts[".oft_blocks"])
    rows = [turn.T @ part for turn, part in zip(rotations, weight.flatten(1).chunk(len(rotations)), strict=True)]
    return torch.cat(rows).reshape(weight.shape)


def _butterfly(parts: Parts, weight: Tensor) -> Tensor:
    """One stage of BOFT: in each block the rows of its two halves alternate."""
    rotations = _rotations(parts[".oft_blocks"][0])
    half = rotations.shape[-1] // 2
    order = [side * half + row for row in range(half) for side in (0, 1)]
    rows = []
    for turn, part in zip(rotations, weight.flatten(1).chunk(len(rotations)), strict=True):
        turned = torch.empty_like(part)
        turned[order] = turn @ part[order]
        rows.append(turned)
    return torch.cat(rows).reshape(weight.shape)


def _added(delta: Callable[[Parts, Tensor], Tensor]) -> Callable[[Parts, Tensor], Tensor]:
    return lambda parts, weight: weight + delta(parts, weight)


KINDS: Mapping[str, Kind] = {
    "LoRA": Kind("LoRA", _lora, _added(_lora_delta)),
    "Tucker": Kind("LoRA", _tucker, _added(_lora_delta)),
    "LoHa": Kind("LoHa", _loha, _added(_loha_delta)),
    "LoKr": Kind("LoKr", _lokr, _added(_lokr_delta)),
    "GLoRA": Kind("GLoRA", _glora, _added(_glora_delta)),
    "DoRA by row": Kind("LoRA", _dora(True), _dora_changed),
    "DoRA by column": Kind("LoRA", _dora(False), _dora_changed),
    "OFT": Kind("OFT", _blocks(()), _turned),
    "BOFT": Kind("BOFT", _blocks((1,)), _butterfly),
    "(IA)³ on the input": Kind(
        "(IA)³",
        lambda shape, generator: {
            ".weight": _noise(generator, 1, shape[1], *[1] * len(shape[2:]), size=0.1), ".on_input": torch.tensor(True)
        },
        lambda parts, weight: weight * (1 + parts[".weight"]),
    ),
    "(IA)³ of PEFT": Kind(
        "(IA)³",
        lambda shape, generator: {".ia3_l": 1 + _noise(generator, shape[0], 1, size=0.1)},
        lambda parts, weight: weight * parts[".ia3_l"],
    ),
    "diff": Kind(
        "full difference",
        lambda shape, generator: {".diff": _noise(generator, *shape, size=0.02)},
        lambda parts, weight: weight + parts[".diff"],
    ),
    "set": Kind(
        "weight replacement",
        lambda shape, generator: {".set_weight": _noise(generator, *shape, size=0.03)},
        lambda parts, weight: parts[".set_weight"],
    ),
}  # fmt: skip
"""All algorithms that change a weight. GLoRA and PEFT's (IA)³ are for matrices, Tucker for convolutions."""

MATRIX = tuple(kind for kind in KINDS if kind != "Tucker")
CONVOLUTION = tuple(kind for kind in KINDS if kind not in ("GLoRA", "(IA)³ of PEFT"))
