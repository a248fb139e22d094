"""The weights of a base model by all the names that tools give their layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..spelling.prefixes import MODEL, flatten
from . import text_encoders, unet
from .aliases import alias_sites

Offset = tuple[int, int, int]
"""(dimension, start, length) of the part of a weight that is meant, as in `torch.narrow`."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Which part of a weight is meant, and in what order the file has its rows: one value from placing to the patch."""

    offset: Offset | None = None
    """None for the whole weight."""
    swapped: bool = False
    """True if the file has the second half of these rows first."""
    heads: int = 0
    """Not 0 if the file has a fused q, k and v head by head, of so many heads, where the model has all of q first."""


WHOLE = Place()
"""All of a weight, as it is."""


@dataclass(frozen=True, slots=True)
class Site:
    """A weight or bias of the base model, or a part of one, that a module may change."""

    key: str
    """Its key in the state dict."""
    shape: Shape | None
    """Shape of the part that is meant; None if the weight is packed and does not tell it."""
    place: Place = WHOLE
    head_width: int = 0
    """Rows of one head in a fused q, k and v that some trainers have head by head; 0 for all other layers."""


Sites = Mapping[str, Site]
"""Flattened name of a layer → its weight, for one component; several names may lead to one place.

Biases and other parameters are found by their whole names: `img_in_bias`, `…_query_norm_scale`.
"""

Targets = Mapping[str, Sites]
"""Component → its sites. A component that a model lacks is absent."""


def model_sites(tensors: Mapping[str, tuple[str, Shape | None]]) -> Sites:
    """The diffusion model's sites from `tensor name (native, with .weight or .bias) → (state dict key, shape)`.

    A layer can be found by its native name and by the names that other tools give it.
    """
    sites = {flatten(_layer(name)): Site(key, shape) for name, (key, shape) in tensors.items()}
    for name in tensors:
        if name.endswith(_FUSED):
            layer = flatten(_layer(name))
            sites[layer] = replace(sites[layer], head_width=_head_width(name, tensors))
    for name, (key, shape) in tensors.items():
        if name.endswith(".scale"):  # norms, in ComfyUI before 0.33
            sites.setdefault(flatten(name.removesuffix(".scale")), Site(key, shape))
    weights = {name[: -len(_WEIGHT)]: at for name, at in tensors.items() if name.endswith(_WEIGHT)}
    for native, diffusers in unet.diffusers_names(weights).items():
        sites.setdefault(flatten(diffusers), Site(*weights[native]))
        bias = tensors.get(f"{native}.bias")
        if bias:
            sites.setdefault(f"{flatten(diffusers)}_bias", Site(*bias))
    for foreign, native, rows in alias_sites({name: shape for name, (_, shape) in weights.items()}):
        key, shape = weights[native]
        bias = tensors.get(f"{native}.bias")
        name = flatten(foreign)
        if rows is None:
            sites.setdefault(name, Site(key, shape))
            if bias:
                sites.setdefault(f"{name}_bias", Site(*bias))
            continue
        is_whole = shape is not None and rows.length == shape[0]
        place = Place(None if is_whole else (0, rows.start, rows.length), rows.swapped)
        sites.setdefault(name, Site(key, (rows.length, *(shape or ())[1:]), place))
        if bias and shape and bias[1] == shape[:1]:
            sites.setdefault(f"{name}_bias", Site(bias[0], (rows.length,), place))
    return sites


def _head_width(name: str, tensors: Mapping[str, tuple[str, Shape | None]]) -> int:
    """How wide the heads of MiniMax-H3's fused q, k and v are: as wide as the norm of the queries."""
    _, norm = tensors.get(f"{name.removesuffix(_FUSED)}.attn.q_norm.weight", ("", None))
    return norm[0] if norm else _HEAD_WIDTH


_FUSED = ".attn.qkv_proj.weight"
_HEAD_WIDTH = 128
"""Of every MiniMax-H3 that there is."""

_WEIGHT = ".weight"


def _layer(tensor: str) -> str:
    return tensor[: -len(_WEIGHT)] if tensor.endswith(_WEIGHT) else tensor


def encoder_sites(encoders: Mapping[str, Mapping[str, Site]]) -> dict[str, Sites]:
    """The text encoders' sites by component, from `encoder (ComfyUI's name) → layer → place`.

    Layers have Hugging Face's names, e.g. `text_model.encoder.layers.0.mlp.fc1`, biases `….fc1.bias`. Under
    `text_encoders` every layer is found by `<encoder>.transformer.<name>`.
    """
    flat = {name: _flat(sites) for name, sites in encoders.items()}
    result: dict[str, Sites] = {}
    for component, names in text_encoders.components(encoders.keys()).items():
        merged: dict[str, Site] = {}
        for name in names:
            for path, site in flat[name].items():
                merged.setdefault(path, site)
        result[component] = merged
    result["text_encoders"] = {
        flatten(f"{encoder}.transformer.{path}"): site
        for encoder, sites in encoders.items()
        for path, site in sites.items()
    }
    return result


def _flat(sites: Mapping[str, Site]) -> dict[str, Site]:
    """By flattened names, those of language models also without the `model.` that trainers leave out."""
    flat = {flatten(path): site for path, site in sites.items()}
    for path, site in sites.items():
        if path.startswith("model."):
            flat.setdefault(flatten(path.removeprefix("model.")), site)
    return flat


def has_text_encoders(targets: Targets) -> bool:
    """True when any text encoder is connected."""
    return any(component != MODEL for component in targets)
