"""Where the modules of a LoRA file land in a base model; nothing is placed that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from ..architectures import text_encoders, unet
from ..spelling import slots
from ..spelling.modules import BIAS, Module
from ..spelling.prefixes import MODEL, flatten

Offset = tuple[int, int, int]
"""(dimension, start, length) of the part of a weight that is meant, as in `torch.narrow`."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """A weight or bias of the base model, or a part of one, that a module may change."""

    key: str
    """Its key in the state dict."""
    shape: Shape | None
    """Shape of the part that is meant; None where it cannot be told, because the weight is packed."""
    offset: Offset | None = None
    swapped: bool = False
    """True where the file has the second half of these rows first."""


Sites = Mapping[str, Site]
"""Flattened name of a layer → its weight, for one component; several names may lead to one place.

Biases and other parameters are found by their whole names: `img_in_bias`, `…_query_norm_scale`.
"""

Targets = Mapping[str, Sites]
"""Component → its sites. A component that a model lacks is absent."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A module and its place."""

    module: Module
    site: Site


@dataclass(frozen=True, slots=True)
class Placement:
    """Where all modules of one file went."""

    placed: tuple[Placed, ...]
    unmatched: tuple[Module, ...]
    """No layer of that name in the model."""
    misshapen: tuple[tuple[Module, str], ...]
    """The layer is there but does not fit, with the reason."""
    unused: tuple[Module, ...]
    """Text encoder modules, where that text encoder is not connected."""

    @property
    def fitting(self) -> str:
        """In words: `128 of 192 modules`."""
        total = len(self.placed) + len(self.unmatched) + len(self.misshapen)
        return f"{len(self.placed)} of {total} modules"


def model_sites(tensors: Mapping[str, tuple[str, Shape | None]]) -> Sites:
    """The diffusion model's sites from `tensor name (native, with .weight or .bias) → (state dict key, shape)`.

    A layer can be found by its native name and by the names that other tools give it.
    """
    sites = {flatten(_layer(name)): Site(key, shape) for name, (key, shape) in tensors.items()}
    for name, (key, shape) in tensors.items():
        if name.endswith(".scale"):  # norms, in ComfyUI before 0.33
            sites.setdefault(flatten(name.removesuffix(".scale")), Site(key, shape))
    weights = {name[: -len(_WEIGHT)]: at for name, at in tensors.items() if name.endswith(_WEIGHT)}
    for native, diffusers in unet.diffusers_names(weights).items():
        sites.setdefault(flatten(diffusers), Site(*weights[native]))
        bias = tensors.get(f"{native}.bias")
        if bias:
            sites.setdefault(f"{flatten(diffusers)}_bias", Site(*bias))
    from ..architectures.aliases import alias_sites  # twenty tables, needed with the first model

    for foreign, native, rows in alias_sites({name: shape for name, (_, shape) in weights.items()}):
        key, shape = weights[native]
        bias = tensors.get(f"{native}.bias")
        name = flatten(foreign)
        if rows is None:
            sites.setdefault(name, Site(key, shape))
            if bias:
                sites.setdefault(f"{name}_bias", Site(*bias))
            continue
        offset = None if shape and rows.length == shape[0] else (0, rows.start, rows.length)
        sites.setdefault(name, Site(key, (rows.length, *(shape or ())[1:]), offset, rows.swapped))
        if bias and shape and bias[1] == shape[:1]:
            sites.setdefault(f"{name}_bias", Site(bias[0], (rows.length,), offset, rows.swapped))
    return sites


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


def find_site(module: Module, targets: Targets) -> Site | None:
    """The place of that name, whether the module fits it or not."""
    sites = targets.get(module.component)
    return sites.get(module.flat) if sites else None


def misfit(module: Module, shape: Shape | None) -> str | None:
    """Why a module cannot change a weight or bias of this shape, in words; None when it can, or nobody can tell.

    A linear module fits a 1x1 convolution and the other way round, as in SD 1.x and 2.x, whose `proj_in` differ so.
    """
    layout = module.layout
    if layout.problem:
        return layout.problem
    if shape is None:
        return None
    if module.target == BIAS:
        fits = layout.out is None or (layout.out, *(layout.inner or ())) == shape
        return None if fits else f"made for a bias of {layout.out} numbers, the model's is {list(shape)}"
    if not shape:
        return "the model has a single number there"
    out, inner, wanted = layout.out, layout.inner, shape[1:]
    if module.algorithm == slots.IA3 and out is None and inner is None:
        width = max(module.shapes.get("weight") or module.shapes["vector"], default=1)
        return None if width in (shape[0], *wanted[:1]) else f"made for {width} rows or columns, not {list(shape)}"
    if out is not None and out != shape[0] and module.algorithm != slots.BOFT:
        return _made_for(out, inner, shape)
    if inner is None or inner == wanted or (module.pads and _is_padded(inner, wanted)):
        return None
    same_count = prod(inner) == prod(wanted)
    if same_count and (_is_pointwise(inner, wanted) or (len(inner) == 1 and module.algorithm in FLATTENED)):
        return None
    return _made_for(out, inner, shape)


FLATTENED = (slots.LOHA, slots.LOKR, slots.OFT, slots.BOFT)
"""Algorithms whose tensors may give a convolution's inputs and kernel as one number."""


def _made_for(out: int | None, inner: Shape | None, shape: Shape) -> str:
    sides = ["?" if out is None else str(out), *(["?"] if inner is None else map(str, inner))]
    return f"made for a weight of shape [{', '.join(sides)}], the model's is {list(shape)}"


def _is_padded(inner: Shape, wanted: Shape) -> bool:
    """True where the weight becomes as wide as the LoRA when zeros are put beside it."""
    return len(inner) == len(wanted) and all(ours >= theirs for ours, theirs in zip(inner, wanted, strict=True))


def _is_pointwise(*shapes: Shape) -> bool:
    return all(size == 1 for shape in shapes for size in shape[1:])


def place(modules: Iterable[Module], targets: Targets, fallback: Mapping[str, Site] | None = None) -> Placement:
    """Finds each module's place by our names, else by `fallback` (full module name → place); see `Placement`."""
    placed: list[Placed] = []
    unmatched: list[Module] = []
    misshapen: list[tuple[Module, str]] = []
    unused: list[Module] = []
    taken: dict[tuple[str, Offset | None, str], str] = {}
    for module in modules:
        site = find_site(module, targets)
        reason = misfit(module, site.shape) if site else None
        if (site is None or reason) and fallback and (other := fallback.get(module.name)):
            site, reason = other, misfit(module, other.shape)
        if site is None:
            missing = module.component != MODEL and module.component not in targets
            (unused if missing else unmatched).append(module)
        elif reason:
            misshapen.append((module, reason))
        elif (spot := (site.key, site.offset, module.algorithm)) in taken:
            misshapen.append((module, f"the file changes the same layer as {taken[spot]}"))
        else:
            taken[spot] = module.name
            placed.append(Placed(module, site))
    return Placement(tuple(placed), tuple(unmatched), tuple(misshapen), tuple(unused))


def has_text_encoders(targets: Targets) -> bool:
    """True when any text encoder is connected."""
    return any(component != MODEL for component in targets)
