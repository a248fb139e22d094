"""The model files that are there and what is known of each: listed at once, read in the background, kept on disk.

Nothing but headers and sidecars is read, unless hashes of whole files are asked for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileProblem
from ..files.hashes import Hashes, read_hashes, read_mark
from ..files.key import find_state
from ..files.opening import is_file
from ..stack.air import Air
from .background import Background, Hashing, IsWanted
from .database import Content, Database, Row, Use
from .facts import Facts, File, read_facts, with_hash
from .finder import Candidate, Finder, Found
from .index import Hit, Index, contradicts, digests_of
from .listing import Listing
from .natures import Natures
from .scan import Scanner, scan


class NotWanted(Exception):
    """Nobody wants the rest any more."""


@dataclass(frozen=True, slots=True)
class _Known:
    """One file as it was read."""

    name: str
    stamp: tuple[int, ...]
    facts: Facts


class Library:
    """All files of one kind, such as LoRAs; safe for threads.

    `names` gives them as ComfyUI lists them, `roots` the folders they are in, and `is_busy` says whether the machine
    has better things to do than to read headers. `database` keeps what is known; without one it lives in memory.
    `folder` is ComfyUI's word for the kind, and `read` reads what is known of one file, for LoRAs if it is not given.
    """

    def __init__(
        self,
        names: Callable[[], Sequence[str]],
        roots: Callable[[], Sequence[str]],
        is_busy: Callable[[], bool] = lambda: False,
        database: Database | None = None,
        folder: str = "loras",
        read: Callable[[File], Facts] | None = None,
    ) -> None:
        self._names = names
        self._roots = roots
        self._database = database
        self.folder = folder
        """ComfyUI's word for the kind."""
        self._known: dict[str, _Known] = {}
        self._contents: dict[str, Content] = {}
        """Path → hashes; those of files that are gone too, because a file that was moved is known by them."""
        self._states: dict[tuple[int, int], list[str]] = {}
        """(time of the last change, size) → paths in `_contents`."""
        self._index = Index()
        self._unindexed: dict[str, None] = {}
        self._paths: dict[str, str] = {}
        """Listed name → path of a file that is known."""
        self._unsaved: dict[str, None] = {}
        self._unsaved_contents: dict[str, None] = {}
        self._is_loaded = False
        self._natures = Natures()
        self._read = read or self._read_lora
        self._lock = threading.RLock()
        self._listing: tuple[list[str], Listing] = ([], Listing(()))
        self.scanner = Scanner()
        self.searching = Hashing()
        """How far `search_hash` is: files that were looked into, and all."""
        self.background = Background(self.facts, self.hashes, self.save, is_busy)

    @property
    def problem(self) -> str | None:
        """Why nothing is kept on disk, in a sentence; None if all is well."""
        return self._database.problem if self._database else None

    # What is there.

    def listing(self) -> Listing:
        """The listed names, to find one that a row means."""
        given = self._names()
        names = given if isinstance(given, list) else list(given)
        with self._lock:
            if self._listing[0] != names:
                self._listing = (list(names), Listing(names))
            return self._listing[1]

    def files(self, names: Iterable[str] | None = None) -> list[File]:
        """The listed files that are there, in the order of the list; of these names only, if any are given.

        Each folder is read once. A name that is not listed is left out, so that none leads out of the folders.
        """
        listed = self._names()
        if names is not None:
            known = set(listed)
            listed = [name for name in names if name in known]
        return scan(listed, list(self._roots()), self.scanner)

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

    def find_path(self, name: str) -> str | None:
        """The path of a listed name, if the file is there; nothing is read for it."""
        if name not in self.listing():
            return None
        late = self.scanner.hanging
        for root in self._roots():
            path = Path(root, name)
            if not str(path).startswith(late) and is_file(path):
                return str(path)
        return None

    # What is known.

    def find_facts(self, file: File) -> Facts | None:
        """What is known of a file without reading it."""
        found = self.find_read(file)
        return found and with_hash(found, self._sha256(file))

    def find_read(self, file: File) -> Facts | None:
        """The same without the hash that may have been taken of the file: what its header and its sidecars say."""
        self._load()
        found = self._known.get(file.path)
        return found.facts if found and found.stamp == file.stamp else None

    def facts(self, file: File) -> Facts:
        """What is known of a file, which is read if it was not."""
        found = self.find_facts(file)
        if found is None:
            read = self._read(file)
            self._keep(file, read)
            moved = self._find_moved(file) if self.find_hashes(file) is None else None
            if moved:
                self._keep_content(file, moved)
            found = with_hash(read, self._sha256(file))
        return found

    def find_hashes(self, file: File) -> Hashes | None:
        """The hashes that were taken of a file as it is."""
        self._load()
        known = self._contents.get(file.path)
        return known.hashes if known and _state(known) == file.stamp[:2] else None

    def hashes(
        self,
        file: File,
        is_wanted: IsWanted = lambda: True,
        progress: Callable[[int], object] = lambda done: None,
    ) -> Hashes | None:
        """The hashes of a whole file, read once. None if it cannot be read, changes, or is not wanted any more.

        `progress` is called with the bytes read so far.
        """
        self.facts(file)
        known = self.find_hashes(file)
        if known is not None:
            return known

        def look(done: int, _size: int) -> None:
            progress(done)
            if not is_wanted():
                raise NotWanted

        try:
            found, mark = read_hashes(file.path, look), read_mark(file.path)
        except (FileProblem, NotWanted):
            return None
        if find_state(file.path) != file.stamp[:2]:
            return None
        self._keep_content(file, Content(file.size, file.modified_ns, mark, found))
        self.save()
        return found

    def find_identity(self, file: File) -> tuple[str | None, str | None] | None:
        """SHA-256 and AIR of a file that has been read, as far as it has them; None if it was not read yet.

        The content's hash counts before the sidecar's. No AIR where the sidecar says another hash than the file has: it
        may be another file's.
        """
        self._load()
        found, hashes = self._known.get(file.path), self.find_hashes(file)
        if found is None or found.stamp != file.stamp:
            return None
        air = None if contradicts(found.facts, hashes) else found.facts.air
        return hashes.sha256 if hashes else found.facts.sha256, air

    def sha256(self, file: File, is_wanted: IsWanted = lambda: True) -> str | None:
        """The SHA-256 of a whole file; see `hashes`."""
        found = self.hashes(file, is_wanted)
        return found.sha256 if found else None

    # Looking up, for `resolve`.

    def names_by_hash(self, digits: str, listing: Listing) -> Sequence[tuple[str, Hit]]:
        """Listed names of files with this hash, of any kind, the surest first."""
        self._load()
        with self._lock:
            hits = self._all_indexed().by_hash(digits)
            return [(name, hit) for hit in hits if (name := self._current(hit.path, listing))]

    def names_by_air(self, air: Air, listing: Listing) -> Sequence[str]:
        """Listed names of files with this AIR."""
        self._load()
        with self._lock:
            return [name for path in self._all_indexed().by_air(air) if (name := self._current(path, listing))]

    def names_by_version(self, version: str, listing: Listing) -> Sequence[str]:
        """Listed names of files with this number of a version at Civitai."""
        self._load()
        with self._lock:
            paths = self._all_indexed().by_version(version)
            return [name for path in paths if (name := self._current(path, listing))]

    def sha256_of(self, name: str) -> str | None:
        """The SHA-256 that was taken of a listed file as it is now; None if none was."""
        self._load()
        with self._lock:
            path = self._paths.get(name)
            known = self._contents.get(path) if path else None
        if path is None or known is None:
            return None
        return known.hashes.sha256 if find_state(path) == _state(known) else None

    def _current(self, path: str, listing: Listing) -> str | None:
        """The listed name of a path, if the file is still there and as it was when it was read."""
        known = self._known.get(path)
        if known is None or known.name not in listing or find_state(path) != known.stamp[:2]:
            return None
        return known.name

    # Reading.

    def read_in_background(self, files: Sequence[File] | None = None) -> int:
        """Has all files read that are not, newest first, one after another. Returns how many are left.

        `files` are all there are, if they have just been asked for.
        """
        files = self.files() if files is None else files
        self._load()
        self._forget({file.path for file in files})
        self._rename(files)
        waiting = self.unread(files)
        self.background.read(waiting)
        return len(waiting)

    def unread(self, files: Sequence[File] | None = None) -> list[File]:
        """The files that nothing is known of yet, the newest first; `files` as for `read_in_background`."""
        files = self.files() if files is None else files
        return _newest_first(file for file in files if self.find_read(file) is None)

    def unhashed(self) -> list[File]:
        """The files that no hashes were taken of as they are, the newest first."""
        return _newest_first(file for file in self.files() if self.find_hashes(file) is None)

    def read_now(self, seconds: float) -> int:
        """Reads what is not read, newest first, for so many seconds at most. Returns how many are left."""
        deadline = time.monotonic() + seconds
        waiting = self.unread()
        for number, file in enumerate(waiting):
            if time.monotonic() >= deadline:
                return len(waiting) - number
            self.facts(file)
        self.save()
        return 0

    def hash_in_background(self) -> None:
        """Has all files hashed that are not, newest first; see `background`."""
        self.background.hash(self.unhashed())

    def finder(self, seconds: float = 0.0) -> Finder:
        """Finds candidates by what is known; headers and sidecars are read first, for so many seconds at most."""
        left = self.read_now(seconds) if seconds else len(self.unread())
        return Finder(self, self.listing(), left)

    def search_hash(self, lora: str, sha256: str, size: int | None = None, is_wanted: IsWanted = lambda: True) -> Found:
        """The file with this hash, of any kind, by hashing whole files: those of this size, or of this name first.

        Then come the newest. It stops at the first, and when it is not wanted any more.
        """
        files = self.files()
        if size is not None:
            files = [file for file in files if file.size == size]
        same = set(self.listing().named(lora))
        files.sort(key=lambda file: (file.name not in same, -file.modified_ns))
        try:
            for number, file in enumerate(files):
                self.searching = Hashing(number, len(files))
                found = self.hashes(file, is_wanted) if is_wanted() else None
                rank = digests_of(found).get(sha256.lower()) if found else None
                if rank:
                    return Found((Candidate(file.name, rank),), 0)
                if found is None and not is_wanted():
                    return Found((), len(files) - number)
            return Found(())
        finally:
            self.searching = Hashing()

    def count_use(self, names: Iterable[str]) -> None:
        """Counts that these files were applied, for lists that show what was used last."""
        if self._database:
            self._database.count_use(self.folder, sorted(set(names)))

    def uses(self) -> Mapping[str, Use]:
        """Name → how often a run applied it, and when for the last time; of those that one did."""
        return self._database.uses(self.folder) if self._database else {}

    def find_twins(self, files: Iterable[File]) -> dict[str, int]:
        """Name → number of its group, for files that have the content of another: by hash, taken or stated."""
        groups: dict[str, list[str]] = {}
        for file in files:
            hashes = self.find_hashes(file)
            facts = None if hashes else self.find_read(file)
            digits = hashes.sha256 if hashes else facts.sha256 if facts else None
            if digits:
                groups.setdefault(digits, []).append(file.name)
        shared = (names for names in groups.values() if len(names) > 1)
        return {name: number for number, names in enumerate(shared) for name in names}

    # What is kept.

    def _read_lora(self, file: File) -> Facts:
        return read_facts(file, self._natures)

    def _sha256(self, file: File) -> str | None:
        found = self.find_hashes(file)
        return found.sha256 if found else None

    def _keep(self, file: File, facts: Facts) -> None:
        with self._lock:
            self._known[file.path] = _Known(file.name, file.stamp, facts)
            self._paths[file.name] = file.path
            self._unsaved[file.path] = None
            self._unindexed[file.path] = None

    def _keep_content(self, file: File, content: Content) -> None:
        with self._lock:
            self._contents[file.path] = content
            self._states.setdefault(_state(content), []).append(file.path)
            self._unsaved_contents[file.path] = None
            self._unindexed[file.path] = None

    def _find_moved(self, file: File) -> Content | None:
        """The hashes of a file that had another path before; of its state, and of none that is still there."""
        state = (file.modified_ns, file.size)
        with self._lock:
            before = [(path, self._contents[path]) for path in self._states.get(state, ())]
        gone = [one for path, one in before if _state(one) == state and path != file.path and find_state(path) is None]
        if not gone:
            return None
        try:
            mark = read_mark(file.path)
        except FileProblem:
            return None
        same = {one.hashes: one for one in gone if one.mark == mark}
        return next(iter(same.values())) if len(same) == 1 else None

    def _all_indexed(self) -> Index:
        """The index; what was loaded or read since the last look-up is put into it now."""
        for path in self._unindexed:
            self._reindex(path)
        self._unindexed.clear()
        return self._index

    def _reindex(self, path: str) -> None:
        known, content = self._known.get(path), self._contents.get(path)
        if known and content and known.stamp[:2] != _state(content):
            content = None  # of an earlier state
        self._index.put(path, known.facts if known else None, content.hashes if content else None)

    def _load(self) -> None:
        """What was kept by an earlier start, once."""
        if self._is_loaded:
            return
        with self._lock:
            if self._is_loaded:
                return
            self._is_loaded = True
            if self._database is None:
                return
            for path, content in self._database.contents().items():
                self._contents[path] = content
                self._states.setdefault(_state(content), []).append(path)
            roots = _starts(self._roots())
            for path, row in self._database.load(self.folder).items():
                if not path.startswith(roots):  # of another ComfyUI, or of a folder that is not used any more
                    continue
                self._known[path] = _Known(row.name, row.stamp, row.facts)
                self._paths[row.name] = path
                self._unindexed[path] = None

    def _forget(self, paths: set[str]) -> None:
        with self._lock:
            gone = [path for path in self._known if path not in paths]
            for path in gone:
                known = self._known.pop(path)
                if self._paths.get(known.name) == path:
                    del self._paths[known.name]
                self._unsaved.pop(path, None)
                self._index.drop(path)
                self._unindexed.pop(path, None)
        if gone and self._database:
            self._database.forget(gone)

    def _rename(self, files: Sequence[File]) -> None:
        """A folder may be listed from another one on than before: then the names are others."""
        for file in files:
            known = self._known.get(file.path)
            if known and known.name != file.name and known.stamp == file.stamp:
                self._keep(file, known.facts)

    def save(self) -> None:
        """Keeps on disk what is known and not kept yet."""
        if self._database is None:
            return
        with self._lock:
            rows = [
                Row(path, self.folder, known.name, known.stamp, known.facts)
                for path in self._unsaved
                if (known := self._known.get(path))
            ]
            contents = {path: self._contents[path] for path in self._unsaved_contents}
        if rows and self._database.save(rows):
            with self._lock:
                for row in rows:
                    self._unsaved.pop(row.path, None)
        if contents and self._database.save_contents(contents):
            with self._lock:
                for path in contents:
                    self._unsaved_contents.pop(path, None)


def _newest_first(files: Iterable[File]) -> list[File]:
    return sorted(files, key=lambda file: -file.modified_ns)


def _starts(roots: Iterable[str]) -> tuple[str, ...]:
    """How paths in these folders begin."""
    return tuple(root.rstrip("/\\") + end for root in roots for end in {"/", os.sep})


def _state(content: Content) -> tuple[int, int]:
    return content.modified_ns, content.size
