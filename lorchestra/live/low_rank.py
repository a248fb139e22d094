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
            self.register_buffer(f"up{number}", torch.cat([half.up for half in members]))
        self.register_buffer("down", torch.cat([half.down for _, members in ordered for half in members]))
        self.register_buffer("entries", torch.tensor(entries))

    def forward(self, x: Tensor, view: Tensor, weights: Tensor, active: Sequence[bool]) -> None:
        """Adds to `view`, the layer's output as `Geometry.view` has it, in place."""
        for blocks in self._runs(active):
            start, stop = blocks[0].start, blocks[-1].stop
            down = self.down[start:stop]
            factors = weights.index_select(-1, self.entries[start:stop])
            hidden = self.geometry.scaled(self.geometry.product(x, down), factors)
            hidden = self.geometry.view(hidden, view.dim())
            for group in dict.fromkeys(block.group for block in blocks):
                mine = [block for block in blocks if block.group == group]
                first, last = mine[0].start, mine[-1].stop
                columns = hidden if (first, last) == (start, stop) else hidden.narrow(1, first - start, last - first)
                up: Tensor = getattr(self, f"up{group}")
                up = up[first - self.firsts[group] : last - self.firsts[group]]
                add_product(view.narrow(1, *self.rows[group]), columns, up)

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
