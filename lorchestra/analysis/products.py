"""Inner products of updates that are never built: ⟨U₁V₁, U₂V₂⟩ = Σ (U₁ᵀU₂) ∘ (V₁V₂ᵀ), two small matrices a pair.

Norms are ‖Δ‖² = ⟨Δ, Δ⟩ (Frobenius). The largest singular value comes from power iterations on (UᵀU)(VVᵀ), whose
eigenvalues are the squares of Δ's singular values. Source: Golub and Van Loan, Matrix Computations, 4th ed., 7.3 (power
method) and 6.4.3 (angles between subspaces).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .deltas import Delta

SAMPLED_ROWS = 8
"""Rows of each run whose elements are looked at one by one."""

_SQUARINGS = 4
"""Of the matrix of the power method: 16 iterations."""
_RIDGE = 1e-5
"""Share of the largest direction below which one counts as lost, for the angles."""


@dataclass(frozen=True, slots=True)
class Products:
    """Of `count` LoRAs on one run of rows, in fp64; what a LoRA without a part there has is 0."""

    gram: Tensor
    """`[count, count]`: ⟨Δᵢ, Δⱼ⟩ at weight 1."""
    spectral: Tensor
    """`[count]`: the largest singular value of Δᵢ at weight 1, from below, mostly to 1 %."""
    inputs: Tensor
    """`[count, count]`: the share of the input directions of the smaller of two that the other has as well, 0 … 1: the
    mean of cos² of the angles between the subspaces. NaN where one of them is not in halves."""
    outputs: Tensor
    """The same of the output directions."""
    opposite: Tensor
    """`[count, count]`: how many of the sampled elements have opposite signs."""
    sampled: Tensor
    """`[count, count]`: how many were looked at, in which neither is 0."""


def products(deltas: Sequence[Delta], count: int, generator: torch.Generator) -> Products:
    """The products of what several LoRAs add to the same rows; one LoRA may stand there several times.

    `generator` chooses the rows that are sampled.
    """
    merged = _merged(deltas)
    halves = [delta for delta in merged.values() if delta.down is not None]
    gram = torch.zeros(count, count, dtype=torch.float64)
    spectral = torch.zeros(count, dtype=torch.float64)
    inputs, outputs = (torch.full((count, count), torch.nan, dtype=torch.float64) for _ in range(2))
    if halves:
        loras = torch.tensor([delta.lora for delta in halves])
        at = loras[:, None], loras
        ups, downs = _grams([delta.up.T for delta in halves]), _grams([_down(delta) for delta in halves])
        gram[at] = (ups * downs).sum((2, 3), dtype=torch.float64)
        spectral[loras] = _largest(_own(ups), _own(downs))
        inputs[at], outputs[at] = _shared(downs), _shared(ups)
    for lora, delta in merged.items():
        if delta.down is not None:
            continue
        spectral[lora] = _largest_of(delta.up)
        for other, second in merged.items():
            gram[lora, other] = gram[other, lora] = _with_dense(delta.up, second)
    rows = torch.randint(next(iter(merged.values())).up.shape[0], (SAMPLED_ROWS,), generator=generator)
    opposite, sampled = _signs(merged, rows, count)
    return Products(gram, spectral, inputs, outputs, opposite, sampled)


def _merged(deltas: Sequence[Delta]) -> Mapping[int, Delta]:
    """Number of the LoRA → all that it adds; halves stay halves."""
    groups: dict[int, list[Delta]] = {}
    for delta in deltas:
        groups.setdefault(delta.lora, []).append(delta)
    result: dict[int, Delta] = {}
    for lora, group in groups.items():
        first = group[0]
        if len(group) > 1 and all(delta.down is not None for delta in group):
            up, down = torch.cat([delta.up for delta in group], 1), torch.cat([_down(delta) for delta in group])
            first = replace(first, up=up, down=down)
        elif len(group) > 1:
            first = replace(first, up=sum((_built(delta) for delta in group[1:]), _built(first)), down=None)
        result[lora] = first
    return result


def _down(delta: Delta) -> Tensor:
    if delta.down is None:
        raise TypeError("a dense update has no halves")
    return delta.down


def _built(delta: Delta) -> Tensor:
    return delta.up if delta.down is None else delta.up @ delta.down


def _with_dense(dense: Tensor, other: Delta) -> Tensor:
    if other.down is None:
        return (dense * other.up).sum(dtype=torch.float64)
    return ((dense @ other.down.T) * other.up).sum(dtype=torch.float64)


def _grams(halves: Sequence[Tensor]) -> Tensor:
    """`[n, n, r, r]` of all products of n halves `[rᵢ, width]` with each other, each filled up to r with zeros."""
    count, most = len(halves), max(half.shape[0] for half in halves)
    if any(half.shape[0] < most for half in halves):
        halves = [F.pad(half, (0, 0, 0, most - half.shape[0])) for half in halves]
    rows = torch.cat(list(halves))
    # NumPy's product of a matrix with its own transpose takes half the time of any other.
    return torch.as_tensor(np.matmul(rows.numpy(), rows.T.numpy())).reshape(count, most, count, most).movedim(2, 1)


def _own(grams: Tensor) -> Tensor:
    return grams.diagonal(dim1=0, dim2=1).movedim(-1, 0)


def _largest(ups: Tensor, downs: Tensor) -> Tensor:
    """`[n]`: √ of the largest eigenvalue of each `ups @ downs`; both `[n, r, r]`, symmetric, without negative ones."""
    product = ups @ downs
    vectors = product
    for _ in range(_SQUARINGS):  # each is as many iterations of the power method as all before it
        vectors = vectors / vectors.abs().amax((1, 2), keepdim=True).clamp_min(_TINY)
        vectors = vectors @ vectors
    vectors = vectors / vectors.square().sum(1, keepdim=True).sqrt().clamp_min(_TINY)
    # ups @ downs is symmetric where lengths are measured by downs, so these quotients are bounds from below.
    brought = downs @ vectors
    lengths = (vectors * brought).sum(1)
    values = (brought * (ups @ brought)).sum(1) / lengths.clamp_min(_TINY)
    return values.amax(1).clamp_min(0).sqrt().double()


def _largest_of(matrix: Tensor) -> Tensor:
    vector = matrix.T @ matrix.sum(1) + matrix[matrix.square().sum(1).argmax()]
    for _ in range(1 << _SQUARINGS):
        vector = matrix.T @ (matrix @ (vector / vector.square().sum().sqrt().clamp_min(_TINY)))
    return vector.square().sum().sqrt().sqrt().double()


_TINY = 1e-30


def _shared(grams: Tensor) -> Tensor:
    """`[n, n]`: see `Products.inputs`. Directions that are lost in the largest one count as far as they are there."""
    own = _own(grams)
    most = own.diagonal(dim1=1, dim2=2).amax(1)
    rest = torch.diag_embed((most * _RIDGE).clamp_min(_TINY)[:, None].expand(own.shape[:2]))
    inverses = torch.inverse((own + rest).double()).float()
    squares = ((inverses[:, None] @ grams) * (grams @ inverses[None, :])).sum((2, 3))
    sizes = squares.diagonal()  # the ranks, as far as directions are not lost
    least = torch.minimum(sizes[:, None], sizes).clamp_min(_TINY)
    return (squares / least).clamp(0, 1).double()


def _signs(merged: Mapping[int, Delta], rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(elements of opposite signs, elements that are not 0), each `[count, count]`, of the sampled rows."""
    opposite, sampled = (torch.zeros(count, count, dtype=torch.float64) for _ in range(2))
    signs = torch.stack([_built(replace(delta, up=delta.up[rows])).sign().flatten() for delta in merged.values()])
    there = signs.abs()
    both, agreeing = there @ there.T, signs @ signs.T
    loras = torch.tensor(list(merged))
    at = loras[:, None], loras
    sampled[at], opposite[at] = both.double(), ((both - agreeing) / 2).double()
    return opposite, sampled
