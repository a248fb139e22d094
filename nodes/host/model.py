"""The layers of a live MODEL and CLIP, by the names that LoRA files use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import comfy.lora

from ...lorchestra.placing import Offset, Shape, Site, Targets, encoder_sites, model_sites
from ...lorchestra.spelling.prefixes import MODEL

_MODEL_PREFIX = "diffusion_model."


def targets(model: Any, clip: Any | None) -> Targets:
    """The places in a MODEL and, where one is connected, a CLIP."""
    result = {MODEL: model_sites(_tensors(model))}
    if clip is not None:
        encoders: dict[str, dict[str, Site]] = {}
        for key, shape in _shapes(clip.patcher):
            encoder, middle, path = key.partition(".transformer.")
            if middle:
                encoders.setdefault(encoder, {})[path.removesuffix(".weight")] = Site(key, shape)
        result.update(encoder_sites(encoders))
    return result


def architectures(model: Any) -> tuple[str, ...]:
    """What a MODEL is, by its layers; the likeliest id first, empty for a model that nobody knows."""
    from ...lorchestra.identify import identify_base  # loads all that is known of models

    return identify_base({name: shape for name, (_, shape) in _tensors(model).items()})


def _tensors(model: Any) -> dict[str, tuple[str, Shape]]:
    """The diffusion model's tensors by native name, each with its key in the state dict and its logical shape."""
    return {key[len(_MODEL_PREFIX) :]: (key, shape) for key, shape in _shapes(model) if key.startswith(_MODEL_PREFIX)}


def hidden(model: Any) -> bool:
    """True where a quantization packed or renamed layers, so that what is not found may be there all the same.

    Nunchaku's layers have a `qweight`, or are in no state dict at all; others keep numbers that are no weights' own
    under `weight`. Packed weights of GGUF and bitsandbytes tell their shapes, and ComfyUI's own quantized ones do.
    """
    from ...lorchestra.architectures.base_file import RENAMED

    for key, weight in model.model_state_dict().items():
        if key.endswith(tuple(RENAMED)):
            return True
        is_weight = key.startswith(_MODEL_PREFIX) and key.endswith(".weight") and weight.dim() > 1
        if is_weight and not weight.is_floating_point() and _logical_shape(weight) is None:
            return True
    is_foreign = not type(model.model.diffusion_model).__module__.startswith("comfy.")
    return is_foreign and not architectures(model)


def fallback(model: Any, clip: Any | None) -> Mapping[str, Site]:
    """Places by full module name from ComfyUI's own maps, for models that are newer than our names."""
    aliases: dict[str, Any] = {}
    comfy.lora.model_lora_keys_unet(model.model, aliases)
    shapes = dict(_shapes(model))
    if clip is not None:
        comfy.lora.model_lora_keys_clip(clip.cond_stage_model, aliases)
        shapes.update(_shapes(clip.patcher))
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


def _shapes(patcher: Any) -> Iterable[tuple[str, Shape]]:
    """State dict key → logical shape; GGUF and NF4 loaders keep it beside the packed one."""
    for key, weight in patcher.model_state_dict().items():
        yield key, tuple(_logical_shape(weight) or weight.shape)


def _logical_shape(weight: Any) -> Shape | None:
    """The shape that a packed weight has when it is unpacked; None where it does not say."""
    state = getattr(weight, "quant_state", None)  # bitsandbytes
    return getattr(weight, "tensor_shape", None) or getattr(state, "shape", None)
