"""Points of a curve: even ones, the start of each step, and none where the sigmas are missing."""

from __future__ import annotations

import pytest
from support.schedules import SIGMAS

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Schedule, Steps
from lorchestra.schedule.sampling import can_sample, sample


def test_even_points_and_the_start_of_each_step() -> None:
    assert sample(Schedule.parse("0:0, 1:1"), Steps(3), 2) == [
        (0, 0),
        (1 / 3, 1 / 3),
        (0.5, 0.5),
        (2 / 3, 2 / 3),
        (1, 1),
    ]


def test_each_point_is_the_schedules_own_weight() -> None:
    schedule, steps = Schedule.parse("0:0, 0.3:1 ease, 1:0.2"), Steps.of(SIGMAS)
    points = sample(schedule, steps, 400)
    assert [place for place, _ in points] == sorted({place for place, _ in points})
    assert all(weight == schedule.at(steps.at_progress(place)) for place, weight in points)


def test_a_schedule_by_sigma_needs_sigmas() -> None:
    schedule = Schedule.parse("sigma 10:1, 5:0")
    assert not can_sample(schedule, Steps(4)) and sample(schedule, Steps(4), 10) == []
    known = Steps.of([10, 5, 0])
    assert can_sample(schedule, known) and sample(schedule, known, 2) == [(0, 1), (0.5, 0), (1, 0)]


def test_a_schedule_by_step_needs_steps_that_are_counted() -> None:
    with pytest.raises(ScheduleError, match="goes by step"):
        sample(Schedule.parse("step 1:1, 3:0"), Steps.of([10, 5, 0], counted=False), 2)
