"""How strong each LoRA of a stack is, where, and against which other one: measured at weight 1, told at any weights.

Everything comes from the files' factors by small matrices (`products.py`); nothing is applied. Strength is ‖s·Δ‖
(Frobenius), over the layers of a block or of the whole model: √Σ ‖s·Δ‖². Two LoRAs compete where their updates point
the same way, cos = ⟨Δᵢ, Δⱼ⟩ / (‖Δᵢ‖·‖Δⱼ‖): there they add up, and one does the other's work again; below 0, they undo
each other's.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from ..algorithms.lora import LoRA
from ..apply.fuse import Term
from ..apply.plan import Change, Part, Plan
from ..architectures.blocks import find_block, find_part, in_order
from ..architectures.sites import Offset
from ..errors import AdapterError, StackError
from ..spelling import slots
from ..spelling.prefixes import MODEL
from .deltas import Delta, Shape, find_delta, meeting, shape_of
from .products import Products, Scratch, lay_out, products
from .workers import ahead

MOST_LORAS = 256
"""LoRAs that are compared; the pairs grow with the square. 200 of rank 32 on all of SDXL take some minutes."""

FindWeight = Callable[[Change], Tensor | None]
"""The model's weight of a change in fp32, or None if it is not at hand."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One LoRA of the plan."""

    row: int
    """Number of its first row, from 1; of one that came in with the model, its number among these."""
    name: str
    model: float
    """Weight for the diffusion model, without what changes over the steps."""
    clip: float
    """Weight for the text encoders."""
    changes: bool
    """True if the weight for the diffusion model changes over the steps or with the conditioning."""
    is_before: bool = False
    """True for one that came in with the model: it is in no row, and no weight is suggested for it."""

    @property
    def label(self) -> str:
        """A short one: `3` for a row, `b1` for what came in with the model."""
        return f"b{self.row}" if self.is_before else str(self.row)


@dataclass(frozen=True, slots=True)
class Before:
    """What came in with the model, as far as it can be told apart: one LoRA, or several together."""

    name: str
    weight: float
    """The weight that most of its layers have."""
    parts: Mapping[Change, Sequence[Piece]]
    """At that weight being 1."""
    left_out: Mapping[str, int]
    """Why → in how many layers."""
    changes: bool = False
    """True if its weight changes over the steps; it counts without what changes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is added to one weight of the model, or to a part of it."""

    term: Term
    offset: Offset | None
    shape: Shape | None
    """Of the part of the weight, if it is known."""


