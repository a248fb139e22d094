"""Layer names of text encoders, and which of them a LoRA file means by `te`, `te1`, `te2`, `te3`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_OPEN_CLIP = {
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
}
"""Part of an OpenCLIP block → the same part as Hugging Face's CLIP calls it."""

_OPEN_CLIP_OUTSIDE = {
    "token_embedding.weight": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding",
    "ln_final.weight": "text_model.final_layer_norm",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
"""Tensors outside the blocks; what they are called in Hugging Face's CLIP, weights without `.weight`."""

OPEN_CLIP_PROJECTION = "text_projection"
"""OpenCLIP's matrix behind the last layer, `[width, projection]`; Hugging Face has the same one transposed."""

OPEN_CLIP_BLOCKS = "transformer.resblocks."
"""Where the numbered blocks of OpenCLIP's text encoder begin; those of its image encoder begin with `visual.`."""

OPEN_CLIP_FUSED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
"""The thirds of OpenCLIP's `attn.in_proj_weight`, in the order of its rows."""


def components(encoders: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Component in LoRA files → the encoders that it may mean, for the encoders (ComfyUI's names) that a model has.

    kohya numbers the encoders of a model through; a file for a model with one encoder says `te`, or `te1` all the same.
    CLIP-G alone (the SDXL refiner) is `te2` as well. Encoders that are no CLIP have layer names of their own, so that
    any component may mean them: OneTrainer calls Flux' T5 `te2`, kohya calls it `te3`.
    Source: the naming tables of both trainers.
    Example: {`clip_l`, `clip_g`} → {`te`: `clip_l`, `te1`: `clip_l`, `te2`: `clip_g`}.
    """
    first = next((name for name in ("clip_l", "clip_h") if name in encoders), None)
    second = "clip_g" if "clip_g" in encoders else None
    others = sorted(name for name in encoders if name not in (first, second))
    result: dict[str, tuple[str, ...]] = {}
    for component, clip in (("te", first or second), ("te1", first or second), ("te2", second), ("te3", None)):
        names = (*((clip,) if clip else ()), *others)
        if names:
            result[component] = names
    return result


def from_open_clip_outside(path: str) -> str | None:
    """OpenCLIP's name of a tensor outside the blocks → Hugging Face's, without `.weight`; or None."""
    return _OPEN_CLIP_OUTSIDE.get(path)


def canonical(flat: str) -> str:
    """A text encoder's layer by its flattened name without the wrappers that stand around it in one tool or another.

    Example: `transformer_model_language_model_layers_0_mlp_up_proj` → `layers_0_mlp_up_proj`.
    """
    flat = flat.removeprefix("transformer_")
    start = next((start for start in _WRAPPERS if flat.startswith(start)), "")
    flat = flat[len(start) :]
    if flat.startswith("vision_tower_"):
        flat = "vision_model_" + flat.removeprefix("vision_tower_").removeprefix("vision_model_")
    return "shared" if flat == "encoder_embed_tokens" else flat


_WRAPPERS = ("model_language_model_", "language_model_model_", "language_model_", "model_", "bert_")
"""The model in its causal wrapper, in a wrapper with eyes (of today and of transformers before 4.52), and BERT's."""


def is_aside(flat: str) -> bool:
    """True for parts of a language model with eyes that a prompt of words does not pass through: its vision tower."""
    return canonical(flat).startswith(_ASIDE)


_ASIDE = (
    "vision_model_",
    "visual_",
    "multi_modal_projector_",
    "embed_vision_",
    "audio_tower_",
    "embed_audio_",
    "lm_head",
)


def split_word(flat: str, words: Collection[str]) -> tuple[str | None, str]:
    """(encoder by ComfyUI's word, layer) of a flattened path that may begin with one of these words.

    Example: `gemma3_12b_transformer_model_layers_0_mlp_up_proj` → (`gemma3_12b`, `layers_0_mlp_up_proj`).
    """
    found = max((word for word in words if flat.startswith(f"{word}_")), key=len, default=None)
    return found, canonical(flat if found is None else flat[len(found) + 1 :])


def from_open_clip(path: str) -> str | None:
    """OpenCLIP's name of a module → Hugging Face's, or None; both without `.weight`.

    Example: `transformer.resblocks.3.mlp.c_fc` → `text_model.encoder.layers.3.mlp.fc1`.
    """
    if not path.startswith(OPEN_CLIP_BLOCKS):
        return None
    number, _, part = path[len(OPEN_CLIP_BLOCKS) :].partition(".")
    name = _OPEN_CLIP.get(part)
    return f"text_model.encoder.layers.{number}.{name}" if name else None
