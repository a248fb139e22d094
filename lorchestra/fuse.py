"""All LoRAs on one weight as one low-rank update: W' = W + Σ sᵢ·αᵢ/rᵢ·upᵢ@downᵢ, in one pass over W.

The halves are concatenated, `down` to `[R, in]` and `up` to `[out, R]` with the factors folded in, so that the sum is
one matrix product. The caller brings the terms in canonical order, which makes the result independent, to the bit, of
the order in which a person lists them.

Accuracy, on a CPU: exact sums take products in fp64 and round once to `weight`'s dtype; the result is correctly rounded
but for ties that fp64 cannot tell, whatever the size of the pieces and the number of threads. Others take products in
fp32, which is 13 bits finer than fp16 and 16 bits finer than bf16: enough for 0.51 units in the last place of these,
measured at the larger of W and W'. Where the two nearly cancel, what is left may be wrong by more of its own, smaller
units: in some four of a million elements. On a GPU, where fp64 is up to 64 times slower, products are always fp32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .algorithms.lora import Term, down_matrix, up_matrix

_CHUNK = 1 << 19
"""Elements of W that are worked on at a time on a CPU, so that scratch space stays in its cache."""


def add_low_rank(weight: Tensor, terms: Sequence[Term], *, exact: bool = True) -> None:
    """Adds all terms to `weight` in place.

    `weight` is `[out, in]` or `[out, in, kernel …]`, fp32 or fp64, on any device; the terms' halves have matching
    shapes and may lie on another device and have any floating dtype. `exact` is for results that stay fp32 or fp64, and
    wherever there is time; it costs up to three times as much.
    """
    if not terms:
        return
    matrix = weight.flatten(1)
    if exact and weight.device.type == "cpu":
        _add_wide(matrix, terms)
    else:
        matrix.addmm_(_up(terms, matrix, matrix.dtype), _down(terms, matrix, matrix.dtype))
    if matrix.data_ptr() != weight.data_ptr():  # the flattened weight was a copy
        weight.copy_(matrix.view(weight.shape))


def _add_wide(matrix: Tensor, terms: Sequence[Term]) -> None:
    """Products and sum in fp64, rounded once to the matrix' dtype."""
    up, down = _up(terms, matrix, torch.float64), _down(terms, matrix, torch.float64)
    step = max(1, _CHUNK // matrix.shape[1])
    scratch = torch.empty(min(step, matrix.shape[0]), matrix.shape[1], dtype=torch.float64)
    for row in range(0, matrix.shape[0], step):
        part = matrix[row : row + step]
        sums = scratch[: part.shape[0]]
        sums.copy_(part)
        sums.addmm_(up[row : row + step], down)
        part.copy_(sums)


def _up(terms: Sequence[Term], like: Tensor, dtype: torch.dtype) -> Tensor:
    """`[out, R]` with every term's factor folded in, on `like`'s device."""
    halves = [up_matrix(term.lora) for term in terms]
    factors = [factor for term, half in zip(terms, halves, strict=True) for factor in [term.factor] * half.shape[1]]
    return _joined(halves, 1, like, dtype).mul_(torch.tensor(factors, dtype=dtype, device=like.device))


def _down(terms: Sequence[Term], like: Tensor, dtype: torch.dtype) -> Tensor:
    """`[R, in · kernel]` on `like`'s device."""
    halves = [term.lora.down.flatten(1) if term.lora.mid is None else down_matrix(term.lora, dtype) for term in terms]
    return _joined(halves, 0, like, dtype)


def _joined(halves: Sequence[Tensor], dim: int, like: Tensor, dtype: torch.dtype) -> Tensor:
    """A new tensor, concatenated where the halves lie and in their own dtype: little is sent, and converted once."""
    if len({half.dtype for half in halves}) > 1 or halves[0].dtype.itemsize == 1:
        halves = [half.to(dtype) for half in halves]
    joined = torch.cat(list(halves), dim) if len(halves) > 1 else halves[0]
    return joined.to(like.device, dtype, copy=len(halves) == 1)
