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


def from_open_clip(path: str) -> str | None:
    """OpenCLIP's name of a module → Hugging Face's, or None; both without `.weight`.

    Example: `transformer.resblocks.3.mlp.c_fc` → `text_model.encoder.layers.3.mlp.fc1`.
    """
    if not path.startswith(OPEN_CLIP_BLOCKS):
        return None
    number, _, part = path[len(OPEN_CLIP_BLOCKS) :].partition(".")
    name = _OPEN_CLIP.get(part)
    return f"text_model.encoder.layers.{number}.{name}" if name else None
