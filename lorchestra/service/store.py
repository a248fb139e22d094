"""Jobs, assets and used idempotency keys on disk: one SQLite file for each server.

To change the schema: append one step to `_STEPS`; never edit one that was published.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LorchestraError
from ..files import json_steps, sqlite
from ..limits import Json
from .batch import Batch
from .job import ENDED, SUCCEEDED, Job

_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, created REAL NOT NULL, expires REAL NOT NULL, status TEXT NOT NULL, data TEXT NOT NULL,
        graph BLOB NOT NULL
    ) STRICT;
    CREATE INDEX jobs_created ON jobs (created DESC, id DESC);
    CREATE TABLE keys (key TEXT PRIMARY KEY, job TEXT NOT NULL, claimed REAL NOT NULL) STRICT;
    CREATE INDEX keys_claimed ON keys (claimed);
    CREATE TABLE assets (
        id TEXT PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, content_type TEXT NOT NULL, size INTEGER NOT NULL,
        hash TEXT, created REAL NOT NULL, job TEXT, used REAL NOT NULL
    ) STRICT;
    CREATE INDEX assets_hash ON assets (hash);
    CREATE INDEX assets_job ON assets (job);
    """,
    """
    CREATE TABLE hooks (
        job TEXT PRIMARY KEY, url TEXT NOT NULL, base TEXT NOT NULL, task TEXT, attempts INTEGER NOT NULL,
        due REAL NOT NULL
    ) STRICT;
    CREATE INDEX hooks_due ON hooks (due);
    """,
    """
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, created REAL NOT NULL, expires REAL NOT NULL, status TEXT NOT NULL, data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX batches_created ON batches (created DESC, id DESC);
    CREATE TABLE batch_jobs (
        batch TEXT NOT NULL, number INTEGER NOT NULL, job TEXT NOT NULL, PRIMARY KEY (batch, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX batch_jobs_job ON batch_jobs (job);
    """,
    """
    ALTER TABLE jobs ADD COLUMN caller TEXT;
    CREATE INDEX jobs_caller ON jobs (caller, created DESC, id DESC);
    ALTER TABLE assets ADD COLUMN caller TEXT;
    """,
)
"""The schema's versions, each made from the one before it. `user_version` counts them."""
_HOOK = "hooks.job, hooks.url, hooks.base, hooks.task, hooks.attempts, hooks.due"
_ASSET = "id, path, name, content_type, size, hash, created, job, caller"
_MARKS = ",".join("?" * len(ENDED))
_OF_BATCH = "batch_jobs JOIN jobs ON jobs.id = batch_jobs.job"
_BUSY_SECONDS = 5.0
_MOST_KEYS = 10_000
_CLEAN_SECONDS = 60.0


class StoreError(LorchestraError):
    """The file of jobs cannot be read or written."""


class KeyUsed(Exception):
    """An idempotency key was used before, by a job or a batch."""

    def __init__(self, job: str, is_batch: bool = False) -> None:
        self.job = job
        self.is_batch = is_batch
        super().__init__(job)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that came in or that a job has made."""

    id: str
    path: str
    """Where it is."""
    name: str
    content_type: str
    size: int
    hash: str | None
    """`blake3:…`; None if it was not computed."""
    created: float
    job: str | None
    """The job that made it."""
    caller: str | None = None
    """Whose it is; None for the owner's."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Who wants to be told how a job or a batch ended."""

    url: str
    base: str
    """Where the caller reaches the service: what is told links there."""
    task: str | None = None
    """The UUID of a task in Runware's form, whose answer is told then; else the job is."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A callback of a job that has ended."""

    job: str
    url: str
    base: str
    task: str | None
    attempts: int
    due: float
    """When it is to be told next."""


