"""All LoRAs on one weight as one update: W' = W + Σ sᵢ·Δᵢ(W), every Δ taken from the original W, rounded once.

The halves of plain LoRAs are concatenated, `up` to `[out, R]` and `down` to `[R, in]` with the factors folded in, so
that their sum is one matrix product. The other algorithms give their whole Δ. The caller brings the terms in canonical
order, which makes the result independent, to the bit, of the order in which a person lists them.

Accuracy, on a CPU: exact sums take products in fp64 and round once to `weight`'s dtype; the result is correctly rounded
but for ties that fp64 cannot tell, whatever the size of the pieces and the number of threads. Others take products in
the dtype of `weight`. In fp32 these are 13 bits finer than fp16 and 16 bits finer than bf16: enough for 0.51 units in
the last place of these, measured at the larger of W and W'. Where the two nearly cancel, what is left may be wrong by
more of its own, smaller units: in some four of a million elements. A weight that stays fp32 is off by at most
(R + 3) · 2⁻²⁴ of what is summed, |W| + Σ |sᵢ| · |up| · |down|: the R products are rounded at most R times while they
are added to W, in any order, and three times before, as factor, scaled row and product (Higham, Accuracy and Stability
of Numerical Algorithms, 3.1); a Tucker core adds its own products. On a GPU, where fp64 is up to 64 times slower,
products are never wider than `weight`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..algorithms.base import Adapter
from ..algorithms.lora import LoRA, down_matrix, up_matrix
from ..algorithms.row_order import to_file, to_model
from ..architectures.sites import Offset

_CHUNK = 1 << 19
"""Elements of W that are worked on at a time on a CPU, so that scratch space stays in its cache."""


@dataclass(frozen=True, slots=True)
class Term:
    """An adapter at a weight: one summand of an update."""

    adapter: Adapter
    weight: float
    swapped: bool = False
    """True if the file has the second half of the rows first."""
    transposed: bool = False
    """True if the file's rows are the weight's columns."""
    heads: int = 0
    """Not 0 if the file has q, k and v head by head, of so many heads."""

    def is_low_rank(self, shape: Sequence[int]) -> bool:
        """True for a LoRA that leaves a weight of this shape as large as it is; many of them are one product."""
        return not self.transposed and isinstance(self.adapter, LoRA) and self.adapter.padded in (None, tuple(shape))

    def rows(self, start: int, count: int) -> Term:
        """The same for `count` rows of the weight from row `start` on; for low-rank terms only."""
        lora = _lora(self)
        return Term(LoRA(_up_half(self)[start : start + count], lora.down, lora.mid, lora.scale), self.weight)


Parts = Sequence[tuple[Offset | None, Sequence[Term]]]
"""(part of a weight, or None for all of it; what is added there), in canonical order."""


def add_updates(weight: Tensor, parts: Parts, *, exact: bool = True) -> Tensor:
    """Adds all terms to `weight` in place and gives it back; a new, larger tensor where `padded_shape` says so.

    `weight` is fp32 or fp64, of any shape and on any device; the terms' tensors may lie on another device and have any
    floating dtype. `exact` is for files that are written once; on a CPU it costs up to three times as much. Parts may
    overlap. Raises `ValueError`, in words, where a term does not fit.
    """
    parts = [(offset, terms) for offset, terms in parts if terms]
    is_wide = exact and weight.device.type == "cpu"
    if all(term.is_low_rank(weight.shape) for _, terms in parts for term in terms) and not (
        is_wide and _overlap([offset for offset, _ in parts])
    ):
        for offset, terms in parts:
            _add_low_rank(_part(weight, offset), terms, is_wide)
        return weight
    original = weight.double() if is_wide else weight
    total = torch.zeros(padded_shape(parts) or weight.shape, dtype=original.dtype, device=weight.device)
    sums = _corner(total, weight.shape)
    for offset, terms in parts:
        low_rank = [term for term in terms if term.is_low_rank(weight.shape)]
        _add_low_rank(_part(sums, offset), low_rank, False)
        for term in terms:
            if term.is_low_rank(weight.shape):
                continue
            if isinstance(term.adapter, LoRA) and term.adapter.padded:
                _add_padded(total, term, term.adapter.padded, offset)
            else:
                _part(sums, offset).add_(update_of(term, _part(original, offset)), alpha=term.weight)
    if total.shape != weight.shape:
        sums.add_(original)
        return total.to(weight.dtype)
    return weight.copy_(total.add_(original)) if is_wide else weight.add_(total)


def update_of(term: Term, original: Tensor) -> Tensor:
    """The term's Δ at strength 1, its rows as the model has them; `original` is the weight, or the part meant."""
    if term.transposed:
        return term.adapter.update(original.T.contiguous()).T
    update = term.adapter.update(to_file(original, term.swapped, term.heads))
    return to_model(update, term.swapped, term.heads)


