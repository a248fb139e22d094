"""The modules of a file, each with the tensors that it has at its place in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..algorithms.lora import LoRA
from ..algorithms.row_order import PARTS, to_model
from ..algorithms.rows import cut
from ..architectures.sites import Place, Shape
from ..errors import AdapterError
from ..lora.cache import OpenLora, is_finite
from ..models.placing import Placed, place
from ..spelling import slots
from ..spelling.layouts import is_old_glora
from ..spelling.modules import BIAS, Module
from ..spelling.prefixes import MODEL
from ..spelling.qkv import FORMAT_KEY, LAYOUT_KEY
from ..spelling.scales import without_scales
from .layers import Layers

Written = tuple[dict[str, Tensor], dict[str, str], list[str]]
"""Tensors by name, metadata, notes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One module: its tensors as they are for its place."""

    module: Module
    key: str
    """Native name of the tensor that it changes."""
    shape: Shape | None
    """That of the tensor, not of the part."""
    start: int
    """First row of the part that is meant."""
    length: int | None
    """Rows of the part; None for the whole."""
    parts: Mapping[str, Tensor]
    """Slot → tensor, without `alpha`; rows in the native order, magnitudes as LyCORIS has them."""
    alpha: Tensor | None
    scale: Fraction
    """α/rank; 1 where neither tensors nor settings say something."""

    @property
    def layer(self) -> str:
        """The native name without `.weight`; that of the weight for a bias."""
        for end in (".weight", ".bias"):
            if self.key.endswith(end) and (end == ".weight" or self.module.target == BIAS):
                return self.key[: -len(end)]
        return self.key

    @property
    def is_lora(self) -> bool:
        """True for plain LoRA, with a magnitude or without."""
        return self.module.algorithm == slots.LORA

    @property
    def rows(self) -> int | None:
        """How many rows the part has, or the whole."""
        return self.length if self.length is not None else self.shape[0] if self.shape else self.module.out_features


def read_items(file: OpenLora, layers: Layers) -> list[Item]:
    """All modules at their places; raises `AdapterError` for one that has none, or whose tensors are not finite."""
    placement = place(file.reading.modules, layers.targets)
    for module in (*placement.unmatched, *placement.unused):
        raise AdapterError(file.path, module.name, f"{layers.architecture.title} has no such layer")
    for module, reason in placement.misshapen:
        raise AdapterError(file.path, module.name, reason)
    return [_read_item(file, layers, placed) for placed in placement.placed]


def _read_item(file: OpenLora, layers: Layers, placed: Placed) -> Item:
    module, site = placed.module, placed.site
    parts = file.tensors(module)
    if placed.rows is not None:
        if module.algorithm == slots.OFT and "alpha" in parts and float(parts["alpha"].double()):
            raise AdapterError(file.path, module.name, "OFT with a limit for all of its blocks is converted as a whole")
        parts, _ = cut(module.algorithm, parts, None, placed.rows)
    if module.pads:
        adapter = file.adapter(module)  # which knows the shape that the layer gets
        if "shape" not in parts and isinstance(adapter, LoRA) and adapter.padded:
            parts["shape"] = torch.tensor(adapter.padded)
    alpha = parts.pop("alpha", None)
    if alpha is not None and not module.uses_alpha and not is_finite(alpha):
        alpha = None  # it does not count, and other programs may stumble over it
    if "magnitude_vector" in parts:
        parts["magnitude"] = parts.pop("magnitude_vector")
    scale, setting = Fraction(1), file.scales.scale(module) if file.scales else None
    rank = module.rank
    if module.algorithm == slots.LORA_BIAS:
        rank = parts["down"].shape[0] if "down" in parts else None
        rank = rank or (1 if setting is not None else None)
    if setting is not None:
        scale = Fraction(setting)
    elif alpha is not None and rank:
        scale = Fraction(float(alpha.double())) / rank
    if "magnitude" in parts and is_per_row(parts["magnitude"], module):
        magnitude = parts["magnitude"]
        columns = max(2, len(module.in_shape or ()) + 1)
        if magnitude.dim() == 1 or magnitude.shape[0] != magnitude.numel():
            parts["magnitude"] = magnitude.reshape(-1, *[1] * (columns - 1))
    if site.place.swapped or site.place.heads:
        parts = _reordered(file, module, parts, site.place)
    shape = site.shape
    start, length = 0, None
    if site.place.offset is not None:
        start, length = site.place.offset[1:]
    if module.component == MODEL:
        shape = layers.shapes.get(site.key)
    return Item(module, site.key, shape, start, length, parts, alpha, scale)


def is_per_row(magnitude: Tensor, module: Module) -> bool:
    """False for LyCORIS' norm per column, `[1, in, 1 …]`; PEFT's `[1, out, 1, 1]` is per row."""
    if magnitude.dim() == 1 or magnitude.shape[0] != 1:
        return True
    return "magnitude_vector" in module.slots or magnitude.shape[1] != (module.in_shape or (0,))[0]


def _reordered(file: OpenLora, module: Module, parts: Mapping[str, Tensor], place: Place) -> dict[str, Tensor]:
    """The tensors with the rows in the model's order."""
    blocks = PARTS * place.heads or 2
    result = dict(parts)
    dims: dict[str, int] = {}
    if module.algorithm in (slots.LORA, slots.LORA_BIAS):
        dims = {"up": 0, "bias": 0}
    elif module.algorithm == slots.LOHA:
        dims = dict.fromkeys(("w1_a", "w2_a"), 1 if "t1" in parts else 0)
    elif module.algorithm == slots.LOKR:
        dims = {"w1": 0, "w1_a": 0}  # rows of the first factor are whole blocks of rows
    elif module.algorithm == slots.GLORA:
        a1, a2, b1, b2 = (tuple(parts[name].shape) for name in ("a1", "a2", "b1", "b2"))
        dims = {"b2" if is_old_glora(a1, a2, b1, b2) else "b1": 0}
    elif module.algorithm in _DENSE or module.algorithm in slots.BIASES:
        dims = dict.fromkeys(parts, 0)
    else:
        raise AdapterError(
            file.path, module.name, f"{module.algorithm} cannot be converted here: the rows have another order there"
        )
    if "magnitude" in parts and is_per_row(parts["magnitude"], module):
        dims["magnitude"] = 0
    for slot, dim in dims.items():
        tensor = parts.get(slot)
        if tensor is None:
            continue
        if tensor.shape[dim] % blocks:
            raise AdapterError(
                file.path,
                module.name,
                f"{module.algorithm} cannot be converted here: its rows cannot be taken apart by heads"
                if place.heads
                else f"{module.algorithm} cannot be converted here: its rows cannot be halved",
            )
        result[slot] = to_model(tensor, place.swapped, place.heads, dim)
    return result


_DENSE = (slots.DIFF, slots.NORM, slots.REPLACEMENT)


def side(item: Item) -> str:
    """`model`, or `te` for all text encoders, whose names are told apart by the layer."""
    return MODEL if item.module.component == MODEL else "te"


def true_metadata(file: OpenLora) -> dict[str, str]:
    """The file's metadata without what is said by the tensors now: the scale, and the order of rows."""
    metadata = dict(file.header.metadata)
    if file.scales and file.scales.adapters:
        metadata = without_scales(metadata)
    if any(module.by_head for module in file.reading.modules):
        metadata = {key: text for key, text in metadata.items() if key not in (FORMAT_KEY, LAYOUT_KEY)}
    return metadata


def unsaid(file: OpenLora, item: Item, reason: str) -> AdapterError:
    """The error for a module that the other spelling has no words for."""
    return AdapterError(file.path, item.module.name, f"this cannot be said in the other spelling: {reason}")
