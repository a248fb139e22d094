"""The jobs that wait, run and have run: submitted, looked up, canceled, waited for and watched.

What a backend tells is worked through by one thread, which is the only one that changes jobs that are under way.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..limits import Json
from .admission import require_priority, require_room
from .assets import Assets
from .backend import (
    Backend,
    Cached,
    Changed,
    Ended,
    Graph,
    Made,
    NodeState,
    Previewed,
    Produced,
    Ran,
    Signal,
    Started,
    Stepped,
)
from .callers import OWNER, Caller
from .http import Refusal, not_found
from .job import (
    CANCELED,
    CANCELING,
    FAILED,
    QUEUED,
    RESTARTED,
    RUNNING,
    SUCCEEDED,
    Job,
    JobError,
    Output,
    Progress,
)
from .settings import Settings
from .store import Callback, Store, StoreError
from .threads import Threads

_MOST_LISTED = 500
"""Jobs that one listing looks at."""
_MANY, _MANY_SECONDS = 1000, 0.25
_AGAIN_SECONDS = 1.0
"""After which the queue is looked at again, where what was told could not be kept."""


@dataclass(eq=False)
class Watch:
    """One who waits for changes of a job; belongs to the event loop on which it was made."""

    loop: asyncio.AbstractEventLoop
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """From any thread."""
        try:
            self.loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    async def changed(self, seconds: float) -> bool:
        """Waits for a change; False if none came within so many seconds."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        self.event.clear()
        return True


@dataclass(eq=False)
class Live:
    """A job that is under way, and who watches it."""

    job: Job
    kinds: Mapping[str, str]
    """Node → its class."""
    is_queued: bool = False
    """True once the backend has it: before, that it is not in the queue means nothing."""
    position: int | None = None
    """Its place in the queue, from 1, when that changed last."""
    preview: Previewed | None = None
    cached: frozenset[str] = frozenset()
    watches: set[Watch] = field(default_factory=set["Watch"])


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to run."""

    graph: Graph
    workflow: str | None = None
    """The publication that it is of, `name@version`; None for a graph that was sent."""
    drawn: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Inputs that the caller did not send and that were drawn, by name."""


