"""Inner products of updates that are never built: ⟨U₁V₁, U₂V₂⟩ = Σ (U₁ᵀU₂) ∘ (V₁V₂ᵀ), two small matrices a pair.

Norms are ‖Δ‖² = ⟨Δ, Δ⟩ (Frobenius). The largest singular value comes from power iterations on (UᵀU)(VVᵀ), whose
eigenvalues are the squares of Δ's singular values. Source: Golub and Van Loan, Matrix Computations, 4th ed., 7.3 (power
method) and 6.4.3 (angles between subspaces).

Halves of one rank lie side by side, so that all of their products with each other are one product, in fp32. Where a
LoRA's halves nearly cancel, as those of two that were subtracted do, they are taken in fp64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from .deltas import Delta

SAMPLED_ROWS, SAMPLED_COLUMNS = 8, 128
"""Of each run, whose elements are looked at one by one; of fewer columns all. Layers differ more than elements do."""

_SQUARINGS = 4
"""Of the matrix of the power method: 16 iterations."""
_RIDGE = 1e-5
"""Share of the largest direction below which one counts as lost, for the angles."""
_WIDEST = 1024
"""Columns of halves that lie side by side; their products have so many rows and columns."""
_SMALLEST = 64
"""Rows whose products with each other are not halved further."""
_CANCELS = 1e-2
"""Share of its products' sizes below which their sum is taken again in fp64."""
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Halves:
    """Plain LoRAs of one rank on one run of rows, side by side; n of them."""

    loras: tuple[int, ...]
    """Their numbers."""
    up: Tensor
    """`[rows, n · rank]` in fp32, or fp64."""
    down: Tensor
    """`[n · rank, columns]` in the same."""
    scales: Tensor
    """`[n]` in fp64: what each `up @ down` is multiplied by."""

    @property
    def rank(self) -> int:
        """Of each."""
        return self.down.shape[0] // len(self.loras)

    def wide(self) -> Halves:
        """The same in fp64."""
        return replace(self, up=self.up.double(), down=self.down.double())


@dataclass(frozen=True, slots=True)
class Run:
    """What several LoRAs add to the same rows, laid out for products; each LoRA stands there once."""

    halves: tuple[Halves, ...]
    dense: Mapping[int, Tensor]
    """Number of the LoRA → Δ `[rows, columns]` in fp32."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each Δ."""
        if self.halves:
            return self.halves[0].up.shape[0], self.halves[0].down.shape[1]
        height, width = next(iter(self.dense.values())).shape
        return height, width


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


class Scratch:
    """Memory for the halves of a run, used again for the next one: new memory costs as much as the products."""

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._used = 0

    def restart(self) -> Scratch:
        """All of it is free again; what was taken before must not be used any more."""
        self._used = 0
        return self

    def take(self, rows: int, columns: int) -> Tensor:
        """`[rows, columns]` in fp32 with any values."""
        if self._used == len(self._buffers):
            self._buffers.append(torch.empty(0))
        if self._buffers[self._used].numel() < rows * columns:
            self._buffers[self._used] = torch.empty(rows * columns)
        self._used += 1
        return self._buffers[self._used - 1][: rows * columns].view(rows, columns)


