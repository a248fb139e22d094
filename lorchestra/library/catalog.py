"""The LoRA files that are there and what is known of each: listed at once, read in the background, kept.

Nothing but headers and sidecars is read, unless somebody asks for hashes of whole files.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ..errors import LorchestraError
from ..stack.air import find_air
from .listing import Listing
from .sidecars import PREVIEWS, SIDECARS, Sidecars, read_sidecars

UNREADABLE = "unreadable"
"""The kind of files that are no sound safetensors files."""
BROKEN = "broken"
"""The kind of LoRAs that cannot be applied."""

_REST = 1.0
"""How long the background rests after a file, in times of what reading it took."""
_REST_WHILE_BUSY = 9.0
_LEAST_REST = 0.002
"""Seconds."""
_MOST_TRIGGERS = 16
_MOST_CANDIDATES = 8
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file's header and sidecars say, as far as a list needs it."""

    kind: str
    """`lora`, `broken`, `unreadable`, or what else it is: see `spelling/kinds.py`."""
    architectures: tuple[str, ...] = ()
    """Ids of all that it is meant to work on: those that its tensors tell, and who stands in for them."""
    family: tuple[str, ...] = ()
    """Titles of the families that its tensors tell, the likeliest first."""
    title: str | None = None
    triggers: tuple[str, ...] = ()
    sha256: str | None = None
    """Of the whole file, where a sidecar says it or somebody asked for it."""
    hashes: frozenset[str] = frozenset()
    """Of the tensors alone, as the metadata has them."""
    air: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """One listed file."""

    name: str
    """As ComfyUI lists it."""
    path: str
    size: int
    modified_ns: int
    has_preview: bool
    beside: tuple[str, ...] = field(repr=False, default=())
    """The sidecars that are there."""
    stamp: tuple[int, ...] = field(repr=False, default=())
    """Changes when the file or a sidecar does."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the one that is missing."""

    name: str
    why: str
    """One sentence without its end."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    candidates: tuple[Candidate, ...]
    left: int = 0
    """Files that were not looked into for want of time."""


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
        """Keeps the background still while somebody waits for an answer; the two would get into each other's way."""
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

    def find_file(self, name: str) -> File | None:
        """The file of a listed name."""
        return next(iter(self.files([name])), None)

    def find_facts(self, file: File) -> Facts | None:
        """What is known of a file without reading it."""
        found = self._facts.get(file.path)
        return _with_hash(found[1], self._hash(file)) if found and found[0] == file.stamp else None

    def facts(self, file: File) -> Facts:
        """What is known of a file, which is read if it was not."""
        found = self.find_facts(file)
        if found is None:
            found = _read(file)
            with self._lock:
                self._facts[file.path] = (file.stamp, found)
            found = _with_hash(found, self._hash(file))
        return found

    def sha256(self, file: File, deadline: float | None = None) -> str | None:
        """The hash of a whole file, read once. None where it cannot be read, changes, or `deadline` is over.

        `deadline` is on the clock of `time.monotonic`.
        """
        known = self._hash(file)
        if known:
            return known
        digest = hashlib.sha256()
        try:
            with open(file.path, "rb", buffering=0) as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    if deadline is not None and time.monotonic() > deadline:
                        return None
                state = os.fstat(source.fileno())
        except OSError:
            return None
        if (state.st_mtime_ns, state.st_size) != (file.modified_ns, file.size):
            return None
        with self._lock:
            self._hashes[file.path] = (file.stamp[:2], digest.hexdigest())
        return digest.hexdigest()

    def read_in_background(self, files: Sequence[File] | None = None) -> int:
        """Has all files read that are not, newest first, one after another. Returns how many are left.

        `files` are all there are, where somebody has just asked for them.
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

    def search_hash(self, lora: str, sha256: str, size: int | None = None, seconds: float = 120.0) -> Found:
        """The file with this hash, by hashing whole files: those of this size, or of this name first, then the newest.

        It stops at the first, and after so many seconds.
        """
        deadline = time.monotonic() + seconds
        files = self.files()
        if size is not None:
            files = [file for file in files if file.size == size]
        same = set(self.listing().named(lora))
        files.sort(key=lambda file: (file.name not in same, -file.modified_ns))
        for number, file in enumerate(files):
            if time.monotonic() > deadline:
                return Found((), len(files) - number)
            if self.sha256(file, deadline) == sha256.lower():
                return Found((Candidate(file.name, _BY_HASH),), 0)
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


_BY_HASH = "the same content, by its SHA-256"
_BY_TENSORS = "the same tensors, by the hash in its metadata"
_BY_AIR = "the same AIR"
_BY_NAME = "the same file name"


class Finder:
    """Files that may be the one that a row means; a value, as things are when it is made."""

    def __init__(self, listing: Listing, known: Iterable[tuple[str, Facts]], left: int) -> None:
        self._listing = listing
        self.left = left
        """Files of which nothing is known."""
        self._by: dict[tuple[str, str], list[str]] = {}
        for name, facts in known:
            air = find_air(facts.air) if facts.air else None
            short = air.short.lower() if air else ""
            for why, value in (
                (_BY_HASH, facts.sha256),
                *((_BY_TENSORS, item) for item in facts.hashes),
                (_BY_AIR, short),
                (_BY_AIR, short.partition("@")[0]),
            ):
                if value:
                    self._by.setdefault((why, value), []).append(name)

    def find(self, lora: str, sha256: str | None = None, air: str | None = None) -> Found:
        """By hash, by AIR, and by the whole name of the file, in any folder and in any case; never by a part of it."""
        wanted = find_air(air) if air else find_air(lora)
        found: dict[str, str] = {}
        for why, value in (
            (_BY_HASH, sha256),
            (_BY_TENSORS, sha256),
            (_BY_AIR, wanted.short if wanted else None),  # civitai:1 finds its versions too
        ):
            for name in self._by.get((why, value.lower()), ()) if value else ():
                found.setdefault(name, why)
        if wanted is None or air:
            for name in self._listing.named(lora):
                found.setdefault(name, _BY_NAME)
        candidates = [Candidate(name, why) for name, why in found.items()]
        return Found(tuple(candidates[:_MOST_CANDIDATES]), self.left)


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


_HASHES = ("sshs_model_hash", "modelspec.hash_sha256")


def _with_hash(facts: Facts, sha256: str | None) -> Facts:
    if sha256 is None or facts.sha256 == sha256:
        return facts
    return replace(facts, sha256=sha256)


def _read(file: File) -> Facts:
    """Reads the header and the sidecars; total."""
    beside = read_sidecars(file.path, file.beside)
    from ..lora.examined import read_examined  # it needs all that is known of models, which takes a while to load

    try:
        examined = read_examined(file.path)
    except (LorchestraError, OSError):
        return _facts(UNREADABLE, beside, {})
    from ..architectures.names import ARCHITECTURES, are_interchangeable, family_titles
    from ..spelling import kinds

    made_for = examined.identity.made_for
    meant = [row.id for row in ARCHITECTURES if any(are_interchangeable(row.id, one) for one in made_for)]
    kind = BROKEN if examined.kind == kinds.LORA and examined.problem else examined.kind
    others = [one for one in meant if one not in made_for]
    architectures = _shared(*made_for, *others)
    return _facts(kind, beside, examined.header.metadata, architectures, _shared(*family_titles(made_for, 6)))


def _facts(
    kind: str,
    beside: Sidecars,
    metadata: Mapping[str, str],
    architectures: tuple[str, ...] = (),
    family: tuple[str, ...] = (),
) -> Facts:
    from ..lora.metadata import shorten, trigger_words

    hashes = (metadata.get(key, "")[:80].lower().removeprefix("0x") for key in _HASHES)
    title = beside.title or shorten(metadata.get("modelspec.title", "")) or None
    return Facts(
        kind,
        architectures,
        family,
        title,
        (beside.triggers or trigger_words(metadata))[:_MOST_TRIGGERS],
        beside.sha256,
        frozenset(item for item in hashes if len(item) == 64),
        beside.air,
    )


@lru_cache(maxsize=1000)
def _shared(*items: str) -> tuple[str, ...]:
    """One tuple for equal ones: ten thousand LoRAs are for a handful of models."""
    return items
