"""Every easing keeps the rules that `Easing.shape` gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.schedule.easing import EASINGS, HOLD, Easing, find_easing, find_easing_typed

SHARES = st.floats(0, 1)
ROWS = pytest.mark.parametrize("easing", EASINGS, ids=lambda easing: easing.word)


@ROWS
def test_begins_at_nothing_and_ends_at_everything(easing: Easing) -> None:
    assert easing.shape(0) == 0
    assert easing.shape(1) == (0 if easing.word == HOLD else 1)


@ROWS
@given(SHARES, SHARES)
def test_never_falls(easing: Easing, a: float, b: float) -> None:
    assert 0 <= easing.shape(min(a, b)) <= easing.shape(max(a, b)) + 1e-15 <= 1 + 1e-15


@pytest.mark.parametrize("word", ["linear", "ease-in-out", "cosine", "cubic"])
@given(x=SHARES)
def test_mirrored(word: str, x: float) -> None:
    """So that a cross-fade that goes back the same way meets in the middle."""
    easing = find_easing(word)
    assert easing
    assert easing.shape(x) + easing.shape(1 - x) == pytest.approx(1, abs=1e-15)


@given(SHARES)
def test_in_is_out_mirrored(x: float) -> None:
    ease_in, ease_out = find_easing("ease-in"), find_easing("ease-out")
    assert ease_in and ease_out
    assert ease_in.shape(x) + ease_out.shape(1 - x) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("word", "quarter"),
    [
        ("hold", 0), ("linear", 0.25), ("ease-in", 0.0625), ("ease-out", 0.4375), ("ease-in-out", 0.125),
        ("cosine", 0.1464466), ("cubic", 0.0625),
    ],
)  # fmt: skip
def test_at_a_quarter(word: str, quarter: float) -> None:
    easing = find_easing(word)
    assert easing
    assert easing.shape(0.25) == pytest.approx(quarter)


@pytest.mark.parametrize(
    ("typed", "word"),
    [("ease", "ease-in-out"), ("Ease_In", "ease-in"), ("ease in out", "ease-in-out"), ("easeout", "ease-out"),
     ("HOLD", "hold"), ("linear", "linear")],
)  # fmt: skip
def test_as_people_type(typed: str, word: str) -> None:
    easing = find_easing_typed(typed)
    assert easing and easing.word == word


@pytest.mark.parametrize("typed", ["", "-", "easy", "ease-in-out-in"])
def test_no_easing(typed: str) -> None:
    assert find_easing_typed(typed) is None


def test_words_are_told_apart() -> None:
    assert len({easing.word for easing in EASINGS}) == len({easing.short for easing in EASINGS}) == len(EASINGS)
