"""What tells one file, and one state of a file, from another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .opening import RegularFile, open_regular

_BLOCK = 1 << 20


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
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    state = find_state(real)
    return FileKey(real, *state) if state else None


def find_state(path: str | Path) -> tuple[int, int] | None:
    """When a file was changed, in nanoseconds, and its size in bytes; None when there is no such file."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_mtime_ns, state.st_size


def read_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hex digits; raises `HeaderError` if it cannot be read."""
    with open_regular(path) as file:
        return find_sha256(file, lambda: True) or ""


def find_sha256(file: RegularFile, is_wanted: Callable[[], bool]) -> str | None:
    """SHA-256 of what is left of an open file; None from the moment on at which it is not wanted any more."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
        if not is_wanted():
            return None
    return digest.hexdigest()