@dataclass(frozen=True, slots=True)
class Group:
    """The layers of one kind in one block of one component."""

    component: str
    """`MODEL`, or `CLIP` for all text encoders."""
    block: str
    """See `architectures.blocks.find_block`."""
    part: str
    """Of `architectures.blocks.PARTS`."""
    gram: Tensor = field(repr=False)
    """`[count, count]`: ⟨Δᵢ, Δⱼ⟩ at weight 1, over all these layers."""
    spectral: Tensor = field(repr=False)
    """`[count]`: the largest singular value of any of these layers at weight 1."""
    base: float | None = None
    """‖W‖ of the layers that any LoRA changes; None if the model's weights are not at hand."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Figures of pairs over all layers, each `[count, count]`; NaN where they cannot be told."""

    inputs: Tensor = field(repr=False)
    """Share of the input directions of the smaller one that the other has, 0 … 1, weighted by what both add there."""
    outputs: Tensor = field(repr=False)
    conflicts: Tensor = field(repr=False)
    """Share of the elements whose signs are opposite, 0 … 1; estimated. Chance gives 0.5."""
    errors: Tensor = field(repr=False)
    """Standard error of that."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What was measured; the methods tell it at any weights."""

    loras: tuple[Compared, ...]
    """What came in with the model, then the others in the order of their rows."""
    groups: tuple[Group, ...]
    """In the order in which data flows through a UNet, other blocks by name and number; text encoders last."""
    pairs: Pairs
    left_out: tuple[tuple[int, str, int], ...]
    """(number of the LoRA, why, in how many layers) for what is not counted."""

    def rows(self) -> list[int]:
        """The numbers of the LoRAs that are in rows."""
        return [lora for lora, item in enumerate(self.loras) if not item.is_before]

    def only(self, loras: Sequence[int]) -> Balance:
        """The same of some LoRAs, without what was left out."""
        chosen = list(loras)
        groups = [
            replace(group, gram=group.gram[chosen][:, chosen], spectral=group.spectral[chosen]) for group in self.groups
        ]
        tables = (self.pairs.inputs, self.pairs.outputs, self.pairs.conflicts, self.pairs.errors)
        pairs = Pairs(*(table[chosen][:, chosen] for table in tables))
        return Balance(tuple(self.loras[lora] for lora in chosen), tuple(groups), pairs, ())

    def weights(self) -> Tensor:
        """`[count, 2]`: the rows' own weights for the diffusion model and the text encoders."""
        return torch.tensor([[lora.model, lora.clip] for lora in self.loras], dtype=torch.float64).reshape(-1, 2)

    def gram(self, weights: Tensor | None = None, groups: Sequence[Group] | None = None) -> Tensor:
        """`[count, count]`: ⟨sᵢ·Δᵢ, sⱼ·Δⱼ⟩ over some groups, or all."""
        weights = self.weights() if weights is None else weights
        total = _zeros(len(self.loras), len(self.loras))
        for group in self.groups if groups is None else groups:
            scale = weights[:, 0 if group.component == MODEL else 1]
            total += group.gram * scale[:, None] * scale
        return total

    def strengths(self, weights: Tensor | None = None, groups: Sequence[Group] | None = None) -> Tensor:
        """`[count]`: ‖s·Δ‖ over some groups, or all."""
        return _norms(self.gram(weights, groups))

    def spectral(self, weights: Tensor | None = None) -> Tensor:
        """`[count]`: the largest singular value that s·Δ has in any layer."""
        weights = self.weights() if weights is None else weights
        rows = [group.spectral * weights[:, 0 if group.component == MODEL else 1].abs() for group in self.groups]
        return torch.stack(rows).amax(0) if rows else _zeros(len(self.loras))

    def cosines(self, groups: Sequence[Group] | None = None, weights: Tensor | None = None) -> Tensor:
        """`[count, count]`: the cosine between what two rows add; 0 where one of them adds nothing."""
        gram = self.gram(weights, groups)
        norms = _norms(gram)
        both = norms[:, None] * norms
        return torch.where(both == 0, 0, gram / both).clamp(-1, 1)

    def blocks(self) -> Mapping[str, tuple[Group, ...]]:
        """The groups by their blocks, in order."""
        result: dict[str, tuple[Group, ...]] = {}
        for group in self.groups:
            result[group.block] = (*result.get(group.block, ()), group)
        return result

    def base(self, groups: Sequence[Group] | None = None) -> float | None:
        """‖W‖ of the layers of some groups, or of all; None if it is not known."""
        return _base(group.base for group in (self.groups if groups is None else groups))


def nothing() -> Balance:
    """The balance of no LoRAs."""
    sums = _Sums(0)
    return Balance((), sums.groups(), sums.pairs(), ())