def lay_out(deltas: Sequence[Delta], scratch: Scratch) -> Run:
    """Lays out what several LoRAs add to the same rows; one LoRA may stand there several times."""
    by_rank: dict[int, list[Delta]] = {}
    dense: dict[int, Tensor] = {}
    for lora, delta in _merged(deltas).items():
        if delta.down is None:
            dense[lora] = delta.built()
        else:
            by_rank.setdefault(delta.down.shape[0], []).append(delta)
    halves: list[Halves] = []
    for rank, group in sorted(by_rank.items()):
        many = max(1, _WIDEST // max(rank, 1))
        halves += [_side_by_side(group[start : start + many], rank, scratch) for start in range(0, len(group), many)]
    return Run(tuple(halves), dense)


def _merged(deltas: Sequence[Delta]) -> Mapping[int, Delta]:
    """Number of the LoRA → all that it adds; halves stay halves."""
    groups: dict[int, list[Delta]] = {}
    for delta in deltas:
        groups.setdefault(delta.lora, []).append(delta)
    result: dict[int, Delta] = {}
    for lora, group in groups.items():
        first, *others = group
        if others and all(delta.down is not None for delta in group):
            ups = [delta.up.float() * delta.scale for delta in group]
            downs = [delta.down.float() for delta in group if delta.down is not None]
            first = replace(first, up=torch.cat(ups, 1), down=torch.cat(downs), scale=1.0)
        elif others:
            total = sum((delta.built() for delta in others), first.built())
            first = replace(first, up=total, down=None, scale=1.0)
        result[lora] = first
    return result


def _side_by_side(group: Sequence[Delta], rank: int, scratch: Scratch) -> Halves:
    rows, columns = group[0].up.shape[0], group[0].columns
    up, down = scratch.take(rows, len(group) * rank), scratch.take(len(group) * rank, columns)
    for place, delta in enumerate(group):
        own = slice(place * rank, (place + 1) * rank)
        up[:, own].copy_(delta.up)
        if delta.down is not None:
            down[own].copy_(delta.down)
    scales = torch.tensor([delta.scale for delta in group], dtype=torch.float64)
    return Halves(tuple(delta.lora for delta in group), up, down, scales)


def products(run: Run, count: int, generator: torch.Generator) -> Products:
    """The products of a run; `generator` chooses the rows that are sampled."""
    gram, spectral = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    shared = [torch.full((count, count), torch.nan, dtype=torch.float64) for _ in range(2)]
    known: list[_Known] = []
    for block in run.halves:
        used, own = _own_products(block)
        _put(gram, used, used, _inner(*own, used, used))
        each = _each(own[0]), _each(own[1])
        spectral[list(used.loras)] = _largest(*each) * used.scales.abs()
        whiteners = _whitener(each[0]), _whitener(each[1])
        alike = [_alike(own[side], whiteners[side], whiteners[side]) for side in range(2)]
        new = _Known(used, whiteners, (alike[0].diagonal(), alike[1].diagonal()))
        for side, table in enumerate(shared):
            _put(table, used, used, _share(alike[side], new, new, side))
        for other in known:
            grams = _cross(other.halves, used)
            _put(gram, other.halves, used, _inner(*grams, other.halves, used))
            for side, table in enumerate(shared):
                squares = _alike(grams[side], other.whiteners[side], whiteners[side])
                _put(table, other.halves, used, _share(squares, other, new, side))
        known.append(new)
    for lora, delta in run.dense.items():
        spectral[lora] = _largest_of(delta)
        for other, second in run.dense.items():
            if other <= lora:
                gram[lora, other] = gram[other, lora] = (delta * second).sum(dtype=torch.float64)
        for item in known:
            loras = list(item.halves.loras)
            gram[lora, loras] = gram[loras, lora] = _with_dense(delta, item.halves)
    opposite, sampled = _signs(run, count, generator)
    return Products(gram, spectral, shared[1], shared[0], opposite, sampled)


def square(run: Run) -> float:
    """‖Δ‖² of the one LoRA of a run."""
    total = 0.0
    for block in run.halves:
        used, own = _own_products(block)
        total += float(_inner(*own, used, used))
    for delta in run.dense.values():
        total += float(delta.square().sum(dtype=torch.float64))
    return max(total, 0.0)


@dataclass(frozen=True, slots=True)
class _Known:
    """A block that was compared with itself; of the tuples, the first is of the outputs, the second of the inputs."""

    halves: Halves
    whiteners: tuple[Tensor, Tensor]
    sizes: tuple[Tensor, Tensor]
    """`[n]`: the ranks, as far as directions are not lost."""


def _put(table: Tensor, first: Halves, second: Halves, values: Tensor) -> None:
    """What is true of one and another is true of the other and the one."""
    rows, columns = torch.tensor(first.loras), torch.tensor(second.loras)
    table[rows[:, None], columns] = values
    table[columns[:, None], rows] = values.T


def _own_products(block: Halves) -> tuple[Halves, tuple[Tensor, Tensor]]:
    """The block, in fp64 where fp32 is not enough, and the products of its halves, `[n, rank, n, rank]` each."""
    ups, downs = _own_grams(block)
    each = _each(ups) * _each(downs)
    if bool((each.sum((1, 2)) < _CANCELS * each.abs().sum((1, 2))).any()):
        block = block.wide()
        ups, downs = _own_grams(block)
    return block, (ups, downs)


def _own_grams(block: Halves) -> tuple[Tensor, Tensor]:
    shape = (len(block.loras), block.rank) * 2
    return _gram(block.up.T).reshape(shape), _gram(block.down).reshape(shape)


def _gram(matrix: Tensor) -> Tensor:
    """The products of its rows with each other: those above the diagonal, and again below it."""
    count = matrix.shape[0]
    result = matrix.new_empty(count, count)
    _fill(result, matrix, 0, count)
    return result


def _fill(result: Tensor, matrix: Tensor, start: int, stop: int) -> None:
    if stop - start <= _SMALLEST:
        result[start:stop, start:stop] = matrix[start:stop] @ matrix[start:stop].T
        return
    middle = (start + stop) // 2
    above = torch.mm(matrix[start:middle], matrix[middle:stop].T)
    result[start:middle, middle:stop] = above
    result[middle:stop, start:middle] = above.T
    _fill(result, matrix, start, middle)
    _fill(result, matrix, middle, stop)


def _cross(first: Halves, second: Halves) -> tuple[Tensor, Tensor]:
    """The products of the halves of two blocks, `[n, rank, m, its rank]` each."""
    if first.up.dtype != second.up.dtype:
        first, second = first.wide(), second.wide()
    shape = (len(first.loras), first.rank, len(second.loras), second.rank)
    return (first.up.T @ second.up).reshape(shape), (first.down @ second.down.T).reshape(shape)


def _inner(ups: Tensor, downs: Tensor, first: Halves, second: Halves) -> Tensor:
    """`[n, m]`: ⟨Δᵢ, Δⱼ⟩."""
    return (ups * downs).sum((1, 3), dtype=torch.float64) * first.scales[:, None] * second.scales


def _each(grams: Tensor) -> Tensor:
    """`[n, rank, rank]`: of each with itself."""
    return grams.diagonal(dim1=0, dim2=2).movedim(-1, 0).contiguous()


def _with_dense(dense: Tensor, block: Halves) -> Tensor:
    """`[n]`: ⟨Δ, Δᵢ⟩."""
    sums = ((dense.to(block.up.dtype) @ block.down.T) * block.up).sum(0, dtype=torch.float64)
    return sums.reshape(len(block.loras), -1).sum(1) * block.scales


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


def _whitener(own: Tensor) -> Tensor:
    """`[n, r, r]`: the inverses of the Cholesky factors, which make half's own product the identity.

    Directions that are lost in the largest one count as far as they are there.
    """
    most = own.diagonal(dim1=1, dim2=2).amax(1).clamp_min(_TINY).double()
    identity = torch.eye(own.shape[1], dtype=torch.float64).expand(own.shape)
    ridge = _RIDGE
    while True:
        raised = own.double() + identity * (most * ridge)[:, None, None]
        factor, failed = cast(tuple[Tensor, Tensor], torch.linalg.cholesky_ex(raised))  # pyright: ignore[reportUnknownMemberType]
        if ridge >= 1 or not bool(failed.any()):
            inverse = cast(Tensor, torch.linalg.solve_triangular(factor, identity, upper=False))  # pyright: ignore
            return inverse.to(own.dtype)
        ridge *= 10  # the products' own rounding is larger than the smallest directions


def _alike(gram: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`[n, m]`: Σ cos² of the angles between the directions of each and each, whatever their lengths.

    `gram` `[n, r, m, s]` are the products of two blocks; the others are their whiteners.
    """
    n, r, m, s = gram.shape
    left = first.to(gram.dtype) @ gram.reshape(n, r, m * s)
    right = left.reshape(n * r, m, s).movedim(1, 0) @ second.to(gram.dtype).mT
    return right.square_().reshape(m, n, -1).sum(2).T


def _share(squares: Tensor, first: _Known, second: _Known, side: int) -> Tensor:
    """`[n, m]`: see `Products.inputs`."""
    least = torch.minimum(first.sizes[side][:, None], second.sizes[side])
    return (squares / least.clamp_min(_TINY)).clamp(0, 1).double()


def _signs(run: Run, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(elements of opposite signs, elements that are not 0), each `[count, count]`, of the sampled elements."""
    height, width = run.shape
    rows = torch.randint(height, (SAMPLED_ROWS,), generator=generator)
    columns = torch.randint(width, (SAMPLED_COLUMNS,), generator=generator) if width > SAMPLED_COLUMNS else slice(None)
    loras: list[int] = []
    signs: list[Tensor] = []
    for block in run.halves:
        n, r = len(block.loras), block.rank
        ups = block.up[rows].reshape(len(rows), n, r).movedim(1, 0)
        built = (ups @ block.down[:, columns].reshape(n, r, -1)).flatten(1).float()
        signs.append(built.sign() * block.scales.sign().float()[:, None])
        loras += block.loras
    for lora, delta in run.dense.items():
        signs.append(delta[rows][:, columns].flatten()[None].sign())
        loras.append(lora)
    values = torch.cat(signs)
    there = values.abs()
    both, agreeing = there @ there.T, values @ values.T
    opposite, sampled = (torch.zeros(count, count, dtype=torch.float64) for _ in range(2))
    order = torch.tensor(loras)
    at = order[:, None], order
    sampled[at], opposite[at] = both.double(), ((both - agreeing) / 2).double()
    return opposite, sampled
