"""One layer's side path: what is done in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...algorithms.lora import LoRA
from ...sentences import say
from .geometry import CONVOLUTIONS, Geometry, by_row
from .low_rank import LowRank
from .paths import Matrix, Thinner
from .pieces import Pieces, Values
from .terms import LiveTerm
from .turns import Turned

Base = Callable[[Tensor], Tensor]
"""The layer itself, without what is added to it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiplications of a layer with plain LoRAs only, beyond its own; None if it has others.

    In place of the layer, with its weight at hand, merging is the cheaper one from in · out / (in + out) positions on.
    After it, as a hook, it is never: the layer has run, and would run twice.
    """

    beside: int | None
    """By `LiveLayer.forward`."""
    merging: int | None
    """By `LiveLayer.merged`."""


def supports(term: LiveTerm, geometry: Geometry) -> str | None:
    """Why a term cannot work beside a layer, in words, so that it has to be merged; None if it can."""
    dims, adapter = len(geometry.shape), term.adapter
    if dims < 2:
        return say("the scale of a norm has no path beside it")
    if dims > 2 and dims not in CONVOLUTIONS:
        return say("no layer has a weight of shape {shape}", shape=list(geometry.shape))
    if term.place.offset is not None and term.place.offset[0] != 0:
        return say("it changes some columns of the weight")
    if term.place.offset is not None and geometry.groups != 1:
        return say("it changes a part of a convolution that has groups")
    if isinstance(adapter, LoRA) and adapter.padded not in (None, geometry.shape):
        return say("it makes the weight larger, {shape}", shape=list(adapter.padded or ()))
    return None


def is_plain(term: LiveTerm) -> bool:
    """True for a LoRA of two halves: a layer that has no others can be `merged`."""
    return isinstance(term.adapter, LoRA) and term.adapter.mid is None and term.adapter.padded is None


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

        Raises `ValueError`, in words, where a term does not fit the layer or `supports` says no.
        """
        super().__init__()
        for term in weight_terms:
            if reason := supports(term, geometry):
                raise ValueError(f"{type(term.adapter).__name__} cannot work beside the layer: {reason}")
        self.geometry = geometry
        self.dtype = dtype
        self._terms = (tuple(weight_terms), tuple(bias_terms))
        pieces = self._taken_apart(None, None)
        self.parts = _Parts(pieces)
        runs_base = any(turned.on_input for turned in pieces.turned)
        sees_bias = geometry.has_bias and (pieces.uses_outputs or pieces.needs_bias)
        self._needs_base = pieces.needs_weight or runs_base or sees_bias
        self._needs_preparing = pieces.needs_weight or sees_bias
        if not self._needs_preparing:
            self._terms = ((), ())  # the files' tensors are not needed any more

    def needs_base(self) -> bool:
        """True when `prepare` must be called once, and `base` may be called in `forward`."""
        return self._needs_base

    def prepare(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Takes what it needs of the original weight and bias, which are of any floating dtype and not quantized.

        The numbers are worked out on the weight's device. May be called again, and where nothing is needed.
        """
        if not any(self._terms):
            return
        parts = _Parts(self._taken_apart(weight, bias))
        for buffer, prepared in zip(self.parts.buffers(), parts.buffers(), strict=True):
            buffer.copy_(prepared)
        self._needs_preparing = False

    def cost(self, tokens: int) -> Cost:
        """What an output of `tokens` positions costs with all entries active; see `Cost`."""
        low_rank = self.parts.low_rank
        is_low_rank = low_rank is not None and self.parts.is_low_rank
        return Cost(low_rank.cost(tokens), low_rank.merging_cost()) if low_rank and is_low_rank else Cost(None, None)

    def merged(self, weight: Tensor, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """A new weight of the layer's with all terms added, in the dtype of `weight`; for layers that have a `cost`.

        `weights` are `[entries]`. The sum is rounded to the dtype, as when LoRAs are merged.
        """
        if self.parts.low_rank is None or not self.parts.is_low_rank:
            raise ValueError("only plain LoRAs are merged here")
        return self.parts.low_rank.merged(weight, weights, active)

    def is_active(self, active: Sequence[bool]) -> bool:
        """True if anything is added while these entries are not 0."""
        return any(active[entry] for entry in self.parts.used)

    def is_addable(self) -> bool:
        """True if `new_weight` can be asked for: all algorithms on linear layers, plain LoRAs on convolutions."""
        return self.geometry.is_linear or (self.parts.low_rank is not None and self.parts.is_low_rank)

    def new_weight(self, weight: Tensor, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """A weight of the layer's with all terms added, for one use of it; `weights` are `[entries]`.

        By low-rank products if all are plain LoRAs; else row by row of the identity, which costs at least as much as
        an output of as many positions. In the dtype of `weight`, rounded as when LoRAs are merged.
        """
        if self.parts.low_rank is not None and self.parts.is_low_rank:
            return self.parts.low_rank.merged(weight, weights, active)
        if not self.geometry.is_linear:
            raise ValueError("only plain LoRAs can be added to the weight of a convolution")
        if self._needs_preparing:
            raise RuntimeError("this layer's weight is needed first: call prepare")
        if not self.is_active(active):
            return weight
        wide = weight.to(self.dtype)
        bias = self.parts.bias

        def base(x: Tensor) -> Tensor:
            return torch.nn.functional.linear(x, wide, bias)

        identity = torch.eye(wide.shape[1], dtype=self.dtype, device=wide.device)
        rows = wide.T.clone() if bias is None else wide.T + bias
        rows = self._added(identity, rows, base, weights, active)
        return (rows if bias is None else rows - bias).T.to(weight.dtype).contiguous()

    def has_shifts(self) -> bool:
        """True if something is added to the layer's bias, too."""
        return len(self.parts.shifts) > 0

    def new_bias(self, bias: Tensor, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """A bias of the layer's with all terms added; goes with `new_weight`."""
        shifts = _sum(self.parts.shifts, weights, active)
        return bias if shifts is None else (bias.to(shifts.dtype) + shifts).to(bias.dtype)

    def _taken_apart(self, weight: Tensor | None, bias: Tensor | None) -> Pieces:
        pieces = Pieces(self.geometry, self.dtype, weight, bias)
        for term in self._terms[0]:
            pieces.add(term)
        for term in self._terms[1]:
            pieces.add_bias(term)
        return pieces

    def forward(self, x: Tensor, y: Tensor, base: Base, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """The layer's output `y` for its input `x` with all terms added: `y` itself, changed, or a new tensor.

        `weights`, on the device of `x`, has a number per entry, `[entries]`, or one for each row of the batch,
        `[batch, entries]`; fp32, or fp64. Entries that are not `active` count as 0 and cost nothing.
        """
        if self._needs_preparing:
            raise RuntimeError("this layer's weight is needed first: call prepare")
        parts = self.parts
        if not any(active[entry] for entry in parts.used):
            return y
        result = self._added(x.to(self.dtype), y.to(self.dtype), base, weights, active)
        shifts = _sum(parts.shifts, weights, active)
        result = result if shifts is None else result.add_(self._by_channel(shifts, result))
        return result.to(y.dtype)

    def delta(self, x: Tensor, y: Tensor, base: Base, weights: Tensor, active: Sequence[bool]) -> Tensor:
        """What `forward` adds to `y`, which stays as it is: a new tensor of its shape, in the dtype of the LoRAs."""
        if self._needs_preparing:
            raise RuntimeError("this layer's weight is needed first: call prepare")
        parts = self.parts
        uses_y = any(active[row.entry] for row in parts.factors) or any(
            active[path.entry] and not path.on_input for path in parts.turned
        )
        wide = y.to(self.dtype)
        start = wide.clone() if uses_y else torch.zeros_like(wide)
        result = self._added(x.to(self.dtype), start, base, weights, active)
        result = result.sub_(wide) if uses_y else result
        shifts = _sum(parts.shifts, weights, active)
        return result if shifts is None else result.add_(self._by_channel(shifts, result))

    def _added(self, x: Tensor, y: Tensor, base: Base, weights: Tensor, active: Sequence[bool]) -> Tensor:
        parts, geometry = self.parts, self.geometry
        view, y = geometry.writable(y)
        factors = _sum(parts.factors, weights, active)
        turned = [path for path in parts.turned if active[path.entry]]
        if factors is not None or any(not path.on_input for path in turned):
            # Outputs without the bias, before anything is added to them.
            original = y.clone() if parts.bias is None else y - geometry.along(parts.bias, y.dim())
            if factors is not None:
                y.addcmul_(original, self._by_channel(factors, y))
            for path in turned:
                if not path.on_input:
                    change = path.turn(original.narrow(geometry.channel, path.start, path.count))
                    self._add(y, path, self._weighted(change, path.entry, weights))
        self._add_inputs(x, y, [path for path in turned if path.on_input], base, weights)
        if parts.low_rank is not None:
            parts.low_rank(x, view, weights, active)
        self._add_matrices(x, y, view, [path for path in parts.matrices if active[path.entry]], weights)
        for path in parts.thinner:
            if active[path.entry]:
                path(x, y, view, weights)
        return y

    def _add_inputs(self, x: Tensor, y: Tensor, turned: Sequence[Turned], base: Base, weights: Tensor) -> None:
        """What the layer makes of other inputs; one run for all whose outputs go to the same rows unscaled."""
        runs: dict[tuple[int, int, int], list[Turned]] = {}
        for number, path in enumerate(turned):
            runs.setdefault((path.start, path.count, -1 if path.factors is None else number), []).append(path)
        for paths in runs.values():
            inputs = [self._weighted(path.turn(x), path.entry, weights) for path in paths]
            total = inputs[0]
            for other in inputs[1:]:
                total = total + other
            outputs = base(total).to(self.dtype)
            if self.parts.bias is not None:
                outputs = outputs - self.geometry.along(self.parts.bias, outputs.dim())
            self._add(y, paths[0], outputs.narrow(self.geometry.channel, paths[0].start, paths[0].count))

    def _add_matrices(self, x: Tensor, y: Tensor, view: Tensor, paths: Sequence[Matrix], weights: Tensor) -> None:
        """Products with whole matrices; one for all that go to the same rows where the batch has one weight."""
        runs: dict[tuple[int, int, int], list[Matrix]] = {}
        for number, path in enumerate(paths):
            runs.setdefault((path.start, path.count, number if weights.dim() == 2 else -1), []).append(path)
        for (start, count, _), members in runs.items():
            if weights.dim() == 2:
                result = self.geometry.product(x, members[0].matrix())
                result = self.geometry.scaled(result, members[0].factor(weights))
                y.narrow(self.geometry.channel, start, count).add_(result)
                continue
            total = members[0].matrix() * members[0].factor(weights)
            for path in members[1:]:
                total = total + path.matrix() * path.factor(weights)
            self.geometry.add_whole(view, x, total.to(x.dtype), start)

    def _add(self, y: Tensor, path: Turned, change: Tensor) -> None:
        part = y.narrow(self.geometry.channel, path.start, path.count)
        if path.factors is None:
            part.add_(change)
        else:
            part.addcmul_(change, self.geometry.along(path.factors, change.dim()))

    def _weighted(self, fresh: Tensor, entry: int, weights: Tensor) -> Tensor:
        return self.geometry.scaled(fresh, weights.narrow(-1, entry, 1))

    def _by_channel(self, values: Tensor, y: Tensor) -> Tensor:
        """`[out]` or `[batch, out]` as a factor of `y` or a summand."""
        values = by_row(values, len(y)) if values.dim() == 2 else values
        return self.geometry.along(values.to(y.dtype), y.dim())


class _Row(torch.nn.Module):
    """A number per output, at its weight."""

    values: Tensor

    def __init__(self, row: Values) -> None:
        super().__init__()
        self.entry = row.entry
        self.register_buffer("values", row.values)


def _sum(rows: Sequence[_Row], weights: Tensor, active: Sequence[bool]) -> Tensor | None:
    """`[out]`, or `[batch, out]`; None if no row is active."""
    total: Tensor | None = None
    for row in rows:
        if active[row.entry]:
            share = weights.narrow(-1, row.entry, 1) * row.values
            total = share if total is None else total + share
    return total


class _Parts(torch.nn.Module):
    """The tensors of a side path."""

    bias: Tensor | None

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.low_rank = LowRank(pieces.thin, pieces.geometry) if pieces.thin else None
        self.matrices = tuple(path for path in pieces.paths if isinstance(path, Matrix))
        self.thinner = tuple(path for path in pieces.paths if isinstance(path, Thinner))
        self.turned = tuple(pieces.turned)
        self.factors = tuple(map(_Row, pieces.factors))
        self.shifts = tuple(map(_Row, pieces.shifts))
        paths = (*self.matrices, *self.thinner, *self.turned, *self.factors, *self.shifts)
        self.moved = torch.nn.ModuleList(paths)
        self.used = frozenset(path.entry for path in paths) | frozenset(thin.entry for thin in pieces.thin)
        self.is_low_rank = not paths
        has_bias = pieces.geometry.has_bias and pieces.uses_outputs
        self.register_buffer("bias", pieces.bias() if has_bias else None)
