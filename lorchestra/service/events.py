"""Server-Sent Events of a job: `status`, `progress`, `preview`, `output`, as the official API has them.

Each event is complete: what comes too fast is left out, never queued, so a slow reader costs nothing. Outputs come
before the status with which the job ends. An event's id says what was sent, so that a client that comes back with
`Last-Event-ID` gets no output twice.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from ..limits import Json
from .job import QUEUED, Job
from .jobs import Jobs, Live, Watch

_PAUSE = 0.5
"""Seconds between two pictures or two states of progress."""
_BEAT = 10.0
"""Seconds after which a stream in which nothing happens says that it is there."""
_ID = re.compile(r"([0-9]{1,6})-([a-z]{1,20})", re.ASCII)
"""What was sent: how many outputs, and which status. Example: `2-running`."""


async def stream(jobs: Jobs, first: Job, base: str, after: str) -> AsyncIterator[bytes]:
    """The events of a job from now on, until it has ended; `after` is the id of the last one that the client has."""
    match = _ID.fullmatch(after)
    sender = _Sender(base, int(match[1]) if match else 0, match[2] if match else "")
    live, watch = jobs.watch(first.id)
    if live is None or watch is None:
        for event in sender.end(first):
            yield event
        return
    try:
        async for event in _follow(live, watch, sender):
            yield event
    finally:
        jobs.unwatch(live, watch)


async def _follow(live: Live, watch: Watch, sender: _Sender) -> AsyncIterator[bytes]:
    quiet_since = time.monotonic()
    while True:
        job = live.job
        events = sender.end(job) if job.has_ended else sender.changes(live)
        for event in events:
            yield event
            quiet_since = time.monotonic()
        if job.has_ended:
            return
        if time.monotonic() - quiet_since >= _BEAT:
            yield b": still here\n\n"
            quiet_since = time.monotonic()
        await watch.changed(sender.pause(live) or _BEAT)


class _Sender:
    """What one client has been sent."""

    def __init__(self, base: str, outputs: int, status: str) -> None:
        self._base = base
        self._outputs = outputs
        self._status = status
        self._position: int | None = None
        self._progress: Json = None
        self._preview: object = None
        self._sent = {"progress": 0.0, "preview": 0.0}

    def changes(self, live: Live) -> list[bytes]:
        """What has changed since the last time, as far as it is to be sent now."""
        job, events = live.job, self._new_outputs(live.job)
        place = live.position if job.status == QUEUED else None
        if job.status != self._status or place != self._position:
            self._status, self._position = job.status, place
            events.append(self._event("status", {"status": job.status, "queue_position": place}))
        progress = asdict(job.progress) if job.progress else None
        if progress is not None and progress != self._progress and self._may("progress"):
            self._progress = progress
            events.append(self._event("progress", progress))
        preview = live.preview
        if preview is not None and preview is not self._preview and self._may("preview"):
            self._preview = preview
            data = base64.b64encode(preview.data).decode()
            shown = {"node_id": preview.node, "content_type": preview.content_type, "data_base64": data}
            events.append(self._event("preview", shown))
        return events

    def end(self, job: Job) -> list[bytes]:
        """The last events of a job that has ended."""
        return [*self._new_outputs(job), self._event("status", {"status": job.status, "queue_position": None})]

    def pause(self, live: Live) -> float | None:
        """Seconds after which something that was left out may be sent; None if nothing was."""
        job = live.job
        waits: list[float] = []
        if job.progress is not None and asdict(job.progress) != self._progress:
            waits.append(self._sent["progress"])
        if live.preview is not None and live.preview is not self._preview:
            waits.append(self._sent["preview"])
        return max(0.01, min(waits) + _PAUSE - time.monotonic()) if waits else None

    def _may(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._sent[kind] < _PAUSE:
            return False
        self._sent[kind] = now
        return True

    def _new_outputs(self, job: Job) -> list[bytes]:
        events: list[bytes] = []
        for output in job.outputs[self._outputs :]:
            self._outputs += 1
            events.append(self._event("output", output.to_json(job, self._base)))
        return events

    def _event(self, kind: str, data: Json) -> bytes:
        text = json.dumps(data, separators=(",", ":"))
        status = self._status or "queued"
        return f"id: {self._outputs}-{status}\nevent: {kind}\ndata: {text}\n\n".encode()
