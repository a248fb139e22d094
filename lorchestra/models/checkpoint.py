"""Which tensor of a checkpoint file is which layer of which part of the model; from the header alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..architectures import text_encoders
from ..architectures.sites import Place, Shape, Site, Targets, encoder_sites, model_sites
from ..spelling.prefixes import MODEL
from .relaid import relaid_sites

_MODEL_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.")
"""Where the diffusion model begins; a file with none of these is a diffusion model alone."""

_HUGGING_FACE = {
    "cond_stage_model.transformer.": "clip_l",
    "conditioner.embedders.0.transformer.": "clip_l",
}
"""Prefix → encoder, for encoders with Hugging Face's names (SD 1.x; the first of SDXL)."""

_OPEN_CLIP = {
    "cond_stage_model.model.": "clip_h",
    "conditioner.embedders.1.model.": "clip_g",
    "conditioner.embedders.0.model.": "clip_g",
}
"""Prefix → encoder, for encoders with OpenCLIP's names (SD 2.x; the second of SDXL; the SDXL refiner)."""

_COMFY = "text_encoders."
"""ComfyUI writes `text_encoders.<encoder>.transformer.<name>`."""


def targets(shapes: Mapping[str, Shape | None]) -> Targets:
    """The places where LoRA modules may land, from `tensor name → shape` of a checkpoint; None for packed weights."""
    prefix = _prefix(shapes)
    encoders = _encoders(shapes)
    tensors = {name[len(prefix) :]: (name, shape) for name, shape in shapes.items() if name.startswith(prefix)}
    result = dict(encoder_sites(encoders)) if encoders else {}
    if any(name.endswith(".weight") for name in tensors):
        result[MODEL] = {**relaid_sites(tensors), **model_sites(tensors)}
    return result


def model_tensors(shapes: Mapping[str, Shape | None]) -> dict[str, Shape | None]:
    """The diffusion model's tensors by their native names."""
    prefix = _prefix(shapes)
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _prefix(shapes: Mapping[str, Shape | None]) -> str:
    return next((p for p in _MODEL_PREFIXES if any(name.startswith(p) for name in shapes)), "")


def _encoders(shapes: Mapping[str, Shape | None]) -> dict[str, dict[str, Site]]:
    encoders: dict[str, dict[str, Site]] = {}
    for name, shape in shapes.items():
        found = _hugging_face(name) or _comfy(name)
        if found:
            encoder, path = found
            encoders.setdefault(encoder, {})[path] = Site(name, shape)
            continue
        for prefix, encoder in _OPEN_CLIP.items():
            if name.startswith(prefix):
                sites = encoders.setdefault(encoder, {})
                sites.update(_open_clip_sites(name, name[len(prefix) :], shape))
                break
    return {encoder: sites for encoder, sites in encoders.items() if sites}


def _layer(name: str) -> str:
    return name.removesuffix(".weight")


def _hugging_face(name: str) -> tuple[str, str] | None:
    for prefix, encoder in _HUGGING_FACE.items():
        if name.startswith(prefix):
            path = _layer(name[len(prefix) :])
            # early SD 1.x merges leave `text_model.` out
            return encoder, path if path.startswith("text_model.") else f"text_model.{path}"
    return None


def _comfy(name: str) -> tuple[str, str] | None:
    if not name.startswith(_COMFY):
        return None
    encoder, middle, path = _layer(name[len(_COMFY) :]).partition(".transformer.")
    return (encoder, path) if middle else None


def _open_clip_sites(key: str, path: str, shape: Shape | None) -> Iterable[tuple[str, Site]]:
    start = text_encoders.OPEN_CLIP_BLOCKS
    outside = text_encoders.from_open_clip_outside(path)
    if outside:
        yield outside, Site(key, shape)
        return
    if path == text_encoders.OPEN_CLIP_PROJECTION:
        yield path, Site(key, shape and shape[::-1], Place(transposed=True))
        return
    for fused, end in ((".attn.in_proj_weight", ""), (".attn.in_proj_bias", ".bias")):
        if path.startswith(start) and path.endswith(fused):
            if not shape or shape[0] % 3:
                return
            number, third = path[len(start) : -len(fused)], shape[0] // 3
            for index, part in enumerate(text_encoders.OPEN_CLIP_FUSED):
                layer = f"text_model.encoder.layers.{number}.{part}{end}"
                yield layer, Site(key, (third, *shape[1:]), Place((0, index * third, third)))
            return
    for end in (".weight", ".bias"):
        name = text_encoders.from_open_clip(path[: -len(end)]) if path.endswith(end) else None
        if name:
            yield name if end == ".weight" else f"{name}.bias", Site(key, shape)
