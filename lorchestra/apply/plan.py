"""From a stack and a model to the list of changes: which LoRAs, at which weights, on which weight of the model.

The plan is made before anything is changed; the parts of a change stand in canonical order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..algorithms.base import Adapter
from ..architectures.blocks import BlockNames
from ..architectures.sites import WHOLE, Offset, Place, has_text_encoders
from ..choices import MERGE, REFUSE, Choices
from ..errors import FileProblem, NotALora, StackError, all_in_one, shortened
from ..fit.outcome import BROKEN, INCOMPATIBLE, NOT_A_LORA, OFF, Outcome, outcome
from ..fit.rows import Files, find_rows, missing_error
from ..lora.cache import OpenLora, content_ids
from ..models.base import Base
from ..models.placing import Placed, Placement, place
from ..sentences import lines, say, together
from ..spelling.modules import Module
from ..spelling.prefixes import MODEL
from ..spelling.rows import Rows
from ..stack import Entry, Stack, Weighted
from ..stack import region as regions
from ..stack.blocks import factor_of, means
from ..stack.weights import add_up
from .fuse import Term

MERGED = Choices(mode=MERGE)
"""Refuses what does not fit, and takes constant weights only."""
CLIP = "clip"
"""The component of a change to any text encoder; the diffusion model's is `MODEL`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One module of one LoRA at its weight."""

    file: OpenLora
    module: Module
    weight: float
    """Of an entry that is not constant, as if it were: the rows' weights without what changes."""
    place: Place = WHOLE
    """The part of the model's weight that it changes."""
    entry: int | None = None
    """Where its weight is in `Plan.entries`; None for text encoders, whose weights are constant."""
    rows: Rows | None = None
    """The module's rows that are meant, where it is for several of the model's layers; None for all of them."""

    def adapter(self) -> Adapter:
        """Reads the tensors; raises `AdapterError` if they are not finite."""
        return self.file.adapter(self.module, self.rows)

    def term(self) -> Term:
        """The same with its weight and its place."""
        place = self.place
        return Term(self.adapter(), self.weight, place.swapped, place.transposed, place.heads)


@dataclass(frozen=True, slots=True)
class Change:
    """A weight or bias of the model that changes, in parts or as a whole."""

    component: str
    """`MODEL` or `CLIP`."""
    key: str
    """Key in the state dict."""


Key = tuple[str, str]
"""Of rows that are added up: their file, and their region, which is empty for the whole picture."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A LoRA of the stack with its file."""

    weighted: Weighted
    file: OpenLora
    content: str
    """Equal for equal contents; the canonical order."""
    rows: tuple[int, ...] = ()
    """The numbers of its active rows, whose weights are added up; those of one region, where rows have some."""

    @property
    def key(self) -> Key:
        """Tells it from the others."""
        return self.content, _region(self.weighted.entry)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a stack does to a model."""

    changes: Mapping[Change, tuple[Part, ...]]
    """Parts in canonical order: by the file's content, then the whole weight before parts of it, then by algorithm."""
    outcomes: tuple[Outcome, ...]
    """One per row, in the order of the rows. Rows of one file are added up; the first of them has the outcome."""
    chosen: tuple[Chosen, ...]
    """In canonical order."""
    split: tuple[Weighted, ...] = ()
    """What `entries` are where any row has weights per block."""

    @property
    def entries(self) -> tuple[Weighted, ...]:
        """The weights that parts of the diffusion model have, in canonical order: one for each LoRA, all its rows added
        up; of one with weights per block, one for each set of blocks that have the same factors."""
        return self.split or tuple(item.weighted for item in self.chosen)

    @property
    def is_constant(self) -> bool:
        """True when merging can do all of it: no weight changes over the steps or with the conditioning."""
        entries = self.entries
        return all(
            part.entry is None or entries[part.entry].is_constant for parts in self.changes.values() for part in parts
        )

    @property
    def is_regional(self) -> bool:
        """True when a LoRA acts on a part of the picture only, which merging cannot do."""
        return any(item.weighted.entry.region is not None for item in self.chosen)


