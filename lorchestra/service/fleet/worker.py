"""One worker: it takes orders that wait, has its ComfyUI run them one after another, and keeps what they make."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from ... import __version__
from ...errors import quoted
from ...limits import Json
from ..backend import BASE, NOTHING, STACK, Cached, Ended, Failure, Ran, Signal
from . import broker
from .comfyui import ComfyUI, ComfyUIAway, ComfyUIError, ComfyUIRefused, ComfyUIStuck
from .former import clear_stale
from .interfaces import Interfaces
from .kept import Kept, KeptError
from .loaded import loaded_by, words_of
from .logs import LOGGER
from .needs import ANY, Inventory, own_queue, queue_of
from .peers import Peers, WorkerRefused
from .run import Run, TakenAway
from .table import AWAY, DRAINING, READY, REPLACED, Order, Table, TableError, pack_info
from .tally import Tally
from .twins import find_twin
from .warm import Patience, Warm
from .wire import end_to_json, signal_to_json

ATTEMPTS = 2
"""How often a job is begun: once more after its worker or its ComfyUI was lost."""
PATIENCE = 10.0
"""For how many seconds the oldest job of a queue gives way to others for which less must be loaded."""
_BEAT_SECONDS = 0.5
_INFO_SECONDS = 60.0
"""Between two looks at which files and nodes the ComfyUI has."""
_SOON_SECONDS = 5.0
"""The same while it still reads what its files are."""
_MEMORY_SECONDS = 10.0
"""Between two looks at how much memory is free."""
_AWAY_SECONDS = 1.0
_DEAF_SECONDS = 12.0
"""After which a worker that hears of no ticket, though something waits for it, asks the broker anew."""
_REFUSED_SECONDS = 10.0
"""Between two looks whether a ComfyUI that came back with other nodes has those of the others again."""
_ID = re.compile(r"[^A-Za-z0-9_.-]+")


def worker_id(url: str) -> str:
    """A ComfyUI's worker has the same name each time. Example: `gpu1-127.0.0.1-8188`."""
    return _ID.sub("-", f"{socket.gethostname()}-{urlsplit(url).netloc}")[:150]


