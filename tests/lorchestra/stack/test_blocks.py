"""Patterns of blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import StackError
from lorchestra.stack.blocks import check_blocks, factor_of, means

LAYER = {"double_blocks": 3, "double": 3, "attn": None, "attention": None, "early": None}


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("double_blocks.3", True),
        ("double_blocks.0-5", True),
        ("double_blocks.0-2", False),
        ("double_blocks.0,3", True),
        ("double_blocks.0,5-9", False),
        ("double_blocks", True),
        ("DOUBLE.3", True),
        ("attn", True),
        ("mlp", False),
        ("*", True),
        ("double attn", True),
        ("double mlp", False),
        ("* early", True),
        ("attn.3", False),
        ("double_blocks.03", True),
    ],
)
def test_what_a_pattern_means(pattern: str, meant: bool) -> None:
    assert means(pattern, LAYER) is meant


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "3", ".", "double_blocks.", "double_blocks.-1", "a.1-", "a.1,,2", "a..b", "(attn)", "a.1-2-3", "a" * 201],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(StackError, match="names no blocks; write for example") as error:
        check_blocks([pattern], 4)
    assert error.value.row == 4


def test_a_range_that_goes_backwards() -> None:
    with pytest.raises(StackError, match="the range 5-2 goes backwards"):
        check_blocks(["input.1,5-2"], 1)


def test_factors_are_multiplied_in_any_order() -> None:
    blocks = {"double_blocks.0-5": 0.5, "attn": 0.1, "mlp": 0.0, "early": 3.0}
    assert factor_of(blocks, LAYER) == factor_of(dict(reversed(blocks.items())), LAYER) == pytest.approx(0.15)
    assert factor_of({}, LAYER) == 1
    assert factor_of({"mlp": 0.2}, LAYER) == 1


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        check_blocks([text], 1)
    except StackError:
        return
    assert means(text, LAYER) in (True, False)