def make_plan(stack: Stack, files: Files, base: Base, choices: Choices = MERGED) -> Plan:
    """Makes the plan; nothing is changed, and of the tensors only alphas and the like are read.

    Only rows that are on and have a weight other than zero, for something that is connected, need their file. Rows
    for the other model of a pair than the base are off. Rows whose weight changes over the steps are refused under
    every policy if the choices say that all is merged.

    With the policy `refuse`, raises `StackError` that names all rows without a file (unless they are to be skipped), or
    whose LoRA is for another model or cannot be used; `MissingLora`, `HeaderError` or `AdapterError` if nothing else is
    wrong. With the others, what fits is applied and the rest is told in the outcomes; but a row that no policy lets
    through, such as a name of several files, is always an error.
    """
    stack = _with_text_encoders(stack)
    found = find_rows(stack, files.find, lambda: base, choices, has_clip=has_text_encoders(base.targets))
    problems: list[StackError | FileProblem] = list(found.refused)
    if found.lost:
        problems.append(missing_error(found.lost, files.unread()))
    outcomes = dict(found.skipped)
    opened, broken = _open(stack, found.paths, files)
    if choices.policy == REFUSE:
        problems += broken.values()
    for row, path in found.paths.items():
        if path in broken:
            outcomes[row] = _left_out(stack.entries[row - 1], row, broken[path])
    contents = dict(zip(opened, content_ids(list(opened.values())), strict=True))
    rows = {
        row: (contents[path], _region(stack.entries[row - 1])) for row, path in found.paths.items() if path in contents
    }
    chosen = _choose(stack, rows, opened, contents)
    changes: dict[Change, list[Part]] = {}
    refused: list[Outcome] = []
    entries: list[Weighted] = []
    told = {row: [note] for row, note in found.notes.items()}
    grouped = stack.grouped(rows)
    for item in chosen:
        placement = _place(item, base)
        result = outcome(item.weighted, placement, item.file.examined, base)
        if result.verdict == INCOMPATIBLE and choices.policy == REFUSE:
            refused.append(result)
        outcomes[item.weighted.row] = result
        told.setdefault(item.weighted.row, []).extend(_region_notes(item.weighted.entry))
        in_order = sorted(placement.placed, key=_order)
        if item.weighted.by_block:
            by_block = _ByBlock(item, grouped[item.key], base.block_names, entries)
            parts = [part for placed in in_order if (part := by_block.part(placed))]
            told.setdefault(item.weighted.row, []).extend(by_block.notes())
        else:
            parts = [_whole(item, len(entries), placed) for placed in in_order]
            entries.append(item.weighted)
        for change, part in parts:
            changes.setdefault(change, []).append(part)
    if refused:
        problems.append(_refusal(refused))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise all_in_one([_with_row(problem, stack, found.paths, broken) for problem in problems])
    firsts = {item.key: item.weighted.row for item in chosen}
    for row in found.paths:
        if row not in outcomes:
            outcomes[row] = _added_up(stack.entries[row - 1], row, firsts.get(rows.get(row, ("", ""))), outcomes)
    return Plan(
        {change: tuple(parts) for change, parts in changes.items()},
        tuple(replace(outcomes[row], used=together(told.get(row, ()))) for row in sorted(outcomes)),
        tuple(chosen),
        tuple(entries) if any(item.weighted.by_block for item in chosen) else (),
    )


_MOST_REFUSED = 8
"""Rows that an error names."""


def _open(stack: Stack, paths: Mapping[int, str], files: Files) -> tuple[dict[str, OpenLora], dict[str, FileProblem]]:
    """The files whose weights do not add up to zero, by their paths; and those that cannot be used."""
    opened: dict[str, OpenLora] = {}
    broken: dict[str, FileProblem] = {}
    combined = stack.combined({row: (path, _region(stack.entries[row - 1])) for row, path in paths.items()})
    for path in dict.fromkeys(path for path, _ in combined):
        try:
            file = files.open(path)
            file.check_values()
        except FileProblem as error:
            broken[path] = error
        else:
            opened[path] = file
    return opened, broken