def measure(
    plan: Plan,
    find_weight: FindWeight | None = None,
    progress: Callable[[int, int], None] | None = None,
    before: Sequence[Before] = (),
) -> Balance:
    """Measures the LoRAs of a plan, layer by layer; of each only the tensors of a few layers are in memory.

    `before` is what came in with the model. `find_weight` gives the model's weights, for ‖W‖ and for adapters whose Δ
    depends on them. `progress` is called with (layers done, layers in all). Raises `StackError` for more LoRAs than
    `MOST_LORAS`, `AdapterError` for a file that cannot be read.
    """
    count = len(before) + len(plan.chosen)
    if count > MOST_LORAS:
        raise StackError(f"{count} LoRAs cannot be compared at once; at most {MOST_LORAS} can")
    order = sorted(range(len(plan.chosen)), key=lambda index: plan.chosen[index].weighted.row)
    number = {plan.chosen[index].file.path: place for place, index in enumerate(order, len(before))}
    loras = (
        *(
            Compared(place, item.name, item.weight, item.weight, item.changes, True)
            for place, item in enumerate(before, 1)
        ),
        *(_compared(plan, index) for index in order),
    )
    sums = _Sums(count)
    changes = list(
        dict.fromkeys(change for parts in (*(item.parts for item in before), plan.changes) for change in parts)
    )

    one_reads, one_builds, own = threading.Lock(), threading.Lock(), threading.local()

    def look_at(change: Change) -> _Layer:
        pieces = [piece.term.adapter for item in before for piece in item.parts.get(change, ())]
        is_plain = all(isinstance(adapter, LoRA) for adapter in pieces) and all(
            part.module.algorithm == slots.LORA for part in plan.changes.get(change, ())
        )
        with contextlib.nullcontext() if is_plain else one_builds:  # each Δ is as large as the weight
            return measured(change)

    def measured(change: Change) -> _Layer:
        with one_reads:
            weight = find_weight(change) if find_weight else None
        found = [
            (lora, _read_piece(lora, piece, weight))
            for lora, item in enumerate(before)
            for piece in item.parts.get(change, ())
        ]
        for part in plan.changes.get(change, ()):
            lora = number[part.file.path]
            found.append((lora, _read_part(lora, part, _factor(loras[lora], change, part), weight)))
        if not hasattr(own, "scratch"):
            own.scratch = Scratch()
        return _layer(change, found, weight, count, own.scratch)

    for done, layer in enumerate(ahead(look_at, changes)):
        sums.add(layer)
        if progress:
            progress(done + 1, len(changes))
    for lora, item in enumerate(before):
        sums.leave_out(lora, item.left_out)
    return Balance(loras, sums.groups(), sums.pairs(), sums.left_out())


@dataclass(frozen=True, slots=True)
class _Layer:
    """One change, read and measured."""

    change: Change
    found: tuple[Products, ...]
    """Of each run of rows in which the same LoRAs meet."""
    left_out: tuple[tuple[int, str], ...]
    """(number of the LoRA, why)."""
    base: float | None
    """‖W‖, if it is known."""


def _read_piece(lora: int, piece: Piece, weight: Tensor | None) -> Delta | str:
    """One that does not fit is left out, as whoever applied it did."""
    try:
        return find_delta(lora, piece.term, piece.offset, weight, piece.shape)
    except ValueError as error:
        return str(error)


def _read_part(lora: int, part: Part, factor: float, weight: Tensor | None) -> Delta | str:
    try:
        return find_delta(lora, replace(part.term(), weight=factor), part.place.offset, weight, shape_of(part))
    except ValueError as error:
        raise AdapterError(part.file.path, part.module.name, str(error)) from error


def _layer(
    change: Change, found: Sequence[tuple[int, Delta | str]], weight: Tensor | None, count: int, scratch: Scratch
) -> _Layer:
    """What the LoRAs of these numbers add to one change, or why that is not counted."""
    generator = torch.Generator().manual_seed(_seed(change.key))
    runs = meeting([delta for _, delta in found if isinstance(delta, Delta)])
    left_out = tuple((lora, why) for lora, why in found if isinstance(why, str))
    measured = tuple(products(lay_out(run, scratch.restart()), count, generator) for run in runs)
    return _Layer(change, measured, left_out, None if weight is None else _norm(weight))


def _norm(weight: Tensor) -> float:
    rows = weight.flatten(1) if weight.dim() > 1 else weight[:, None]
    norms = cast(Tensor, torch.linalg.vector_norm(rows, dim=1))  # pyright: ignore[reportUnknownMemberType]
    return math.sqrt(float(norms.double().square().sum()))


