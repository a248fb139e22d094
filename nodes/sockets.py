"""Our socket types, and the common LORA_STACK that the stackers of other packs speak."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..lorchestra.schedule import Schedule
    from ..lorchestra.stack import Entry, Stack

Loras = io.Custom("LORCHESTRA_LORAS")
"""A stack as text; a widget."""

LoraStackSocket = io.Custom("LORA_STACK")
"""A list of `(name, model weight, clip weight)`."""


ScheduleSocket = io.Custom("LORCHESTRA_SCHEDULE")
"""A `Schedule`."""


class Row(tuple):
    """A LORA_STACK row that remembers its entry.

    To every other pack it is the plain triple; when it comes back to us untouched, its AIR, hash and unknown keys are
    still there.
    """

    entry: Entry
    is_skipped: bool
    """True if a stack skipped it, because its file is missing."""

    def __new__(cls, entry: Entry, is_skipped: bool = False) -> Row:
        """The triple of an entry."""
        row = super().__new__(cls, entry.triple)
        row.entry = entry
        row.is_skipped = is_skipped
        return row


def to_rows(entries: Iterable[Entry], skipped: Collection[int] = ()) -> list[Row]:
    """The active entries as a LORA_STACK; `skipped` are the places of those whose file is missing, from 0."""
    return [Row(entry, place in skipped) for place, entry in enumerate(entries) if entry.active]


def split_skipped(value: object) -> tuple[object, list[str]]:
    """What came in through a LORA_STACK socket without the rows that a stack skipped and that nobody else can find
    either, those without an AIR; and the names of these."""
    if not isinstance(value, list):
        return value, []
    kept: list[object] = []
    lost: list[str] = []
    for row in value:
        if isinstance(row, Row) and _is_lost(row):
            lost.append(row.entry.lora)
        else:
            kept.append(row)
    return kept, lost


def _is_lost(row: Row) -> bool:
    from ..lorchestra.stack.wanted import wanted_of

    return row.is_skipped and wanted_of(row.entry).air is None


def read_rows(value: object) -> Stack:
    """The stack that came in through a LORA_STACK socket; None is the empty stack."""
    from ..lorchestra.exchange import parse_stack

    return parse_stack(value)


def find_schedule(value: object) -> Schedule | None:
    """The schedule that came in through its socket; None if nothing is connected.

    Text and JSON data are accepted too. Raises `ScheduleError` for anything else.
    """
    from ..lorchestra.schedule import Schedule

    return value if value is None or isinstance(value, Schedule) else Schedule.from_json(value)
