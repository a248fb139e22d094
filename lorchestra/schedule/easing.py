"""How a weight goes from one keyframe to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Easing:
    """The shape of the way between two keyframes, named by the keyframe that the way begins at."""

    word: str
    """As keyframes and JSON say it; it never changes."""
    short: str
    """As the text form writes it."""
    shape: Callable[[float], float]
    """Share of the way that is done when the share x of the time is over: 0 … 1 → 0 … 1, never falling.

    At 0 it is 0. At 1 the next keyframe holds already, so it is never asked.
    """
    sentence: str


def _hold(x: float) -> float:
    return 0.0


def _linear(x: float) -> float:
    return x


def _ease_in(x: float) -> float:
    return x * x


def _ease_out(x: float) -> float:
    return 1 - (1 - x) * (1 - x)


def _ease_in_out(x: float) -> float:
    return 2 * x * x if x < 0.5 else 1 - 2 * (1 - x) * (1 - x)


def _cosine(x: float) -> float:
    return (1 - math.cos(math.pi * x)) / 2


def _cubic(x: float) -> float:
    return 4 * x**3 if x < 0.5 else 1 - 4 * (1 - x) ** 3


HOLD = "hold"
LINEAR = "linear"
"""Of keyframes that name no easing."""

EASINGS = (
    Easing(HOLD, "hold", _hold, "keeps the weight, then jumps"),
    Easing(LINEAR, "", _linear, "goes straight"),
    Easing("ease-in", "ease-in", _ease_in, "starts slowly (x²)"),
    Easing("ease-out", "ease-out", _ease_out, "ends slowly (1 − (1 − x)²)"),
    Easing("ease-in-out", "ease", _ease_in_out, "starts and ends slowly (2x², mirrored)"),
    Easing("cosine", "cosine", _cosine, "half a cosine wave"),
    Easing("cubic", "cubic", _cubic, "starts and ends more slowly than ease (4x³, mirrored)"),
)
"""All easings. To add one: a function with the rules of `Easing.shape` and a row here; the tests go over the rows."""

_BY_WORD = {easing.word: easing for easing in EASINGS}


def find_easing(word: str) -> Easing | None:
    """The easing of this exact word, e.g. `ease-in-out`."""
    return _BY_WORD.get(word)


def shape(word: str, x: float) -> float:
    """The share of the way that is done when the share x of the time is over; `word` is one of `EASINGS`."""
    return _BY_WORD[word].shape(x)


def find_easing_typed(text: str) -> Easing | None:
    """The easing that a person means: `Ease_In`, `ease in` and `ease-in` are one; `ease` is `ease-in-out`."""
    return _BY_TYPED.get(_plain(text))


def _plain(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")


_BY_TYPED = {_plain(name): easing for easing in EASINGS for name in (easing.word, easing.short) if name}
