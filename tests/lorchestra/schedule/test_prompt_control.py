"""prompt-control's ranges mean what its documentation and its parser make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import ScheduleError
from lorchestra.schedule import Curve, Schedule
from lorchestra.schedule.prompt_control import read

A, B, C = "<lora:a:1>", "<lora:a:0.5>", "<lora:a:-0.25>"


def text(curve: Curve) -> str:
    return Schedule((curve,)).to_text()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"[{A}:0.3]", "0:0 hold, 0.3:1"),
        (f"[{A}::0.3]", "0:1 hold, 0.3:0"),
        (f"[{B}:{A}:0.3]", "0:0.5 hold, 0.3:1"),
        (f"[{A}:0.2,0.6]", "0:0 hold, 0.2:1 hold, 0.6:0"),
        (f"[:{A}::0.2,0.6]", "0:0 hold, 0.2:1 hold, 0.6:0"),
        (f"[{A}:{B}:0.2,0.6]", "0:0 hold, 0.2:1 hold, 0.6:0.5"),
        (f"[{B}:{A}:{C}:0.2,0.6]", "0:0.5 hold, 0.2:1 hold, 0.6:-0.25"),
        (f"[{B}:{A}:{C}:0.2]", "0:0.5 hold, 0.2:1"),
        (f"[{B}:[{A}::0.7]:0.5]", "0:0.5 hold, 0.5:1 hold, 0.7:0"),
        (f"[SEQ:{A}:0.2:{B}:0.6]", "0:1 hold, 0.2:0.5 hold, 0.6:0"),
        (f"[{A}|{B}]", "0:1 hold, 0.1:0.5 hold, 0.2:1"),
        (f"[{A}|{B}:0.5]", "0:1 hold, 0.5:0.5"),
        (f"[{A}|{B}|:0.3]", "0:1 hold, 0.3:0.5 hold, 0.6:0 hold, 0.9:1"),
        (f"[{A}:0,0.5] and [{B}:0.3,1]", "0:1 hold, 0.3:1.5 hold, 0.5:0.5"),
        (f"[{A}] {A}", "2"),
        (f"[a (red:1.2) dog {A}:a cat: 0.5 , 1.0 ]", "0:0 hold, 0.5:1"),
        (f"[x \\: y {A}:0.5] # [{A}:0.1]\n", "0:0 hold, 0.5:1"),
        (f"[dog:cat:HR] [{A}:0.5] [cow|pig:9] [a:b:c:d]", "0:0 hold, 0.5:1"),
        ("[<lora:a:1:0.2>:0.5]", "0:0 hold, 0.5:1"),
        ("[0.5:1:0.3]", "0:0.5 hold, 0.3:1"),
        ("[1:0.2,0.6]", "0:0 hold, 0.2:1 hold, 0.6:0"),
        ("[-1:.5:+.25]", "0:-1 hold, 0.25:0.5"),
    ],
)
def test_reads(text: str, same: str) -> None:
    found = Schedule.parse(text)
    assert found.to_text().startswith(same)
    for index in range(10 if "|" in text else 100):
        assert found.at(index / 100) == Schedule.parse(same).at(index / 100)


def test_a_whole_prompt() -> None:
    found = read("a cat ] <lora:x/y b:1> [<lora:z:0.5:0.25>:0.2,0.6], (big:1.2) <lora:x/y b:1:0>")
    assert [(s.name, text(s.model), text(s.clip)) for s in found] == [
        ("x/y b", "2", "1"),
        ("z", "0:0 hold, 0.2:0.5 hold, 0.6:0", "0:0 hold, 0.2:0.25 hold, 0.6:0"),
    ]
    assert read("a cat [dog:cow:0.5]") == ()


@pytest.mark.parametrize(("text", "progress"), [("5", 0.25), ("0.5", 0.5), ("1.5", 0.075), ("20", 1.0), ("1", 0.05)])
def test_step_numbers(text: str, progress: float) -> None:
    """prompt-control takes a number without a point for a step when it knows how many there are."""
    (scheduled,) = read(f"[{A}::{text}]", steps=20)
    assert scheduled.model.is_constant == (progress == 1)
    if progress < 1:
        assert scheduled.model.keyframes[1].position == progress


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=6), st.floats(0, 1))
def test_ranges_that_overlap_add_up(ranges: list[tuple[float, float, float]], progress: float) -> None:
    ranges = [(round(min(a, b), 3), round(max(a, b), 3), round(w, 3)) for a, b, w in ranges]
    text = "".join(f"[<lora:a:{w:.3f}>:{a:.3f},{b:.3f}]" for a, b, w in ranges)
    expected = sum(w for a, b, w in ranges if a <= progress < b)
    (scheduled,) = read(text) or read("<lora:a:0>")
    if progress < 1:
        assert Schedule((scheduled.model,)).at(progress) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        (f"[{A}:0.6,0.2]", 13, "goes backwards"),
        (f"[{A}:12]", 13, "12 is not a position.*num_steps"),
        (f"[{A}:-0.1]", 13, "not a position"),
        (f"[{A}:0.5,7]", 17, "7 is not a position"),
        (f"[{A}:X]", 13, "X is a tag"),
        (f"[{A}:half]", 13, "expected a position such as 0.5, found 'half'"),
        (f"[{A}:", 1, "never closed"),
        (f"[[{A}:0.5]", 1, "never closed"),
        (f"[(a {A}:0.5]", 2, "\\( in this bracket is never closed"),
        (f"[{A}:b:c:d:0.5]", 1, "at most three prompts"),
        (f"[SEQ:{A}:0.5:{B}:0.2]", 34, "goes backwards"),
        (f"[SEQ:{A}:x]", 17, "expected a position"),
        (f"[SEQ:{A}:0.5:b]", 21, "followed by its end"),
        (f"[{A}|b:x]", 15, "length of a turn"),
        (f"[{A}|b:0.001]", 15, "at least 0.01"),
        ("[<lora:a>:0.5]", 2, "expected <lora:name:weight>"),
        ("[<lora:a:x>:0.5]", 2, "expected <lora:name:weight>"),
        ("[<loractl:a:1@0>:0.5]", 2, "expected <lora:name:weight>"),
        ("[<lora:a:101>:0.5]", 10, "101 must lie in"),
        ("[<lora:a:1:101>:0.5]", 12, "101 must lie in"),
        ("[<lora:a:1>:0.5][<lora:b:1>:0.5]", 1, "this names 2: 'a, b'"),
        ("[cat:dog:0.5]", 1, "no weight in the brackets"),
        ("[" * 30 + A + "]" * 30, 21, "more than 20 deep"),
        (f"[{A}|b:0.01]" * 50, None, "more than 2,000 switches"),
        (f"[{A}:0.5]" * 200, None, "must lie in"),
    ],
)
def test_errors_have_the_column(text: str, column: int | None, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        Schedule.parse(text)
    if column is not None:
        assert caught.value.column == column


def test_a_step_beyond_the_run() -> None:
    with pytest.raises(ScheduleError, match="21 is not a position"):
        read(f"[{A}:21]", steps=20)


@given(st.text("[]:|()<>\\#,.0123456789 aSEQlor", max_size=60))
def test_any_prompt_is_read_or_refused_in_words(text: str) -> None:
    try:
        read(text)
    except ScheduleError as error:
        assert error.reason
