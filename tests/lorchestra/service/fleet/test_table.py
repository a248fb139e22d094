"""The table that door and workers share: each order is taken once, and comes back once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lorchestra.service.fleet.table import ENDED, ROUTE, WAITING, Order, Table, TableError

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}
DONE = {"files": [], "was_canceled": False, "failure": None}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Table(f"sqlite:///{tmp_path / 'fleet.sqlite'}")
    made.make()
    return made


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


def test_an_order_is_taken_by_one_of_many(table: Table) -> None:
    jobs = [str(number) for number in range(40)]
    for job in jobs:
        table.add(job, GRAPH, "any", 0, 10)
    found: list[str] = []

    def work(worker: str) -> None:
        while (claimed := table.claim(worker, ("any",))) is not None:
            found.append(claimed[0].job)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(jobs)


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
