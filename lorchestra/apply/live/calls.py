"""How linear layers are called: newer ComfyUIs fold what comes before a layer, and what is added after it, into it.

`layer(x, input_act, act_weight, residual, residual_scale)`, by keyword or by position, is
residual + residual_scale · (W·act(x) + b). What LoRAs add belongs to the linear part, so a call is taken apart first:
the layer is called with act(x) alone, and the residual is added after the LoRAs. What is not known is refused in words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import LorchestraError, quoted

Activation = Callable[[Tensor], Tensor]

INPUT = "input"
FOLDED = ("input_act", "act_weight", "residual", "residual_scale")
"""What a call may ask for beside the product, in the order of its positions."""
_HARMLESS = ("autopad",)
"""Parameters of ComfyUI's convolutions that diffusion models do not use."""
_EPS = 1e-6
"""ComfyUI's for norms that do not say their own."""


class CallError(LorchestraError):
    """A layer is called in a way that is not known, so that LoRAs cannot be added to it exactly."""

    def __init__(self, layer: str, finding: str) -> None:
        super().__init__(
            f"the layer {layer} is called with {finding}, which this version of Lorchestra does not know. "
            f"Set the mode of LoRA Stack to merge, or update Lorchestra."
        )


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a layer's forward takes."""

    positional: tuple[str, ...]
    """By position, the input first."""
    others: tuple[str, ...] = ()
    """By keyword only."""
    unknown: tuple[str, ...] = field(init=False)
    """Those beside the input whose meaning is not known."""

    def __post_init__(self) -> None:
        names = (*self.positional[1:], *self.others)
        object.__setattr__(self, "unknown", tuple(name for name in names if name not in (*FOLDED, *_HARMLESS)))


USUAL = Parameters((INPUT, *FOLDED))
"""Of a forward that does not say its own."""


def parameters(*forwards: Callable[..., object] | None) -> Parameters:
    """Of the first of these functions that names its parameters; others only hand on `*args`."""
    for forward in forwards:
        found = None if forward is None else _named(forward)
        if found is not None:
            return found
    return USUAL


def _named(forward: Callable[..., object]) -> Parameters | None:
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # written in C
        return None
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = tuple(name for name, kind in kinds.items() if kind in places)
    if not positional:
        return None
    if positional[1:] == () and inspect.Parameter.VAR_POSITIONAL in kinds.values():
        positional = (*positional, *FOLDED)  # it hands the others on
    return Parameters(positional, tuple(name for name, kind in kinds.items() if kind is inspect.Parameter.KEYWORD_ONLY))


@dataclass(frozen=True, slots=True)
class Residual:
    """What is added after a layer, and after the LoRAs beside it."""

    values: Tensor
    scale: Tensor | float | None

    def added(self, y: Tensor) -> Tensor:
        """residual + scale · y; a new tensor."""
        if isinstance(self.scale, Tensor) and self.scale.dtype == y.dtype == self.values.dtype:
            return torch.addcmul(self.values, y, self.scale)
        return self.values + (y if self.scale is None else y * self.scale)


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A call of a layer in its parts."""

    x: Tensor
    """The layer's input, the activation applied."""
    residual: Residual | None = None
    rest: Mapping[str, None] = field(default_factory=dict[str, None])
    """Arguments that are not known and say nothing: they are handed on."""


def is_folded(args: Sequence[object], kwargs: Mapping[str, object]) -> bool:
    """False for a call with the input alone, by position: there is nothing to take apart."""
    return len(args) != 1 or len(kwargs) > 0


def unfold(
    layer: str,
    takes: Parameters,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    activations: Mapping[str, Activation],
) -> Unfolded:
    """The parts of a call of the layer; raises `CallError` where one of them is not known.

    `activations` are those that ComfyUI has by name, which count before our own. Arguments that are None say nothing.
    """
    if len(args) > len(takes.positional):
        raise CallError(layer, f"{len(args)} arguments instead of {len(takes.positional)} at most")
    given = dict(zip(takes.positional, args, strict=False))
    for name, value in kwargs.items():
        if name in given:
            raise CallError(layer, f"{name} twice")
        given[name] = value
    x = given.pop(takes.positional[0], None)
    if x is None and INPUT in given:
        x = given.pop(INPUT)
    if not isinstance(x, Tensor):
        raise CallError(layer, "no input")
    rest: dict[str, None] = {}
    for name, value in given.items():
        if name in FOLDED:
            continue
        if value is not None:
            raise CallError(layer, f"the argument {name}")
        rest[name] = None
    x = _activated(layer, x, given.get("input_act"), given.get("act_weight"), activations)
    return Unfolded(x, _residual(layer, given.get("residual"), given.get("residual_scale")), rest)


def _residual(layer: str, values: object, scale: object) -> Residual | None:
    if values is None:
        return None
    if not isinstance(values, Tensor):
        raise CallError(layer, f"a residual of type {type(values).__name__}")
    if scale is not None and not isinstance(scale, (Tensor, float, int)):
        raise CallError(layer, f"a residual_scale of type {type(scale).__name__}")
    return Residual(values, scale)


def _activated(layer: str, x: Tensor, word: object, weight: object, activations: Mapping[str, Activation]) -> Tensor:
    if word is None:
        if weight is not None:
            raise CallError(layer, "an act_weight without an input_act")
        return x
    if word == "rms_norm":
        return _rms_norm(layer, x, weight)
    function = None
    if isinstance(word, str):
        function = activations.get(word) or ACTIVATIONS.get(word)
    if function is None:
        raise CallError(layer, f"input_act = {quoted(word)}")
    if weight is not None:
        raise CallError(layer, f"an act_weight for input_act = {quoted(word)}")
    return function(x)


def _rms_norm(layer: str, x: Tensor, weight: object) -> Tensor:
    """By a norm that is a layer of its own, or by its weight, or without one."""
    if isinstance(weight, torch.nn.Module):
        return weight(x)
    if weight is not None and not isinstance(weight, Tensor):
        raise CallError(layer, f"an act_weight of type {type(weight).__name__}")
    weight = None if weight is None else weight.to(x.device, x.dtype)
    return F.rms_norm(x, x.shape[-1:], weight, _EPS)


def _swiglu(x: Tensor) -> Tensor:
    """silu of the first half of the channels, times the other half."""
    gate, values = x.chunk(2, -1)
    return F.silu(gate) * values


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: Mapping[str, Activation] = {
    "gelu_tanh": _gelu_tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
    "swiglu": _swiglu,
}
"""By the words of `input_act`, beside rms_norm, which has a weight."""
