"""Work off the event loop: some threads of the service's own, and a bound on what may wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from .http import Refusal

Given = ParamSpec("Given")
Value = TypeVar("Value")

_THREADS = 4
_MOST_WAITING = 2000


class Threads:
    """A few threads; used from one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "lorchestra-service")
        self._waiting = 0

    async def run(self, work: Callable[Given, Value], *given: Given.args, **named: Given.kwargs) -> Value:
        """What `work` gives, or raises, in a thread; raises `Refusal` (503) if too much waits."""
        if self._waiting >= _MOST_WAITING:
            raise Refusal(503, "busy", "too many requests wait for an answer.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: work(*given, **named))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Ends the threads when their work is done; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
