"""The layers of a live model: how they are found, what they are, and what can be said of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import comfy.ops
import torch
from torch import Tensor

from ....lorchestra.apply.live import Geometry
from ..protocols import BaseModel, Layer, Patcher

MODEL_PREFIX = "diffusion_model"
"""Of the layers' paths in a model."""
_TENSORS = (Tensor, torch.nn.Parameter)
_PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_UNSEEN = "TensorWiseINT8Layout"
"""Weights packed like this are used by ComfyUI without running their layer if an activation comes before it."""


class Layers:
    """The layers of a model by their paths, as it is now: hundreds are looked up before the first step."""

    def __init__(self, model: BaseModel) -> None:
        self._above = {"": cast("torch.nn.Module", model)}

    def find(self, path: str) -> Layer:
        """The layer; what leads to it is walked once for all that are beside it."""
        above, _, name = path.rpartition(".")
        parent = self._above.get(above)
        if parent is None:
            parent = self._above[above] = cast("torch.nn.Module", self.find(above))
        found = parent._modules.get(name)
        return cast("Layer", getattr(parent, name) if found is None else found)


class PatchedLayers:
    """The same as a patcher will have them."""

    def __init__(self, patcher: Patcher) -> None:
        self._patcher = patcher
        self._layers = Layers(patcher.model)

    def find(self, path: str) -> Layer:
        """The layer."""
        if path in self._patcher.object_patches or path in self._patcher.object_patches_backup:
            return self._patcher.get_model_object(path)
        return self._layers.find(path)


def is_plain_weight(weight: Tensor) -> bool:
    """True if a weight is what it says: no subclass with a scale, no packed bytes."""
    if type(weight) not in _TENSORS or weight.dtype not in _PLAIN:
        return False
    return not hasattr(weight, "tensor_shape") and getattr(weight, "quant_state", None) is None


def is_unseen(layer: Layer) -> bool:
    """True if ComfyUI may use the weight without running the layer, so that no hook is called."""
    weight = getattr(layer, "weight", None)  # another pack's layer may not have one
    if type(weight) in _TENSORS:  # nearly always
        return False
    return hasattr(comfy.ops, "linear_input_act") and getattr(weight, "_layout_cls", "") == _UNSEEN


def find_geometry(module: Layer) -> Geometry | None:
    """What a layer is; None for anything but linear layers and convolutions. Packed weights say nothing of shapes."""
    has_bias = getattr(module, "bias", None) is not None
    width_in, width_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(width_in, int) and isinstance(width_out, int):  # also layers that are no nn.Linear: quantized ones
        return Geometry((width_out, width_in), has_bias=has_bias)
    for convolution in (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d):
        if isinstance(module, convolution):
            padding = module.padding
            if isinstance(padding, str) or module.padding_mode != "zeros":
                return None
            return Geometry(
                (module.out_channels, module.in_channels // module.groups, *module.kernel_size),
                stride=tuple(module.stride),
                padding=tuple(padding),
                dilation=tuple(module.dilation),
                groups=module.groups,
                has_bias=has_bias,
            )
    return None


def compute_dtype(model: Patcher) -> torch.dtype:
    """What a model computes in."""
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return dtype if dtype in _PLAIN else torch.float32


def some_of(paths: Sequence[str]) -> str:
    """The first of some layers, for a sentence."""
    return ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
