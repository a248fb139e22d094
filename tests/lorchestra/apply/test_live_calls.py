"""Calls of layers in their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lorchestra.apply.live.calls import FOLDED, INPUT, USUAL, CallError, Parameters, is_folded, parameters, unfold


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def usual(input: Any, input_act: Any = None, act_weight: Any = None, residual: Any = None, residual_scale: Any = None):  # noqa: A002
    """As the newest ComfyUI has it."""


def swapped(x: Any, residual: Any = None, input_act: Any = None) -> None:
    """In another order."""


def scaled(x: Any, input_act: Any = None, act_scale: Any = None, *, act_shift: Any = None) -> None:
    """With more than is known."""


def padded(x: Any, autopad: Any = None) -> None:
    """As ComfyUI's convolutions over frames have it."""


def through(*args: Any, **kwargs: Any) -> None:
    """Names nothing."""


def more(x: Any, *args: Any, **kwargs: Any) -> None:
    """Names its input."""


PARAMETERS: list[tuple[tuple[Callable[..., Any], ...], tuple[str, ...], tuple[str, ...]]] = [
    ((usual,), (INPUT, *FOLDED), ()),
    ((swapped,), ("x", "residual", "input_act"), ()),
    ((scaled,), ("x", "input_act", "act_scale"), ("act_scale", "act_shift")),
    ((through, scaled), ("x", "input_act", "act_scale"), ("act_scale", "act_shift")),
    ((through,), USUAL.positional, ()),
    ((more, scaled), ("x", *FOLDED), ()),
    ((torch.nn.Conv2d(1, 1, 1).forward,), ("input",), ()),
    ((padded,), ("x", "autopad"), ()),
]


@pytest.mark.parametrize(("forwards", "positional", "unknown"), PARAMETERS)
def test_what_a_layer_takes(
    forwards: tuple[Callable[..., Any], ...], positional: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    found = parameters(*forwards)
    assert (found.positional, found.unknown) == (positional, unknown)


X, R, S = numbers(2, 8), numbers(2, 8, seed=2), numbers(8, seed=3)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], Tensor]] = {
    "plain": ((X,), {}, X),
    "by name": ((), {"input": X}, X),
    "gelu": ((X, "gelu"), {}, F.gelu(X)),
    "gelu_tanh": ((X,), {"input_act": "gelu_tanh"}, F.gelu(X, approximate="tanh")),
    "swiglu": ((X, "swiglu"), {}, F.silu(X[:, :4]) * X[:, 4:]),
    "norm": ((X, "rms_norm", S), {}, X * (X.square().mean(1, keepdim=True) + 1e-6).rsqrt() * S),
    "norm without a weight": ((X, "rms_norm"), {}, X * (X.square().mean(1, keepdim=True) + 1e-6).rsqrt()),
    "nothing said": ((X, None, None), {"residual": None, "more": None}, X),
    "of ComfyUI": ((X, "own"), {}, X + 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_input_of_the_linear_part(name: str) -> None:
    args, kwargs, x = CALLS[name]
    call = unfold("layer", USUAL, args, kwargs, {"own": lambda x: x + 1})
    assert torch.allclose(call.x, x, atol=1e-6) and call.residual is None
    assert call.rest == ({"more": None} if name == "nothing said" else {})
    assert is_folded(args, kwargs) == (name != "plain")


def test_a_norm_with_its_own_eps() -> None:
    norm = torch.nn.RMSNorm(8, eps=0.5)
    call = unfold("layer", USUAL, (X,), {"input_act": "rms_norm", "act_weight": norm}, {})
    assert torch.allclose(call.x, X * (X.square().mean(1, keepdim=True) + 0.5).rsqrt(), atol=1e-6)


def test_positions_are_the_layers_own() -> None:
    call = unfold("layer", parameters(swapped), (X, R, "silu"), {}, {})
    assert torch.equal(call.x, F.silu(X))
    assert call.residual is not None and torch.equal(call.residual.values, R)


@pytest.mark.parametrize("scale", [None, 0.5, S], ids=["none", "number", "tensor"])
def test_the_residual(scale: Any) -> None:
    call = unfold("layer", USUAL, (X, None, None, R, scale), {}, {})
    y = numbers(2, 8, seed=4)
    assert call.residual is not None
    assert torch.allclose(call.residual.added(y), R + y * (1.0 if scale is None else scale), atol=1e-6)
    half = call.residual.added(y.half())
    assert torch.allclose(half.float(), R + y * (1.0 if scale is None else scale), atol=1e-2)


REFUSED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "argument": ((X,), {"act_scale": S}, "the argument act_scale"),
    "position": ((X, None, None, None, None, S), {}, "6 arguments instead of 5 at most"),
    "twice": ((X,), {"input": X}, "input twice"),
    "no input": ((), {"input_act": "gelu"}, "no input"),
    "word": ((X, "softsign"), {}, "input_act = 'softsign'"),
    "no word": ((X, 3), {}, "input_act = 3"),
    "weight alone": ((X, None, S), {}, "an act_weight without an input_act"),
    "weight of no norm": ((X, "gelu", S), {}, "an act_weight for input_act = 'gelu'"),
    "no weight": ((X, "rms_norm", "w"), {}, "an act_weight of type str"),
    "residual": ((X,), {"residual": [R]}, "a residual of type list"),
    "scale": ((X, None, None, R, "1"), {}, "a residual_scale of type str"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str) -> None:
    args, kwargs, what = REFUSED[name]
    with pytest.raises(CallError) as raised:
        unfold("blocks.0.fc2", Parameters(USUAL.positional), args, kwargs, {})
    assert f"the layer blocks.0.fc2 is called with {what}, which" in str(raised.value)