def _factor(lora: Compared, change: Change, part: Part) -> float:
    """What a part's block makes of the LoRA's weight: a LoRA without a weight of its own is compared without it."""
    own = lora.model if change.component == MODEL else lora.clip
    return part.weight / own if own else 1.0


def _compared(plan: Plan, index: int) -> Compared:
    weighted = plan.chosen[index].weighted
    return Compared(weighted.row, weighted.entry.lora, weighted.model, weighted.clip, not weighted.is_constant)


class _Sums:
    """What layers add up to."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._groups: dict[tuple[str, str, str], tuple[Tensor, Tensor, list[float | None]]] = {}
        self._left_out: Counter[tuple[int, str]] = Counter()
        self._shared, self._added = _zeros(2, count, count), _zeros(2, count, count)
        self._signs = _zeros(6, count, count)
        """Sums over the runs of: opposite, sampled, opposite², opposite · sampled, sampled², and runs with any."""

    def add(self, layer: _Layer) -> None:
        """Adds one layer."""
        self._left_out.update(layer.left_out)
        path = layer.change.key
        key = layer.change.component, find_block(path, layer.change.component != MODEL), find_part(path)
        if key not in self._groups:
            self._groups[key] = _zeros(self._count, self._count), _zeros(self._count), []
        gram, spectral, base = self._groups[key]
        base.append(layer.base)
        for found in layer.found:
            gram += found.gram
            torch.maximum(spectral, found.spectral, out=spectral)
            self._add_pairs(found)

    def leave_out(self, lora: int, why: Mapping[str, int]) -> None:
        """Counts layers that were left out before."""
        for reason, count in why.items():
            self._left_out[lora, reason] += count

    def _add_pairs(self, found: Products) -> None:
        norms = _norms(found.gram)
        both = norms[:, None] * norms
        for place, table in enumerate((found.inputs, found.outputs)):
            is_known = ~table.isnan()
            self._shared[place] += torch.where(is_known, table * both, 0)
            self._added[place] += torch.where(is_known, both, 0)
        opposite, sampled = found.opposite, found.sampled
        for total, term in zip(
            self._signs,
            (opposite, sampled, opposite.square(), opposite * sampled, sampled.square(), sampled > 0),
            strict=True,
        ):
            total += term

    def groups(self) -> tuple[Group, ...]:
        """In the order of `Balance.groups`."""
        found = [Group(*key, gram, spectral, _base(base)) for key, (gram, spectral, base) in self._groups.items()]
        return tuple(sorted(found, key=lambda group: (group.component != MODEL, in_order(group.block), group.part)))

    def pairs(self) -> Pairs:
        """0 / 0 is NaN: where nothing was compared, nothing is known."""
        opposite, total, opposite_squares, mixed, squares, runs = self._signs
        conflicts = opposite / total
        # The elements of one layer hang together, so layers are what is counted as independent.
        spread = (opposite_squares - 2 * conflicts * mixed + conflicts.square() * squares).clamp_min(0)
        errors = (spread * runs / (runs - 1)).sqrt() / total
        shared = self._shared / self._added
        return Pairs(shared[0], shared[1], conflicts, errors)

    def left_out(self) -> tuple[tuple[int, str, int], ...]:
        """As `Balance.left_out`."""
        return tuple((lora, why, count) for (lora, why), count in sorted(self._left_out.items()))


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _norms(gram: Tensor) -> Tensor:
    return gram.diagonal().clamp_min(0).sqrt()


def _base(norms: Iterable[float | None]) -> float | None:
    """The norm of all layers from those of each; None where one is not known."""
    squares = [None if norm is None else norm * norm for norm in norms]
    known = [square for square in squares if square is not None]
    return math.sqrt(math.fsum(known)) if known and len(known) == len(squares) else None


def _seed(key: str) -> int:
    """The same rows are sampled each time."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
