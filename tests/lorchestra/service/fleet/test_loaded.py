"""What a graph loads: two graphs have one key where the second needs neither loading nor patching after the first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.demo.prompt import CHECKPOINT, STACK_NODE, demo_prompt
from lorchestra.service.fleet.loaded import loaded_by, words_of

ROWS = [{"lora": "warm", "model": 0.8}, {"lora": "lines", "model": -0.4, "schedule": "0:0, 1:1"}]


def stack(*rows: Any, **fields: Any) -> Any:
    return demo_prompt([*rows], **fields)


def changed(prompt: Any, node: str, **inputs: Any) -> Any:
    return prompt | {node: {**prompt[node], "inputs": prompt[node]["inputs"] | inputs}}


def loaders(*names: str, strength: float = 1.0) -> Any:
    """ComfyUI's own loaders, one after the other."""
    prompt = demo_prompt()
    last = "1"
    for number, name in enumerate(names):
        inputs = {"lora_name": name, "strength_model": strength, "strength_clip": 1.0}
        prompt[f"l{number}"] = {
            "class_type": "LoraLoader",
            "inputs": {"model": [last, 0], "clip": [last, 1]} | inputs,
        }
        last = f"l{number}"
    prompt["6"]["inputs"]["model"] = [last, 0]
    return prompt


def renumbered(prompt: Any) -> Any:
    text = json.dumps(prompt)
    for node in prompt:
        text = text.replace(f'"{node}": {{"class_type"', f'"x{node}": {{"class_type"')
        text = text.replace(f'["{node}", ', f'["x{node}", ')
    return json.loads(text)


BASE = stack(*ROWS)


@pytest.mark.parametrize(
    "same",
    [
        stack(*ROWS, seed=9, steps=3, cfg=1.5, width=64, height=64, positive="a barn", negative="", prefix="x"),
        stack(*reversed(ROWS)),
        stack(*ROWS, {"lora": "cold", "model": 0.0}, {"lora": "cold", "on": False}),
        stack({"lora": "warm", "model": 0.8, "clip": 0.8, "triggers": ["sun"]}, ROWS[1]),
        demo_prompt(json.dumps({"version": 1, "loras": ROWS})),
        renumbered(BASE),
        changed(BASE, "6", sampler_name="dpmpp_2m", scheduler="karras"),
        changed(BASE, STACK_NODE, pick_seed=7),
    ],
    ids=["seed and size", "order", "off", "clip", "text", "ids", "sampler", "no pick"],
)
def test_what_changes_no_model_has_the_same_key(same: Any) -> None:
    assert loaded_by(same).stack == loaded_by(BASE).stack


@pytest.mark.parametrize(
    "other",
    [
        stack({**ROWS[0], "model": 0.7}, ROWS[1]),
        stack({**ROWS[0], "clip": 0.1}, ROWS[1]),
        stack({**ROWS[0], "blocks": {"input.1": 0.5}}, ROWS[1]),
        stack(ROWS[0], {**ROWS[1], "schedule": "0:1, 1:0"}),
        stack(ROWS[0]),
        demo_prompt(),
        stack(*ROWS, checkpoint="other.safetensors"),
        changed(BASE, STACK_NODE, mode="live"),
        BASE | {"v": {"class_type": "VAELoader", "inputs": {"vae_name": "v"}}} | {
            "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["v", 0]}}
        },
    ],
    ids=["weight", "clip", "blocks", "schedule", "fewer", "none", "base", "mode", "vae"],
)  # fmt: skip
def test_what_changes_a_model_has_another_key(other: Any) -> None:
    assert loaded_by(other).stack not in (None, loaded_by(BASE).stack)


def test_loaders_of_comfyui_count_with_their_weights() -> None:
    keys = [
        loaded_by(prompt).stack
        for prompt in (loaders("a.safetensors"), loaders("b.safetensors"), loaders("a.safetensors", strength=0.5))
    ]
    assert len(set(keys)) == 3
    assert loaded_by(loaders("a.safetensors") | {"9": demo_prompt(seed=5)["5"]}).stack == keys[0]
    assert words_of(loaders("styles/a.safetensors", strength=0.5)) == "a 0.5"
    assert words_of(BASE) == "warm 0.8, lines -0.4"


def test_rows_that_a_seed_picks_count_with_it() -> None:
    loras = {"version": 1, "groups": [{"name": "g", "pick": "random"}], "loras": [row | {"group": "g"} for row in ROWS]}
    first, second = (changed(demo_prompt(loras), STACK_NODE, pick_seed=seed) for seed in (1, 2))
    assert loaded_by(first).stack != loaded_by(second).stack


def test_the_nodes_that_load_and_patch() -> None:
    loaded = loaded_by(BASE)
    assert (loaded.base, loaded.loaders, loaded.patched) == (CHECKPOINT, {"1"}, {"1", STACK_NODE})


@pytest.mark.parametrize(
    "graph",
    [
        {},
        {"1": {"class_type": "EmptyImage", "inputs": {}}},
        {"1": None, "2": {"class_type": 3, "inputs": [1]}, "3": {"class_type": "A", "inputs": {"image": ["4", 0]}}},
    ],
)
def test_graphs_without_a_model_have_no_key(graph: Any) -> None:
    assert loaded_by(graph).stack is None and words_of(graph) == ""


def test_a_graph_may_be_anything() -> None:
    loop = {
        "1": {"class_type": "LoraLoader", "inputs": {"model": ["2", 0], "lora_name": "a.pt"}},
        "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "lora_name": "b.pt"}},
    }
    assert loaded_by(loop).stack == loaded_by(dict(reversed(loop.items()))).stack
    long = {
        str(number): {"class_type": "ModelPatch", "inputs": {"model": [str(number - 1), 0], "clip": ["0", 0]}}
        for number in range(20_000)
    }
    assert loaded_by(long).stack
