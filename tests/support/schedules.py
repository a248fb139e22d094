"""Schedules of every kind, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

from lorchestra.schedule import EASINGS, Curve, Keyframe, Schedule, Steps
from lorchestra.schedule.curve import ADDRESSINGS, By

SIGMAS = (14.6146, 9.72, 6.1, 3.5, 2.0, 1.1, 0.6, 0.3, 0.1, 0.03, 0.0)
STEPS = Steps.of(SIGMAS)
BYS: tuple[By, ...] = tuple(addressing.by for addressing in ADDRESSINGS)
EASING_WORDS = st.sampled_from([easing.word for easing in EASINGS])
HIGHEST = {"progress": 1.0, "step": 12.0, "sigma": 20.0}


def weights(limit: float = 100) -> st.SearchStrategy[float]:
    return st.floats(-limit, limit) | st.sampled_from([0.0, 1.0, -1.0, 0.1, 0.75])


@st.composite
def curves(draw: st.DrawFn, limit: float = 100, by: By | None = None) -> Curve:
    """Keyframes in order, some of them as jumps."""
    by = draw(st.sampled_from(BYS)) if by is None else by
    lowest = 1.0 if by == "step" else 0.0
    places = draw(st.lists(st.floats(lowest, HIGHEST[by]), min_size=1, max_size=6, unique=True))
    positions: list[float] = []
    for position in sorted(places, reverse=by == "sigma"):
        positions += [position] * draw(st.sampled_from([1, 1, 1, 2]))
    return Curve(tuple(Keyframe(p, draw(weights(limit)), draw(EASING_WORDS)) for p in positions), by)


def schedules(limit: float = 100) -> st.SearchStrategy[Schedule]:
    """One curve, or a product of up to three that stays in bounds."""
    several = st.lists(curves(min(limit, 4)), min_size=1, max_size=3).map(lambda many: Schedule(tuple(many)))
    return curves(limit).map(lambda curve: Schedule((curve,))) | several
