"""From a stack and a model to the list of changes: which LoRAs, at which weights, on which weight of the model.

The plan is made before anything is changed; the parts of a change stand in canonical order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ..errors import FileProblem, MissingLora, NotALora, ScheduleError, StackError
from ..fit.outcome import BROKEN, INCOMPATIBLE, MISSING, NOT_A_LORA, OFF, Outcome, outcome
from ..lora.file import LoraFile, content_ids
from ..models.experts import find_expert
from ..models.placing import Offset, Placed, Placement, Site, Targets, has_text_encoders, place
from ..spelling.modules import Module
from ..spelling.prefixes import MODEL
from ..stack import BOTH, Entry, Stack, Weighted
from ..stack.air import find_air
from ..stack.policies import ERROR, REFUSE, SKIP
from ..stack.weights import told
from .fuse import Term

CLIP = "clip"
"""The component of a change to any text encoder; the diffusion model's is `MODEL`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One module of one LoRA at its weight."""

    file: LoraFile
    module: Module
    weight: float
    """Of an entry that is not constant, as if it were: the rows' weights without what changes."""
    offset: Offset | None = None
    """The part of the model's weight that it changes; None for all of it."""
    swapped: bool = False
    """True where the file has the second half of these rows first."""
    entry: int | None = None
    """Where its weight is in `Plan.entries`; None for text encoders, whose weights are constant."""

    def term(self) -> Term:
        """Reads the tensors; raises `AdapterError` where they are not finite."""
        return Term(self.file.adapter(self.module), self.weight, self.swapped)


@dataclass(frozen=True, slots=True)
class Change:
    """A weight or bias of the model that changes, in parts or as a whole."""

    component: str
    """`MODEL` or `CLIP`."""
    key: str
    """Key in the state dict."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A LoRA of the stack with its file."""

    weighted: Weighted
    file: LoraFile
    content: str
    """Equal for equal contents; the canonical order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a stack does to a model."""

    changes: Mapping[Change, tuple[Part, ...]]
    """Parts in canonical order: by the file's content, then the whole weight before parts of it, then by algorithm."""
    outcomes: tuple[Outcome, ...]
    """One per row, in the order of the rows. Rows of one file are added up; the first of them has the outcome."""
    chosen: tuple[Chosen, ...]
    """In canonical order."""

    @property
    def entries(self) -> tuple[Weighted, ...]:
        """The weights of the LoRAs, each with all its rows added up, in canonical order."""
        return tuple(item.weighted for item in self.chosen)

    @property
    def is_constant(self) -> bool:
        """True when merging can do all of it: no weight changes over the steps or with the conditioning."""
        entries = self.entries
        return all(
            part.entry is None or entries[part.entry].is_constant for parts in self.changes.values() for part in parts
        )


