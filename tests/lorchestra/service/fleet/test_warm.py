"""What a worker believes to be loaded, and how long the oldest job gives way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lorchestra.service.backend import Ran
from lorchestra.service.fleet.tally import Tally
from lorchestra.service.fleet.warm import Patience, Warm


@pytest.mark.parametrize(
    ("runs", "keys"),
    [
        ((), []),
        ((("a", False),), ["a"]),
        ((("a", False), ("b", False)), ["b"]),
        ((("a", False), ("b", False), ("a", True)), ["a", "b"]),
        ((("a", False), ("b", False), ("a", True), ("b", False)), ["b"]),
        ((("a", False), ("a", False)), ["a"]),
        ((("a", False), ("a", False), ("a", False)), []),
        ((("a", False), ("a", False), ("a", False), ("a", True)), ["a"]),
        (((None, False), ("a", False), (None, True)), ["a"]),
    ],
    ids=["new", "one", "the last", "two are kept", "no more", "freed", "no cache", "cache again", "no model"],
)
def test_what_is_believed(runs: Sequence[tuple[str | None, bool]], keys: Sequence[str]) -> None:
    warm = Warm()
    for key, was_there in runs:
        warm.ran(key, was_there)
    assert warm.keys == keys
    warm.forget()
    assert warm.keys == []


def test_the_oldest_gives_way_for_so_long() -> None:
    now = [100.0]
    patience = Patience(10, lambda: now[0])
    assert not patience.is_over("a", 1)
    now[0] = 109.9
    assert not patience.is_over("a", 1) and not patience.is_over("b", 1)
    now[0] = 110
    assert patience.is_over("a", 1) and not patience.is_over("b", 1)
    assert not patience.is_over("a", 2), "another one is the oldest now"
    assert Patience(0).is_over("a", 1)


def test_a_tally() -> None:
    now = [0.0]
    tally = Tally(lambda: now[0])
    tally.add(Ran(1, 8, 2, "base"))
    now[0] = 61
    tally.add(Ran(1, 8, 6, "stack"))
    tally.add(Ran(1, 2, 0, None))
    assert tally.to_json() == {
        "done": 3, "last_minute": 2, "nodes": 18, "nodes_cached": 8, "by_warm": {"stack": 1, "base": 1, "nothing": 0},
    }  # fmt: skip
