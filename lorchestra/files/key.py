"""What tells one file, and one state of a file, from another."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import HeaderError


@dataclass(frozen=True, slots=True)
class FileKey:
    """What tells one state of a file from another without reading it."""

    path: str
    """Absolute, links resolved."""
    modified_ns: int
    size: int


def find_key(path: str | Path) -> FileKey | None:
    """The file's key, or None when there is no such file."""
    try:
        real = os.path.realpath(path)
        state = os.stat(real)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return FileKey(real, state.st_mtime_ns, state.st_size)


def read_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hex digits; raises `HeaderError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise HeaderError(path, f"the file cannot be read ({error.strerror or error})") from error
