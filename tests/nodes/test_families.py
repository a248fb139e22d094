"""Small models of each family, over whole runs: live is what merging is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from support.families import ALGORITHMS, FAMILIES, KNOWN, linear_layers, lora_tensors
from support.live_runs import Stacks, apart, hooks, row


class Models:
    """One model of each family, and what it makes without LoRAs."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Any]] = {}

    def find(self, name: str) -> tuple[Any, Any]:
        """(the model, its result)."""
        if name not in self._made:
            model = FAMILIES[name].make()
            self._made[name] = (model, FAMILIES[name].sample(model))
        return self._made[name]


@pytest.fixture(scope="module")
def models() -> Models:
    """Made when they are asked for."""
    return Models()


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


FEWER = ("LTX audio-video", "Stable Diffusion 3", "Z-Image")
"""Families of which the quick run has `SOON` only, to stay short; the rest is slow."""
SOON = ("LoRA", "LoKr", "DoRA by row")
CASES = [
    pytest.param(name, kind, marks=pytest.mark.slow if name in FEWER and kind not in SOON else ())
    for name in KNOWN
    for kind in ALGORITHMS
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_live_is_what_merging_is(name: str, kind: str, models: Models, loras: Path, stacked: Stacks) -> None:
    """Every algorithm on every linear layer, those that run before the first step included."""
    family = FAMILIES[name]
    model, bare = models.find(name)
    layers = linear_layers(model)
    save_file(lora_tensors(kind, layers), loras / "a.safetensors")
    rows = [row("a", 0.8)]
    live = family.sample(stacked(model, rows))
    merged = family.sample(stacked(model, rows, "merge"))
    assert apart(live, merged) <= 1e-5
    assert apart(live, bare) > 1e-3
    assert hooks(model) == 0


BLOCKS = {
    "FLUX.1": ({"double_blocks.0": 0.0, "single": 0.5}, {"double_blocks": 0.0, "single_blocks": 0.5}),
    "Wan": ({"blocks.0": 0.5, "attn": 0.25}, {"attn": 0.125, "blocks_0": 0.5}),
    "LTX audio-video": ({"audio": 0.0}, {"audio": 0.0}),
}
"""Family → (factors by pattern, factors by what the name of a layer has in it)."""


@pytest.mark.parametrize("mode", ["live", "merge"])
@pytest.mark.parametrize("kind", ["LoRA", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("LoKr", "OFT"))])
@pytest.mark.parametrize("name", [name for name in BLOCKS if name in KNOWN])
def test_weights_per_block(name: str, kind: str, mode: str, models: Models, loras: Path, stacked: Stacks) -> None:
    """The same as a file for each factor, with a row at the weight that its layers have."""
    family = FAMILIES[name]
    model, _ = models.find(name)
    blocks, words = BLOCKS[name]
    tensors = lora_tensors(kind, linear_layers(model))
    save_file(tensors, loras / "a.safetensors")
    apart_by: dict[float, dict[str, Any]] = {}
    for tensor, value in tensors.items():
        factor = next((factor for word, factor in words.items() if word in tensor), 1.0)
        apart_by.setdefault(factor, {})[tensor] = value
    assert len(apart_by) > 1
    for number, (_, part) in enumerate(apart_by.items()):
        save_file(part, loras / f"part{number}.safetensors")
    rows = [row(f"part{number}", 0.8 * factor) for number, factor in enumerate(apart_by)]
    expected = family.sample(stacked(model, rows, mode))
    found = family.sample(stacked(model, [row("a", 0.8, blocks=blocks)], mode))
    assert apart(found, expected) <= 1e-6
    assert apart(found, family.sample(stacked(model, [row("a", 0.8)], mode))) > 1e-4
