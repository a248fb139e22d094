"""Reads and hashes files while nobody waits, one after another, with rests between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .facts import File

_REST = 0.2
"""How long it rests after a file, in times of what reading it took."""
_REST_WHILE_BUSY = 9.0
_LEAST_REST = 0.001
"""Seconds; what lets other threads have their turn."""
_TURN = 0.01
"""Seconds of reading after which it rests."""
_MOST_REST = 5.0
_SAVE_EVERY = 1.0
"""Seconds after which what was read is kept on disk."""

IsWanted = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Hashing:
    """How far hashing is."""

    done: int = 0
    total: int = 0
    """Files that hashes were asked for; 0 if they were not."""


class Background:
    """Two threads at most: one reads headers, one hashes whole files if that is asked for.

    `read` and `hash_file` do it for one file, `save` keeps what they found, `is_busy` says whether the machine has
    better things to do.
    """

    def __init__(
        self,
        read: Callable[[File], object],
        hash_file: Callable[[File, IsWanted], object],
        save: Callable[[], None],
        is_busy: IsWanted,
    ) -> None:
        self._read = read
        self._hash = hash_file
        self._save = save
        self._is_busy = is_busy
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._hashing: threading.Thread | None = None
        self._is_wanted = threading.Event()
        self._progress = Hashing()
        self._waiting = 0

    @contextmanager
    def attended(self) -> Generator[None, None, None]:
        """Keeps it still while a request waits for an answer; the two would get into each other's way."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def read(self, files: Sequence[File]) -> None:
        """Has these files read, unless it is reading already."""
        with self._lock:
            if files and not _is_alive(self._reading):
                self._reading = _start("lorchestra-library", self._read_all, files)

    def hash(self, files: Sequence[File]) -> None:
        """Has these files hashed, unless it is hashing already."""
        with self._lock:
            if files and not _is_alive(self._hashing):
                self._is_wanted.set()
                self._progress = Hashing(0, len(files))
                self._hashing = _start("lorchestra-hashes", self._hash_all, files)

    def stop_hashing(self) -> None:
        """Ends it in the middle of a file; what was hashed stays."""
        self._is_wanted.clear()

    @property
    def hashing(self) -> Hashing:
        """How far hashing is."""
        return self._progress if _is_alive(self._hashing) and self._is_wanted.is_set() else Hashing()

    def _read_all(self, files: Sequence[File]) -> None:
        saved = started = time.monotonic()
        for file in files:
            self._read(file)
            took = time.monotonic() - started
            if took >= _TURN or self._waiting:
                self._rest(took)
                started = time.monotonic()
            if time.monotonic() - saved > _SAVE_EVERY:
                self._save()
                saved = time.monotonic()
        self._save()

    def _hash_all(self, files: Sequence[File]) -> None:
        for number, file in enumerate(files, 1):
            started = time.monotonic()
            self._hash(file, self._is_wanted.is_set)
            if not self._is_wanted.is_set():
                break
            self._progress = Hashing(number, len(files))
            self._save()
            self._rest(time.monotonic() - started)

    def _rest(self, took: float) -> None:
        rest = took * (_REST_WHILE_BUSY if self._is_busy() else _REST)
        time.sleep(_LEAST_REST + min(rest, _MOST_REST))
        while self._waiting:
            time.sleep(_LEAST_REST)


def _start(name: str, work: Callable[[Sequence[File]], None], files: Sequence[File]) -> threading.Thread:
    thread = threading.Thread(target=work, args=(files,), name=name, daemon=True)
    thread.start()
    return thread


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
