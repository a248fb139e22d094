"""Paths from a layer's input to its output, beside those of plain LoRAs."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ...algorithms.loha import product
from ...algorithms.row_order import to_model
from .geometry import Geometry, add_product


class Path(torch.nn.Module):
    """What one term adds to `count` rows from row `start` on."""

    def __init__(self, entry: int, start: int, count: int, geometry: Geometry) -> None:
        super().__init__()
        self.entry = entry
        self.start = start
        self.count = count
        self.geometry = geometry

    def factor(self, weights: Tensor) -> Tensor:
        """Its weight, `[1]` or `[batch, 1]`."""
        return weights.narrow(-1, self.entry, 1)

    def add_hidden(self, view: Tensor, hidden: Tensor, up: Tensor, weights: Tensor) -> None:
        """Adds up · (weight · hidden) to the layer's output as `Geometry.view` has it, in place."""
        hidden = self.geometry.view(self.geometry.scaled(hidden, self.factor(weights)), view.dim())
        add_product(view.narrow(1, self.start, self.count), hidden, up)


class Matrix(Path):
    """A path that is no cheaper than the layer itself: those of one part of the rows become one matrix."""

    def matrix(self) -> Tensor:
        """Δ at strength 1, `[count, in, kernel …]`; not to be changed."""
        raise NotImplementedError


class Dense(Matrix):
    """A Δ that is kept whole."""

    delta: Tensor

    def __init__(self, entry: int, start: int, delta: Tensor, geometry: Geometry) -> None:
        super().__init__(entry, start, len(delta), geometry)
        self.register_buffer("delta", delta)

    def matrix(self) -> Tensor:
        """See `Matrix.matrix`."""
        return self.delta


class Thinner(Path):
    """A path of thin products."""

    def forward(self, x: Tensor, y: Tensor, view: Tensor, weights: Tensor) -> None:
        """Adds to `y` in place, of which `view` is a view of `Geometry.view`."""
        raise NotImplementedError


class Tucker(Thinner):
    """A LoRA with a core between its halves: the kernel acts on few channels."""

    up: Tensor
    mid: Tensor
    down: Tensor

    def __init__(self, entry: int, start: int, up: Tensor, mid: Tensor, down: Tensor, geometry: Geometry) -> None:
        """From up `[rank, rows]`, mid `[rank, rank, kernel …]` and down `[rank, in]`."""
        super().__init__(entry, start, up.shape[1], geometry)
        self.register_buffer("up", up)
        self.register_buffer("mid", mid)
        self.register_buffer("down", down)

    def forward(self, x: Tensor, y: Tensor, view: Tensor, weights: Tensor) -> None:
        """See `Thinner.forward`."""
        hidden = self.geometry.product(self.geometry.mixed(x, self.down), self.mid)
        self.add_hidden(view, hidden, self.up, weights)


class ThinHadamard(Thinner):
    """LoHa by the Khatri-Rao products of its halves, which are made anew each time: they are larger than the file."""

    a1: Tensor
    b1: Tensor
    a2: Tensor
    b2: Tensor

    def __init__(
        self, entry: int, start: int, halves: tuple[Tensor, Tensor, Tensor, Tensor], geometry: Geometry
    ) -> None:
        """From `[rank, rows]`, `[rank, in · kernel]`, and these of the other product; the ranks may differ."""
        super().__init__(entry, start, halves[0].shape[1], geometry)
        for name, half in zip(("a1", "b1", "a2", "b2"), halves, strict=True):
            self.register_buffer(name, half)

    def forward(self, x: Tensor, y: Tensor, view: Tensor, weights: Tensor) -> None:
        """See `Thinner.forward`."""
        down = _columns_of_products(self.b1, self.b2).reshape(-1, *self.geometry.shape[1:])
        self.add_hidden(view, self.geometry.product(x, down), _columns_of_products(self.a1, self.a2), weights)


def _columns_of_products(first: Tensor, second: Tensor) -> Tensor:
    """`[rank₁ · rank₂, n]` from `[rank₁, n]` and `[rank₂, n]`: all products of their rows."""
    return (first[:, None] * second).flatten(0, 1)


