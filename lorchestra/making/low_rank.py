"""Updates of lower rank: the best one of a given rank, or of a given share of the energy, and how far it is off.

By Eckart and Young, what is cut off a singular value decomposition is the smallest error that a rank allows. Of two
halves it is taken from their QR factors, so that the update itself is never built. Of a whole difference it is exact,
by the eigenvectors of its smaller Gram matrix in fp64; or, where few directions of many are wanted, randomised with
power iterations (Halko, Martinsson and Tropp 2011, https://arxiv.org/abs/0909.4061, algorithm 4.4), which comes within
a percent of the smallest error. Errors are measured on what is written, never estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

_OVERSAMPLING = 16
_ITERATIONS = 4
_FEW = 3
"""A randomised basis is used up to this fraction of the smaller side: beyond, the exact one is as quick."""
_FIRST_WIDTH = 64
_LOST = 1e-12
"""Singular values below this share of the largest are rounding."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of an update is kept: the smaller of both where both are said."""

    rank: int | None = None
    """At most so many directions, 1 or more."""
    energy: float | None = None
    """As few directions as have this share of Σσ² = ‖Δ‖², above 0 and at most 1."""

    @property
    def is_none(self) -> bool:
        """True if everything is kept."""
        return self.rank is None and self.energy is None

    def count(self, values: Tensor, total: float) -> int:
        """How many of the singular values are kept, which fall; 1 at least. `total` is ‖Δ‖²."""
        count = max(1, int((values > values[0] * _LOST).sum())) if len(values) else 0
        if self.rank is not None:
            count = min(count, self.rank)
        if self.energy is not None and total > 0:
            share = values.double().square().cumsum(0) / total
            count = min(count, int((share < self.energy * (1 - _LOST)).sum()) + 1)
        return count


@dataclass(frozen=True, slots=True)
class Halves:
    """An update up @ down."""

    up: Tensor
    """`[out, rank]`."""
    down: Tensor
    """`[rank, in · kernel]`."""

    @property
    def rank(self) -> int:
        """The width between them."""
        return self.up.shape[1]

    def wide(self) -> Halves:
        """The same in fp64."""
        return Halves(self.up.double(), self.down.double())


def shortened_halves(halves: Halves, limit: Limit) -> Halves:
    """The nearest update within the limit to one in two fp64 halves, which is never built."""
    up_basis, up = _qr(halves.up)
    down_basis, down = _qr(halves.down.T)
    left, values, right = _svd(up @ down.T)
    count = limit.count(values, float(values.square().sum()))
    roots = values[:count].sqrt()
    return Halves((up_basis @ left[:, :count]) * roots, (right[:count] * roots[:, None]) @ down_basis.T)


def split(delta: Tensor, limit: Limit) -> Halves:
    """An update within the limit near a whole one, `[out, in · kernel]` of fp32 or fp64: the nearest, or within a
    percent of it; fp64."""
    if delta.shape[0] > delta.shape[1]:
        turned = split(delta.T, limit)
        return Halves(turned.down.T, turned.up.T)
    wide = delta.double()
    total = float(wide.square().sum())
    basis = _basis(wide, limit, total)
    inner = basis.T @ wide
    vectors, values = _eigen(inner @ inner.T)
    count = limit.count(values, total)
    basis, inner = basis @ vectors[:, :count], vectors[:, :count].T @ inner
    # The basis is orthonormal whatever the accuracy of its directions: at full rank, basis @ inner is Δ itself.
    roots = values[:count].sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    return Halves(basis * roots, inner / roots[:, None])


def _basis(wide: Tensor, limit: Limit, total: float) -> Tensor:
    """An orthonormal basis, `[out, n]`, of the directions that are wanted, or of all."""
    small = wide.shape[0]
    most = small // _FEW
    if limit.energy is None:
        width = (limit.rank or small) + _OVERSAMPLING
        return _random_basis(wide, width) if width <= most else torch.eye(small, dtype=torch.float64)
    width = min(_FIRST_WIDTH, (limit.rank or small) + _OVERSAMPLING)
    while width <= most:
        basis = _random_basis(wide, width)
        captured = float((basis.T @ wide).square().sum())
        if captured >= limit.energy * total or (limit.rank is not None and width >= limit.rank + _OVERSAMPLING):
            return basis
        width *= 2
    return torch.eye(small, dtype=torch.float64)


def _random_basis(wide: Tensor, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(width)
    fast = wide.float()
    basis = fast @ torch.randn(fast.shape[1], width, generator=generator)
    for _ in range(_ITERATIONS):
        basis, _ = _qr(basis)
        other, _ = _qr(fast.T @ basis)
        basis = fast @ other
    basis, _ = _qr(basis.double())
    return basis


def _eigen(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(eigenvectors, roots of the eigenvalues), the largest first."""
    values, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(gram))  # pyright: ignore[reportUnknownMemberType]
    return vectors.flip(1), values.flip(0).clamp_min(0).sqrt()


def _qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], torch.linalg.qr(matrix))  # pyright: ignore[reportUnknownMemberType]


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return cast(
        tuple[Tensor, Tensor, Tensor],
        torch.linalg.svd(matrix, full_matrices=False),  # pyright: ignore[reportUnknownMemberType]
    )


def square_of(halves: Halves) -> float:
    """‖up @ down‖², from the products of the halves with themselves."""
    return max(0.0, _inner(halves, halves))


def square_between(one: Halves, other: Halves) -> float:
    """‖Δ − Δ'‖² of two updates in halves, fp64, as far as fp64 can tell: to 1e-8 of ‖Δ‖."""
    if torch.equal(one.down, other.down):  # nothing cancels, so that fp32 is enough
        return square_of(Halves((one.up - other.up).float(), one.down.float()))
    return max(0.0, _inner(one, one) - 2 * _inner(one, other) + _inner(other, other))


def _inner(one: Halves, other: Halves) -> float:
    return float(((one.up.T @ other.up) * (one.down @ other.down.T)).sum())
