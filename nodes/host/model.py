"""A live MODEL and CLIP as a `Base`, which is how they are handed around."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import ref

import comfy.lora

from ...lorchestra.architectures.sites import WHOLE, Offset, Place, Shape, Site
from ...lorchestra.models.base import Base
from ...lorchestra.spelling.prefixes import MODEL
from . import process
from .model_layers import ModelLayers, read_layers
from .protocols import Clip, Patcher


def live_base(model: Patcher, clip: Clip | None, find_listed_name: Callable[[], str | None] = lambda: None) -> Base:
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


def architectures(model: Patcher) -> tuple[str, ...]:
    """What a MODEL is, by its layers; the likeliest id first, empty for a model that is not known."""
    return _layers(model).architectures


def _is_hidden(model: Patcher) -> bool:
    """True if a quantization packed or renamed layers, so that what is not found may be there all the same.

    Nunchaku's layers have a `qweight`, or are in no state dict at all; others keep numbers that are no weights' own
    under `weight`. Packed weights of GGUF and bitsandbytes tell their shapes, and ComfyUI's own quantized ones do.
    """
    is_foreign = not type(model.model.diffusion_model).__module__.startswith("comfy.")
    return _layers(model).hidden or (is_foreign and not architectures(model))


def _layers(patcher: Patcher) -> ModelLayers:
    """The layers of a patcher's model, read once for each diffusion model."""
    found = process.model_layers.get(patcher.model)
    inner = getattr(patcher.model, "diffusion_model", patcher.model)
    if found is None or found.diffusion_model() is not inner:
        found = process.model_layers[patcher.model] = read_layers(patcher, ref(inner))
    return found


Target = str | tuple[str, Offset | None] | tuple[str, Offset | None, object]
"""A key of the state dict, with a part of the weight, with a function on the difference."""


def _fallback(model: Patcher, clip: Clip | None) -> Mapping[str, Site]:
    """Places by full module name from ComfyUI's own maps, for models that are newer than our names."""
    aliases: dict[str, Target] = {}
    comfy.lora.model_lora_keys_unet(model.model, aliases)
    shapes = dict(_layers(model).shapes)
    if clip is not None:
        comfy.lora.model_lora_keys_clip(clip.cond_stage_model, aliases)
        shapes.update(_layers(clip.patcher).shapes)
    sites: dict[str, Site] = {}
    for alias, target in aliases.items():
        key, offset = (target, None) if isinstance(target, str) else target[:2]
        if not isinstance(target, str) and len(target) > 2:
            continue  # a target with a function on the difference
        shape = shapes.get(key)
        part = shape and _part(shape, offset)
        if part:
            sites[alias] = Site(key, part, WHOLE if offset is None else Place((offset[0], offset[1], offset[2])))
    return sites


def _part(shape: Shape, offset: Offset | None) -> Shape | None:
    """The shape of the part; None if the offset is not inside the weight."""
    if offset is None:
        return shape
    dim, start, length = offset
    if dim >= len(shape) or start + length > shape[dim]:
        return None
    return (*shape[:dim], length, *shape[dim + 1 :])