def make_plan(
    stack: Stack,
    *,
    find: Callable[[Entry, int], str | None],
    open_file: Callable[[str], LoraFile],
    targets: Targets,
    fallback: Callable[[], Mapping[str, Site]] | None = None,
    architectures: Callable[[], Sequence[str]] | None = None,
    hidden: bool = False,
    missing: str = ERROR,
    policy: str = REFUSE,
    schedules: bool = False,
    expert: Callable[[], str | None] | None = None,
) -> Plan:
    """Makes the plan; nothing is changed and no tensor is read.

    `find` gives a row's file (the path to open) or None, from the row and its number; it and `open_file` are called
    for rows that are on and have a weight other than zero that something is connected for. `fallback` gives places by
    full module name, for modules that our own names do not place; it is called when there are such.

    `architectures` says what the model is (ids, the likeliest first), `hidden` that layers of it cannot be seen.
    `schedules` says that weights may change over the steps and with the conditioning; without it, rows with such
    weights are refused, under every policy. `expert` gives `HIGH` or `LOW` where the model is known to be that one of
    a pair; it is asked when a row is for one of them, and rows for the other one are off.

    With the policy `refuse`, raises `MissingLora` that names all rows without a file (unless `missing` is `skip`),
    `StackError` that names all rows whose LoRA is for another model, `HeaderError` or `AdapterError` for a file that
    cannot be used. With the others, what fits is applied and the rest is told in the outcomes.
    """
    skips_missing = SKIP if policy != REFUSE else missing
    skipped, paths = find_files(
        stack, find, has_clip=has_text_encoders(targets), missing=skips_missing, schedules=schedules, expert=expert
    )
    files: dict[str, LoraFile] = {}
    for path in stack.combined(lambda entry: paths.get(id(entry))):
        if path is None:
            continue
        try:
            files[path] = open_file(path)
        except FileProblem as error:
            if policy == REFUSE:
                raise
            _skip(stack, paths, path, error, skipped)
    contents = dict(zip(files, content_ids(list(files.values())), strict=True))
    chosen = _choose(stack, paths, files, contents)
    changes: dict[Change, list[Part]] = {}
    outcomes: dict[int, Outcome] = {}
    firsts: dict[str, int] = {}
    aliases: Mapping[str, Site] | None = None
    base: Sequence[str] | None = None
    refused: list[tuple[int, str]] = []
    for index, item in enumerate(chosen):
        weighted = item.weighted
        modules = [
            module
            for module in item.file.reading.modules
            if (weighted.shares if module.component == MODEL else weighted.clip)
        ]
        placement = place(modules, targets)
        if (placement.unmatched or placement.misshapen) and fallback:
            aliases = fallback() if aliases is None else aliases
            placement = place(modules, targets, aliases)
        if base is None:
            base = architectures() if architectures else ()
        result = outcome(
            weighted.entry,
            placement,
            weighted.model,
            weighted.clip,
            unread=len(item.file.reading.leftovers),
            identity=item.file.examined.identity,
            base=base,
            hidden=hidden,
            weights="" if weighted.is_constant else told(weighted, _has_encoders(placement)),
        )
        row = _row(stack, weighted.entry)
        if result.verdict == INCOMPATIBLE and policy == REFUSE:
            refused.append((row, str(result)))
        outcomes[row], firsts[item.content] = result, row
        for placed in sorted(placement.placed, key=_order):
            change, part = _change(item, index, placed)
            changes.setdefault(change, []).append(part)
    if refused:
        row, sentence = min(refused)
        others = "".join(f"\nrow {number}: {text}" for number, text in sorted(refused)[1:_MOST_REFUSED])
        more = len(refused) - _MOST_REFUSED
        raise StackError(f"{sentence}{others}{f' … and {more} more' if more > 0 else ''}", row)
    outcomes.update(skipped)
    for row, entry in enumerate(stack.entries, 1):
        path = paths.get(id(entry))
        if path is not None and row not in outcomes:
            outcomes[row] = _added_up(entry, firsts.get(contents.get(path, "")), outcomes)
    return Plan(
        {change: tuple(parts) for change, parts in changes.items()},
        tuple(outcomes[row] for row in sorted(outcomes)),
        tuple(chosen),
    )


_MOST_REFUSED = 8
"""Rows that an error names."""


def _skip(stack: Stack, paths: dict[int, str], path: str, error: FileProblem, skipped: dict[int, Outcome]) -> None:
    """Leaves all rows of a file out that cannot be used."""
    verdict = NOT_A_LORA if isinstance(error, NotALora) else BROKEN
    for row, entry in enumerate(stack.entries, 1):
        if paths.get(id(entry)) == path:
            del paths[id(entry)]
            skipped[row] = Outcome(entry, verdict, f"{error.reason.removesuffix('.')}; skipped")


def by_offset(parts: Iterable[Part]) -> list[tuple[Offset | None, list[Part]]]:
    """One change's parts by the part of the weight that they are for: the whole first, then from the first row on.

    Within each the order stays, so that it is canonical where the parts' is.
    """
    groups: dict[Offset | None, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.offset, []).append(part)
    return sorted(groups.items(), key=lambda item: item[0] or (-1, 0, 0))


