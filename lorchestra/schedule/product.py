"""The Schedule: a factor that changes over the steps, as the product of one or more curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..errors import ScheduleError
from ..limits import WEIGHT_LIMIT, Json
from .curve import MAX_CURVES, MAX_KEYFRAMES, Curve, Keyframe
from .data import read as read_json
from .data import write as to_json
from .easing import HOLD
from .reading import read as read_text
from .steps import Moment, Steps
from .writing import write as to_text


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a row's model weight is multiplied by, as a function of the moment.

    A row at 0.7 with `0:0, 1:1` begins at 0 and ends at 0.7. A row at weight 1 has the schedule's own numbers, as
    loractl and prompt-control write them. The text encoders take the row's clip weight; no schedule touches it.
    """

    curves: tuple[Curve, ...]
    """Factors. Nearly always one; each may be placed by something else: progress, steps, sigmas."""
    _text: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        """Raises `ScheduleError` for no curve, too many keyframes, and products that may leave -100 … 100."""
        if not self.curves:
            raise ScheduleError("the schedule has no curve")
        if len(self.curves) > MAX_CURVES:
            raise ScheduleError(f"a schedule is the product of at most {MAX_CURVES} curves")
        if self.length > MAX_KEYFRAMES:
            raise ScheduleError(f"a schedule has at most {MAX_KEYFRAMES:,} keyframes in all its curves")
        highest = math.prod(curve.highest for curve in self.curves)
        if highest > WEIGHT_LIMIT:
            raise ScheduleError(
                f"the curves' highest weights multiply to {highest:g}; at most {WEIGHT_LIMIT:g} is allowed"
            )

    @staticmethod
    def parse(text: str) -> Schedule:
        """A schedule from text: our own form, a preset's name, loractl's, or prompt-control's; see `reading.py`.

        Raises `ScheduleError` with the column.
        """
        return Schedule(read_text(text))

    @staticmethod
    def from_json(value: Json) -> Schedule:
        """A schedule from JSON data: text, a number, `{"by": "step", "keyframes": […]}`; see `schedule/data.py`.

        Raises `ScheduleError` for anything else, unknown keys too: half a schedule would be another picture.
        """
        return Schedule(read_json(value))

    @staticmethod
    def constant(weight: float) -> Schedule:
        """The same weight at every moment."""
        return Schedule((Curve((Keyframe(0, weight),)),))

    def to_text(self) -> str:
        """Our own text form; `parse` gives the same schedule back, to the bit."""
        if not self._text:
            object.__setattr__(self, "_text", to_text(self.curves))
        return self._text

    def to_json(self) -> Json:
        """JSON data; `from_json` gives the same schedule back. In a stack's row stands the text."""
        return to_json(self.curves)

    def __str__(self) -> str:
        return self.to_text()

    def at(self, moment: Moment | float) -> float:
        """The factor at a moment, -100 … 100. A number is a progress, 0 … 1.

        Raises `ScheduleError` if the schedule goes by steps or sigmas and the moment does not say them.
        """
        moment = _moment(moment)
        return math.prod(curve.at(moment) for curve in self.curves) + 0.0  # never -0

    def weights(self, steps: Steps) -> tuple[float, ...]:
        """The factor at the start of each step."""
        return tuple(self.at(moment) for moment in steps.moments)

    def changes(self, steps: Steps) -> tuple[int, ...]:
        """The steps, from 1, that begin with another factor than the step before. Between them nothing need be done.

        A sampler that asks between two steps may find another factor there; see `changes_between`.
        """
        return tuple(step for step, (old, new) in enumerate(pairwise(self.weights(steps)), 2) if old != new)

    def changes_between(self, first: Moment | float, last: Moment | float) -> bool:
        """False only when the factor is the same at every moment from the first to the last, both included.

        True is "perhaps": two curves may change and their product not.
        """
        first, last = _moment(first), _moment(last)
        return not self.is_zero_between(first, last) and any(
            _changes(curve, curve.place(first), curve.place(last)) for curve in self.curves
        )

    def is_zero_between(self, first: Moment | float, last: Moment | float) -> bool:
        """True only when the factor is 0 at every moment from the first to the last, both included.

        Curves that take turns in being 0 are seen through where they are placed by the same thing.
        """
        first, last = _moment(first), _moment(last)
        return any(
            _is_zero([curve for curve in self.curves if curve.by == by], first, last)
            for by in {curve.by for curve in self.curves}
        )

    @property
    def is_zero(self) -> bool:
        """True when one of the curves is 0 at every moment."""
        return any(curve.is_constant and curve.highest == 0 for curve in self.curves)

    @property
    def is_constant(self) -> bool:
        """True when no moment has another factor."""
        return self.is_zero or all(curve.is_constant for curve in self.curves)

    @property
    def needs_steps(self) -> bool:
        """True when it can only be followed where the steps are counted."""
        return any(curve.by == "step" for curve in self.curves)

    @property
    def needs_sigmas(self) -> bool:
        """True when it can only be followed where the sigmas are known."""
        return any(curve.by == "sigma" for curve in self.curves)

    def scaled(self, factor: float) -> Schedule:
        """The schedule times a constant. Raises `ScheduleError` when that leaves -100 … 100."""
        return Schedule((self.curves[0].scaled(factor), *self.curves[1:]))

    def check_scaled(self, factor: float) -> None:
        """Raises the `ScheduleError` that `scaled` would raise."""
        highest = self.curves[0].highest * abs(factor)
        if not highest * math.prod(curve.highest for curve in self.curves[1:]) <= WEIGHT_LIMIT >= highest:
            self.scaled(factor)

    @property
    def length(self) -> int:
        """Keyframes in all its curves."""
        return sum(len(curve.keyframes) for curve in self.curves)

    def inverted(self) -> Schedule:
        """1 − this: the other side of a cross-fade; the two always add up to 1, as far as floats can.

        Twice inverted is the same again, to the bit for weights of up to 15 digits, else rounded to 1e-16. Raises
        `ScheduleError` for a product of curves that change, which has no such form, and for weights below -99.
        """
        changing = [index for index, curve in enumerate(self.curves) if not curve.is_constant] or [0]
        if len(changing) > 1:
            raise ScheduleError("a product of schedules cannot be inverted; invert the one that fades, then multiply")
        single = self.curves[changing[0]]
        for index, curve in enumerate(self.curves):
            if index != changing[0]:
                single = single.scaled(curve.keyframes[0].weight)
        return Schedule((single.inverted(),))

    def combined(self, other: Schedule) -> Schedule:
        """The product of both, moment by moment: a curve for all rows and a curve of one row act together.

        Raises `ScheduleError` when the product may leave -100 … 100. (Rows of one file add up instead: add what `at`
        gives for each.)
        """
        one = Schedule.constant(1)
        if other == one:
            return self
        return other if self == one else Schedule(self.curves + other.curves)

    def unreached(self, steps: Steps) -> tuple[str, ...]:
        """Sentences about keyframes that this run never comes to; what holds at the run's end holds there instead.

        Nothing is wrong with such a schedule: the same one serves runs of 4 and of 30 steps. But people want to know.
        """
        return tuple(sentence for curve in self.curves for sentence in _unreached(curve, steps))


