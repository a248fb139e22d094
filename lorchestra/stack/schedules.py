"""The schedules of one stack: equal texts are parsed once, and what is parsed for all rows together is bounded."""

from __future__ import annotations

from ..errors import ScheduleError, StackError
from ..schedule import Schedule
from .entry import Entry

MAX_KEYFRAMES = 10_000
"""Of all rows of a stack together; rows with the same schedule count once."""
MAX_TEXT = 200_000
"""Characters of all schedules of a stack together; the same."""


class Schedules:
    """What is known of the schedules while the rows of one stack are read or checked."""

    def __init__(self) -> None:
        self._known: dict[str, Schedule] = {}
        self._characters = 0
        self._keyframes = 0

    def check(self, entry: Entry, row: int) -> None:
        """Parses the row's schedule, if it has one that was not parsed yet.

        Raises `StackError` with the row's number for text that cannot be read, for weights that leave their range, and
        where the rows up to this one have too much of it.
        """
        text = entry.schedule
        if not text or not text.strip():
            return
        try:
            schedule = entry.parsed or self._known.get(text) or self._parsed(text, row)
            schedule.check_scaled(entry.model)
        except ScheduleError as error:
            raise StackError(f"schedule: {error}", row) from error
        entry.keep_parsed(schedule)

    def _parsed(self, text: str, row: int) -> Schedule:
        self._characters += len(text)
        if self._characters > MAX_TEXT:
            raise StackError(f"the schedules of all rows have more than {MAX_TEXT:,} characters", row)
        schedule = Schedule.parse(text)
        self._keyframes += schedule.length
        if self._keyframes > MAX_KEYFRAMES:
            raise StackError(f"the schedules of all rows have more than {MAX_KEYFRAMES:,} keyframes", row)
        self._known[text] = schedule
        return schedule
