"""Schedules as values: their weight, when it changes, and what can be made of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.schedules import SIGMAS, STEPS, curves, schedules

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Curve, Keyframe, Moment, Schedule, Steps

PROGRESS = st.floats(0, 1)
PARSE = Schedule.parse


def moments(a: float, b: float, count: int = 50) -> list[Moment]:
    return [STEPS.at_progress(min(a + (b - a) * index / count, max(a, b))) for index in range(count + 1)]


class TestAt:
    @given(schedules(), PROGRESS)
    def test_the_product_of_its_curves(self, schedule: Schedule, progress: float) -> None:
        moment = STEPS.at_progress(progress)
        assert schedule.at(moment) == math.prod(curve.at(moment) for curve in schedule.curves)
        assert -100 <= schedule.at(moment) <= 100

    @pytest.mark.parametrize(
        ("text", "weights"),
        [
            ("0.5", [0.5] * 5),
            ("0:0, 1:1", [0, 0.2, 0.4, 0.6, 0.8]),
            ("step 1:0, 5:1", [0, 0.25, 0.5, 0.75, 1]),
            ("step 1-2:1", [1, 1, 0, 0, 0]),
            ("step 5:-2, 6:9", [-2] * 5),
            ("sigma 8:0, 2:1", [0, 0, 2 / 3, 1, 1]),
            ("sigma 8-2:1", [0, 1, 1, 0, 0]),
            ("0:0, 1:1 * step 3-5:2", [0, 0, 0.8, 1.2, 1.6]),
            ("sigma 900-500:1", [0] * 5),
            ("step 30-40:1", [0] * 5),
        ],
    )
    def test_at_each_step(self, text: str, weights: list[float]) -> None:
        steps = Steps.of([14, 8, 4, 2, 1, 0])
        assert PARSE(text).weights(steps) == pytest.approx(weights)

    def test_first_and_last_step_are_exact(self) -> None:
        schedule = PARSE("0:0.1 cubic, 0.95:0.7")
        for count in (20, 40, 60):
            weights = schedule.weights(Steps(count))
            assert weights[0] == 0.1
            assert weights[-1] == (0.7 if count > 19 else 0)

    def test_a_number_is_a_progress(self) -> None:
        assert PARSE("0:0, 1:1").at(0.25) == 0.25
        assert PARSE("0:0, 1:1").at(7) == 1
        assert PARSE("0:0, 1:1").at(-7) == 0
        with pytest.raises(ScheduleError, match="not a number"):
            PARSE("0.5").at(math.nan)

    @pytest.mark.parametrize("text", ["step 2:1", "sigma 2:1"])
    def test_a_progress_alone_is_too_little(self, text: str) -> None:
        with pytest.raises(ScheduleError, match="are not known"):
            PARSE(text).at(0.5)

    def test_a_models_range_has_no_steps(self) -> None:
        steps = Steps.of(SIGMAS, counted=False)
        schedule = PARSE("step 2:1")
        assert schedule.needs_steps and not schedule.needs_sigmas
        with pytest.raises(ScheduleError, match="write it by progress"):
            schedule.at(steps.at_sigma(5))

    def test_needs_sigmas(self) -> None:
        assert PARSE("fade-in * sigma 7:1").needs_sigmas
        assert not PARSE("fade-in").needs_sigmas


class TestChanges:
    def test_steps_that_begin_with_another_weight(self) -> None:
        assert PARSE("0.5").changes(Steps(5)) == ()
        assert PARSE("step 1-2:1").changes(Steps(5)) == (3,)
        assert PARSE("step 3:0, 4:1 hold, 5:0").changes(Steps(6)) == (4, 5)
        assert PARSE("fade-in").changes(Steps(4)) == (2, 3, 4)
        assert PARSE("step 1-2:1").changes(Steps(1)) == ()

    @given(schedules(), st.integers(1, 12))
    def test_the_others_do_not(self, schedule: Schedule, count: int) -> None:
        steps = Steps.of(SIGMAS[: count + 1])
        weights, changes = schedule.weights(steps), schedule.changes(steps)
        for step in range(2, steps.count + 1):
            assert (weights[step - 1] != weights[step - 2]) == (step in changes)

    @given(schedules(), PROGRESS, PROGRESS)
    def test_between(self, schedule: Schedule, a: float, b: float) -> None:
        a, b = sorted((a, b))
        found = {schedule.at(moment) for moment in moments(a, b)}
        if not schedule.changes_between(STEPS.at_progress(a), STEPS.at_progress(b)):
            assert len(found) == 1

    @pytest.mark.parametrize(
        ("text", "first", "last", "changes"),
        [
            ("0.2:1, 0.6:2", 0, 0.2, False),
            ("0.2:1, 0.6:2", 0, 0.21, True),
            ("0.2:1, 0.6:2", 0.6, 1, False),
            ("0.2:1 hold, 0.6:2", 0.2, 0.59, False),
            ("0.2:1 hold, 0.6:2", 0.2, 0.6, True),
            ("0:1, 0.5:0, 1:1", 0, 1, True),
            ("0:0, 0.5:1, 0.5:0", 0.4, 0.4, False),
            ("0:0, 1:1 * 0", 0, 1, False),
        ],
    )
    def test_examples(self, text: str, first: float, last: float, changes: bool) -> None:
        assert PARSE(text).changes_between(first, last) is changes


class TestZero:
    @given(schedules(2), PROGRESS, PROGRESS)
    def test_what_is_said_to_be_zero_is(self, schedule: Schedule, a: float, b: float) -> None:
        a, b = sorted((a, b))
        if schedule.is_zero_between(STEPS.at_progress(a), STEPS.at_progress(b)):
            assert not any(schedule.at(moment) for moment in moments(a, b))

    @given(curves(), PROGRESS)
    def test_one_moment(self, curve: Curve, progress: float) -> None:
        schedule, moment = Schedule((curve,)), STEPS.at_progress(progress)
        assert schedule.is_zero_between(moment, moment) == (schedule.at(moment) == 0)

    @pytest.mark.parametrize(
        ("text", "first", "last", "zero"),
        [
            ("first half", 0.5, 1, True),
            ("first half", 0.49, 1, False),
            ("second half", 0, 0.49, True),
            ("second half", 0, 0.5, False),
            ("0:0, 1:1", 0, 0, True),
            ("0:0, 1:1", 0, 0.1, False),
            ("0:-1, 1:1", 0.5, 0.5, True),
            ("0:-1, 1:1", 0.4, 0.6, False),
            ("0:0, 0.5:1, 0.5:0", 0, 1, False),
            ("0:0 hold, 0.2:1, 0.2:0", 0, 1, True),
            ("0:0, 0.5:0, 1:0", 0, 1, True),
            ("0", 0, 1, True),
            ("first half * second half", 0, 1, True),
            ("first half * 0.4-1:1", 0, 1, False),
            ("0:0, 0.2:1, 0.4:0", 0, 0.4, False),
            ("0:0, 0.2:1, 0.4:0", 0.4, 1, True),
            ("0.3:0 hold, 0.4:1", 0, 0.39, True),
        ],
    )
    def test_examples(self, text: str, first: float, last: float, zero: bool) -> None:
        assert PARSE(text).is_zero_between(first, last) is zero

    def test_zero_for_good(self) -> None:
        assert PARSE("0").is_zero and PARSE("fade-in * 0").is_zero and PARSE("0:0, 1:0").is_zero
        assert not PARSE("fade-in").is_zero
        assert PARSE("0:0.5, 1:0.5").is_constant and PARSE("fade-in * 0").is_constant
        assert not PARSE("fade-in").is_constant


class TestScaled:
    @given(schedules(10), st.floats(-1, 1), st.floats(-1, 1), PROGRESS)
    def test_additive(self, schedule: Schedule, a: float, b: float, progress: float) -> None:
        moment = STEPS.at_progress(progress)
        together = schedule.scaled(a + b).at(moment)
        assert schedule.scaled(a).at(moment) + schedule.scaled(b).at(moment) == pytest.approx(together, abs=1e-9)

    @given(schedules(10), st.floats(-5, 5), PROGRESS)
    def test_a_rows_weight(self, schedule: Schedule, weight: float, progress: float) -> None:
        """A row's constant weight is the same inside the schedule as outside."""
        assume(math.prod(curve.highest for curve in schedule.curves) <= 20)
        moment = STEPS.at_progress(progress)
        assert schedule.scaled(weight).at(moment) == pytest.approx(weight * schedule.at(moment), abs=1e-9)

    @given(schedules())
    def test_by_one_and_by_nothing(self, schedule: Schedule) -> None:
        assert schedule.scaled(1) == schedule
        assert schedule.scaled(0).is_zero

    @pytest.mark.parametrize("factor", [1000, -1000, math.nan, math.inf])
    def test_out_of_bounds(self, factor: float) -> None:
        with pytest.raises(ScheduleError, match="must lie in"):
            PARSE("0:0.5, 1:1").scaled(factor)


