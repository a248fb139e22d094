"""Server-Sent Events of a batch: `status`, `progress`, `job`, one stream for all of its jobs.

Each event is complete: what comes too fast is left out, never queued. A `job` event comes once for each job that has
ended, in the order of their ends, and an event's id says how many were sent; so a client that comes back with
`Last-Event-ID` gets none twice. The last event is the status with which the batch ends, when its sheet is made.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence

from ..limits import Json
from .batch import Batch, counts_of, ended_of, progress_of, status_of
from .batches import Batches, Seen
from .callers import OWNER
from .job import Job, job_url
from .threads import Threads

_PAUSE = 0.5
"""Seconds between two states."""
_BEAT = 10.0
"""Seconds after which a stream in which nothing happens says that it is there."""
_ID = re.compile(r"([0-9]{1,6})-([a-z]{1,20})", re.ASCII)
"""How many jobs were told to have ended, and which status. Example: `2-running`."""


async def stream(batches: Batches, threads: Threads, seen: Seen, base: str, after: str) -> AsyncIterator[bytes]:
    """The events of a batch from now on, until it has ended; `after` is the id of the last one that the client has."""
    match = _ID.fullmatch(after)
    sender = _Sender(base, int(match[1]) if match else 0)
    own = seen.batch.id
    lives, watch = batches.watch(seen)
    try:
        quiet_since = time.monotonic()
        while True:
            if watch.is_stale:
                watch.is_stale = False
                seen = await threads.run(batches.see, own, OWNER)
            by_id = {live.job.id: live.job for live in lives}
            for event in sender.changes(seen.batch, [by_id.get(job.id, job) for job in seen.jobs]):
                yield event
                quiet_since = time.monotonic()
            if seen.batch.has_ended:
                return
            if time.monotonic() - quiet_since >= _BEAT:
                yield b": still here\n\n"
                quiet_since = time.monotonic()
            if await watch.changed(_BEAT) and not watch.is_stale:
                await asyncio.sleep(_PAUSE)
    finally:
        batches.unwatch(own, lives, watch)


class _Sender:
    """What one client has been sent."""

    def __init__(self, base: str, told: int) -> None:
        self._base = base
        self._told = told
        self._status = ""
        self._sent: dict[str, Json] = {}

    def changes(self, batch: Batch, jobs: Sequence[Job]) -> list[bytes]:
        """What has changed since the last time."""
        counts = counts_of(jobs)
        self._status = status_of(batch, counts)
        ended = sorted((job.completed or 0.0, number) for number, job in enumerate(jobs) if job.has_ended)
        events = [self._job(batch, jobs, number) for _, number in ended[self._told :]]
        progress = {"value": progress_of(jobs), "jobs_ended": ended_of(counts), "jobs_total": len(jobs)}
        events += self._once("progress", progress)
        state: dict[str, Json] = {"status": self._status, "counts": dict(counts)}
        return events + self._once("status", state | {"sheet": batch.sheet, "sheet_problem": batch.sheet_problem})

    def _job(self, batch: Batch, jobs: Sequence[Job], number: int) -> bytes:
        self._told += 1
        job, indexes = jobs[number], batch.combinations()[number]
        labels = [axis.labels[index] for axis, index in zip(batch.axes, indexes, strict=True)]
        message = job.error.message if job.error else None
        data = {"id": job.id, "number": number, "status": job.status, "labels": labels, "message": message}
        return self._event("job", data | {"url": job_url(self._base, job.id)})

    def _once(self, kind: str, data: Json) -> list[bytes]:
        if self._sent.get(kind) == data:
            return []
        self._sent[kind] = data
        return [self._event(kind, data)]

    def _event(self, kind: str, data: Json) -> bytes:
        text = json.dumps(data, separators=(",", ":"))
        return f"id: {self._told}-{self._status}\nevent: {kind}\ndata: {text}\n\n".encode()
