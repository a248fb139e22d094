"""Points of a schedule's curve over one run, for a picture of it."""

from __future__ import annotations

from .product import Schedule
from .steps import Steps


def can_sample(schedule: Schedule, steps: Steps) -> bool:
    """False if the schedule goes by sigma and the sigmas of the run are not known."""
    return bool(steps.sigmas) or not schedule.needs_sigmas


def sample(schedule: Schedule, steps: Steps, count: int) -> list[tuple[float, float]]:
    """(progress, weight) in the order of the run: at `count` + 1 even distances from 0 to 1, and where a step begins.

    Empty where `can_sample` is False. Raises `ScheduleError` for a schedule by step whose run does not count steps.
    """
    if not can_sample(schedule, steps):
        return []
    places = {index / count for index in range(count + 1)} | {moment.progress for moment in steps.moments}
    return [(place, schedule.at(steps.at_progress(place))) for place in sorted(places)]
