"""The blocks of a model: where in it a weight is, as people who weight LoRAs by block call it. Pure.

A block is what a model repeats: `input.4` … `output.2` of a UNet, `double_blocks.3` of FLUX, `blocks.12` of Wan, and
`clip_l.layers.7` of a text encoder. What stands outside of them has the first word of its name: `img_in`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ATTENTION, MLP, OTHER = "attention", "MLP", "other"
PARTS = (ATTENTION, MLP, OTHER)
"""What a layer does in its block."""

_IN_CHECKPOINTS = (
    ("cond_stage_model.model.", "clip_h"),
    ("cond_stage_model.", "clip_l"),
    ("conditioner.embedders.0.model.", "clip_g"),
    ("conditioner.embedders.0.", "clip_l"),
    ("conditioner.embedders.1.", "clip_g"),
)
"""How the keys of text encoders begin in checkpoints, and what ComfyUI calls these when it has loaded them."""
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
        name = next((name for begin, name in _IN_CHECKPOINTS if path.startswith(begin)), None)
        name = name or path.removeprefix("text_encoders.").split(".", 1)[0]
        return f"{name}.{repeated[1].replace('resblocks', 'layers')}.{repeated[2]}" if repeated else name
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
    name, number = numbered(block)
    return (_FLOW.index(name) if name in _FLOW else 1, "" if name in _FLOW else name, number or 0)


_FLOW = ("input", "", "middle", "output")


_AUDIO = re.compile(r"(?:^|[._])audio", re.I)  # transformer_blocks.3.audio_attn1.to_q of LTX-2
_VIDEO = re.compile(r"(?:^|[._])(?:video|v2a|a2v)", re.I)
TEXT_ENCODER = "text_encoder"
_PART_NAMES = {ATTENTION: ("attn", "attention"), MLP: ("mlp", "ff"), OTHER: ("other",)}


def names_of_part(part: str) -> tuple[str, ...]:
    """What weights per block call one of `PARTS`."""
    return _PART_NAMES[part]


_SHORT = {"double_blocks": "double", "single_blocks": "single"}
_THIRDS = ("early", "mid", "late")
_UNET_THIRDS = {"input": "early", "middle": "mid", "output": "late"}


class BlockNames:
    """What the layers of one model are called in weights per block."""

    def __init__(self, keys: Iterable[str]) -> None:
        """From the keys of the diffusion model's weights."""
        self._counts: dict[str, int] = {}
        self._has_audio = False
        for key in keys:
            stack, number = numbered(find_block(key))
            if number is not None:
                self._counts[stack] = max(self._counts.get(stack, 0), number + 1)
            self._has_audio = self._has_audio or _AUDIO.search(key) is not None

    def labels(self, key: str, is_encoder: bool = False) -> Mapping[str, int | None]:
        """Names of a weight's layer → its number among those of that name: `{"double_blocks": 3, "attn": None, …}`.

        `early`, `mid` and `late` are thirds of a stack of blocks, and the three parts of a UNet. `audio` and `video`
        are there in models that make both.
        """
        stack, number = numbered(find_block(key, is_encoder))
        result: dict[str, int | None] = {stack.casefold(): number}  # modF of AuraFlow: patterns have small letters
        if stack in _SHORT:
            result[_SHORT[stack]] = number
        result.update(dict.fromkeys(_PART_NAMES[find_part(key)]))
        if is_encoder:
            result[TEXT_ENCODER] = result[stack.partition(".")[0]] = None
            return result
        if stack in _UNET_THIRDS:
            result[_UNET_THIRDS[stack]] = None
        elif number is not None and self._counts.get(stack, 0) >= len(_THIRDS):
            result[_THIRDS[number * len(_THIRDS) // self._counts[stack]]] = None
        if self._has_audio:
            is_audio = _AUDIO.search(key) is not None
            if is_audio:
                result["audio"] = None
            if not is_audio or _VIDEO.search(key):
                result["video"] = None
        return result


def numbered(block: str) -> tuple[str, int | None]:
    """`double_blocks.3` → `("double_blocks", 3)`."""
    name, _, number = block.rpartition(".")
    return (name, int(number)) if number.isdigit() else (block, None)
