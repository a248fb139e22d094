"""The starts of module names: which convention wrote a file, and which part of the model a module belongs to.

To add a convention: add a row to `PREFIXES` above the shorter prefixes that it starts with.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

MODEL = "model"
"""Component name of the diffusion model. Text encoders are `te` (the only or the first one), `te1` … `te4`."""

TEXT_ENCODERS = "text_encoders"
"""Component of those text encoders that go by a name, ComfyUI's, which then begins the path: `clip_l.transformer.…`."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """One convention's start of a name."""

    text: str
    component: str
    spelling: str
    """Who writes it, in words for people."""
    start: str = ""
    """What takes its place at the start of the path."""


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
AI_TOOLKIT = "ai-toolkit"

PREFIXES: tuple[Prefix, ...] = (
    # kohya's sd-scripts and musubi-tuner, LyCORIS within them, OneTrainer, diffusion-pipe for SDXL, lightx2v's tools
    Prefix("lora_unet_unet_", MODEL, KOHYA),
    Prefix("lora_unet_model_", MODEL, KOHYA),  # musubi-tuner for HiDream-O1: its model stands in a wrapper
    Prefix("lora_unet__", MODEL, "Wan-Fun"),
    Prefix("lora_unet_", MODEL, KOHYA),
    Prefix("lora_te1_", "te1", KOHYA),
    Prefix("lora_te2_", "te2", KOHYA),
    Prefix("lora_te3_", "te3", KOHYA),
    Prefix("lora_te4_", "te4", ONETRAINER),
    Prefix("lora_te_", "te", KOHYA),
    Prefix("oft_unet_", MODEL, "kohya OFT"),
    Prefix("oft_te1_", "te1", "kohya OFT"),
    Prefix("oft_te2_", "te2", "kohya OFT"),
    Prefix("oft_te_", "te", "kohya OFT"),
    Prefix("lora_prior_unet_", MODEL, ONETRAINER),
    Prefix("lora_prior_te_", "te", ONETRAINER),
    Prefix("lora_transformer_", MODEL, ONETRAINER),
    Prefix("lycoris_", MODEL, LYCORIS),
    # ai-toolkit's text encoders in its PEFT format
    Prefix("lora_te1.", "te1", AI_TOOLKIT),
    Prefix("lora_te2.", "te2", AI_TOOLKIT),
    Prefix("lora_te.", "te", AI_TOOLKIT),
    # PEFT, raw and within a pipeline's component
    Prefix("unet.base_model.model.", MODEL, PEFT),
    Prefix("transformer.base_model.model.", MODEL, PEFT),
    Prefix("text_encoder.base_model.model.", "te", PEFT),
    Prefix("text_encoder_2.base_model.model.", "te2", PEFT),
    Prefix("base_model.model.", MODEL, PEFT),
    # ComfyUI's own: ai-toolkit, diffusion-pipe, musubi-tuner's converter, kijai's extractions, OneTrainer
    Prefix("diffusion_model.model.", MODEL, NATIVE),  # ai-toolkit for HiDream-O1, before it took the wrapper away
    Prefix("diffusion_model.", MODEL, NATIVE),
    Prefix("model.diffusion_model.", MODEL, NATIVE),
    Prefix("text_encoders.", TEXT_ENCODERS, NATIVE),
    # DiffSynth-Studio with its pipeline's prefix left on
    Prefix("pipe.dit.", MODEL, DIFFSYNTH),
    Prefix("pipe.unet.", MODEL, DIFFSYNTH),
    Prefix("pipe.video_dit.", MODEL, DIFFSYNTH),
    Prefix("pipe.vace.", MODEL, DIFFSYNTH),
    # diffusers, SimpleTuner, ai-toolkit, OneTrainer, diffusion-pipe
    Prefix("unet.", MODEL, DIFFUSERS),
    Prefix("transformer.model.", MODEL, DIFFUSERS),
    Prefix("transformer.", MODEL, DIFFUSERS),
    Prefix("prior.", MODEL, DIFFUSERS),
    Prefix("text_encoder_2.", "te2", DIFFUSERS),
    Prefix("text_encoder_3.", "te3", DIFFUSERS),
    Prefix("text_encoder_4.", "te4", DIFFUSERS),
    Prefix("text_encoder.", "te", DIFFUSERS),
    # OneTrainer's OMI format of 2025
    Prefix("clip_l.", TEXT_ENCODERS, ONETRAINER, "clip_l.transformer."),
    Prefix("clip_g.", TEXT_ENCODERS, ONETRAINER, "clip_g.transformer."),
    Prefix("t5.", TEXT_ENCODERS, ONETRAINER, "t5xxl.transformer."),
    Prefix("llama.", TEXT_ENCODERS, ONETRAINER, "llama.transformer."),
)
"""A longer one stands above the shorter ones that it starts with.

