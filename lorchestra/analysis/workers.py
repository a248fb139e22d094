"""Work on the layers of a model one by one, in some threads, whose results come in the order of the layers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

MOST_WORKERS = 8
"""Each has one layer of all LoRAs in memory."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(make: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """`make` of each item, in order; at most two of a worker wait for whoever takes them.

    The products of a layer are too small to be shared between threads, which would wait for each other most of the
    time: each worker computes alone, and together they are as many as PyTorch has threads. What `make` raises is
    raised here; items that nobody has begun are then not made.
    """
    workers = min(MOST_WORKERS, max(1, torch.get_num_threads()), max(1, len(items)))
    coming: deque[Future[_Result]] = deque()
    with _pool(workers) as pool:
        try:
            for item in items:
                coming.append(pool.submit(_quietly, make, item))
                if len(coming) >= 2 * workers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for waiting in coming:
                waiting.cancel()


def _quietly(make: Callable[[_Item], _Result], item: _Item) -> _Result:
    with torch.no_grad():  # is set for each thread
        return make(item)


def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch does not start further ones.

    It has one number for the thread that sets it and for those that have none yet, so it is put back where all are set.
    """
    threads = torch.get_num_threads()
    are_set = threading.Barrier(workers)
    pool = ThreadPoolExecutor(workers, "lorchestra-balance")

    def set_own() -> None:
        torch.set_num_threads(1)
        are_set.wait()

    for setting in [pool.submit(set_own) for _ in range(workers)]:
        setting.result()
    torch.set_num_threads(threads)
    return pool
