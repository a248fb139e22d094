"""Reads the names and shapes in the header of a GGUF file, and nothing else, within bounds.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md - versions 2 and 3, little-endian. Nothing here needs
torch, and no array of metadata is held in memory.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

from ..errors import CheckpointError, quoted
from .opening import open_regular

MAX_TENSORS = 50_000
"""More than any model has; the largest mixtures of experts have some ten thousand."""

MAX_ENTRIES = 100_000
"""Metadata entries; ComfyUI-GGUF writes up to one a tensor."""

MAX_STRINGS = 1_000_000
"""Strings and lists in metadata, which are walked one by one; the largest vocabularies have 800,000."""

MAX_TEXT_BYTES = 16_000_000
"""All names of tensors and metadata entries together."""

_MAX_NAME = 65_535
_MAX_DIMS = 8
_MAX_NESTING = 4
_MAGIC = b"GGUF"
_ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""ComfyUI-GGUF's entry for a tensor that was reshaped: this and the tensor's name = list of INT32 in torch's order."""

_SIZES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by its type's number. Example: 4 is UINT32."""

_UINT32, _INT32, _STRING, _ARRAY = 4, 5, 8, 9


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A validated header."""

    path: str
    shapes: Mapping[str, tuple[int, ...]]
    """Tensor name → logical shape in torch's order, whatever the quantization."""
    size: int
    """Bytes of the header."""


def read_gguf(path: str | Path) -> GgufHeader:
    """Reads and validates the header of one file; what is skipped is not read.

    Raises `CheckpointError`, which names the file and the reason, for a missing or unreadable file, for anything that
    is not GGUF, for a file that is cut off and for a header that lies.
    """
    name = str(path)
    raw = open_regular(name, CheckpointError)
    with io.BufferedReader(raw, 1 << 16) as file:
        return _Reader(name, file, raw.size).header()


