"""The bytes of a long safetensors header, read piece by piece, so that its metadata are never held as a whole."""

from __future__ import annotations

import hashlib
import json
import re
from typing import IO, cast

from ..errors import HeaderError, quoted

METADATA = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"__metadata__"[ \t\n\r]*:[ \t\n\r]*')

_PIECE = 1 << 16
_LONGEST_ENTRY = 2_000_000
_LONGEST_ENTRIES = 4_000_000
"""Characters of the metadata that are kept of a long header, of one entry and of all."""

_LONGEST_KEY = 1000
_SAMPLE = 1000
"""Bytes that are kept of an entry that is too long."""

_LENIENT = json.JSONDecoder(strict=False)
_METADATA_BYTES = re.compile(METADATA.pattern.encode())
_INSIDE = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_BRACKET = re.compile(rb'[][{}"]')
_END = re.compile(rb'[][{}",]')
_MOST_PARTS = 50_000
"""Entries and brackets in the metadata of long headers, which are passed by one by one."""

NO_OBJECT = "the metadata are not a JSON object"


class Source:
    """The bytes of a header, read once and piece by piece; counts and hashes them."""

    def __init__(self, path: str, file: IO[bytes], length: int) -> None:
        self.path = path
        self.left = length
        """Bytes that are not taken yet."""
        self._file = file
        self._unread = length
        self._hash = hashlib.sha256()
        self._piece = b""
        self._at = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def peek(self) -> bytes:
        """The first bytes that are not taken yet; they stay."""
        if self._at == len(self._piece):
            self._more()
        return self._piece[self._at :]

    def rest(self, most: int) -> bytes:
        """All that is left, or its first `most` bytes."""
        text = self._piece[self._at :]
        wanted = min(most, self.left)
        while len(text) < wanted:
            text += self._read(wanted - len(text))  # nearly always one piece, which is not copied
        self._piece, self._at = b"", 0
        self.left -= len(text)
        return text

    def metadata(self) -> tuple[dict[str, str], list[str]]:
        """The metadata at the start of the header and what is wrong with them; they are passed by.

        Without metadata at the start nothing is passed by.
        """
        self._more()
        start = _METADATA_BYTES.match(self._piece)
        if not start:
            return {}, []
        self._skip(start.end())
        if self._next() != b"{":
            self._pass_value()
            self._next()
            return {}, [NO_OBJECT]
        metadata: dict[str, str] = {}
        notes: list[str] = []
        room = _LONGEST_ENTRIES
        count = 0
        self._skip(1)
        while (byte := self._next()) != b"}":
            count += 1
            if count > _MOST_PARTS:
                raise self._too_many()
            if byte == b",":
                self._skip(1)
                self._next()
            key = self._string(_LONGEST_KEY)[:_LONGEST_KEY]
            if self._next() != b":":
                raise self._not_json()
            self._skip(1)
            if self._next() != b'"':
                self._pass_value()
                notes.append(f"{_shown(key)} is not a string")
                continue
            before = self.left
            most = min(room, _LONGEST_ENTRY)
            value = self._string(most)
            if len(value) > most:
                notes.append(f"{_shown(key)} has {before - self.left:,} bytes, too many to be read")
                metadata[key.decode("utf-8", "replace")] = value[:_SAMPLE].decode("utf-8", "replace") + "…"
                continue
            room -= len(value)
            try:
                metadata[_text(key)] = _text(value)
            except UnicodeDecodeError:
                metadata[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
                notes.append(f"{_shown(key)} is not UTF-8")
            except ValueError:
                notes.append(f"{_shown(key)} is not JSON")
        self._skip(1)
        self._next()
        return metadata, notes

    def _read(self, most: int) -> bytes:
        piece = self._file.read(min(most, self._unread))
        if not piece:
            raise HeaderError(self.path, "the file became shorter while it was read")
        self._unread -= len(piece)
        self._hash.update(piece)
        return piece

    def _more(self) -> None:
        """Reads on; what is not taken yet stays."""
        if not self._unread:
            raise self._not_json()
        self._piece, self._at = self._piece[self._at :] + self._read(_PIECE), 0

    def _skip(self, count: int) -> None:
        self._at += count
        self.left -= count

    def _next(self) -> bytes:
        """The next byte that is no space; it is not taken."""
        while True:
            while self._at == len(self._piece):
                self._more()
            byte = self._piece[self._at : self._at + 1]
            if byte not in b" \t\n\r":
                return byte
            self._skip(1)

    def _string(self, most: int) -> bytes:
        """Takes a string: what is between its quotation marks, or where that is longer, a part longer than `most`."""
        if self._next() != b'"':
            raise self._not_json()
        self._skip(1)
        pieces: list[bytes] = []
        count = 0
        while True:
            end = cast("re.Match[bytes]", _INSIDE.match(self._piece, self._at)).end()
            if count <= most:
                pieces.append(self._piece[self._at : end])
                count += end - self._at
            self._skip(end - self._at)
            if self._piece[end : end + 1] == b'"':
                self._skip(1)
                return b"".join(pieces)
            self._more()

    def _pass_value(self) -> None:
        """Takes a value that is no string."""
        depth = brackets = 0
        self._next()
        while True:
            match = (_BRACKET if depth else _END).search(self._piece, self._at)
            if not match:
                self._skip(len(self._piece) - self._at)
                self._more()
                continue
            byte = match[0]
            self._skip(match.start() - self._at)
            if byte == b'"':
                self._string(0)
            elif byte in b"[{":
                depth += 1
                brackets += 1
                if brackets > _MOST_PARTS:
                    raise self._too_many()
                self._skip(1)
            elif depth:
                depth -= 1
                self._skip(1)
            if not depth and byte not in b"[{":
                return

    def _too_many(self) -> HeaderError:
        return HeaderError(self.path, f"the metadata have more than {_MOST_PARTS:,} parts; they are made to do harm")

    def _not_json(self) -> HeaderError:
        return HeaderError(
            self.path, "the header is not JSON: its metadata do not end, or are not an object of strings"
        )


def _text(inside: bytes) -> str:
    """A string from what is between its quotation marks; ValueError."""
    text = inside.decode()
    return str(_LENIENT.decode(f'"{text}"')) if "\\" in text else text


def _shown(key: bytes) -> str:
    return quoted(key.decode("utf-8", "replace"))
