"""Merged files in real ComfyUI: its own loader takes all of them, and the weights are those of our stack."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.algorithm_files import made
from support.models import load_unet, patched

import nodes
from lorchestra.cli.rows import read_rows
from lorchestra.demo.loras import layers, write_lora
from lorchestra.making.merge import merge

WEIGHTS = {"a": 0.7, "b": -0.4, "c": 0.5}


def test_comfyuis_own_loader_does_with_the_merged_file_what_the_stack_does(
    stack_node: Any, loras: Path, caplog: pytest.LogCaptureFixture
) -> None:
    attention = layers("input_blocks.1.*attn1.to_q", "input_blocks.1.*attn2.to_k", "input_blocks.1.*proj_in")
    convolutions = layers("input_blocks.1.*in_layers.2")
    write_lora(loras / "a.safetensors", attention, rank=8, alpha=4, seed=1, scale=0.3, dtype=torch.float32)
    write_lora(loras / "b.safetensors", {**attention, **convolutions}, rank=4, seed=2, dtype=torch.float32)
    write_lora(loras / "c.safetensors", convolutions, rank=4, seed=3, tucker=True, dtype=torch.float32)
    name, shape = next((name, shape) for name, shape in attention.items() if name.endswith("attn1.to_q"))
    diff = {f"diffusion_model.{name}{end}": tensor for end, tensor in made("diff", shape).items()}
    save_file({**load_file(loras / "c.safetensors"), **diff}, loras / "c.safetensors")
    rows = [f"{loras / name}.safetensors={weight}" for name, weight in WEIGHTS.items()]
    done = merge(read_rows(rows, ""), loras / "merged.safetensors", architecture="sd15")
    assert done.whole == 1
    model = load_unet(torch.float32)
    with caplog.at_level(logging.WARNING):
        (loaded,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, "merged.safetensors", 1.0)
    assert not [record for record in caplog.records if "not loaded" in record.getMessage()]
    stack = {"version": 1, "loras": [{"lora": f"{name}.safetensors", "model": w} for name, w in WEIGHTS.items()]}
    expected = patched(stack_node.execute(model=model, loras=json.dumps(stack)).args[0])
    found = patched(loaded)
    start = model.model.state_dict()
    changed = 0
    for key, weight in expected.items():
        change = (weight.double() - start[key].double()).norm()
        changed += bool(change)
        assert (found[key].double() - weight.double()).norm() <= 1e-5 * change, key
    assert changed >= len(attention)