def _left_out(entry: Entry, row: int, error: FileProblem) -> Outcome:
    """The outcome of a row whose file cannot be used."""
    if isinstance(error, NotALora):
        return Outcome(entry, NOT_A_LORA, say("{reason}; skipped", reason=error.finding), row=row)
    return Outcome(entry, BROKEN, say("{reason}; skipped", reason=error.reason), row=row)


def _place(item: Chosen, base: Base) -> Placement:
    """The modules of a file that the row has a weight for, on the base."""
    weighted = item.weighted
    modules = [
        module
        for module in item.file.reading.modules
        if weighted.by_block or (weighted.shares if module.component == MODEL else weighted.clip)
    ]
    placement = place(modules, base.targets)
    if placement.unmatched or placement.misshapen:
        placement = place(modules, base.targets, base.fallback)
    return placement


def _refusal(refused: Sequence[Outcome]) -> StackError:
    """The error that names the rows whose LoRA is for another model, the first of them first."""
    first, *others = sorted(refused, key=lambda item: item.row or 0)
    named = [say("row {row}: {reason}", row=item.row, reason=item.line) for item in others[: _MOST_REFUSED - 1]]
    if len(refused) > _MOST_REFUSED:
        named.append(say("… and {count} more rows", count=len(refused) - _MOST_REFUSED))
    told = [(item.row, item.line) for item in (first, *others) if item.row]
    return StackError(lines([first.line, *named]), first.row, told)


def _with_row(
    problem: StackError | FileProblem, stack: Stack, paths: Mapping[int, str], broken: Mapping[str, FileProblem]
) -> StackError:
    """The problem of a file as that of its first row; that of a row is given back as it is."""
    if isinstance(problem, StackError):
        return problem
    row = next(row for row, path in paths.items() if broken.get(path) is problem)
    return StackError(say("{lora}: {sentence}", lora=stack.entries[row - 1].lora, sentence=problem.reason), row)


def by_offset(parts: Iterable[Part]) -> list[tuple[Offset | None, list[Part]]]:
    """One change's parts by the part of the weight that they are for: the whole first, then from the first row on.

    Within each the order stays, so that it is canonical where the parts' is.
    """
    groups: dict[Offset | None, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.place.offset, []).append(part)
    return sorted(groups.items(), key=lambda item: item[0] or (-1, 0, 0))


def _choose(
    stack: Stack, rows: Mapping[int, Key], opened: Mapping[str, OpenLora], contents: Mapping[str, str]
) -> list[Chosen]:
    """In canonical order, copies of one file added up; of their names the first in the alphabet stands for all.

    `rows` is row → key, `contents` path → content. A file in several regions is chosen once for each.
    """
    by_content: dict[str, OpenLora] = {}
    for path in sorted(opened):
        by_content.setdefault(contents[path], opened[path])
    numbers = {key: tuple(row for row, _ in members) for key, members in stack.grouped(rows).items()}
    return [
        Chosen(weighted, by_content[key[0]], key[0], numbers[key])
        for key, weighted in sorted(stack.combined(rows).items(), key=lambda item: item[0])
        if key[0] in by_content
    ]


def _region(entry: Entry) -> str:
    return "" if entry.region is None else entry.region.key


def _with_text_encoders(stack: Stack) -> Stack:
    """The stack with the weights that rows with a region have for the text encoders, which see no picture."""
    if all(entry.region is None for entry in stack.entries):
        return stack
    return replace(
        stack,
        entries=tuple(
            entry
            if entry.region is None or entry.region.text == regions.WHOLE
            else replace(entry, clip=entry.clip_weight * entry.region.elsewhere)
            for entry in stack.entries
        ),
    )


