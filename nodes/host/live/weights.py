"""The weights of layers as they compute with them, for LoRAs that depend on the original weight."""

from __future__ import annotations

import comfy.ops
import torch
from torch import Tensor

from .. import process
from ..protocols import BaseModel, Layer
from .factors import LiveLayers
from .layers import Layers, is_plain_weight

_ROWS = 1024
"""Rows of a weight that are read at a time if only the layer knows how it is packed."""


def bring(layers: LiveLayers, model: BaseModel, device: torch.device) -> frozenset[str]:
    """Puts the factors where the model computes, with the norms of the weights that it has now.

    The layers have their hooks on. Weights count with what stacks before this one add to them in this call. Gives the
    paths of the layers where that cannot be told: their weights count without it.

    ComfyUI loads them with the model, but leaves a module without layers of its own behind if memory is short.
    """
    if not layers.are_on(device):
        layers.to(device)
    prepared = layers.prepared_for
    missing: set[str] = set()
    found = Layers(model)
    for path, layer in layers.needing_base():
        module = found.find(path)
        chain = process.live_chains[module]
        if chain.misses(layer):
            missing.add(path)
        state = (id(model), model.current_weight_patches_uuid, chain.state(layer))
        if prepared.get(path) != state:
            with chain.lifted():
                weight, bias = _parameters(module, device)
            layer.prepare(*chain.before(layer, weight, bias))
            prepared[path] = state
    return frozenset(missing)


def _parameters(module: Layer, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer as it computes with them, merged patches and scales included; fp32."""
    width_in = getattr(module, "in_features", None)
    if width_in is None:
        weight, bias = comfy.ops.cast_bias_weight(module, dtype=torch.float32, device=device, bias_dtype=torch.float32)
        return weight, bias
    has_functions = getattr(module, "weight_function", None) or getattr(module, "bias_function", None)
    if is_plain_weight(module.weight) and module.weight.device == device and not has_functions:
        return module.weight.detach().float(), None if module.bias is None else module.bias.detach().float()
    # Asked for what it makes of single inputs, a layer says its weight however it is packed. While there is a
    # function of its weight it does not round these inputs, for which the file may have a scale that fits others.
    functions = getattr(module, "weight_function", None)
    if functions is not None:
        module.weight_function = [*functions, _unchanged]
    try:
        return _asked(module, width_in, device)
    finally:
        if functions is not None:
            module.weight_function = functions


def _unchanged(weight: Tensor) -> Tensor:
    return weight


def _asked(module: Layer, width_in: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer, by what it makes of single inputs; fp32."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    bias = module.forward(torch.zeros(1, width_in, dtype=dtype, device=device)).float()[0]
    columns: list[Tensor] = []
    for start in range(0, width_in, _ROWS):
        inputs = torch.zeros(min(_ROWS, width_in - start), width_in, dtype=dtype, device=device)
        inputs[:, start : start + _ROWS].fill_diagonal_(1)
        columns.append((module.forward(inputs).float() - bias).mT)
    return torch.cat(columns, 1), None if getattr(module, "bias", None) is None else bias
