"""The hashes by which other tools know a file: all of them in one pass over it.

| name | value | source |
| --- | --- | --- |
| SHA256 | of the whole file, 64 hex digits | Civitai, A1111 |
| AutoV1 | the first 8 digits of the SHA-256 of 64 KiB at byte 0x100000 | A1111 before 2023 (`modules/sd_models.py`) |
| AutoV2 | the first 10 digits of SHA256 | A1111, Civitai |
| AutoV3 | the first 12 digits of the SHA-256 of what follows the header | A1111 `addnet_hash_safetensors` |
| BLAKE3 | of the whole file, 64 hex digits | Civitai |
| CRC32 | of the whole file, 8 hex digits | Civitai |

Editing a file's metadata changes all of them but AutoV3.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ..errors import HeaderError
from .opening import open_regular

_BLOCK = 1 << 20
_V1_START, _V1_END = 0x100000, 0x110000
_OF_NOTHING = hashlib.sha256().hexdigest()
"""Repackers write it when they hash nothing; it identifies no file."""


class Digest(Protocol):
    """A hash that is computed piece by piece."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Adds bytes."""
        ...

    def hexdigest(self) -> str:
        """64 hex digits."""
        ...


@dataclass(frozen=True, slots=True)
class Hashes:
    """What one file is known by; hex digits in lower case."""

    sha256: str
    autov1: str | None
    """None if the file ends before the bytes that it is taken of."""
    tensors: str | None
    """SHA-256 of all bytes after the header, 64 digits: kohya's `sshs_model_hash`. None if not safetensors."""
    blake3: str | None
    """None if the package `blake3` is not installed."""
    crc32: str

    @property
    def autov2(self) -> str:
        """The first 10 digits of SHA256."""
        return self.sha256[:10]

    @property
    def autov3(self) -> str | None:
        """The first 12 digits of the tensors' hash."""
        return self.tensors[:12] if self.tensors else None

    def find_kind(self, text: str) -> str | None:
        """The kind of hash of this file that a text is, such as `AutoV2`; None if it is none of them.

        Texts in upper case, with `0x` or with the kind in front (`sha256:…`) are the same.
        """
        wanted = find_hash(text)
        kinds = (
            ("SHA256", self.sha256),
            ("tensors", self.tensors),
            ("BLAKE3", self.blake3),
            ("AutoV3", self.autov3),
            ("AutoV2", self.autov2),
            ("AutoV1", self.autov1),
            ("CRC32", self.crc32),
        )
        return next((kind for kind, value in kinds if value and value == wanted), None)


_LENGTHS = (8, 10, 12, 64)
_HASH = re.compile(r"(?:(?:sha-?256|blake3|autov[123]|crc32)\s*[:=]\s*)?(?:0x)?([0-9a-f]{8,64})", re.ASCII)
"""Example: `SHA256:A5F58EB1C3…`, `0xa5f58eb1c3…`, `A5F58EB1C3`."""


def find_hash(text: str) -> str | None:
    """The digits, in lower case, of a text that is a hash by its form: 8, 10, 12 or 64 hex digits; else None."""
    if len(text) > 100:
        return None
    match = _HASH.fullmatch(text.strip().lower())
    if match is None or len(match[1]) not in _LENGTHS or _OF_NOTHING.startswith(match[1]):
        return None
    return match[1]


def read_hashes(path: str | Path, progress: Callable[[int, int], object] | None = None) -> Hashes:
    """Reads a file once, from its beginning to its end; raises `HeaderError` if it cannot be read or changes meanwhile.

    `progress` is called with the bytes read so far and the file's size after each MiB; what it raises ends the reading.
    """
    with open_regular(path) as file:
        hashes = _read(file.read, file.size, progress)
        if hashes is None or file.has_changed():
            raise HeaderError(path, "the file changed while it was read")
        return hashes


_MARK = 1 << 16
"""Bytes of each end of a file that its mark is taken of."""


def read_mark(path: str | Path) -> str:
    """What tells a file that was moved from others of its size, without reading all of it: 64 hex digits.

    It is taken of the size, the first and the last 64 KiB. Raises `HeaderError` if the file cannot be read.
    """
    with open_regular(path) as file:
        digest = hashlib.sha256(struct.pack("<Q", file.size))
        digest.update(file.read(_MARK) or b"")
        file.seek(max(0, file.size - _MARK))
        digest.update(file.read(_MARK) or b"")
        return digest.hexdigest()


def _read(
    read: Callable[[int], bytes | None], size: int, progress: Callable[[int, int], object] | None
) -> Hashes | None:
    """None if there are not as many bytes as there should be."""
    whole, early, rest = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    others = [digest] if (digest := new_blake3()) else []
    crc, done, header_end = 0, 0, size
    while block := read(_BLOCK):
        if done == 0 and len(block) >= 8:
            header_end = min(size, 8 + struct.unpack_from("<Q", block)[0])
            is_safetensors = header_end < size and block[8:9] == b"{"
            header_end = header_end if is_safetensors else size
        view = memoryview(block)
        for digest_ in (whole, *others):
            digest_.update(view)
        crc = zlib.crc32(view, crc)
        early.update(_within(view, done, _V1_START, _V1_END))
        rest.update(_within(view, done, header_end, size))
        done += len(block)
        if progress:
            progress(done, size)
    if done != size:
        return None
    return Hashes(
        whole.hexdigest(),
        early.hexdigest()[:8] if size > _V1_START else None,
        rest.hexdigest() if header_end < size else None,
        others[0].hexdigest() if others else None,
        f"{crc:08x}",
    )


def _within(view: memoryview, at: int, start: int, end: int) -> memoryview:
    """The part of a block at byte `at` of the file that lies between two bytes of the file."""
    return view[max(0, start - at) : max(0, end - at)]


def new_blake3() -> Digest | None:
    """BLAKE3 of nothing yet; None if the package `blake3` is not installed."""
    try:
        return cast("Digest", import_module("blake3").blake3())
    except ImportError:
        return None
