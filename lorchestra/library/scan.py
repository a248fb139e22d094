"""Looks for the files of listed names in their folders; each folder is read once, and none is waited for too long."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .facts import File
from .sidecars import MOVING, NUMBERED, PREVIEWS, SIDECARS, find_numbered

FOLDER_SECONDS = 10.0
"""A network drive that does not answer is left aside after so long, until it answers."""


def scan(names: Iterable[str], roots: Sequence[str], scanner: Scanner) -> list[File]:
    """The files of names that are there, in the order of the names."""
    folders: dict[tuple[str, str], Folder] = {}
    found = (_file(name, roots, folders, scanner) for name in names)
    return [file for file in found if file]


@dataclass(frozen=True, slots=True)
class Folder:
    """What is in a folder."""

    entries: Mapping[str, os.DirEntry[str]]
    images: Mapping[str, int]
    """Name without its ending → how many preview images are beside it."""
    videos: Mapping[str, int]
    """The same of preview videos."""
    sidecars: Mapping[str, list[str]]
    """Name without its ending → the sidecars beside it."""


@dataclass(slots=True)
class Scanner:
    """Reads folders; those that hang are known to."""

    read: Callable[[str], Folder] = field(default_factory=lambda: read_folder)
    seconds: float = FOLDER_SECONDS
    _hanging: dict[str, threading.Thread] = field(default_factory=dict[str, threading.Thread])

    @property
    def hanging(self) -> tuple[str, ...]:
        """Folders that do not answer."""
        return tuple(path for path, thread in list(self._hanging.items()) if thread.is_alive())

    def scan(self, path: str) -> Folder:
        """What is in a folder; nothing while it does not answer."""
        late = self._hanging.get(path)
        if late is not None and late.is_alive():
            return _EMPTY
        self._hanging.pop(path, None)
        result: list[Folder] = []
        thread = threading.Thread(target=lambda: result.append(self.read(path)), name="lorchestra-scan", daemon=True)
        thread.start()
        thread.join(self.seconds)
        if thread.is_alive():
            self._hanging[path] = thread
        return result[0] if result else _EMPTY


_EMPTY = Folder({}, {}, {}, {})


def read_folder(path: str) -> Folder:
    """What is in a folder; nothing if it cannot be read."""
    try:
        with os.scandir(path) as found:
            entries = {entry.name: entry for entry in found}
    except OSError:
        return _EMPTY
    images, videos = (_count(entries, ends) for ends in (PREVIEWS, MOVING))
    for stem in {found[1] for found in map(NUMBERED.fullmatch, entries) if found}:
        images[stem] += sum(1 for _ in find_numbered(stem, entries.__contains__))
    sidecars: dict[str, list[str]] = {}
    for name in entries:
        if name.endswith(SIDECARS):
            for suffix in SIDECARS:
                if name.endswith(suffix):
                    sidecars.setdefault(name[: -len(suffix)], []).append(name)
    return Folder(entries, images, videos, sidecars)


def _count(names: Iterable[str], ends: tuple[str, ...]) -> Counter[str]:
    """Name without one of these endings → how often it is there with one."""
    return Counter(name[: -len(end)] for name in names if name.endswith(ends) for end in ends if name.endswith(end))


def _file(name: str, roots: Sequence[str], folders: dict[tuple[str, str], Folder], scanner: Scanner) -> File | None:
    folder, _, base = (name.replace("\\", "/") if os.sep == "\\" else name).rpartition("/")
    for root in roots:
        found = folders.get((root, folder))
        if found is None:
            found = folders[root, folder] = scanner.scan(f"{root}/{folder}" if folder else root)
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
        images, videos = found.images.get(stem, 0), found.videos.get(stem, 0)
        return File(name, entry.path, state.st_size, state.st_mtime_ns, images, videos, beside, stamp)
    return None


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0
