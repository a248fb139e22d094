"""Which architectures a LoRA is made for, from names and shapes alone: every layer is looked up in all of them.

All of Flux.1's layers are in HunyuanVideo too, and other pairs are like that. So what explains every module comes
first, and among those the one of which the file has all layers of its kinds; what still ties is reported.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..architectures.encoders import ENCODERS
from ..architectures.index import (
    EncoderIndex,
    Index,
    Layer,
    any_of,
    encoder_index,
    having,
    index,
    squeezed,
    with_one_encoder,
)
from ..architectures.names import are_interchangeable, are_related, title
from ..architectures.patterns import Shape
from ..models.placing import FLATTENED, misfit
from ..spelling import slots
from ..spelling.modules import BIAS, Module
from ..spelling.prefixes import MODEL
from ..spelling.readings import MOST_TRIES, readings

COMPLETE = 0.98
"""Share of an architecture's layers of the kinds that a file has, from which on the file is taken to have them all."""

ENOUGH = 16
"""Fewer modules are no evidence of completeness: SSD-1B has one resnet in the middle, of which SDXL has two."""

_LEAST_SHARE = 0.02
_MOST_PARTIAL = 12


@dataclass(frozen=True, slots=True)
class Match:
    """An architecture that explains a part of a file."""

    id: str
    share: float
    """Share of the file's modules whose layer is there and fits; below 1."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file is made for."""

    architectures: tuple[str, ...]
    """Ids of all that explain every module, best first."""
    ties: int
    """So many of the first ones have equally good evidence; 1 where it is clear, 0 where nothing explains all."""
    partial: tuple[Match, ...]
    """What explains a part of the modules, best first, at most twelve."""
    modules: int
    """Modules that were looked up."""
    unplaced: int
    """Modules that the first architecture (of either list) does not explain; all where there is none."""

    complete: tuple[str, ...] = ()
    """Those of `architectures` of which the file has nearly all layers of the kinds that it has any of."""

    @property
    def best(self) -> tuple[str, ...]:
        """The first ones of equally good evidence."""
        return self.architectures[: self.ties]

    @property
    def likeliest(self) -> str | None:
        """The first architecture that explains all, else the first that explains the better part."""
        if self.architectures:
            return self.architectures[0]
        return self.partial[0].id if self.partial and self.partial[0].share > 0.5 else None

    @property
    def made_for(self) -> tuple[str, ...]:
        """`best`; where nothing explains all, the likeliest alone, if any."""
        return self.best or tuple(filter(None, [self.likeliest]))


def identify(modules: Sequence[Module], claimed: Collection[str] = ()) -> Identity:
    """Looks every module up. `claimed` are the architectures that the metadata names, which settle ties only."""
    found = index()
    masks: dict[int, int] = {}
    kinds: set[str] = set()
    exact = found.all
    encoders = None
    of_model = neutral = tries = 0
    layer_of = found.layer
    for module in modules:
        layer = layer_of(module.path if module.target != BIAS else module.flat) if module.component == MODEL else None
        if layer is None and tries < MOST_TRIES:
            encoders = encoders or encoder_index()
            if module.component == MODEL or not encoders.known(module.component, module.path):
                named, module = module, _read_otherwise(module, found, encoders)
                tries = tries + 1 if module is named else 0
                layer = layer_of(module.flat) if module.component == MODEL else None
        if module.component != MODEL:
            mask = _encoder_mask(module, encoders or encoder_index(), found)
            if mask is None:
                neutral += 1
                continue
            exact &= _counted_so(module, found) & mask or mask
        else:
            of_model += 1
            if layer is None:
                mask = 0
            else:
                kinds.add(layer.kind)
                shape = _shape(module)
                mask = 0
                if shape is not None:
                    mask = layer.shapes.get(shape if len(shape) == 2 else squeezed(shape), 0)
                if not mask or module.pads:
                    mask = _loose_mask(module, layer)
                elif layer.exact and shape is not None and not (len(shape) == 2 and module.algorithm in FLATTENED):
                    exact &= layer.exact.get(shape, 0) or mask
        masks[mask] = masks.get(mask, 0) + 1
    return _ranked(found, masks, kinds, exact, len(modules) - neutral, of_model, found.mask(claimed))


