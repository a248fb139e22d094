"""Rows of LoRA-Manager's widgets, and what nobody named a dialect for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.errors import LorchestraError
from lorchestra.exchange import lora_manager, read_any
from lorchestra.stack import Entry, Stack

ROW = {"name": "pixel", "strength": 0.8, "clipStrength": 0.8, "active": True}
OFF = {"name": "b", "strength": 1.0, "clipStrength": 0.25, "active": False}
STACK = Stack((Entry("pixel", model=0.8), Entry("b", on=False, model=1.0, clip=0.25)))


@pytest.mark.parametrize(
    "value",
    [
        [ROW, OFF],
        {"__value__": [ROW, OFF]},
        {"loras": {"__value__": [ROW, OFF]}},
        {"class_type": "Lora Loader (LoraManager)", "inputs": {"text": "", "loras": {"__value__": [ROW, OFF]}}},
        {"type": "Lora Loader (LoraManager)", "inputs": [], "widgets_values": ["<lora:pixel:0.8>", [ROW, OFF]]},
        [{**ROW, "strength": "0.80", "expanded": False, "locked": True}, {**OFF, "clipStrength": "0.25"}],
    ],
    ids=["list", "value", "loras", "prompt", "workflow", "texts"],
)
def test_what_somebody_copied_is_read(value: Any) -> None:
    assert lora_manager.read(value).stack == STACK
    assert read_any(json.dumps(value)).stack == STACK


def test_written_rows_are_read_again_without_folder_and_ending() -> None:
    rows = Stack((Entry("styles\\pixel.safetensors", model=0.8), STACK.entries[1]))
    writing = lora_manager.write(rows)
    assert writing.value == [ROW, OFF]
    assert [(loss.row, loss.field) for loss in writing.losses] == [(1, "lora")]
    assert read_any(writing.text).stack == STACK


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ('{"version": 1, "loras": [{"lora": "a", "model": 1}]}', (Entry("a", model=1.0),)),
        ('[{"model": "civitai:1@2", "weight": 0.5}]', (Entry("civitai:1@2", model=0.5, air="civitai:1@2"),)),
        ("a cat, <lora:a:0.5> at night", (Entry("a", model=0.5),)),
        (json.dumps('[{"name": "a", "strength": 0.5}]'), (Entry("a", model=0.5),)),
        ('[["a.safetensors", 0.5, 0.25]]', (Entry("a.safetensors", model=0.5, clip=0.25),)),
        ("", ()),
    ],
)
def test_any_dialect_is_told_from_the_others(text: str, entries: tuple[Entry, ...]) -> None:
    assert read_any(text).stack.entries == entries


@pytest.mark.parametrize(
    "text", ["nonsense", '{"a": 1}', "[[1]]", '{"inputs":' * 900 + "{}" + "}" * 900, "[" * 100_000]
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(LorchestraError):
        read_any(text)
