"""Names and shapes of the tensors of base models, as `tools/collect_signatures.py` found them in ComfyUI's classes.

To bring the data up to a new version of ComfyUI, or to add a model, run that tool; it writes `signatures.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from .patterns import Pattern, Shape, expand

Offset = tuple[int, int, int]
"""(dimension, start, length) of the part of a weight that is meant, as in `torch.narrow`."""


@dataclass(frozen=True, slots=True)
class AliasPattern:
    """Names in ComfyUI's own map of LoRA names that our rules do not give; both sides are patterns of equal length.

    Example: `transformer_blocks.[0-18].attn.to_k` → `double_blocks.[0-18].img_attn.qkv`, (0, 3072, 3072).
    """

    foreign: str
    """Without a trainer's prefix."""
    native: str
    """Without `.weight`."""
    offset: Offset | None = None
    swapped: bool = False
    """The halves of the rows have changed places: scale and shift of a modulation."""

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each foreign name with the native one."""
        return zip(expand(self.foreign), expand(self.native), strict=True)


@dataclass(frozen=True)
class Signature:
    """What a base model looks like by names and shapes alone."""

    id: str
    """Our short name of the architecture: `sdxl`, `flux1_dev`."""
    comfy_class: str
    """The class in ComfyUI's `supported_models`; several architectures may share one."""
    tensors: int
    """How many there are: weights, biases, norms and other parameters."""
    patterns: tuple[Pattern, ...]
    """All tensors; names are ComfyUI's own without `diffusion_model.`, with `.weight` or `.bias`."""
    aliases: tuple[AliasPattern, ...]

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Name of each tensor → its shape."""
        return MappingProxyType(dict(item for pattern in self.patterns for item in pattern.items()))


@cache
def read_signatures() -> tuple[Signature, ...]:
    """All architectures that are known, sorted by id; read from the package's data once."""
    text = files(__package__ or __name__.rpartition(".")[0]).joinpath("signatures.json").read_text("utf-8")
    return from_json(json.loads(text))


def find_signature(id: str) -> Signature | None:  # noqa: A002
    """The architecture of that id, or None."""
    return next((signature for signature in read_signatures() if signature.id == id), None)


def from_json(data: Mapping[str, Any]) -> tuple[Signature, ...]:
    """The architectures in the parsed `signatures.json`."""
    return tuple(
        Signature(
            id=name,
            comfy_class=entry["comfy_class"],
            tensors=entry["tensors"],
            patterns=tuple(Pattern(text, tuple(shape)) for text, shape in entry["shapes"].items()),
            aliases=tuple(
                AliasPattern(foreign, native, tuple(offset) if offset else None, swapped)
                for foreign, native, offset, swapped in entry["aliases"]
            ),
        )
        for name, entry in data["architectures"].items()
    )
