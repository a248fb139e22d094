"""What every dialect gives back: a stack or a request, and the list of what could not be said."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from ..errors import DialectError, JsonError, quoted
from ..files.json_text import read_json
from ..limits import MAX_ROWS, WEIGHT_LIMIT, Json
from ..stack import BOTH, Entry, Stack


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a text; lines and their characters count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that was there before the translation and is not there after it."""

    row: int | None
    """Row of the stack, from 1; None when no single row is meant."""
    field: str
    """The field of the row, or of the request, that is lost."""
    reason: str
    """What is lost and why, as one line."""
    place: Place | None = None
    """Where it stands in the text; None if the request is no text, or all of it is meant."""

    def __str__(self) -> str:
        field = self.field if self.field.isprintable() else quoted(self.field)
        row = "" if self.row is None else f"row {self.row}, "
        return f"{row}{field}: {self.reason}" if self.place is None else f"{row}{self.place}, {field}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A stack that was read from a foreign request."""

    stack: Stack
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Writing:
    """A stack in a foreign dialect."""

    text: str
    """What is put into a file or a prompt."""
    value: Json
    """The same as JSON data; a plain string for dialects that are not JSON."""
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request of a dialect can hold. The documentation and the tests read it, too."""

    min: float = -WEIGHT_LIMIT
    """Least weight that is written; `WEIGHT_LIMIT` is ours, where the other program states none."""
    max: float = WEIGHT_LIMIT
    most: int = MAX_ROWS
    """Most LoRAs of one request; `MAX_ROWS` is ours, where the other program states none."""
    default: float | None = 1.0
    """Weight of a LoRA that names none, when it is read; None if it must name one."""


NO_LIMITS = Limits()
OFF, CLIP, FOLDER, SHA256, AIR, EXPERT = "off", "clip", "folder", "sha256", "air", "expert"
KEEPABLE = (OFF, CLIP, FOLDER, SHA256, AIR, EXPERT)
"""What only some dialects keep of a row: that it is off, the text encoders' own weight, the file's folder …"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to write LoRAs down, with its two pure functions."""

    id: str
    """The word for it on the command line; it never changes."""
    title: str
    suffix: str
    """Of its files, e.g. `.json`."""
    read: Callable[..., Reading]
    """`read(value)`: a stack from JSON data or text; raises `StackError` that names the row."""
    write: Callable[..., Writing]
    """`write(stack)`: the request; raises `DialectError` that names the row for what the dialect can never hold."""
    read_options: tuple[str, ...] = ()
    """Keyword arguments that `read` takes besides."""
    write_options: tuple[str, ...] = ()
    """Keyword arguments that `write` takes besides."""
    limits: Limits = NO_LIMITS
    keeps: tuple[str, ...] = ()
    """Of `KEEPABLE`: what can be read back from a request. The rest is in the losses."""
    recognises: Callable[[Json], bool] | None = None
    """Whether JSON data is surely meant as this dialect; None if only its word says so, or `parse` tells it by text."""


def find_inactive(entry: Entry, row: int) -> Loss | None:
    """The loss of a row that is off or has only zero weights; None for a row that must be written."""
    if entry.active:
        return None
    if not entry.on:
        return Loss(row, "on", f"{quoted(entry.lora)} is off, so the row is left out")
    return Loss(row, "model", f"{quoted(entry.lora)} has the weight 0, so the row is left out")


def unsaid(entry: Entry, row: int, title: str, said: Collection[str] = ()) -> Iterator[Loss]:
    """What the row says and no dialect with one weight a LoRA can, and unknown keys; without what is in `said`."""
    if entry.blocks and "blocks" not in said:
        yield Loss(row, "blocks", f"{title} has no weights per block; the row's weight is used for all of them")
    if entry.schedule and entry.schedule.strip():
        yield Loss(row, "schedule", f"{title} has no weights that change over the steps; the row's weight is used")
    if entry.conditioning != BOTH:
        yield Loss(row, "conditioning", f"{title} has no LoRAs for one conditioning; it acts on both")
    if entry.expert is not None and "expert" not in said:
        yield Loss(row, "expert", f"{title} has no LoRAs for one model of a pair; it acts on both")
    if entry.region is not None:
        yield Loss(row, "region", f"{title} has no regions; it acts on the whole picture")
    if entry.triggers is not None:
        yield Loss(row, "triggers", f"{title} has no place for trigger words; they belong in the prompt")
    for key in entry.extra:
        if key not in said:
            yield Loss(row, key, f"{title} has no such field; it is left out")


def written(stack: Stack, dialect: Dialect, losses: list[Loss]) -> Iterator[tuple[int, Entry]]:
    """The active rows with their numbers; those that are left out are added to `losses`.

    Raises `DialectError` for the first row that there is no place for, and `StackError` for rows out of range.
    """
    count = 0
    for row, entry in stack.checked().rows:
        inactive = find_inactive(entry, row)
        if inactive is not None:
            losses.append(inactive)
            continue
        count += 1
        check_count(count, dialect, row)
        yield row, entry


def check_count(count: int, dialect: Dialect, row: int) -> None:
    """Raises `DialectError` if this is one LoRA more than a request holds."""
    if count > dialect.limits.most:
        most = dialect.limits.most
        raise DialectError(
            f"{dialect.title} takes at most {most} LoRA{'s' * (most != 1)}; switch this row off, or another one", row
        )


def fitted(
    weight: float,
    path: str,
    entry: Entry,
    row: int,
    dialect: Dialect,
    clamp: bool,
    losses: list[Loss],
    key: str = "model",
) -> float:
    """A weight as it is written to the field `path`: as it is, or clamped and told where that was asked for.

    `key` is the row's field that it comes from. Raises `DialectError` for one outside the dialect's limits otherwise.
    """
    limits = dialect.limits
    if limits.min <= weight <= limits.max:
        return weight
    said = f"{limits.min:g} … {limits.max:g}"
    if not clamp:
        raise DialectError(
            f"the weight {weight!r} of {quoted(entry.lora)} is outside {dialect.title}'s {said}; "
            "choose a weight inside it, switch the row off, or allow clamping",
            row,
            path,
        )
    inside = min(max(weight, limits.min), limits.max)
    losses.append(Loss(row, key, f"{weight!r} is outside {dialect.title}'s {said}; {inside!r} is written"))
    return inside


def one_weight(entry: Entry, row: int, title: str) -> Iterator[Loss]:
    """What is lost where a LoRA has one weight for the model and the text encoders."""
    if entry.clip_weight != entry.model:
        reason = f"{title} has one weight a LoRA; {entry.model!r} is written, {entry.clip!r} is lost"
        yield Loss(row, "clip", reason)


def no_place(entry: Entry, row: int, title: str, keys: Collection[str] = ("sha256", "air")) -> Iterator[Loss]:
    """The hash and the AIR of a row, where a dialect knows files by something else."""
    for key in ("sha256", "air"):
        if key in keys and getattr(entry, key) is not None:
            yield Loss(row, key, f"{title} has no place for it")


def as_text(value: Json) -> str:
    """JSON data as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def unsaid_of_stack(stack: Stack, title: str) -> Iterator[Loss]:
    """The stack's own unknown keys, which no dialect has a place for."""
    for key in stack.extra:
        yield Loss(None, key, f"{title} has no such field; it is left out")


def from_json(text: str, what: str = "the text") -> Json:
    """The value of JSON text, see `read_json`; raises `DialectError` for text that is too long or no JSON."""
    try:
        return read_json(text, what)
    except JsonError as error:
        raise DialectError(str(error)) from error
