"""Progress on the sampler's own sigmas: exact at steps, interpolated between them, clamped outside."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import SIGMAS, STEPS

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Moment, Steps

FALLING = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=50, unique=True).map(lambda s: sorted(s, reverse=True))


@given(FALLING)
def test_each_sigma_is_its_step_exactly(sigmas: list[float]) -> None:
    steps = Steps.of(sigmas)
    for index, sigma in enumerate(sigmas):
        moment = steps.at_sigma(sigma)
        assert moment == Moment(index / steps.count, index + 1, sigma)
        assert moment == steps.at_step(index + 1)
    assert steps.moments[0].progress == 0
    assert steps.moments[-1].progress == (steps.count - 1) / steps.count


@given(FALLING, st.floats(0, 1), st.floats(0, 1))
def test_progress_grows_as_the_noise_falls(sigmas: list[float], a: float, b: float) -> None:
    steps = Steps.of(sigmas)
    high, low = max(a, b) * sigmas[0], min(a, b) * sigmas[0]
    assert 0 <= steps.at_sigma(high).progress <= steps.at_sigma(low).progress <= 1


@given(st.floats(0, 1))
def test_there_and_back(progress: float) -> None:
    moment = STEPS.at_progress(progress)
    assert moment.progress == progress
    assert moment.sigma is not None
    assert STEPS.at_sigma(moment.sigma).progress == pytest.approx(progress, abs=0.011 / STEPS.count)


@pytest.mark.parametrize("number", range(1, 11))
def test_a_third_and_a_tenth_of_the_run(number: int) -> None:
    """Positions that people write meet the steps that they mean, to the bit."""
    assert Steps(10).at_step(number + 1).progress == float(f"{number / 10:.1f}")
    assert Steps(3 * number).at_step(number + 1).progress == 1 / 3


def test_between_two_steps() -> None:
    steps = Steps.of([10, 6, 2, 0])
    assert steps.at_sigma(8) == Moment(0.5 / 3, 1.5, 8)
    assert steps.at_sigma(0.5) == Moment(2.75 / 3, 3.75, 0.5)


def test_rounded_sigmas_are_the_samplers() -> None:
    """Latents in fp16 give sigmas in fp16."""
    for index, sigma in enumerate(SIGMAS):
        rounded = struct.unpack("e", struct.pack("e", sigma))[0]
        assert STEPS.at_sigma(rounded) == STEPS.at_step(index + 1)


@pytest.mark.parametrize(("sigma", "progress"), [(1e9, 0), (15, 0), (-1, 1), (math.inf, 0)])
def test_outside_the_run(sigma: float, progress: float) -> None:
    assert STEPS.at_sigma(sigma).progress == progress


def test_a_run_that_ends_early() -> None:
    """Of two samplers that share the steps, the first stops above zero."""
    steps = Steps.of(SIGMAS[:6])
    assert steps.at_sigma(SIGMAS[5]).progress == 1
    assert steps.at_sigma(0).progress == 1


def test_other_orders() -> None:
    rising = Steps.of([0, 1, 3, 9])
    assert rising.at_sigma(3).progress == 2 / 3
    assert rising.at_sigma(99).progress == 1
    twice = Steps.of([9, 3, 3, 1, 0])
    assert twice.at_sigma(3).progress == 1 / 4
    back = Steps.of([9, 3, 6, 0])
    assert back.at_sigma(5).step == pytest.approx(1 + 4 / 6)
    flat = Steps.of([1, 1])
    assert flat.at_sigma(1).progress == flat.at_sigma(7).progress == 0


def test_a_models_range_counts_no_steps() -> None:
    steps = Steps.of([1.0, 0.5, 0.0], counted=False)
    assert steps.at_sigma(0.25) == Moment(0.75, None, 0.25)


def test_steps_without_sigmas() -> None:
    assert Steps(4).at_step(3) == Moment(0.5, 3, None)
    with pytest.raises(ScheduleError, match="the sigmas of this run are not known"):
        Steps(4).at_sigma(1)


@pytest.mark.parametrize(("step", "progress"), [(0, 0), (-3, 0), (1, 0), (5, 1), (99, 1), (2.5, 0.375)])
def test_steps_are_clamped(step: float, progress: float) -> None:
    assert Steps(4).at_step(step).progress == progress


@pytest.mark.parametrize(("progress", "step"), [(-1, 1), (0.5, 3), (2, 5)])
def test_progress_is_clamped(progress: float, step: float) -> None:
    assert Steps(4).at_progress(progress).step == step


@pytest.mark.parametrize("sigmas", [[], [1.0], [1.0, math.nan], [-1.0, 0.0], [math.inf, 0.0], [1.0] * 10_002])
def test_no_run(sigmas: list[float]) -> None:
    with pytest.raises(ScheduleError):
        Steps.of(sigmas)


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_no_count(count: int) -> None:
    with pytest.raises(ScheduleError, match="1 … 10,000"):
        Steps(count)


def test_as_many_sigmas_as_steps_need() -> None:
    with pytest.raises(ScheduleError, match="3 steps have 4 sigmas, not 2"):
        Steps(3, (1.0, 0.0))


def test_not_a_number() -> None:
    for ask in (STEPS.at_sigma, STEPS.at_progress, STEPS.at_step):
        with pytest.raises(ScheduleError, match="not a number"):
            ask(math.nan)
