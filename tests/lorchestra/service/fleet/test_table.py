"""The table that door and workers share: each order is taken once, and comes back once."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from support.production import Running, postgresql

from lorchestra.service.fleet.table import ENDED, ROUTE, WAITING, Order, Table, TableError

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}
DONE = {"files": [], "was_canceled": False, "failure": None}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A PostgreSQL, for the tests that are slow."""
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, with no table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fleet.sqlite'}"
    made: str = request.getfixturevalue("server").url
    engine = sa.create_engine(made)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return made


@pytest.fixture
def table(url: str) -> Iterator[Table]:
    made = Table(url)
    made.make()
    yield made
    made.close()


def side_by_side(count: int, work: Callable[[int], object]) -> None:
    """The same in many threads; raises what one of them raises."""
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(work, range(count)))


def test_many_may_begin_at_once(url: str) -> None:
    tables = [Table(url) for _ in range(6)]
    side_by_side(len(tables), lambda number: tables[number].make())
    tables[0].add("a", GRAPH, "any", 0, 10)
    assert tables[1].graph("a") == GRAPH
    for one in tables:
        one.close()


def taken(table: Table, worker: str, *queues: str) -> Order:
    found = table.claim(worker, queues)
    assert found
    return found[0]


def test_higher_priorities_first_then_the_older(table: Table) -> None:
    for job, priority in (("a", 0), ("b", 5), ("c", 5), ("d", -1)):
        table.add(job, GRAPH, "any", priority, 10)
    table.add("e", GRAPH, "base.x", 9, 10)
    assert [job for job, *_ in table.open_orders()] == ["e", "b", "c", "a", "d"]
    assert [taken(table, "w", "any").job for _ in range(4)] == ["b", "c", "a", "d"]
    assert table.claim("w", ("any",)) is None
    order, queue = table.claim("w", ("any", "base.x")) or (None, None)
    assert order and (order.job, order.graph, order.attempt, queue) == ("e", GRAPH, 1, "base.x")


def test_callers_take_turns_within_a_priority(table: Table) -> None:
    for number in range(6):
        table.add(f"a{number}", GRAPH, "any", 0, 10, caller="a")
    assert [taken(table, "w", "any").job for _ in range(2)] == ["a0", "a1"]
    for job, caller, priority in (("b0", "b", 0), ("b1", "b", 0), ("c0", "", 0), ("a9", "a", 5), ("b9", "b", 5)):
        table.add(job, GRAPH, "any", priority, 10, caller=caller)
    order = ["a9", "b9", "a2", "b0", "c0", "a3", "b1", "a4", "a5"]
    assert [job for job, state, *_ in table.open_orders() if state == WAITING] == order
    assert [taken(table, "w", "any").job for _ in order] == order


WARM = (
    # what waits, (queue, priority, stack); what was claimed first, elsewhere; overdue numbers; the order of the rest
    ((("x", 0, "s"), ("x", 0, "t"), ("x", 0, "s"), ("x", 0, "t")), (), (), "bdac"),
    ((("x", 0, "s"), ("x", 0, "t"), ("x", 5, "s"), ("x", 0, "t")), (), (), "cbda"),
    ((("x", 0, "s"), ("x", 0, "t"), ("x", 0, "s"), ("x", 0, "t")), (), (1,), "abdc"),
    ((("y", 0, "s"), ("x", 0, "s"), ("x", 0, None), ("y", 0, "t")), (), (), "dbca"),
    ((("y", 0, "s"), ("x", 0, "u")), (), (1,), "ab"),
    ((("y", 9, "s"), ("x", 0, "t")), (), (), "ab"),
    ((("x", 0, "s"), ("x", 0, "s"), ("x", 0, "u"), ("y", 0, "v")), ("s",), (), "cbd"),
)


