"""Groups of rows on the LoRA Stack: bit for bit what the rows as they act give, and which rows a seed picks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import load_unet, patched, same_bits

from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def model() -> Any:
    """A small MODEL."""
    return load_unet(torch.float16)


@pytest.fixture
def files(loras: Path) -> Path:
    """Three LoRAs on the same layers."""
    for seed, name in enumerate("abc"):
        write_lora(loras / f"{name}.safetensors", layers("*attn1.to_q"), seed=seed)
    return loras


def text(rows: list[dict[str, Any]], **group: Any) -> str:
    return json.dumps({"groups": [{"name": "g", **group}], "loras": [{**row, "group": "g"} for row in rows]})


@pytest.mark.parametrize("mode", ["merge", "live"])
def test_a_factor_is_other_weights(stack_node: Any, model: Any, files: Path, mode: str) -> None:
    rows = [{"lora": "a", "model": 0.7, "clip": 0.2}, {"lora": "b", "model": -1.5}, {"lora": "c", "on": False}]
    halved = [{"lora": "a", "model": 0.35, "clip": 0.1}, {"lora": "b", "model": -0.75}]
    out = stack_node.execute(model=model, loras=text(rows, factor=0.5), mode=mode).args
    expected = stack_node.execute(model=model, loras=halved, mode=mode).args
    if mode == "merge":
        assert same_bits(patched(out[0]), patched(expected[0]))
        assert not same_bits(patched(out[0]), patched(stack_node.execute(model=model, loras=rows).args[0]))
    assert out[2] == expected[2]
    assert out[3].split("\n")[:2] == expected[3].split("\n")[:2]


def test_off_opens_no_file(stack_node: Any, model: Any, files: Path) -> None:
    for group in ({"on": False}, {"factor": 0}):
        assert stack_node.validate_inputs(loras=text([{"lora": "gone"}], **group)) is True
        assert stack_node.execute(model=model, loras=text([{"lora": "gone"}], **group)).args[0].patches == {}


def test_picks(stack_node: Any, model: Any, files: Path) -> None:
    """The seed picks; the report says which; what it did not pick need not be there."""
    rows = [{"lora": "a"}, {"lora": "b"}, {"lora": "gone"}]
    for pick, seeds in (("next", (0, 4, 2**64 - 1)), ("one", (1, 7, 2**64 - 1))):
        loras = text(rows, pick=pick)
        for seed in seeds:
            verdict = stack_node.validate_inputs(loras=loras, pick_seed=seed, policy="refuse", missing="error")
            if verdict is not True:
                assert pick == "one" and "row 3: gone was not found" in verdict
                continue
            out = stack_node.execute(model=model, loras=loras, pick_seed=seed).args
            ((name, *_),) = out[2]
            assert f": {name[0]}" in out[3] and "The group 'g' picked row" in out[3]
            assert same_bits(patched(out[0]), patched(stack_node.execute(model=model, loras=[{"lora": name}]).args[0]))
            if pick == "next":
                assert name[0] == "ab?"[seed % 3]
    assert stack_node.fingerprint_inputs(loras=text(rows, pick="one"), pick_seed=1) == stack_node.fingerprint_inputs(
        loras=text(rows, pick="one")
    )
