"""Rows of a weight in the order in which a file has them, and in the model's; what is reordered stays as it is.

A layer's rows may be exchanged by halves, or be a fused q, k and v head by head, `[head 0: q, k, v; head 1: …]`, where
the model has `[q of all heads; k of all; v of all]`. Every algorithm is applied in the file's order: the weight is
brought to it, and what is added is brought back.
"""

from __future__ import annotations

from torch import Tensor

PARTS = 3
"""q, k and v."""


def to_model(values: Tensor, swapped: bool, heads: int, dim: int = 0) -> Tensor:
    """From the file's order to the model's, along `dim`; `heads` is 0 where q, k and v are not head by head.

    For H heads of D rows: `values.reshape(H, 3, D, …).transpose(0, 1).reshape(3 · H · D, …)`.
    """
    if swapped:
        return values.roll(values.shape[dim] // 2, dim)
    return _transposed(values, heads, PARTS, dim) if heads else values


def to_file(values: Tensor, swapped: bool, heads: int, dim: int = 0) -> Tensor:
    """The way back: from the model's order to the file's."""
    if swapped:
        return values.roll(values.shape[dim] // 2, dim)
    return _transposed(values, PARTS, heads, dim) if heads else values


def _transposed(values: Tensor, outer: int, inner: int, dim: int) -> Tensor:
    dim %= values.dim()
    shape = values.shape
    apart = values.reshape(*shape[:dim], outer, inner, -1, *shape[dim + 1 :])
    return apart.transpose(dim, dim + 1).reshape(shape)
