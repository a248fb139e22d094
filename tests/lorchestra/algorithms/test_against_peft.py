"""The weights that PEFT merges, and those that our algorithms make of the file that PEFT saves, in fp64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest
import torch
from support.closeness import LIMIT, apart, noise
from torch import Tensor, nn

from lorchestra.algorithms import read
from lorchestra.algorithms.base import Settings
from lorchestra.spelling import slots

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(40, 48),
    "square": lambda: nn.Linear(48, 48),
    "conv 1x1": lambda: nn.Conv2d(24, 32, 1),
    "conv 3x3": lambda: nn.Conv2d(16, 24, 3),
}


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    """The package."""
    return pytest.importorskip("peft")


class Wrapped:
    """A layer with a PEFT adapter: the weights before and after it is merged, and what PEFT saves."""

    def __init__(self, peft: ModuleType, config: Any, name: str, size: float = 0.1) -> None:
        model = nn.Sequential(LAYERS[name]())
        for seed, parameter in enumerate(model.parameters()):
            parameter.data = noise(*parameter.shape, seed=seed, size=0.05)
        model.double()
        self.weight, self.bias = (parameter.detach().clone() for parameter in model[0].parameters())
        wrapped = peft.get_peft_model(model, config)
        wrapped.double()
        for seed, (parameter_name, parameter) in enumerate(wrapped.named_parameters()):
            if "base_layer" not in parameter_name:
                values = noise(*parameter.shape, seed=seed + 5, size=size)
                around = "magnitude" in parameter_name or "ia3" in parameter_name or "boft_s" in parameter_name
                parameter.data = (parameter.data.float() * (1 + values) if around else values).double()
        found: Mapping[str, Tensor] = peft.get_peft_model_state_dict(wrapped)
        self.parts: dict[str, Tensor] = {}
        for tensor_name, tensor in found.items():
            split = slots.split(tensor_name)
            assert split, tensor_name
            slot = "magnitude_vector" if split[2] == "magnitude" else split[2]
            self.parts[slot] = tensor.float()
        wrapped.merge_adapter()
        merged = dict(wrapped.named_parameters())
        self.merged = next(value.detach() for key, value in merged.items() if key.endswith("base_layer.weight"))
        self.merged_bias = next(value.detach() for key, value in merged.items() if key.endswith("base_layer.bias"))

    def apart(self, algorithm: str, settings: Settings) -> float:
        """How far our Δ of the weight is from PEFT's."""
        update = read(algorithm, self.parts, None, settings).update(self.weight.float())
        return apart(update, self.merged - self.weight)


@pytest.mark.parametrize("rank_stabilized", [False, True])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_lora(peft: ModuleType, name: str, dora: bool, rank_stabilized: bool) -> None:
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["0"], use_dora=dora, use_rslora=rank_stabilized, init_lora_weights=False
    )
    wrapped = Wrapped(peft, config, name)
    scale = 6 / math.sqrt(4) if rank_stabilized else 6 / 4
    assert wrapped.apart("LoRA", Settings(scale=scale, is_peft=True)) < LIMIT


def test_bias_of_a_lora(peft: ModuleType) -> None:
    wrapped = Wrapped(peft, peft.LoraConfig(r=4, lora_alpha=6, target_modules=["0"], lora_bias=True), "linear")
    assert wrapped.apart("LoRA", Settings(scale=1.5)) < LIMIT
    update = read("LoRA bias", wrapped.parts, None, Settings(scale=1.5)).update(wrapped.bias.float())
    assert apart(update, wrapped.merged_bias - wrapped.bias) < LIMIT


@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_loha(peft: ModuleType, name: str, tucker: bool) -> None:
    config = peft.LoHaConfig(r=4, alpha=6, target_modules=["0"], use_effective_conv2d=tucker)
    assert Wrapped(peft, config, name).apart("LoHa", Settings(scale=1.5)) < LIMIT


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("rank", [2, 16])
@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_lokr(peft: ModuleType, name: str, tucker: bool, rank: int, both: bool) -> None:
    config = peft.LoKrConfig(
        r=rank, alpha=3, target_modules=["0"], use_effective_conv2d=tucker, decompose_both=both, decompose_factor=8
    )
    assert Wrapped(peft, config, name).apart("LoKr", Settings(scale=3 / rank)) < LIMIT


@pytest.mark.parametrize("neumann", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_oft(peft: ModuleType, name: str, shared: bool, neumann: bool) -> None:
    config = peft.OFTConfig(oft_block_size=8, target_modules=["0"], block_share=shared, use_cayley_neumann=neumann)
    settings = Settings(neumann_terms=5 if neumann else 0, is_peft=True)
    assert Wrapped(peft, config, name, 0.05).apart("OFT", settings) < LIMIT


@pytest.mark.parametrize("name", LAYERS)
def test_boft(peft: ModuleType, name: str) -> None:
    """One stage, which is all that PEFT has without its CUDA extension."""
    config = peft.BOFTConfig(boft_block_size=8, boft_n_butterfly_factor=1, target_modules=["0"])
    assert Wrapped(peft, config, name, 0.05).apart("BOFT", Settings()) < LIMIT


@pytest.mark.parametrize("stages", [2, 3])
def test_permutations_of_boft(peft: ModuleType, stages: int) -> None:
    """More stages, with the permutations from PEFT's own function and the product as its layer takes it."""
    from peft.tuners.boft.layer import BOFTLayer

    count, width = 8, 4
    x, weight = noise(stages, count, width, width, size=0.1), noise(10, count * width, seed=1)
    eye, total = torch.eye(width, dtype=torch.float64), torch.eye(count * width, dtype=torch.float64)
    for stage in range(stages):
        order = BOFTLayer.block_butterfly_perm(None, count * width, count // 2**stage, width // 2, stages - 1)
        p = torch.eye(count * width, dtype=torch.float64)[order]
        skew = (x[stage].double() - x[stage].double().mT) / 2
        turn = torch.block_diag(*torch.linalg.solve(eye + skew, eye - skew, left=False))
        total = p @ turn @ p.T @ total
    expected = (total @ weight.double().T).T - weight.double()
    assert apart(read("BOFT", {"rotation": x}, None).update(weight), expected) < LIMIT


@pytest.mark.parametrize("on_input", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_ia3(peft: ModuleType, name: str, on_input: bool) -> None:
    config = peft.IA3Config(target_modules=["0"], feedforward_modules=["0"] if on_input else [])
    wrapped = Wrapped(peft, config, name)
    assert wrapped.apart("(IA)³", Settings()) < LIMIT
    if not on_input:
        update = read("(IA)³", wrapped.parts, None).update(wrapped.bias.float())
        assert apart(update, wrapped.merged_bias - wrapped.bias) < LIMIT
