"""The starts of module names: which convention wrote a file, and which part of the model a module belongs to.

To add a convention: add a row to `PREFIXES` above the shorter prefixes that it starts with.
"""

from __future__ import annotations

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

PREFIXES: tuple[Prefix, ...] = (
    Prefix("lora_unet__", MODEL, "Wan-Fun"),
    Prefix("lora_unet_", MODEL, KOHYA),
    Prefix("lora_te1_", "te1", KOHYA),
    Prefix("lora_te2_", "te2", KOHYA),
    Prefix("lora_te3_", "te3", KOHYA),
    Prefix("lora_te_", "te", KOHYA),
    Prefix("lora_prior_unet_", MODEL, ONETRAINER),
    Prefix("lora_prior_te_", "te", ONETRAINER),
    Prefix("lora_transformer_", MODEL, ONETRAINER),
    Prefix("lycoris_", MODEL, LYCORIS),
    Prefix("unet.base_model.model.", MODEL, PEFT),
    Prefix("transformer.base_model.model.", MODEL, PEFT),
    Prefix("base_model.model.", MODEL, PEFT),
    Prefix("diffusion_model.", MODEL, NATIVE),
    Prefix("unet.", MODEL, DIFFUSERS),
    Prefix("transformer.", MODEL, DIFFUSERS),
    Prefix("text_encoder_2.", "te2", DIFFUSERS),
    Prefix("text_encoder_3.", "te3", DIFFUSERS),
    Prefix("text_encoder.", "te", DIFFUSERS),
    Prefix("text_encoders.", "text_encoders", NATIVE),
)
"""In the order in which they are tried. Example: `lora_te2_text_model_…` is kohya's second text encoder."""


def split(module: str) -> tuple[str, str, str]:
    """A module's name taken apart into (component, path without the prefix, spelling).

    Without a known prefix the module belongs to the model and the spelling is `bare`.
    Example: `unet.down_blocks.0.attentions.0.…attn1.processor.to_q` →
    (`model`, `down_blocks.0.attentions.0.…attn1.to_q`, `diffusers attention processors`).
    """
    component, path, spelling = MODEL, module, BARE
    for prefix in PREFIXES:
        if module.startswith(prefix.text):
            component, path, spelling = prefix.component, module[len(prefix.text) :], prefix.spelling
            break
    if ".processor." in path:
        path, spelling = path.replace(".processor.", "."), PROCESSORS
        if path.endswith(".to_out"):
            path += ".0"
    return component, path, spelling


def flatten(path: str) -> str:
    """The path with dots as underscores, which makes dotted and underscored spellings of one layer equal."""
    return path.replace(".", "_")
