"""Folded calls of layers with packed weights: nearer to the truth than merging is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("comfy.quant_ops", reason="this ComfyUI is older than packed weights of these formats")

from support.algorithm_files import KINDS, made
from support.folded import FORMS, Block, folded, of_weight
from support.live_runs import Stacks, apart, hooks, kohya, named, row, sample_wan, weights
from support.models import same_bits
from support.quantized import FORMATS, Format, packed_wan

LAYER = "blocks.0.self_attn.o"
PATH = f"diffusion_model.{LAYER}"
DOWN = "blocks.0.ffn.2"


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


@pytest.mark.parametrize("name", FORMATS)
def test_a_lora_is_not_rounded_in_any_form_of_call(name: str, loras: Path, stacked: Stacks) -> None:
    """What it adds is exact, in all formats; merged it is rounded as the format rounds."""
    form: Format = FORMATS[name]
    model, _ = packed_wan(form)
    layer = folded(model.model.get_submodule(PATH))
    before, parts = weights(model), made("LoRA", (256, 256), 1)
    save_file(named(kohya(LAYER), parts), loras / "a.safetensors")
    delta = KINDS["LoRA"].delta(parts, torch.zeros(256, 256)).float() * 0.7
    seen: dict[str, torch.Tensor] = {}

    def run(item: Any) -> dict[str, torch.Tensor]:
        block = Block(layer, FORMS)

        def first(x: torch.Tensor) -> torch.Tensor:
            x = seen.setdefault("x", x.clone())  # the same for all, whatever the attention made of the LoRA
            return block(x)

        item = item.clone()
        item.add_object_patch("diffusion_model.blocks.0.ffn.forward", first)
        sample_wan(item, steps=1)
        return block.given[0]

    bare, live, merged = run(model), run(stacked(model, [row("a", 0.7)])), run(stacked(model, [row("a", 0.7)], "merge"))
    comfy.model_management.unload_all_models()
    beside = linear(delta)
    for call in FORMS:
        truth = FORMS[call](beside, seen["x"]) - FORMS[call](linear(torch.zeros(256, 256)), seen["x"])
        off = apart(live[call] - bare[call], truth)
        assert off <= 1e-5, call
        assert off < apart(merged[call] - bare[call], truth) / 100, call
    assert hooks(model) == 0 and same_bits(before, weights(model))


class Bare(torch.nn.Module):
    """A product and nothing else."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T


def linear(weight: torch.Tensor) -> Any:
    """A layer of this weight that takes the new arguments."""
    return folded(Bare(weight))


@pytest.mark.parametrize("name", [name for name in FORMATS if not FORMATS[name].is_int8])
def test_packed_weights_that_are_used_without_their_layer(name: str, loras: Path, stacked: Stacks) -> None:
    """Formats that ComfyUI runs the layer of today, and may not tomorrow."""
    model, exact = packed_wan(FORMATS[name])
    save_file(named(kohya(DOWN), made("LoRA", (256, 512), 1)), loras / "a.safetensors")

    def run(item: Any, mode: str) -> torch.Tensor:
        out = stacked(item, [row("a", 0.7)], mode) if mode else item.clone()
        layers = out.model.get_submodule("diffusion_model.blocks.0.ffn")
        out.add_object_patch("diffusion_model.blocks.0.ffn.forward", lambda x: of_weight(layers[2], layers[0](x)))
        return sample_wan(out, steps=1)

    live, merged = run(model, "live"), run(model, "merge")
    truth = run(exact, "merge")
    assert apart(live, truth) < apart(merged, truth) or FORMATS[name].packs_inputs
    assert apart(live, run(model, "")) > 1e-4 and hooks(model) == 0
