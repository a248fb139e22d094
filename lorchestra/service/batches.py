"""The batches of a service: submitted, looked up, canceled and watched, and their sheets.

A batch has ended when all of its jobs have and its sheet is made. One thread makes sheets, one after another.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LorchestraError
from ..limits import Json
from .assets import Assets
from .axes import Axis
from .backend import GraphRefused
from .batch import Batch, counts_of, end_of, ended_of, progress_of
from .callers import OWNER, Caller
from .http import Refusal, not_found
from .job import CANCELING, QUEUED, RUNNING, Job
from .jobs import Jobs, Live, Order, Watch, is_id
from .publications import Published
from .settings import Settings
from .store import Callback, Store, StoreError
from .threads import Threads

SHEET = "sheet.png"
_MOST_DRAWN = 8
"""Sheets of batches that have not ended, drawn or waiting to be at one time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch before it is queued."""

    published: Published
    axes: tuple[Axis, ...]
    inputs: Mapping[str, Json]
    """What is the same in all jobs; pictures that were sent as names of files by now."""
    drawn: Mapping[str, Json]
    """Of these, what was drawn."""
    orders: tuple[Order, ...]
    """One for each combination, the last axis changing first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch and its jobs as they are now."""

    batch: Batch
    jobs: list[Job]

    def to_json(self, base: str) -> dict[str, Json]:
        """All of it, at `base`."""
        shown = self.batch.to_json(base, counts_of(self.jobs), progress_of(self.jobs))
        return shown | {"jobs": self.batch.show_jobs(base, self.jobs)}


@dataclass(eq=False)
class BatchWatch(Watch):
    """One who waits for changes of a batch and its jobs."""

    is_stale: bool = True
    """Whether the batch itself is to be looked up again."""


class BatchRefused(Exception):
    """The graph of one job of a plan was refused; none was queued."""

    def __init__(self, number: int, error: GraphRefused) -> None:
        self.number = number
        self.error = error
        super().__init__(error.message)


class Batches:
    """All batches of a service."""

    def __init__(
        self,
        store: Store,
        assets: Assets,
        jobs: Jobs,
        threads: Threads,
        settings: Callable[[], Settings],
        on_end: Callable[[], object],
    ) -> None:
        """`on_end` is called whenever a batch has ended and is kept, from any thread."""
        self._store = store
        self._assets = assets
        self._jobs = jobs
        self._threads = threads
        self._settings = settings
        self._on_end = on_end
        self._pool = ThreadPoolExecutor(1, "lorchestra-sheets")
        self._watches: dict[str, set[BatchWatch]] = {}
        self._lock = threading.RLock()
        self._drawing = 0

    async def submit(self, plan: Plan, key: str | None, callback: Callback | None, caller: Caller = OWNER) -> Batch:
        """Queues the jobs of a plan, all or none. Raises as `Jobs.submit`, and `BatchRefused` for a graph."""
        now = time.time()
        expires = now + 3600 * self._settings().retention_hours
        batch = Batch(
            str(uuid.uuid4()), QUEUED, now, expires, plan.published.reference, plan.axes, plan.inputs, plan.drawn,
            caller=caller.name,
        )  # fmt: skip
        key = None if key is None else caller.key(key)
        numbers: dict[str, int] = {}

        def keep(pairs: Sequence[tuple[Job, Json]]) -> None:
            self._clean()
            self._store.add_batch(batch, pairs, key, callback)
            numbers.update({job.id: number for number, (job, _) in enumerate(pairs)})

        try:
            await self._jobs.submit_all(
                plan.orders, batch.id, keep, lambda: self._store.remove_batch(batch.id, key), caller
            )
        except GraphRefused as error:
            raise BatchRefused(numbers.get(error.job, 0), error) from error
        self._look(batch.id)  # all may have ended while the last ones were queued
        return batch

    # Looked at; not on the event loop.

    def find_or_raise(self, batch: str, caller: Caller) -> Batch:
        """A batch as it is kept; raises `Refusal` (404), also for one that is not the caller's."""
        found = self._store.find_batch(batch) if is_id(batch) else None
        if found is None or not caller.owns(found.caller):
            raise not_found(f"there is no batch {batch[:100]}.")
        return found

    def see(self, batch: str, caller: Caller) -> Seen:
        """A batch and its jobs as they are now; raises `Refusal` (404)."""
        jobs = [self._jobs.current(job) for job in self._store.batch_jobs(batch)] if is_id(batch) else []
        return Seen(
            self.find_or_raise(batch, caller), jobs
        )  # it is looked up last: one that has ended, has with all jobs

    def newest(self, count: int, before: tuple[float, str] | None, caller: Caller) -> list[Batch]:
        """So many batches of a caller's, the newest first."""
        return self._store.newest_batches(count, before, caller.name)

    def summary(self, batch: Batch) -> tuple[Mapping[str, int], float]:
        """How many of its jobs are in each status, and how far they are altogether, by now."""
        statuses = self._store.batch_statuses(batch.id)
        under_way = [self._jobs.find_live(job) for job, _ in statuses]
        counts = Counter(live.status if live else kept for live, (_, kept) in zip(under_way, statuses, strict=True))
        part = sum(live.progress.value for live in under_way if live and live.progress and not live.has_ended)
        return counts, (ended_of(counts) + part) / max(1, len(statuses))

    def cancel(self, batch: str, caller: Caller) -> Seen:
        """Asks all jobs that are left to end; those that have ended stay as they are. Raises `Refusal` (404)."""
        seen = self.see(batch, caller)
        with self._lock:
            kept = self.find_or_raise(batch, caller)
            if not kept.has_ended:
                self._store.save_batch(replace(kept, status=CANCELING))
                self._wake(batch)
        # The last ones first: else the next one would begin whenever one that runs is ended.
        left = [job for job in reversed(seen.jobs) if not job.has_ended]
        for job in sorted(left, key=lambda job: job.status == RUNNING):
            self._jobs.cancel(job.id, caller)
        return self.see(batch, caller)

    # Their ends.

    def resume(self) -> None:
        """Ends batches whose last job ended when no server was there. Not on the event loop."""
        for batch in self._store.open_batches():
            self._look(batch)

    def job_ended(self, job: Job) -> None:
        """To be told of each job that has ended. From any thread; does not wait."""
        if job.batch is not None:
            self._look(job.batch)

    def _look(self, batch: str) -> None:
        try:
            self._pool.submit(self._end, batch)
        except RuntimeError:  # closed: the next server finds it
            return

    def _end(self, own: str) -> None:
        """Ends a batch if all of its jobs have ended: makes its sheet, and keeps it. In the thread of sheets."""
        try:
            batch = self._store.find_batch(own)
            if batch is None or batch.has_ended or self._store.has_open_jobs(own):
                return
            jobs = self._store.batch_jobs(own)
            sheet, size, problem = None, 0, None
            try:
                data = self._draw(batch, jobs)
                asset = self._assets.add_made(own, data, SHEET, "image/png", batch.caller)
                sheet, size = asset.id, asset.size
            except (LorchestraError, OSError) as error:
                problem = error.message if isinstance(error, Refusal) else str(error)
            now = time.time()
            with self._lock:
                batch = self._store.find_batch(own) or batch
                status = end_of(batch, counts_of(jobs))
                expires = now + batch.expires - batch.created
                self._store.save_batch(
                    replace(
                        batch, status=status, completed=now, expires=expires, sheet=sheet, sheet_size=size,
                        sheet_problem=problem,
                    )
                )  # fmt: skip
                self._wake(own)
            self._on_end()
        except StoreError as error:  # the disk is full, or the file is gone: it is ended after the next start
            logging.warning("[Lorchestra] the batch %s cannot be ended now: %s", own, error)
        except Exception:
            logging.exception("[Lorchestra] the batch %s cannot be ended", own)

    # Sheets.

    async def sheet_so_far(self, batch: str) -> bytes:
        """The sheet of the pictures that there are by now; raises `Refusal`."""
        if self._drawing >= _MOST_DRAWN:
            raise Refusal(429, "busy", "too many sheets are being drawn.", headers={"Retry-After": "5"})
        self._drawing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._draw_now, batch)
        finally:
            self._drawing -= 1

    def _draw_now(self, batch: str) -> bytes:
        seen = self.see(batch, OWNER)
        return self._draw(seen.batch, seen.jobs)

    def _draw(self, batch: Batch, jobs: list[Job]) -> bytes:
        try:
            from .batch_sheet import draw_batch, find_picture
        except ImportError as error:
            raise Refusal(
                503, "unavailable", 'sheets need the Python package Pillow: python -m pip install "pillow>=10.1".'
            ) from error

        def find_file(job: Job) -> Path | None:
            own = find_picture(job)
            try:
                return None if own is None else self._assets.find_content(own, OWNER)[0]
            except Refusal:
                return None

        if not any(find_picture(job) for job in jobs):
            raise Refusal(404, "output_unavailable", "none of the batch's jobs has made a picture.")
        return draw_batch(batch, jobs, find_file)

    # Watched; on the event loop.

    def watch(self, seen: Seen) -> tuple[list[Live], BatchWatch]:
        """Those of its jobs that are under way, and how to wait for changes of any of them and of the batch."""
        watch = BatchWatch(asyncio.get_running_loop())
        lives = self._jobs.watch_all((job.id for job in seen.jobs), watch)
        with self._lock:
            self._watches.setdefault(seen.batch.id, set()).add(watch)
        return lives, watch

    def unwatch(self, batch: str, lives: list[Live], watch: BatchWatch) -> None:
        """To be called by who has called `watch`."""
        for live in lives:
            self._jobs.unwatch(live, watch)
        with self._lock:
            left = self._watches.get(batch, set[BatchWatch]())
            left.discard(watch)
            if not left:
                self._watches.pop(batch, None)

    def _wake(self, batch: str) -> None:
        """Those who watch a batch look it up again. With the lock."""
        for watch in self._watches.get(batch, ()):
            watch.is_stale = True
            watch.wake()

    def close(self) -> None:
        """Ends the thread of sheets; batches that have not ended are looked at after the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _clean(self) -> None:
        for path in self._store.expire_batches():
            Path(path).unlink(missing_ok=True)
