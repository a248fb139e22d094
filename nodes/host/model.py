"""The layers of a live MODEL and CLIP, by the names that LoRA files use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from weakref import WeakKeyDictionary, ref

import comfy.lora

from ...lorchestra.architectures.sites import Offset, Shape, Site, Sites, Targets, encoder_sites, model_sites
from ...lorchestra.models.base import Base
from ...lorchestra.spelling.prefixes import MODEL

_MODEL_PREFIX = "diffusion_model."


def live_base(model: Any, clip: Any | None, find_listed_name: Callable[[], str | None] = lambda: None) -> Base:
    """A MODEL and, if one is connected, a CLIP, as what LoRAs are applied to.

    `find_listed_name` gives the name under which ComfyUI lists its file, which tells one model of a pair.
    """
    return Base(
        type(model.model).__name__,
        {MODEL: _layers(model).sites, **(_layers(clip.patcher).encoders if clip is not None else {})},
        lambda: architectures(model),
        _is_hidden(model),
        find_fallback=lambda: _fallback(model, clip),
        find_listed_name=find_listed_name,
    )


def architectures(model: Any) -> tuple[str, ...]:
    """What a MODEL is, by its layers; the likeliest id first, empty for a model that is not known."""
    return _layers(model).architectures


def _is_hidden(model: Any) -> bool:
    """True if a quantization packed or renamed layers, so that what is not found may be there all the same.

    Nunchaku's layers have a `qweight`, or are in no state dict at all; others keep numbers that are no weights' own
    under `weight`. Packed weights of GGUF and bitsandbytes tell their shapes, and ComfyUI's own quantized ones do.
    """
    is_foreign = not type(model.model.diffusion_model).__module__.startswith("comfy.")
    return _layers(model).hidden or (is_foreign and not architectures(model))


@dataclass
class _Layers:
    """What a model's state dict says of its layers; worked out once, since no patch changes it."""

    diffusion_model: Callable[[], object]
    """Of which it was read; a weak reference."""
    shapes: Mapping[str, Shape]
    """State dict key → logical shape; GGUF and NF4 loaders keep it beside the packed one."""
    hidden: bool
    """True where a layer is packed or renamed and does not say its shape."""

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


@cache
def _known() -> WeakKeyDictionary[Any, _Layers]:
    """The models that are there."""
    return WeakKeyDictionary()


def _layers(patcher: Any) -> _Layers:
    found = _known().get(patcher.model)
    inner = getattr(patcher.model, "diffusion_model", patcher.model)
    if found is None or found.diffusion_model() is not inner:
        found = _known()[patcher.model] = _read_layers(patcher, ref(inner))
    return found


def _read_layers(patcher: Any, diffusion_model: Callable[[], object]) -> _Layers:
    from ...lorchestra.models.base_file import RENAMED

    packed = {
        f"{path}.weight": _packed_shape(module.weight)
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
    return _Layers(diffusion_model, shapes, hidden)


def _fallback(model: Any, clip: Any | None) -> Mapping[str, Site]:
    """Places by full module name from ComfyUI's own maps, for models that are newer than our names."""
    aliases: dict[str, Any] = {}
    comfy.lora.model_lora_keys_unet(model.model, aliases)
    shapes = dict(_layers(model).shapes)
    if clip is not None:
        comfy.lora.model_lora_keys_clip(clip.cond_stage_model, aliases)
        shapes.update(_layers(clip.patcher).shapes)
    sites: dict[str, Site] = {}
    for alias, target in aliases.items():
        key, offset = (target, None) if isinstance(target, str) else (target[0], target[1])
        if not isinstance(target, str) and len(target) > 2:
            continue  # a target with a function on the difference
        shape = shapes.get(key)
        part = shape and _part(shape, offset)
        if part:
            sites[alias] = Site(key, part, None if offset is None else tuple(offset))
    return sites


def _part(shape: Shape, offset: Offset | None) -> Shape | None:
    """The shape of the part; None where the offset is not inside the weight."""
    if offset is None:
        return shape
    dim, start, length = offset
    if dim >= len(shape) or start + length > shape[dim]:
        return None
    return (*shape[:dim], length, *shape[dim + 1 :])


def _packed_shape(weight: Any) -> Shape | None:
    """The shape of a weight that ComfyUI itself keeps packed; a state dict has its bytes, e.g. two numbers in each."""
    shape = getattr(weight._params, "orig_shape", None)
    return None if shape is None else tuple(shape)


def _logical_shape(weight: Any) -> Shape | None:
    """The shape that a packed weight has when it is unpacked; None where it does not say."""
    state = getattr(weight, "quant_state", None)  # bitsandbytes
    return getattr(weight, "tensor_shape", None) or getattr(state, "shape", None)