class TestInverted:
    @given(curves(50), PROGRESS)
    def test_a_cross_fade_adds_up_to_one(self, curve: Curve, progress: float) -> None:
        schedule, moment = Schedule((curve,)), STEPS.at_progress(progress)
        assert schedule.at(moment) + schedule.inverted().at(moment) == pytest.approx(1, abs=1e-12)

    @given(curves(50))
    def test_twice(self, curve: Curve) -> None:
        schedule = Schedule((curve,))
        twice = schedule.inverted().inverted()
        assert [k.weight for k in twice.curves[0].keyframes] == pytest.approx(
            [k.weight for k in curve.keyframes], abs=1e-14
        )
        assert twice.inverted() == schedule.inverted()

    def test_reads_well(self) -> None:
        assert str(PARSE("0:0.9, 0.3:0.1 ease, 1:1").inverted()) == "0:0.1, 0.3:0.9 ease, 1:0"

    def test_constants_are_taken_in(self) -> None:
        assert PARSE("0.5 * fade-in").inverted() == PARSE("0:1, 1:0.5")
        assert PARSE("0.5 * 0.5").inverted() == PARSE("0.75")

    def test_a_product_of_curves_has_none(self) -> None:
        with pytest.raises(ScheduleError, match="cannot be inverted"):
            PARSE("fade-in * bell").inverted()


