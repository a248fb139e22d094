"""Which rows of a stack have a file to apply, and why the others have not; nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..choices import REFUSE, Choices
from ..errors import MissingLora, ScheduleError, StackError
from ..models.base import Base
from ..models.experts import find_expert
from ..stack import BOTH, Entry, Stack
from ..stack.blocks import check_blocks
from ..stack.wanted import wanted_of
from .outcome import MISSING, OFF, Outcome

if TYPE_CHECKING:
    from ..lora.cache import OpenLora

_MOST_NAMED = 100
"""Missing rows that an error names: all of a stack that people made, and not all of one that a program made."""
CHANGED = "the file has changed since this workflow was saved"
_CHANGE_HINT = "Choose the file again if this one is meant"
_MERGE_HINT = "merging takes constant weights only. Use a LoRA Stack whose mode is auto or live"
"""What to do about a row that merging cannot apply."""


@dataclass(frozen=True, slots=True)
class Located:
    """The file of a row."""

    path: str
    """To be opened."""
    used: str = ""
    """What is used, and why, if it is not the path that the row has: `used ink.safetensors, found by its hash`."""
    change: str = ""
    """What is known to have changed in the file since the row was saved; empty if nothing is."""


Find = Callable[[Entry, int], Located | None]
"""A row's file from the row and its number; None if there is none. Raises `StackError` if it may be any of several."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of rows come from."""

    find: Find
    open: Callable[[str], OpenLora]
    """The file of a path; raises `HeaderError` or `AdapterError`."""
    unread: Callable[[], int] = lambda: 0
    """How many files are there that nothing is known of yet, and that a hash or an AIR may belong to."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a stack by their numbers."""

    paths: Mapping[int, str]
    """Rows that have a file."""
    skipped: Mapping[int, Outcome]
    """Rows that need no file; and those without one, where they are skipped."""
    lost: tuple[tuple[int, Entry], ...]
    """Rows whose file is missing and that are not to be skipped."""
    refused: tuple[StackError, ...]
    """Rows with something that no choice lets through, each with its number: a name of several files, a schedule where
    all is merged; and where what does not fit is refused, those whose file has changed."""
    notes: Mapping[int, str]
    """What was used instead of a row's path, and what changed in the file."""


def find_rows(
    stack: Stack,
    find: Find,
    find_base: Callable[[], Base | None],
    choices: Choices,
    *,
    has_clip: bool,
) -> Found:
    """Looks for the file of each row that is on and has a weight other than zero that something is connected for.

    `find` is as in `Files`. `find_base` gives the model, or None if it is not known; it is asked when a row is for one
    model of a pair, and rows for the other one are off. What is wrong with one row hides nothing of the others.
    """
    paths: dict[int, str] = {}
    skipped: dict[int, Outcome] = {}
    lost: list[tuple[int, Entry]] = []
    refused: list[StackError] = []
    notes: dict[int, str] = {}
    for row, entry in stack.rows:
        reason = _why_off(entry, has_clip) or _find_other_expert(entry, find_base)
        if reason:
            skipped[row] = Outcome(entry, OFF, reason, row=row)
            continue
        try:
            _refuse_unsupported(entry, row, choices.takes_schedules)
            located = find(entry, row)
        except StackError as error:
            refused.append(error)
            continue
        if located is None:
            if choices.skips_missing:
                skipped[row] = Outcome(entry, MISSING, "not found; skipped", row=row)
            else:
                lost.append((row, entry))
            continue
        if located.change and choices.policy == REFUSE:
            refused.append(StackError(f"{entry.lora}: {changed_sentence(choices)}", row))
            continue
        paths[row] = located.path
        note = "; ".join(text for text in (located.used, located.change) if text)
        if note:
            notes[row] = note
    return Found(paths, skipped, tuple(lost), tuple(refused), notes)


