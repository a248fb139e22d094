"""Reads the fields of a foreign request one by one; every refusal names the row and the field's path."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ..errors import DialectError, StackError, quoted
from ..files.hashes import find_hash as find_digits
from ..limits import MAX_ROWS, WEIGHT_LIMIT, Json
from ..stack import Entry, check_row
from ..stack.rows import KNOWN_KEYS, kind, unknown_keys
from ..stack.wanted import HASH, VERSION_ID
from .dialect import Loss, from_json

_ID = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """One LoRA of a request, an object with fields."""

    data: Mapping[str, Json]
    path: str
    """Where it stands in the request, such as `loras[1]`."""
    row: int
    losses: list[Loss] = field(default_factory=list[Loss])
    """What is lost of it; filled while it is read, and shared by all items of a request."""

    def at(self, key: str) -> str:
        """The path of one of its fields."""
        return f"{self.path}.{key}"

    def fail(self, key: str, expected: str) -> DialectError:
        """The error for a field that cannot be read."""
        value = self.data.get(key)
        found = "is missing" if key not in self.data else f"is {quoted(value)}"
        return DialectError(f"it {found}; expected {expected}", self.row, self.at(key))

    def find_text(self, key: str) -> str | None:
        """The text of a field, stripped; None if it is missing, null or blank. Raises `DialectError` for no text."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.fail(key, "text")
        return value.strip() or None

    def text(self, key: str, expected: str = "the name of a file") -> str:
        """The text of a field that must be there."""
        found = self.find_text(key)
        if found is None:
            raise self.fail(key, expected)
        return found

    def number(self, key: str, default: float | None) -> float:
        """A weight, `default` if it is missing or null; it must be there if that is None."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        return weight(value, self.at(key), self.row)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false")
        return value

    def version_id(self) -> int | None:
        """Civitai's number of a version, as a number or as text; None if it is missing, null, blank or 0."""
        value = self.data.get(VERSION_ID)
        if value in (None, "", 0, "0"):
            return None
        found = find_version_id(int(value) if isinstance(value, str) and _ID.fullmatch(value) else value)
        if found is None:
            raise self.fail(VERSION_ID, "the number of a version")
        return found

    def rest(self, known: Collection[str]) -> dict[str, Json]:
        """The other fields, to be kept in `Entry.extra`; those whose names mean something else in a row are lost."""
        for key in self.data:
            if key in KNOWN_KEYS and key not in known:
                self.losses.append(Loss(self.row, key, f"{self.at(key)} means something else in a row; it is left out"))
        try:
            return unknown_keys(self.data, (*known, *KNOWN_KEYS), self.row)
        except StackError as error:
            raise DialectError(error.reason, self.row, self.path) from error

    def entry(self, entry: Entry) -> Entry:
        """This row, if all of it is in range; raises `DialectError` otherwise."""
        return checked(entry, self.row, self.path)


def fields_of(value: Json) -> Mapping[str, Json]:
    """The fields of an object; none of anything else."""
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}


def objects(value: Json, key: str | None = None) -> Sequence[Mapping[str, Json]]:
    """The objects of a list, or of the list under a key of an object; none if there is anything else in it."""
    found = fields_of(value).get(key) if key is not None and isinstance(value, Mapping) else value
    rows = cast("list[Json]", found) if isinstance(found, list) else []
    return [fields_of(row) for row in rows] if all(isinstance(row, Mapping) for row in rows) else []


def rows_under(value: Json, key: str, losses: list[Loss]) -> Iterator[Item]:
    """The rows of a request: of the list under a key of an object, of that list, or of JSON text of either.

    What else the object says is lost. Raises `DialectError` for an object without the key, and for anything else.
    """
    data = from_json(value, "the request") if isinstance(value, str) else value
    if isinstance(data, Mapping):
        request = cast("Mapping[str, Json]", data)
        if key not in request:
            raise DialectError(f'the request is an object without "{key}", the list of its LoRAs')
        losses += left_behind(request, (key,))
        data = request[key]
    return items([] if data is None else data, key, losses)


def items(value: Json, path: str, losses: list[Loss]) -> Iterator[Item]:
    """The objects of a list, which are the rows; raises `DialectError` for anything else and for too many."""
    for row, data in enumerate(list_of(value, path), 1):
        yield item(data, f"{path}[{row - 1}]", row, losses)


def item(data: Json, path: str, row: int, losses: list[Loss]) -> Item:
    """One object as a row; raises `DialectError` for anything else."""
    if not isinstance(data, Mapping):
        raise DialectError(f"it is {quoted(data)}; expected an object for one LoRA", row, path)
    return Item(cast("Mapping[str, Json]", data), path, row, losses)


def list_of(value: Json, path: str) -> Sequence[Json]:
    """A list of at most `MAX_ROWS`; raises `DialectError` for anything else."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise DialectError(f"it is {kind(value)}; expected a list", None, path)
    found = cast("Sequence[Json]", value)
    check_rows(len(found), path)
    return found


def object_of(value: Json, what: str) -> Mapping[str, Json]:
    """A JSON object; raises `DialectError` that says `what` was expected for anything else."""
    if not isinstance(value, Mapping):
        raise DialectError(f"the request is {quoted(value)}; expected {what}")
    return cast("Mapping[str, Json]", value)


def check_rows(count: int, path: str) -> None:
    """Raises `DialectError` for more rows than a stack has."""
    if count > MAX_ROWS:
        raise DialectError(f"a stack has at most {MAX_ROWS} rows, this one has {count:,}", MAX_ROWS + 1, path)


def weight(value: Json, path: str, row: int) -> float:
    """A number within -100 … 100; raises `DialectError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DialectError(f"it is {quoted(value)}; expected a number", row, path)
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:  # also false for NaN
        raise DialectError(f"it is {quoted(value)}; it must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}", row, path)
    return float(value)


def checked(entry: Entry, row: int, path: str) -> Entry:
    """This row, if all of it is in range; raises `DialectError` otherwise."""
    try:
        return check_row(entry, row)
    except StackError as error:
        raise DialectError(error.reason, row, path) from error


def left_behind(data: Mapping[str, Json], known: Collection[str]) -> Iterator[Loss]:
    """The loss of what else a request says; none if it says nothing else."""
    names = [key for key in data if key not in known]
    if names:
        yield Loss(None, "request", f"only the LoRAs are taken; left behind: {quoted(', '.join(names), 200)}")


def find_hash(text: Json) -> str | None:
    """The digits of a hash, in small letters, as `HASH` keeps them in `Entry.extra`; None for anything else.

    10 digits are AutoV2 (the first of the SHA-256), 12 AutoV3 (the first of the tensors' SHA-256), 64 any other kind.
    """
    return find_digits(text) if isinstance(text, str) else None


def find_version_id(value: Json) -> int | None:
    """A number that may be one of Civitai's versions; None for anything else."""
    return value if type(value) is int and 0 < value < 10**15 else None


def kept_hash(entry: Entry) -> str | None:
    """The digits that `HASH` keeps in a row; None without any."""
    return find_hash(entry.extra.get(HASH))
