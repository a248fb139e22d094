"""An SQLite file of ours: opened, and its schema brought up to date, which several processes may begin at once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator, Sequence
from pathlib import Path


def connect(path: Path, seconds: float) -> sqlite3.Connection:
    """The file, which is made if it is not there; safe for threads that take turns. Raises `sqlite3.Error`.

    `seconds` is how long a process waits for another one's write.
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=seconds, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def find_version(connection: sqlite3.Connection) -> int:
    """How many steps were done; more than there are where a newer version wrote the file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Does the steps that are left, all or none of them; raises `sqlite3.Error`.

    Each step is SQL without `;` but between statements. `user_version` counts them.
    """
    level, connection.isolation_level = connection.isolation_level, None
    try:
        with _exclusive(connection):
            for step in steps[find_version(connection) :]:  # another process may have been faster
                for statement in filter(str.strip, step.split(";")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(steps)}")
    finally:
        connection.isolation_level = level


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