def _moment(moment: Moment | float) -> Moment:
    if isinstance(moment, Moment):
        return moment
    if math.isnan(moment):
        raise ScheduleError("the progress is not a number")
    return Moment(min(max(float(moment), 0.0), 1.0))


def _changes(curve: Curve, first: float, last: float) -> bool:
    if curve.is_constant:
        return False
    first, last = min(first, last), max(first, last)
    return len({curve.at_place(place) for place in (first, *curve.places_between(first, last), last)}) > 1 or any(
        start.easing != HOLD and start.weight != end.weight for start, end in curve.ways_between(first, last)
    )


def _is_zero(curves: Sequence[Curve], first: Moment, last: Moment) -> bool:
    """The same for curves that are placed by the same thing."""
    ends = sorted((curves[0].place(first), curves[0].place(last)))
    inside = {place for curve in curves for place in curve.places_between(*ends)}
    cuts = [ends[0], *sorted(inside), ends[1]]
    if any(all(curve.at_place(place) != 0 for curve in curves) for place in cuts):
        return False
    return all(any(_is_zero_inside(curve, a, b) for curve in curves) for a, b in pairwise(cuts) if a < b)


def _is_zero_inside(curve: Curve, a: float, b: float) -> bool:
    """True when the curve is 0 everywhere between two places that no keyframe lies between."""
    ways = list(curve.ways_between(a, b))
    if not ways:  # before the first keyframe or after the last
        return curve.at_place(a) == 0
    return all(start.weight == 0 and (start.easing == HOLD or end.weight == 0) for start, end in ways)


def _unreached(curve: Curve, steps: Steps) -> Iterator[str]:
    if curve.by == "step" and steps.counted:
        for keyframe in curve.keyframes:
            if keyframe.position > steps.count + 1:
                yield f"step {keyframe.position:g} is never reached: the run has {_count(steps.count, 'step')}"
    if curve.by == "sigma" and steps.sigmas:
        highest, lowest = max(steps.sigmas), min(steps.sigmas)
        for keyframe in curve.keyframes:
            if not lowest <= keyframe.position <= highest:
                yield f"sigma {keyframe.position:g} never occurs: the run goes from {highest:g} to {lowest:g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
