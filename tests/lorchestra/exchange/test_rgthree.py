"""Rows of rgthree's Power Lora Loader, however somebody copied them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.errors import DialectError
from lorchestra.exchange import read_any, rgthree
from lorchestra.stack import Entry, Stack

ROW = {"on": True, "lora": "styles/pixel.safetensors", "strength": 0.8, "strengthTwo": None}
OFF = {"on": False, "lora": "b.safetensors", "strength": 1, "strengthTwo": 0.25}
STACK = Stack(
    (Entry("styles/pixel.safetensors", model=0.8), Entry("b.safetensors", on=False, model=1.0, clip=0.25)),
)
HEADER = {"type": "PowerLoraLoaderHeaderWidget"}


@pytest.mark.parametrize(
    "value",
    [
        [ROW, OFF],
        {"lora_1": ROW, "lora_2": OFF},
        [{}, HEADER, ROW, OFF, {}, ""],
        {"class_type": "Power Lora Loader (rgthree)", "inputs": {"lora_1": ROW, "lora_2": OFF, "model": ["4", 0]}},
        {
            "id": 7,
            "type": "Power Lora Loader (rgthree)",
            "inputs": [],
            "widgets_values": [{}, HEADER, ROW, OFF, {}, ""],
        },
    ],
    ids=["list", "inputs", "values", "prompt", "workflow"],
)
def test_what_somebody_copied_is_read(value: Any) -> None:
    assert rgthree.read(value).stack == STACK
    assert rgthree.read(json.dumps(value)).stack == STACK
    assert read_any(json.dumps(value)).stack == STACK


def test_one_row_and_rows_without_a_lora() -> None:
    assert rgthree.read(ROW).stack.entries == STACK.entries[:1]
    reading = rgthree.read([{**ROW, "lora": "None"}, OFF])
    assert reading.stack.entries == STACK.entries[1:]
    assert [(loss.row, loss.field) for loss in reading.losses] == [(1, "lora")]


def test_a_clip_weight_that_is_the_model_s_is_the_same() -> None:
    assert rgthree.read({**ROW, "strengthTwo": 0.8}).stack.entries[0].clip is None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([OFF, {**ROW, "strength": "much"}], 'row 2: the weight "model" is'),
        ([{**ROW, "strength": 1e9}], "row 1: "),
        ([{"name": "a"}], "has no rows such as"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told(value: Any, sentence: str) -> None:
    with pytest.raises(DialectError, match=sentence):
        rgthree.read(value)


def test_written_rows_are_read_again() -> None:
    writing = rgthree.write(STACK)
    assert writing.value == [ROW, OFF]
    assert writing.losses == ()
    assert read_any(writing.text).stack == STACK


def test_what_has_no_place_is_told() -> None:
    entry = Entry("a.safetensors", air="civitai:1@2", sha256="a" * 64, schedule="fade-in")
    losses = rgthree.write(Stack((entry,), extra={"more": 1})).losses
    assert [(loss.row, loss.field) for loss in losses] == [
        (1, "sha256"), (1, "air"), (1, "schedule"), (None, "more"),
    ]  # fmt: skip
