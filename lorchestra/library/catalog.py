"""The LoRA files that are there and what is known of each: listed at once, read in the background, kept.

Nothing but headers and sidecars is read, unless hashes of whole files are asked for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileProblem
from ..files.key import find_sha256
from ..files.opening import open_regular
from .facts import Facts, File, read_facts, with_hash
from .finder import BY_HASH, Candidate, Finder, Found
from .listing import Listing
from .sidecars import PREVIEWS, SIDECARS

_REST = 1.0
"""How long the background rests after a file, in times of what reading it took."""
_REST_WHILE_BUSY = 9.0
_LEAST_REST = 0.002
"""Seconds."""


class Library:
    """All LoRA files; safe for threads.

    `names` gives them as ComfyUI lists them, `roots` the folders they are in, and `is_busy` says whether the machine
    has better things to do than to read headers.
    """

    def __init__(
        self,
        names: Callable[[], Sequence[str]],
        roots: Callable[[], Sequence[str]],
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._names = names
        self._roots = roots
        self._is_busy = is_busy
        self._facts: dict[str, tuple[tuple[int, ...], Facts]] = {}
        self._hashes: dict[str, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._listing: tuple[list[str], Listing] = ([], Listing(()))

    @contextmanager
    def attended(self) -> Generator[None, None, None]:
        """Keeps the background still while a request waits for an answer; the two would get into each other's way."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def listing(self) -> Listing:
        """The listed names, to find one that a row means."""
        names = list(self._names())
        with self._lock:
            if self._listing[0] != names:
                self._listing = (names, Listing(names))
            return self._listing[1]

    def files(self, names: Iterable[str] | None = None) -> list[File]:
        """The listed files that are there, in the order of the list; of these names only, if any are given.

        Each folder is read once. A name that is not listed is left out, so that none leads out of the folders.
        """
        listed = self._names()
        if names is not None:
            known = set(listed)
            listed = [name for name in names if name in known]
        folders: dict[tuple[str, str], _Folder] = {}
        roots = list(self._roots())
        found = (self._file(name, roots, folders) for name in listed)
        return [file for file in found if file]

    def shown_path(self, file: File) -> str:
        """The path from the folder of LoRAs on: `loras/styles/pixel.safetensors`."""
        for root in self._roots():
            folder = Path(root)
            if Path(file.path).is_relative_to(folder):
                return (folder.name / Path(file.path).relative_to(folder)).as_posix()
        return file.name

    def find_file(self, name: str) -> File | None:
        """The file of a listed name."""
        return next(iter(self.files([name])), None)

    def find_facts(self, file: File) -> Facts | None:
        """What is known of a file without reading it."""
        found = self._facts.get(file.path)
        return with_hash(found[1], self._hash(file)) if found and found[0] == file.stamp else None

    def facts(self, file: File) -> Facts:
        """What is known of a file, which is read if it was not."""
        found = self.find_facts(file)
        if found is None:
            found = read_facts(file)
            with self._lock:
                self._facts[file.path] = (file.stamp, found)
            found = with_hash(found, self._hash(file))
        return found

    def sha256(self, file: File, is_wanted: Callable[[], bool] = lambda: True) -> str | None:
        """The hash of a whole file, read once. None if it cannot be read, changes, or is not wanted any more."""
        known = self._hash(file)
        if known:
            return known
        try:
            with open_regular(file.path) as source:
                found = find_sha256(source, is_wanted)
                if found is None or source.has_changed():
                    return None
        except FileProblem:
            return None
        if (source.modified_ns, source.size) != (file.modified_ns, file.size):
            return None
        with self._lock:
            self._hashes[file.path] = (file.stamp[:2], found)
        return found

    def read_in_background(self, files: Sequence[File] | None = None) -> int:
        """Has all files read that are not, newest first, one after another. Returns how many are left.

        `files` are all there are, if they have just been asked for.
        """
        files = self.files() if files is None else files
        self._forget({file.path for file in files})
        waiting = [file for file in files if self.find_facts(file) is None]
        with self._lock:
            if waiting and (self._thread is None or not self._thread.is_alive()):
                waiting.sort(key=lambda file: -file.modified_ns)
                self._thread = threading.Thread(
                    target=self._read_all, args=(waiting,), name="lorchestra-library", daemon=True
                )
                self._thread.start()
        return len(waiting)

    def finder(self, seconds: float = 0.0) -> Finder:
        """Finds files by what is known of them; headers and sidecars are read first, for so many seconds at most."""
        deadline = time.monotonic() + seconds
        known: list[tuple[str, Facts]] = []
        left = 0
        for file in self.files():
            facts = self.find_facts(file)
            if facts is None and time.monotonic() < deadline:
                facts = self.facts(file)
            if facts is None:
                left += 1
            else:
                known.append((file.name, facts))
        return Finder(self.listing(), known, left)

    def search_hash(
        self, lora: str, sha256: str, size: int | None = None, is_wanted: Callable[[], bool] = lambda: True
    ) -> Found:
        """The file with this hash, by hashing whole files: those of this size, or of this name first, then the newest.

        It stops at the first, and when it is not wanted any more.
        """
        files = self.files()
        if size is not None:
            files = [file for file in files if file.size == size]
        same = set(self.listing().named(lora))
        files.sort(key=lambda file: (file.name not in same, -file.modified_ns))
        for number, file in enumerate(files):
            found = self.sha256(file, is_wanted) if is_wanted() else None
            if found == sha256.lower():
                return Found((Candidate(file.name, BY_HASH),), 0)
            if found is None and not is_wanted():
                return Found((), len(files) - number)
        return Found(())

    def _file(self, name: str, roots: Sequence[str], folders: dict[tuple[str, str], _Folder]) -> File | None:
        folder, _, base = (name.replace("\\", "/") if os.sep == "\\" else name).rpartition("/")
        for root in roots:
            found = folders.get((root, folder))
            if found is None:
                found = folders[root, folder] = _scan(f"{root}/{folder}" if folder else root)
            entry = found.entries.get(base)
            if entry is None:
                continue
            try:
                state = entry.stat()
            except OSError:  # gone, or a link to nowhere
                continue
            stem = base.rpartition(".")[0] or base
            beside = tuple(found.sidecars.get(stem, ()))
            stamp = (state.st_mtime_ns, state.st_size, *(_modified(found.entries[item]) for item in beside))
            has_preview = stem in found.previews
            return File(name, entry.path, state.st_size, state.st_mtime_ns, has_preview, beside, stamp)
        return None

    def _hash(self, file: File) -> str | None:
        known = self._hashes.get(file.path)
        return known[1] if known and known[0] == file.stamp[:2] else None

    def _forget(self, paths: set[str]) -> None:
        with self._lock:
            for kept in (self._facts, self._hashes):
                for path in [path for path in kept if path not in paths]:
                    del kept[path]

    def _read_all(self, files: Sequence[File]) -> None:
        for file in files:
            started = time.monotonic()
            self.facts(file)
            took = time.monotonic() - started
            time.sleep(_LEAST_REST + took * (_REST_WHILE_BUSY if self._is_busy() else _REST))
            while self._waiting:
                time.sleep(_LEAST_REST)


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class _Folder:
    """What is in a folder, read once."""

    entries: Mapping[str, os.DirEntry[str]]
    previews: frozenset[str]
    """Names without their endings that have a preview image."""
    sidecars: Mapping[str, list[str]]
    """Name without its ending → the sidecars beside it."""


def _scan(folder: str) -> _Folder:
    try:
        with os.scandir(folder) as found:
            entries = {entry.name: entry for entry in found}
    except OSError:
        entries = {}
    previews = {
        name[: -len(suffix)]
        for name in entries
        if name.endswith(PREVIEWS)
        for suffix in PREVIEWS
        if name.endswith(suffix)
    }
    sidecars: dict[str, list[str]] = {}
    for name in entries:
        if name.endswith(SIDECARS):
            for suffix in SIDECARS:
                if name.endswith(suffix):
                    sidecars.setdefault(name[: -len(suffix)], []).append(name)
    return _Folder(entries, frozenset(previews), sidecars)
