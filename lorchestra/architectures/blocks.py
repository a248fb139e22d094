"""The blocks of a model: where in it a weight is, as people who weight LoRAs by block call it. Pure.

A block is what a model repeats: `input.4` … `output.2` of a UNet, `double_blocks.3` of FLUX, `blocks.12` of Wan, and
`clip_l.layers.7` of a text encoder. What stands outside of them has the first word of its name: `img_in`.
"""

from __future__ import annotations

import re

ATTENTION, MLP, OTHER = "attention", "MLP", "other"
PARTS = (ATTENTION, MLP, OTHER)
"""What a layer does in its block."""

_MODEL = re.compile(r"^(?:model\.)?diffusion_model\.")
_UNET = re.compile(r"(input|output)_blocks\.([0-9]+)\.|(middle)_block\.")  # input_blocks.4.1.transformer_blocks.0.ff
_REPEATED = re.compile(r"(?:^|\.)(\w*(?:block|layer)\w*)\.([0-9]+)(?:\.|$)")  # double_blocks.3.img_attn.qkv
_ATTENTION = re.compile(r"attn|attention|to_(?:q|k|v|qkv|out|kv)\b|(?:^|[._])qkv|[._](?:q|k|v|o)_(?:proj|norm)\b", re.I)
_MLP = re.compile(r"(?:^|[._])(?:ff|ffn|mlp|feed_?forward|fc[12]|experts?|wi_[01]|wo|w[123])(?:[._0-9]|$)", re.I)


def find_block(key: str, is_encoder: bool = False) -> str:
    """The block of a weight by its key in the state dict, with or without `diffusion_model.` before it.

    Of a text encoder, its name stands before: `clip_l.layers.3`.
    """
    path = _MODEL.sub("", key)
    repeated = _REPEATED.search(path)
    if is_encoder:
        name = path.split(".", 1)[0]
        return f"{name}.{repeated[1]}.{repeated[2]}" if repeated else name
    unet = _UNET.match(path)
    if unet:
        return unet[3] or f"{unet[1]}.{unet[2]}"
    return f"{repeated[1]}.{repeated[2]}" if repeated else path.split(".", 1)[0]


def find_part(key: str) -> str:
    """What the layer of a weight does in its block: one of `PARTS`."""
    path = _MODEL.sub("", key)
    if _ATTENTION.search(path):
        return ATTENTION
    return MLP if _MLP.search(path) else OTHER


def in_order(block: str) -> tuple[int, str, int]:
    """Sorts blocks as the data flows through a UNet, and others by name and number."""
    name, _, number = block.rpartition(".")
    if not number.isdigit():
        name, number = block, "0"
    return (_FLOW.index(name) if name in _FLOW else 1, "" if name in _FLOW else name, int(number))


_FLOW = ("input", "", "middle", "output")
