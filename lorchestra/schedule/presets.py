"""Schedules that have a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """One named schedule."""

    name: str
    """As a person picks or types it; it never changes."""
    text: str
    """In the text form."""
    sentence: str


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


def find_preset(name: str) -> Preset | None:
    """The preset that a person means: `Fade_In`, `fade in` and `fade-in` are one."""
    return _BY_NAME.get(_plain(name)) if len(name) <= _LONGEST else None


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


_BY_NAME = {_plain(preset.name): preset for preset in PRESETS}
_LONGEST = 200