@dataclass(slots=True)
class Store:
    """The file; safe for threads. Every method raises `StoreError` where it cannot be used."""

    path: Path
    _connection: sqlite3.Connection | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _cleaned: float = 0.0

    def open_jobs(self) -> list[Job]:
        """The jobs that had not ended when the server did, for their end to be saved."""
        marks = ",".join("?" * len(ENDED))
        with self._opened() as connection:
            found = connection.execute(f"SELECT data FROM jobs WHERE status NOT IN ({marks})", sorted(ENDED))
            return [Job.from_row(json.loads(data)) for (data,) in found]

    def find_key(self, key: str) -> str | None:
        """The job that a key was used by."""
        with self._opened() as connection:
            found = connection.execute("SELECT job FROM keys WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def add(self, job: Job, graph: Json, key: str | None = None, callback: Callback | None = None) -> None:
        """Keeps a new job and its callback, and marks its idempotency key as used; raises `KeyUsed` if it was."""
        row = _row(job, graph)
        with self._opened() as connection:
            _claim(connection, key, job.id, job.created, callback)
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._clean()

    def add_batch(
        self, batch: Batch, jobs: Sequence[tuple[Job, Json]], key: str | None = None, callback: Callback | None = None
    ) -> None:
        """Keeps a new batch with its jobs and their graphs, all or nothing; otherwise as `add`."""
        rows = [_row(job, graph) for job, graph in jobs]
        with self._opened() as connection:
            _claim(connection, key, batch.id, batch.created, callback)
            own = (batch.id, batch.created, batch.expires, batch.status, json.dumps(batch.to_row()))
            connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", own)
            connection.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            numbered = [(batch.id, number, job.id) for number, (job, _) in enumerate(jobs)]
            connection.executemany("INSERT INTO batch_jobs VALUES (?, ?, ?)", numbered)
        self._clean()

    def save_batch(self, batch: Batch) -> None:
        """Keeps how a batch is now."""
        with self._opened() as connection:
            connection.execute(
                "UPDATE batches SET status = ?, expires = ?, data = ? WHERE id = ?",
                (batch.status, batch.expires, json.dumps(batch.to_row()), batch.id),
            )

    def remove_batch(self, batch: str, key: str | None = None) -> None:
        """Forgets a batch that came to nothing, with its jobs, and frees its key."""
        with self._opened() as connection:
            connection.execute("DELETE FROM jobs WHERE id IN (SELECT job FROM batch_jobs WHERE batch = ?)", (batch,))
            for statement in ("batch_jobs WHERE batch = ?", "batches WHERE id = ?", "hooks WHERE job = ?"):
                connection.execute(f"DELETE FROM {statement}", (batch,))
            connection.execute("DELETE FROM keys WHERE key = ? AND job = ?", (key, batch))

    def find_batch(self, batch: str) -> Batch | None:
        """A batch."""
        with self._opened() as connection:
            found = connection.execute("SELECT data FROM batches WHERE id = ?", (batch,)).fetchone()
        return Batch.from_row(json.loads(found[0])) if found else None

    def batch_jobs(self, batch: str) -> list[Job]:
        """Its jobs as they were kept last, in their order. They stay as long as the batch."""
        with self._opened() as connection:
            found = connection.execute(
                f"SELECT jobs.data FROM {_OF_BATCH} WHERE batch = ? ORDER BY number",
                (batch,),
            )
            return [Job.from_row(json.loads(data)) for (data,) in found]

    def has_open_jobs(self, batch: str) -> bool:
        """Whether a job of a batch has not ended."""
        with self._opened() as connection:
            found = connection.execute(
                f"SELECT 1 FROM {_OF_BATCH} WHERE batch = ? AND status NOT IN ({_MARKS}) LIMIT 1",
                (batch, *sorted(ENDED)),
            )
            return found.fetchone() is not None

    def batch_statuses(self, batch: str) -> list[tuple[str, str]]:
        """(id, status) of a batch's jobs, as they were kept last."""
        with self._opened() as connection:
            return connection.execute(f"SELECT id, status FROM {_OF_BATCH} WHERE batch = ?", (batch,)).fetchall()

    def newest_batches(
        self, count: int, before: tuple[float, str] | None = None, caller: str | None = None
    ) -> list[Batch]:
        """So many batches, the newest first; those before the one with this moment and id; of one caller if named."""
        created, batch = before or (1e12, "")
        with self._opened() as connection:
            found = connection.execute(
                "SELECT data FROM batches WHERE (created, id) < (?, ?) AND (? IS NULL OR "
                "json_extract(data, '$.caller') = ?) ORDER BY created DESC, id DESC LIMIT ?",
                (min(created, 1e12), batch, caller, caller, count),
            )
            return [Batch.from_row(json.loads(data)) for (data,) in found]

    def open_batches(self) -> list[str]:
        """The batches that have not ended."""
        with self._opened() as connection:
            found = connection.execute(f"SELECT id FROM batches WHERE status NOT IN ({_MARKS})", sorted(ENDED))
            return [batch for (batch,) in found]

    def expire_batches(self) -> list[str]:
        """Forgets batches that are kept no longer; gives the files of their sheets."""
        with self._opened() as connection:
            gone = f"SELECT id FROM batches WHERE expires < ? AND status IN ({_MARKS})"
            ended = (time.time(), *sorted(ENDED))
            paths = connection.execute(f"SELECT path FROM assets WHERE job IN ({gone})", ended).fetchall()
            connection.execute(f"DELETE FROM assets WHERE job IN ({gone})", ended)
            connection.execute(f"DELETE FROM hooks WHERE job IN ({gone})", ended)
            connection.execute(f"DELETE FROM batch_jobs WHERE batch IN ({gone})", ended)
            connection.execute(f"DELETE FROM batches WHERE expires < ? AND status IN ({_MARKS})", ended)
        return [path for (path,) in paths]

    def save(self, jobs: Iterable[Job]) -> None:
        """Keeps how jobs are now."""
        rows = [(job.status, job.expires, json.dumps(job.to_row()), job.id) for job in jobs]
        with self._opened() as connection:
            connection.executemany("UPDATE jobs SET status = ?, expires = ?, data = ? WHERE id = ?", rows)

    def remove(self, job: str, key: str | None = None) -> None:
        """Forgets a job that came to nothing, and frees its key."""
        with self._opened() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
            connection.execute("DELETE FROM keys WHERE key = ? AND job = ?", (key, job))
            connection.execute("DELETE FROM hooks WHERE job = ?", (job,))

    def waiting_hooks(self, count: int) -> list[tuple[Hook, Job | Batch]]:
        """So many callbacks of jobs and batches that have ended, with these; what is due first comes first."""
        query = " UNION ALL ".join(
            f"SELECT {_HOOK}, {kind}.data, '{kind}' FROM hooks JOIN {kind} ON {kind}.id = hooks.job "
            f"WHERE {kind}.status IN ({_MARKS})"
            for kind in ("jobs", "batches")
        )
        with self._opened() as connection:
            ended = sorted(ENDED)
            found = connection.execute(f"{query} ORDER BY due LIMIT ?", (*ended, *ended, count))
            return [
                (Hook(*row[:-2]), (Job if row[-1] == "jobs" else Batch).from_row(json.loads(row[-2]))) for row in found
            ]

    def delay_hook(self, job: str, attempts: int, due: float) -> None:
        """Notes that a callback was not taken, and when it is told again."""
        with self._opened() as connection:
            connection.execute("UPDATE hooks SET attempts = ?, due = ? WHERE job = ?", (attempts, due, job))

    def remove_hook(self, job: str) -> None:
        """Forgets a callback."""
        with self._opened() as connection:
            connection.execute("DELETE FROM hooks WHERE job = ?", (job,))

    def find(self, job: str) -> Job | None:
        """A job as it was kept last."""
        with self._opened() as connection:
            found = connection.execute("SELECT data FROM jobs WHERE id = ?", (job,)).fetchone()
        return Job.from_row(json.loads(found[0])) if found else None

    def find_graph(self, job: str) -> Json | None:
        """The graph of a job."""
        with self._opened() as connection:
            found = connection.execute("SELECT graph FROM jobs WHERE id = ?", (job,)).fetchone()
        return json.loads(zlib.decompress(found[0]).decode("utf-8", "surrogatepass")) if found else None

    def newest(self, count: int, before: tuple[float, str] | None = None, caller: str | None = None) -> list[Job]:
        """So many jobs, the newest first; those before the one with this moment and id; of one caller if named."""
        created, job = before or (float("inf"), "")
        mine, names = ("", ()) if caller is None else ("caller = ? AND ", (caller,))
        with self._opened() as connection:
            found = connection.execute(
                f"SELECT data FROM jobs WHERE {mine}(created, id) < (?, ?) ORDER BY created DESC, id DESC LIMIT ?",
                (*names, min(created, 1e12), job, count),
            )
            return [Job.from_row(json.loads(data)) for (data,) in found]

    def ended(self, since: float) -> tuple[dict[str, int], list[tuple[str, int, float]], int]:
        """Of jobs that ended: how many by status, (workflow, count, mean seconds), and how many since a moment."""
        with self._opened() as connection:
            marks = ",".join("?" * len(ENDED))
            by_status = connection.execute(
                f"SELECT status, count(*) FROM jobs WHERE status IN ({marks}) GROUP BY status", sorted(ENDED)
            ).fetchall()
            taken = "json_extract(data, '$.completed') - json_extract(data, '$.started')"
            by_workflow = connection.execute(
                f"SELECT coalesce(json_extract(data, '$.workflow'), ''), count(*), avg({taken}) FROM jobs "
                "WHERE status = ? GROUP BY 1",
                (SUCCEEDED,),
            ).fetchall()
            (last,) = connection.execute(
                f"SELECT count(*) FROM jobs WHERE status IN ({marks}) AND json_extract(data, '$.completed') >= ?",
                (*sorted(ENDED), since),
            ).fetchone()
        return dict(by_status), by_workflow, last

    def add_assets(self, assets: Sequence[Asset]) -> None:
        """Keeps assets; those that are known already stay as they are."""
        rows = [
            (
                one.id,
                one.path,
                one.name,
                one.content_type,
                one.size,
                one.hash,
                one.created,
                one.job,
                one.created,
                one.caller,
            )
            for one in assets
        ]
        with self._opened() as connection:
            connection.executemany("INSERT OR IGNORE INTO assets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def find_asset(self, asset: str) -> Asset | None:
        """An asset by its id."""
        return self._asset("id = ?", asset)

    def find_asset_by_hash(self, hash_: str, caller: str | None = None) -> Asset | None:
        """An asset that this caller has uploaded, by its content."""
        return self._asset("hash = ? AND job IS NULL AND caller IS ?", hash_, caller)

    def use_asset(self, asset: str) -> None:
        """Notes that an asset was used now."""
        with self._opened() as connection:
            connection.execute("UPDATE assets SET used = ? WHERE id = ?", (time.time(), asset))

    def unused_uploads(self, before: float) -> list[Asset]:
        """Assets that were uploaded, and used for the last time before a moment."""
        with self._opened() as connection:
            found = connection.execute(
                f"SELECT {_ASSET} FROM assets WHERE job IS NULL AND used < ? LIMIT 10000", (before,)
            )
            return [Asset(*row) for row in found]

    def remove_asset(self, asset: str) -> None:
        """Forgets an asset."""
        with self._opened() as connection:
            connection.execute("DELETE FROM assets WHERE id = ?", (asset,))

    def close(self) -> None:
        """Closes the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = None

    def _asset(self, where: str, *values: str | None) -> Asset | None:
        with self._opened() as connection:
            found = connection.execute(f"SELECT {_ASSET} FROM assets WHERE {where} LIMIT 1", values).fetchone()
        return Asset(*found) if found else None

    def _clean(self) -> None:
        """Forgets what is kept no longer, now and then."""
        now = time.time()
        if now - self._cleaned < _CLEAN_SECONDS:
            return
        self._cleaned = now
        with self._opened() as connection:
            ended = (now, *sorted(ENDED))
            # A batch's jobs stay as long as it: else a long one would lose its first pictures before its sheet is made.
            own = f"expires < ? AND status IN ({_MARKS}) AND id NOT IN (SELECT job FROM batch_jobs)"
            gone = f"SELECT id FROM jobs WHERE {own}"
            connection.execute(f"DELETE FROM assets WHERE job IN ({gone})", ended)
            connection.execute(f"DELETE FROM hooks WHERE job IN ({gone})", ended)
            connection.execute(f"DELETE FROM jobs WHERE {own}", ended)
            connection.execute(
                "DELETE FROM keys WHERE key IN (SELECT key FROM keys ORDER BY claimed DESC LIMIT -1 OFFSET ?)",
                (_MOST_KEYS,),
            )

    @contextlib.contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """The connection, in one transaction."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                with connection:
                    yield connection
            except sqlite3.Error as error:
                if "full" in str(error):  # what is open can be read; opening it again would need space
                    raise StoreError(
                        f"the disk of {self.path.name} is full, so no job can be kept. Free some, and send it again."
                    ) from error
                self.close()
                raise StoreError(
                    f"the file of jobs {self.path.name} cannot be used ({error}). If it is damaged, move it away."
                ) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite.connect(self.path, _BUSY_SECONDS)
        try:
            version = sqlite.find_version(connection)
            if version > len(_STEPS):
                raise StoreError(f"the file of jobs {self.path.name} is of a newer Lorchestra. Update Lorchestra.")
            if version < len(_STEPS):
                sqlite.migrate(connection, _STEPS)
        except BaseException:
            connection.close()
            raise
        return connection


def _row(job: Job, graph: Json) -> tuple[object, ...]:
    packed = zlib.compress(json_steps.write(graph).encode("utf-8", "surrogatepass"), 1)
    return job.id, job.created, job.expires, job.status, json.dumps(job.to_row()), packed, job.caller


def _claim(
    connection: sqlite3.Connection, key: str | None, own: str, created: float, callback: Callback | None
) -> None:
    """Marks a key as used by a job or a batch, and keeps who is to be told of it; raises `KeyUsed`."""
    if key is not None:
        found = connection.execute(
            "SELECT job, EXISTS (SELECT 1 FROM batches WHERE id = job) FROM keys WHERE key = ?", (key,)
        ).fetchone()
        if found:
            raise KeyUsed(found[0], bool(found[1]))
        connection.execute("INSERT INTO keys VALUES (?, ?, ?)", (key, own, created))
    if callback is not None:
        hook = (own, callback.url, callback.base, callback.task)
        connection.execute("INSERT INTO hooks VALUES (?, ?, ?, ?, 0, 0)", hook)
