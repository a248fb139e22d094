"""Which rows of a stack have a file to apply, and why the others have not; nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..choices import REFUSE, Choices
from ..errors import MissingLora, ScheduleError, StackError
from ..models.base import Base
from ..models.experts import find_expert
from ..sentences import Sentence, lines, say, together
from ..stack import BOTH, HIGH, POSITIVE, Entry, Stack
from ..stack.blocks import check_blocks
from ..stack.wanted import wanted_of
from .outcome import MISSING, OFF, Outcome

if TYPE_CHECKING:
    from ..lora.cache import OpenLora

_MOST_NAMED = 100
"""Missing rows that an error names: all of a stack that people made, and not all of one that a program made."""


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
                skipped[row] = Outcome(entry, MISSING, say("not found; skipped"), row=row)
            else:
                lost.append((row, entry))
            continue
        if located.change and choices.policy == REFUSE:
            refused.append(
                StackError(say("{lora}: {sentence}", lora=entry.lora, sentence=changed_sentence(choices)), row)
            )
            continue
        paths[row] = located.path
        note = together((located.used, located.change))
        if note:
            notes[row] = note
    return Found(paths, skipped, tuple(lost), tuple(refused), notes)


def changed() -> Sentence:
    """What is said of a file whose hash is not the row's any more."""
    return say("the file has changed since this workflow was saved")


def changed_sentence(choices: Choices) -> Sentence:
    """The same and what to do about it that is not done already."""
    if choices.policy == REFUSE:
        return say(
            "{change}. Choose the file again if this one is meant, or let the node skip and warn", change=changed()
        )
    return say("{change}. Choose the file again if this one is meant", change=changed())


def missing_error(lost: Sequence[tuple[int, Entry]], unread: int = 0) -> MissingLora:
    """The error that names rows without a file, given as `Found.lost`, with what is known of each.

    `unread` files are there that nothing is known of yet.
    """
    later = (
        say(" {count} files are not read yet: try again in a moment.", count=f"{unread:,}")
        if unread and any(wanted_of(entry).is_identified for _, entry in lost)
        else ""
    )
    if len(lost) == 1:
        row, entry = lost[0]
        return MissingLora(_later(missing_sentence(entry, Choices()), later), row)
    named = lines(
        [say("row {row}: {reason}", row=row, reason=_missing(entry)) for row, entry in lost[:_MOST_NAMED]]
        + ([say("and {count} more rows", count=more)] if (more := len(lost) - _MOST_NAMED) > 0 else [])
    )
    return MissingLora(
        say(
            "{count} LoRAs were not found. Add the files to a LoRA folder, choose others, switch the rows off, or let "
            "the node skip them.{later}\n{listed}",
            count=len(lost),
            later=later,
            listed=named,
        ),
        rows=[(row, _later(missing_sentence(entry, Choices()), later)) for row, entry in lost],
    )


def _later(sentence: Sentence, later: str) -> Sentence:
    return say("{sentence}{later}", sentence=sentence, later=later) if later else sentence


def missing_sentence(entry: Entry, choices: Choices) -> Sentence:
    """What is said of a row whose file is not there, and what to do that is not done already."""
    if choices.skips_missing:
        template = (
            "{missing}; the row is skipped. Add the file to a LoRA folder, choose another one, or switch the row off."
            if entry.active
            else "{missing}. Add the file to a LoRA folder, or choose another one."
        )
    else:
        template = (
            "{missing}. Add the file to a LoRA folder, choose another one, switch the row off, or let the node skip it."
            if entry.on
            else "{missing}. Add the file to a LoRA folder, choose another one, or let the node skip it."
        )
    return say(template, missing=_missing(entry))


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
    what = say("{lora} was not found" if wanted.is_path else "no LoRA here is known as {lora}", lora=entry.lora)
    return say("{what} ({about})", what=what, about=", ".join(about)) if about else what


def _why_off(entry: Entry, has_clip: bool) -> str | None:
    if not entry.active:
        return say("off") if not entry.on else say("weight 0")
    if entry.region is not None and entry.region.is_empty:
        return say("off, because the mask of its region is empty")
    return say("model weight 0, and no CLIP is connected") if entry.model == 0 and not has_clip else None


def _find_other_expert(entry: Entry, find_base: Callable[[], Base | None]) -> str | None:
    """Why a row is not for this model of a pair; None if it is, or if it is not known which one the model is."""
    wanted = entry.expert or find_expert(entry.lora)
    if wanted in (None, BOTH):
        return None
    base = find_base()
    if base is None or base.expert in (None, wanted):
        return None
    if entry.expert:
        return say(
            "for the high-noise model, and this is the low-noise one; not applied"
            if wanted == HIGH
            else "for the low-noise model, and this is the high-noise one; not applied"
        )
    return say(
        "for the high-noise model by its name, and this is the low-noise one; not applied"
        if wanted == HIGH
        else "for the low-noise model by its name, and this is the high-noise one; not applied"
    )


def _refuse_unsupported(entry: Entry, row: int, takes_schedules: bool) -> None:
    if not takes_schedules:
        what = None
        if entry.region is not None:
            hint = say("merging changes the whole picture. Use a LoRA Stack whose mode is auto or live")
            raise StackError(say("{lora} has a region; {hint}", lora=entry.lora, hint=hint), row)
        if _changes(entry, row):
            what = "{lora} has a schedule; {hint}"
        elif entry.conditioning != BOTH:
            is_positive = entry.conditioning == POSITIVE
            what = (
                "{lora} is for the positive conditioning alone; {hint}"
                if is_positive
                else "{lora} is for the negative conditioning alone; {hint}"
            )
        if what:
            hint = say("merging takes constant weights only. Use a LoRA Stack whose mode is auto or live")
            raise StackError(say(what, lora=entry.lora, hint=hint), row)
    check_blocks(entry.blocks, row)


def _changes(entry: Entry, row: int) -> bool:
    """True when the row's weight changes over the steps."""
    try:
        schedule = entry.find_schedule()
    except ScheduleError as error:
        raise StackError(say("schedule: {error}", error=error), row) from error
    return schedule is not None and not schedule.is_constant