class Worker:
    """The worker of one ComfyUI."""

    def __init__(
        self,
        table: Table,
        kept: Kept,
        app: broker.App,
        url: str,
        patience: float = PATIENCE,
        allows_other_nodes: bool = False,
    ) -> None:
        """`patience` is for how many seconds the oldest job gives way to those for which less must be loaded.

        `allows_other_nodes` lets its ComfyUI have others than the other workers' have.

        Raises `ComfyUIError` for what is no address.
        """
        self.id = worker_id(url)
        self._peers, self._allows_other_nodes = Peers(table, self.id), allows_other_nodes
        self._nodes = Interfaces({})
        self._versions = ""
        self._problem: str | None = None
        """Why its ComfyUI is not used, beside that it does not answer."""
        self._url = ComfyUI(url).url
        self._table, self._kept, self._app = table, kept, app
        self._inventory = Inventory({})
        self._info_key = ""
        self._read = self._weighed = self._heard = 0.0
        self._state = READY
        self._job: str | None = None
        self._bases, self._stacks = Warm(), Warm()
        self._words = ""
        """The LoRAs that ran last."""
        self._cached: frozenset[str] | None = None
        """Nodes of the running job that ComfyUI need not run, when it has said so."""
        self._tally = Tally()
        self._patience = Patience(patience)
        self._session = uuid.uuid4().hex
        """Of this process, to be told from another one of the same name."""
        self._is_replaced = False
        self._stuck: str | None = None
        """A job of which the ComfyUI does not let go."""
        self._free: int | None = None
        self._queues: list[str] = []
        self._canceled = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, Json]] = {}
        """What the running job has told last, by kind."""
        self._beat = time.time_ns() // 1_000_000_000

    def join(self) -> None:
        """Looks at the ComfyUI, and says what it has.

        Raises `ComfyUIError` where it cannot be used, `WorkerRefused` where versions differ or another worker has it,
        and `TableError`.
        """
        twin = find_twin(self._table, self.id, self._url, socket.gethostname())
        if twin is not None:
            raise WorkerRefused(
                f"the ComfyUI at {self._url} has a worker already, {quoted(twin)}, and needs no other. To let that one "
                f"leave: lorchestra worker --drain --comfyui {self._url}"
            )
        asyncio.run(self._look(checks_version=True))
        door = self._table.find_word("version")
        if door not in (None, __version__):
            raise WorkerRefused(
                f"the door runs Lorchestra {door}, and this worker {__version__}. Install the same version for both."
            )
        self._compare()
        own = [own_queue(self.id), *map(queue_of, self._inventory.bases), ANY]
        self._queues = list(dict.fromkeys(own))
        self._say_all()
        for job in self._table.held(self.id):  # of a process that was killed
            self._table.lose(job, self.id, ATTEMPTS, lost_reason(self.id))
        asyncio.run(self._clear_stale())

    def run(self) -> int:
        """Works until it is told to leave; gives the exit code."""
        app = self._app

        def run(queue: str) -> None:
            self.take(queue)

        app.task(run, name=broker.TASK)
        threading.Thread(target=self._beats, name="lorchestra-beats", daemon=True).start()
        threading.Thread(target=self._looks, name="lorchestra-looks", daemon=True).start()
        LOGGER.info("the worker of %s listens to %d queues", self._url, len(self._queues), extra={"worker": self.id})
        while (code := self._listen()) and not broker.is_told_to_stop():
            LOGGER.warning("the broker could not be used, and is asked again", extra={"worker": self.id})
            time.sleep(_AWAY_SECONDS)
        self._ended.set()
        try:
            if not self._is_replaced:
                self._table.remove_worker(self.id)
        except TableError as error:  # the door notices
            LOGGER.warning("%s", error, extra={"worker": self.id})
        LOGGER.info("the worker leaves", extra={"worker": self.id})
        return code

    def _listen(self) -> int:
        """Takes tickets until it is told to leave; gives another code than 0 where the broker made it stop."""
        celery = self._app.Worker(
            hostname=f"lorchestra@{self.id}", pool="solo", concurrency=1, queues=self._queues, without_gossip=True,
            without_mingle=True, without_heartbeat=True, loglevel="WARNING", quiet=True,
        )  # fmt: skip
        self._heard = time.monotonic()
        celery.start()
        return int(celery.exitcode or 0)

    def take(self, queue: str) -> None:
        """Does what a ticket is for: runs the next order of its queue, if one waits."""
        self._heard = time.monotonic()
        if self._state != READY:
            self._ticket(queue)
            time.sleep(_AWAY_SECONDS)
            return
        claimed = self._table.claim(self.id, self._preferred(queue), self._stacks.keys, self._patience.is_over)
        if claimed is None:
            return
        order, taken = claimed
        try:
            self._job = order.job
            self._canceled.clear()
            self._cached = None
            self._send_next(queue, taken)
            self._work(order)
        finally:
            self._heard = time.monotonic()
            self._job = None

    def _send_next(self, queue: str, taken: str) -> None:
        """Tickets for what waits still, where this one was for something else or there are fewer than orders."""
        try:
            if taken != queue and self._table.count(queue):
                self._ticket(queue)  # what this ticket was for waits still
            if self._table.count(taken) >= broker.MOST_TICKETS:
                self._ticket(taken)
        except TableError as error:  # the door sends what is missing
            LOGGER.warning("%s", error, extra={"queue": taken, "worker": self.id})

    def _ticket(self, queue: str) -> None:
        """Sends a ticket; one that the broker does not take is sent by the door when it is there again."""
        try:
            broker.send(self._app, queue)
        except broker.BrokerError as error:
            LOGGER.warning("%s", error, extra={"queue": queue, "worker": self.id})

    def _preferred(self, queue: str) -> Sequence[str]:
        """First those of the base models that are loaded; what only some workers can run is not left to wait."""
        warm = [name for base in self._bases.keys if (name := queue_of(base)) in self._queues]
        return [*warm, own_queue(self.id), queue]

    def _work(self, order: Order) -> None:
        started, about = time.monotonic(), {"job": order.job, "worker": self.id}
        run = Run(order, self.id, self._url, self._table, self._kept, self._tell, self._canceled.is_set)
        try:
            if self._inventory.missing(order.graph):
                asyncio.run(self._look())
                if self._inventory.missing(order.graph):
                    self._table.put_back(order, self.id)
                    LOGGER.info("the job needs what is not here, and goes elsewhere", extra=about)
                    return
            ended = asyncio.run(run.run())
        except ComfyUIRefused as error:
            if self._has_other_nodes():
                self._table.put_back(order, self.id)
                LOGGER.info("the ComfyUI has other nodes than before, and the job goes elsewhere", extra=about)
                return
            ended = Ended(order.job, (), failure=Failure(str(error)))
        except KeptError as error:
            self._kept.remove(order.job)  # the half of a job's files is of no use
            ended = Ended(order.job, (), failure=Failure(f"{error}."))
        except ComfyUIStuck as error:
            self._set_away()
            self._stuck = order.job
            ended = Ended(order.job, (), failure=Failure(f"{error}."))
        except TakenAway:
            LOGGER.warning("another worker has the job by now", extra=about)
            return
        except ComfyUIError as error:
            self._set_away()
            self._lose(order, str(error), is_new=isinstance(error, ComfyUIAway) and not run.has_begun)
            return
        except TableError:
            raise  # the door finds that nobody runs the job
        except Exception as error:  # an answer that nobody thought of: the worker goes on
            LOGGER.exception("the job could not be run", extra=about)
            self._lose(order, f"the worker {self.id} could not run the job ({type(error).__name__})")
            return
        ran = None if run.is_elsewhere else self._note(order, time.monotonic() - started)
        ended = replace(ended, ran=ran)
        self._flush()
        is_mine = self._finish(order, ended)
        status = "failed" if ended.failure else "canceled" if ended.was_canceled else "succeeded"
        seconds = round(time.monotonic() - started, 3)
        said = "the job has ended" if is_mine else "the job has ended, and another worker has it by now"
        LOGGER.info(said, extra=about | {"status": status, "seconds": seconds})

    def _note(self, order: Order, seconds: float) -> Ran | None:
        """What ComfyUI has loaded now, and what it had for this job; None if ComfyUI did not begin it."""
        cached = self._cached
        if cached is None:
            return None
        loaded = loaded_by(order.graph)
        had_base = bool(loaded.loaders) and loaded.loaders <= cached
        had_stack = bool(loaded.patched) and loaded.patched <= cached
        self._bases.ran(loaded.base, had_base)
        self._stacks.ran(loaded.stack, had_stack)
        self._words = words_of(order.graph) if loaded.stack else self._words
        warm = None if loaded.stack is None else STACK if had_stack else BASE if had_base else NOTHING
        ran = Ran(round(seconds, 3), len(order.graph), len(cached), warm)
        self._tally.add(ran)
        return ran

    def _has_other_nodes(self) -> bool:
        """Whether the ComfyUI was started again with other nodes since it was looked at."""
        key = self._nodes.key
        try:
            asyncio.run(self._look())
        except ComfyUIError:  # is found out by the next job
            return False
        return key != self._nodes.key

    def _set_away(self) -> None:
        self._state = AWAY if self._state == READY else self._state
        self._bases.forget()
        self._stacks.forget()

    def _lose(self, order: Order, reason: str, is_new: bool = False) -> None:
        """Lets an order be run again, or fail; one that is new was heard by no ComfyUI, which was no attempt."""
        about = {"job": order.job, "worker": self.id}
        if is_new:
            self._table.put_back(order, self.id)
            LOGGER.warning("%s; the job was not begun, and waits", reason, extra=about)
            return
        state = self._table.lose(order.job, self.id, ATTEMPTS, f"{reason}. {_TWICE}")
        LOGGER.warning("%s; the job %s", reason, "waits again" if state == "waiting" else "has failed", extra=about)

    def _finish(self, order: Order, ended: Ended) -> bool:
        """Says how an order ended, also after a moment in which the database does not answer."""
        end = end_to_json(ended)
        for pause in (0.2, 1, 3, 5):
            try:
                return self._table.finish(order, self.id, end)
            except TableError as error:
                LOGGER.warning("%s", error, extra={"job": order.job, "worker": self.id})
                time.sleep(pause)
        return self._table.finish(order, self.id, end)

    def _tell(self, told: Signal) -> None:
        if isinstance(told, Cached):
            self._cached = frozenset(told.nodes)
        data = signal_to_json(told)
        if data is not None:
            with self._lock:
                kind = str(data["kind"])
                self._latest.pop(kind, None)  # so that the newest comes last
                self._latest[kind] = data

    def _flush(self) -> None:
        with self._lock:
            told, self._latest = list(self._latest.values()), {}
        try:
            self._table.tell(told)
        except TableError as error:  # progress that nobody sees
            LOGGER.warning("%s", error, extra={"job": self._job, "worker": self.id})

    def _beats(self) -> None:
        """Says that the worker lives, brings what its job tells, and hears what others want; in a thread of its own."""
        while not self._ended.wait(_BEAT_SECONDS):
            self._beat += 1
            self._flush()
            job = self._job
            try:
                found, is_canceled = self._table.beat(self.id, self._beat, self._state, job, self._facts())
                if found is None:
                    self._say_all()
            except TableError as error:
                LOGGER.warning("%s", error, extra={"worker": self.id})
                continue
            except Exception:  # the thread must go on: without it the worker is taken for lost
                LOGGER.exception("the worker could not say that it lives", extra={"worker": self.id})
                continue
            if is_canceled and job is not None and job == self._job:
                self._canceled.set()
            if found == REPLACED and self._state != DRAINING:
                self._is_replaced = True
                LOGGER.error("another worker has taken the place of this one, which leaves", extra={"worker": self.id})
            if found in (DRAINING, REPLACED) and self._state != DRAINING:
                self._state = DRAINING
                os.kill(os.getpid(), signal.SIGTERM)  # Celery finishes the job, and leaves

    def _looks(self) -> None:
        """Looks again and again what the ComfyUI has, and whether it is there again; it may take long to answer."""
        while not self._ended.wait(_AWAY_SECONDS):
            is_away = self._state == AWAY
            self._look_at_memory()
            self._hear()
            pause = _INFO_SECONDS if self._inventory.lora_identities.is_read else _SOON_SECONDS
            pause = _REFUSED_SECONDS if self._problem else 0.0 if is_away else pause
            if self._job is not None or time.monotonic() - self._read < pause:
                continue
            try:
                asyncio.run(self._look(checks_version=is_away))
                asyncio.run(self._clear_stale())
                is_back = self._state == AWAY
                self._compare(only_before=not is_back)
                self._problem = None
                self._state = READY if is_back and self._state == AWAY else self._state
            except (ComfyUIError, WorkerRefused) as error:
                self._state = AWAY if self._state == READY else self._state
                was, self._problem = self._problem, str(error) if isinstance(error, WorkerRefused) else None
                if str(error) != was:
                    LOGGER.warning("%s", error, extra={"worker": self.id})
            except TableError as error:
                LOGGER.warning("%s", error, extra={"worker": self.id})

    def _compare(self, only_before: bool = False) -> None:
        """Raises `WorkerRefused` where other workers' ComfyUIs have other nodes; other versions are told in the log."""
        if not self._allows_other_nodes:
            self._peers.require_same_nodes(self._url, self._nodes, only_before)
        said = None if only_before else self._peers.find_other_versions(self._versions)
        if said is not None:
            LOGGER.warning("%s", said, extra={"worker": self.id})

    def _look_at_memory(self) -> None:
        """Also while a job runs: then the memory is what matters."""

        async def ask() -> int | None:
            async with ComfyUI(self._url) as comfyui:
                return await comfyui.free_memory()

        if self._state != AWAY and time.monotonic() - self._weighed >= _MEMORY_SECONDS:
            self._weighed = time.monotonic()
            with contextlib.suppress(ComfyUIError):  # who runs the job says it
                self._free = asyncio.run(ask())

    async def _look(self, checks_version: bool = False) -> None:
        """Reads what the ComfyUI has."""
        self._read = time.monotonic()
        async with ComfyUI(self._url) as comfyui:
            if checks_version and (version := await comfyui.version()) != __version__:
                raise WorkerRefused(
                    f"the ComfyUI at {self._url} has Lorchestra {version}, and this worker is {__version__}. "
                    "Install the same version for both."
                )
            info = await comfyui.object("/object_info")
            files = await comfyui.identities()
            self._free, self._weighed = await comfyui.free_memory(), time.monotonic()
            self._versions = await comfyui.versions()
        packed = await asyncio.to_thread(pack_info, info, files)
        key = hashlib.sha256(packed).hexdigest()
        if key != self._info_key:
            had_any, self._inventory, self._info_key = bool(self._info_key), Inventory(info, files), key
            was, self._nodes = self._nodes.key, Interfaces(info)
            if had_any and was != self._nodes.key and self._state == READY:
                self._state = AWAY  # until they were compared with the others'
            if had_any:
                self._say_all()

    def _hear(self) -> None:
        """Asks the broker anew where its tickets do not come: Celery waits for ever after one that it could not ack.

        The door sends tickets again after half of the time.
        """
        if self._state != READY or self._job is not None or time.monotonic() - self._heard < _DEAF_SECONDS:
            return
        self._heard = time.monotonic()
        try:
            waiting = any(self._table.count(queue) for queue in self._queues)
        except TableError:  # said by who needs it
            return
        if waiting and self._job is None:
            broker.listen_anew()

    async def _clear_stale(self) -> None:
        """Takes from the ComfyUI what nobody waits for. Raises `ComfyUIStuck` as long as it holds on to such a job."""
        async with ComfyUI(self._url) as comfyui:
            await clear_stale(self._table, comfyui)
            if self._stuck is not None and self._stuck in await comfyui.waiting():
                raise ComfyUIStuck(f"{self._url} does not let go of a job. Start it again")
            self._stuck = None

    def _say_all(self) -> None:
        if self._is_replaced:  # another process says what this worker has
            return
        packed = pack_info(self._inventory.info, self._inventory.files)
        self._table.join(self.id, self._beat, self._facts(), self._info_key, packed, self._state)

    def _facts(self) -> dict[str, Json]:
        return {
            "url": self._url, "version": __version__, "warm": next(iter(self._bases.keys), None),
            "stack": next(iter(self._stacks.keys), None),
            "warm_loras": self._words if self._stacks.keys else "", "free_memory": self._free, "queues": self._queues,
            "interfaces": self._nodes.key, "versions": self._versions, "problem": self._problem,
            "allows_other_nodes": self._allows_other_nodes, "host": socket.gethostname(), "session": self._session,
            "is_read": self._inventory.lora_identities.is_read, **self._tally.to_json(),
        }  # fmt: skip


_TWICE = f"It was tried {ATTEMPTS} times. If this happens again, the job may need more memory than there is."


def lost_reason(worker: str) -> str:
    """Why a job failed whose workers were lost."""
    return (
        f"the worker {worker} was lost while it ran the job, and so was another attempt. The job may need more memory "
        "than there is."
    )


def drain(table: Table, url: str) -> str:
    """Lets the worker of a ComfyUI know that it is to leave; gives its id. Raises `WorkerRefused` if there is none."""
    own = worker_id(url)
    if not table.drain(own):
        known = ", ".join(beat.id for beat in table.workers()) or "none"
        raise WorkerRefused(f"there is no worker {quoted(own)}; known are {known}")
    return own
