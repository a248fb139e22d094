"""Curves: the weight between keyframes, jumps, and what no curve can be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import STEPS, curves

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Curve, Keyframe, Moment
from lorchestra.schedule.curve import MAX_KEYFRAMES, By

RAMP = Curve((Keyframe(0.2, 1), Keyframe(0.6, 3)))
PROGRESS = st.floats(0, 1)


@pytest.mark.parametrize(("progress", "weight"), [(0, 1), (0.2, 1), (0.4, 2), (0.6, 3), (1, 3)])
def test_ramp(progress: float, weight: float) -> None:
    assert RAMP.at(Moment(progress)) == pytest.approx(weight)


def test_a_jump() -> None:
    curve = Curve((Keyframe(0, 0), Keyframe(0.5, 0.5), Keyframe(0.5, 1), Keyframe(1, 0)))
    assert curve.at(Moment(math.nextafter(0.5, 0))) == pytest.approx(0.5)
    assert curve.at(Moment(0.5)) == 1
    assert curve.at(Moment(0.75)) == 0.5


def test_hold() -> None:
    curve = Curve((Keyframe(1, 1, "hold"), Keyframe(3, 0)), "step")
    assert [curve.at(STEPS.at_step(step)) for step in (1, 2, 2.999, 3, 9)] == [1, 1, 1, 0, 0]


def test_sigmas_fall() -> None:
    curve = Curve((Keyframe(10, 0), Keyframe(2, 1)), "sigma")
    assert [curve.at(Moment(0, None, sigma)) for sigma in (99, 10, 6, 2, 0)] == [0, 0, 0.5, 1, 1]


@given(curves(), PROGRESS)
def test_bounds(curve: Curve, progress: float) -> None:
    weights = [keyframe.weight for keyframe in curve.keyframes]
    assert min(weights) <= curve.at(STEPS.at_progress(progress)) <= max(weights)


@given(curves())
def test_exact_at_keyframes(curve: Curve) -> None:
    last = {keyframe.position: keyframe.weight for keyframe in curve.keyframes}
    for position, weight in last.items():
        assert curve.at_place(curve.addressing.forward * position) == weight


@given(curves(by="progress"), PROGRESS, st.floats(1e-12, 1e-9))
def test_continuous_but_for_holds_and_jumps(curve: Curve, progress: float, little: float) -> None:
    """No easing is steeper than four times the straight way."""
    steepness = 0.0
    for start, end in zip(curve.keyframes, curve.keyframes[1:], strict=False):
        jumps = start.easing == "hold" or start.position == end.position
        if jumps and progress <= end.position <= progress + little:
            return
        if not jumps:
            steepness = max(steepness, 4 * abs(end.weight - start.weight) / (end.position - start.position))
    change = abs(curve.at_place(progress + little) - curve.at_place(progress))
    assert change <= steepness * little * 1.001 + 1e-12


@given(curves(by="progress"))
def test_inverted_adds_up_to_one(curve: Curve) -> None:
    if min(keyframe.weight for keyframe in curve.keyframes) < -99:
        with pytest.raises(ScheduleError, match="must lie in"):
            curve.inverted()
        return
    other = curve.inverted()
    for index in range(101):
        assert curve.at_place(index / 100) + other.at_place(index / 100) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("weight", [0, 1, 0.1, 0.9, 0.3, 0.7, -0.35, 1.25, 99.99, 0.123456789])
def test_inverted_twice_in_decimals(weight: float) -> None:
    curve = Curve((Keyframe(0, weight),))
    assert curve.inverted().inverted() == curve
    assert curve.inverted().keyframes[0].weight == pytest.approx(1 - weight)


@pytest.mark.parametrize(
    ("keyframes", "by", "number", "words"),
    [
        ([(0, 1), (1.5, 1)], "progress", 2, "1.5 is not a position"),
        ([(-0.1, 1)], "progress", 1, "not a position"),
        ([(math.nan, 1)], "progress", 1, "not a position"),
        ([(0, 1), (0.5, math.nan)], "progress", 2, "weight nan"),
        ([(0, math.inf)], "progress", 1, "weight inf"),
        ([(0, 100.5)], "progress", 1, "must lie in -100 … 100"),
        ([(0.5, 1), (0.2, 1)], "progress", 2, "0.2 after 0.5 goes backwards"),
        ([(0.5, 1), (0.5, 2), (0.5, 3)], "progress", 3, "a third keyframe at 0.5"),
        ([(0, 1)], "step", 1, "steps count from 1"),
        ([(10_002, 1)], "step", 1, "10,000"),
        ([(1, 1), (2, 1)], "sigma", 2, "sigmas fall"),
        ([(math.inf, 1)], "sigma", 1, "not a position"),
        ([], "progress", None, "no keyframe"),
        ([(i / MAX_KEYFRAMES, 1) for i in range(MAX_KEYFRAMES + 1)], "progress", MAX_KEYFRAMES + 1, "at most 1,000"),
    ],
)
def test_no_curve(keyframes: list[tuple[float, float]], by: By, number: int | None, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        Curve(tuple(Keyframe(*keyframe) for keyframe in keyframes), by)
    assert caught.value.keyframe == number


def test_no_such_words() -> None:
    with pytest.raises(ScheduleError, match="'wobble' is not an easing; there are hold, linear"):
        Curve((Keyframe(0, 1, "wobble"),))
    with pytest.raises(ScheduleError, match="'frame'; expected progress, step or sigma"):
        Curve((Keyframe(0, 1),), "frame")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["step", "sigma"])
def test_a_moment_that_does_not_say(by: By) -> None:
    with pytest.raises(ScheduleError, match=f"the {by}s of this run are not known"):
        Curve((Keyframe(1, 1),), by).at(Moment(0.5))
