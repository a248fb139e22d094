"""The catalog on disk: one SQLite file with what is known of each model file, from one start to the next.

Everything works without it. Where it cannot be opened, read or written, `problem` says why in one sentence, and what
is known lives in memory until the process ends. A file that is damaged is put aside, never deleted; one of a newer
version is left alone.

To change the schema: append one step to `_STEPS`; never edit one that was published.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from ..files import sqlite
from ..files.hashes import Hashes
from .facts import Facts

Value = TypeVar("Value")

_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE files (
        path TEXT PRIMARY KEY, folder TEXT NOT NULL, name TEXT NOT NULL, stamp TEXT NOT NULL,
        kind TEXT NOT NULL, algorithm TEXT, rank INTEGER, title TEXT, air TEXT, sha256 TEXT,
        architectures TEXT NOT NULL, family TEXT NOT NULL, triggers TEXT NOT NULL, hashes TEXT NOT NULL,
        said TEXT NOT NULL, words TEXT NOT NULL
    ) STRICT;
    CREATE INDEX files_folder ON files (folder);
    CREATE TABLE contents (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, mark TEXT NOT NULL,
        sha256 TEXT NOT NULL, autov1 TEXT, tensors TEXT, blake3 TEXT, crc32 TEXT NOT NULL
    ) STRICT;
    CREATE TABLE uses (
        folder TEXT NOT NULL, name TEXT NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID, STRICT;
    """,
    # What sidecars say more of each file: all are read again.
    """
    DELETE FROM files;
    ALTER TABLE files ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE files ADD COLUMN nsfw INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE files ADD COLUMN favourite INTEGER;
    """,
    # How strong each file is, as `analysis.strengths` writes it.
    """
    CREATE TABLE strengths (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, data TEXT NOT NULL
    ) STRICT;
    """,
)
"""The schema's versions, each made from the one before it. `user_version` counts them."""

_BUSY_MS = 50
"""How long one process waits for another's write; then the write is tried again later."""
_DAMAGED = ("malformed", "not a database", "file is encrypted", "corrupt")


@dataclass(frozen=True, slots=True)
class Row:
    """One file as it is kept."""

    path: str
    folder: str
    """ComfyUI's word for the folder: `loras`, `checkpoints`, `diffusion_models`."""
    name: str
    """As ComfyUI lists it."""
    stamp: tuple[int, ...]
    """Changes when the file or a sidecar does."""
    facts: Facts


@dataclass(frozen=True, slots=True)
class Content:
    """The hashes of a file, and the state of the file that they are of."""

    size: int
    modified_ns: int
    mark: str
    """By which the file is known again when it was moved: see `files.hashes.read_mark`."""
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class Use:
    """How often a file was used, and when for the last time (seconds since 1970)."""

    last: int
    times: int


