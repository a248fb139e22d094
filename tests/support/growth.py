"""How the time of a parser grows with its text: of its own processor time, so that a busy machine changes nothing."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator

from lorchestra.errors import LorchestraError

MOST_RATIO = 15
"""Of the times for a text and for one of ten times its length: 10 for a linear parser, 100 for a quadratic one."""
SHORTEST = 0.0005
"""Seconds; shorter times are mostly those of calls, and count as this."""


def seconds(work: Callable[[str], object], text: str, times: int = 2) -> float:
    """The shortest of some runs; errors of ours are an answer like any other."""
    found: list[float] = []
    gc.disable()
    try:
        for _ in range(times):
            begun = time.process_time()
            with contextlib.suppress(LorchestraError):
                work(text)
            found.append(time.process_time() - begun)
    finally:
        gc.enable()
    return min(found)


def growth(work: Callable[[str], object], text: Callable[[int], str], size: int) -> float:
    """The time for ten times `size` over the one for `size`; the lowest of a few tries, where it is too high."""
    small, large = text(size), text(10 * size)
    return next((ratio for ratio in _ratios(work, small, large) if ratio <= MOST_RATIO), MOST_RATIO + 1)


def _ratios(work: Callable[[str], object], small: str, large: str) -> Iterator[float]:
    for _ in range(8):
        yield seconds(work, large, 2) / max(seconds(work, small, 2), SHORTEST)
