"""The weights of a base model by all the names that tools give their layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..spelling.prefixes import MODEL, TEXT_ENCODERS, flatten
from . import text_encoders, unet
from .aliases import alias_sites
from .encoders import COMFYUI_WORDS
from .joined import has_parts, parts_of

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
    transposed: bool = False
    """True if the model keeps the whole matrix with its rows as columns."""
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
    pieces: tuple[Site, ...] = ()
    """If a file's layer spans several of the model's: these, in the order of its rows. The shape is that of all of them
    together, key and place are those of the first."""
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
    `text_encoders` every layer is found by `<encoder>.transformer.<name>`, and under `text_encoders:<encoder>` that
    encoder's alone.
    """
    flat = {name: _flat(sites) for name, sites in encoders.items()}
    result: dict[str, Sites] = {}
    for name, sites in flat.items():
        result[f"{TEXT_ENCODERS}:{name}"] = sites
    for component, names in text_encoders.components(encoders.keys()).items():
        merged: dict[str, Site] = {}
        for name in names:
            for path, site in flat[name].items():
                merged.setdefault(path, site)
        result[component] = merged
    result[TEXT_ENCODERS] = {
        flatten(f"{encoder}.transformer.{path}"): site
        for encoder, sites in encoders.items()
        for path, site in sites.items()
    }
    return result


def _flat(sites: Mapping[str, Site]) -> dict[str, Site]:
    """By flattened names, also without the wrappers that trainers leave out or write otherwise."""
    flat = {flatten(path): site for path, site in sites.items()}
    for name, site in list(flat.items()):
        flat.setdefault(text_encoders.canonical(name), site)
    return flat


def find_joined(flat: str, sites: Mapping[str, Site]) -> Site | None:
    """The layers that stand for one of that flattened name, such as q, k and v for a `to_qkv`; None if there are none.

    Parts of one fused weight that follow each other are one place.
    """
    for names in parts_of(flat) if has_parts(flat) else ():
        found = [site for name in names if (site := sites.get(name)) is not None]
        if len(found) == len(names) and (joined := _joined(found)):
            return joined if joined.pieces else _as_whole(joined, sites)
    return None


def _as_whole(site: Site, sites: Mapping[str, Site]) -> Site:
    """Parts that make up a whole weight as that weight."""
    words = site.key.removesuffix(_WEIGHT).replace(".bias", "_bias").split(".")
    for start in range(min(len(words), 4)):  # behind `model.diffusion_model.`
        whole = sites.get("_".join(words[start:]))
        if whole and (whole.key, whole.shape) == (site.key, site.shape):
            return whole
    return site


def _joined(parts: list[Site]) -> Site | None:
    """Layers with the same inputs, one below the other; None if that makes no layer."""
    pieces: list[Site] = []
    rows, inner = 0, (parts[0].shape or (0,))[1:]
    for part in parts:
        if part.pieces or not part.shape or part.shape[1:] != inner:
            return None
        rows += part.shape[0]
        before = pieces[-1] if pieces else None
        follows = before and _follows(before, part)
        if before and before.shape and follows:
            pieces[-1] = Site(part.key, (before.shape[0] + part.shape[0], *inner), follows)
        else:
            pieces.append(part)
    if len({(piece.key, piece.place.offset) for piece in pieces}) < len(pieces):
        return None
    first = pieces[0]
    return first if len(pieces) == 1 else Site(first.key, (rows, *inner), first.place, tuple(pieces))


def _follows(one: Site, other: Site) -> Place | None:
    """The place of both if the rows of `other` follow those of `one` in the same weight."""
    first, second = one.place, other.place
    if one.key != other.key or first.offset is None or second.offset is None or first.swapped or second.swapped:
        return None
    (dim, start, count), (other_dim, other_start, other_count) = first.offset, second.offset
    is_next = dim == other_dim == 0 and other_start == start + count
    return Place((0, start, count + other_count)) if is_next else None


def encoder_candidates(component: str, flat: str, targets: Targets) -> list[Site]:
    """The layers that a text encoder's layer of that flattened name may be; of several, its shape tells which.

    Under `text_encoders` a name may begin with the encoder's word, and means any encoder that is there if it does not.
    """
    if component == TEXT_ENCODERS:
        start = f"{TEXT_ENCODERS}:"
        connected = [name[len(start) :] for name in targets if name.startswith(start)]
        word, flat = text_encoders.split_word(flat, {*connected, *COMFYUI_WORDS})
        places = [targets.get(f"{start}{name}", {}) for name in (connected if word is None else [word])]
    else:
        places = [targets.get(component, {})]
    found: list[Site] = []
    for sites in places:
        for name in dict.fromkeys((flat, text_encoders.canonical(flat))):
            site = sites.get(name) or find_joined(name, sites)
            if site:
                found.append(site)
                break
    return found


def has_text_encoders(targets: Targets) -> bool:
    """True when any text encoder is connected."""
    return any(component != MODEL for component in targets)
