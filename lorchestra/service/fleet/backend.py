"""The backend "many ComfyUIs": jobs are routed to workers that can run them, watched, and run again if one is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ... import __version__
from ...errors import LorchestraError, quoted
from ...library.listing import Listing
from ...limits import Json
from ...stack import Entry
from ...stack.wanted import wanted_of
from ..backend import Changed, Ended, Failure, Graph, GraphRefused, Made, Row, Signal
from ..http import Refusal
from ..job import CANCELED, CANCELING
from . import broker
from .interfaces import find_matching
from .kept import INPUTS, Kept
from .loaded import Loaded, loaded_by
from .logs import LOGGER
from .needs import UNKNOWN, Inventory, find_checkpoint, own_queue, queue_of
from .run import uploads_of
from .table import DRAINING, READY, ROUTE, RUNNING, WAITING, Beat, Table, TableError
from .wire import end_from_json, signal_from_json
from .worker import ATTEMPTS, lost_reason

GONE = "gone"
_SHOWN = (
    "url", "version", "warm", "warm_loras", "free_memory", "done", "last_minute", "nodes", "nodes_cached", "by_warm",
    "versions", "problem", "is_read",
)  # fmt: skip
"""What a worker tells of itself that `status` shows."""
_UNQUEUED = "The job was not queued: the door ended before it was, or its disk was full. Send it again."
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 1.0
"""Between two looks at the workers and at what waits."""
LOST_SECONDS = 10.0
"""After which a worker that says nothing is taken for lost."""
_FORGET_SECONDS = 600.0
"""After which what a lost worker had is no reason any more to let jobs wait for it."""
_IDLE_SECONDS = 5.0
"""After which a worker that does nothing, though something waits for it, is sent tickets anew."""


@dataclass(slots=True)
class _Seen:
    """A worker as the door sees it; seconds are of the door's own clock."""

    beat: Beat
    changed: float
    idle_since: float | None = None
    astray: tuple[str, float] | None = None
    """A job that is the worker's by the table, and that it says nothing of, and since when."""


