"""The steps of one run, and moments in it: where a sampler is when it asks the model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from ..errors import ScheduleError, quoted

MAX_STEPS = 10_000
"""Most steps that ComfyUI's samplers take."""
MAX_SIGMA = 1e9
"""ComfyUI says 999999999.9 for "before the first sigma"."""
SNAP = 0.01
"""A sigma this near to one of the sampler's own, in steps, is that one: fp16 latents round the sigmas."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a run."""

    progress: float
    """0 at the start of the first step, 1 at the end of the last."""
    step: float | None = None
    """1 at the start of the first step, 1.5 in the middle of it; None if the steps are not known."""
    sigma: float | None = None
    """The noise level; None if the sigmas are not known."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one run, with the sampler's own sigmas where they are known.

    **Progress.** n steps have n + 1 sigmas. Step k (from 1) begins at the sigma with index k − 1, and that is progress
    (k − 1) / n, exactly. So the first step is at 0 and the last at (n − 1) / n; 1 is the end of the run, which samplers
    that ask the model once a step never ask for. Between two sigmas the index is interpolated, linearly in sigma: that
    is where dpmpp_2s_ancestral and the like ask a second time. Sigmas outside the run count as its nearest end.

    The noise alone says where a run is, and nothing is counted: heun asks a second time at the end of a step, which is
    the moment at which the next step begins, and gets the same weight there as the next step does.
    """

    count: int
    """Steps, 1 … `MAX_STEPS`."""
    sigmas: tuple[float, ...] = ()
    """`count` + 1 noise levels in the order of the run, usually falling to 0; empty if they are not known."""
    counted: bool = True
    """False when `sigmas` are a model's range and not a sampler's steps: then a moment has no step number."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_STEPS:
            raise ScheduleError(f"a run has 1 … {MAX_STEPS:,} steps, not {quoted(self.count)}")
        if self.sigmas and len(self.sigmas) != self.count + 1:
            raise ScheduleError(f"{self.count} steps have {self.count + 1} sigmas, not {len(self.sigmas)}")
        for number, sigma in enumerate(self.sigmas, 1):
            if not 0 <= sigma <= MAX_SIGMA:  # also false for NaN
                raise ScheduleError(f"sigma {number} of the run is {quoted(sigma)}; expected 0 … {MAX_SIGMA:g}")

    @staticmethod
    def of(sigmas: Iterable[float], counted: bool = True) -> Steps:
        """The steps of a sampler that was given these sigmas (ComfyUI's `sample_sigmas`, as numbers).

        `counted=False` is for samplers that do not say: give sigmas that cover the model's own range, highest first.
        Raises `ScheduleError` for fewer than two sigmas, negative ones and NaN.
        """
        levels = tuple(float(sigma) for sigma in sigmas)
        if len(levels) < 2:
            raise ScheduleError(f"a run has at least 2 sigmas, where it starts and where it ends; not {len(levels)}")
        return Steps(len(levels) - 1, levels, counted)

    def at_progress(self, progress: float) -> Moment:
        """The moment at this progress; below 0 the start, above 1 the end."""
        if math.isnan(progress):
            raise ScheduleError("the progress is not a number")
        return self._moment(min(max(progress, 0.0), 1.0) * self.count, min(max(progress, 0.0), 1.0))

    def at_step(self, step: float) -> Moment:
        """The moment at which this step begins, from 1; `count` + 1 is the end, and so is everything above it."""
        if math.isnan(step):
            raise ScheduleError("the step is not a number")
        index = min(max(step - 1, 0.0), float(self.count))
        return self._moment(index, index / self.count)

    def at_sigma(self, sigma: float) -> Moment:
        """The moment at this noise level, also between two steps.

        Where a run passes a level more than once, this is the first time. Raises `ScheduleError` without sigmas.
        """
        index = self._index(sigma)
        return self._moment(index, index / self.count)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The start of each step."""
        return tuple(self.at_step(number) for number in range(1, self.count + 1))

    def _moment(self, index: float, progress: float) -> Moment:
        return Moment(progress, index + 1 if self.counted else None, self._sigma(index))

    def _sigma(self, index: float) -> float | None:
        if not self.sigmas:
            return None
        low = min(int(index), self.count - 1)
        before, after = self.sigmas[low], self.sigmas[low + 1]
        share = index - low
        return after if share == 1 else before + (after - before) * share

    def _index(self, sigma: float) -> float:
        if not self.sigmas:
            raise ScheduleError(f"sigma {sigma:g} cannot be found: the sigmas of this run are not known")
        if math.isnan(sigma):
            raise ScheduleError("the sigma is not a number")
        sigma = min(max(sigma, min(self.sigmas)), max(self.sigmas))
        if sigma in self.sigmas:
            return float(self.sigmas.index(sigma))
        low = next(i for i, pair in enumerate(pairwise(self.sigmas)) if min(pair) < sigma < max(pair))
        before, after = self.sigmas[low], self.sigmas[low + 1]
        index = low + (before - sigma) / (before - after)
        return float(round(index)) if abs(index - round(index)) <= SNAP else index
