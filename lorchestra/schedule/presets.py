"""Schedules that have a name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .steps import MAX_STEPS


@dataclass(frozen=True, slots=True)
class Preset:
    """One named schedule."""

    name: str
    """As a person picks or types it; it never changes."""
    text: str
    """In the text form."""
    sentence: str


@dataclass(frozen=True, slots=True)
class NumberedPreset:
    """A family of schedules, one for each number: `fade in over 30 %`."""

    name: str
    """With `{number}` where a person puts the number; it never changes."""
    text: str
    """In the text form, with `{number}`, and `{rest}` for 100 minus it or `{next}` for one more."""
    sentence: str
    most: int
    """The largest number; the smallest is 1."""

    def of(self, number: int) -> Preset:
        """The preset with this number."""
        text = self.text.format(number=number, rest=100 - number, next=number + 1)
        return Preset(self.name.format(number=number), text, self.sentence)


PRESETS = (
    Preset("constant", "1", "The row's weight at every step."),
    Preset("fade-in", "0:0, 1:1", "From 0 to the row's weight, straight."),
    Preset("fade-out", "0:1, 1:0", "From the row's weight to 0, straight."),
    Preset("smooth fade-in", "0:0 cosine, 1:1", "From 0 to the row's weight, slowly at both ends."),
    Preset("smooth fade-out", "0:1 cosine, 1:0", "From the row's weight to 0, slowly at both ends."),
    Preset("warm-up", "0:0, 0.2:1", "From 0 to the row's weight in the first fifth, then there."),
    Preset("cool-down", "0.8:1, 1:0", "The row's weight, and in the last fifth to 0."),
    Preset("bell", "0:0 cosine, 0.5:1 cosine, 1:0", "Up to the middle of the run, and down again."),
    Preset("valley", "0:1 cosine, 0.5:0 cosine, 1:1", "Down to the middle of the run, and up again."),
    Preset("first half", "0-1/2:1", "The row's weight in the first half, then 0."),
    Preset("second half", "1/2-1:1", "0 in the first half, then the row's weight."),
    Preset("first third", "0-1/3:1", "The row's weight in the first third, then 0."),
    Preset("middle third", "1/3-2/3:1", "The row's weight in the middle third, else 0."),
    Preset("last third", "2/3-1:1", "0 in the first two thirds, then the row's weight."),
    Preset("first step only", "step 1:1 hold, 2:0", "The row's weight at the first step, then 0."),
    Preset("steps 1-2 only", "step 1-2:1", "The row's weight at the first two steps, then 0."),
    Preset("all but step 1", "step 1:0 hold, 2:1", "0 at the first step, then the row's weight."),
    Preset("all but steps 1-2", "step 1:0 hold, 3:1", "0 at the first two steps, then the row's weight."),
)
"""All presets. To add one: a row here; the tests go over the rows."""

_MOST_PERCENT = 99
NUMBERED = (
    NumberedPreset(
        "fade in over {number} %", "0:0, {number}%:1", "From 0 to the row's weight in the first part.", _MOST_PERCENT
    ),
    NumberedPreset(
        "fade out over {number} %", "{rest}%:1, 1:0", "From the row's weight to 0 in the last part.", _MOST_PERCENT
    ),
    NumberedPreset(
        "only the first {number} %",
        "0:1 hold, {number}%:0",
        "The row's weight in the first part, then 0.",
        _MOST_PERCENT,
    ),
    NumberedPreset(
        "only the last {number} %", "{rest}%:0, {rest}%:1", "0, and the row's weight in the last part.", _MOST_PERCENT
    ),
    NumberedPreset(
        "only the first {number} steps",
        "step 1:1 hold, {next}:0",
        "The row's weight at the first steps, then 0.",
        MAX_STEPS,
    ),
    NumberedPreset(
        "all but the first {number} steps",
        "step 1:0 hold, {next}:1",
        "0 at the first steps, then the row's weight.",
        MAX_STEPS,
    ),
)
"""All presets with a number. To add one: a row here; the tests go over the rows."""

PRESET_NAMES = (*(preset.name for preset in PRESETS), *(preset.name.format(number="N") for preset in NUMBERED))
"""All names, for people; N stands for a number."""


def find_preset(name: str) -> Preset | None:
    """The preset that a person means: `Fade_In`, `fade in` and `fade-in` are one; so are `30%` and `30 %`."""
    if len(name) > _LONGEST:
        return None
    plain = _plain(name)
    return _BY_NAME.get(plain) or _find_numbered(plain)


def _find_numbered(plain: str) -> Preset | None:
    found = _WITH_NUMBER.fullmatch(plain)
    if not found:
        return None
    words, number, unit = found.groups()
    preset = _BY_WORDS.get((words, "steps" if unit == "step" else unit))
    return preset.of(int(number)) if preset and 1 <= int(number) <= preset.most else None


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


_BY_NAME = {_plain(preset.name): preset for preset in PRESETS}
_BY_WORDS = {tuple(preset.name.split(" {number} ")): preset for preset in NUMBERED}
_WITH_NUMBER = re.compile(r"([a-z ]+) ([0-9]{1,5}) ?(%|steps?)")  # fade in over 30 %
_LONGEST = 200
