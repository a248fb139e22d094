"""Which layers ran at which weights: what a model keeps from an earlier call has the weights of that call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Weights = Sequence[tuple[float, float]]
"""For each entry, on the positive and on the negative conditioning."""


class Seen:
    """The layers of one run, by their places.

    A layer that ran, and then did not run any more while other weights held, was perhaps not needed; or the model, or
    another node, kept what it had made. Nobody can tell from outside, so it is told.
    """

    def __init__(self, used: Mapping[int, frozenset[int]]) -> None:
        self._used = used
        """Place → the entries that change the layer."""
        self.now: set[int] = set()
        """What ran at the weights that hold now."""
        self.before: set[int] = set()
        """What ran before the first step."""
        self._is_before = False
        self._weights: Weights | None = None
        self._last: dict[int, Weights] = {}
        self._stale: set[int] = set()

    def prepare(self) -> None:
        """What runs until the next `turn` runs before the first step."""
        self._is_before = True

    def turn(self, weights: Weights) -> None:
        """A call at these weights begins."""
        if self._is_before:
            self._is_before = False
            self.before |= self.now
            self.now.clear()
        if weights != self._weights:
            self._close()
            self._weights = weights

    def stale(self) -> list[int]:
        """What did not run at weights that were other ones than those at which it had run. The run is over."""
        self._close()
        self._weights = None
        return sorted(self._stale)

    def once(self) -> list[int]:
        """What ran before the first step and not in the steps, at weights that were other ones later."""
        return sorted(self.before - self._last.keys())

    def _close(self) -> None:
        weights = self._weights
        if weights is None:
            return
        for place, last in self._last.items():
            if place not in self.now and any(last[entry] != weights[entry] for entry in self._used[place]):
                self._stale.add(place)
        self._last.update(dict.fromkeys(self.now, weights))
        self.now.clear()
