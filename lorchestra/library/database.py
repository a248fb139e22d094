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
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from ..files.hashes import Hashes
from ..stack.air import find_air
from .facts import Facts
from .listing import base_name

Value = TypeVar("Value")

_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE files (
        path TEXT PRIMARY KEY, folder TEXT NOT NULL, name TEXT NOT NULL, base TEXT NOT NULL, stamp TEXT NOT NULL,
        kind TEXT NOT NULL, algorithm TEXT, rank INTEGER, title TEXT, air TEXT, air_key TEXT, sha256 TEXT,
        architectures TEXT NOT NULL, family TEXT NOT NULL, triggers TEXT NOT NULL, hashes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX files_base ON files (base);
    CREATE INDEX files_air ON files (air_key);
    CREATE TABLE known (hash TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (hash, path)) WITHOUT ROWID, STRICT;
    CREATE INDEX known_path ON known (path);
    CREATE TABLE contents (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
        autov1 TEXT, tensors TEXT, blake3 TEXT, crc32 TEXT NOT NULL
    ) STRICT;
    CREATE TABLE uses (
        folder TEXT NOT NULL, name TEXT NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID, STRICT;
    """,
)
"""The schema's versions, each made from the one before it. `user_version` counts them."""

_BUSY_MS = 250
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
                "algorithm, rank"
            )
            found = connection.execute(f"SELECT {columns} FROM files WHERE folder = ?", (folder,))
            return {row.path: row for row in map(_row, found)}

        return self._do(read) or {}

    def save(self, rows: Iterable[Row]) -> bool:
        """Keeps what is known of files, in one transaction; False if it could not be kept now."""
        items = list(rows)

        def write(connection: sqlite3.Connection) -> bool:
            for row in items:
                _write(connection, row)
            return True

        return bool(not items or self._do(write))

    def forget(self, paths: Iterable[str]) -> bool:
        """Drops files that are gone. Their hashes stay for a while: a network drive comes back."""
        items = [(path,) for path in paths]

        def write(connection: sqlite3.Connection) -> bool:
            connection.executemany("DELETE FROM files WHERE path = ?", items)
            connection.executemany("DELETE FROM known WHERE path = ?", items)
            return True

        return bool(not items or self._do(write))

    def contents(self) -> dict[str, tuple[int, int, Hashes]]:
        """Path → size, time of the last change in nanoseconds, hashes of the whole file."""

        def read(connection: sqlite3.Connection) -> dict[str, tuple[int, int, Hashes]]:
            found = connection.execute(
                "SELECT path, size, modified_ns, sha256, autov1, tensors, blake3, crc32 FROM contents"
            )
            return {path: (size, modified, Hashes(*rest)) for path, size, modified, *rest in found}

        return self._do(read) or {}

    def save_contents(self, path: str, size: int, modified_ns: int, hashes: Hashes) -> bool:
        """Keeps the hashes of one state of a file."""
        values = (
            path, size, modified_ns, hashes.sha256, hashes.autov1, hashes.tensors, hashes.blake3, hashes.crc32,
        )  # fmt: skip

        def write(connection: sqlite3.Connection) -> bool:
            connection.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            _index(connection, path)
            return True

        return bool(self._do(write))

    def find_hash(self, digits: str) -> list[str]:
        """Paths of files known by a hash, whole or shortened as AutoV2 and AutoV3 are (digits in lower case)."""
        end = digits[:-1] + chr(ord(digits[-1]) + 1) if digits else ""

        def read(connection: sqlite3.Connection) -> list[str]:
            query = "SELECT DISTINCT path FROM known WHERE hash >= ? AND hash < ? ORDER BY path"
            return [path for (path,) in connection.execute(query, (digits, end))]

        return (self._do(read) or []) if digits else []

    def find_air(self, short: str) -> list[str]:
        """Paths of files with this AIR, `source:id@version`; without the version, of any."""
        key = short.lower()

        def read(connection: sqlite3.Connection) -> list[str]:
            if "@" in key:
                found = connection.execute("SELECT path FROM files WHERE air_key = ? ORDER BY path", (key,))
            else:  # `@` to `A`: all keys that begin so
                query = "SELECT path FROM files WHERE air_key = ? OR (air_key > ? AND air_key < ?) ORDER BY path"
                found = connection.execute(query, (key, f"{key}@", f"{key}A"))
            return [path for (path,) in found]

        return self._do(read) or []

    def find_base(self, name: str) -> list[str]:
        """Paths of files of this name, in any folder and in any case, with or without its ending."""

        def read(connection: sqlite3.Connection) -> list[str]:
            found = connection.execute("SELECT path FROM files WHERE base = ? ORDER BY path", (_base(name),))
            return [path for (path,) in found]

        return self._do(read) or []

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
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_MS / 1000, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(_STEPS):
                self.problem = (
                    f"the catalog {self.path.name} was written by a newer version of Lorchestra, so this one does not "
                    "use it. Update Lorchestra."
                )
                connection.close()
                self._is_closed = True
                return None
            if version < len(_STEPS):
                _migrate(connection)
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


@contextlib.contextmanager
def _exclusive(connection: sqlite3.Connection) -> Generator[None]:
    """One process at a time; all of it or nothing."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection) -> None:
    level, connection.isolation_level = connection.isolation_level, None
    try:
        with _exclusive(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been faster
            for step in _STEPS[version:]:
                for statement in filter(str.strip, step.split(";")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(_STEPS)}")
    finally:
        connection.isolation_level = level


def _write(connection: sqlite3.Connection, row: Row) -> None:
    facts = row.facts
    connection.execute(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.path, row.folder, row.name, _base(row.name), _text(row.stamp), facts.kind, facts.algorithm, facts.rank,
            facts.title, facts.air, _air_key(facts.air), facts.sha256, _text(facts.architectures), _text(facts.family),
            _text(facts.triggers), _text(sorted(facts.hashes)),
        ),
    )  # fmt: skip
    _index(connection, row.path)


def _index(connection: sqlite3.Connection, path: str) -> None:
    """Makes a path known by all hashes that are kept of it, said by the file or taken of its content, and no others."""
    said = connection.execute("SELECT sha256, hashes FROM files WHERE path = ?", (path,)).fetchone()
    taken = connection.execute(
        "SELECT sha256, autov1, tensors, blake3, crc32 FROM contents WHERE path = ?", (path,)
    ).fetchone()
    hashes: list[str | None] = [*(taken or ())]
    if said:
        hashes += [said[0], *json.loads(said[1])]
    connection.execute("DELETE FROM known WHERE path = ?", (path,))
    connection.executemany(
        "INSERT OR IGNORE INTO known VALUES (?, ?)", [(value.lower(), path) for value in hashes if value]
    )


def _row(columns: Sequence[object]) -> Row:
    path, folder, name, stamp, kind, architectures, family, title, triggers, sha256, hashes, air, algorithm, rank = (
        cast("Sequence[str]", columns)
    )
    facts = Facts(
        kind,
        tuple(json.loads(architectures)),
        tuple(json.loads(family)),
        title,
        tuple(json.loads(triggers)),
        sha256,
        frozenset(json.loads(hashes)),
        air,
        algorithm,
        cast("int | None", rank),
    )
    return Row(path, folder, name, tuple(json.loads(stamp)), facts)


def _text(values: Iterable[object]) -> str:
    return json.dumps(list(values), separators=(",", ":"))


def _air_key(air: str | None) -> str | None:
    found = find_air(air) if air else None
    return found.key if found else None


def _base(name: str) -> str:
    """The name of a file without folders, ending and case."""
    return base_name(name).casefold()
