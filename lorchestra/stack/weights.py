"""What the rows of one LoRA give to its weight on the diffusion model: constant shares, and some that change."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import shortened
from ..schedule import Moment, Schedule
from ..sentences import say, sum_of
from .entry import BOTH, POSITIVE, Entry

_LONGEST = 120
"""Of a schedule in a sentence, in characters."""


@dataclass(frozen=True, slots=True)
class Share:
    """A summand of a LoRA's weight on the diffusion model."""

    weight: float
    """Of all rows that have this schedule and this conditioning, added up; never 0."""
    schedule: Schedule | None
    """What the weight is multiplied by; None if that is 1 at every moment."""
    conditioning: str
    """Of `entry.CONDITIONINGS`."""

    @property
    def is_constant(self) -> bool:
        """True when it is the same at every moment and for every conditioning."""
        return self.schedule is None and self.conditioning == BOTH

    def at(self, moment: Moment | float) -> float:
        """The summand at a moment. Raises `ScheduleError` if the schedule cannot be followed."""
        return self.weight if self.schedule is None else self.weight * self.schedule.at(moment)

    def __str__(self) -> str:
        return str(self.sentence)

    @property
    def sentence(self) -> str:
        """The weight, its schedule and its conditioning in words."""
        said = f"{self.weight:g}"
        if self.schedule is not None:
            schedule = shortened(self.schedule.to_text(), _LONGEST)
            said = say("{weight} × schedule {schedule}", weight=said, schedule=schedule)
        if self.conditioning == POSITIVE:
            return say("{weight} on the positive conditioning", weight=said)
        return said if self.conditioning == BOTH else say("{weight} on the negative conditioning", weight=said)


@dataclass(frozen=True, slots=True)
class Weighted:
    """All active rows of one LoRA, added up."""

    row: int
    """Number of the first of the rows, from 1."""
    entry: Entry
    """That row, for its name."""
    model: float
    """Weight for the diffusion model. Rows whose weight changes over the steps count as they are without it."""
    clip: float
    """Weight for the text encoders, which no schedule touches."""
    shares: tuple[Share, ...]
    """What the weight for the diffusion model is made of, in canonical order; empty if it is always 0."""
    by_block: bool = False
    """True if a row has weights per block, which these are without."""

    @property
    def is_constant(self) -> bool:
        """True when the diffusion model has the weight `model` at every moment and for every conditioning."""
        return all(share.is_constant for share in self.shares)

    def at(self, moment: Moment | float, conditioning: str) -> float:
        """The weight for the diffusion model at a moment, for `POSITIVE` or `NEGATIVE` conditioning.

        Correctly rounded, so that the order of the rows does not change it. A number is a progress, 0 … 1. Raises
        `ScheduleError` if a schedule goes by steps or sigmas and the moment does not say them.
        """
        return math.fsum(share.at(moment) for share in self.shares if share.conditioning in (BOTH, conditioning))


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


def weights_in_words(weighted: Weighted, has_text_encoders: bool) -> str:
    """`0.7`, `model 0.7, clip 0.3`, or `0.7 × schedule 0:0, 1:1; text encoder constant at 0.7`."""
    if weighted.is_constant:
        same = weighted.model == weighted.clip
        model, clip = f"{weighted.model:g}", f"{weighted.clip:g}"
        return model if same else say("model {model}, clip {clip}", model=model, clip=clip)
    model = sum_of([share.sentence for share in weighted.shares]) or "0"
    if not has_text_encoders:
        return model
    return say("{model}; text encoder constant at {clip}", model=model, clip=f"{weighted.clip:g}")


def _factor(schedule: Schedule) -> float:
    """Of a constant schedule; it may go by steps that are not known yet."""
    return math.prod(curve.keyframes[0].weight for curve in schedule.curves)


def _key(item: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return item[0]
