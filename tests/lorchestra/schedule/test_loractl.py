"""loractl's weights mean what its own code makes of them; cases from its tests and its README."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Schedule, Steps
from lorchestra.schedule.loractl import read


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.2@0.2,1@0.2", "0.2:0.2, 0.2:1"),
        ("0@0,1@0.5,0@1", "0:0, 0.5:1, 1:0"),
        ("0.25@0.5,1@1", "0.5:0.25, 1:1"),
        ("0.5@0;0.5@0.5;0@1", "0:0.5, 0.5:0.5, 1:0"),
        ("0.5~0, 1 ~ 1", "0:0.5, 1:1"),
        ("1@1,0@0", "0:0, 1:1"),
        ("1@0,0.5@3,1@6", "step 1:1, 4:0.5, 7:1"),
        ("0.5@3,1@6,1@0", "step 1:1, 4:0.5, 7:1"),
        ("0@5,1@6", "step 6:0, 7:1"),
        ("0.5@0.5,1@2", "step 1.5:0.5, 3:1"),
        ("-1@0,2@1", "0:-1, 1:2"),
        ("1@0.3,2@0.3,3@0.3", "0.3:1, 0.3:3"),
        ("0.7@0.5", "0.5:0.7"),
    ],
)
def test_reads(text: str, same: str) -> None:
    if "@" in text:
        assert Schedule.parse(text) == Schedule.parse(same)
    assert Schedule((read(text),)).to_text() == same


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 20)), min_size=1, max_size=8, unique_by=lambda item: item[1])
)
def test_goes_straight_between_and_holds_outside(items: list[tuple[float, int]]) -> None:
    items = [*items, (0.5, 21)]
    schedule = Schedule((read(",".join(f"{weight!r}@{step}" for weight, step in items)),))
    ordered = sorted(items, key=lambda item: item[1])
    weights = schedule.weights(Steps(30))
    for index in range(30):
        after = bisect_right([step for _, step in ordered], index)
        if after in (0, len(ordered)):
            expected = ordered[max(after - 1, 0)][0]
        else:
            (a, start), (b, end) = ordered[after - 1], ordered[after]
            expected = a + (b - a) * (index - start) / (end - start)
        assert weights[index] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("1@", 3, "expected a number, found ''"),
        ("@1", 1, "expected a number"),
        ("0.5@0.3,x@1", 9, "found 'x'"),
        ("0.5@0.3,,1@1", 9, "expected weight@position"),
        ("0.5@0.3,1", 9, "expected weight@position .* found '1'"),
        ("1@2@3", 1, "expected weight@position"),
        ("1@nan", 3, "expected a number"),
        ("101@0", 1, "must lie in"),
        ("1@-0.5", 3, "before the run"),
        ("1@0,1@20000", 7, "at most 10,000 steps"),
    ],
)
def test_errors_have_the_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        Schedule.parse(text)
    assert caught.value.column == column


def test_too_many() -> None:
    with pytest.raises(ScheduleError, match="at most 1,000") as caught:
        Schedule.parse(",".join(["1@0"] * 10_000))
    assert caught.value.column == 4001