@pytest.mark.parametrize(
    ("orders", "running", "overdue", "expected"), WARM,
    ids=["stack", "priority", "overdue", "base", "other base overdue", "priority of another base", "others' stacks"],
)  # fmt: skip
def test_the_order_in_which_a_worker_takes_what_waits(
    table: Table, orders: Any, running: Any, overdue: Any, expected: str
) -> None:
    """A worker with the base `x` and the stack `t`, woken for the queue `y`."""
    for job, (queue, priority, stack) in zip("abcdefg", orders, strict=False):
        table.add(job, GRAPH, queue, priority, 10, stack)
    for stack in running:
        assert table.claim("other", ("x",), (stack,))
    found = ""
    while (claimed := table.claim("w", ("x", "y"), ("t",), lambda _, number: number in overdue)) is not None:
        found += claimed[0].job
        table.finish(claimed[0], "w", DONE)
    assert found == expected


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # others plan by how much there is
def test_claims_are_fast_with_many_waiting(table: Table) -> None:
    """No question to the database looks at all that wait."""
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            found = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in found)

    for number in range(3):
        table.add(str(number), GRAPH, "x", number, 10, f"s{number}")
    event.listen(table._engine, "before_cursor_execute", explain)  # pyright: ignore[reportPrivateUsage]
    table.add("last", GRAPH, "x", 1, 10, caller="a")
    assert table.claim("w", ("x", "y"), ("s7",))
    assert len(plans) > 6 and not [plan for plan in plans if "SCAN lorchestra" in plan or "ORDER BY" in plan], plans


def test_an_order_is_taken_by_one_of_many(table: Table) -> None:
    jobs = [str(number) for number in range(40)]
    for job in jobs:
        table.add(job, GRAPH, "any", 0, 10)
    found: list[str] = []

    def work(number: int) -> None:
        while (claimed := table.claim(f"w{number}", ("any",))) is not None:
            found.append(claimed[0].job)
            assert table.finish(claimed[0], f"w{number}", DONE)

    side_by_side(4, work)
    assert sorted(found) == sorted(jobs)
    assert sorted(job for job, _ in table.take_ends()) == sorted(jobs)


def test_a_lost_order_is_run_once_more_and_then_has_failed(table: Table) -> None:
    table.add("a", GRAPH, "any", 0, 10)
    first = taken(table, "w1", "any")
    assert table.lose("a", "w2", 2, "lost") is None, "it is another worker's"
    assert table.lose("a", "w1", 2, "lost") == WAITING
    assert table.open_orders() == [("a", WAITING, ROUTE, None)]
    assert table.move("a", "any")
    second = taken(table, "w1", "any")
    assert (first.attempt, second.attempt) == (1, 2)
    assert not table.finish(first, "w1", DONE), "what the first attempt made comes too late"
    assert table.lose("a", "w1", 2, "lost twice") == ENDED
    assert table.take_ends() == [("a", {"files": [], "was_canceled": False, "failure": {"message": "lost twice"}})]
    assert table.take_ends() == [] and not table.finish(second, "w1", DONE)


def test_what_a_worker_cannot_run_is_no_attempt(table: Table) -> None:
    table.add("a", GRAPH, "any", 0, 10)
    table.put_back(taken(table, "w", "any"), "w")
    table.move("a", "any")
    assert taken(table, "w", "any").attempt == 1


def test_an_order_remembers_where_it_was_begun(table: Table) -> None:
    table.add("a", GRAPH, "any", 0, 10)
    first = taken(table, "w1", "any")
    assert first.begun is None and table.begin(first, "w1", "http://one")
    assert table.lose("a", "w1", 2, "lost") == WAITING
    table.move("a", "any")
    assert not table.begin(first, "w1", "http://late"), "it is another worker's by now"
    second = taken(table, "w2", "any")
    assert second.begun == "http://one" and not table.begin(first, "w1", "http://late")
    table.put_back(second, "w2")
    assert table.begin(second, "w2", "http://two") is False
    assert table.find_orders(["a", "b"]) == [("a", WAITING, "http://one")]


