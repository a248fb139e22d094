"""What messages quote stays short, in one line, and never fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import FileProblem, StackError, quoted


def loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", "'a\\nb'"),
        (None, "None"),
        (0.5, "0.5"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_quoted(value: object, text: str) -> None:
    assert quoted(value) == text


@given(st.text() | st.integers() | st.lists(st.text()) | st.dictionaries(st.text(), st.lists(st.text())))
def test_quoted_is_one_short_line(value: object) -> None:
    assert len(quoted(value)) <= 120
    assert quoted(value).isprintable()


def test_quoted_ends() -> None:
    for value in (loop(), "x" * 10_000_000, 10**5000, [10**5000]):
        assert len(quoted(value)) <= 120


def test_messages_name_file_and_row() -> None:
    assert str(FileProblem("x", "is broken")) == "x: is broken"
    assert str(StackError("is broken", 3)) == "row 3: is broken"
    assert str(StackError("is broken")) == "is broken"
