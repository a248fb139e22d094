"""What diffusers calls the layers of a model: for each native layer the names that make it up, with their rows.

The other way round than `aliases`: there any name leads to a place, here a place gets the one name that diffusers'
pipelines write.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import unet
from .aliases import (
    Rows,
    Shape,
    Table,
    ace_step,
    auraflow,
    cogvideox,
    cosmos,
    flux,
    flux2,
    hunyuan_dit,
    hunyuan_video,
    ideogram,
    krea2,
    ltx,
    lumina,
    minimax,
    mochi,
    pixart,
    qwen_image21,
    sd3,
    stable_audio,
    stable_cascade,
    svd,
    wan,
)
from .aliases.rules import Alias, aliases

DIFFUSERS: tuple[Table, ...] = (
    sd3.TABLE,
    auraflow.TABLE,
    pixart.TABLE,
    flux.TABLE,
    flux.CHROMA,
    flux.LONGCAT,
    flux.OVIS,
    flux2.TABLE,
    lumina.LUMINA2,  # before Z-Image's, which fits the same models
    lumina.TABLE,
    krea2.TABLE,
    ace_step.DIFFUSERS,
    ace_step.TABLE,
    stable_cascade.TABLE,
    svd.TABLE,
    hunyuan_dit.TABLE,
    hunyuan_video.TABLE,
    wan.TABLE,
    ltx.TABLE,
    mochi.TABLE,
    cogvideox.TABLE,
    cosmos.COSMOS_1,
    cosmos.COSMOS_PREDICT2,
    stable_audio.TABLE,
    ideogram.TABLE,
    minimax.H3,
    minimax.MUSIC3,
    qwen_image21.TABLE,
)
"""The tables of `aliases` that hold diffusers' own names; where two name a layer, the first one counts."""


def diffusers_names(weights: Mapping[str, Shape | None]) -> dict[str, tuple[Alias, ...]]:
    """Native layer → diffusers' layers that it is made of, in the order of their rows; from `native → shape`.

    A layer of which diffusers has no counterpart is absent: one that no table names, where the tables give its
    neighbours names of another kind. A model that no table is for has diffusers' names natively.
    Example: `double_blocks.0.img_attn.qkv` → `transformer_blocks.0.attn.to_q`, `….to_k`, `….to_v`.
    """
    result: dict[str, tuple[Alias, ...]] = {}
    for table in DIFFUSERS:
        found: dict[str, list[Alias]] = {}
        for alias in aliases((table,), weights):
            here = found.setdefault(alias.native, [])
            if not any(_overlap(alias.rows, other.rows) for other in here):
                here.append(alias)
        for native, names in found.items():
            result.setdefault(native, tuple(sorted(names, key=lambda alias: alias.rows.start if alias.rows else 0)))
    for native, name in unet.diffusers_names(weights).items():
        result.setdefault(native, (Alias(name, native, None),))
    renamed = {native.split(".")[0] for native, names in result.items() if not _keeps_start(native, names)}
    for native in weights:
        if native not in result and native.split(".")[0] not in renamed:
            result[native] = (Alias(native, native, None),)
    return result


def _keeps_start(native: str, names: tuple[Alias, ...]) -> bool:
    return any(alias.foreign.split(".")[0] == native.split(".")[0] for alias in names)


def _overlap(one: Rows | None, other: Rows | None) -> bool:
    if one is None or other is None:
        return True
    return one.start < other.start + other.length and other.start < one.start + one.length
