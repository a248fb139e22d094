"""The JSON form: it comes back to the bit, text serves as well, and nothing is half understood."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from support.schedules import schedules

from lorchestra.errors import ScheduleError
from lorchestra.exchange import parse_stack
from lorchestra.schedule import Schedule


@given(schedules())
def test_comes_back_to_the_bit(schedule: Schedule) -> None:
    assert Schedule.from_json(json.loads(json.dumps(schedule.to_json(), allow_nan=False))) == schedule


@given(schedules())
def test_a_row_carries_the_text(schedule: Schedule) -> None:
    stack = parse_stack({"loras": [{"lora": "a", "schedule": schedule.to_text()}]})
    text = parse_stack(stack.to_text()).entries[0].schedule
    assert Schedule.from_json(text) == schedule


def test_looks_like_this() -> None:
    assert Schedule.parse("step 1:1 hold, 3:0").to_json() == {
        "by": "step",
        "keyframes": [{"position": 1, "weight": 1, "easing": "hold"}, {"position": 3, "weight": 0}],
    }
    assert isinstance(Schedule.parse("fade-in * 0.5").to_json(), list)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fade-in", "0:0, 1:1"),
        (0.5, "0.5"),
        (1, "1"),
        ({"keyframes": [{"position": 0, "weight": 0}]}, "0"),
        ([{"keyframes": [{"position": 0, "weight": 2}]}, {"by": "sigma", "keyframes": [{"position": 7, "weight": 1}]}],
         "2 * sigma 7:1"),
    ],
)  # fmt: skip
def test_reads(value: object, text: str) -> None:
    assert Schedule.from_json(value).to_text() == text


KEYFRAME = {"position": 0, "weight": 1}


@pytest.mark.parametrize(
    ("value", "number", "words"),
    [
        (None, None, "a schedule is text, a number"),
        (True, None, "a schedule is text, a number"),
        (object(), None, "not object"),
        (math.nan, None, "finite"),
        (10**400, None, "finite"),
        (101, 1, "must lie in"),
        ([], None, "no curve"),
        ([1], None, "expected a curve"),
        ([{"keyframes": [KEYFRAME]}] * 1001, None, "at most 1,000"),
        ({}, None, '"keyframes" is None; expected a list'),
        ({"keyframes": []}, None, "no keyframe"),
        ({"keyframes": "x"}, None, "expected a list"),
        ({"keyframes": [KEYFRAME], "loop": 1}, None, "'loop' is not known; expected by, keyframes"),
        ({"keyframes": [KEYFRAME], "by": "frame"}, None, "'frame'; expected progress"),
        ({"keyframes": [KEYFRAME], "by": []}, None, "expected progress"),
        ({"keyframes": [KEYFRAME, 1]}, 2, "1 is not a keyframe"),
        ({"keyframes": [{"position": 0}]}, 1, '"weight" is None'),
        ({"keyframes": [{"position": "0", "weight": 1}]}, 1, "\"position\" is '0'"),
        ({"keyframes": [{"position": True, "weight": 1}]}, 1, '"position" is True'),
        ({"keyframes": [{"position": 0, "weight": math.inf}]}, 1, "finite"),
        ({"keyframes": [{**KEYFRAME, "easing": 1}]}, 1, '"easing" is 1'),
        ({"keyframes": [{**KEYFRAME, "easing": "wobble"}]}, 1, "'wobble' is not an easing"),
        ({"keyframes": [{**KEYFRAME, "note": 1}]}, 1, "'note' is not known"),
        ({"keyframes": [{"position": 0.5, "weight": 1}, KEYFRAME]}, 2, "backwards"),
        ({"keyframes": [KEYFRAME] * 10_000}, 1001, "at most 1,000"),
    ],
)
def test_errors_name_the_keyframe(value: object, number: int | None, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        Schedule.from_json(value)
    assert caught.value.keyframe == number
    if number:
        assert str(caught.value).startswith(f"keyframe {number}: ")