class Jobs:
    """All jobs of a service."""

    def __init__(
        self,
        store: Store,
        assets: Assets,
        backend: Backend,
        threads: Threads,
        settings: Callable[[], Settings],
        on_end: Callable[[Job, Ran | None], object],
    ) -> None:
        """`on_end` is called with each job that has ended and is kept, and what its run took, from any thread."""
        self._store = store
        self._assets = assets
        self._backend = backend
        self._threads = threads
        self._settings = settings
        self._on_end = on_end
        self._live: dict[str, Live] = {}
        self._lock = threading.RLock()
        self._signals: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Begins to listen; `resume_open_jobs` is called before. On the event loop."""
        threading.Thread(target=self._work, name="lorchestra-jobs", daemon=True).start()
        self._backend.listen(self._signals.put)

    def resume_open_jobs(self) -> None:
        """Jobs of a server that ended before they did: they go on where the backend does, and have failed elsewhere.

        Not on the event loop.
        """
        jobs = self._store.open_jobs()
        if not self._backend.outlives_server:
            now = time.time()
            self._store.save(replace(job, status=FAILED, error=RESTARTED, completed=now) for job in jobs)
            return
        for job in jobs:
            kinds = _kinds(self._store.find_graph(job.id) or {})
            self._live[job.id] = Live(replace(job, status=QUEUED), kinds, is_queued=True)
        self._signals.put(Changed())

    def close(self) -> None:
        """Ends the thread that works through signals."""
        self._signals.put(None)

    async def submit(
        self,
        make: Callable[[], Order],
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | str | None = None,
        priority: int | None = None,
        secrets: Mapping[str, str] | None = None,
        callback: Callback | None = None,
        caller: Caller = OWNER,
    ) -> Job:
        """Queues what `make` gives, which is called in a thread.

        Raises what it does, `Refusal` if too much waits, `GraphRefused`, and `KeyUsed`.

        An idempotency key is good for one job, and free again when none was made.
        """
        settings = self._settings()
        priority = require_priority(caller, priority)
        self.require_room(caller)

        def begin() -> tuple[Live, Graph]:
            order, now = make(), time.time()
            graph = order.graph
            job = Job(
                str(uuid.uuid4()), QUEUED, now, now + 3600 * settings.retention_hours, len(graph),
                workflow=order.workflow, metadata=metadata, priority=priority, drawn=order.drawn, caller=caller.name,
            )  # fmt: skip
            live = Live(job, _kinds(graph))
            with self._lock:
                self.require_room(caller)  # others may have come meanwhile
                self._live[job.id] = live
            try:
                self._store.add(job, dict(graph), key, callback)
            except BaseException:
                with self._lock:
                    del self._live[job.id]
                raise
            return live, graph

        key = None if key is None else caller.key(key)
        live, graph = await self._threads.run(begin)
        try:
            await self._backend.submit(live.job.id, graph, secrets or {}, priority or 0, caller.name)
        except BaseException:
            await self._threads.run(self._undo, [live], lambda: self._store.remove(live.job.id, key))
            raise
        live.is_queued = True
        self._signals.put(Changed())
        return live.job

    async def submit_all(
        self,
        orders: Sequence[Order],
        batch: str,
        keep: Callable[[Sequence[tuple[Job, Json]]], object],
        forget: Callable[[], object],
        caller: Caller = OWNER,
    ) -> list[Job]:
        """Queues these as jobs of a batch, all or none.

        In threads, `keep` puts them into the store, and `forget` takes them out again if they were not queued.

        Raises what `keep` does, and as `submit`.
        """
        hours = self._settings().retention_hours

        def begin() -> list[tuple[Live, Graph]]:
            now = time.time()
            lives = [
                (
                    Live(
                        Job(
                            str(uuid.uuid4()), QUEUED, now, now + 3600 * hours, len(order.graph),
                            workflow=order.workflow, drawn=order.drawn, batch=batch, priority=caller.priority,
                            caller=caller.name,
                        ),
                        _kinds(order.graph),
                    ),
                    order.graph,
                )
                for order in orders
            ]  # fmt: skip
            with self._lock:
                self.require_room(caller, len(lives))
                self._live |= {live.job.id: live for live, _ in lives}
            try:
                keep([(live.job, dict(graph)) for live, graph in lives])
            except BaseException:
                self._drop(live for live, _ in lives)
                raise
            return lives

        lives = await self._threads.run(begin)
        try:
            await self._backend.submit_all(
                {live.job.id: graph for live, graph in lives}, caller.priority or 0, caller.name
            )
        except BaseException:
            await self._threads.run(self._undo, [live for live, _ in lives], forget)
            raise
        for live, _ in lives:
            live.is_queued = True
        self._signals.put(Changed())
        return [live.job for live, _ in lives]

    def _undo(self, lives: Sequence[Live], forget: Callable[[], object]) -> None:
        """Jobs that were not queued have never been."""
        try:
            forget()
        except StoreError:  # the disk is full: they end when it can be said so
            for live in lives:
                live.is_queued = True
            self._signals.put(Changed())
            return
        self._drop(lives)

    def _drop(self, lives: Iterable[Live]) -> None:
        with self._lock:
            for live in lives:
                self._live.pop(live.job.id, None)

    def current(self, job: Job) -> Job:
        """A job from the store as it is now."""
        return self.find_live(job.id) or job

    def find_live(self, job: str) -> Job | None:
        """A job that is under way."""
        live = self._live.get(job)
        return live.job if live else None

    def require_room(self, caller: Caller, count: int = 1) -> None:
        """Raises `Refusal` (429 `queue_full`) if so many more jobs are too many for the service or for the caller.

        422 if they are more than may ever wait.
        """
        with self._lock:
            waiting, most = len(self._live), self._settings().most_queued
            ever = min(most, caller.most_queued or most)
            if count > ever:
                said = f"these are {count:,} jobs; no more than {ever:,} may ever wait here."
                raise Refusal(422, "invalid_input", said)
            if waiting + count > most:
                more = f", and with these {count:,} there would be more than {most:,}" if count > 1 else ""
                raise Refusal(
                    429, "queue_full", f"{waiting:,} jobs wait already{more}. Try again later.",
                    headers={"Retry-After": "5"},
                )  # fmt: skip
            if caller.most_queued is not None:
                own = sum(live.job.caller == caller.name for live in self._live.values())
                require_room(caller, own, count)

    def find(self, job: str) -> Job | None:
        """A job as it is now. From any thread but the loop's: it may read a file."""
        live = self._live.get(job)
        return live.job if live else self._store.find(job)

    def find_or_raise(self, job: str, caller: Caller) -> Job:
        """The same; raises `Refusal` (404), also for one that is not the caller's."""
        found = self.find(job) if is_id(job) else None
        if found is None or not caller.owns(found.caller):
            raise not_found(f"there is no job {job[:100]}.")
        return found

    def find_by_key(self, key: str, caller: Caller) -> Job | None:
        """The job that a caller's idempotency key was used for. As `find`."""
        job = self._store.find_key(caller.key(key))
        return None if job is None else self.find(job)

    def find_graph(self, job: str, caller: Caller) -> Json:
        """The graph of a job; raises `Refusal` (404)."""
        graph = self._store.find_graph(self.find_or_raise(job, caller).id)
        if graph is None:
            raise not_found(f"there is no job {job[:100]}.")
        return graph

    def position(self, job: Job) -> int | None:
        """Its place in the queue, from 1; None if it does not wait."""
        return (self._backend.positions().get(job.id) or None) if job.status == QUEUED else None

    def newest(
        self, count: int, accepts: Callable[[Job], bool], before: tuple[float, str] | None, caller: Caller
    ) -> tuple[list[Job], bool]:
        """So many accepted jobs of a caller's, the newest first; True if it was not looked at all that there are."""
        found: list[Job] = []
        looked = 0
        while len(found) < count and looked < _MOST_LISTED:
            page = self._store.newest(100, before, caller.name)
            for job in page:
                looked += 1
                live = self._live.get(job.id)
                current = live.job if live else job
                before = (job.created, job.id)
                if accepts(current):
                    found.append(current)
                    if len(found) == count:
                        return found, True
            if len(page) < 100:
                return found, False
        return found, True

    def ended(self) -> dict[str, Json]:
        """What ended lately, of the jobs that are kept: by status, by workflow as (count, mean seconds), by the minute.

        And how long the one has waited that waits longest. Not on the event loop.
        """
        with self._lock:
            queued = [live.job.created for live in self._live.values() if live.job.status == QUEUED]
        now = time.time()
        by_status, seconds, last = self._store.ended(now - 60)
        by_workflow = {name: (count, mean) for name, count, mean in seconds}
        oldest = max(0.0, now - min(queued, default=now))
        return {"by_status": by_status, "by_workflow": by_workflow, "last_minute": last, "oldest_seconds": oldest}

    def cancel(self, job: str, caller: Caller) -> Job:
        """Takes a job from the queue or asks it to end; a job that has ended stays as it is.

        Raises `Refusal` (404).
        """
        found = self.find_or_raise(job, caller)
        live = self._live.get(job)
        if live is None or found.has_ended:
            return found
        state = self._backend.cancel(job)
        with self._lock:
            if live.job.has_ended:
                return live.job
            if state == CANCELED:
                self._end(live, CANCELED)
            elif state == CANCELING:
                self._set(live, replace(live.job, status=CANCELING))
        if state != CANCELED:
            self._signals.put(Changed())
        return live.job

    async def wait(self, job: Job, seconds: float) -> Job:
        """The job when it has ended, or as it is after so many seconds."""
        live, watch = self.watch(job.id)
        if live is None or watch is None:
            return await self._threads.run(self.find_or_raise, job.id, OWNER)
        try:
            end = time.monotonic() + seconds
            while not live.job.has_ended and (left := end - time.monotonic()) > 0:
                await watch.changed(left)
            return live.job
        finally:
            self.unwatch(live, watch)

    def watch(self, job: str) -> tuple[Live, Watch] | tuple[None, None]:
        """A job that is under way, and how to wait for its changes; None and None if it is not. On the event loop."""
        with self._lock:
            live = self._live.get(job)
            if live is None:
                return None, None
            watch = Watch(asyncio.get_running_loop())
            live.watches.add(watch)
            return live, watch

    def watch_all(self, jobs: Iterable[str], watch: Watch) -> list[Live]:
        """Those of the jobs that are under way; `watch` is woken by a change of any of them."""
        with self._lock:
            lives = [live for job in jobs if (live := self._live.get(job)) is not None]
            for live in lives:
                live.watches.add(watch)
        return lives

    def unwatch(self, live: Live, watch: Watch) -> None:
        """To be called by who has called `watch`, and for each by who has called `watch_all`."""
        with self._lock:
            live.watches.discard(watch)

    def _work(self) -> None:
        pause: float | None = None
        while True:
            signals = self._wait(pause)
            pause = None
            try:
                has_changed = False
                for signal in signals:
                    if signal is None:
                        return
                    if isinstance(signal, Changed):
                        has_changed = True
                    else:
                        self._take(signal)
                if has_changed:
                    self._look_at_queue()
                    if len(self._live) > _MANY:  # places change with every job: they are looked at once for several
                        time.sleep(_MANY_SECONDS)
            except Exception as error:  # the thread must go on: what is lost is found at the next look at the queue
                self._report(error)
                pause = _AGAIN_SECONDS

    def _wait(self, seconds: float | None) -> list[Signal | None]:
        """All that was told; after so many seconds that the queue is to be looked at again."""
        try:
            signals = [self._signals.get(timeout=seconds)]
        except queue.Empty:
            return [Changed()]
        while not self._signals.empty():
            signals.append(self._signals.get())
        return signals if seconds is None else [*signals, Changed()]

    def _report(self, error: Exception) -> None:
        if isinstance(error, StoreError):  # its sentence says all
            logging.warning("[Lorchestra] %s", error)
        else:
            logging.exception("[Lorchestra] what a job told could not be taken", exc_info=error)

    def _take(self, signal: Started | Cached | Stepped | Previewed | Produced | Ended) -> None:
        live = self._live.get(signal.job)
        if live is None:
            return
        match signal:
            case Started():
                self._start_job(live)
            case Cached(nodes=nodes):
                live.cached = frozenset(nodes) & live.kinds.keys()
            case Stepped(nodes=nodes):
                self._start_job(live)
                self._set(live, replace(live.job, progress=_progress(live, nodes)))
            case Previewed():
                live.preview = signal
                self._wake(live)
            case Produced(files=files):
                self._add_outputs(live, files)
            case Ended():
                self._finish(live, signal)

    def _start_job(self, live: Live) -> None:
        with self._lock:
            if live.job.status == QUEUED:
                self._set(live, replace(live.job, status=RUNNING, started=time.time()))

    def _look_at_queue(self) -> None:
        """Ends jobs that are in the queue no more: they have run, or somebody took them out."""
        with self._lock:
            queued = [live for live in self._live.values() if live.is_queued]
        if not queued:
            return
        positions = self._backend.positions()
        for live in queued:
            place = positions.get(live.job.id)
            if place == 0:
                self._start_job(live)
            elif place is not None and place != live.position:
                live.position = place
                self._wake(live)
            elif place is None:
                ended = self._backend.find_end(live.job.id)
                self._finish(live, ended or Ended(live.job.id, (), was_canceled=True))

    def _finish(self, live: Live, ended: Ended) -> None:
        self._add_outputs(live, ended.files)
        error = None
        if ended.failure is not None:
            failure = ended.failure
            error = JobError(
                "node_execution_error", failure.message, failure.node, failure.class_type, failure.traceback
            )
        status = CANCELED if ended.was_canceled else FAILED if error else SUCCEEDED
        self._end(live, status, error, ended.ran)

    def _end(self, live: Live, status: str, error: JobError | None = None, ran: Ran | None = None) -> None:
        now = time.time()
        with self._lock:
            if live.job.has_ended:
                return
            progress = live.job.progress
            if status == SUCCEEDED:
                progress = Progress(1.0, live.job.nodes, live.job.nodes)
            expires = now + live.job.expires - live.job.created
            job = replace(
                live.job, status=status, error=error, progress=progress, completed=now, expires=expires,
                started=live.job.started or (now if status != CANCELED else None),
            )  # fmt: skip
            self._store.save([job])
            self._set(live, job)
            self._live.pop(job.id, None)
        self._on_end(job, ran)

    def _add_outputs(self, live: Live, files: tuple[Made, ...]) -> None:
        known = {output.id for output in live.job.outputs}
        found: list[Output] = []
        for asset, output in self._assets.of_job(live.job, files):
            if asset.id not in known:
                found.append(output)
        if found:
            self._set(live, replace(live.job, outputs=(*live.job.outputs, *found)))

    def _set(self, live: Live, job: Job) -> None:
        with self._lock:
            if live.job.has_ended:
                return
            live.job = job
            self._wake(live)

    def _wake(self, live: Live) -> None:
        with self._lock:
            for watch in live.watches:
                watch.wake()


def _progress(live: Live, states: Mapping[str, NodeState]) -> Progress:
    total = max(1, live.job.nodes)
    own = {node: state for node, state in states.items() if node in live.kinds}
    done = {node for node, state in own.items() if state.is_done} | live.cached
    current = next((node for node, state in states.items() if not state.is_done), None)
    state = states.get(current) if current else None
    part = min(1.0, state.value / state.most) if state and state.most > 0 else 0.0
    value = min(1.0, (len(done) + (part if current in live.kinds else 0.0)) / total)
    if state is None or current is None:
        return Progress(value, len(done), live.job.nodes)
    kind = live.kinds.get(current)
    step, steps = int(state.value), int(state.most)
    return Progress(
        value, len(done), live.job.nodes, current, kind, step, steps, f"{kind} {step}/{steps}" if kind else None
    )


def _kinds(graph: Graph) -> dict[str, str]:
    return {node: sys.intern(str(data.get("class_type", ""))) for node, data in graph.items()}


def is_id(text: str) -> bool:
    """Whether this may be the id of a job or a batch."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
