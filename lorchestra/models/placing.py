"""Where the modules of a LoRA file land in a base model; nothing is placed that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from ..architectures.sites import Offset, Place, Shape, Site, Targets
from ..spelling import slots
from ..spelling.modules import BIAS, Module
from ..spelling.prefixes import MODEL
from ..spelling.readings import MOST_TRIES, readings


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


def find_site(module: Module, targets: Targets) -> Site | None:
    """The place of that name, whether the module fits it or not; see `find_site_otherwise` for names that are odd."""
    sites = targets.get(module.component)
    return sites.get(module.flat) if sites else None


def find_site_otherwise(module: Module, targets: Targets) -> Site | None:
    """The place that a name means which is no layer's: the only one of its other readings that is a layer's."""
    found: dict[tuple[str, Place], Site] = {}
    for component, path in readings(module):
        site = targets.get(component, _NOWHERE).get(path)
        if site:
            found[site.key, site.place] = site
    return next(iter(found.values())) if len(found) == 1 else None


_NOWHERE: Mapping[str, Site] = {}


def misfit(module: Module, shape: Shape | None) -> str | None:
    """Why a module cannot change a weight or bias of this shape, in words; None when it can, or if it cannot be told.

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


def _unordered(module: Module, site: Site) -> str | None:
    """Why the rows of a module cannot be brought to the model's order; None when they can, or need not be."""
    if not module.by_head or _heads(module, site):
        return None
    return "its rows are q, k and v head by head, and how many heads this layer has is not known"


def _heads(module: Module, site: Site) -> int:
    """How many heads a fused q, k and v has; 0 if that is not known."""
    rows = site.shape[0] if site.shape else module.layout.out or 0
    width = 3 * site.head_width
    return rows // width if width and rows % width == 0 else 0


def _by_head(module: Module, site: Site) -> Site:
    return replace(site, place=replace(site.place, heads=_heads(module, site)))


def _made_for(out: int | None, inner: Shape | None, shape: Shape) -> str:
    sides = ["?" if out is None else str(out), *(["?"] if inner is None else map(str, inner))]
    return f"made for a weight of shape [{', '.join(sides)}], the model's is {list(shape)}"


def _is_padded(inner: Shape, wanted: Shape) -> bool:
    """True if the weight becomes as wide as the LoRA when zeros are put beside it."""
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
    tries = 0
    for module in modules:
        site = find_site(module, targets)
        if site is None and tries < MOST_TRIES:
            site = find_site_otherwise(module, targets)
            tries = tries + 1 if site is None else 0
        reason = misfit(module, site.shape) if site else None
        if (site is None or reason) and fallback and (other := fallback.get(module.name)):
            site, reason = other, misfit(module, other.shape)
        if site is None:
            missing = module.component != MODEL and module.component not in targets
            (unused if missing else unmatched).append(module)
        elif reason or (reason := _unordered(module, site)):
            misshapen.append((module, reason))
        elif (spot := (site.key, site.place.offset, module.algorithm)) in taken:
            misshapen.append((module, f"the file changes the same layer as {taken[spot]}"))
        else:
            taken[spot] = module.name
            placed.append(Placed(module, _by_head(module, site) if module.by_head else site))
    return Placement(tuple(placed), tuple(unmatched), tuple(misshapen), tuple(unused))
