"""Small models of each family, over whole runs: live is what merging is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from support.families import ALGORITHMS, FAMILIES, KNOWN, linear_layers, lora_tensors
from support.live_runs import Stacks, apart, hooks, row

LAYERS: dict[str, dict[str, tuple[int, int]]] = {}


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """One of each family."""
    return {}


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


def find_model(models: dict[str, Any], name: str) -> Any:
    """A family's model, made once."""
    if name not in models:
        models[name] = FAMILIES[name].make()
    return models[name]


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("name", KNOWN)
def test_live_is_what_merging_is(name: str, kind: str, models: dict[str, Any], loras: Path, stacked: Stacks) -> None:
    """Every algorithm on every linear layer, those that run before the first step included."""
    model, family = find_model(models, name), FAMILIES[name]
    layers = linear_layers(model)
    save_file(lora_tensors(kind, layers), loras / "a.safetensors")
    rows = [row("a", 0.8)]
    live = family.sample(stacked(model, rows))
    merged = family.sample(stacked(model, rows, "merge"))
    assert apart(live, merged) <= 1e-5
    assert apart(live, family.sample(model)) > 1e-3
    assert hooks(model) == 0
