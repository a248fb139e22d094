"""What a worker believes that its ComfyUI has loaded, by what ComfyUI itself tells; and how long others give way to it.

A wrong belief costs only time: it decides which job is next, never how it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_MOST = 8


class Warm:
    """Base models, or stacks, that ran on one ComfyUI, the last one first; belongs to one thread.

    ComfyUI keeps what the last prompt has made, and more of it only with much memory or `--cache-lru`; with
    `--cache-none` or after `/free` it keeps nothing. Each run tells: what was cached was kept, what was not was gone.
    """

    def __init__(self) -> None:
        self._ran: list[str] = []
        self._kept = 1
        """Of those that ran, how many are believed to be there still."""
        self._gone = 0
        """How often in a row not even the last one was."""

    @property
    def keys(self) -> Sequence[str]:
        """What is believed to be there, the last one first."""
        return self._ran[: self._kept]

    def ran(self, key: str | None, was_there: bool) -> None:
        """Notes what a job needed, and whether ComfyUI had it still."""
        if key is None:
            return
        if key in self._ran:
            place = self._ran.index(key)
            self._ran.remove(key)
            if was_there:
                self._kept, self._gone = max(self._kept, place + 1), 0
            elif place > 0:
                self._kept = min(self._kept, place)
            else:  # once is somebody's /free, twice is --cache-none
                self._gone += 1
                self._kept = 1 if self._gone == 1 else 0
        self._ran.insert(0, key)
        del self._ran[_MOST:]

    def forget(self) -> None:
        """ComfyUI is gone, and everything with it."""
        self._ran, self._kept, self._gone = [], 1, 0


class Patience:
    """Since when the oldest job of a queue has given way to others, by this machine's clock; belongs to one thread."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: dict[str, tuple[int, float]] = {}

    def is_over(self, queue: str, number: int) -> bool:
        """Whether the order that is now first in its queue has been so for longer than it should give way."""
        now = self._clock()
        first, since = self._since.get(queue, (None, now))
        if first != number:
            since = now
            self._since[queue] = number, now
        return now - since >= self._seconds
