"""The named schedules do what their sentences say."""

from __future__ import annotations

import pytest

from lorchestra.schedule import PRESETS, Schedule, Steps
from lorchestra.schedule.presets import NUMBERED, find_preset

SIX = {
    "constant": [1, 1, 1, 1, 1, 1],
    "fade-in": [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6],
    "fade-out": [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6],
    "smooth fade-in": [0, 0.0669873, 0.25, 0.5, 0.75, 0.9330127],
    "smooth fade-out": [1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873],
    "warm-up": [0, 5 / 6, 1, 1, 1, 1],
    "cool-down": [1, 1, 1, 1, 1, 5 / 6],
    "bell": [0, 0.25, 0.75, 1, 0.75, 0.25],
    "valley": [1, 0.75, 0.25, 0, 0.25, 0.75],
    "first half": [1, 1, 1, 0, 0, 0],
    "second half": [0, 0, 0, 1, 1, 1],
    "first third": [1, 1, 0, 0, 0, 0],
    "middle third": [0, 0, 1, 1, 0, 0],
    "last third": [0, 0, 0, 0, 1, 1],
    "first step only": [1, 0, 0, 0, 0, 0],
    "steps 1-2 only": [1, 1, 0, 0, 0, 0],
    "all but step 1": [0, 1, 1, 1, 1, 1],
    "all but steps 1-2": [0, 0, 1, 1, 1, 1],
}


def test_every_preset_over_six_steps() -> None:
    assert [preset.name for preset in PRESETS] == list(SIX)
    for preset in PRESETS:
        assert Schedule.parse(preset.name).weights(Steps(6)) == pytest.approx(SIX[preset.name]), preset.name


@pytest.mark.parametrize("count", [1, 2, 3, 4, 20, 21, 30, 100])
def test_thirds_and_halves_follow_each_other(count: int) -> None:
    steps = Steps(count)
    for names in (["first half", "second half"], ["first third", "middle third", "last third"]):
        parts = [Schedule.parse(name).weights(steps) for name in names]
        assert [sum(weights) for weights in zip(*parts, strict=True)] == [1] * count


def test_found_as_people_type() -> None:
    preset = find_preset("  Steps  1 2_ONLY ")
    assert preset and preset.name == "steps 1-2 only"
    assert find_preset("step") is None


NUMBERED_OVER_TEN = {
    "fade in over {number} %": [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1],
    "fade out over {number} %": [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25],
    "only the first {number} %": [1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    "only the last {number} %": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
    "only the first {number} steps": [1] * 40,
    "all but the first {number} steps": [0] * 40,
}


def test_every_preset_with_a_number() -> None:
    """With 40: of ten steps, 40 % are four."""
    assert [preset.name for preset in NUMBERED] == list(NUMBERED_OVER_TEN)
    for preset in NUMBERED:
        expected = NUMBERED_OVER_TEN[preset.name]
        schedule = Schedule.parse(preset.name.format(number=40))
        assert schedule.weights(Steps(len(expected))) == pytest.approx(expected), preset.name
        for number in (1, 2, preset.most):
            made = preset.of(number)
            assert find_preset(made.name) == made
            assert Schedule.parse(made.name) == Schedule.parse(made.text)
        for number in (0, preset.most + 1, 999_999):
            assert find_preset(preset.name.format(number=number)) is None
    assert Schedule.parse("all but the first 40 steps").weights(Steps(42))[38:] == (0, 0, 1, 1)


@pytest.mark.parametrize("name", ["Fade_In over 30%", "fade-in  OVER 30 %", " fade in over 030 % "])
def test_numbers_as_people_type(name: str) -> None:
    preset = find_preset(name)
    assert preset and preset.name == "fade in over 30 %"


def test_one_step_is_a_number_of_steps() -> None:
    preset = find_preset("only the first 1 step")
    assert preset and preset.text == "step 1:1 hold, 2:0"
    assert find_preset("fade in over 3 steps") is None
    assert find_preset("fade in over") is None
