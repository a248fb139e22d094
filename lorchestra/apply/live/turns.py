"""Linear maps of channels, at strength 1: of a layer's input, before its weight, or of its output, after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...algorithms.row_order import to_file, to_model
from .geometry import Geometry


class Diagonal(torch.nn.Module):
    """A factor per channel."""

    factors: Tensor

    def __init__(self, factors: Tensor, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.register_buffer("factors", factors)

    def forward(self, values: Tensor) -> Tensor:
        """A new tensor of the shape of `values`."""
        return values * self.geometry.along(self.factors, values.dim())


class Factored(torch.nn.Module):
    """first · (second · values), `[n, rank]` and `[rank, n]`."""

    first: Tensor
    second: Tensor

    def __init__(self, first: Tensor, second: Tensor, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.register_buffer("first", first)
        self.register_buffer("second", second)

    def forward(self, values: Tensor) -> Tensor:
        """A new tensor of the shape of `values`."""
        return self.geometry.mixed(self.geometry.mixed(values, self.second), self.first)


class Blocks(torch.nn.Module):
    """A block-diagonal matrix; the last block may reach beyond the last channel, with zeros."""

    blocks: Tensor

    def __init__(self, blocks: Tensor, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.register_buffer("blocks", blocks)

    def forward(self, values: Tensor) -> Tensor:
        """A new tensor of the shape of `values`."""
        return turned(values, self.blocks, self.geometry)


class Butterfly(torch.nn.Module):
    """R − I for R = (I + P₂ᵀS₂P₂)(I + P₁ᵀS₁P₁) …, of block-diagonal S and permutations P, the first stage first."""

    steps: Tensor
    orders: Tensor
    inverses: Tensor

    def __init__(self, steps: Tensor, orders: Tensor, geometry: Geometry) -> None:
        """From steps `[stages, count, n, n]` and orders `[stages, count · n]`: where each channel comes from."""
        super().__init__()
        self.geometry = geometry
        self.register_buffer("steps", steps)
        self.register_buffer("orders", orders)
        self.register_buffer("inverses", orders.argsort(1))

    def forward(self, values: Tensor) -> Tensor:
        """A new tensor of the shape of `values`; what the stages add is added up, so that a small one keeps digits."""
        channel = self.geometry.channel
        total = torch.zeros_like(values)
        for step, order, inverse in zip(self.steps, self.orders, self.inverses, strict=True):
            moved = turned((values + total).index_select(channel, order), step, self.geometry)
            total = total + moved.index_select(channel, inverse)
        return total


def turned(values: Tensor, blocks: Tensor, geometry: Geometry) -> Tensor:
    """The channels of `values` times a block-diagonal matrix of `blocks`, `[count, n, n]`."""
    count, width = blocks.shape[:2]
    channels = values.shape[geometry.channel]
    missing = count * width - channels
    if geometry.is_linear:
        rows = F.pad(values, (0, missing)) if missing else values
        result = torch.einsum("cij,tcj->tci", blocks, rows.reshape(-1, count, width))
        return result.reshape(*values.shape[:-1], count * width)[..., :channels]
    rows = values.flatten(2)
    rows = F.pad(rows, (0, 0, 0, missing)) if missing else rows
    result = torch.einsum("cij,bcjs->bcis", blocks, rows.reshape(len(rows), count, width, -1))
    return result.reshape(len(rows), count * width, *values.shape[2:])[:, :channels]


class Turned(torch.nn.Module):
    """A map with the part of the layer's output that it concerns."""

    factors: Tensor | None

    def __init__(
        self, entry: int, start: int, count: int, turn: torch.nn.Module, factors: Tensor | None, *, on_input: bool
    ) -> None:
        """`factors`, `[count]`, scale the rows of the result."""
        super().__init__()
        self.entry = entry
        self.start = start
        self.count = count
        self.turn = turn
        self.on_input = on_input
        self.register_buffer("factors", factors)


class Reordered(torch.nn.Module):
    """A map of channels that the file has in another order: see `algorithms/row_order.py`."""

    def __init__(self, turn: torch.nn.Module, geometry: Geometry, swapped: bool, heads: int) -> None:
        super().__init__()
        self.turn = turn
        self.geometry = geometry
        self.swapped = swapped
        self.heads = heads

    def forward(self, values: Tensor) -> Tensor:
        """A new tensor of the shape of `values`."""
        channel = self.geometry.channel
        turned = self.turn(to_file(values, self.swapped, self.heads, channel))
        return to_model(turned, self.swapped, self.heads, channel)
