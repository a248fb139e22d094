"""What the door and all workers share: orders, workers, and what running jobs tell, in any database of SQLAlchemy.

Celery only wakes workers; which job one takes, this table says, in one statement that two workers cannot both win. So
an order is run once however often it is delivered, and what a broker loses is not lost.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event, exc

from ...errors import shortened
from ...files import json_steps
from ...limits import Json
from ..backend import Graph
from ..store import StoreError

WAITING, RUNNING, ENDED = "waiting", "running", "ended"
READY, AWAY, DRAINING = "ready", "away", "draining"
"""Of a worker: its ComfyUI answers, or does not; it leaves when its job is done."""
REPLACED = "replaced"
"""Of a worker whose place another process has taken."""
ROUTE = "route"
"""The queue of orders that the door is to route again."""
_BUSY_SECONDS = 20.0
_BEGINS, _BEGIN_SECONDS = 20, 0.1
"""How often the tables are made if others make them too, and the longest pause between."""
_LIBPQ: dict[str, Any] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}  # fmt: skip
"""So that a PostgreSQL whose machine is gone is an error in half a minute, and not a wait of a quarter of an hour."""

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Forty workers that tell what they do have used up 32 bits in some months."""

_META = sa.MetaData()
_ORDERS = sa.Table(
    "lorchestra_orders", _META,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(36), nullable=False, unique=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("queue", sa.String(300), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("graph", sa.LargeBinary, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("worker", sa.String(200)),
    sa.Column("is_canceled", sa.Boolean, nullable=False),
    sa.Column("end", sa.Text),
    sa.Column("is_told", sa.Boolean, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("stack", sa.String(32)),
    sa.Column("begun", sa.String(500)),
    sa.Column("caller", sa.String(64)),
    sa.Column("turn", sa.Integer, nullable=False, server_default="0"),
)  # fmt: skip
sa.Index(
    "lorchestra_orders_in_turn", _ORDERS.c.state, _ORDERS.c.queue, _ORDERS.c.priority.desc(), _ORDERS.c.turn,
    _ORDERS.c.number, _ORDERS.c.stack,
)  # fmt: skip
sa.Index(
    "lorchestra_orders_warm", _ORDERS.c.state, _ORDERS.c.queue, _ORDERS.c.stack, _ORDERS.c.priority, _ORDERS.c.turn,
    _ORDERS.c.number,
)  # fmt: skip
sa.Index("lorchestra_orders_turns", _ORDERS.c.state, _ORDERS.c.priority, _ORDERS.c.turn)
sa.Index("lorchestra_orders_callers", _ORDERS.c.state, _ORDERS.c.priority, _ORDERS.c.caller, _ORDERS.c.turn)
_WORKERS = sa.Table(
    "lorchestra_workers", _META,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("job", sa.String(36)),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("info_key", sa.String(64), nullable=False),
    sa.Column("info", sa.LargeBinary, nullable=False),
)  # fmt: skip
_SIGNALS = sa.Table(
    "lorchestra_signals", _META,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("data", sa.Text, nullable=False),
)  # fmt: skip
_WORDS = sa.Table(
    "lorchestra_words", _META,
    sa.Column("name", sa.String(50), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip


class TableError(StoreError):
    """The database cannot be used."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job as a worker takes it."""

    job: str
    graph: Graph
    attempt: int
    """From 1."""
    seconds: float
    """The longest that it may run."""
    begun: str | None = None
    """The address of the ComfyUI where an attempt before this one began it; None if none did."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker as it said last; `beat` counts, so that nobody's clock matters."""

    id: str
    beat: int
    state: str
    job: str | None
    facts: Mapping[str, Any]
    info_key: str


class Table:
    """The database; safe for threads. Every method raises `TableError`."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.engine.make_url(url)
            is_sqlite = parsed.get_backend_name() == "sqlite"
            connect = {"timeout": _BUSY_SECONDS} if is_sqlite else _LIBPQ if "psycopg" in parsed.drivername else {}
            self._engine = sa.create_engine(parsed, pool_pre_ping=not is_sqlite, connect_args=connect)
        except (exc.ArgumentError, ImportError) as error:
            raise TableError(f"the database cannot be used: {error}") from error
        self.name = parsed.render_as_string(hide_password=True)
        if is_sqlite:
            event.listen(self._engine, "connect", _prepare)

    def make(self) -> None:
        """Makes what is missing; tables of an older version get the columns and indexes that they lack."""
        with self._begun():  # one that cannot be reached is not asked again
            pass
        for left in reversed(range(_BEGINS)):
            try:
                with self._begun() as connection:
                    _make(connection)
                return
            except TableError:  # door and workers may begin at once, and another was faster with one of the tables
                if not left:
                    raise
                time.sleep(_BEGIN_SECONDS * random.random())

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    # The door's.

    def add(
        self,
        job: str,
        graph: Graph,
        queue: str,
        priority: int,
        seconds: float,
        stack: str | None = None,
        caller: str = "",
    ) -> int:
        """Adds an order, whose graph loads a `stack`; gives its number.

        Of one priority, callers take turns: an order stands behind its caller's others, and else where those begin that
        wait now. So one that sends a single job is not behind the thousands of another.
        """
        packed = zlib.compress(json_steps.write(dict(graph)).encode("utf-8", "surrogatepass"), 1)
        values = {
            "job": job, "state": WAITING, "queue": queue, "priority": priority, "graph": packed, "seconds": seconds,
            "attempt": 0, "is_canceled": False, "is_told": False, "stack": stack, "caller": caller,
        }  # fmt: skip
        same = sa.and_(_ORDERS.c.state == WAITING, _ORDERS.c.priority == priority)
        first = sa.select(sa.func.min(_ORDERS.c.turn)).where(same)
        last = sa.select(sa.func.max(_ORDERS.c.turn)).where(same, _ORDERS.c.caller == caller)
        with self._begun() as connection:
            begins, own = connection.execute(first).scalar(), connection.execute(last).scalar()
            values["turn"] = max(begins or 0, 0 if own is None else own + 1)
            key: Any = connection.execute(sa.insert(_ORDERS).values(values)).inserted_primary_key
            return int(key[0])

    def cancel(self, job: str) -> str | None:
        """Ends an order that waits (`waiting`), or marks one that runs (`running`); None if it does neither."""
        own = _ORDERS.c.job == job
        with self._begun() as connection:
            waiting = sa.update(_ORDERS).where(own, _ORDERS.c.state == WAITING)
            if connection.execute(waiting.values(**_ended(_CANCELED, is_told=True))).rowcount:
                return WAITING
            running = sa.update(_ORDERS).where(own, _ORDERS.c.state == RUNNING)
            return RUNNING if connection.execute(running.values(is_canceled=True)).rowcount else None

    def open_orders(self) -> list[tuple[str, str, str, str | None]]:
        """(job, state, queue, worker) of all that wait or run, in the order in which they are taken."""
        columns = (_ORDERS.c.job, _ORDERS.c.state, _ORDERS.c.queue, _ORDERS.c.worker)
        query = sa.select(*columns).where(_ORDERS.c.state.in_((WAITING, RUNNING)))
        query = query.order_by(*_IN_TURN)
        with self._begun() as connection:
            return [(job, state, queue, worker) for job, state, queue, worker in connection.execute(query)]

    def find_end(self, job: str) -> tuple[str | None, dict[str, Any] | None]:
        """State and end of an order; None and None if there is none."""
        query = sa.select(_ORDERS.c.state, _ORDERS.c.end).where(_ORDERS.c.job == job)
        with self._begun() as connection:
            found = connection.execute(query).first()
        return (None, None) if found is None else (found[0], json.loads(found[1]) if found[1] else None)

    def take_ends(self, count: int = 200) -> list[tuple[str, dict[str, Any]]]:
        """Ends that were not told yet, by job; they are told then, and the door's clock says when they ended."""
        query = sa.select(_ORDERS.c.job, _ORDERS.c.end).where(_ORDERS.c.state == ENDED, _ORDERS.c.is_told.is_(False))
        with self._begun() as connection:
            found = [
                (job, json.loads(end)) for job, end in connection.execute(query.order_by(_ORDERS.c.ended).limit(count))
            ]
            if found:
                told = sa.update(_ORDERS).where(_ORDERS.c.job.in_([job for job, _ in found]))
                connection.execute(told.values(is_told=True, ended=time.time()))
        return found

    def take_signals(self, count: int = 500) -> list[dict[str, Any]]:
        """What jobs have told, in its order."""
        with self._begun() as connection:
            query = sa.select(_SIGNALS.c.number, _SIGNALS.c.data).order_by(_SIGNALS.c.number).limit(count)
            found = list(connection.execute(query))
            if found:
                connection.execute(sa.delete(_SIGNALS).where(_SIGNALS.c.number.in_([number for number, _ in found])))
        return [json.loads(data) for _, data in found]

    def graph(self, job: str) -> Graph | None:
        """The graph of an order."""
        with self._begun() as connection:
            found = connection.execute(sa.select(_ORDERS.c.graph).where(_ORDERS.c.job == job)).scalar()
        return None if found is None else _graph(found)

    def move(self, job: str, queue: str) -> bool:
        """Puts an order that waits into another queue."""
        own = sa.and_(_ORDERS.c.job == job, _ORDERS.c.state == WAITING)
        with self._begun() as connection:
            return bool(connection.execute(sa.update(_ORDERS).where(own).values(queue=queue)).rowcount)

    def lose(self, job: str, worker: str, most: int, reason: str) -> str | None:
        """An order whose worker is gone waits again, or has failed after so many attempts; says which, or None."""
        own = sa.and_(_ORDERS.c.job == job, _ORDERS.c.state == RUNNING, _ORDERS.c.worker == worker)
        with self._begun() as connection:
            again = sa.update(_ORDERS).where(own, _ORDERS.c.attempt < most, _ORDERS.c.is_canceled.is_(False))
            if connection.execute(again.values(state=WAITING, worker=None, queue=ROUTE)).rowcount:
                return WAITING
            canceled = sa.update(_ORDERS).where(own, _ORDERS.c.is_canceled.is_(True))
            if connection.execute(canceled.values(**_ended(_CANCELED))).rowcount:
                return ENDED
            failed = sa.update(_ORDERS).where(own).values(**_ended(_failed(reason)))
            return ENDED if connection.execute(failed).rowcount else None

    def fail(self, job: str, reason: str) -> None:
        """An order that waits has failed."""
        own = sa.and_(_ORDERS.c.job == job, _ORDERS.c.state == WAITING)
        with self._begun() as connection:
            connection.execute(sa.update(_ORDERS).where(own).values(**_ended(_failed(reason))))

    def expired(self, before: float, count: int = 200) -> list[str]:
        """Jobs whose ends the door took before a moment of its clock."""
        told = (_ORDERS.c.state == ENDED, _ORDERS.c.is_told.is_(True), _ORDERS.c.ended < before)
        query = sa.select(_ORDERS.c.job).where(*told).limit(count)
        with self._begun() as connection:
            return list(connection.execute(query).scalars())

    def remove(self, jobs: Sequence[str]) -> None:
        """Forgets orders."""
        with self._begun() as connection:
            connection.execute(sa.delete(_ORDERS).where(_ORDERS.c.job.in_(jobs)))

    def workers(self) -> list[Beat]:
        """All workers that there are or were."""
        columns = (
            _WORKERS.c.id, _WORKERS.c.beat, _WORKERS.c.state, _WORKERS.c.job, _WORKERS.c.facts, _WORKERS.c.info_key
        )  # fmt: skip
        with self._begun() as connection:
            found = list(connection.execute(sa.select(*columns).order_by(_WORKERS.c.id)))
        return [Beat(own, beat, state, job, json.loads(facts), key) for own, beat, state, job, facts, key in found]

    def info(self, worker: str) -> tuple[dict[str, Json], dict[str, Json]]:
        """The `/object_info` of a worker's ComfyUI, and what is known of its files."""
        with self._begun() as connection:
            found = connection.execute(sa.select(_WORKERS.c.info).where(_WORKERS.c.id == worker)).scalar()
        packed: list[dict[str, Json]] = json.loads(zlib.decompress(found)) if found else [{}, {}]
        return packed[0], packed[1]

    def remove_worker(self, worker: str) -> None:
        """Forgets a worker."""
        with self._begun() as connection:
            connection.execute(sa.delete(_WORKERS).where(_WORKERS.c.id == worker))

    # A worker's.

    def join(
        self, worker: str, beat: int, facts: Mapping[str, Json], info_key: str, info: bytes, state: str = READY
    ) -> None:
        """Says what a worker has; `info` is packed."""
        values: dict[str, Any] = {
            "beat": beat, "state": state, "job": None, "facts": json.dumps(facts), "info_key": info_key, "info": info,
        }  # fmt: skip
        with self._begun() as connection:
            own = _WORKERS.c.id == worker
            if not connection.execute(sa.update(_WORKERS).where(own).values(**values)).rowcount:
                connection.execute(sa.insert(_WORKERS).values(id=worker, **values))

    def beat(
        self, worker: str, beat: int, state: str, job: str | None, facts: Mapping[str, Json]
    ) -> tuple[str | None, bool]:
        """Says that a worker lives.

        Gives the state that is in the table, `draining` if somebody wants it to leave, None if it was forgotten and
        `replaced` if another process says now that it is this worker; and whether its job is to be canceled.
        """
        own = _WORKERS.c.id == worker
        with self._begun() as connection:
            row = connection.execute(sa.select(_WORKERS.c.state, _WORKERS.c.facts).where(own)).first()
            found = None if row is None else row[0]
            if row is not None and json.loads(row[1]).get("session") != facts.get("session"):
                return REPLACED, False
            kept = DRAINING if found == DRAINING else state
            values = {"beat": beat, "state": kept, "job": job, "facts": json.dumps(facts)}
            connection.execute(sa.update(_WORKERS).where(own).values(**values))
            query = sa.select(_ORDERS.c.is_canceled).where(_ORDERS.c.job == (job or ""))
            return found, bool(connection.execute(query).scalar())

    def drain(self, worker: str) -> bool:
        """Lets a worker know that it is to leave when its job is done; False if there is no such worker."""
        with self._begun() as connection:
            done = connection.execute(sa.update(_WORKERS).where(_WORKERS.c.id == worker).values(state=DRAINING))
            return bool(done.rowcount)

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        stacks: Sequence[str] = (),
        is_overdue: Callable[[str, int], bool] = lambda _queue, _number: False,
    ) -> tuple[Order, str] | None:
        """Takes the next order of these queues, and says of which; None if none waits.

        Of the highest priority that waits: the first of a queue if it is overdue, asked with its number; else one of
        the first of these `stacks` that has one; else of the first queue that has any, where what nobody runs now goes
        before the stacks that others have loaded.
        """
        with self._begun() as connection:
            while (found := self._next(connection, list(dict.fromkeys(queues)), stacks, is_overdue)) is not None:
                number, queue = found
                own = sa.and_(_ORDERS.c.number == number, _ORDERS.c.state == WAITING, _ORDERS.c.queue == queue)
                values: dict[str, Any] = {"state": RUNNING, "worker": worker, "attempt": _ORDERS.c.attempt + 1}
                if connection.execute(sa.update(_ORDERS).where(own).values(**values)).rowcount:
                    columns = [_ORDERS.c[name] for name in ("job", "graph", "attempt", "seconds", "begun")]
                    taken: Any = connection.execute(sa.select(*columns).where(_ORDERS.c.number == number)).one()
                    return Order(taken[0], _graph(taken[1]), taken[2], taken[3], taken[4]), queue
        return None

    def _next(
        self,
        connection: sa.Connection,
        queues: Sequence[str],
        stacks: Sequence[str],
        is_overdue: Callable[[str, int], bool],
    ) -> tuple[int, str] | None:
        """Each question is a look into an index, however many wait."""
        first: dict[str, tuple[int, int]] = {}
        for queue in queues:
            columns = sa.select(_ORDERS.c.priority, _ORDERS.c.number).where(*_waits(queue))
            found = connection.execute(columns.order_by(*_IN_TURN).limit(1)).first()
            if found is not None:
                first[queue] = found[0], found[1]
        if not first:
            return None
        highest = max(priority for priority, _ in first.values())
        candidates = {queue: number for queue, (priority, number) in first.items() if priority == highest}
        overdue = [(number, queue) for queue, number in candidates.items() if is_overdue(queue, number)]
        if overdue:
            return min(overdue)
        columns = sa.select(_ORDERS.c.number)
        for stack in stacks:
            for queue in candidates:
                same = sa.and_(*_waits(queue), _ORDERS.c.priority == highest, _ORDERS.c.stack == stack)
                number = connection.execute(columns.where(same).order_by(*_IN_TURN[1:]).limit(1)).scalar()
                if number is not None:
                    return number, queue
        running = sa.select(_ORDERS.c.stack).where(_ORDERS.c.state == RUNNING, _ORDERS.c.stack.is_not(None))
        others = list(connection.execute(running.distinct()).scalars())
        queue = next(iter(candidates))
        new = sa.and_(*_waits(queue), _ORDERS.c.priority == highest)
        new = sa.and_(new, _ORDERS.c.stack.is_(None) | _ORDERS.c.stack.not_in(others))
        number = connection.execute(columns.where(new).order_by(*_IN_TURN[1:]).limit(1)).scalar()
        return candidates[queue] if number is None else number, queue

    def count(self, queue: str) -> int:
        """Orders that wait in a queue."""
        waits = sa.and_(_ORDERS.c.state == WAITING, _ORDERS.c.queue == queue)
        with self._begun() as connection:
            return cast("int", connection.execute(sa.select(sa.func.count()).where(waits)).scalar())

    def put_back(self, order: Order, worker: str) -> None:
        """An order that its worker cannot run waits again, to be routed anew; that was no attempt."""
        with self._begun() as connection:
            values: dict[str, Any] = {"state": WAITING, "worker": None, "queue": ROUTE, "attempt": order.attempt - 1}
            connection.execute(sa.update(_ORDERS).where(*_held(order, worker)).values(**values))

    def begin(self, order: Order, worker: str, url: str) -> bool:
        """Says at which ComfyUI an order is begun; False if it is not this worker's any more, and another runs it."""
        with self._begun() as connection:
            begun = sa.update(_ORDERS).where(*_held(order, worker)).values(begun=url)
            return bool(connection.execute(begun).rowcount)

    def find_orders(self, jobs: Sequence[str]) -> list[tuple[str, str, str | None]]:
        """(job, state, where it was begun) of these jobs, without those that are no orders."""
        columns = (_ORDERS.c.job, _ORDERS.c.state, _ORDERS.c.begun)
        with self._begun() as connection:
            found = connection.execute(sa.select(*columns).where(_ORDERS.c.job.in_(jobs)))
            return [(job, state, begun) for job, state, begun in found]

    def finish(self, order: Order, worker: str, end: Mapping[str, Json]) -> bool:
        """Says how an order ended; False if it is not this worker's any more, and another runs it."""
        with self._begun() as connection:
            done = sa.update(_ORDERS).where(*_held(order, worker)).values(**_ended(end))
            return bool(connection.execute(done).rowcount)

    def held(self, worker: str) -> list[str]:
        """Jobs that a worker has not finished."""
        query = sa.select(_ORDERS.c.job).where(_ORDERS.c.state == RUNNING, _ORDERS.c.worker == worker)
        with self._begun() as connection:
            return list(connection.execute(query).scalars())

    def tell(self, signals: Sequence[Mapping[str, Json]]) -> None:
        """Lets the door know what jobs tell."""
        if signals:
            with self._begun() as connection:
                connection.execute(sa.insert(_SIGNALS), [{"data": json.dumps(signal)} for signal in signals])

    # Both's.

    def keep_word(self, name: str, value: str) -> None:
        """Keeps a word for all."""
        with self._begun() as connection:
            connection.execute(sa.delete(_WORDS).where(_WORDS.c.name == name))
            connection.execute(sa.insert(_WORDS).values(name=name, value=value))

    def find_word(self, name: str) -> str | None:
        """A word that is kept for all."""
        with self._begun() as connection:
            return connection.execute(sa.select(_WORDS.c.value).where(_WORDS.c.name == name)).scalar()

    @contextlib.contextmanager
    def _begun(self) -> Generator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise TableError(f"the database {self.name} cannot be used ({shortened(str(cause), 300)})") from error


def _make(connection: sa.Connection) -> None:
    _META.create_all(connection)
    found = sa.inspect(connection)
    for table in _META.sorted_tables:
        known = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                added = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {added}"))
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def pack_info(info: Mapping[str, Json], files: Mapping[str, Json]) -> bytes:
    """`/object_info` and what is known of files, as they are kept."""
    return zlib.compress(json.dumps([info, files], sort_keys=True).encode(), 6)


def _graph(packed: bytes) -> Graph:
    return json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))


def _ended(end: Mapping[str, Json], is_told: bool = False) -> dict[str, Any]:
    """The moment is only good for an order as long as it is not told: a worker's clock may be wrong."""
    return {"state": ENDED, "end": json.dumps(end), "ended": time.time(), "is_told": is_told, "graph": _EMPTY}


_CANCELED: Mapping[str, Json] = {"files": [], "was_canceled": True, "failure": None}


def _failed(reason: str) -> Mapping[str, Json]:
    return {"files": [], "was_canceled": False, "failure": {"message": reason}}


_IN_TURN = (_ORDERS.c.priority.desc(), _ORDERS.c.turn, _ORDERS.c.number)
_EMPTY = zlib.compress(b"{}", 1)
"""An order that ended needs its graph no more: the door has it."""


def _waits(queue: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _ORDERS.c.state == WAITING, _ORDERS.c.queue == queue


def _held(order: Order, worker: str) -> tuple[sa.ColumnElement[bool], ...]:
    """The order, while it is the worker's and of this attempt."""
    return (
        _ORDERS.c.job == order.job, _ORDERS.c.state == RUNNING, _ORDERS.c.worker == worker,
        _ORDERS.c.attempt == order.attempt,
    )  # fmt: skip


def _prepare(connection: Any, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
