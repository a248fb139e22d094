"""What a graph needs, and which ComfyUI has it."""

from __future__ import annotations

from typing import Any

import pytest

from lorchestra.demo.prompt import CHECKPOINT, demo_prompt
from lorchestra.service.fleet.needs import ANY, Inventory, find_base, queue_of


def node(**inputs: Any) -> Any:
    return {"input": {"required": inputs}}


def inventory(**nodes: Any) -> Inventory:
    graph = demo_prompt([])
    known = {data["class_type"]: node() for data in graph.values()}
    known["CheckpointLoaderSimple"] = node(ckpt_name=[[CHECKPOINT], {}])
    known["LoraLoader"] = node(lora_name=["COMBO", {"options": ["styles/lines.safetensors", "warm.safetensors"]}])
    return Inventory(known | nodes)


@pytest.mark.parametrize(
    ("graph", "missing"),
    [
        (demo_prompt([{"lora": "warm", "model": 1}, {"lora": "lines", "model": 1}]), []),
        (demo_prompt([{"lora": "cold.safetensors", "model": 1}]), ["'cold.safetensors'"]),
        (demo_prompt([{"lora": "cold", "model": 0}, {"lora": "cold", "model": 1, "on": False}]), []),
        (demo_prompt([{"lora": "civitai:1@2", "model": 1}, {"lora": "cold", "sha256": "a" * 64, "model": 1}]), []),
        (demo_prompt(checkpoint="other.safetensors"), ["'other.safetensors'"]),
        ({"1": {"class_type": "Nowhere", "inputs": {}}}, ["the node 'Nowhere'"]),
        ({"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "cold.safetensors"}}}, ["'cold.safetensors'"]),
        ({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a.safetensors"}}}, []),
    ],
)
def test_missing(graph: Any, missing: list[str]) -> None:
    assert inventory().missing(graph) == missing


def test_queues_are_one_for_each_base_model() -> None:
    assert find_base(demo_prompt()) == CHECKPOINT
    assert find_base({"1": {"class_type": "EmptyImage", "inputs": {}}}) is None and queue_of(None) == ANY
    names = ("a b.safetensors", "a-b.safetensors", "sub/ä.safetensors")
    queues = [queue_of(name) for name in names]
    assert len(set(queues)) == 3 and all(queue.isascii() and "/" not in queue for queue in queues)
    assert inventory().bases == [CHECKPOINT]