def _region_notes(entry: Entry) -> Iterator[str]:
    region = entry.region
    if region is None:
        return
    area = f"{region.area:.0%}"
    if region.text == regions.WHOLE:
        yield say("in a region of {area} of the picture, and whole where there is text", area=area)
    elif region.text == regions.NOT_AT_ALL:
        yield say("in a region of {area} of the picture, and not where there is text", area=area)
    else:
        yield say("in a region of {area} of the picture, and by that much where there is text", area=area)


def _added_up(entry: Entry, row: int, first: int | None, outcomes: Mapping[int, Outcome]) -> Outcome:
    """The outcome of a row whose weight went to row `first` of the same file, or that other rows cancel."""
    if first is None:
        return Outcome(entry, OFF, say("the weights of all rows of this file add up to 0"), row=row)
    added = say("the same file as row {row}, where it is added up", row=first)
    return Outcome(entry, outcomes[first].verdict, added, row=row)


def _whole(item: Chosen, entry: int, placed: Placed) -> tuple[Change, Part]:
    """A part at the weight of its LoRA."""
    weighted, is_model = item.weighted, placed.module.component == MODEL
    return _part(item, placed, weighted.model if is_model else weighted.clip, entry if is_model else None)


def _part(item: Chosen, placed: Placed, weight: float, entry: int | None) -> tuple[Change, Part]:
    site, component = placed.site, CLIP if entry is None else MODEL
    return Change(component, site.key), Part(item.file, placed.module, weight, site.place, entry, placed.rows)


class _ByBlock:
    """The parts of a LoRA whose rows have weights per block.

    Where all rows have the same factors, the parts have one entry; where all weights are 0, there is no part.
    """

    def __init__(
        self, item: Chosen, rows: Sequence[tuple[int, Entry]], names: BlockNames, entries: list[Weighted]
    ) -> None:
        """`entries` gets those that are new."""
        self._item = item
        self._rows = rows
        self._names = names
        self._entries = entries
        self._known: dict[tuple[float, ...], int | None] = {}
        self._untouched = list(dict.fromkeys(pattern for _, entry in rows for pattern in entry.blocks))

    def part(self, placed: Placed) -> tuple[Change, Part] | None:
        """The part at the weight of its block; None if that is always 0."""
        is_model = placed.module.component == MODEL
        labels = self._names.labels(placed.site.key, not is_model)
        self._untouched = [pattern for pattern in self._untouched if not means(pattern, labels)]
        factors = tuple(factor_of(entry.blocks, labels) for _, entry in self._rows)
        if not is_model:
            weights = (entry.clip_weight * factor for (_, entry), factor in zip(self._rows, factors, strict=True))
            clip = math.fsum(weights)
            return _part(self._item, placed, clip, None) if clip else None
        if factors not in self._known:
            self._known[factors] = self._add(factors)
        entry = self._known[factors]
        return None if entry is None else _part(self._item, placed, self._entries[entry].model, entry)

    def _add(self, factors: Sequence[float]) -> int | None:
        scaled = (
            replace(entry, model=entry.model * factor) for (_, entry), factor in zip(self._rows, factors, strict=True)
        )
        model, shares = add_up(scaled)
        if not shares:
            return None
        self._entries.append(replace(self._item.weighted, model=model, shares=shares))
        return len(self._entries) - 1

    def notes(self) -> Iterator[str]:
        """What the blocks' factors are, and which patterns mean no layer of the LoRA on this model."""
        told = dict.fromkeys(
            f"{pattern} × {factor:g}" for _, entry in self._rows for pattern, factor in entry.blocks.items()
        )
        yield say("by block: {factors}", factors=shortened(", ".join(told), _LONGEST_NOTE))
        if self._untouched:
            yield say(
                "none of its layers here is in {blocks}", blocks=shortened(", ".join(self._untouched), _LONGEST_NOTE)
            )


_LONGEST_NOTE = 200
"""Characters of patterns in a sentence."""


def _order(placed: Placed) -> tuple[Offset, str, str]:
    """The canonical order within one file."""
    return placed.site.place.offset or (-1, 0, 0), placed.module.algorithm, placed.module.name
