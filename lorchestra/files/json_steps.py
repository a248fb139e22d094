"""Large JSON, read and written in small steps, so that other threads run in between.

`json` reads and writes a whole text in one call, in which no other thread of Python runs: 48 MB would stop a server for
a good part of a second. The same values, and the same errors.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import cast

from ..errors import JsonError
from ..limits import MAX_NESTING, Json

STEP = 1 << 16
"""Characters that are read in one call."""
_BYTES = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_PIECE = re.compile(r'(?:[^"\\\x00-\x1f]+|\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))*')
"""A part of a string, with whole escapes."""
_HIGH = re.compile(r"[\ud800-\udbff]\Z")
"""The first half of a character that is written as two escapes."""
_DEPTH = 3
"""How deep lists and objects are written one by one."""


def decode_utf8(data: bytes | bytearray) -> str:
    """The text of UTF-8 bytes, with or without a mark at their start; raises `UnicodeDecodeError`."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    pieces = [decoder.decode(data[start : start + _BYTES]) for start in range(0, len(data), _BYTES)]
    return "".join([*pieces, decoder.decode(b"", final=True)])


def read(text: str, what: str, values: int) -> Json:
    """The value of JSON text with at most so many values; raises `JsonError`, and `ValueError` for what is no JSON."""
    reader = _Reader(text, what, values)
    value, end = reader.value(reader.skip(0), 0)
    end = reader.skip(end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


class _Reader:
    def __init__(self, text: str, what: str, values: int) -> None:
        self._text = text
        self._what = what
        self._most = values
        self._count = 0
        self._plain = json.JSONDecoder()

    def value(self, at: int, depth: int) -> tuple[Json, int]:
        """The value that begins at a place, and where it ends."""
        self._count += 1
        if self._count > self._most:
            raise JsonError(f"{self._what} has more than {self._most:,} values")
        sign = self._text[at : at + 1]
        if sign == '"':
            return self._string(at)
        if sign in ("{", "[") and sign:
            if depth >= MAX_NESTING:
                raise JsonError(f"{self._what} is nested too deeply: more than {MAX_NESTING} levels")
            return self._object(at, depth + 1) if sign == "{" else self._list(at, depth + 1)
        return self._plain.raw_decode(self._text, at)

    def skip(self, at: int) -> int:
        """The next place that is no space."""
        while True:
            match = _SPACE.match(self._text, at, at + STEP)
            end = match.end() if match else at
            if end < at + STEP:
                return end
            at = end

    def _string(self, at: int) -> tuple[str, int]:
        parts: list[str] = []
        begin = at + 1
        while True:
            match = _PIECE.match(self._text, begin, begin + STEP)
            end = match.end() if match else begin
            piece = self._text[begin:end]
            if "\\" in piece:
                piece = cast("str", json.loads(f'"{piece}"'))
                if end - begin > 6 and _HIGH.search(piece) and self._text[end - 6 : end - 4] == "\\u":
                    piece, end = piece[:-1], end - 6  # its second half may come in the next piece
            parts.append(piece)
            if self._text[end : end + 1] == '"':
                return "".join(parts), end + 1
            if end == begin:
                json.loads(f'"{self._text[begin : begin + 20]}')  # says what is wrong
                raise json.JSONDecodeError("Unterminated string starting at", self._text, at)
            begin = end

    def _object(self, at: int, depth: int) -> tuple[dict[str, Json], int]:
        text, found = self._text, dict[str, Json]()
        at = self.skip(at + 1)
        if text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if text[at : at + 1] != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
            self._count += 1
            key, at = self._string(at)
            at = self.skip(at)
            if text[at : at + 1] != ":":
                raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
            found[key], at = self.value(self.skip(at + 1), depth)
            at = self.skip(at)
            if text[at : at + 1] == "}":
                return found, at + 1
            at = self._next(at)

    def _list(self, at: int, depth: int) -> tuple[list[Json], int]:
        found: list[Json] = []
        at = self.skip(at + 1)
        if self._text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self.value(at, depth)
            found.append(value)
            at = self.skip(at)
            if self._text[at : at + 1] == "]":
                return found, at + 1
            at = self._next(at)

    def _next(self, at: int) -> int:
        if self._text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", self._text, at)
        return self.skip(at + 1)


def write(value: Json) -> str:
    """The value as JSON text without spaces; raises what `json.dumps` does."""
    return "".join(_pieces(value, _DEPTH))


def _pieces(value: Json, depth: int) -> Iterator[str]:
    if depth and isinstance(value, dict) and value:
        sign = "{"
        for key, inner in cast("dict[str, Json]", value).items():
            yield f"{sign}{_dumped(key)}:"
            yield from _pieces(inner, depth - 1)
            sign = ","
        yield "}"
    elif depth and isinstance(value, list) and value:
        sign = "["
        for inner in cast("list[Json]", value):
            yield sign
            yield from _pieces(inner, depth - 1)
            sign = ","
        yield "]"
    else:
        yield _dumped(value)


def _dumped(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
