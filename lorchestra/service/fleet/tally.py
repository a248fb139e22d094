"""What a worker has done since it began, for `lorchestra status`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ...limits import Json
from ..backend import WARMTHS, Ran

_MINUTE = 60.0


class Tally:
    """Counts of a worker's jobs; one thread adds, and any may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = self._nodes = self._cached = 0
        self._warm: dict[str, int] = dict.fromkeys(WARMTHS, 0)
        self._ends: deque[float] = deque()

    def add(self, ran: Ran) -> None:
        """Counts a job that has ended."""
        self._done += 1
        self._nodes += ran.nodes
        self._cached += ran.cached
        if ran.warm is not None:
            self._warm[ran.warm] += 1
        self._ends.append(self._clock())
        while self._ends and self._ends[0] < self._clock() - _MINUTE:
            self._ends.popleft()

    def to_json(self) -> dict[str, Json]:
        """Jobs in all and in the last minute, nodes of them and how many were cached, and jobs by what was loaded."""
        since = self._clock() - _MINUTE
        lately = sum(1 for end in tuple(self._ends) if end >= since)
        return {
            "done": self._done, "last_minute": lately, "nodes": self._nodes, "nodes_cached": self._cached,
            "by_warm": dict(self._warm),
        }  # fmt: skip
