"""What LyCORIS' own modules (the package `lycoris-lora`) add to a layer's output, and what our Δ of their files adds.

The outputs are compared because they are what was trained: LyCORIS 4.1 merges LoKr with its scale squared. Everything
is fp64 but for OFT and BOFT, whose inverses LyCORIS always takes in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from support.closeness import LIMIT, apart, noise
from torch import Tensor, nn
from torch.nn import functional as F

from lorchestra.algorithms import read
from lorchestra.algorithms.base import Adapter
from lorchestra.spelling import slots

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(40, 48),
    "square": lambda: nn.Linear(48, 48),
    "conv 1x1": lambda: nn.Conv2d(24, 32, 1),
    "conv 3x3": lambda: nn.Conv2d(16, 24, 3),
    "conv 1d": lambda: nn.Conv1d(16, 24, 3),
}


@pytest.fixture(scope="module")
def lycoris() -> ModuleType:
    """LyCORIS' modules."""
    pytest.importorskip("lycoris")
    import lycoris.modules

    return lycoris.modules


def layer(name: str, dtype: torch.dtype = torch.float64, size: float = 0.05) -> Any:
    """A layer whose weights fp32 can hold."""
    made = LAYERS[name]()
    for seed, parameter in enumerate(made.parameters()):
        parameter.data = noise(*parameter.shape, seed=seed, size=size)
    return made.to(dtype)


def filled(module: Any, base: Any, size: float = 0.1) -> dict[str, Tensor]:
    """Noise in every parameter of a module for the layer; then what the module saves, as fp32 by slot."""
    for seed, (name, parameter) in enumerate(module.named_parameters()):
        values = noise(*parameter.shape, seed=seed + 5, size=size)
        if name in ("dora_scale", "rescale"):
            values = parameter.detach().float() * (1 + values)
        parameter.data = values.to(base.weight.dtype)
    module.to(base.weight.dtype)
    saved = module.custom_state_dict() or module.state_dict()
    found: dict[str, Tensor] = {}
    for name, tensor in saved.items():
        split = slots.split("x." + name)
        found[split[2] if split else name] = tensor.detach().float()
    return found


def adapter(algorithm: str, parts: dict[str, Tensor]) -> Adapter:
    alpha = parts.pop("alpha", None)
    return read(algorithm, parts, None if alpha is None else float(alpha))


def added(module: Any, base: Any, algorithm: str, size: float = 0.1) -> tuple[Tensor, Tensor]:
    """What is added to the output of a layer without a bias: by our Δ, and by LyCORIS."""
    base.bias = None
    weight = base.weight.detach().clone()
    update = adapter(algorithm, filled(module, base, size)).update(weight.float()).to(weight.dtype)
    x = noise(*((60, 40) if weight.shape[1] == 40 else (60, weight.shape[1], *[7] * (weight.dim() - 2))), seed=99)
    x = x.to(weight.dtype)
    operation = {2: F.linear, 3: F.conv1d, 4: F.conv2d}[weight.dim()]
    module.eval()
    module.apply_to()
    with torch.no_grad():
        return operation(x, update), base(x) - operation(x, weight)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("decompose", [None, "rows", "columns"])
@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("algorithm", ["LoRA", "LoHa", "LoKr"])
def test_low_rank(lycoris: ModuleType, algorithm: str, tucker: bool, decompose: str | None, name: str) -> None:
    # LyCORIS' epsilon of norms is that of fp32 where it trains, but that of fp64 here: large norms do without it.
    base = layer(name, size=5.0 if decompose else 0.05)
    cls = {"LoRA": lycoris.LoConModule, "LoHa": lycoris.LohaModule, "LoKr": lycoris.LokrModule}[algorithm]
    options: dict[str, Any] = {"use_tucker": tucker}
    if algorithm == "LoKr":
        options |= {"decompose_both": True, "factor": 6}
    if decompose:
        options |= {"weight_decompose": True, "wd_on_out": decompose == "rows"}
    module = cls("x", base, 1.0, 2, 1.5, **options)
    assert apart(*added(module, base, algorithm)) < LIMIT


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("both_decomposed", [False, True])
@pytest.mark.parametrize("name", ["linear", "conv 3x3"])
def test_lokr_factorings(lycoris: ModuleType, name: str, both_decomposed: bool, full: bool) -> None:
    base = layer(name)
    module = lycoris.LokrModule("x", base, 1.0, 2, 1.0, decompose_both=both_decomposed, full_matrix=full, factor=4)
    assert apart(*added(module, base, "LoKr")) < LIMIT


@pytest.mark.parametrize("name", LAYERS)
def test_glora(lycoris: ModuleType, name: str) -> None:
    base = layer(name)
    assert apart(*added(lycoris.GLoRAModule("x", base, 1.0, 4, 2.0), base, "GLoRA")) < LIMIT


@pytest.mark.parametrize("constraint", [0, 0.03, 1.0])
@pytest.mark.parametrize(
    ("algorithm", "name", "rescaled"),
    [
        (algorithm, name, rescaled)
        for algorithm in ("OFT", "BOFT")
        for name in LAYERS
        for rescaled in (False, True)
        # There LyCORIS 4.1 adds W to W in blocks, whose shapes do not fit.
        if not (algorithm == "OFT" and rescaled and name.startswith("conv"))
    ],
)
def test_orthogonal(lycoris: ModuleType, algorithm: str, name: str, rescaled: bool, constraint: float) -> None:
    base = layer(name, torch.float32)
    cls = {"OFT": lycoris.DiagOFTModule, "BOFT": lycoris.ButterflyOFTModule}[algorithm]
    module = cls("x", base, 1.0, 8, rescaled=rescaled, constraint=constraint)
    assert apart(*added(module, base, algorithm)) < 2e-6


@pytest.mark.parametrize("on_input", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_ia3(lycoris: ModuleType, name: str, on_input: bool) -> None:
    base = layer(name)
    module = lycoris.IA3Module("x", base, 1.0, train_on_input=on_input)
    assert apart(*added(module, base, "(IA)³")) < LIMIT


@pytest.mark.parametrize("name", ["linear", "conv 3x3"])
def test_full(lycoris: ModuleType, name: str) -> None:
    base = layer(name)
    module = lycoris.FullModule("x", base, 1.0)
    module.double()
    diff, diff_b = noise(*base.weight.shape, seed=7), noise(*base.bias.shape, seed=8)
    module.weight.data, module.bias.data = diff.double(), diff_b.double()
    weight, bias = (tensor.detach() for tensor in module.get_diff_weight(1.0))
    assert apart(read("full difference", {"diff": diff}, None).update(base.weight.detach().float()), weight) < LIMIT
    assert apart(read("bias difference", {"diff_b": diff_b}, None).update(base.bias.detach().float()), bias) < LIMIT


def test_norm(lycoris: ModuleType) -> None:
    base = nn.LayerNorm(32).double()
    module = lycoris.NormModule("x", base, 1.0)
    parts = filled(module, base)
    weight, bias = (tensor.detach() for tensor in module.get_diff_weight(1.0))
    assert apart(read("norm difference", parts, None).update(base.weight.detach().float()), weight) < LIMIT
    assert (
        apart(read("norm bias difference", {"b_norm": parts["b_norm"]}, None).update(base.bias.float()), bias) < LIMIT
    )
