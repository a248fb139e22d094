"""In which order MiniMax-H3's LoRAs have the rows of a fused q, k and v.

MiniMax' own checkpoint has them head by head: q, k and v of the first head, then those of the second. Its reference
program, ComfyUI and most trainers put all of q before all of k. The shapes are the same. DiffSynth trains the layer as
the checkpoint has it, and leaves PEFT's `default` in the names; FlashGen says so in the metadata.

Sources: `_convert_non_diffusers_minimax_h3_lora_to_diffusers` in diffusers; `_reorder_grouped_qkv_to_qkv` in vllm-omni.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import quoted
from .prefixes import PEFT, flatten

LAYOUT_KEY = "qkv_layout"
FORMAT_KEY = "key_format"

FUSED = "qkv_proj"
"""What the names of such layers end with."""

_LAYER = re.compile(r"(token_refiner_)?blocks_\d+_attn_qkv_proj")

_BY_HEAD = frozenset(
    {"grouped", "interleaved", "per_head", "by_head", "head_major", "head_interleaved", "per_head_interleaved",
     "interleaved_per_head", "grouped_qkv", "qkv_grouped", "qkv_interleaved", "interleaved_qkv", "megatron", "native",
     "checkpoint", "original", "hqkv", "h3d"}
)  # fmt: skip
_IN_TURN = frozenset(
    {"qkv", "q_k_v", "stacked", "contiguous", "concatenated", "concat", "identity", "sequential", "split",
     "separate", "comfy", "comfyui", "diffusers", "reordered", "q_all_k_all_v_all", "standard",
     "qkv_contiguous", "qkv_concat", "qkv_stacked", "contiguous_qkv", "stacked_qkv"}
)  # fmt: skip
"""Words of the metadata, in small letters, other signs than letters and digits as underscores."""

_SAYS_NOTHING = frozenset({"", "fused", "auto", "default", "none"})

_FORMATS: Mapping[str, bool] = {"minimax_h3_native": True, "minimax_h3_diffusers": False, "minimax_h3_comfyui": False}
"""Words of `key_format` → whether a fused q, k and v is head by head."""


def is_fused(path: str) -> bool:
    """True for the path of such a layer, dotted or underscored: `blocks.0.attn.qkv_proj`."""
    return _LAYER.fullmatch(flatten(path)) is not None


def is_by_head(metadata: Mapping[str, str], spelling: str, tensors: Mapping[str, str]) -> bool | None:
    """Whether a fused layer's rows are head by head; None if the metadata say something that is not known.

    `tensors` are the names of its tensors by slot.
    """
    word = _word(metadata.get(LAYOUT_KEY, ""))
    if word not in _SAYS_NOTHING:
        return True if word in _BY_HEAD else False if word in _IN_TURN else None
    by_format = _FORMATS.get(_word(metadata.get(FORMAT_KEY, "")))
    if by_format is not None:
        return by_format
    return spelling != PEFT and any(".default." in tensor for tensor in tensors.values())


def is_known_format(text: str) -> bool:
    """True for the words of `key_format` that are known."""
    return _word(text) in _FORMATS


def unknown_layout(metadata: Mapping[str, str]) -> str:
    """What is wrong with a file of which `is_by_head` is None, in words."""
    said = quoted(metadata.get(LAYOUT_KEY))
    return (
        f"its metadata entry {LAYOUT_KEY} says {said}, a word that is not known, so that the order of the rows of q, k "
        "and v is not known either; ask its author, or correct the entry to grouped or qkv"
    )


def _word(text: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", text[:100].casefold()).strip("_")
