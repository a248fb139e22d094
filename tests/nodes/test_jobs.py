"""Work for requests: in few threads, shared by equal requests, dropped when nobody waits any more."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def jobs(pack: ModuleType) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.routes.jobs")


def wait_for(event: threading.Event) -> None:
    assert event.wait(10)


def run(main: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 20))


def here() -> bool:
    return False


def test_equal_requests_share_one_answer(jobs: Any) -> None:
    async def main() -> None:
        queue, calls, gate = jobs.Jobs("test", 1, 10), [], threading.Event()

        def work(is_wanted: Any) -> int:
            calls.append(1)
            wait_for(gate)
            return 7

        asked = [asyncio.ensure_future(queue.do("a", work, here, joins_started=True)) for _ in range(12)]
        await asyncio.sleep(0.05)
        gate.set()
        assert await asyncio.gather(*asked) == [7] * 12
        assert len(calls) == 1
        assert await queue.do("a", work, here, joins_started=True) == 7  # what is done is done anew
        assert len(calls) == 2

    run(main)


def test_a_quick_request_does_not_join_what_began_before_it(jobs: Any) -> None:
    async def main() -> None:
        queue, numbers, gate, started = jobs.Jobs("test", 1, 10), iter(range(9)), threading.Event(), threading.Event()

        def work(is_wanted: Any) -> int:
            number = next(numbers)
            started.set()
            wait_for(gate)
            return number

        first = asyncio.ensure_future(queue.do("a", work, here, joins_started=False))
        await asyncio.to_thread(started.wait, 10)
        others = [asyncio.ensure_future(queue.do("a", work, here, joins_started=False)) for _ in range(3)]
        await asyncio.sleep(0.05)
        gate.set()
        assert [await first, *await asyncio.gather(*others)] == [0, 1, 1, 1]

    run(main)


def test_what_nobody_waits_for_stops_and_what_waits_behind_it_is_dropped(jobs: Any) -> None:
    async def main() -> None:
        queue, gone, ended, started = jobs.Jobs("test", 1, 10), threading.Event(), threading.Event(), threading.Event()

        def long(is_wanted: Any) -> None:
            started.set()
            while is_wanted():
                time.sleep(0.005)
            ended.set()

        running = asyncio.ensure_future(queue.do("long", long, gone.is_set, joins_started=True))
        await asyncio.to_thread(started.wait, 10)
        dropped = asyncio.ensure_future(
            queue.do("dropped", lambda _: pytest.fail("was done"), gone.is_set, joins_started=True)
        )
        kept = asyncio.ensure_future(queue.do("kept", lambda _: "kept", here, joins_started=True))
        await asyncio.sleep(0.05)
        assert not ended.is_set()
        gone.set()
        for asked in (running, dropped):
            with pytest.raises(jobs.Gone):
                await asked
        assert await kept == "kept"
        assert ended.is_set()

    run(main)


def test_one_of_two_callers_that_leaves_takes_nothing_from_the_other(jobs: Any) -> None:
    async def main() -> None:
        queue, gone, gate = jobs.Jobs("test", 1, 10), threading.Event(), threading.Event()

        def work(is_wanted: Any) -> bool:
            wait_for(gate)
            return is_wanted()

        leaving = asyncio.ensure_future(queue.do("a", work, gone.is_set, joins_started=True))
        staying = asyncio.ensure_future(queue.do("a", work, here, joins_started=True))
        await asyncio.sleep(0.05)
        gone.set()
        with pytest.raises(jobs.Gone):
            await leaving
        gate.set()
        assert await staying is True

    run(main)


def test_errors_come_where_the_answer_is_waited_for(jobs: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        queue, gone = jobs.Jobs("test", 1, 10), threading.Event()

        def fail(is_wanted: Any) -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            await queue.do("a", fail, here, joins_started=True)

        def fail_later(is_wanted: Any) -> None:
            while is_wanted():
                time.sleep(0.005)
            raise KeyError("nobody is there to see it")

        asked = asyncio.ensure_future(queue.do("b", fail_later, gone.is_set, joins_started=True))
        await asyncio.sleep(0.05)
        gone.set()
        with pytest.raises(jobs.Gone):
            await asked
        assert await queue.do("c", lambda _: 1, here, joins_started=True) == 1

    run(main)
    assert not caplog.records


def test_more_than_can_wait_is_refused_in_words(jobs: Any) -> None:
    async def main() -> None:
        queue, gate, started = jobs.Jobs("test", 1, 3), threading.Event(), threading.Event()

        def work(is_wanted: Any) -> int:
            started.set()
            wait_for(gate)
            return 1

        asked = [asyncio.ensure_future(queue.do(0, work, here, joins_started=True))]
        await asyncio.to_thread(started.wait, 10)
        asked += [asyncio.ensure_future(queue.do(key, work, here, joins_started=True)) for key in range(1, 4)]
        await asyncio.sleep(0.05)
        with pytest.raises(jobs.Busy, match="ask again in a moment"):
            await queue.do(4, work, here, joins_started=True)
        gate.set()
        assert await asyncio.gather(*asked) == [1, 1, 1, 1]

    run(main)
