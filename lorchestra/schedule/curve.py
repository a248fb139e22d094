"""The Curve: keyframes of one addressing, and the weight between them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NoReturn

from ..errors import ScheduleError, quoted
from ..limits import WEIGHT_LIMIT
from .easing import EASINGS, HOLD, LINEAR, find_easing, shape
from .steps import MAX_SIGMA, MAX_STEPS, Moment

By = Literal["progress", "step", "sigma"]
"""What keyframes are placed by."""

MAX_KEYFRAMES = 1000
"""Of one curve, and of one schedule."""
MAX_CURVES = 100
"""Most factors of one schedule."""


@dataclass(frozen=True, slots=True)
class Addressing:
    """One way to say when."""

    by: By
    lowest: float
    highest: float
    forward: int
    """1 when positions grow during a run, -1 when they fall."""
    sentence: str
    """What a position outside the limits is told."""


ADDRESSINGS = (
    Addressing("progress", 0, 1, 1, "progress lies in 0 … 1 (or 0% … 100%)"),
    Addressing("step", 1, MAX_STEPS + 1, 1, f"steps count from 1, and a run has at most {MAX_STEPS:,}"),
    Addressing("sigma", 0, MAX_SIGMA, -1, f"sigmas lie in 0 … {MAX_SIGMA:g}"),
)
_BY = {addressing.by: addressing for addressing in ADDRESSINGS}


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A weight at a position."""

    position: float
    """Progress 0 … 1; or a step number from 1, which means the start of that step; or a sigma."""
    weight: float
    """-100 … 100."""
    easing: str = LINEAR
    """How the weight goes from here to the next keyframe: a word of `EASINGS`."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Keyframes in the order of the run.

    Before the first keyframe its weight holds, after the last one its. Two keyframes at one position are a jump: the
    weight goes towards the first of them, and from the position on the second holds. Of sigmas, later ones are lower.
    """

    keyframes: tuple[Keyframe, ...]
    by: By = "progress"
    is_constant: bool = field(init=False, repr=False, compare=False, default=True)
    """True when the weight never changes."""
    highest: float = field(init=False, repr=False, compare=False, default=0.0)
    """The largest weight, without its sign."""
    _places: tuple[float, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        """Raises `ScheduleError`, which numbers the keyframe, for what no curve can be."""
        if self.by not in _BY:
            raise ScheduleError(f"keyframes are placed by {quoted(self.by)}; expected progress, step or sigma")
        if not self.keyframes:
            raise ScheduleError("the schedule has no keyframe")
        if len(self.keyframes) > MAX_KEYFRAMES:
            raise ScheduleError(f"a schedule has at most {MAX_KEYFRAMES:,} keyframes", None, MAX_KEYFRAMES + 1)
        addressing = self.addressing
        low, high, forward = addressing.lowest, addressing.highest, addressing.forward
        before = last = -math.inf
        places: list[float] = []
        for index, keyframe in enumerate(self.keyframes):
            position = keyframe.position
            place = forward * position
            if not (
                low <= position <= high
                and -WEIGHT_LIMIT <= keyframe.weight <= WEIGHT_LIMIT
                and find_easing(keyframe.easing) is not None
                and (before < place or last < before == place)
            ):
                self._refuse(index)
            last, before = before, place
            places.append(place)
        weights = [keyframe.weight for keyframe in self.keyframes]
        object.__setattr__(self, "_places", tuple(places))
        object.__setattr__(self, "is_constant", min(weights) == max(weights))
        object.__setattr__(self, "highest", max(map(abs, weights)))

    def _refuse(self, index: int) -> NoReturn:
        """Raises the `ScheduleError` about this keyframe."""
        count, keyframe, addressing = index + 1, self.keyframes[index], self.addressing
        if not addressing.lowest <= keyframe.position <= addressing.highest:  # also false for NaN
            raise ScheduleError(f"{number(keyframe.position)} is not a position: {addressing.sentence}", None, count)
        if not -WEIGHT_LIMIT <= keyframe.weight <= WEIGHT_LIMIT:
            raise ScheduleError(
                f"the weight {number(keyframe.weight)} must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}", None, count
            )
        if find_easing(keyframe.easing) is None:
            words = ", ".join(easing.word for easing in EASINGS)
            raise ScheduleError(f"{quoted(keyframe.easing)} is not an easing; there are {words}", None, count)
        before = self.keyframes[index - 1].position
        if before != keyframe.position:
            order = "sigmas fall during a run, so later ones are lower" if self.by == "sigma" else "positions must grow"
            raise ScheduleError(
                f"{number(keyframe.position)} after {number(before)} goes backwards; {order}", None, count
            )
        raise ScheduleError(
            f"a third keyframe at {number(keyframe.position)}; two make a jump, more cannot be", None, count
        )

    @property
    def addressing(self) -> Addressing:
        """The limits and the direction of the positions."""
        return _BY[self.by]

    def place(self, moment: Moment) -> float:
        """Where the moment is among the positions; grows during a run (sigmas count negative).

        Raises `ScheduleError` if the moment does not say what the positions are.
        """
        if self.by == "progress":
            return moment.progress
        found = moment.step if self.by == "step" else moment.sigma
        if found is None:
            raise ScheduleError(
                f"the schedule goes by {self.by}, but the {self.by}s of this run are not known; "
                "write it by progress, 0 … 1"
            )
        return self.addressing.forward * found

    def at(self, moment: Moment) -> float:
        """The weight at the moment; exact at keyframes, and never outside the two that are around it."""
        return self.at_place(self.place(moment))

    def at_place(self, place: float) -> float:
        """The weight at a place as `place()` counts."""
        if self.is_constant:
            return self.keyframes[0].weight
        after = bisect_right(self._places, place)
        if after == 0:
            return self.keyframes[0].weight
        start = self.keyframes[after - 1]
        if after == len(self.keyframes) or start.easing == HOLD:
            return start.weight
        end = self.keyframes[after]
        first, last = self._places[after - 1], self._places[after]
        share = shape(start.easing, (place - first) / (last - first))
        weight = start.weight + (end.weight - start.weight) * share
        return min(max(weight, min(start.weight, end.weight)), max(start.weight, end.weight))

    def places(self) -> tuple[float, ...]:
        """The places of the keyframes; only at and between them can the weight change."""
        return self._places

    def places_between(self, first: float, last: float) -> tuple[float, ...]:
        """The places of the keyframes that lie between these two places, which are not included themselves."""
        return self._places[bisect_right(self._places, first) : bisect_left(self._places, last)]

    def ways_between(self, first: float, last: float) -> Iterator[tuple[Keyframe, Keyframe]]:
        """Keyframes that follow each other, where a part of the way between them lies between these two places."""
        start = max(bisect_right(self._places, first), 1)
        for index in range(start, len(self._places)):
            begins, ends = self._places[index - 1], self._places[index]
            if max(begins, first) >= last:
                return
            if begins < ends:  # else it is a jump
                yield self.keyframes[index - 1], self.keyframes[index]

    def scaled(self, factor: float) -> Curve:
        """The curve with all weights multiplied."""
        return Curve(tuple(Keyframe(k.position, k.weight * factor, k.easing) for k in self.keyframes), self.by)

    def inverted(self) -> Curve:
        """The curve of 1 − weight; taken in decimals, so that 0.9 gives 0.1 and back."""
        return Curve(tuple(Keyframe(k.position, _one_less(k.weight), k.easing) for k in self.keyframes), self.by)


def number(value: float) -> str:
    """A number as short as it can be and still be the same: 1, 0.3, 1e-07."""
    return repr(float(value)).removesuffix(".0")


def _one_less(weight: float) -> float:
    return float(1 - Fraction(repr(float(weight))))