def explain(modules: Iterable[Module], identity: Identity, most: int = 3) -> list[str]:
    """The deciding evidence in sentences: for each rival of the likeliest architecture, a module that rules it out."""
    first = identity.likeliest
    if first is None:
        return []
    found = index()
    rivals = [match.id for match in identity.partial if not are_interchangeable(match.id, first)][:most]
    wanted = found.mask(rivals)
    sentences: dict[str, str] = {}
    for module in modules:
        if module.component != MODEL or not wanted:
            continue
        if found.layer(module.flat) is None:
            module = _read_otherwise(module, found, encoder_index())
        layer = found.layer(module.flat) if module.component == MODEL else None
        shape = _shape(module)
        if layer is None or shape is None:
            continue
        mask = layer.shapes.get(squeezed(shape), 0) or _loose_mask(module, layer)
        if mask & found.mask([first]):
            for rival in found.names(wanted & ~mask):
                there = any_of(layer.shapes) & found.mask([rival])
                why = "has another shape there" if there else "has no such layer"
                sentences[rival] = f"{module.name} {list(shape)}: {title(rival)} {why}"
            wanted &= mask
    return [sentences[rival] for rival in rivals if rival in sentences]


def _read_otherwise(module: Module, found: Index, encoders: EncoderIndex) -> Module:
    """The module by another reading of its name, if just one of them is a layer of any model; else as it is."""
    known = [
        (component, path)
        for component, path in readings(module)
        if (found.layer(path) if component == MODEL else encoders.encoders(path))
    ]
    if len(known) != 1:
        return module
    component, path = known[0]
    return module._replace(component=component, path=path.removesuffix("_bias") if module.target == BIAS else path)


def _shape(module: Module) -> Shape | None:
    """The shape of the weight or bias that a module is made for, as far as it tells the whole of it."""
    shapes = module.shapes
    if module.algorithm == slots.LORA and "mid" not in shapes:  # nearly always
        up, down = shapes.get("up"), shapes.get("down")
        if not up or not down:
            return None
        return (up[0], down[1]) if len(down) == 2 else (up[0], *down[1:])
    layout = module.layout
    return None if layout.out is None or layout.inner is None else (layout.out, *layout.inner)


def _loose_mask(module: Module, layer: Layer) -> int:
    """The architectures whose layer a module fits that does not tell the whole shape, or tells it flattened."""
    mask = 0
    for shape, having_it in (layer.exact or layer.shapes).items():
        if misfit(module, shape) is None:
            mask |= having_it
    return mask


def _encoder_mask(module: Module, encoders: EncoderIndex, found: Index) -> int | None:
    """The architectures whose LoRAs mean, by this module's component, an encoder with this layer.

    None for norms, embeddings and what else is in no table: it neither speaks for an architecture nor against one.
    """
    fitting = _fitting_encoders(module, encoders)
    return None if fitting is None else having(module.component, fitting)


def _fitting_encoders(module: Module, encoders: EncoderIndex) -> frozenset[str] | None:
    """The encoders that a module fits; None for norms, embeddings and what else is in no table."""
    known = encoders.known(module.component, module.path)
    if not known:
        return None
    if module.target == BIAS:
        fitting = list(known.values())
    elif (shape := _shape(module)) is not None and shape in known:
        fitting = [known[shape]]
    else:
        fitting = [names for shape, names in known.items() if misfit(module, shape) is None]
    return frozenset[str]().union(*fitting)


def fits_encoder(module: Module) -> bool:
    """True if a text encoder that we know has a layer of that name and shape."""
    return bool(_fitting_encoders(module, encoder_index()))


def fits_model(module: Module) -> bool:
    """True if a diffusion model that we know has a layer of that name and shape."""
    layer = index().layer(module.path)
    return layer is not None and any(misfit(module, shape) is None for shape in layer.shapes)


