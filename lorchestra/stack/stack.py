"""The Stack: a list of LoRAs with weights, as a frozen value; validated, added up, serialised.

JSON form: `{"version": 1, "loras": [{"lora": "styles/pixel.safetensors", "model": 0.7}]}`. Keys that this version does
not know are kept and written back. All other forms become a Stack in `exchange/parse.py`. Rows may be in groups: then
`entries` are the rows as they act, for everybody, and `grouping` has them as they are written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from ..errors import ScheduleError, StackError, quoted
from ..limits import MAX_ROWS, Json
from ..schedule import Schedule
from ..sentences import say
from .entry import Entry
from .groups import ALL, Grouping, read_groups
from .rows import check_row, kind, unknown_keys
from .schedules import Schedules
from .weights import Weighted, add_up

VERSION = 1
"""Version of the JSON form that this package writes."""
KNOWN_KEYS = ("version", "loras", "groups")
"""Keys of a stack that this version knows."""


def _no_extra() -> dict[str, Json]:
    return {}


K = TypeVar("K")

ReadRow = Callable[[Json, int, Schedules], Entry]
"""Reads a row from its data, its number, and the schedules of the rows before it."""

MAX_PRODUCTS = 100_000
"""Most keyframes, over all rows, of the products of a row's own schedule with one for all rows."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Rows in the order in which a person sees them; the order never changes the result."""

    entries: tuple[Entry, ...] = ()
    version: int = VERSION
    """Version that the text was written with; may be newer than `VERSION`."""
    extra: Mapping[str, Json] = field(default_factory=_no_extra, hash=False)
    """Keys beside `loras` that this version does not know, verbatim."""
    grouping: Grouping | None = None
    """The rows as they are written, if they are in groups."""

    @staticmethod
    def from_json(data: Mapping[str, Json], read_row: ReadRow) -> Stack:
        """A stack from JSON data in our own form, its rows read by `read_row`.

        Raises `StackError`, which names the row.
        """
        version = data.get("version", VERSION)
        if type(version) is not int or version < 1:
            raise StackError(f"the stack's version is {quoted(version)}; expected {VERSION}")
        rows = data["loras"]
        if isinstance(rows, str) or not isinstance(rows, Sequence):
            raise StackError(f'"loras" is {kind(rows)}; expected a list of rows')
        stack = Stack.of_rows(cast("Sequence[Json]", rows), read_row)
        grouping = None if data.get("groups") is None else read_groups(data["groups"], stack.entries)
        entries = stack.entries if grouping is None else grouping.flat()
        return Stack(entries, version, unknown_keys(data, KNOWN_KEYS, None), grouping)

    @staticmethod
    def of_rows(rows: Sequence[Json], read_row: ReadRow) -> Stack:
        """A stack of these rows, each read by `read_row`; raises `StackError`, which names the row."""
        if len(rows) > MAX_ROWS:
            raise StackError(_too_many(len(rows)), MAX_ROWS + 1)
        schedules = Schedules()
        return Stack(tuple(read_row(value, row, schedules) for row, value in enumerate(rows, 1)))

    @property
    def rows(self) -> Iterator[tuple[int, Entry]]:
        """The rows with their numbers, from 1: a row is known by its number, since one entry may stand twice."""
        return enumerate(self.entries, 1)

    @property
    def is_newer(self) -> bool:
        """True when the text was written by a newer version than this one, whose fields are kept but not understood."""
        return self.version > VERSION

    def to_json(self) -> dict[str, Json]:
        """The stack as JSON data; `exchange.parse_stack` gives the same stack back.

        Its groups are written as long as they say what its rows are; else the rows as they act.
        """
        grouping = self.grouping
        if grouping is None or grouping.flat() != self.entries:
            return {"version": self.version, "loras": [entry.to_json() for entry in self.entries], **self.extra}
        return {
            "version": self.version,
            "groups": [group.to_json() for group in grouping.groups],
            "loras": [entry.to_json() for entry in grouping.rows],
            **self.extra,
        }

    def to_text(self) -> str:
        """The stack as JSON text in one line."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    def to_tuples(self) -> list[tuple[str, float, float]]:
        """The active rows as the common LORA_STACK: `(name, model weight, clip weight)`."""
        return [entry.triple for entry in self.entries if entry.active]

    @property
    def picks(self) -> bool:
        """True if a seed decides which of the rows act."""
        return self.grouping is not None and self.grouping.picks

    def with_seed(self, seed: int | None) -> Stack:
        """This stack with the rows that its groups pick by a seed, 0 … 2**64 - 1; with None they pick none."""
        return self._grouped(replace(self.grouping, seed=seed)) if self.grouping and self.picks else self

    def unpicked(self) -> Stack:
        """This stack with all rows that its groups may pick."""
        if not self.grouping or not self.picks:
            return self
        groups = tuple(replace(group, pick=ALL) for group in self.grouping.groups)
        return self._grouped(replace(self.grouping, groups=groups))

    def picks_in_words(self) -> list[str]:
        """Which row each group picked, one sentence for each group that picks."""
        grouping = self.grouping
        if grouping is None:
            return []
        return [
            say(
                "The group {name} picked row {row}: {lora}", name=quoted(name), row=row, lora=self.entries[row - 1].lora
            )
            if row is not None
            else say("The group {name} picks no row: all of them are off or at 0", name=quoted(name))
            for name, row in grouping.picked().items()
        ]

    def _grouped(self, grouping: Grouping) -> Stack:
        return replace(self, entries=grouping.flat(), grouping=grouping)

    def joined(self, other: Stack) -> Stack:
        """This stack's rows and then the other's; what only the other knows is added to `extra`."""
        return Stack(
            self.entries + other.entries, max(self.version, other.version), {**other.extra, **self.extra}
        ).checked()

    def checked(self) -> Stack:
        """This stack, when all rows are in range; raises `StackError` that names the row otherwise."""
        if len(self.entries) > MAX_ROWS:
            raise StackError(_too_many(len(self.entries)), MAX_ROWS + 1)
        schedules = Schedules()
        for row, entry in self.rows:
            check_row(entry, row, schedules)
        return self

    def scheduled(self, schedule: Schedule) -> Stack:
        """This stack with a schedule for all rows; a row that has one of its own gets the product.

        Raises `StackError` that names the row where a product is too long or may leave -100 … 100.
        """
        entries: list[Entry] = []
        room = MAX_PRODUCTS
        for row, entry in self.rows:
            try:
                own = entry.find_schedule()
                both = own.combined(schedule) if own else schedule
            except ScheduleError as error:
                raise StackError(f"schedule: {error}", row) from error
            room -= both.length if own else 0
            if room < 0:
                raise StackError(f"the schedules of all rows have more than {MAX_PRODUCTS:,} keyframes", row)
            made = replace(entry, schedule=both.to_text())
            made.keep_parsed(both)
            entries.append(made)
        return replace(self, entries=tuple(entries)).checked()

    def grouped(self, keys: Mapping[int, K]) -> dict[K, list[tuple[int, Entry]]]:
        """The active rows with their numbers, by their keys; rows without one are left out."""
        groups: dict[K, list[tuple[int, Entry]]] = {}
        for row, entry in self.rows:
            if entry.active and row in keys:
                groups.setdefault(keys[row], []).append((row, entry))
        return groups

    def combined(self, keys: Mapping[int, K]) -> dict[K, Weighted]:
        """The active rows grouped by their keys, their weights added up, groups that add up to zero left out.

        `keys` is number of the row → whatever tells one file from another (its real path, its hash); rows without one
        are left out. The sums are correctly rounded (`math.fsum`), so they do not depend on the order of the rows.
        Weights that change over the steps in different ways stay side by side, and their sum is taken at each moment.
        Weights per block are not in the sums, and rows that have some are never left out.
        """
        result: dict[K, Weighted] = {}
        for key, rows in self.grouped(keys).items():
            model, shares = add_up(entry for _, entry in rows)
            clip = math.fsum(entry.clip_weight for _, entry in rows)
            by_block = any(entry.blocks for _, entry in rows)
            if shares or clip != 0 or by_block:
                result[key] = Weighted(*rows[0], model, clip, shares, by_block)
        return result


def _too_many(rows: int) -> str:
    return f"a stack has at most {MAX_ROWS} rows, this one has {rows}"