class Hadamard(Matrix):
    """LoHa of high rank or with cores, whose Δ is made anew each time: it is larger than the file."""

    def __init__(
        self, entry: int, start: int, halves: tuple[Tensor, Tensor, Tensor, Tensor],
        cores: tuple[Tensor, Tensor] | None, geometry: Geometry,
    ) -> None:  # fmt: skip
        """From the halves of both products as `lorchestra.algorithms.loha.product` takes them."""
        super().__init__(entry, start, halves[0].shape[1 if cores else 0], geometry)
        for name, half in zip(("a1", "b1", "a2", "b2"), halves, strict=True):
            self.register_buffer(name, half)
        self.register_buffer("t1", cores[0] if cores else None)
        self.register_buffer("t2", cores[1] if cores else None)

    a1: Tensor
    b1: Tensor
    a2: Tensor
    b2: Tensor
    t1: Tensor | None
    t2: Tensor | None

    def matrix(self) -> Tensor:
        """See `Matrix.matrix`."""
        delta = product(self.a1, self.b1, self.t1, self.a1) * product(self.a2, self.b2, self.t2, self.a1)
        return delta.reshape(self.count, *self.geometry.shape[1:])


class Kronecker(Thinner):
    """LoKr: with x as a matrix of `[in₁, in₂]`, w₁ acts on its rows and w₂ on its columns."""

    w1: Tensor
    w2: Tensor
    w2_up: Tensor | None
    factors: Tensor | None
    columns: Tensor | None

    def __init__(
        self, entry: int, start: int, w1: Tensor, w2: Tensor, w2_up: Tensor | None, geometry: Geometry,
        *, factors: Tensor | None, columns: Tensor | None, swapped: bool, heads: int,
    ) -> None:  # fmt: skip
        """From `[out₁, in₁]` and `[out₂, in₂, kernel …]`, or `[rank, in₂, kernel …]` and w₂'s up half `[out₂, rank]`.

        `factors`, `[rows]`, scale the rows of Δ, and `columns`, `[in]`, its columns.
        """
        super().__init__(entry, start, len(w1) * len(w2 if w2_up is None else w2_up), geometry)
        self.swapped = swapped
        self.heads = heads
        self.register_buffer("w1", w1)
        self.register_buffer("w2", w2)
        self.register_buffer("w2_up", w2_up)
        self.register_buffer("factors", factors)
        self.register_buffer("columns", columns)

    def forward(self, x: Tensor, y: Tensor, view: Tensor, weights: Tensor) -> None:
        """See `Thinner.forward`."""
        geometry = self.geometry
        if self.columns is not None:
            x = x * geometry.along(self.columns, x.dim())
        result = self._linear(x, weights) if geometry.is_linear else self._convolution(x, weights)
        if self.factors is not None:
            result = result * geometry.along(self.factors, result.dim())
        result = to_model(result, self.swapped, self.heads, geometry.channel)
        y.narrow(geometry.channel, self.start, self.count).add_(result)

    def _linear(self, x: Tensor, weights: Tensor) -> Tensor:
        outer, inner = self.w1.shape
        matrices = x.reshape(*x.shape[:-1], inner, -1)
        w2 = self.w2
        # The one first that leaves less to do for the other.
        if self.w2_up is None and outer * w2.shape[1] < inner * w2.shape[0]:
            hidden = torch.nn.functional.linear(matrices.mT, self.w1).mT @ w2.T
        else:
            hidden = torch.nn.functional.linear((matrices @ w2.T).mT, self.w1).mT
        hidden = hidden if self.w2_up is None else hidden @ self.w2_up.T
        return self.geometry.scaled(hidden.reshape(*x.shape[:-1], self.count), self.factor(weights))

    def _convolution(self, x: Tensor, weights: Tensor) -> Tensor:
        batch, inner = len(x), self.w1.shape[1]
        hidden = self.geometry.product(x.reshape(batch * inner, -1, *x.shape[2:]), self.w2)
        positions = hidden.shape[2:]
        hidden = self.w1 @ hidden.reshape(batch, inner, -1)
        if self.w2_up is not None:
            hidden = self.w2_up @ hidden.reshape(batch, len(self.w1), len(self.w2), prod(positions))
        return self.geometry.scaled(hidden.reshape(batch, self.count, *positions), self.factor(weights))