class _Reader:
    """One pass over a header; every length is checked against the file before anything is read or skipped."""

    def __init__(self, path: str, file: IO[bytes], size: int) -> None:
        self._path = path
        self._file = file
        self._size = size
        self._position = 0
        self._text = 0
        self._strings = 0
        self._alignment = 32
        self._original: dict[str, tuple[int, ...]] = {}

    def header(self) -> GgufHeader:
        if self._take(4, "the format's name") != _MAGIC:
            raise self._error("this is not a GGUF file: it does not begin with the letters GGUF")
        version = self._number(4, "the version")
        if version & 0xFFFF == 0 and version:
            raise self._error("this GGUF file is big-endian, which is not supported; convert it to little-endian")
        if version not in (2, 3):
            raise self._error(f"GGUF version {version} is not supported, only versions 2 and 3")
        tensors = self._count("tensors", MAX_TENSORS, 24)
        entries = self._count("metadata entries", MAX_ENTRIES, 13)
        for _ in range(entries):
            self._entry()
        shapes: dict[str, tuple[int, ...]] = {}
        starts: list[tuple[int, str]] = []
        for _ in range(tensors):
            name, shape, start = self._tensor()
            if name in shapes:
                raise self._error(f"tensor {quoted(name)} is there twice")
            shapes[name] = shape
            if 0 not in shape:
                starts.append((start, name))
        self._check_starts(starts)
        return GgufHeader(self._path, shapes, self._position)

    def _entry(self) -> None:
        key = self._name("a metadata entry")
        kind = self._number(4, "a type")
        if key == "general.alignment":
            if kind != _UINT32:
                raise self._error("general.alignment is not a UINT32")
            self._alignment = self._number(4, "the alignment")
            if self._alignment == 0 or self._alignment & (self._alignment - 1):
                raise self._error(f"general.alignment is {self._alignment}, which is no power of two")
        elif key.startswith(_ORIGINAL_SHAPE):
            if len(self._original) == MAX_TENSORS:
                raise self._error(f"the metadata has more than {MAX_TENSORS:,} shapes; the file is damaged")
            self._original[key[len(_ORIGINAL_SHAPE) :]] = self._shape_entry(key, kind)
        else:
            self._skip_value(kind, 0)

    def _shape_entry(self, key: str, kind: int) -> tuple[int, ...]:
        item, count = (self._number(4, "a type"), self._number(8, "a length")) if kind == _ARRAY else (None, 0)
        if item != _INT32 or not 0 < count <= _MAX_DIMS:
            raise self._error(f"the metadata entry {quoted(key)} is not a list of 1 to {_MAX_DIMS} INT32")
        return struct.unpack(f"<{count}i", self._take(4 * count, "a shape"))

    def _tensor(self) -> tuple[str, tuple[int, ...], int]:
        name = self._name("a tensor")
        where = f"tensor {quoted(name)}"
        count = self._number(4, where)
        if count > _MAX_DIMS:
            raise self._error(f"{where} has {count:,} dimensions; at most {_MAX_DIMS} are possible")
        shape = tuple(reversed(struct.unpack(f"<{count}Q", self._take(8 * count, where))))
        if any(length >= 2**63 for length in shape):
            raise self._error(f"{where} has the impossible shape {quoted(shape)}")
        self._number(4, where)  # the quantization: a new one does not matter, since shapes are logical
        start = self._number(8, where)
        original = self._original.get(name)
        if original is not None:
            if min(original) < 0 or prod(original) != prod(shape):
                raise self._error(f"{where} of shape {quoted(shape)} cannot have had the shape {quoted(original)}")
            shape = original
        return name, shape, start

    def _check_starts(self, starts: list[tuple[int, str]]) -> None:
        data = -(-self._position // self._alignment) * self._alignment
        for start, name in starts:
            if data + start >= self._size:
                raise self._error(
                    f"tensor {quoted(name)} begins at byte {start:,} of the data but the file holds "
                    f"{max(0, self._size - data):,}; the file is truncated"
                )

    def _skip_value(self, kind: int, depth: int) -> None:
        """Moves past one value; lists of numbers at once, lists of strings and lists one by one."""
        if kind == _STRING:
            self._step()
            self._skip(self._number(8, "a length"))
        elif kind == _ARRAY:
            self._step()
            if depth == _MAX_NESTING:
                raise self._error(f"the metadata has lists that are nested more than {_MAX_NESTING} deep")
            item, count = self._number(4, "a type"), self._number(8, "a length")
            if item in _SIZES:
                self._skip(count * _SIZES[item])
            elif item in (_STRING, _ARRAY):
                if self._strings + count > MAX_STRINGS:
                    raise self._error(f"the metadata has more than {MAX_STRINGS:,} strings; the file is damaged")
                for _ in range(count):
                    self._skip_value(item, depth + 1)
            else:
                raise self._error(f"the metadata has a list of the unknown type {item}")
        elif kind in _SIZES:
            self._skip(_SIZES[kind])
        else:
            raise self._error(f"the metadata has a value of the unknown type {kind}")

    def _step(self) -> None:
        self._strings += 1
        if self._strings > MAX_STRINGS:
            raise self._error(f"the metadata has more than {MAX_STRINGS:,} strings; the file is damaged")

    def _name(self, what: str) -> str:
        length = self._number(8, f"the name of {what}")
        self._text += length
        if length > _MAX_NAME or self._text > MAX_TEXT_BYTES:
            raise self._error(f"the name of {what} claims {length:,} bytes; this is no GGUF file, or it is damaged")
        try:
            return self._take(length, f"the name of {what}").decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._error(f"the name of {what} is not UTF-8") from error

    def _count(self, what: str, limit: int, least: int) -> int:
        """A number of things that take at least `least` bytes each."""
        count = self._number(8, f"the number of {what}")
        if count > limit:
            raise self._error(f"the header claims {count:,} {what}, above the limit of {limit:,}; the file is damaged")
        if count * least > self._size:
            raise self._error(f"the header claims {count:,} {what}, more than the file has room for")
        return count

    def _number(self, size: int, what: str) -> int:
        return int.from_bytes(self._take(size, what), "little")

    def _take(self, count: int, what: str) -> bytes:
        data = self._file.read(count) if count <= self._size - self._position else b""
        if len(data) < count:
            raise self._error(f"the file ends in {what}, at byte {self._size:,}; it is truncated")
        self._position += count
        return data

    def _skip(self, count: int) -> None:
        if count > self._size - self._position:
            raise self._error(f"a metadata value claims {count:,} bytes, more than the file has; it is truncated")
        self._position += count
        if count <= 64:
            self._file.read(count)  # cheaper than to seek
        else:
            self._file.seek(self._position)

    def _error(self, reason: str) -> CheckpointError:
        return CheckpointError(self._path, reason)
