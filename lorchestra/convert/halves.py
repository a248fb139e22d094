"""Halves of LoRAs: several on parts of one layer as one LoRA on it, scales multiplied in where they must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from .. import algorithms
from ..algorithms.base import Settings
from .items import Item


@dataclass(frozen=True, slots=True)
class Half:
    """A LoRA on some rows of a layer."""

    start: int
    up: Tensor
    """`[rows, rank]`, or more dimensions that are one wide."""
    down: Tensor
    scale: Fraction
    alpha: Tensor | None
    mid: Tensor | None = None


def joined(halves: Sequence[Half], rows: int, *, folds: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Several LoRAs as one with `rows` rows: (up, down, alpha or None for a scale of 1).

    The up halves stand on a diagonal of blocks; those with the same down half share its rank. With `folds` all scales
    are multiplied into the up halves, else only what differs between them. Exact wherever `folded` is.
    """
    groups: list[list[Half]] = []
    for half in halves:
        for group in groups:
            if group[0].scale == half.scale and _same(group[0].down, half.down):
                group.append(half)
                break
        else:
            groups.append([half])
    common = Fraction(1) if folds else groups[0][0].scale
    if common == 0:  # nothing can be brought to a scale of nothing but nothing
        common = next((group[0].scale for group in groups if group[0].scale), Fraction(0))
    ups = [[folded(half.up, half.scale / common) if common else half.up for half in group] for group in groups]
    dtype = common_dtype([up for group in ups for up in group])
    blocks: list[Tensor] = []
    for group, tensors in zip(groups, ups, strict=True):
        if len(group) == 1 and group[0].start == 0 and tensors[0].shape[0] == rows:
            blocks.append(tensors[0].to(dtype))
            continue
        block = torch.zeros(rows, *tensors[0].shape[1:], dtype=dtype)
        for half, tensor in zip(group, tensors, strict=True):
            block[half.start : half.start + tensor.shape[0]] = tensor.to(dtype)
        blocks.append(block)
    downs = [group[0].down for group in groups]
    narrow = common_dtype(downs)
    up = blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)
    down = downs[0] if len(downs) == 1 else torch.cat([tensor.to(narrow) for tensor in downs])
    if folds or (common == 1 and all(half.alpha is None for half in halves)):
        return up, down, None
    rank = down.shape[0]
    first = groups[0][0].alpha
    if first is not None and Fraction(float(first.double())) == common * rank:
        return up, down, first
    return up, down, torch.tensor(float(common * rank), dtype=torch.float32)


def folded(tensor: Tensor, factor: Fraction) -> Tensor:
    """The tensor times a factor: in its own dtype where no bit is lost, which a power of two promises, else in fp32."""
    if factor == 1:
        return tensor
    wide = tensor.double() * float(factor)
    if _is_power_of_two(factor):
        narrow = wide.to(tensor.dtype)
        if torch.equal(narrow.double(), wide):
            return narrow
    return wide if tensor.dtype == torch.float64 else wide.float()


def _is_power_of_two(factor: Fraction) -> bool:
    return factor != 0 and math.frexp(abs(float(factor)))[0] == 0.5 and Fraction(float(factor)) == factor


def _same(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))
    )


def common_dtype(tensors: Sequence[Tensor]) -> torch.dtype:
    """A dtype that holds all values; of eight bits, which cannot be worked with, the next larger one."""
    kinds = {tensor.dtype for tensor in tensors}
    if len(kinds) == 1:
        kind = kinds.pop()
        return kind if len(tensors) == 1 or kind.itemsize > 1 else torch.float16
    if torch.float64 in kinds:
        return torch.float64
    if all(kind.itemsize == 1 or kind == torch.float16 for kind in kinds):
        return torch.float16
    return torch.float32


def half_of(item: Item) -> Half:
    """The halves of a LoRA at its place."""
    return Half(item.start, item.parts["up"], item.parts["down"], item.scale, item.alpha, item.parts.get("mid"))


def update_of(item: Item) -> Tensor:
    """Δ of a linear module for its rows, fp64."""
    adapter = algorithms.read(item.module.algorithm, item.parts, None, Settings(scale=float(item.scale)))
    inner = (item.shape or (0, *(item.module.in_shape or ())))[1:]
    return adapter.update(torch.zeros(item.rows or 0, *inner, dtype=torch.float64))
