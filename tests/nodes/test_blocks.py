"""Weights per block in real ComfyUI: the same bits as a file that has just these blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.live_runs import Recorder, Stacks, apart, row, sample
from support.models import load_narrow_unet, narrow_layers, patched, same_bits

from lorchestra.demo.loras import write_lora
from lorchestra.exchange.block_vectors import LAYOUTS

BLOCK = re.compile(r"(input|output)_blocks[._]([0-9]+)[._]|(middle)_block[._]")


def block_of(name: str) -> str:
    found = BLOCK.search(name)
    return "" if found is None else found[3] or f"{found[1]}.{found[2]}"


@pytest.fixture
def model() -> Any:
    return load_narrow_unet(torch.float16)


@pytest.fixture
def blocks(loras: Path) -> list[str]:
    """The blocks of a LoRA with layers in many of them."""
    whole = write_lora(
        loras / "whole.safetensors", narrow_layers("*attn?.to_*", "*in_layers.2"), "native", rank=4, seed=1
    )
    return sorted({block_of(name) for name in load_file(whole)})


def cut(loras: Path, keep: set[str]) -> None:
    """The LoRA with the layers of some blocks alone."""
    tensors = load_file(loras / "whole.safetensors")
    save_file({name: one for name, one in tensors.items() if block_of(name) in keep}, loras / "part.safetensors")


def weights(stack_node: Any, model: Any, loras: str) -> dict[str, torch.Tensor]:
    return patched(stack_node.execute(model=model, loras=loras, mode="merge").args[0])


def rows(name: str, weight: float, blocks: dict[str, float] | None = None) -> str:
    row = {"lora": f"{name}.safetensors", "model": weight, **({"blocks": blocks} if blocks else {})}
    return json.dumps({"version": 1, "loras": [row]})


def test_one_block_alone(stack_node: Any, loras: Path, model: Any, blocks: list[str]) -> None:
    assert len(blocks) > 5 and "" not in blocks
    for only in (blocks[0], "middle", blocks[-1]):
        cut(loras, {only})
        others = dict.fromkeys((one for one in blocks if one != only), 0.0)
        found = weights(stack_node, model, rows("whole", 0.7, others))
        expected = weights(stack_node, model, rows("part", 0.7))
        assert same_bits(found, expected), only
        assert not same_bits(found, weights(stack_node, model, rows("whole", 0.7)))


@pytest.mark.parametrize("length", [26, 17, 12])
def test_a_vector_of_a1111(stack_node: Any, loras: Path, model: Any, blocks: list[str], length: int) -> None:
    """A text with `lbw=` does what a LoRA with just these blocks does."""
    names = {"IN": "input", "OU": "output"}
    kept = {name for name in LAYOUTS[length] if name in ("IN01", "IN04", "M00", "OUT03", "OUT05")}
    vector = ",".join("1" if name in kept else "0" for name in LAYOUTS[length])
    here = {"middle" if one == "M00" else f"{names[one[:2]]}.{int(one[-2:])}" for one in kept}
    assert len(here & set(blocks)) > 1
    cut(loras, here)
    found = weights(stack_node, model, f"<lora:whole:0.7:lbw={vector}>")
    assert same_bits(found, weights(stack_node, model, rows("part", 0.7)))


def test_two_rows_of_one_file_give_parts_their_own_schedules(
    stack_node: Any, loras: Path, model: Any, blocks: list[str]
) -> None:
    """As two files would that have these parts, each with its schedule; at each step."""
    middle, rest = {"middle"}, set(blocks) - {"middle"}
    cut(loras, middle)
    (loras / "part.safetensors").rename(loras / "middle.safetensors")
    cut(loras, rest)
    fades = {"middle": "0:1, 1:0", "rest": "0:0, 1:1"}
    one = [
        row("whole", 0.8, schedule=fades["middle"], blocks=dict.fromkeys(rest, 0.0)),
        row("whole", 0.8, schedule=fades["rest"], blocks={"middle": 0.0}),
    ]
    two = [row("middle", 0.8, schedule=fades["middle"]), row("part", 0.8, schedule=fades["rest"])]
    answers: list[list[torch.Tensor]] = []
    for entries in (one, two, [row("whole", 0.8)]):
        out = Stacks(stack_node)(model, entries)
        recorder = Recorder(out)
        sample(out, steps=3)
        answers.append([answer for *_, answer in recorder.calls])
    assert len(answers[0]) == len(answers[1]) == 3
    for found, expected, flat in zip(*answers, strict=True):
        assert apart(found, expected) <= 1e-5
        assert apart(found, flat) > 1e-3