def find_owners(modules: Iterable[Module], near: Collection[str]) -> tuple[str, ...]:
    """The architectures that have all of these layers, in these shapes, and are related to one of those in `near`.

    The commonest first. What a variant of a model has and the model itself has not: VACE's blocks for Wan.
    """
    found = index()
    mask = _relatives(frozenset(near))
    for module in modules:
        layer = found.layer(module.flat) if mask and module.component == MODEL else None
        if layer is None:
            return ()
        shape = _shape(module)
        mask &= (layer.shapes.get(squeezed(shape), 0) if shape else 0) or _loose_mask(module, layer)
    bits = [bit for bit in range(len(found.ids)) if mask >> bit & 1]
    return tuple(found.ids[bit] for bit in sorted(bits, key=found.commonness))


@functools.lru_cache(maxsize=1 << 8)
def _relatives(near: frozenset[str]) -> int:
    """The architectures that are related to one of these."""
    found = index()
    return found.mask(name for name in found.ids if any(are_related(name, other) for other in near))


def find_encoders(modules: Iterable[Module]) -> tuple[tuple[str, ...], ...]:
    """The text encoders that a file changes, by id: one tuple for each, of all that have just these layers.

    Example: a LoRA for SDXL's gives ((`clip_g`,), (`clip_l`,)), one for T5-XXL ((`t5xxl`, `umt5xxl`),).
    """
    found: dict[frozenset[str], int] = {}
    for module in modules:
        fitting = None if module.component == MODEL else _fitting_encoders(module, encoder_index())
        if fitting:
            found[fitting] = found.get(fitting, 0) + 1
    smallest = [names for names in found if not any(other < names for other in found)]
    order = [encoder.id for encoder in ENCODERS]
    ranked = sorted(smallest, key=lambda names: (-found[names], sorted(names)))
    return tuple(tuple(sorted(names, key=order.index)) for names in ranked)


def _counted_so(module: Module, found: Index) -> int:
    """The architectures with as many text encoders as the number tells that kohya gave, or did not give, this one."""
    if module.name.startswith("lora_te_"):
        return with_one_encoder()
    return found.all & ~with_one_encoder() if module.name.startswith("lora_te1_") else found.all


def _ranked(
    found: Index, masks: Mapping[int, int], kinds: Collection[str], exact: int, total: int, of_model: int, claimed: int
) -> Identity:
    """`masks` is set of architectures → modules that it explains; `of_model` of the modules are the model's."""
    everything = found.all
    for mask in masks:
        everything &= mask
    if not total:
        return Identity((), 0, (), 0, 0)
    shares: dict[int, int] = {}
    for mask, count in masks.items():
        bit = 0
        while mask:
            if mask & 1:
                shares[bit] = shares.get(bit, 0) + count
            mask >>= 1
            bit += 1
    whole = [bit for bit in shares if everything >> bit & 1]

    complete = 0
    for bit in whole if of_model >= ENOUGH else ():
        if of_model >= COMPLETE * found.count(bit, kinds):
            complete |= 1 << bit

    def evidence(bit: int) -> tuple[bool, bool, bool]:
        """False is better, so that it sorts first."""
        return not claimed >> bit & 1, not exact >> bit & 1, not complete >> bit & 1

    ranked = sorted(whole, key=lambda bit: (evidence(bit), found.commonness(bit)))
    ties = sum(1 for bit in ranked if evidence(bit) == evidence(ranked[0]))
    parts = sorted(
        (bit for bit, count in shares.items() if not everything >> bit & 1 and count >= _LEAST_SHARE * total),
        key=lambda bit: (-shares[bit], not claimed >> bit & 1, found.commonness(bit)),
    )
    partial = tuple(Match(found.ids[bit], round(shares[bit] / total, 4)) for bit in parts[:_MOST_PARTIAL])
    unplaced = 0 if ranked else total - (shares[parts[0]] if parts else 0)
    names = tuple(found.ids[bit] for bit in ranked)
    whole_ones = tuple(found.ids[bit] for bit in ranked if complete >> bit & 1)
    return Identity(names, ties, partial, total, unplaced, whole_ones)
