"""What a live model's state dict says of its layers, by the names that LoRA files use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from torch import Tensor

from ...lorchestra.architectures.sites import Shape, Site, Sites, Targets, encoder_sites, model_sites
from .protocols import Patcher

_MODEL_PREFIX = "diffusion_model."


@dataclass
class ModelLayers:
    """Worked out once for a model, since no patch changes it."""

    diffusion_model: Callable[[], object]
    """The one it was read from; a weak reference."""
    shapes: Mapping[str, Shape]
    """State dict key → logical shape; GGUF and NF4 loaders keep it beside the packed one."""
    hidden: bool
    """True if a layer is packed or renamed and does not say its shape."""

    @cached_property
    def tensors(self) -> dict[str, tuple[str, Shape]]:
        """The diffusion model's by native name, each with its key and its shape."""
        start = len(_MODEL_PREFIX)
        return {key[start:]: (key, shape) for key, shape in self.shapes.items() if key.startswith(_MODEL_PREFIX)}

    @cached_property
    def sites(self) -> Sites:
        """The places in a diffusion model."""
        return model_sites(self.tensors)

    @cached_property
    def encoders(self) -> Targets:
        """The places in text encoders."""
        encoders: dict[str, dict[str, Site]] = {}
        for key, shape in self.shapes.items():
            encoder, middle, path = key.partition(".transformer.")
            if middle:
                encoders.setdefault(encoder, {})[path.removesuffix(".weight")] = Site(key, shape)
        return encoder_sites(encoders)

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """What the diffusion model is."""
        from ...lorchestra.models.recognise import identify_base  # loads all that is known of models

        return identify_base({name: shape for name, (_, shape) in self.tensors.items()})


def read_layers(patcher: Patcher, diffusion_model: Callable[[], object]) -> ModelLayers:
    """Reads them anew, at the cost of a walk through all layers."""
    from ...lorchestra.models.quantized import RENAMED

    packed = {
        f"{path}.weight": _packed_shape(cast("Tensor", module.weight))
        for path, module in patcher.model.named_modules()
        if hasattr(getattr(module, "weight", None), "_params")
    }
    shapes: dict[str, Shape] = {}
    hidden = False
    for key, weight in patcher.model_state_dict().items():
        logical = packed.get(key) or _logical_shape(weight)
        shapes[key] = tuple(logical or weight.shape)
        is_weight = key.startswith(_MODEL_PREFIX) and key.endswith(".weight") and weight.dim() > 1
        is_opaque = is_weight and not weight.is_floating_point() and logical is None
        hidden = hidden or is_opaque or key.endswith(tuple(RENAMED))
    return ModelLayers(diffusion_model, shapes, hidden)


def _packed_shape(weight: Tensor) -> Shape | None:
    """The shape of a weight that ComfyUI itself keeps packed; a state dict has its bytes, e.g. two numbers in each."""
    shape = getattr(getattr(weight, "_params", None), "orig_shape", None)
    return None if shape is None else tuple(shape)


def _logical_shape(weight: Tensor) -> Shape | None:
    """The shape that a packed weight has when it is unpacked; None if it does not say."""
    state = getattr(weight, "quant_state", None)  # bitsandbytes
    return getattr(weight, "tensor_shape", None) or getattr(state, "shape", None)
