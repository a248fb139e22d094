"""Groups of rows: one switch and one factor for several rows, and which of them act in a run. Pure.

JSON form: `{"groups": [{"name": "style", "factor": 0.8, "pick": "one"}], "loras": [{"lora": "a", "group": "style"}]}`.
Everybody but the face works with the rows as they act (`Grouping.flat`): weights multiplied, and off where the group
does not want them. A stack without `groups` has no groups, whatever its rows say, as before there were any.

`js/values/groups.mjs` says the same for the face; tests hold both together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import cast

from ..errors import StackError, quoted
from ..limits import MAX_GROUP_NAME, MAX_GROUPS, WEIGHT_LIMIT, Json
from ..sentences import say, together
from .entry import Entry
from .rows import check_row, has_odd_characters, kind, unknown_keys

ALL, ONE, NEXT = "all", "one", "next"
PICKS = (ALL, ONE, NEXT)
"""Which of a group's rows act: all of them, one drawn by the seed, or the one whose turn it is by the seed."""
KEY = "group"
"""Of a row: the name of its group."""
KNOWN_KEYS = ("name", "on", "factor", "pick")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def _no_extra() -> dict[str, Json]:
    return {}


@dataclass(frozen=True, slots=True)
class Group:
    """What several rows have in common."""

    name: str
    on: bool = True
    factor: float = 1.0
    """What the model and CLIP weights of its rows are multiplied by, -100 … 100."""
    pick: str = ALL
    """Of `PICKS`."""
    extra: Mapping[str, Json] = field(default_factory=_no_extra, hash=False)
    """Keys that this version does not know, verbatim."""

    def to_json(self) -> dict[str, Json]:
        """The group as JSON data: its name, and what differs from the default."""
        data: dict[str, Json] = {"name": self.name}
        for key, default in (("on", True), ("factor", 1.0), ("pick", ALL)):
            value = getattr(self, key)
            if value != default:
                data[key] = value
        return {**data, **self.extra}


@dataclass(frozen=True, slots=True)
class Grouping:
    """The rows of a stack as they are written, and their groups."""

    groups: tuple[Group, ...]
    rows: tuple[Entry, ...]
    seed: int | None = 0
    """Of the run; 0, the node's default, where nobody says one. None if it is not known yet: then nothing is picked."""

    @property
    def picks(self) -> bool:
        """True if the seed decides which rows act."""
        return any(group.on and group.factor != 0 and group.pick != ALL for group in self.groups)

    def picked(self) -> dict[str, int | None]:
        """Group → number of the row that it picked, from 1, or None if no row of it is on; of groups that pick."""
        found: dict[str, int | None] = {}
        for group in self.groups:
            if not group.on or group.factor == 0 or group.pick == ALL:
                continue
            active = [row for row, entry in enumerate(self.rows, 1) if group_of(entry) == group.name and entry.active]
            found[group.name] = self._pick(group, active) if active else None
        return found

    def flat(self) -> tuple[Entry, ...]:
        """The rows as they act, without their groups' names; as many as there are rows, in the same order.

        Raises `StackError`, which names the row, for a weight that the factor takes out of its range.
        """
        groups = {group.name: group for group in self.groups}
        picked = self.picked()
        return tuple(
            _flat(entry, row, groups.get(group_of(entry) or ""), picked) for row, entry in enumerate(self.rows, 1)
        )

    def _pick(self, group: Group, active: Sequence[int]) -> int | None:
        if self.seed is None:
            return None
        if group.pick == NEXT:
            return active[self.seed % len(active)]
        return max(active, key=lambda row: (self._lot(group, row), row))

    def _lot(self, group: Group, row: int) -> str:
        """The row that draws the greatest lot acts; so a row more or less changes nothing between the others."""
        lora = self.rows[row - 1].lora
        same = sum(
            entry.lora == lora and group_of(entry) == group.name for entry in self.rows[: row - 1] if entry.active
        )
        return hashlib.sha256(f"{self.seed}\n{group.name}\n{lora}\n{same}".encode("utf-8", "replace")).hexdigest()