@pytest.mark.parametrize("hours", [-26, -1, 1])
def test_the_clock_of_the_door_says_how_long_results_are_kept(
    table: Table, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    table.add("a", GRAPH, "any", 0, 10)
    now = time.time()
    with monkeypatch.context() as worker:
        worker.setattr("lorchestra.service.fleet.table.time.time", lambda: now + 3600 * hours)
        assert table.finish(taken(table, "w", "any"), "w", DONE)
    assert table.expired(now + 1e6) == [], "the door has not taken it yet"
    assert [job for job, _ in table.take_ends()] == ["a"]
    assert table.expired(now - 60) == [] and table.expired(now + 60) == ["a"]


def test_a_database_of_the_version_before_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        old.execute(
            "CREATE TABLE lorchestra_orders (number INTEGER NOT NULL PRIMARY KEY, job VARCHAR(36) NOT NULL UNIQUE, "
            "state VARCHAR(10) NOT NULL, queue VARCHAR(300) NOT NULL, priority INTEGER NOT NULL, graph BLOB NOT NULL, "
            "seconds FLOAT NOT NULL, attempt INTEGER NOT NULL, worker VARCHAR(200), is_canceled BOOLEAN NOT NULL, "
            '"end" TEXT, is_told BOOLEAN NOT NULL, ended FLOAT)'
        )
        old.execute(
            "INSERT INTO lorchestra_orders VALUES (7, 'a', 'waiting', 'any', 0, ?, 10, 1, NULL, 0, NULL, 0, NULL)",
            (zlib.compress(b'{"1": {}}'),),
        )
    table = Table(f"sqlite:///{path}")
    side_by_side(2, lambda _: table.make())  # door and workers come at once
    table.make()
    order = taken(table, "w", "any")
    assert (order.job, order.graph, order.attempt, order.begun) == ("a", {"1": {}}, 2, None)
    assert table.begin(order, "w", "http://one")
    table.add("b", GRAPH, "any", 0, 10, "stack")
    assert taken(table, "w", "any").job == "b"


def test_any_text_is_kept(table: Table) -> None:
    """Also what databases are particular about: NUL, halves of characters, and much of it."""
    odd = "\0 \ud83d ü 🎨 ' \" \\ %s :x " * 2000
    graph = {"1": {"class_type": odd, "inputs": {odd: odd}}}
    table.add("a", graph, "any", 0, 10)
    order = taken(table, "w", "any")
    assert order.graph == graph == table.graph("a")
    end = DONE | {"failure": {"message": odd}}
    table.tell([{"kind": odd}, {"kind": "started", "data": "A" * 3_000_000}])
    assert [one["kind"] for one in table.take_signals()] == [odd, "started"] and table.take_signals() == []
    table.join("w" * 150, 2**31, {"url": odd}, "k" * 64, bytes(range(256)) * 4000)
    assert [(one.id, one.beat, one.facts) for one in table.workers()] == [("w" * 150, 2**31, {"url": odd})]
    assert table.finish(order, "w", end) and table.find_end("a") == (ENDED, end)


def test_numbers_do_not_run_out(table: Table, url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        text = 'INSERT INTO lorchestra_signals (number, data) VALUES (8000000000, \'{"kind": "late"}\')'
        connection.execute(sa.text(text))
    engine.dispose()
    table.join("w", 8_000_000_000, {}, "key", b"")
    assert table.take_signals() == [{"kind": "late"}] and table.workers()[0].beat == 8_000_000_000


def test_canceling(table: Table) -> None:
    table.add("a", GRAPH, "any", 0, 10)
    table.add("b", GRAPH, "any", 0, 10)
    order = taken(table, "w", "any")
    assert (table.cancel("a"), table.cancel("b"), table.cancel("b"), table.cancel("c")) == (
        "running", "waiting", None, None,
    )  # fmt: skip
    table.join("w", 1, {}, "key", b"")
    assert table.beat("w", 2, "ready", "a", {}) == ("ready", True)
    assert table.lose("a", "w", 2, "lost") == ENDED, "nobody wants it any more"
    assert table.find_end("a")[1] == {"files": [], "was_canceled": True, "failure": None}
    assert not table.finish(order, "w", DONE)


def test_a_database_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(TableError, match=r"broken\.sqlite cannot be used \(file is not a database"):
        Table(f"sqlite:///{tmp_path / 'broken.sqlite'}").make()
    with pytest.raises(TableError, match="the database cannot be used"):
        Table("nonsense")
