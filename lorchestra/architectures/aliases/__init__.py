"""What other tools call the layers of a model: one file per family of models, listed by hand in `TABLES`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import (
    ace_step,
    auraflow,
    cogvideox,
    cosmos,
    flux,
    flux2,
    hunyuan_dit,
    hunyuan_original,
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
from .rules import Alias, Rows, Rule, Shape, Table, aliases

__all__ = ["TABLES", "Alias", "Rows", "Rule", "Shape", "Table", "alias_sites"]

TABLES: tuple[Table, ...] = (
    sd3.TABLE,
    auraflow.TABLE,
    pixart.TABLE,
    flux.TABLE,
    flux.CHROMA,
    flux.LONGCAT,
    flux.OVIS,
    flux.OVIS_SLICED,
    flux.XLABS,
    flux.SLICED,
    flux2.TABLE,
    hunyuan_original.TABLE,
    lumina.TABLE,
    lumina.LUMINA2,
    krea2.TABLE,
    ace_step.TABLE,
    ace_step.DIFFUSERS,
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
    cosmos.ANIMA_SIMPLETUNER,
    stable_audio.TABLE,
    ideogram.TABLE,
    minimax.H3,
    minimax.MUSIC3,
    qwen_image21.TABLE,
)
"""All tables; where two have one name for a model, the first keeps it.

HiDream, Qwen-Image (but 2.1), MageFlow, OmniGen2, Kandinsky 5, ACE-Step 1 and ERNIE-Image need none: their trainers
write the native names.

To add an architecture's names:
1. Write `<family>.py` beside this file with a `TABLE`: `needs` and `lacks` say by native layers which models it is for,
   and a `Rule` per kind of layer says foreign name, native name and, where layers are fused, which rows are meant.
   Native names that other tools use too need no rule. Name the source of the mapping in the docstring.
2. Add one line here.
3. Add one row with names and shapes to `tests/lorchestra/architectures/aliases/test_tables.py`.
"""


def alias_sites(weights: Mapping[str, Shape | None]) -> Iterator[Alias]:
    """The further names of a model's layers, from `native name (dotted, without .weight) → shape`, None for unknown.

    Only layers that are there and rows that are inside. Example: Flux.1's `double_blocks.0.img_attn.qkv [9216, 3072]` →
    `(transformer_blocks.0.attn.to_k, double_blocks.0.img_attn.qkv, Rows(3072, 3072))`.
    """
    return aliases(TABLES, weights)
