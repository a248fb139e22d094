"""LoRAs beside a layer, not in its weight: y += Σ wₑ·Δₑ·x, for linear layers and convolutions, at weights that change.

The layer's weight is never touched, so it may be quantized, and a new weight of a LoRA is a new number in a small
vector. The halves of plain LoRAs are concatenated as in `lorchestra/fuse.py`: one thin product down, the columns times
their weights, one up. The caller brings the terms in canonical order; the result is independent, to the bit, of the
order in which a person lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .algorithms.base import Adapter
from .algorithms.lora import LoRA, down_matrix, up_matrix
from .placing import Offset

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
"""By the dimensions of the weight."""


@dataclass(frozen=True, slots=True)
class LiveTerm:
    """An adapter at a layer's weight or bias: one summand."""

    adapter: Adapter
    entry: int
    """Which weight of the vector is its own."""
    offset: Offset | None = None
    """Rows of a fused layer, (0, start, length); None for all of it."""
    swapped: bool = False
    """True where the file has the second half of the rows first."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a layer does with its weight."""

    shape: tuple[int, ...]
    """Of the weight: `[out, in]`, or `[out, in / groups, kernel …]` of a convolution with zeros around."""
    stride: tuple[int, ...] | int = 1
    padding: tuple[int, ...] | int | str = 0
    dilation: tuple[int, ...] | int = 1
    groups: int = 1
    has_bias: bool = False

    @property
    def is_linear(self) -> bool:
        """True for `[out, in]`, whose channels stand last."""
        return len(self.shape) == 2

    @property
    def channel(self) -> int:
        """The dimension of the inputs and outputs that has the channels."""
        return -1 if self.is_linear else 1

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """What the layer would make of `x` with another weight, of any number of rows, and no bias."""
        if self.is_linear:
            return F.linear(x, weight)
        convolve = _CONVOLUTIONS[len(self.shape)]
        return convolve(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


def supports(term: LiveTerm, geometry: Geometry) -> str | None:
    """Why a term cannot work beside a layer, in words, so that it has to be merged; None where it can."""
    adapter = term.adapter
    if len(geometry.shape) < 2:
        return "the scales of a norm are merged"
    if len(geometry.shape) not in (2, *_CONVOLUTIONS):
        return f"no layer has a weight of shape {list(geometry.shape)}"
    if term.offset is not None and term.offset[0] != 0:
        return "it changes a part of the columns"
    if not isinstance(adapter, LoRA):
        return f"{type(adapter).__name__} is merged"
    if adapter.padded not in (None, geometry.shape):
        return f"it makes the layer larger, {list(adapter.padded)}"
    if geometry.groups != 1:
        return "the convolution has groups"
    return None


@dataclass(frozen=True, slots=True)
class _Thin:
    """The halves of one term."""

    entry: int
    start: int
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


class _LowRank(torch.nn.Module):
    """All plain LoRAs of one layer: halves concatenated, those of one part of the rows next to each other."""

    down: Tensor
    entries: Tensor

    def __init__(self, halves: Sequence[_Thin], geometry: Geometry) -> None:
        super().__init__()
        groups: dict[tuple[int, int], list[_Thin]] = {}
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
        """Adds to `view`, the layer's output as `[tokens, out]` or `[batch, out, positions]`, in place."""
        for blocks in self._runs(active):
            start, stop = blocks[0].start, blocks[-1].stop
            hidden = self.geometry.product(x, self.down[start:stop])
            hidden = _scaled(hidden, weights.index_select(-1, self.entries[start:stop]), self.geometry)
            hidden = _view(hidden, self.geometry, view.dim())
            for group in dict.fromkeys(block.group for block in blocks):
                mine = [block for block in blocks if block.group == group]
                first, last = mine[0].start, mine[-1].stop
                up: Tensor = getattr(self, f"up{group}")
                up = up[first - self.firsts[group] : last - self.firsts[group]]
                columns = hidden if (first, last) == (start, stop) else hidden.narrow(1, first - start, last - first)
                _add_product(view.narrow(1, *self.rows[group]), columns, up)

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


def _scaled(hidden: Tensor, factors: Tensor, geometry: Geometry) -> Tensor:
    """The columns of `hidden` times `factors`, `[columns]` or `[batch, columns]`, whose digits are all used."""
    if factors.dim() == 2:
        factors = _by_row(factors, hidden.shape[0])
    ones = [1] * (hidden.dim() - 2)
    if geometry.is_linear:
        factors = factors.reshape(*factors.shape[:-1], *ones, -1) if factors.dim() == 2 else factors
    else:
        factors = factors.reshape(*factors.shape, *ones)
    if factors.dtype == hidden.dtype:
        return hidden.mul_(factors)
    return (hidden * factors).to(hidden.dtype)


def _by_row(factors: Tensor, count: int) -> Tensor:
    """`[batch, n]` for a layer that sees `count` rows, several for each of the batch where frames are rows."""
    batch = factors.shape[0]
    if count == batch:
        return factors
    if count % batch:
        raise ValueError(f"weights for {batch} rows of a batch cannot be told apart in a layer that sees {count}")
    return factors.repeat_interleave(count // batch, 0)


def _view(y: Tensor, geometry: Geometry, dims: int) -> Tensor:
    """`[tokens, channels]` for 2 dims, `[batch, channels, positions]` for 3."""
    if dims == 3:
        return y.flatten(2)
    return (y if geometry.is_linear else y.movedim(1, -1)).reshape(-1, y.shape[geometry.channel])


def _add_product(part: Tensor, columns: Tensor, up: Tensor) -> None:
    """part += columns · up in place, rounded once."""
    if part.dim() == 2:
        part.addmm_(columns, up)
    else:
        part.baddbmm_(up.T.expand(len(part), -1, -1), columns)


class LiveLayer(torch.nn.Module):
    """What LoRAs add to one layer's output. All of its tensors are buffers, so that it is moved as modules are."""

    def __init__(
        self,
        weight_terms: Sequence[LiveTerm],
        bias_terms: Sequence[LiveTerm],
        geometry: Geometry,
        dtype: torch.dtype,
    ) -> None:
        """From terms in canonical order; `dtype` is that of the layer's inputs.

        Raises `ValueError`, in words, where a term does not fit the layer or `supports` refuses it.
        """
        super().__init__()
        self.geometry = geometry
        self.dtype = dtype
        halves = [half for term in weight_terms for half in _halves(term, geometry, dtype)]
        self.low_rank = _LowRank(halves, geometry) if halves else None

    def needs_base(self) -> bool:
        """True when `prepare` must be called once, and `base` may be called in `forward`."""
        return False

    def prepare(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Takes what it needs of the original weight and bias (of any floating dtype, not quantized)."""

    def forward(
        self, x: Tensor, y: Tensor, base: Callable[[Tensor], Tensor], weights: Tensor, active: Sequence[bool]
    ) -> Tensor:
        """The layer's output `y` for its input `x` with all terms added; changed in place or a new tensor.

        `base` is the layer itself, without this. `weights`, on the device of `x`, has a number per entry, `[entries]`,
        or one for each row of the batch, `[batch, entries]`. Entries that are not `active` count as 0 and cost nothing.
        """
        view, y = _writable(y, self.geometry)
        if self.low_rank is not None:
            self.low_rank(x, view, weights, active)
        return y


def _writable(y: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """(`y` as a matrix or a batch of them, `y`), which share memory; a copy where it lies otherwise in memory."""
    if not geometry.is_linear and not y.is_contiguous() and y.movedim(1, -1).is_contiguous():
        return _view(y, geometry, 2), y
    y = y.contiguous()
    return _view(y, geometry, 2 if geometry.is_linear else 3), y


def _halves(term: LiveTerm, geometry: Geometry, dtype: torch.dtype) -> list[_Thin]:
    lora, reason = term.adapter, supports(term, geometry)
    if reason or not isinstance(lora, LoRA):
        raise ValueError(f"{type(lora).__name__} cannot work beside the layer: {reason}")
    wide = torch.promote_types(dtype, torch.float32)
    start, rows = term.offset[1:] if term.offset else (0, geometry.shape[0])
    up, down = up_matrix(lora).to(wide) * lora.scale, down_matrix(lora, wide)
    if up.shape[0] != rows or down.shape[1] != prod(geometry.shape[1:]):
        shape = [up.shape[0], down.shape[1]]
        raise ValueError(f"LoRA made for shape {shape} cannot change {rows} rows of {list(geometry.shape)}")
    if term.swapped:
        up = up.roll(rows // 2, 0)
    return [_Thin(term.entry, start, up.T.to(dtype), down.reshape(-1, *geometry.shape[1:]).to(dtype))]