def padded_shape(parts: Parts) -> tuple[int, ...] | None:
    """The shape that a weight grows to, with zeros, before anything is added; None if it stays as it is."""
    adapters = [term.adapter for _, terms in parts for term in terms]
    shapes = [adapter.padded for adapter in adapters if isinstance(adapter, LoRA) and adapter.padded]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"LoRAs pad one weight to {' and '.join(str(list(shape)) for shape in shapes)}")
    return tuple(max(lengths) for lengths in zip(*shapes, strict=True)) if shapes else None


def _lora(term: Term) -> LoRA:
    if not isinstance(term.adapter, LoRA):
        raise TypeError(f"{type(term.adapter).__name__} has no halves")
    return term.adapter


def _overlap(offsets: Sequence[Offset | None]) -> bool:
    """True if an element may lie in two of the parts."""
    if len(offsets) < 2:
        return False
    places = sorted(offset for offset in offsets if offset is not None)
    if len(places) < len(offsets) or places[0][0] != places[-1][0]:
        return True
    return any(one[1] + one[2] > other[1] for one, other in itertools.pairwise(places))


def _part(weight: Tensor, offset: Offset | None) -> Tensor:
    return weight if offset is None else weight.narrow(*offset)


def _corner(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The view of what was there before zeros were put beside it."""
    for dim, length in enumerate(shape):
        weight = weight.narrow(dim, 0, length)
    return weight


def _add_padded(total: Tensor, term: Term, shape: tuple[int, ...], offset: Offset | None) -> None:
    """Adds a LoRA that is larger than the weight was."""
    if offset is not None or len(shape) != total.dim():
        raise ValueError(f"a LoRA that pads the weight to {list(shape)} cannot change this one or a part of it")
    product = _up([term], total, total.dtype) @ _down([term], total, total.dtype)
    _corner(total, shape).add_(product.reshape(shape))


def _add_low_rank(weight: Tensor, terms: Sequence[Term], is_wide: bool) -> None:
    """Adds plain LoRAs to `[out, in]` or `[out, in, kernel …]` in place."""
    if not terms:
        return
    matrix = weight.flatten(1) if weight.dim() > 1 else weight[:, None]
    for term in terms:
        _check(_lora(term), weight, matrix)
    if is_wide:
        _add_wide(matrix, terms)
    else:
        up, down, factor = _halves(terms, matrix)
        matrix.addmm_(up, down, alpha=factor)
    if matrix.data_ptr() != weight.data_ptr():  # the flattened weight was a copy
        weight.copy_(matrix.view(weight.shape))


def _check(lora: LoRA, weight: Tensor, matrix: Tensor) -> None:
    """Raises `ValueError` if a LoRA was placed on a packed weight, whose shape could not be told before."""
    kernel = lora.down.shape[2:] if lora.mid is None else lora.mid.shape[2:]
    shape = (lora.up.shape[0], lora.down.shape[1], *kernel)
    if (shape[0], prod(shape[1:])) != matrix.shape:
        raise ValueError(f"LoRA made for shape {list(shape)} cannot change a weight of {list(weight.shape)}")


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


def _halves(terms: Sequence[Term], like: Tensor) -> tuple[Tensor, Tensor, float]:
    """(`[out, R]`, `[R, in · kernel]`, a factor for their product): a single term's needs no pass over its half."""
    if len(terms) > 1:
        return _up(terms, like, like.dtype), _down(terms, like, like.dtype), 1.0
    term = terms[0]
    lora = _lora(term)
    down = lora.down.flatten(1) if lora.mid is None else down_matrix(lora, like.dtype)
    return _up_half(term).to(like.device, like.dtype), down.to(like.device, like.dtype), term.weight * lora.scale


def _up(terms: Sequence[Term], like: Tensor, dtype: torch.dtype) -> Tensor:
    """`[out, R]` on `like`'s device."""
    return _joined([_up_half(term) for term in terms], 1, like, dtype)


def _up_half(term: Term) -> Tensor:
    return to_model(up_matrix(_lora(term)), term.swapped, term.heads)


def _down(terms: Sequence[Term], like: Tensor, dtype: torch.dtype) -> Tensor:
    """`[R, in · kernel]` with every term's factor folded in, on `like`'s device: whole rows, which is fast."""
    loras = [_lora(term) for term in terms]
    halves = [lora.down.flatten(1) if lora.mid is None else down_matrix(lora, dtype) for lora in loras]
    scales = [term.weight * lora.scale for term, lora in zip(terms, loras, strict=True)]
    joined = _joined(halves, 0, like, dtype)
    factors = [scale for scale, half in zip(scales, halves, strict=True) for _ in range(half.shape[0])]
    return joined.mul_(torch.tensor(factors, dtype=dtype, device=like.device)[:, None])


def _joined(halves: Sequence[Tensor], dim: int, like: Tensor, dtype: torch.dtype) -> Tensor:
    """A new tensor, concatenated where the halves lie and in their own dtype: little is sent, and converted once."""
    if len({half.dtype for half in halves}) > 1 or halves[0].dtype.itemsize == 1:
        halves = [half.to(dtype) for half in halves]
    joined = torch.cat(list(halves), dim) if len(halves) > 1 else halves[0]
    return joined.to(like.device, dtype, copy=len(halves) == 1)
