"""Groups of rows: every reader sees the rows as they act, and the text keeps them as they are written."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import StackError
from lorchestra.exchange import DIALECTS, parse_stack
from lorchestra.limits import MAX_GROUP_NAME, MAX_GROUPS, WEIGHT_LIMIT
from lorchestra.stack import PICKS, Stack
from lorchestra.stack.groups import scaled

WEIGHTS = st.floats(-WEIGHT_LIMIT, WEIGHT_LIMIT)
SEEDS = st.integers(0, 2**64 - 1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"lora": st.sampled_from("abcd"), "model": WEIGHTS},
        optional={"on": st.booleans(), "clip": st.none() | WEIGHTS, "group": st.sampled_from(["one", "two", None])},
    ),
    max_size=6,
)


def stack_of(rows: list[Any], seed: int = 0, **groups: dict[str, Any]) -> Stack:
    listed = [{"name": name, **group} for name, group in groups.items()]
    return parse_stack({"groups": listed, "loras": rows}).with_seed(seed)


@given(ROWS)
def test_factor_one_and_on_is_no_group(rows: list[Any]) -> None:
    plain = [{key: value for key, value in row.items() if key != "group"} for row in rows]
    assert stack_of(rows, one={}, two={"factor": 1.0}).entries == parse_stack({"loras": plain}).entries


@given(ROWS, st.floats(-1, 1), st.floats(-1, 1), st.booleans(), st.sampled_from(PICKS), SEEDS)
def test_the_text_keeps_the_groups(
    rows: list[Any], factor: float, other: float, on: bool, pick: str, seed: int
) -> None:
    stack = stack_of(rows, seed, one={"factor": factor, "pick": pick, "note": 1}, two={"factor": other, "on": on})
    again = parse_stack(stack.to_json())
    assert again.with_seed(seed) == stack
    assert [row.get("group") for row in again.to_json()["loras"]] == [row.get("group") for row in rows]
    assert again.to_json()["groups"][0].get("note") == 1
    assert len(stack.entries) == len(rows)
    assert not any("group" in entry.extra for entry in stack.entries)
    active = {entry.lora for entry in stack.entries if entry.active}
    assert active <= {row["lora"] for row in rows if row.get("on", True)}


@given(WEIGHTS, WEIGHTS)
def test_products_of_what_is_written(weight: float, factor: float) -> None:
    assert scaled(weight, 1) == weight
    assert scaled(weight, 0.5) * 2 == pytest.approx(weight, abs=1e-300)
    assert scaled(weight, factor) == pytest.approx(weight * factor, rel=1e-15, abs=1e-300)
    assert scaled(weight, factor) == scaled(factor, weight) == -scaled(-weight, factor)


def test_numbers_that_people_type() -> None:
    assert scaled(0.7, 0.8) == 0.56 and scaled(0.1, 3) == 0.3 and str(scaled(0, -1)) == "0.0"
    stack = stack_of(
        [{"lora": "a", "model": 0.7, "clip": 0.3, "group": "g"}, {"lora": "b", "model": 0.7}], g={"factor": 0.8}
    )
    assert stack.to_tuples() == [("a", 0.56, 0.24), ("b", 0.7, 0.7)]


@pytest.mark.parametrize("group", [{"on": False}, {"factor": 0}, {"factor": -0.0}])
def test_zero_is_free(group: dict[str, Any]) -> None:
    assert stack_of([{"lora": "gone", "group": "g"}], g=group).to_tuples() == []


@given(ROWS, SEEDS, st.randoms())
def test_a_draw_does_not_depend_on_the_order(rows: list[Any], seed: int, chance: Any) -> None:
    rows = [{**row, "lora": f"{row['lora']}{number}"} for number, row in enumerate(rows)]
    mixed = chance.sample(rows, len(rows))
    one, other = (stack_of(these, seed, one={"pick": "one"}, two={"pick": "one"}) for these in (rows, mixed))
    assert sorted(one.to_tuples()) == sorted(other.to_tuples())


def test_draws_are_fair_and_stay_when_a_row_goes() -> None:
    rows = [{"lora": name, "group": "g"} for name in "abcd"]
    drawn = [stack_of(rows, seed, g={"pick": "one"}).to_tuples()[0][0] for seed in range(400)]
    assert all(70 < count < 130 for count in Counter(drawn).values()) and len(set(drawn)) == 4
    fewer = [stack_of(rows[:3], seed, g={"pick": "one"}).to_tuples()[0][0] for seed in range(400)]
    assert all(one == other for one, other in zip(drawn, fewer, strict=True) if one != "d")
    assert drawn[:8] == list("bdacdbca")  # what a seed picks never changes


def test_turns() -> None:
    rows = [
        {"lora": "a", "group": "g"},
        {"lora": "off", "group": "g", "on": False},
        {"lora": "x"},
        {"lora": "b", "group": "g"},
    ]
    for seed, picked in ((0, "a"), (1, "b"), (2, "a"), (2**64 - 1, "b")):
        stack = stack_of(rows, seed, g={"pick": "next"})
        assert [row[0] for row in stack.to_tuples()] == sorted([picked, "x"], key="axb".index), seed
        (sentence,) = stack.picks_in_words()
        assert picked in sentence
    assert [row[0] for row in stack_of(rows, g={"pick": "next"}).with_seed(None).to_tuples()] == ["x"]
    assert [row[0] for row in stack_of(rows, g={"pick": "next"}).unpicked().to_tuples()] == ["a", "x", "b"]
    assert "picks no row" in stack_of(rows[1:2], g={"pick": "one"}).picks_in_words()[0]


def test_without_groups_a_group_is_a_key_like_any_other() -> None:
    """Prompts of before mean the same."""
    stack = parse_stack({"loras": [{"lora": "a", "group": 5}]})
    assert stack.entries[0].extra == {"group": 5} and stack.to_json()["loras"][0]["group"] == 5


def test_two_hundred_rows_and_a_group_without_any() -> None:
    rows = [{"lora": f"{number}", "group": "g"} for number in range(200)]
    stack = stack_of(rows, g={"factor": 0.5, "pick": "one"}, empty={})
    assert len(stack.to_tuples()) == 1 and stack.to_tuples()[0][1] == 0.375


@pytest.mark.parametrize(
    ("groups", "row", "words"),
    [
        ({}, None, "expected a list"),
        ("style", None, "expected a list"),
        ([1], None, "a group is a number"),
        ([{"name": " "}], None, "1 to 80 characters"),
        ([{"name": "x" * (MAX_GROUP_NAME + 1)}], None, "1 to 80 characters"),
        ([{"name": "a\nb"}], None, "1 to 80 characters"),
        ([{}], None, "1 to 80 characters"),
        ([{"name": "g"}, {"name": "g"}], None, "two groups have the name 'g'"),
        ([{"name": "g", "on": 1}], None, '"on" is 1'),
        ([{"name": "g", "factor": float("nan")}], None, '"factor" is nan'),
        ([{"name": "g", "factor": 101}], None, '"factor" is 101'),
        ([{"name": "g", "factor": True}], None, '"factor" is True'),
        ([{"name": "g", "pick": "two"}], None, "expected one of all, one, next"),
        ([{"name": "G"}], 1, "no group with the name 'g'"),
        ([{"name": "g", "factor": 50}], 1, "with the factor 50 of its group"),
        ([{"name": f"{number}"} for number in range(MAX_GROUPS + 1)], None, "at most 200"),
    ],
)
def test_bad_groups(groups: Any, row: int | None, words: str) -> None:
    with pytest.raises(StackError) as caught:
        parse_stack({"groups": groups, "loras": [{"lora": "a", "model": 3, "group": "g"}]})
    assert caught.value.row == row
    assert words in str(caught.value)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.id)
def test_dialects_write_the_rows_as_they_act(dialect: Any) -> None:
    row = {"lora": "styles/a.safetensors", "air": "urn:air:sdxl:lora:civitai:1@2", "sha256": "0" * 64, "model": 0.5}
    options = {"allow_names": True} if "allow_names" in dialect.write_options else {}
    grouped = stack_of([{**row, "group": "g"}, {**row, "group": "off"}], g={"factor": 0.5}, off={"on": False})
    plain = parse_stack({"loras": [{**row, "model": 0.25}, {**row, "on": False}]})
    assert dialect.write(grouped, **options).text == dialect.write(plain, **options).text
