"""Where the modules of a LoRA file land in a base model; nothing is placed that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from .architectures import text_encoders, unet
from .spelling.modules import Module
from .spelling.prefixes import MODEL, flatten

Offset = tuple[int, int, int]
"""(dimension, start, length) of the part of a weight that is meant, as in `torch.narrow`."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """A weight of the base model, or a part of one, that a module may change."""

    key: str
    """Its key in the state dict."""
    shape: Shape
    """Shape of the part that is meant."""
    offset: Offset | None = None


Sites = Mapping[str, Site]
"""Flattened name of a layer → its place, for one component; several names may lead to one place."""

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


def model_sites(weights: Mapping[str, tuple[str, Shape]]) -> Sites:
    """The diffusion model's sites from `module name (native, without .weight) → (state dict key, shape)`.

    A layer can be found by its native name and, for UNets, by diffusers' name.
    """
    sites = {flatten(name): Site(key, shape) for name, (key, shape) in weights.items()}
    for native, diffusers in unet.diffusers_names(weights).items():
        key, shape = weights[native]
        sites.setdefault(flatten(diffusers), Site(key, shape))
    return sites


def encoder_sites(encoders: Mapping[str, Mapping[str, Site]]) -> dict[str, Sites]:
    """The text encoders' sites by component, from `encoder (ComfyUI's name) → module name → place`.

    Module names are Hugging Face's, e.g. `text_model.encoder.layers.0.mlp.fc1`. Under `text_encoders` every layer is
    found by `<encoder>.transformer.<name>`.
    """
    flat = {name: {flatten(path): site for path, site in sites.items()} for name, sites in encoders.items()}
    result: dict[str, Sites] = {
        component: flat[encoder] for component, encoder in text_encoders.components(encoders.keys()).items()
    }
    result["text_encoders"] = {
        flatten(f"{encoder}.transformer.{path}"): site
        for encoder, sites in encoders.items()
        for path, site in sites.items()
    }
    return result


def find_site(module: Module, targets: Targets) -> Site | None:
    """The place of that name, whether the module fits it or not."""
    sites = targets.get(module.component)
    return sites.get(flatten(module.path)) if sites else None


def misfit(module: Module, shape: Shape) -> str | None:
    """Why a module cannot change a weight of this shape, in words; None when it can.

    A linear module fits a 1x1 convolution and the other way round, as in SD 1.x and 2.x, whose `proj_in` differ so.
    """
    out, inner = module.out_features, module.in_shape
    if out is None or inner is None or len(shape) < 2:
        return f"{module.algorithm} cannot change a weight of shape {list(shape)}"
    wanted = shape[1:]
    if out == shape[0] and (inner == wanted or (_is_pointwise(inner, wanted) and prod(inner) == prod(wanted))):
        return None
    return f"made for a weight of shape {[out, *inner]}, the model's is {list(shape)}"


def _is_pointwise(*shapes: Shape) -> bool:
    return all(size == 1 for shape in shapes for size in shape[1:])


def place(modules: Iterable[Module], targets: Targets, fallback: Mapping[str, Site] | None = None) -> Placement:
    """Finds each module's place by our names, else by `fallback` (full module name → place); see `Placement`."""
    placed: list[Placed] = []
    unmatched: list[Module] = []
    misshapen: list[tuple[Module, str]] = []
    unused: list[Module] = []
    taken: dict[tuple[str, Offset | None], str] = {}
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
        elif (site.key, site.offset) in taken:
            misshapen.append((module, f"the file changes the same layer as {taken[site.key, site.offset]}"))
        else:
            taken[site.key, site.offset] = module.name
            placed.append(Placed(module, site))
    return Placement(tuple(placed), tuple(unmatched), tuple(misshapen), tuple(unused))


def has_text_encoders(targets: Targets) -> bool:
    """True when any text encoder is connected."""
    return any(component != MODEL for component in targets)
