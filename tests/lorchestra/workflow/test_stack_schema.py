"""The schema of a stack accepts what Lorchestra writes, and refuses what Lorchestra refuses."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lorchestra.errors import StackError
from lorchestra.exchange import parse_stack
from lorchestra.limits import MAX_NAME, MAX_ROWS, MAX_WORD, MAX_WORDS, WEIGHT_LIMIT
from lorchestra.stack import CONDITIONINGS, DEFAULT_WEIGHT, EXPERTS, VERSION, Entry, Stack
from lorchestra.workflow import stack_schema

VALIDATOR = Draft202012Validator(stack_schema())
WEIGHTS = st.floats(-WEIGHT_LIMIT, WEIGHT_LIMIT)
TEXTS = st.none() | st.text(max_size=10)
STACKS = st.builds(
    Stack,
    st.lists(
        st.builds(
            Entry,
            lora=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1).filter(str.strip),
            on=st.booleans(),
            model=WEIGHTS,
            clip=st.none() | WEIGHTS,
            blocks=st.dictionaries(st.text(max_size=5), WEIGHTS, max_size=2),
            schedule=st.sampled_from([None, "fade-in", "0:0, 1:1"]),
            conditioning=st.sampled_from(CONDITIONINGS),
            expert=st.none() | st.sampled_from(EXPERTS),
            sha256=st.none() | st.text("0123456789abcdefABCDEF", min_size=64, max_size=64),
            air=TEXTS,
            triggers=st.none() | st.lists(st.sampled_from(["pixel art", "a, b", "像素"]), max_size=3).map(tuple),
            extra=st.dictionaries(st.sampled_from(["note", "x"]), st.none() | st.integers(), max_size=2),
        ),
        max_size=4,
    ).map(tuple),
    version=st.integers(1, 9),
    extra=st.dictionaries(st.sampled_from(["note", "x"]), st.none() | st.integers(), max_size=2),
)


def is_stack(value: object) -> bool:
    try:
        parse_stack(value)
    except StackError:
        return False
    return True


def test_is_a_schema() -> None:
    schema = stack_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:")
    assert json.loads(json.dumps(schema)) == schema


def test_is_a_new_copy() -> None:
    stack_schema()["properties"].clear()
    assert stack_schema()["properties"]


def test_examples() -> None:
    examples = stack_schema()["examples"]
    assert examples
    for example in examples:
        VALIDATOR.validate(example)
        assert parse_stack(example).to_json() == example


def test_numbers_come_from_the_stack() -> None:
    row = stack_schema()["$defs"]["row"]["properties"]
    for key in ("model", "clip"):
        assert (row[key]["minimum"], row[key]["maximum"]) == (-WEIGHT_LIMIT, WEIGHT_LIMIT)
    assert row["model"]["default"] == DEFAULT_WEIGHT
    assert row["lora"]["maxLength"] == MAX_NAME
    assert stack_schema()["properties"]["loras"]["maxItems"] == MAX_ROWS
    assert stack_schema()["properties"]["version"]["default"] == VERSION


def test_defaults_are_those_of_an_entry() -> None:
    row = stack_schema()["$defs"]["row"]["properties"]
    entry = Entry("a")
    assert row.pop("group")["description"]  # of the stack's groups
    assert set(row) == {field.name for field in fields(Entry) if field.init} - {"extra", "region"}
    for key in set(row) - {"lora"}:
        assert row[key]["default"] == getattr(entry, key), key


@settings(deadline=None)
@given(STACKS)
def test_every_stack_is_valid(stack: Stack) -> None:
    VALIDATOR.validate(stack.to_json())
    VALIDATOR.validate(json.loads(stack.to_text()))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "[]",
        {},
        {"loras": None},
        {"loras": {}},
        {"loras": [None]},
        {"version": 0, "loras": []},
        {"version": "1", "loras": []},
        {"loras": [{"lora": "a"}] * (MAX_ROWS + 1)},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refuses(value: object) -> None:
    assert not VALIDATOR.is_valid(value)


ROWS: tuple[dict[str, Any], ...] = (
    {},
    {"model": 1},
    {"lora": None},
    {"lora": ""},
    {"lora": " "},
    {"lora": "a\n"},
    {"lora": "\0a"},
    {"lora": "a" * (MAX_NAME + 1)},
    {"lora": "a", "on": None},
    {"lora": "a", "on": 1},
    {"lora": "a", "model": None},
    {"lora": "a", "model": "1"},
    {"lora": "a", "model": True},
    {"lora": "a", "model": 100.1},
    {"lora": "a", "model": -101},
    {"lora": "a", "clip": 1e308},
    {"lora": "a", "clip": []},
    {"lora": "a", "blocks": []},
    {"lora": "a", "blocks": {"in": 1000}},
    {"lora": "a", "blocks": {"in": None}},
    {"lora": "a", "schedule": 1},
    {"lora": "a", "conditioning": None},
    {"lora": "a", "conditioning": "some"},
    {"lora": "a", "expert": "middle"},
    {"lora": "a", "sha256": 1},
    {"lora": "a", "air": {}},
    {"lora": "a", "triggers": "pixel art"},
    {"lora": "a", "triggers": ["pixel art", 1]},
    {"lora": "a", "triggers": [" "]},
    {"lora": "a", "triggers": ["a" * (MAX_WORD + 1)]},
    {"lora": "a", "triggers": ["a\nb"]},
    {"lora": "a", "triggers": ["a"] * (MAX_WORDS + 1)},
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row)[:40])
def test_refuses_rows_as_the_stack_does(row: dict[str, Any]) -> None:
    value = {"loras": [{"lora": "good"}, row]}
    assert not is_stack(value)
    errors = list(VALIDATOR.iter_errors(value))
    assert errors
    assert all(list(error.absolute_path)[:2] == ["loras", 1] for error in errors)


@pytest.mark.parametrize(
    "row",
    [
        {"lora": "a"},
        {"lora": "a", "model": 1},
        {"lora": "a", "model": -100, "clip": 100},
        {"lora": "a", "clip": None, "blocks": None, "schedule": None, "expert": None, "sha256": None, "air": None},
        {"lora": "a", "triggers": None},
        {"lora": "a", "triggers": []},
        {"lora": "a", "triggers": ["a" * MAX_WORD] * MAX_WORDS},
        {"lora": "a", "schedule": "bell", "conditioning": "positive", "expert": "both"},
        {"lora": "a" * MAX_NAME, "anything": {"else": [1]}},
    ],
    ids=lambda row: repr(row)[:40],
)
def test_accepts_rows_as_the_stack_does(row: dict[str, Any]) -> None:
    assert is_stack({"loras": [row]})
    VALIDATOR.validate({"loras": [row]})


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "g" * 64])
def test_refuses_what_is_no_hash(sha256: str) -> None:
    assert not VALIDATOR.is_valid({"loras": [{"lora": "a", "sha256": sha256}]})
