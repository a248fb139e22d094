"""A header's modules and the kind of its file, with what only the tables of models can tell: bare text encoders."""

from __future__ import annotations

import re
from dataclasses import replace

from ..files.header import Header
from ..spelling import kinds
from ..spelling.modules import Module, Reading, read_modules
from ..spelling.prefixes import MODEL, TEXT_ENCODERS

_LANGUAGE_MODEL = re.compile(r"layers[._]\d+[._](self_attn|mlp)[._](q|k|v|o|gate|up|down|qkv|gate_up)_proj$")
"""A layer of a language model under a name that a diffusion model may have as well; ACE-Step 1.5 does."""


def read(header: Header) -> tuple[Reading, str]:
    """The modules, and the kind as `kinds.kind` tells it.

    A language model's layers that no diffusion model has in these shapes, but a text encoder has, are the encoder's.
    Example: PEFT's `base_model.model.layers.0.self_attn.q_proj` with the widths of Qwen3 4B.
    """
    reading = read_modules(header)
    kind = kinds.kind(header, reading)
    if kind == kinds.LANGUAGE_MODEL:
        modules = tuple(module._replace(component=TEXT_ENCODERS) for module in reading.modules)
        if all(map(_is_encoder, modules)):
            return replace(reading, modules=modules), kinds.LORA
        return reading, kind
    bare = [module for module in reading.modules if module.component == MODEL]
    if not bare or not all(_LANGUAGE_MODEL.match(module.path) for module in bare):
        return reading, kind
    moved = {m.name: m._replace(component=TEXT_ENCODERS) for m in bare}
    if any(_is_model(module) for module in bare) or not all(map(_is_encoder, moved.values())):
        return reading, kind
    return replace(reading, modules=tuple(moved.get(module.name, module) for module in reading.modules)), kind


def _is_encoder(module: Module) -> bool:
    from .identify import fits_encoder  # all that is known of models, which takes a while to load

    return fits_encoder(module)


def _is_model(module: Module) -> bool:
    from .identify import fits_model

    return fits_model(module)
