"""The rows of ComfyUI's own LoadLoraModel and LoadLoraTextEncoder in prompts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.errors import DialectError
from lorchestra.exchange import comfyui, read_any
from lorchestra.stack import Entry, Stack


def row(number: int, name: Any, strength: Any = 1.0, enabled: Any = True) -> dict[str, Any]:
    at = f"loras.{number}"
    return {f"{at}.lora_name": name, f"{at}.strength": strength, f"{at}.enabled": enabled}


def node(*rows: dict[str, Any], kind: str = comfyui.MODEL, **links: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": {**links, **{key: value for one in rows for key, value in one.items()}}}


PROMPT = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    "7": node(row(0, "a.safetensors", 0.7), row(2, "b/c.safetensors", -0.5, False), model=["4", 0]),
    "8": node(row(0, "a.safetensors", 0.5), row(1, "d.safetensors"), kind=comfyui.TEXT_ENCODER, clip=["4", 1]),
}
ENTRIES = (
    Entry("a.safetensors", model=0.7, clip=0.5),
    Entry("b/c.safetensors", on=False, model=-0.5, clip=0.0),
    Entry("d.safetensors", model=0.0, clip=1.0),
)


@pytest.mark.parametrize("value", [PROMPT, {"prompt": PROMPT, "client_id": "x"}], ids=["prompt", "body"])
def test_the_two_nodes_of_a_prompt_are_one_stack(value: Any) -> None:
    """Rows without a number between are empty rows; what one node has alone has the weight 0 for the other."""
    reading = comfyui.read(value)
    assert reading.stack.entries == ENTRIES
    assert not reading.losses
    assert read_any(json.dumps(value)) == reading


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        (node(row(0, "a", 0.5)), (Entry("a", model=0.5, clip=0.0),)),
        (node(row(0, "a", 0.5), kind=comfyui.TEXT_ENCODER), (Entry("a", model=0.0, clip=0.5),)),
        (row(0, "a", 0.5), (Entry("a", model=0.5, clip=0.0),)),
        ({"inputs": row(0, "a")}, (Entry("a", model=1.0, clip=0.0),)),
        ({"loras.0.lora_name": "a"}, (Entry("a", model=1.0, clip=0.0),)),
        (
            {"loras.10.lora_name": "k", "loras.9.lora_name": "j"},
            (Entry("j", model=1.0, clip=0.0), Entry("k", model=1.0, clip=0.0)),
        ),
        ({}, ()),
    ],
)  # fmt: skip
def test_a_node_alone(value: Any, entries: tuple[Entry, ...]) -> None:
    assert comfyui.read(value).stack.entries == entries


def test_a_file_that_stands_twice_is_paired_in_order() -> None:
    prompt = {
        "1": node(row(0, "a", 0.1), row(1, "a", 0.2)),
        "2": node(row(0, "a", 0.1), row(1, "a", 0.4), row(2, "a", 0.8), kind=comfyui.TEXT_ENCODER),
    }
    entries = (Entry("a", model=0.1), Entry("a", model=0.2, clip=0.4), Entry("a", model=0.0, clip=0.8))
    assert comfyui.read(prompt).stack.entries == entries


@pytest.mark.parametrize(("enabled", "weights"), [((True, False), (0.7, 0.0)), ((False, True), (0.0, 0.5))])
def test_a_row_that_one_node_has_enabled(enabled: tuple[bool, bool], weights: tuple[float, float]) -> None:
    prompt = {
        "1": node(row(0, "a", 0.7, enabled[0])),
        "2": node(row(0, "a", 0.5, enabled[1]), kind=comfyui.TEXT_ENCODER),
    }
    reading = comfyui.read(prompt)
    (entry,) = reading.stack.entries
    assert (entry.on, entry.model, entry.clip_weight) == (True, *weights)
    assert [(loss.row, loss.field) for loss in reading.losses] == [(1, "enabled")]


@pytest.mark.parametrize("name", [None, "", "None"])
def test_rows_without_a_file_are_left_out_and_told(name: str | None) -> None:
    reading = comfyui.read(node(row(0, name), row(1, "b")))
    assert [entry.lora for entry in reading.stack.entries] == ["b"]
    assert [(loss.row, loss.field) for loss in reading.losses] == [(1, "inputs.loras.0.lora_name")]


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"7": node(row(20, "a"))}, "7.inputs.loras.20.lora_name", "at most 20 rows"),
        ({"7": node(row(0, "a", ["5", 0]))}, "7.inputs.loras.0.strength", "connected"),
        ({"7": node(row(0, ["5", 0]))}, "7.inputs.loras.0.lora_name", "connected"),
        ({"7": node(row(0, 3))}, "7.inputs.loras.0.lora_name", "name of a file"),
        ({"7": node(row(0, "a", "1"))}, "7.inputs.loras.0.strength", "a number"),
        ({"7": node(row(0, "a", float("nan")))}, "7.inputs.loras.0.strength", "must lie in"),
        ({"7": node(row(0, "a", 1, "yes"))}, "7.inputs.loras.0.enabled", "true or false"),
        ({"1": node(row(0, "a")), "2": node(row(0, "b"))}, None, "'1, 2' are all LoadLoraModel"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, None, "has no node"),
        ({"class_type": "LoraLoader", "inputs": {}}, "class_type", "expected LoadLoraModel"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_field(value: Any, path: str | None, said: str) -> None:
    with pytest.raises(DialectError, match=said) as caught:
        comfyui.read(value)
    assert caught.value.path == path


def test_both_nodes_are_written_and_read_back() -> None:
    writing = comfyui.write(Stack(ENTRIES))
    assert writing.value["1"] == node(
        row(0, "a.safetensors", 0.7), row(1, "b/c.safetensors", -0.5, False), row(2, "d.safetensors", 0.0)
    )
    assert writing.value["2"]["class_type"] == comfyui.TEXT_ENCODER
    assert comfyui.read(writing.value).stack.entries == ENTRIES
    assert not writing.losses


def test_a_node_that_has_no_weights_is_not_written() -> None:
    only = comfyui.write(Stack((Entry("a", model=0.5, clip=0.0),)))
    assert [one["class_type"] for one in only.value.values()] == [comfyui.MODEL]
    texts = comfyui.write(Stack((Entry("a", model=0.0, clip=0.5),)))
    assert [one["class_type"] for one in texts.value.values()] == [comfyui.TEXT_ENCODER]
