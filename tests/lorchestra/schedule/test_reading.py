"""The text form: it comes back to the bit, and its errors name the column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import schedules

from lorchestra.errors import ScheduleError
from lorchestra.schedule import PRESETS, Curve, Keyframe, Schedule
from lorchestra.schedule.easing import EASINGS
from lorchestra.schedule.reading import MAX_TEXT

PARSE = Schedule.parse


@given(schedules())
def test_comes_back_to_the_bit(schedule: Schedule) -> None:
    text = schedule.to_text()
    again = PARSE(text)
    assert again == schedule
    assert again.to_text() == text == str(schedule)
    bits = [
        [(float(k.position).hex(), float(abs(k.weight)).hex()) for k in curve.keyframes] for curve in schedule.curves
    ]
    assert [
        [(float(k.position).hex(), float(abs(k.weight)).hex()) for k in curve.keyframes] for curve in again.curves
    ] == bits


@pytest.mark.parametrize(
    "text",
    [
        "0.8",
        "0",
        "-0.5",
        "1e-07",
        "0:0, 0.3:1 ease, 1:0.2",
        "0:0 hold, 0.1:1 ease-in, 0.2:2 ease-out, 0.3:3 ease, 0.4:4 cosine, 0.5:5 cubic, 0.6:6",
        "1/3:1 hold, 2/3:0",
        "step 3:1 hold, 5:0",
        "step 1.5:1",
        "sigma 14.6:0, 7:-100",
        "0.5:0.2, 0.5:1",
        "0.5 * 0:0, 1:1 * step 1:0 hold, 2:1",
        "0.3:0.8",
        "0:0.8 hold",
    ],
)
def test_is_written_as_it_was(text: str) -> None:
    assert PARSE(text).to_text() == text


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" 0 : 0 ,\n 0.3 : +1  EASE-IN-OUT , 1:.2 ", "0:0, 0.3:1 ease, 1:0.2"),
        ("0%:0, 30%:1 ease, 100%:0.2", "0:0, 0.3:1 ease, 1:0.2"),
        ("progress 0:0, 3/10:1 ease_in_out, progress 1:2e-1", "0:0, 0.3:1 ease, 1:0.2"),
        ("0:0 linear, 1:1", "0:0, 1:1"),
        ("Steps 3:1, step 5:0", "step 3:1, 5:0"),
        ("step3:1", "step 3:1"),
        ("SIGMAS 7:1", "sigma 7:1"),
        ("1.0", "1"),
        ("0:0.8", "0.8"),
        ("0.2-0.6:1", "0.2:0, 0.2:1 hold, 0.6:0"),
        ("0-0.6:1", "0:1 hold, 0.6:0"),
        ("20% - 60% : 1", "0.2:0, 0.2:1 hold, 0.6:0"),
        ("0.6-1:1", "0.6:0, 0.6:1"),
        ("0-1:0.5", "0.5"),
        ("0-0.4:1, 0.4-0.6:0.5, 0.8-0.9:-1", "0:1 hold, 0.4:0.5 hold, 0.6:0, 0.8:0, 0.8:-1 hold, 0.9:0"),
        ("step 1-2:1", "step 1:1 hold, 3:0"),
        ("step 2-2:1", "step 2:0, 2:1 hold, 3:0"),
        ("step 1-2:1, 3-4:0.5", "step 1:1 hold, 3:0.5 hold, 5:0"),
        ("sigma 14.6-7:1", "sigma 14.6:0, 14.6:1 hold, 7:0"),
        ("sigma 7-0:1", "sigma 7:0, 7:1"),
        ("Fade_In", "0:0, 1:1"),
        ("fade in * 0.5", "0:0, 1:1 * 0.5"),
        ("steps 1-2 only*fade-out", "step 1:1 hold, 3:0 * 0:1, 1:0"),
        ("0.2@0.2,1@0.2", "0.2:0.2, 0.2:1"),
        ("[<lora:a:1>:0.2,0.6]", "0:0 hold, 0.2:1 hold, 0.6:0"),
        ("0:.2,.5:.8,1:1", "0:0.2, 0.5:0.8, 1:1"),
    ],
)
def test_other_ways_to_say_it(text: str, same: str) -> None:
    assert PARSE(text).to_text() == same


@given(st.integers(0, 100))
def test_percentages_are_exact(percent: int) -> None:
    assert PARSE(f"{percent}%:1") == PARSE(f"{percent / 100!r}:1")


@pytest.mark.parametrize("easing", EASINGS, ids=lambda easing: easing.word)
def test_every_easing(easing: object) -> None:
    word = easing.word  # type: ignore[attr-defined]
    assert PARSE(f"0:0 {word}, 1:1").curves[0].keyframes[0].easing == word


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset(preset: object) -> None:
    name, text = preset.name, preset.text  # type: ignore[attr-defined]
    assert PARSE(name) == PARSE(text) == PARSE(name.upper().replace(" ", "_"))
    assert PARSE(f"{name} * {name}").curves == PARSE(text).curves * 2
    assert all(0 <= keyframe.weight <= 1 for keyframe in PARSE(name).curves[0].keyframes)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "empty"),
        ("  \n", 1, "empty"),
        ("wobble", 1, "'wobble' is not a schedule; .*fade-in"),
        ("nan", 1, "not a schedule"),
        ("0:nan", 3, "expected a weight .* found 'nan'"),
        ("0:inf", 3, "expected a weight"),
        ("nan:1", 1, "not a schedule"),
        ("0:0, nan:1", 6, "expected a position"),
        ("0:0,,1:1", 5, "expected a position"),
        ("0:0, 1:1,", 10, "expected a position .* found the end"),
        ("0:0 1:1", 5, "expected a comma, found '1:1'"),
        ("0:0; 1:1", 4, "expected a comma, found '; 1:1'"),
        (":1", 1, "expected a keyframe"),
        ("step 1-2 only", 10, "expected : and a weight"),
        ("0.5,1:0", 1, "0.5 has no position"),
        ("0:", 3, "expected a weight .* found the end"),
        ("0:0, 0.5", 9, "expected : and a weight"),
        ("0:1%", 3, "weights are not percentages; write 0.01"),
        ("0:101", 3, "the weight 101 must lie"),
        ("-101", 1, "the weight -101 must lie"),
        ("0:1, 1:1e999", 8, "must lie"),
        ("-0.1:1", 1, "positions have no sign"),
        ("0:1, 1.5:1", 6, "'1.5' is not a position: progress lies in 0 … 1.*write step"),
        ("101%:1", 1, "not a position"),
        ("5/4:1", 1, "not a position"),
        ("1/0:1", 3, "above 0"),
        ("1/:1", 3, "above 0"),
        ("1e999999999:1", 1, "not a position"),
        ("0:1 wobble, 1:0", 5, "'wobble' is not an easing; there are hold"),
        ("0.5:1, 0.2:0", 8, "0.2 after 0.5 goes backwards"),
        ("0:0, 0:1, 0:2", 11, "a third keyframe at 0"),
        ("0:0, step 3:1", 6, "this one is by step, the first by progress"),
        ("step", 5, "expected a position .* found the end"),
        ("step 0:1", 6, "steps count from 1"),
        ("step 3:1, 2:1", 11, "goes backwards"),
        ("step 20000:1", 6, "at most 10,000"),
        ("step 50%:1", 6, "percentages are positions of progress"),
        ("sigma 1:0, 2:1", 12, "sigmas fall"),
        ("sigma -1:0", 7, "no sign"),
        ("0.6-0.2:1", 5, "ends where or before it begins"),
        ("0.2-0.2:1", 5, "ends where or before it begins"),
        ("sigma 1-7:1", 9, "sigmas fall"),
        ("step 5-3:1", 8, "ends where or before"),
        ("0-0.5:1, 0.4-1:1", 10, "begins before the one in front of it ends"),
        ("0-0.5:1, 0.6:1", 10, "cannot be mixed"),
        ("0-0.5:1 ease", 9, "takes no easing"),
        ("0-0.5:101", 7, "must lie"),
        ("fade-in *", 10, "found the end"),
        ("* fade-in", 1, "found '\\* fade-in'"),
        ("fade-in fade-out", 1, "not a schedule"),
        ("fade-in * wobble", 11, "'wobble' is not a schedule"),
        ("20 * 20", None, "multiply to 400"),
        ("1" * 500, 1, "at most 400 characters"),
        ("0:" + "1" * 500, 3, "at most 400 characters"),
        ("0:1 ​", 5, "expected a comma"),
        ("٣:1", 1, "expected a position"),
    ],
)
def test_errors_have_the_column(text: str, column: int | None, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        PARSE(text)
    assert caught.value.column == column
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if column is not None:
        assert str(caught.value) == f"column {column}: {caught.value.reason}"


def test_too_many_keyframes() -> None:
    text = ", ".join(f"{index / 10_000:g}:1" for index in range(10_000))
    with pytest.raises(ScheduleError, match="at most 1,000 keyframes") as caught:
        PARSE(text)
    assert caught.value.column == text.index("0.1:1") + 1
    with pytest.raises(ScheduleError, match="at most 1,000 keyframes") as caught:
        PARSE(f"fade-in * {text}")
    assert caught.value.column == text.index("0.0998:1") + 1 + len("fade-in * ")


def test_too_many_ranges() -> None:
    with pytest.raises(ScheduleError, match="at most 1,000 keyframes") as caught:
        PARSE(", ".join(f"{index / 1000:g}-{index / 1000 + 0.0005:g}:1" for index in range(999)))
    assert caught.value.column


def test_too_much_text() -> None:
    with pytest.raises(ScheduleError, match="at most 100,000") as caught:
        PARSE(" " * MAX_TEXT + "1")
    assert caught.value.column == MAX_TEXT + 1


@given(st.text("0123456789.:,-*@[]<>|% epslotaighmnx/\n", max_size=40) | st.text(max_size=20))
def test_any_text_is_a_schedule_or_an_error_in_words(text: str) -> None:
    try:
        schedule = PARSE(text)
    except ScheduleError as error:
        assert error.reason
        assert error.column is None or 1 <= error.column <= len(text) + 1
    else:
        assert PARSE(schedule.to_text()) == schedule


def test_a_jump_at_the_start() -> None:
    assert PARSE("0:0, 0:1") == Schedule((Curve((Keyframe(0, 0), Keyframe(0, 1))),))
    assert PARSE("0:0, 0:1").at(0) == 1
