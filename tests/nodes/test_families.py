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


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("name", KNOWN)
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