def group_of(entry: Entry) -> str | None:
    """The name of the group that a row as it is written is in."""
    return cast("str | None", entry.extra.get(KEY))


def scaled(weight: float, factor: float) -> float:
    """The product of two numbers as they are written: 0.7 and 0.8 give 0.56, exact in decimals and rounded once."""
    return float(_EXACT.multiply(Decimal(repr(weight)), Decimal(repr(factor)))) + 0.0  # no -0.0


def read_groups(value: Json, rows: tuple[Entry, ...]) -> Grouping:
    """The groups of a stack from JSON data, with its rows; raises `StackError`, with the row if one is to blame."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise StackError(say('"groups" is {value}; expected a list of groups', value=kind(value)))
    data = cast("Sequence[Json]", value)
    if len(data) > MAX_GROUPS:
        raise StackError(
            say('"groups" has {count} groups; at most {most} are read', count=f"{len(data):,}", most=MAX_GROUPS)
        )
    groups = tuple(_read_group(item) for item in data)
    names = [group.name for group in groups]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise StackError(say("two groups have the name {name}; rename one of them", name=quoted(twice)))
    for row, entry in enumerate(rows, 1):
        name = entry.extra.get(KEY)
        if name is not None and name not in names:
            raise StackError(say('"groups" has no group with the name {name}', name=quoted(name)), row)
    return Grouping(groups, rows)


def _read_group(data: Json) -> Group:
    if not isinstance(data, Mapping):
        raise StackError(say("a group is {value}; expected a JSON object", value=kind(data)))
    fields = cast("Mapping[str, Json]", data)
    name = fields.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_GROUP_NAME or has_odd_characters(name):
        raise StackError(
            say("a group's name is {name}; expected 1 to {most} characters", name=quoted(name), most=MAX_GROUP_NAME)
        )
    on, factor, pick = fields.get("on", True), fields.get("factor", 1.0), fields.get("pick", ALL)
    if not isinstance(on, bool):
        raise _wrong(name, "on", on, "true, false")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not -WEIGHT_LIMIT <= factor <= WEIGHT_LIMIT:
        raise StackError(
            say(
                'the group {name}: "factor" is {value}; it must lie in -{limit} … {limit}',
                name=quoted(name),
                value=quoted(factor),
                limit=f"{WEIGHT_LIMIT:g}",
            )
        )
    if not isinstance(pick, str) or pick not in PICKS:
        raise _wrong(name, "pick", pick, ", ".join(PICKS))
    return Group(name, on, float(factor), pick, unknown_keys(fields, KNOWN_KEYS, None))


def _wrong(name: str, key: str, value: Json, known: str) -> StackError:
    return StackError(
        say(
            'the group {name}: "{key}" is {value}; expected one of {known}',
            name=quoted(name),
            key=key,
            value=quoted(value),
            known=known,
        )
    )


def _flat(entry: Entry, row: int, group: Group | None, picked: Mapping[str, int | None]) -> Entry:
    if KEY not in entry.extra:
        return entry
    extra = {key: value for key, value in entry.extra.items() if key != KEY}
    if group is None:  # the row says null
        return _replaced(entry, extra=extra)
    on = entry.on and group.on and picked.get(group.name, row) == row
    if group.factor == 1:
        return _replaced(entry, on=on, extra=extra)
    clip = None if entry.clip is None else scaled(entry.clip, group.factor)
    made = _replaced(entry, on=on, model=scaled(entry.model, group.factor), clip=clip, extra=extra)
    try:
        return check_row(made, row)
    except StackError as error:
        said = say("with the factor {factor} of its group {name}", factor=f"{group.factor:g}", name=quoted(group.name))
        raise StackError(together((error.reason, said)), row) from error


def _replaced(entry: Entry, **changes: object) -> Entry:
    made = replace(entry, **changes)  # type: ignore[arg-type]
    if entry.parsed is not None:
        made.keep_parsed(entry.parsed)
    return made
