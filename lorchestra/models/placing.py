"""Where the modules of a LoRA file land in a base model; nothing is placed that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from ..architectures.encoders import COMFYUI_WORDS
from ..architectures.sites import Offset, Place, Shape, Site, Targets, encoder_candidates, find_joined
from ..architectures.text_encoders import canonical, is_aside, split_word
from ..sentences import say
from ..spelling import slots
from ..spelling.modules import BIAS, Module
from ..spelling.prefixes import MODEL, TEXT_ENCODERS, flatten
from ..spelling.readings import MOST_TRIES, readings
from ..spelling.rows import Rows, parted


@dataclass(frozen=True, slots=True)
class Placed:
    """A module and its place, or some rows of a module and theirs."""

    module: Module
    site: Site
    rows: Rows | None = None
    """Which of the module's rows are meant; None for all of them."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where all modules of one file went."""

    placed: tuple[Placed, ...]
    """In the order of the file; what lands on several layers stands there once for each, one after the other."""
    unmatched: tuple[Module, ...]
    """No layer of that name in the model."""
    misshapen: tuple[tuple[Module, str], ...]
    """The layer is there but does not fit, with the reason."""
    unused: tuple[Module, ...]
    """Text encoder modules, where that text encoder is not connected."""
    aside: tuple[Module, ...] = ()
    """Modules for parts of a language model that are not in ComfyUI's text encoder: its vision tower."""

    @property
    def modules(self) -> list[Module]:
        """The modules that have a place, each once."""
        return [
            item.module
            for index, item in enumerate(self.placed)
            if item.rows is None or index == 0 or self.placed[index - 1].module is not item.module
        ]

    @property
    def fitting(self) -> str:
        """In words: `128 of 192 modules`."""
        count = len(self.modules)
        return say("{count} of {total} modules", count=count, total=count + len(self.unmatched) + len(self.misshapen))


def find_site(module: Module, targets: Targets) -> Site | None:
    """The place of that name, whether the module fits it or not; of several encoders' the first one that it fits.

    See `find_site_otherwise` for names that are odd.
    """
    flat = module.flat
    if module.component != MODEL:
        found = encoder_candidates(module.component, flat, targets)
        return next((site for site in found if misfit(module, site.shape) is None), found[0] if found else None)
    sites = targets.get(MODEL)
    return sites.get(flat) or find_joined(flat, sites) if sites else None


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
        return (
            None
            if fits
            else say("made for a bias of {out} numbers, the model's is {shape}", out=layout.out, shape=list(shape))
        )
    if not shape:
        return say("the model has a single number there")
    out, inner, wanted = layout.out, layout.inner, shape[1:]
    if module.algorithm == slots.IA3 and out is None and inner is None:
        width = max(module.shapes.get("vector", module.shapes.get("weight", ())), default=1)
        return (
            None
            if width in (shape[0], *wanted[:1])
            else say("made for {width} rows or columns, not {shape}", width=width, shape=list(shape))
        )
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
    if not module.by_head or site.pieces or _heads(module, site):
        return None
    return say("its rows are q, k and v head by head, and how many heads this layer has is not known")


def _heads(module: Module, site: Site) -> int:
    """How many heads a fused q, k and v has; 0 if that is not known."""
    rows = site.shape[0] if site.shape else module.layout.out or 0
    width = 3 * site.head_width
    return rows // width if width and rows % width == 0 else 0


def _by_head(module: Module, site: Site) -> Site:
    return replace(site, place=replace(site.place, heads=_heads(module, site)))


def _made_for(out: int | None, inner: Shape | None, shape: Shape) -> str:
    sides = ["?" if out is None else str(out), *(["?"] if inner is None else map(str, inner))]
    return say(
        "made for a weight of shape [{sides}], the model's is {shape}", sides=", ".join(sides), shape=list(shape)
    )


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
    aside: list[Module] = []
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
            if module.component == MODEL:
                unmatched.append(module)
            elif is_aside(split_word(module.flat, COMFYUI_WORDS)[1]):
                aside.append(module)
            else:
                (unused if _is_of_another(module, targets) else unmatched).append(module)
            continue
        found: list[Placed] | str = reason or _unordered(module, site) or _pieces(module, site)
        if not isinstance(found, str):
            spots = [(piece.key, piece.place.offset, module.algorithm) for piece in site.pieces or (site,)]
            other = next((taken[spot] for spot in spots if spot in taken), None)
            if other is None:
                taken.update(dict.fromkeys(spots, module.name))
                placed += found
                continue
            found = f"the file changes the same layer as {other}"
        misshapen.append((module, found))
    return Placement(tuple(placed), tuple(unmatched), tuple(misshapen), tuple(unused), tuple(aside))


def _is_of_another(module: Module, targets: Targets) -> bool:
    """True if a module is for a text encoder that is not connected."""
    if module.component not in targets:
        return True
    from ..architectures.index import encoder_index, kind_of  # all that is known of encoders

    index = encoder_index()
    if not index.known(module.component, module.path):
        return False
    layer = canonical(flatten(module.path))
    if module.component == TEXT_ENCODERS:
        _, layer = split_word(flatten(module.path), COMFYUI_WORDS)
    wanted = kind_of(f"_{layer}_")
    connected = [sites for name, sites in targets.items() if name.startswith(f"{TEXT_ENCODERS}:")]
    return not any(kind_of(f"_{canonical(name)}_") == wanted for sites in connected for name in sites)


def _pieces(module: Module, site: Site) -> list[Placed] | str:
    """The module at its place; on several layers its rows at each of theirs, or why it cannot be cut, in words."""
    if not site.pieces:
        return [Placed(module, _by_head(module, site) if module.by_head else site)]
    if module.by_head:
        return say("its rows are q, k and v head by head, and the model has q, k and v apart")
    counts = [piece.shape[0] if piece.shape else 0 for piece in site.pieces]
    rows = parted(module.algorithm, module.shapes, counts)
    if isinstance(rows, str):
        return rows
    result: list[Placed] = []
    for piece, parts in zip(site.pieces, rows, strict=True):
        if len(parts) > 1 and piece.place.swapped:
            return say("its rows come in blocks that are cut where the model has them in another order")
        first = parts[0].start
        for part in parts:
            part_of = piece if len(parts) == 1 else _within(piece, part.start - first, part.length)
            result.append(Placed(module, part_of, part))
    return result


def _within(site: Site, start: int, count: int) -> Site:
    """Some rows of a place, counted from its first."""
    _, before, _ = site.place.offset or (0, 0, 0)
    return Site(site.key, (count, *(site.shape or ())[1:]), Place((0, before + start, count)))