Example: `lora_te2_text_model_…` is kohya's second text encoder.
"""

_KEY = min(len(prefix.text) for prefix in PREFIXES)
_STARTS = {
    key: tuple((row.text, len(row.text), row.component, row.start, row.spelling) for row in rows)
    for key in dict.fromkeys(prefix.text[:_KEY] for prefix in PREFIXES)
    if (rows := [prefix for prefix in PREFIXES if prefix.text.startswith(key)])
}
"""First letters of a name → the prefixes that begin with them, in the order of the table; quicker than one pattern."""

_ENCODERS = tuple(
    start.replace(".", separator)
    for separator in "._"
    for start in (
        "text_model.encoder.", "text_model.embeddings.", "text_model.final_layer_norm", "encoder.block.",
        "model.language_model.", "language_model.model.", "model.layers.",
        "clip_l.transformer.", "clip_g.transformer.", "t5xxl.transformer.",
    )
)  # fmt: skip
"""What text encoders' layers begin with, and no diffusion model's: for files that do not say which part they are for.

HiDream-O1, which is a language model itself, has `language_model.layers.`.
"""

_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "_orig_mod_")
"""What torch.compile, checkpointing and sharding leave in the middle of names, in dotted and underscored ones."""
_WRAPPED = re.compile("|".join(map(re.escape, _WRAPPERS)))
_DATA_PARALLEL = "module."
"""What DeepSpeed and DistributedDataParallel leave at the start of names."""


@functools.lru_cache(maxsize=1 << 15)
def split(module: str) -> tuple[str, str, str]:
    """A module's name taken apart into (component, path without the prefix, spelling).

    Without a known prefix the module belongs to the model and the spelling is `bare`. Remembered, because the files of
    a library share their names.
    Example: `unet.down_blocks.0.attentions.0.…attn1.processor.to_q` →
    (`model`, `down_blocks.0.attentions.0.…attn1.to_q`, `diffusers attention processors`).
    """
    if "_mod" in module or module.startswith(_DATA_PARALLEL):
        module = unwrapped(module)
    component, path, spelling = MODEL, module, BARE
    for text, length, named, start, writer in _STARTS.get(module[:_KEY], ()):
        if module.startswith(text):
            component, path, spelling = named, start + module[length:], writer
            break
    if path.endswith(_SEPARATORS) or path.startswith(_SEPARATORS) or _SEVERAL.search(path):
        path = tidied(path)
    if component == MODEL and path.startswith(_ENCODERS):
        return TEXT_ENCODERS, path, spelling
    if ".processor." in path:
        if path.startswith(("double_blocks.", "single_blocks.")):
            return component, f"{path}_lora" if path.endswith((".qkv", ".proj")) else path, XLABS
        path, spelling = path.replace(".processor.", "."), PROCESSORS
        if path.endswith(".to_out"):
            path += ".0"
    return component, path, spelling


def unwrapped(module: str) -> str:
    """Without what torch.compile, checkpointing, sharding and data parallelism leave in names."""
    return _WRAPPED.sub("", module).removeprefix(_DATA_PARALLEL)


_SEPARATORS = (".", "_")
_SEVERAL = re.compile("[._]{2}")
_DOUBLED = re.compile("[._]+(?=[._])")


def tidied(path: str) -> str:
    """Without dots and underscores at its ends, and with one where several stand: `blocks_0_attn_to_q_` → `…_to_q`.

    No layer of any model has such a name, so nothing is confused.
    """
    return _DOUBLED.sub("", path.strip("._"))


def flatten(path: str) -> str:
    """The path with dots as underscores, which makes dotted and underscored spellings of one layer equal."""
    return path.replace(".", "_")
