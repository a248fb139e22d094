"""The scales of LoRAs whose tensors are quantized: where they stand, and what shapes they may have.

A tensor of fp8 or int8 numbers is meant times its scale, as ComfyUI's and other tools' quantized layers have it: one
number for all, one for each row, or one for each block of rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

Shape = tuple[int, ...]

SCALE_ENDS = (".scale_weight", ".weight_scale", ".weight_scale_inv", "_scale")
"""What follows the name of a quantized tensor, without its `.weight`: `….lora_down.scale_weight`, `….hada_w1_a_scale`.
All of them are multiplied, `weight_scale_inv`, too."""

_SECOND = ".weight_scale_2"
"""The scale of the scales of nvfp4."""

_NOTES = (".scale_input", ".input_scale", ".comfy_quant", ".scaled_fp8")
"""About the layer's inputs, or which format it is: they change no weight."""

MARKERS = ("scaled_fp8",)
"""Whole names of tensors that say how a file is quantized."""

INTEGER_WEIGHTS = frozenset({"I8"})
"""Dtypes of integers that have a meaning with a scale beside them."""

_SUFFIX = "_scale"
_TWICE = "_second_scale"
_SCALE_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})


def is_scale(slot: str) -> bool:
    """True for the slots of scales: `down_scale`."""
    return slot.endswith(_SUFFIX)


def find_owner(tensor: str) -> tuple[str, str] | None:
    """(name of the tensor that this one is about, what its slot's name gets); None for a name of another kind.

    The owner's name is without `.weight`. What the slot gets is empty for a note, which changes nothing.
    Example: `x.lora_down.scale_weight` → (`x.lora_down`, `_scale`).
    """
    if tensor.endswith(_SECOND):
        return tensor[: -len(_SECOND)], _TWICE
    for ends, suffix in ((_NOTES, ""), (SCALE_ENDS, _SUFFIX)):
        for end in ends:
            if tensor.endswith(end):
                return tensor[: -len(end)], suffix
    return None


def scale_problem(slot: str, shape: Shape, dtype: str, shapes: Mapping[str, Shape]) -> str | None:
    """What is wrong with a scale, in words; None if the tensor can be multiplied with it exactly."""
    if slot.endswith(_TWICE):
        return f"{slot.removesuffix(_TWICE)} is quantized in a format that is not read: its scales have a scale"
    owner = slot.removesuffix(_SUFFIX)
    of = shapes.get(owner)
    if of is None:
        return f"the scale of {owner} is there but {owner} itself is missing"
    if dtype not in _SCALE_DTYPES:
        return f"{owner} is quantized in a format that is not read: its scale is {dtype}"
    if spread(shape, of) is None:
        return f"the scale of {owner} has shape {list(shape)}, which does not fit {list(of)}"
    return None


def spread(scale: Shape, tensor: Shape) -> Shape | None:
    """The shape of blocks, one per number of a scale, that a tensor divides into; None if it does not.

    One number is for all; `[n]` and `[n, 1 …]` for n rows; `[1, m]` for m columns; `[a, b]` for blocks.
    Example: `[4, 1]` for `[64, 320]` → `(16, 320)`.
    """
    if prod(scale) == 1:
        return tensor
    if len(scale) == 1:
        scale = (*scale, *[1] * (len(tensor) - 1))
    if len(scale) > len(tensor):
        if any(size != 1 for size in scale[len(tensor) :]):
            return None
        scale = scale[: len(tensor)]
    scale = (*scale, *[1] * (len(tensor) - len(scale)))
    if any(not count or size % count for size, count in zip(tensor, scale, strict=True)):
        return None
    return tuple(size // count for size, count in zip(tensor, scale, strict=True))
