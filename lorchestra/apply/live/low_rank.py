"""All plain LoRAs of one layer as one product down and one up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .geometry import Geometry, add_product


@dataclass(frozen=True, slots=True)
class Thin:
    """The halves of one term."""

    entry: int
    start: int
    """First row of the part that it changes."""
    up: Tensor
    """`[rank, rows]`, the scale folded in."""
    down: Tensor
    """`[rank, in]` or `[rank, in, kernel …]`."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Where one term's columns lie in the concatenated halves."""

    entry: int
    group: int
    """The `up` buffer."""
    start: int
    stop: int


class LowRank(torch.nn.Module):
    """Halves concatenated; those of one part of the rows stand next to each other, and within it in canonical order."""

    down: Tensor
    entries: Tensor

    def __init__(self, halves: Sequence[Thin], geometry: Geometry) -> None:
        super().__init__()
        groups: dict[tuple[int, int], list[Thin]] = {}
        for half in halves:
            groups.setdefault((half.start, half.up.shape[1]), []).append(half)
        ordered = sorted(groups.items())
        self.geometry = geometry
        self.rows = [rows for rows, _ in ordered]
        self.firsts: list[int] = []
        self.blocks: list[_Block] = []
        end, entries = 0, list[int]()
        for number, (_, members) in enumerate(ordered):
            self.firsts.append(end)
            for half in members:
                rank = half.up.shape[0]
                self.blocks.append(_Block(half.entry, number, end, end + rank))
                entries += [half.entry] * rank
                end += rank
            # `[rows, ranks]`: the products up are faster on a CPU than with `[ranks, rows]`.
            self.register_buffer(f"up{number}", torch.cat([half.up for half in members]).T.contiguous())
        self.register_buffer("down", torch.cat([half.down for _, members in ordered for half in members]))
        self.register_buffer("entries", torch.tensor(entries))

    def forward(self, x: Tensor, view: Tensor, weights: Tensor, active: Sequence[bool]) -> None:
        """Adds to `view`, the layer's output as `Geometry.view` has it, in place."""
        tokens = view.shape[0] if view.dim() == 2 else view.shape[0] * view.shape[2]
        for blocks in self._runs(active):
            pieces = self._pieces(blocks)
            start, stop = blocks[0].start, blocks[-1].stop
            factors = weights.index_select(-1, self.entries[start:stop])
            if weights.dim() == 1 and self._is_whole_cheaper(tokens, pieces):
                for group, first, last in pieces:
                    delta = self._delta(group, first, last, factors[first - start : last - start])
                    self.geometry.add_whole(view, x, delta, self.rows[group][0])
                continue
            hidden = self.geometry.scaled(self.geometry.product(x, self.down[start:stop]), factors)
            hidden = self.geometry.view(hidden, view.dim())
            for group, first, last in pieces:
                columns = hidden if len(pieces) == 1 else hidden.narrow(1, first - start, last - first)
                add_product(view.narrow(1, *self.rows[group]), columns, self._up(group, first, last))

    def merged(self, weight: Tensor, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """A new weight with everything added; `weights` are `[entries]`."""
        total = weight.to(self.down.dtype, copy=True, memory_format=torch.contiguous_format)
        for blocks in self._runs(active):
            for group, first, last in self._pieces(blocks):
                factors = weights.index_select(0, self.entries[first:last])
                up = (self._up(group, first, last) * factors[:, None]).to(total.dtype)
                start, count = self.rows[group]
                total.flatten(1).narrow(0, start, count).addmm_(up.T, self.down[first:last].flatten(1))
        return total.to(weight.dtype)

    def cost(self, tokens: int) -> int:
        """Multiplications of `forward` for an output of so many positions, all entries active, one weight each."""
        pieces = self._pieces(self.blocks)
        return min(self._thin_cost(tokens, pieces), self._whole_cost(tokens, pieces))

    def merging_cost(self) -> int:
        """Multiplications of `merged`, all entries active."""
        return self._whole_cost(0, self._pieces(self.blocks))

    def _is_whole_cheaper(self, tokens: int, pieces: Sequence[tuple[int, int, int]]) -> bool:
        """True if Δ is worked out first: for ranks beyond in · out / (in + out), with enough tokens."""
        return self._whole_cost(tokens, pieces) < self._thin_cost(tokens, pieces)

    def _thin_cost(self, tokens: int, pieces: Sequence[tuple[int, int, int]]) -> int:
        columns = self.geometry.columns
        return sum(tokens * (last - first) * (columns + self.rows[group][1]) for group, first, last in pieces)

    def _whole_cost(self, tokens: int, pieces: Sequence[tuple[int, int, int]]) -> int:
        columns = self.geometry.columns
        return sum((last - first + tokens) * columns * self.rows[group][1] for group, first, last in pieces)

    def _delta(self, group: int, first: int, last: int, factors: Tensor) -> Tensor:
        up = (self._up(group, first, last) * factors[:, None]).to(self.down.dtype)
        return (up.T @ self.down[first:last].flatten(1)).reshape(-1, *self.geometry.shape[1:])

    def _up(self, group: int, first: int, last: int) -> Tensor:
        """`[columns, rows]`."""
        up: Tensor = getattr(self, f"up{group}")
        return up.narrow(1, first - self.firsts[group], last - first).T

    def _pieces(self, blocks: Sequence[_Block]) -> list[tuple[int, int, int]]:
        """(group, first column, end) of the parts of the rows that neighbouring blocks are for."""
        pieces: list[tuple[int, int, int]] = []
        for block in blocks:
            if pieces and pieces[-1][0] == block.group:
                pieces[-1] = (block.group, pieces[-1][1], block.stop)
            else:
                pieces.append((block.group, block.start, block.stop))
        return pieces

    def _runs(self, active: Sequence[bool]) -> list[list[_Block]]:
        """Blocks of active entries, those that stand next to each other together."""
        runs: list[list[_Block]] = []
        for block in self.blocks:
            if not active[block.entry]:
                continue
            if runs and runs[-1][-1].stop == block.start:
                runs[-1].append(block)
            else:
                runs.append([block])
        return runs
