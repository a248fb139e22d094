"""Names of tensors as patterns, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.architectures.patterns import Pattern, compact, compact_names, expand, ranges


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ((), ()),
        (("a.weight",), ("a.weight",)),
        (("a.0.q", "a.1.q", "a.2.q"), ("a.[0-2].q",)),
        (("a.0.q", "a.2.q", "a.10.q", "a.11.q"), ("a.[0,2,10-11].q",)),
        (("a.q", "a.k"), ("a.{k,q}",)),
        (("a.0.q", "a.0.k", "a.1.q", "a.1.k"), ("a.[0-1].{k,q}",)),
        (("a.0.q", "a.0.k", "a.1.q"), ("a.0.{k,q}", "a.1.q")),
        (("blocks.block0.x", "blocks.block1.x"), ("blocks.block[0-1].x",)),
        (("w1", "w2", "w"), ("w", "w[1-2]")),
        (("a.0", "a.b"), ("a.0", "a.b")),  # a number and a word are two patterns
        (("a.01", "a.1", "a.2"), ("a.01", "a.[1-2]")),  # a leading zero would be lost in a range
        (("a", "a.b"), ("a", "a.b")),
    ],
)
def test_compact_names(names: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    assert compact_names(names) == patterns
    assert compact_names(reversed(names)) == patterns
    assert sorted(name for pattern in patterns for name in expand(pattern)) == sorted(names)


def test_expand_counts_the_last_choice_fastest() -> None:
    assert list(expand("a.[0-1].{q,k}")) == ["a.0.q", "a.0.k", "a.1.q", "a.1.k"]


@pytest.mark.parametrize("name", ["a.[0]", "a.{b}", "a,b"])
def test_names_that_no_pattern_can_say(name: str) -> None:
    with pytest.raises(ValueError, match="brackets, braces or commas"):
        compact_names([name])


@pytest.mark.parametrize(("numbers", "text"), [([3], "3"), ([2, 0, 1], "[0-2]"), ([0, 2, 3, 9, 10], "[0,2-3,9-10]")])
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_shapes_keep_names_apart() -> None:
    shapes = {"a.0.q": (4, 2), "a.1.q": (4, 2), "a.2.q": (8, 2), "a.0.k": (4, 2), "a.1.k": (4, 2)}
    assert compact(shapes) == (Pattern("a.2.q", (8, 2)), Pattern("a.[0-1].{k,q}", (4, 2)))


_names = st.lists(st.sampled_from(["", "a", "b", "to_q", "w1", "w2", "0", "1", "2", "07", "x12"]), min_size=1).map(
    ".".join
)


@given(st.dictionaries(_names, st.sampled_from([(1,), (2, 3)])))
def test_every_name_comes_back_once(shapes: dict[str, tuple[int, ...]]) -> None:
    items = [item for pattern in compact(shapes) for item in pattern.items()]
    assert len(items) == len(shapes)
    assert dict(items) == shapes