class TestCombined:
    @given(schedules(4), schedules(4), PROGRESS)
    def test_a_product(self, a: Schedule, b: Schedule, progress: float) -> None:
        assume(math.prod(curve.highest for curve in a.curves + b.curves) <= 100)
        moment = STEPS.at_progress(progress)
        assert a.combined(b).at(moment) == pytest.approx(a.at(moment) * b.at(moment))

    @given(schedules())
    def test_one_changes_nothing(self, schedule: Schedule) -> None:
        one = Schedule.constant(1)
        assert schedule.combined(one) == schedule == one.combined(schedule)

    def test_out_of_bounds(self) -> None:
        with pytest.raises(ScheduleError, match="multiply to 400; at most 100"):
            PARSE("0:20, 1:0").combined(PARSE("20"))

    def test_too_much(self) -> None:
        many = Schedule((Curve(tuple(Keyframe(i / 600, 1) for i in range(600))),))
        with pytest.raises(ScheduleError, match="at most 1,000 keyframes"):
            many.combined(many)

    def test_nothing(self) -> None:
        with pytest.raises(ScheduleError, match="no curve"):
            Schedule(())


class TestUnreached:
    @pytest.mark.parametrize(
        ("text", "sentences"),
        [
            ("step 1-40:1", ("step 41 is never reached: the run has 10 steps",)),
            ("step 1-10:1", ()),
            ("sigma 500-300:1", ("sigma 500 never occurs: the run goes from 14.6146 to 0",) * 2
             + ("sigma 300 never occurs: the run goes from 14.6146 to 0",)),
            ("sigma 14.6-0:1", ()),
            ("0:1, 1:0", ()),
        ],
    )  # fmt: skip
    def test_says_so(self, text: str, sentences: tuple[str, ...]) -> None:
        assert PARSE(text).unreached(STEPS) == sentences

    def test_says_nothing_about_what_nobody_knows(self) -> None:
        assert PARSE("sigma 500:1").unreached(Steps(3)) == ()
        assert PARSE("step 500:1").unreached(Steps.of(SIGMAS, counted=False)) == ()
        assert PARSE("step 500:1").unreached(Steps(1)) == ("step 500 is never reached: the run has 1 step",)


def test_values() -> None:
    """Frozen, hashable, and equal when they say the same."""
    assert hash(PARSE("fade-in")) == hash(PARSE("0:0, 1:1"))
    with pytest.raises(AttributeError):
        PARSE("1").curves = ()  # type: ignore[misc]
