"""The starts of module names: which convention wrote a file, and which part of the model a module belongs to.

To add a convention: add a row to `PREFIXES` above the shorter prefixes that it starts with.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

MODEL = "model"
"""Component name of the diffusion model. Text encoders are `te` (the only or the first one), `te1`, `te2`, `te3`."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """One convention's start of a name."""

    text: str
    component: str
    spelling: str
    """Who writes it, in words for people."""


KOHYA = "kohya"
DIFFUSERS = "diffusers"
PROCESSORS = "diffusers attention processors"
PEFT = "PEFT"
NATIVE = "ComfyUI native"
LYCORIS = "LyCORIS"
ONETRAINER = "OneTrainer"
BARE = "bare"
DIFFSYNTH = "DiffSynth"
XLABS = "XLabs"

PREFIXES: tuple[Prefix, ...] = (
    Prefix("lora_unet_unet_", MODEL, KOHYA),
    Prefix("lora_unet__", MODEL, "Wan-Fun"),
    Prefix("lora_unet_", MODEL, KOHYA),
    Prefix("lora_te1_", "te1", KOHYA),
    Prefix("lora_te2_", "te2", KOHYA),
    Prefix("lora_te3_", "te3", KOHYA),
    Prefix("lora_te_", "te", KOHYA),
    Prefix("oft_unet_", MODEL, "kohya OFT"),
    Prefix("oft_te1_", "te1", "kohya OFT"),
    Prefix("oft_te2_", "te2", "kohya OFT"),
    Prefix("oft_te_", "te", "kohya OFT"),
    Prefix("lora_prior_unet_", MODEL, ONETRAINER),
    Prefix("lora_prior_te_", "te", ONETRAINER),
    Prefix("lora_transformer_", MODEL, ONETRAINER),
    Prefix("lycoris_", MODEL, LYCORIS),
    Prefix("unet.base_model.model.", MODEL, PEFT),
    Prefix("transformer.base_model.model.", MODEL, PEFT),
    Prefix("text_encoder.base_model.model.", "te", PEFT),
    Prefix("base_model.model.", MODEL, PEFT),
    Prefix("diffusion_model.", MODEL, NATIVE),
    Prefix("model.diffusion_model.", MODEL, NATIVE),
    Prefix("pipe.dit.", MODEL, DIFFSYNTH),
    Prefix("unet.", MODEL, DIFFUSERS),
    Prefix("transformer.", MODEL, DIFFUSERS),
    Prefix("text_encoder_2.", "te2", DIFFUSERS),
    Prefix("text_encoder_3.", "te3", DIFFUSERS),
    Prefix("text_encoder.", "te", DIFFUSERS),
    Prefix("text_encoders.", "text_encoders", NATIVE),
)
"""A longer one stands above the shorter ones that it starts with.

Example: `lora_te2_text_model_…` is kohya's second text encoder.
"""

_START = re.compile("|".join(re.escape(prefix.text) for prefix in PREFIXES))
_BY_TEXT = {prefix.text: prefix for prefix in PREFIXES}
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")
"""What torch.compile and checkpoint wrappers leave in the middle of names."""


@functools.lru_cache(maxsize=1 << 15)
def split(module: str) -> tuple[str, str, str]:
    """A module's name taken apart into (component, path without the prefix, spelling).

    Without a known prefix the module belongs to the model and the spelling is `bare`. Remembered, because the files of
    a library share their names.
    Example: `unet.down_blocks.0.attentions.0.…attn1.processor.to_q` →
    (`model`, `down_blocks.0.attentions.0.…attn1.to_q`, `diffusers attention processors`).
    """
    for wrapper in _WRAPPERS:
        if wrapper in module:
            module = module.replace(wrapper, "")
    match = _START.match(module)
    if match:
        prefix = _BY_TEXT[match[0]]
        component, path, spelling = prefix.component, module[match.end() :], prefix.spelling
    else:
        component, path, spelling = MODEL, module, BARE
    if ".processor." in path:
        if path.startswith(("double_blocks.", "single_blocks.")):
            return component, f"{path}_lora" if path.endswith((".qkv", ".proj")) else path, XLABS
        path, spelling = path.replace(".processor.", "."), PROCESSORS
        if path.endswith(".to_out"):
            path += ".0"
    return component, path, spelling


def flatten(path: str) -> str:
    """The path with dots as underscores, which makes dotted and underscored spellings of one layer equal."""
    return path.replace(".", "_")
