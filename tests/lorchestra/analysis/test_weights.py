"""Suggested weights and what is said, from balances with known products."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from lorchestra.analysis.balance import Balance, Compared, Group, Pairs
from lorchestra.analysis.findings import find
from lorchestra.analysis.report import report, to_json
from lorchestra.analysis.weights import EQUAL, INTERFERENCE, SUGGESTIONS, TOTAL, suggested

RULES = {suggestion.id: suggestion for suggestion in SUGGESTIONS}


def balance(gram: Sequence[Sequence[float]], weights: Sequence[float], blocks: int = 1, before: int = 0) -> Balance:
    """Of files a.safetensors, b.safetensors …; the products lie in the first block; the first came with the model."""
    count = len(weights)
    names = [f"folder/{letter}.safetensors" for letter in "abcdefgh"[:count]]
    tables = [
        torch.tensor(gram, dtype=torch.float64).reshape(count, count),
        *[torch.eye(count, dtype=torch.float64) * 1e-9] * (blocks - 1),
    ]
    groups = [
        Group("model", f"double_blocks.{number}", "attention", table, table.diagonal().sqrt())
        for number, table in enumerate(tables)
    ]
    nothing = torch.full((count, count), torch.nan, dtype=torch.float64)
    loras = [
        Compared(place + 1 if place < before else place + 1 - before, name, weight, weight, False, place < before)
        for place, (name, weight) in enumerate(zip(names, weights, strict=True))
    ]
    return Balance(tuple(loras), tuple(groups), Pairs(nothing, nothing, nothing, nothing), ())


def weights_of(found: Balance, rule: str) -> list[float]:
    return [float(pair[0]) for pair in suggested(found, RULES[rule])]


def test_equal_strength_keeps_the_total() -> None:
    found = balance([[4, 0], [0, 1]], [0.5, 1.0])  # strengths 1 and 1 already
    assert weights_of(found, EQUAL) == pytest.approx([0.5, 1.0])
    found = balance([[4, 0], [0, 1]], [1.0, -1.0])  # 2 and 1: √5 together, √2.5 each
    assert weights_of(found, EQUAL) == pytest.approx([2.5**0.5 / 2, -(2.5**0.5)])


@pytest.mark.parametrize("rule", [EQUAL, TOTAL])
def test_nothing_is_suggested_for_loras_that_undo_each_other(rule: str) -> None:
    """Together they are nothing but rounding, and no weights have a strength like that."""
    found = balance([[1, 1, 0], [1, 1, 0], [0, 0, 1e-10]], [0.7, -0.7, 0.5])
    assert weights_of(found, rule) == [0.7, -0.7, 0.5]


def test_no_weight_above_two_is_suggested() -> None:
    assert weights_of(balance([[100, 0], [0, 0.01]], [1.0, 1.0]), EQUAL)[1] == 2.0
    assert weights_of(balance([[100, 0], [0, 0.01]], [1.0, 5.0]), EQUAL)[1] == 5.0


def test_the_total_of_one_at_the_usual_weight() -> None:
    """Two alike at 0.75: together they should be as one."""
    found = balance([[1, 0], [0, 1]], [0.75, 0.75])
    assert weights_of(found, TOTAL) == pytest.approx([0.75 / 2**0.5] * 2)
    assert weights_of(balance([[1]], [1.2]), TOTAL) == pytest.approx([0.75])


def test_what_others_add_is_taken_off() -> None:
    """Along each, the sum is as large as it is alone."""
    found = balance([[1, 0.5], [0.5, 1]], [0.8, 0.8])
    weights = weights_of(found, INTERFERENCE)
    assert weights == pytest.approx([0.8 / 1.5] * 2)
    assert weights[0] + 0.5 * weights[1] == pytest.approx(0.8)
    assert weights_of(balance([[1, 0], [0, 9]], [0.3, 0.4]), INTERFERENCE) == pytest.approx([0.3, 0.4])


def test_a_row_that_others_outdo_keeps_a_quarter() -> None:
    """Along b, a adds more than b alone; a then needs no raising for what b adds no more."""
    weights = weights_of(balance([[4, 1], [1, 1]], [1, 0.5]), INTERFERENCE)
    assert weights[1] == pytest.approx(0.125)
    assert 2 * weights[0] + 0.5 * weights[1] == pytest.approx(2)


def test_two_copies_share_the_work() -> None:
    assert weights_of(balance([[1, 1], [1, 1]], [0.8, 0.8]), INTERFERENCE) == pytest.approx([0.4, 0.4])


@pytest.mark.parametrize("rule", RULES)
def test_what_came_with_the_model_keeps_its_weight(rule: str) -> None:
    """The rows are weighted among themselves; what the other adds is taken off them alone."""
    found = balance([[9, 0.5, 0], [0.5, 1, 0], [0, 0, 4]], [1.0, 0.6, 0.5], before=1)
    weights = weights_of(found, rule)
    assert weights[0] == 1.0
    if rule != INTERFERENCE:
        assert weights[1:] == pytest.approx(weights_of(found.only([1, 2]), rule))
    else:
        assert weights[1] == pytest.approx(0.15) and weights[2] == pytest.approx(0.5)
    text = report(found)
    assert "a (before this node)" in text
    assert f"  {rule}: b " in text
    data = to_json(found)
    assert [row["row"] for row in data["loras"]] == ["b1", 1, 2]
    assert [row["row"] for row in data["suggested"][rule]] == [1, 2]


def test_only_what_came_with_the_model() -> None:
    found = balance([[9]], [1.0], before=1)
    assert all(weights_of(found, rule) == [1.0] for rule in RULES)
    nothing = balance([[0]], [1.0], before=1)
    assert [item.sentence(nothing) for item in find(nothing)] == [
        "a (before this node) changes nothing: its update is 0 everywhere. Take it out where it is loaded."
    ]


@pytest.mark.parametrize("rule", RULES)
def test_a_row_without_effect_keeps_its_weight(rule: str) -> None:
    found = balance([[0, 0], [0, 4]], [0.6, 0.5])
    assert weights_of(found, rule)[0] == 0.6
    assert weights_of(balance([[0]], [0.6]), rule) == [0.6]


def test_one_dominates() -> None:
    (finding,) = find(balance([[1, 0], [0, 9]], [1, 1]))
    assert finding.sentence(balance([[1, 0], [0, 9]], [1, 1])) == (
        "b dominates: it is 3.0 times as strong as the next one. Lower its weight, or raise the others'."
    )
    assert find(balance([[1, 0], [0, 3.9]], [1, 1])) == []


def test_one_hardly_does_anything() -> None:
    by_weight = balance([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1, 1, 0.01])
    assert [item.sentence(by_weight) for item in find(by_weight)] == [
        "c hardly does anything: it has 1.0% of the strongest one's strength, because its weight is 0.01. Raise it, or "
        "switch the row off."
    ]
    by_file = balance([[1, 0, 0], [0, 1, 0], [0, 0, 0.0001]], [1, 1, 1])
    (finding,) = find(by_file)
    assert "at weight 1 its update is still small" in finding.sentence(by_file)
    nothing = balance([[1, 0], [0, 0]], [1, 1])
    assert [item.sentence(nothing) for item in find(nothing)] == [
        "b changes nothing: its update is 0 everywhere. Switch the row off."
    ]


def test_two_compete() -> None:
    found = balance([[1, 0.6], [0.6, 1]], [1, 1], blocks=3)
    assert [item.sentence(found) for item in find(found)] == [
        "a and b do the same work (cosine 0.60), most of all in double_blocks.0. Together they are stronger than they "
        "look."
    ]
    against = balance([[1, 0.6], [0.6, 1]], [1, -1])
    assert [item.sentence(against) for item in find(against)] == ["a and b undo each other's work (cosine -0.60)."]
    assert find(balance([[1, 0.19], [0.19, 1]], [1, 1])) == []
    assert find(balance([[1, -0.09], [-0.09, 1]], [1, 1])) == []


def test_the_report() -> None:
    text = report(balance([[4, 1], [1, 1]], [1, 0.5]))
    assert "a                 1         2    80%        2  double_blocks.0" in text.splitlines()[1]
    assert "a and b do the same work" in text
    assert "  equal: a 0.661, b 1.32." in text
    assert report(balance([], [])) == "No LoRA does anything here: none is on, or no weight is other than 0."
    assert to_json(balance([], []))["suggested"] == {"equal": [], "total": [], "interference": []}
    data = to_json(balance([[4, 1], [1, 1]], [1, 0.5]))
    assert data["loras"][0]["strength"] == 2
    assert data["pairs"] == [
        {
            "rows": [1, 2], "cosine": 0.5, "same_inputs": None, "same_outputs": None, "opposite_signs": None,
            "opposite_signs_error": None,
        }
    ]  # fmt: skip