def find_files(
    stack: Stack,
    find: Callable[[Entry, int], str | None],
    *,
    has_clip: bool,
    missing: str,
    schedules: bool = False,
    expert: Callable[[], str | None] | None = None,
) -> tuple[dict[int, Outcome], dict[int, str]]:
    """(row → outcome of rows that need no file or have none, `id` of the entry → path).

    `schedules` and `expert` are as for `make_plan`. Raises `MissingLora` that names all rows without a file, unless
    `missing` is `skip`, and `StackError` for a row with something that cannot be applied.
    """
    skipped: dict[int, Outcome] = {}
    paths: dict[int, str] = {}
    lost: list[tuple[int, str]] = []
    expert = cache(expert) if expert else None
    for row, entry in enumerate(stack.entries, 1):
        if not entry.active:
            skipped[row] = Outcome(entry, OFF, "off" if not entry.on else "weight 0")
            continue
        if entry.model == 0 and not has_clip:
            skipped[row] = Outcome(entry, OFF, "model weight 0, and no CLIP is connected")
            continue
        other = _find_other_expert(entry, expert)
        if other:
            skipped[row] = Outcome(entry, OFF, other)
            continue
        _refuse_unsupported(entry, row, schedules)
        path = find(entry, row)
        if path is not None:
            paths[id(entry)] = path
        elif missing == SKIP:
            skipped[row] = Outcome(entry, MISSING, "not found; skipped")
        else:
            lost.append((row, entry.lora))
    if lost:
        row, name = lost[0]
        names = "; ".join(f"row {row}: {name}" for row, name in lost[1:6])
        more = f" (also {names}{' …' if len(lost) > 6 else ''})" if names else ""
        what = f"{name} is an AIR, and no local file is known for it" if find_air(name) else f"{name} was not found"
        raise MissingLora(
            f"{what}{more}. Put the file into a LoRA folder and name it, switch the row off, or set missing to skip.",
            row,
        )
    return skipped, paths


def _find_other_expert(entry: Entry, expert: Callable[[], str | None] | None) -> str | None:
    """Why a row is not for this model of a pair; None where it is, or where nobody knows which one the model is."""
    wanted = entry.expert or find_expert(entry.lora)
    this = expert() if expert and wanted not in (None, BOTH) else None
    if this in (None, wanted):
        return None
    how = "" if entry.expert else " by its name"
    return f"for the {wanted}-noise model{how}, and this is the {this}-noise one; not applied"


def _refuse_unsupported(entry: Entry, row: int, schedules: bool) -> None:
    if not schedules:
        what = None if entry.conditioning == BOTH else f"is for the {entry.conditioning} conditioning alone"
        if _changes(entry, row):
            what = "has a schedule"
        if what:
            raise StackError(f"{entry.lora} {what}; {_MERGE_HINT}", row)
    if entry.blocks:
        raise StackError(f"{entry.lora} has block weights; this version applies whole LoRAs only", row)


_MERGE_HINT = "merging takes constant weights only. Use a LoRA Stack whose mode is auto or live"
"""What to do about a row that merging cannot apply."""


def _changes(entry: Entry, row: int) -> bool:
    """True when the row's weight changes over the steps."""
    try:
        schedule = entry.find_schedule()
    except ScheduleError as error:
        raise StackError(f"schedule: {error}", row) from error
    return schedule is not None and not schedule.is_constant


def _has_encoders(placement: Placement) -> bool:
    return any(placed.module.component != MODEL for placed in placement.placed)


def _choose(
    stack: Stack, paths: Mapping[int, str], files: Mapping[str, LoraFile], contents: Mapping[str, str]
) -> list[Chosen]:
    """In canonical order, copies of one file added up; of their names the first in the alphabet stands for all."""
    groups = stack.combined(lambda entry: contents.get(paths.get(id(entry), "")))
    by_content: dict[str, LoraFile] = {}
    for path in sorted(files):
        by_content.setdefault(contents[path], files[path])
    return [Chosen(groups[content], file, content) for content, file in sorted(by_content.items()) if content in groups]


def _added_up(entry: Entry, first: int | None, outcomes: Mapping[int, Outcome]) -> Outcome:
    """The outcome of a row whose weight went to row `first` of the same file, or that other rows cancel."""
    if first is None:
        return Outcome(entry, OFF, "the weights of all rows of this file add up to 0")
    return Outcome(entry, outcomes[first].verdict, f"the same file as row {first}, where it is added up")


def _row(stack: Stack, entry: Entry) -> int:
    return next(row for row, other in enumerate(stack.entries, 1) if other is entry)


def _change(item: Chosen, index: int, placed: Placed) -> tuple[Change, Part]:
    component = MODEL if placed.module.component == MODEL else CLIP
    weight, entry = (item.weighted.model, index) if component == MODEL else (item.weighted.clip, None)
    site = placed.site
    return Change(component, site.key), Part(item.file, placed.module, weight, site.offset, site.swapped, entry)


def _order(placed: Placed) -> tuple[Offset, str, str]:
    """The canonical order within one file."""
    return placed.site.offset or (-1, 0, 0), placed.module.algorithm, placed.module.name
