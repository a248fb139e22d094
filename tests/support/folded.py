"""Layers that are called as newer ComfyUIs call them, and a small model whose feed-forward block calls them so.

Written for these tests from what the convention is known to be; none of ComfyUI's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import comfy.ops
import torch
import torch.nn.functional as F
from torch import Tensor

ACTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "swiglu": lambda x: F.silu(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :],
}


class Folds:
    """What a layer does with its new arguments; goes before the layer's own class."""

    def forward(
        self,
        input: Any,  # noqa: A002
        input_act: Any = None,
        act_weight: Any = None,
        residual: Any = None,
        residual_scale: Any = None,
    ) -> Any:
        """residual + residual_scale · layer(act(input))."""
        x = input
        if input_act == "rms_norm":
            weight = getattr(act_weight, "weight", act_weight)
            x = F.rms_norm(x, x.shape[-1:], weight, getattr(act_weight, "eps", None) or 1e-6)
        elif input_act is not None:
            x = ACTS[input_act](x)
        y = super().forward(x)  # pyright: ignore
        if residual is None:
            return y
        return residual + (y if residual_scale is None else residual_scale * y)


def folded(layer: Any, **members: Any) -> Any:
    """The layer itself, which takes the new arguments from now on; `members` of its class instead."""
    layer.__class__ = type("Folded", (type(layer),), members) if members else type("Folded", (Folds, type(layer)), {})
    return layer


def noise(*shape: int, seed: int) -> Tensor:
    """The same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


Call = Callable[[Any, Tensor], Tensor]
NORM = torch.nn.RMSNorm(256, eps=1e-3)
NORM.weight.requires_grad_(False).copy_(1 + noise(256, seed=1) / 4)
SCALE = noise(256, seed=2)


def twice(x: Tensor) -> Tensor:
    """As wide as swiglu takes it."""
    return torch.cat([x, x.flip(-1) + 0.3], -1)


FORMS: Mapping[str, Call] = {
    "plain": lambda layer, x: layer(x),
    "by its name": lambda layer, x: layer(input=x),
    "gelu": lambda layer, x: layer(x, input_act="gelu_tanh"),
    "gelu by position": lambda layer, x: layer(x, "gelu_tanh"),
    "swiglu": lambda layer, x: layer(twice(x), input_act="swiglu"),
    "norm": lambda layer, x: layer(x, input_act="rms_norm", act_weight=NORM),
    "norm by its weight": lambda layer, x: layer(x, "rms_norm", NORM.weight),
    "residual": lambda layer, x: layer(x, residual=x),
    "scaled residual": lambda layer, x: layer(x, residual=x, residual_scale=SCALE),
    "all by position": lambda layer, x: layer(x, "rms_norm", NORM, x, SCALE),
    "all by name": lambda layer, x: layer(twice(x), input_act="swiglu", residual=x, residual_scale=SCALE),
    "nothing said": lambda layer, x: layer(x, None, None, residual=None, residual_scale=None),
}
"""Calls of a layer of as many inputs as outputs, 256."""


def of_weight(layer: Any, x: Tensor) -> Tensor:
    """The product with a layer's weight as ComfyUI hands it out, without a call of the layer."""
    weight, bias = comfy.ops.cast_bias_weight(layer, x)
    return F.linear(F.gelu(x, approximate="tanh"), weight, bias)


class Block:
    """A feed-forward block in place of a model's own, with the same layers: what its calls give is kept by name."""

    def __init__(self, layer: Any, forms: Mapping[str, Call]) -> None:
        self._layer = layer
        self._forms = forms
        self.given: list[dict[str, Tensor]] = []
        """Of each call of the block."""

    def __call__(self, x: Tensor) -> Tensor:
        self.given.append({name: form(self._layer, x).clone() for name, form in self._forms.items()})
        return sum(self.given[-1].values(), torch.zeros_like(x))
