"""What the rows of one LoRA give to its weight on the diffusion model: constant shares, and some that change."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import shortened
from ..schedule import Moment, Schedule
from .stack import BOTH, Entry, Weighted

_LONGEST = 120
"""Of a schedule in a sentence, in characters."""


@dataclass(frozen=True, slots=True)
class Share:
    """A summand of a LoRA's weight on the diffusion model."""

    weight: float
    """Of all rows that have this schedule and this conditioning, added up; never 0."""
    schedule: Schedule | None
    """What the weight is multiplied by; None where that is 1 at every moment."""
    conditioning: str
    """Of `stack.CONDITIONINGS`."""

    @property
    def is_constant(self) -> bool:
        """True when it is the same at every moment and for every conditioning."""
        return self.schedule is None and self.conditioning == BOTH

    def at(self, moment: Moment | float) -> float:
        """The summand at a moment. Raises `ScheduleError` where the schedule cannot be followed."""
        return self.weight if self.schedule is None else self.weight * self.schedule.at(moment)

    def __str__(self) -> str:
        schedule = "" if self.schedule is None else f" × schedule {shortened(self.schedule.to_text(), _LONGEST)}"
        where = "" if self.conditioning == BOTH else f" on the {self.conditioning} conditioning"
        return f"{self.weight:g}{schedule}{where}"


def add_up(rows: Iterable[Entry]) -> tuple[float, tuple[Share, ...]]:
    """(the rows' weights without what changes, the shares in canonical order) of the rows of one LoRA.

    A schedule that never changes is a factor like any other: the weight is multiplied by it. Shares that add up to 0
    are left out. The order of the rows changes nothing.
    """
    weights: list[float] = []
    groups: dict[tuple[str, str], tuple[Schedule | None, list[float]]] = {}
    for row in rows:
        schedule, weight = row.find_schedule(), row.model
        if schedule and schedule.is_constant:
            schedule, weight = None, weight * _factor(schedule)
        weights.append(weight)
        key = (row.conditioning, schedule.to_text() if schedule else "")
        groups.setdefault(key, (schedule, []))[1].append(weight)
    shares = (Share(math.fsum(group), schedule, key[0]) for key, (schedule, group) in sorted(groups.items(), key=_key))
    return math.fsum(weights), tuple(share for share in shares if share.weight != 0)


def told(weighted: Weighted, has_text_encoders: bool) -> str:
    """The weights in words, for one LoRA: `0.7 × schedule 0:0, 1:1; text encoder constant at 0.7`."""
    model = " + ".join(map(str, weighted.shares)) or "0"
    return f"{model}; text encoder constant at {weighted.clip:g}" if has_text_encoders else model


def _factor(schedule: Schedule) -> float:
    """Of a constant schedule; it may go by steps that nobody knows yet."""
    return math.prod(curve.keyframes[0].weight for curve in schedule.curves)


def _key(item: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return item[0]