@dataclass(slots=True)
class Database:
    """The catalog's file; safe for threads, and for several processes."""

    path: Path
    problem: str | None = None
    """Why the catalog is not kept, in a sentence; None if all is well."""
    aside: Path | None = None
    """Where a damaged file was put."""
    _connection: sqlite3.Connection | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _is_closed: bool = False

    def load(self, folder: str) -> dict[str, Row]:
        """All files of a folder, by path; empty if nothing is kept."""

        def read(connection: sqlite3.Connection) -> dict[str, Row]:
            columns = (
                "path, folder, name, stamp, kind, architectures, family, title, triggers, sha256, hashes, air, "
                "algorithm, rank, said, words, tags, nsfw, favourite"
            )
            found = connection.execute(f"SELECT {columns} FROM files WHERE folder = ?", (folder,))
            return {row.path: row for row in map(_find_row, found) if row}

        return self._do(read) or {}

    def save(self, rows: Iterable[Row]) -> bool:
        """Keeps what is known of files, in one transaction; False if it could not be kept now."""
        items = list(rows)

        def write(connection: sqlite3.Connection) -> bool:
            for row in items:
                with contextlib.suppress(UnicodeEncodeError):  # a path of bytes that are no text
                    _write(connection, row)
            return True

        return bool(not items or self._do(write))

    def forget(self, paths: Iterable[str]) -> bool:
        """Drops files that are gone. Their hashes stay for a while: a network drive comes back."""
        items = [(path,) for path in paths]

        def write(connection: sqlite3.Connection) -> bool:
            with contextlib.suppress(UnicodeEncodeError):
                connection.executemany("DELETE FROM files WHERE path = ?", items)
            return True

        return bool(not items or self._do(write))

    def contents(self) -> dict[str, Content]:
        """Path → hashes of the whole file, in one state of it."""

        def read(connection: sqlite3.Connection) -> dict[str, Content]:
            found = connection.execute(
                "SELECT path, size, modified_ns, mark, sha256, autov1, tensors, blake3, crc32 FROM contents"
            )
            return {path: Content(size, modified, mark, Hashes(*rest)) for path, size, modified, mark, *rest in found}

        return self._do(read) or {}

    def save_contents(self, contents: Mapping[str, Content]) -> bool:
        """Keeps the hashes of files, by path, in one transaction; False if they could not be kept now."""
        rows = [
            (
                path, one.size, one.modified_ns, one.mark, one.hashes.sha256, one.hashes.autov1, one.hashes.tensors,
                one.hashes.blake3, one.hashes.crc32,
            )
            for path, one in contents.items()
        ]  # fmt: skip

        def write(connection: sqlite3.Connection) -> bool:
            for row in rows:
                with contextlib.suppress(UnicodeEncodeError):
                    connection.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            return True

        return bool(not rows or self._do(write))

    def find_strengths(self, path: str, size: int, modified_ns: int) -> str | None:
        """What was kept of how strong a file is, in this state of it."""

        def read(connection: sqlite3.Connection) -> str | None:
            query = "SELECT data FROM strengths WHERE path = ? AND size = ? AND modified_ns = ?"
            with contextlib.suppress(UnicodeEncodeError):
                found = connection.execute(query, (path, size, modified_ns)).fetchone()
                return str(found[0]) if found else None
            return None

        return self._do(read)

    def save_strengths(self, path: str, size: int, modified_ns: int, data: str) -> None:
        """Keeps how strong a file is, in place of what was kept of an earlier state."""

        def write(connection: sqlite3.Connection) -> bool:
            with contextlib.suppress(UnicodeEncodeError):
                row = (path, size, modified_ns, data)
                connection.execute("INSERT OR REPLACE INTO strengths VALUES (?, ?, ?, ?)", row)
            return True

        self._do(write)

    def count_use(self, folder: str, names: Sequence[str], now: float | None = None) -> bool:
        """Counts one use of each of these files."""
        moment = int(time.time() if now is None else now)

        def write(connection: sqlite3.Connection) -> bool:
            connection.executemany(
                "INSERT INTO uses VALUES (?, ?, ?, 1) "
                "ON CONFLICT (folder, name) DO UPDATE SET last = excluded.last, times = times + 1",
                [(folder, name, moment) for name in names],
            )
            return True

        return bool(not names or self._do(write))

    def uses(self, folder: str) -> Mapping[str, Use]:
        """Name → how often it was used."""

        def read(connection: sqlite3.Connection) -> dict[str, Use]:
            found = connection.execute("SELECT name, last, times FROM uses WHERE folder = ?", (folder,))
            return {name: Use(last, times) for name, last, times in found}

        return self._do(read) or {}

    def close(self) -> None:
        """Closes the file for good."""
        with self._lock:
            self._is_closed = True
            self._drop()

    def _do(self, work: Callable[[sqlite3.Connection], Value]) -> Value | None:
        """What some work in one transaction gives; None if it could not be done. Never raises for the file's sake."""
        with self._lock:
            if self._is_closed:
                return None
            for _ in range(2):  # the second time on a new file, where the old one is damaged
                try:
                    connection = self._connection or self._open()
                    if connection is None:
                        return None
                    with connection:
                        result = work(connection)
                    self.problem = None
                    return result
                except sqlite3.Error as error:
                    if not self._mend(error):
                        return None
            return None

    def _open(self) -> sqlite3.Connection | None:
        """The connection; None, and `problem`, if the file is of a newer version."""
        connection = sqlite.connect(self.path, _BUSY_MS / 1000)
        try:
            version = sqlite.find_version(connection)
            if version > len(_STEPS):
                self.problem = (
                    f"the catalog {self.path.name} was written by a newer version of Lorchestra, so this one does not "
                    "use it. Update Lorchestra."
                )
                connection.close()
                self._is_closed = True
                return None
            if version < len(_STEPS):
                sqlite.migrate(connection, _STEPS)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _mend(self, error: sqlite3.Error) -> bool:
        """Puts a damaged file aside; True if it is worth another try. Else says what is wrong."""
        self._drop()
        text = str(error)
        if not any(word in text for word in _DAMAGED):
            self.problem = f"the catalog {self.path.name} cannot be used now ({text}); what is known lives in memory"
            return False
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            self.path.replace(aside)
        except OSError as reason:
            self.problem = f"the catalog {self.path.name} is damaged and cannot be put aside ({reason.strerror})"
            return False
        for end in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.path}{end}").replace(f"{aside}{end}")
        self.aside = aside
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _write(connection: sqlite3.Connection, row: Row) -> None:
    facts = row.facts
    connection.execute(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.path, row.folder, row.name, _text(row.stamp), facts.kind, facts.algorithm, facts.rank,
            _plain(facts.title), _plain(facts.air), facts.sha256, _text(facts.architectures), _text(facts.family),
            _text(facts.triggers), _text(sorted(facts.hashes)), _text(sorted(facts.said)),
            _text(facts.words), _text(facts.tags), facts.nsfw, facts.favourite,
        ),
    )  # fmt: skip


def _plain(text: str | None) -> str | None:
    """Without halves of characters, which JSON can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8") if text else text


def _find_row(columns: Sequence[object]) -> Row | None:
    """The file of a row; None if others wrote what is no row of ours: then it is read anew."""
    try:
        return _row(columns)
    except (ValueError, TypeError):
        return None


def _row(columns: Sequence[object]) -> Row:
    (
        path, folder, name, stamp, kind, architectures, family, title, triggers, sha256, hashes, air, algorithm, rank,
        said, words, tags, nsfw, favourite,
    ) = cast("Sequence[str]", columns)  # fmt: skip
    facts = Facts(
        kind,
        _texts(architectures),
        _texts(family),
        title,
        _texts(triggers) if triggers != "[]" else (),
        sha256,
        _set(hashes),
        _set(said),
        air,
        algorithm,
        cast("int | None", rank),
        _texts(words) if words != "[]" else (),
        bool(nsfw),
        _texts(tags) if tags != "[]" else (),
        None if favourite is None else bool(favourite),  # pyright: ignore[reportUnnecessaryComparison]
    )
    return Row(path, folder, name, tuple(map(int, stamp[1:-1].split(","))), facts)


@lru_cache(maxsize=4096)
def _texts(text: str) -> tuple[str, ...]:
    """One tuple for equal ones: ten thousand LoRAs are for a handful of models."""
    return tuple(json.loads(text))


def _set(text: str) -> frozenset[str]:
    return frozenset() if text == "[]" else frozenset(json.loads(text))


def _text(values: Iterable[object]) -> str:
    return json.dumps(list(values), separators=(",", ":"))
