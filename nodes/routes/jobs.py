"""Work for requests, in threads of our own: ComfyUI's threads, with which it also sends pictures, never wait for us."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ...lorchestra.errors import LorchestraError

IsWanted = Callable[[], bool]
"""Says whether anybody still waits for the answer; to be asked from time to time."""
Work = Callable[[IsWanted], object]

_LOOK = 0.25
"""Seconds after which it is looked again whether who asked is still there."""


class Busy(LorchestraError):
    """More is asked for than can be done soon."""


class Gone(Exception):
    """Who asked is not there any more; nobody reads the answer."""


@dataclass(eq=False, slots=True)
class _Job:
    key: Hashable
    work: Work
    answer: Future[object] = field(default_factory=Future["object"])
    callers: int = 0
    is_started: bool = False


class Jobs:
    """A queue of work and some threads that do it one after another; safe for threads.

    Equal requests that wait at the same time share one answer, and what nobody waits for any more is dropped, also in
    the middle. The threads start with the first job and do not keep the process from ending.
    """

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._name = name
        self._threads = threads
        self._most = most
        """Jobs that may wait."""
        self._waiting: deque[_Job] = deque()
        self._jobs: dict[Hashable, _Job] = {}
        self._running = 0
        self._changed = threading.Condition()

    async def do(self, key: Hashable, work: Work, is_gone: Callable[[], bool], *, joins_started: bool) -> object:
        """The answer of `work`, or what it raises; of an equal job that waits, or with `joins_started` also runs.

        Raises `Busy` if too much waits, and `Gone` when `is_gone` says that who asked is gone.
        """
        job = self._join_or_add(key, work, joins_started)
        answer = asyncio.wrap_future(job.answer)
        try:
            while not answer.done():
                await asyncio.wait({answer}, timeout=_LOOK)
                if not answer.done() and is_gone():
                    raise Gone
            return answer.result()
        finally:
            answer.add_done_callback(_look_away)  # an error after the last caller left is nobody's
            self._leave(job)

    def _join_or_add(self, key: Hashable, work: Work, joins_started: bool) -> _Job:
        with self._changed:
            job = self._jobs.get(key)
            if job is None or not job.callers or (job.is_started and not joins_started):
                if len(self._waiting) >= self._most:
                    raise Busy("too many requests wait for an answer; ask again in a moment")
                job = self._jobs[key] = _Job(key, work)
                self._waiting.append(job)
                self._start()
            job.callers += 1
            return job

    def _leave(self, job: _Job) -> None:
        with self._changed:
            job.callers -= 1
            if not job.callers:
                if self._jobs.get(job.key) is job:
                    del self._jobs[job.key]
                if not job.is_started:
                    with contextlib.suppress(ValueError):
                        self._waiting.remove(job)

    def _start(self) -> None:
        if self._running < self._threads:
            self._running += 1
            threading.Thread(target=self._run, name=f"lorchestra-{self._name}", daemon=True).start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = self._waiting.popleft()
                job.is_started = True
            try:
                answer = job.work(lambda job=job: job.callers > 0)
            except BaseException as error:  # is raised where the answer is waited for
                _settle(job.answer.set_exception, error)
            else:
                _settle(job.answer.set_result, answer)
            del job


def _look_away(answer: asyncio.Future[object]) -> None:
    if not answer.cancelled():
        answer.exception()


def _settle(settle: Callable[..., None], value: object) -> None:
    with contextlib.suppress(Exception):  # nobody waits any more: it was cancelled
        settle(value)
