"""Which rows of a stack have a file to apply, and why the others have not; nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..choices import Choices
from ..errors import MissingLora, ScheduleError, StackError
from ..models.base import Base
from ..models.experts import find_expert
from ..stack import BOTH, Entry, Stack
from ..stack.air import find_air
from .outcome import MISSING, OFF, Outcome

if TYPE_CHECKING:
    from ..lora.cache import OpenLora

_MOST_NAMED = 6
"""Missing rows that an error names."""
_MERGE_HINT = "merging takes constant weights only. Use a LoRA Stack whose mode is auto or live"
"""What to do about a row that merging cannot apply."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of rows come from."""

    find: Callable[[Entry, int], str | None]
    """A row's file (the path to open) from the row and its number; None if there is none."""
    open: Callable[[str], OpenLora]
    """The file of a path; raises `HeaderError` or `AdapterError`."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a stack by their numbers."""

    paths: Mapping[int, str]
    """Rows that have a file."""
    skipped: Mapping[int, Outcome]
    """Rows that need no file; and those without one, where they are skipped."""
    lost: tuple[tuple[int, str], ...]
    """(row, name) of rows whose file is missing and that are not to be skipped."""


def find_rows(
    stack: Stack,
    find: Callable[[Entry, int], str | None],
    find_base: Callable[[], Base | None],
    choices: Choices,
    *,
    has_clip: bool,
) -> Found:
    """Looks for the file of each row that is on and has a weight other than zero that something is connected for.

    `find` is as in `Files`. `find_base` gives the model, or None if it is not known; it is asked when a row is for one
    model of a pair, and rows for the other one are off. Raises `StackError` for a row with something that cannot be
    applied, whatever its file is.
    """
    paths: dict[int, str] = {}
    skipped: dict[int, Outcome] = {}
    lost: list[tuple[int, str]] = []
    for row, entry in stack.rows:
        reason = _why_off(entry, has_clip) or _find_other_expert(entry, find_base)
        if reason:
            skipped[row] = Outcome(entry, OFF, reason, row=row)
            continue
        _refuse_unsupported(entry, row, choices.takes_schedules)
        path = find(entry, row)
        if path is not None:
            paths[row] = path
        elif choices.skips_missing:
            skipped[row] = Outcome(entry, MISSING, "not found; skipped", row=row)
        else:
            lost.append((row, entry.lora))
    return Found(paths, skipped, tuple(lost))


def missing_error(lost: Sequence[tuple[int, str]]) -> MissingLora:
    """The error that names rows without a file, given as `Found.lost`."""
    row, name = lost[0]
    names = "; ".join(f"row {row}: {name}" for row, name in lost[1:_MOST_NAMED])
    more = f" (also {names}{' …' if len(lost) > _MOST_NAMED else ''})" if names else ""
    what = f"{name} is an AIR, and no local file is known for it" if find_air(name) else f"{name} was not found"
    return MissingLora(
        f"{what}{more}. Put the file into a LoRA folder and name it, switch the row off, or set missing to skip.", row
    )


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
    if entry.blocks:
        raise StackError(f"{entry.lora} has block weights; this version applies whole LoRAs only", row)


def _changes(entry: Entry, row: int) -> bool:
    """True when the row's weight changes over the steps."""
    try:
        schedule = entry.find_schedule()
    except ScheduleError as error:
        raise StackError(f"schedule: {error}", row) from error
    return schedule is not None and not schedule.is_constant