class Fleet:
    """Many ComfyUIs as a `Backend`."""

    outlives_server = True

    def __init__(self, table: Table, kept: Kept, app: broker.App, seconds: float, retention_hours: float) -> None:
        """`seconds` is the longest that a job may run."""
        self._table, self._kept, self._app = table, kept, app
        self._seconds, self._retention = seconds, 3600 * retention_hours
        self._tell: Callable[[Signal], object] = lambda _: None
        self._positions: dict[str, int] = {}
        self._added: dict[str, str] = {}
        """Jobs that came while the table was read, and their queues."""
        self._waiting: Counter[str] = Counter()
        self._seen: dict[str, _Seen] = {}
        self._inventories: dict[str, Inventory] = {}
        """By the key of what a ComfyUI has."""
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._cleaned = time.monotonic()

    def start(self) -> None:
        """Makes the table, says which version this is, and looks at the workers. Raises `TableError`."""
        self._table.make()
        self._table.keep_word("version", __version__)
        self._look()

    def close(self) -> None:
        """Ends the thread that watches."""
        self._closed.set()

    # On the event loop.

    def listen(self, tell: Callable[[Signal], object]) -> None:
        """See `Backend`."""
        self._tell = tell
        threading.Thread(target=self._watch, name="lorchestra-fleet", daemon=True).start()

    async def submit(
        self, job: str, graph: Graph, secrets: Mapping[str, str], priority: int = 0, caller: str | None = None
    ) -> None:
        """See `Backend`: raises `GraphRefused` where no worker has what the graph needs, too."""
        if secrets:
            raise Refusal(
                422, "invalid_request", "keys of paid services are not passed on to workers: they would be kept on the "
                "way. Call the ComfyUI itself.", "extra_data",
            )  # fmt: skip
        await asyncio.to_thread(self._submit, job, graph, priority, caller)

    async def submit_all(self, graphs: Mapping[str, Graph], priority: int = 0, caller: str | None = None) -> None:
        """See `Backend`: all are routed before any is added."""
        await asyncio.to_thread(self._submit_all, graphs, priority, caller)

    def _submit_all(self, graphs: Mapping[str, Graph], priority: int, caller: str | None) -> None:
        loaded = {job: loaded_by(graph) for job, graph in graphs.items()}
        for job, graph in graphs.items():
            try:
                self._route(graph, loaded[job])
            except GraphRefused as error:
                raise GraphRefused(error.message, error.node_errors, job) from error
        added: list[str] = []
        try:
            for job, graph in graphs.items():
                queue = self._route(graph, loaded[job])  # anew: each goes where least waits by then
                self._add(job, graph, queue, priority, loaded[job], caller)
                added.append(job)
        except (LorchestraError, GraphRefused):  # the database or a worker went: what was added is not to be run
            for job in added:
                with contextlib.suppress(TableError):
                    self.cancel(job)
            raise

    def _submit(self, job: str, graph: Graph, priority: int, caller: str | None) -> None:
        loaded = loaded_by(graph)
        self._add(job, graph, self._route(graph, loaded), priority, loaded, caller)

    def _add(self, job: str, graph: Graph, queue: str, priority: int, loaded: Loaded, caller: str | None) -> None:
        for name in _uploads(graph, self._kept):
            self._kept.send(f"{INPUTS}/{name}")
        self._table.add(job, graph, queue, priority, self._seconds, loaded.stack, caller or "")
        with self._lock:
            self._positions[job] = len(self._positions) + 1
            self._added[job] = queue
            self._waiting[queue] += 1
            needs_ticket = self._waiting[queue] <= broker.MOST_TICKETS
        if needs_ticket:
            self._send(queue)

    # From any thread.

    def cancel(self, job: str) -> str:
        """See `Backend`."""
        state = self._table.cancel(job)
        if state == WAITING:
            with self._lock:
                self._positions.pop(job, None)
            return CANCELED
        return CANCELING if state == RUNNING else GONE

    def positions(self) -> Mapping[str, int]:
        """See `Backend`: as they were a moment ago."""
        return self._positions

    def find_end(self, job: str) -> Ended | None:
        """See `Backend`."""
        state, end = self._table.find_end(job)
        if end is not None:
            return end_from_json(job, end)
        if state is None:
            return Ended(job, (), failure=Failure(_UNQUEUED))
        return None

    def find_file(self, made: Made) -> Path | None:
        """See `Backend`."""
        return self._kept.find(f"{made.subfolder}/{made.name}")

    def input_folder(self) -> Path:
        """See `Backend`."""
        folder = self._kept.folder / INPUTS
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def describe(self, kinds: Iterable[str]) -> Mapping[str, Json]:
        """See `Backend`: as the first worker has them that does."""
        found: dict[str, Json] = {}
        for inventory in self._known().values():
            found = {kind: inventory.info[kind] for kind in kinds if kind in inventory.info} | found
        return found

    def loras(self) -> Sequence[str]:
        """See `Backend`: those that any worker has."""
        return sorted({name for one in self._known().values() for name in one.lora_names})

    def resolver(self) -> Callable[[str], str]:
        """See `Backend`.

        An AIR or a hash stays as it is where workers have the file under several names, or another file under that one:
        the LoRA Stack of the ComfyUI that runs the job finds it.
        """
        known = list({id(one): one for one in self._known().values()}.values())
        listing = Listing(name for one in known for name in one.lora_names)

        def find(lora: str) -> str:
            if wanted_of(Entry(lora)).is_identified:
                found = [(inventory, inventory.find_lora(Entry(lora))) for inventory in known]
                names = {name for _, name in found if name is not None}
                if not names and known:
                    raise LorchestraError(f"no worker has a LoRA that is known as {quoted(lora)}")
                if len(names) != 1 or UNKNOWN in names:
                    return lora
                (name,) = names
                return name if all(own == name for one, own in found if name in one.lora_names) else lora
            exact = listing.find_exact(lora)
            named = [exact] if exact is not None else listing.named(lora)
            if len(named) == 1:
                return named[0]
            if named:
                raise LorchestraError(f"{quoted(lora)} may be any of {', '.join(named[:6])}. Write it as one of them.")
            raise LorchestraError(f"no worker has the LoRA {quoted(lora)}")

        return find

    def check(self, graph: Graph, node: str, loras: Sequence[Json]) -> Sequence[Row]:
        """See `Backend`: the files are where the workers are, so the job itself says which row cannot be used."""
        return ()

    def find_model(self, air_or_name: str) -> tuple[str | None, Sequence[str]]:
        """See `Backend`: what the workers that have it agree on."""
        found = {one.find_checkpoint(air_or_name) for one in self._known().values()} - {None}
        name = found.pop() if len(found) == 1 else None
        return (None, ()) if name is None else (name, self._architectures(name))

    def model_of(self, graph: Graph) -> tuple[str | None, Sequence[str]]:
        """See `Backend`."""
        name = find_checkpoint(graph)
        return (None, ()) if name is None else (name, self._architectures(name))

    def _architectures(self, checkpoint: str) -> Sequence[str]:
        """What a checkpoint may be of, as those say that know it; none where they differ."""
        found = {tuple(one.checkpoint_identities.architectures_of(checkpoint)) for one in self._known().values()} - {()}
        return found.pop() if len(found) == 1 else ()

    def status(self) -> dict[str, Json]:
        """Workers and what waits, for `lorchestra status` and the metrics; `open` is what KEDA scales workers by."""
        now = time.monotonic()
        with self._lock:
            workers: list[Json] = [
                {
                    "id": one.beat.id, "state": one.beat.state if self._is_alive(one) else "lost", "job": one.beat.job,
                    "silent_seconds": round(now - one.changed, 1),
                    **{name: one.beat.facts.get(name) for name in _SHOWN},
                }
                for one in self._seen.values()
            ]  # fmt: skip
            waiting = {queue: count for queue, count in sorted(self._waiting.items()) if count}
            running = sum(1 for place in self._positions.values() if place == 0)
            bases: dict[str, Json] = {
                queue_of(base): base
                for one in self._inventories.values()
                for base in one.bases
                if waiting and queue_of(base) in waiting
            }
        queued = sum(waiting.values())
        return {
            "workers": workers, "waiting": waiting, "queued": queued, "running": running, "open": queued + running,
            "bases": bases,
        }  # fmt: skip

    # Routing.

    def _known(self) -> dict[str, Inventory]:
        """What the workers have, by worker."""
        with self._lock:
            keys = {own: seen.beat.info_key for own, seen in self._seen.items() if seen.beat.state != DRAINING}
        return {own: self._inventories[key] for own, key in keys.items() if key in self._inventories}

    def _route(self, graph: Graph, loaded: Loaded) -> str:
        """The queue of a graph: of its base model, where all that listen to it can run it; else a worker's own.

        Raises `GraphRefused` with what is missing, and `Refusal` where there are no workers.
        """
        known = self._known()
        if not known:
            raise Refusal(
                503, "no_workers", "there is no worker. Start one beside each ComfyUI: lorchestra worker --comfyui URL",
                headers={"Retry-After": "5"},
            )  # fmt: skip
        missing: dict[str, list[str]] = {}
        by_key: dict[int, list[str]] = {}
        for own, inventory in known.items():
            missing[own] = by_key.setdefault(id(inventory), []) or inventory.missing(graph)
            by_key[id(inventory)] = missing[own]
        able = [own for own, lacks in missing.items() if not lacks]
        if not able:
            own = min(missing, key=lambda one: len(missing[one]))
            lacks = " and ".join(missing[own][:20])
            said = f"no worker has {lacks}. Put it on one of them, or correct the name."
            raise GraphRefused(said, _node_errors(graph, known[own]))
        able = self._alike(graph, {own: known[own] for own in able})
        queue = queue_of(loaded.base)
        with self._lock:
            listeners = {own for own in known if queue in self._seen[own].beat.facts.get("queues", ())}
            if listeners == set(able):
                return queue
            alive = [own for own in able if self._is_alive(self._seen[own])] or able
            return own_queue(min(alive, key=lambda own: self._load(own, loaded)))

    def _load(self, worker: str, loaded: Loaded) -> tuple[int, bool, bool, int]:
        """How little a worker suits a job: what waits for it counts first, then what it has loaded, then its memory."""
        facts = self._seen[worker].beat.facts
        free = facts.get("free_memory")
        return (
            self._waiting[own_queue(worker)], facts.get("stack") != loaded.stack, facts.get("warm") != loaded.base,
            -free if isinstance(free, int) else 0,
        )  # fmt: skip

    def _alike(self, graph: Graph, able: Mapping[str, Inventory]) -> list[str]:
        """Those whose ComfyUIs define the graph's nodes in one way, where some may have other nodes."""
        nodes = {own: inventory.nodes for own, inventory in able.items()}
        with self._lock:
            facts = {own: self._seen[own].beat.facts for own in able if own in self._seen}
        return find_matching(graph, nodes, [own for own in facts if not facts[own].get("allows_other_nodes")])

    def _is_alive(self, seen: _Seen) -> bool:
        return time.monotonic() - seen.changed < LOST_SECONDS

    def _send(self, queue: str) -> None:
        """Sends a ticket; where the broker is away, the thread that watches sends another when it is there again."""
        try:
            broker.send(self._app, queue)
        except broker.BrokerError as error:
            LOGGER.warning("%s; the job waits until it does", error, extra={"queue": queue})

    # The thread that watches.

    def _watch(self) -> None:
        looked = 0.0
        while not self._closed.wait(_POLL_SECONDS):
            try:
                for data in self._table.take_signals():
                    told = signal_from_json(data)
                    if told is not None:
                        self._tell(told)
                ends = self._table.take_ends()
                for job, end in ends:
                    self._positions.pop(job, None)
                    self._tell(end_from_json(job, end))
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    started = time.monotonic()
                    self._look()
                    looked = time.monotonic() + 4 * (time.monotonic() - started)  # a long queue is looked at less often
            except TableError as error:
                LOGGER.warning("%s", error)
                self._closed.wait(1)
            except Exception:  # the thread must go on
                logging.exception("[Lorchestra] the fleet could not be looked at")

    def _look(self) -> None:
        """Looks at workers and orders: what was lost is found here."""
        self._see(self._table.workers())
        with self._lock:
            self._added.clear()
        orders = self._table.open_orders()
        places: dict[str, int] = {}
        waiting: Counter[str] = Counter()
        held: dict[str, list[str]] = {}
        strays: list[str] = []
        count = 0
        for job, state, queue, worker in orders:
            if state == RUNNING:
                places[job] = 0
                held.setdefault(worker or "", []).append(job)
            else:
                count += 1
                places[job] = count
                waiting[queue] += 1
                if queue == ROUTE or self._is_forsaken(queue):
                    strays.append(job)
        with self._lock:
            for job, queue in self._added.items():
                if job not in places:
                    count += 1
                    places[job] = count
                    waiting[queue] += 1
            has_changed = places != self._positions
            self._positions, self._waiting = places, waiting
        self._find_lost(held)
        for job in strays:
            self._route_again(job)
        self._wake_idle()
        self._clean()
        if has_changed:
            self._tell(Changed())

    def _see(self, beats: Sequence[Beat]) -> None:
        now = time.monotonic()
        for beat in beats:
            if beat.info_key not in self._inventories:
                self._inventories[beat.info_key] = Inventory(*self._table.info(beat.id))
        with self._lock:
            for beat in beats:
                seen = self._seen.get(beat.id)
                if seen is None:
                    self._seen[beat.id] = _Seen(beat, now)
                    continue
                if seen.beat.beat != beat.beat:
                    seen.changed = now
                seen.beat = beat
                is_idle = beat.job is None and beat.state == READY
                seen.idle_since = (seen.idle_since or now) if is_idle else None
            for own in self._seen.keys() - {beat.id for beat in beats}:
                del self._seen[own]
            used = {seen.beat.info_key for seen in self._seen.values()}
            self._inventories = {key: one for key, one in self._inventories.items() if key in used}
            forgotten = [own for own, seen in self._seen.items() if now - seen.changed > _FORGET_SECONDS]
        for own in forgotten:
            self._table.remove_worker(own)

    def _is_forsaken(self, queue: str) -> bool:
        """Whether a queue is of a worker that is gone."""
        start, _, own = queue.partition(".")
        seen = self._seen.get(own)
        return start == "worker" and (seen is None or not self._is_alive(seen) or seen.beat.state == DRAINING)

    def _find_lost(self, held: Mapping[str, Sequence[str]]) -> None:
        """Jobs of workers that say nothing any more, or nothing of these jobs, wait again or have failed."""
        now = time.monotonic()
        for worker, jobs in held.items():
            seen = self._seen.get(worker)
            for job in jobs:
                is_lost = seen is None or not self._is_alive(seen)
                if seen is not None and not is_lost and seen.beat.job != job:
                    if seen.astray is None or seen.astray[0] != job:
                        seen.astray = (job, now)
                    is_lost = now - seen.astray[1] > LOST_SECONDS
                if is_lost:
                    state = self._table.lose(job, worker, ATTEMPTS, lost_reason(worker))
                    again = "waits again" if state == WAITING else "has failed"
                    LOGGER.warning("a worker was lost; its job %s", again, extra={"job": job, "worker": worker})

    def _route_again(self, job: str) -> None:
        graph = self._table.graph(job)
        if graph is None:
            return
        try:
            queue = self._route(graph, loaded_by(graph))
        except GraphRefused as error:
            self._table.fail(job, error.message)
            return
        except Refusal:  # no worker is there now
            return
        if not self._is_forsaken(queue) and self._table.move(job, queue):
            self._send(queue)

    def _wake_idle(self) -> None:
        """Tickets that got lost are sent again: where something waits, and a worker that can take it does nothing."""
        now = time.monotonic()
        with self._lock:
            for seen in self._seen.values():
                if seen.idle_since is None or now - seen.idle_since < _IDLE_SECONDS or not self._is_alive(seen):
                    continue
                queues: Sequence[str] = [
                    queue for queue in seen.beat.facts.get("queues", ()) if self._waiting[cast("str", queue)]
                ]
                for queue in queues:
                    for _ in range(min(self._waiting[queue], 5)):
                        self._send(queue)
                seen.idle_since = now

    def _clean(self) -> None:
        """Removes what jobs have made that are kept no longer."""
        if time.monotonic() - self._cleaned < 60:
            return
        self._cleaned = time.monotonic()
        gone = self._table.expired(time.time() - self._retention - 3600)
        for job in gone:
            self._kept.remove(job)
        if gone:
            self._table.remove(gone)


def _node_errors(graph: Graph, inventory: Inventory) -> dict[str, Json]:
    """The files that are missing in ComfyUI's shape, so that a call can name the input that is to blame."""
    found: dict[str, Json] = {}
    for node, widget, name in inventory.misplaced(graph):
        kind = cast("dict[str, Json]", graph[node]).get("class_type")
        one = found.setdefault(node, {"errors": [], "dependent_outputs": [], "class_type": kind})
        said = f"no worker has {quoted(name)}. Put it on one of them, or correct the name"
        error: Json = {
            "type": "value_not_in_list", "message": said, "details": "",
            "extra_info": {"input_name": widget, "received_value": name},
        }  # fmt: skip
        cast("list[Json]", cast("dict[str, Json]", one)["errors"]).append(error)
    return found


def _uploads(graph: Graph, kept: Kept) -> Iterable[str]:
    """Files that came in and that a graph loads, where workers do not see the door's folder."""
    return () if kept.is_local else uploads_of(graph)