def changed_sentence(choices: Choices) -> str:
    """What is said of a row whose file has changed since it was saved, and what to do that is not done already."""
    return f"{CHANGED}. {_CHANGE_HINT}" + (", or set policy to warn" if choices.policy == REFUSE else "")


def missing_error(lost: Sequence[tuple[int, Entry]], unread: int = 0) -> MissingLora:
    """The error that names rows without a file, given as `Found.lost`, with what is known of each.

    `unread` files are there that nothing is known of yet.
    """
    later = (
        f" {unread:,} files are not read yet: try again in a moment."
        if unread and any(wanted_of(entry).is_identified for _, entry in lost)
        else ""
    )
    if len(lost) == 1:
        row, entry = lost[0]
        return MissingLora(missing_sentence(entry, Choices()) + later, row)
    lines = [f"row {row}: {_missing(entry)}" for row, entry in lost[:_MOST_NAMED]]
    more = len(lost) - _MOST_NAMED
    if more > 0:
        lines.append(f"and {more} more rows")
    listed = "\n".join(lines)
    return MissingLora(
        f"{len(lost)} LoRAs were not found. Add the files to a LoRA folder, choose others, switch the rows off, or set "
        f"missing to skip.{later}\n{listed}",
        rows=[(row, missing_sentence(entry, Choices()) + later) for row, entry in lost],
    )


def missing_sentence(entry: Entry, choices: Choices) -> str:
    """What is said of a row whose file is not there, and what to do that is not done already."""
    is_skipped = choices.skips_missing and entry.active
    what = f"{_missing(entry)}; the row is skipped" if is_skipped else _missing(entry)
    ways = ["Add the file to a LoRA folder", "choose another one"]
    if entry.on:
        ways.append("switch the row off")
    if not choices.skips_missing:
        ways.append("set missing to skip")
    return f"{what}. {', '.join(ways[:-1])}, or {ways[-1]}."


def _missing(entry: Entry) -> str:
    """What is missing: name, AIR, hash, and the page to get it from."""
    wanted = wanted_of(entry)
    about: list[str] = []
    if wanted.air and wanted.is_path:
        about.append(f"AIR {wanted.air.short}")
    if wanted.digits:
        about.append(f"{'SHA-256' if len(wanted.digits) == 64 else 'hash'} {wanted.digits}")
    if wanted.air and wanted.air.page:
        about.append(wanted.air.page)
    what = f"{entry.lora} was not found" if wanted.is_path else f"no LoRA here is known as {entry.lora}"
    return f"{what} ({', '.join(about)})" if about else what


def _why_off(entry: Entry, has_clip: bool) -> str | None:
    if not entry.active:
        return "off" if not entry.on else "weight 0"
    return "model weight 0, and no CLIP is connected" if entry.model == 0 and not has_clip else None


def _find_other_expert(entry: Entry, find_base: Callable[[], Base | None]) -> str | None:
    """Why a row is not for this model of a pair; None if it is, or if it is not known which one the model is."""
    wanted = entry.expert or find_expert(entry.lora)
    if wanted in (None, BOTH):
        return None
    base = find_base()
    if base is None or base.expert in (None, wanted):
        return None
    how = "" if entry.expert else " by its name"
    return f"for the {wanted}-noise model{how}, and this is the {base.expert}-noise one; not applied"


def _refuse_unsupported(entry: Entry, row: int, takes_schedules: bool) -> None:
    if not takes_schedules:
        what = None if entry.conditioning == BOTH else f"is for the {entry.conditioning} conditioning alone"
        if _changes(entry, row):
            what = "has a schedule"
        if what:
            raise StackError(f"{entry.lora} {what}; {_MERGE_HINT}", row)
    check_blocks(entry.blocks, row)


def _changes(entry: Entry, row: int) -> bool:
    """True when the row's weight changes over the steps."""
    try:
        schedule = entry.find_schedule()
    except ScheduleError as error:
        raise StackError(f"schedule: {error}", row) from error
    return schedule is not None and not schedule.is_constant
