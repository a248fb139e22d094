"""What came in with a MODEL: the LoRAs that ComfyUI's loaders, other packs and our own stacks put into its patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter, WeightAdapterBase

from ...lorchestra.algorithms import read
from ...lorchestra.algorithms.full import Difference
from ...lorchestra.analysis.balance import Before, Piece
from ...lorchestra.analysis.deltas import shape_of
from ...lorchestra.apply.fuse import Term
from ...lorchestra.apply.plan import Change, make_plan
from ...lorchestra.architectures.sites import Offset, Shape
from ...lorchestra.choices import AUTO, IGNORE, SKIP, Choices
from ...lorchestra.fit.rows import Files, Located
from ...lorchestra.lora.cache import OpenLora, is_finite
from ...lorchestra.models.base import Base
from ...lorchestra.spelling import slots
from ...lorchestra.spelling.layouts import layout
from ...lorchestra.spelling.prefixes import MODEL
from .live.said import LiveRows, read_live
from .patch import FusedLoras
from .protocols import Patcher

_MOST = 24
"""LoRAs that are told apart; where there are more, all that no file is known of are one."""

_SLOTS: Mapping[type[WeightAdapterBase], tuple[str, tuple[str, ...]]] = {
    LoRAAdapter: (slots.LORA, ("up", "down", "alpha", "mid", "magnitude", "shape")),
    LoHaAdapter: (slots.LOHA, ("w1_a", "w1_b", "alpha", "w2_a", "w2_b", "t1", "t2", "magnitude")),
    LoKrAdapter: (slots.LOKR, ("w1", "w2", "alpha", "w1_a", "w1_b", "w2_a", "w2_b", "t2", "magnitude")),
}
"""ComfyUI's adapters: our algorithm, and what stands at each place of `weights`. Source: `comfy/weight_adapter`."""

_ADAPTERS: Any = tuple(_SLOTS)

_FUNCTION = "its loader changes it by a function"
_MIXED = "it is mixed with the model's own weight, as a merge of models is"
_KIND = "it is a patch of a kind that is not read"
_WIDER = "it is a DoRA or makes the layer wider, which is not read from other loaders"
_MISFIT = "it does not fit the layer"
_NOT_FINITE = "it has values that are not finite"

Patch = tuple[float, object, float, "Offset | None", object]
"""ComfyUI's: strength, what is added, what the weight is multiplied by before, the part of it, a function on it."""


@dataclass
class _Found:
    """The patches of one LoRA so far, at their own weights."""

    name: str
    pieces: list[tuple[str, Piece]] = field(default_factory=list)
    """(key of the model's weight, what is added)."""
    left_out: Counter[str] = field(default_factory=Counter)

    def before(self) -> Before:
        """Its weight is the one that most of its layers have."""
        weights = Counter(piece.term.weight for _, piece in self.pieces)
        weight = max(weights, key=lambda item: (weights[item], abs(item)), default=1.0)
        parts: dict[Change, list[Piece]] = {}
        for key, piece in self.pieces:
            scaled = replace(piece, term=replace(piece.term, weight=piece.term.weight / weight))
            parts.setdefault(Change(MODEL, key), []).append(scaled)
        return Before(self.name, weight, parts, dict(self.left_out))


def read_before(model: Patcher, base: Base, open_file: Callable[[str], OpenLora]) -> tuple[Before, ...]:
    """The LoRAs in a MODEL's patches, in the order in which they came, then those of live stacks; nothing is changed.

    ComfyUI's adapters of one file share the set of names that were read from it, and so are told apart. Patches without
    an adapter are one row, as it is not known what they belong to.
    """
    found: dict[object, _Found] = {}
    weights = model.model_state_dict() if model.patches else {}
    values: list[Any] = [patch[1] for patches in model.patches.values() for patch in patches]
    origins = {id(value.loaded_keys) for value in values if isinstance(value, _ADAPTERS)}
    for key, patches in model.patches.items():
        shape = tuple(weights[key].shape) if key in weights else None
        for patch in patches:
            _add(found, key, cast("Patch", patch), shape, len(origins) <= _MOST)
    live = [item for rows in read_live(model) for item in _live(rows, base, open_file)]
    return (*(item.before() for item in found.values() if item.pieces or item.left_out), *live)


def _live(rows: LiveRows, base: Base, open_file: Callable[[str], OpenLora]) -> Iterator[Before]:
    """What a live stack adds beside the layers; a weight that changes counts without what changes."""
    files = Files(lambda entry, _: Located(entry.lora), open_file)
    plan = make_plan(rows.stack, files, base, Choices(SKIP, IGNORE, AUTO))
    found = {item.file.path: _Found(Path(item.file.path).name) for item in plan.chosen}
    for change, parts in plan.changes.items():
        if change.key.rpartition(".")[0] in rows.layers:
            for part in parts:
                piece = Piece(part.term(), part.place.offset, shape_of(part))
                if part.weight:
                    found[part.file.path].pieces.append((change.key, piece))
    for item in plan.chosen:
        before = found[item.file.path].before()
        yield replace(before, changes=not item.weighted.is_constant)
    for told in plan.outcomes:
        if told.entry.lora not in found:  # the file was there when it was applied
            yield Before(Path(told.entry.lora).name, 1.0, {}, {told.finding: len(rows.layers)})


def _add(found: dict[object, _Found], key: str, patch: Patch, shape: Shape | None, is_apart: bool) -> None:
    strength, value, multiplied, offset, function = patch
    if isinstance(value, FusedLoras):
        for file, part, term in value.terms(strength):
            item = found.setdefault(file, _Found(Path(file).name if file else "LoRA Stack"))
            if term.weight:
                item.pieces.append((key, Piece(term, part, _part(shape, part))))
        return
    if isinstance(value, _ADAPTERS):
        origin = id(cast("WeightAdapterBase", value).loaded_keys) if is_apart else _ADAPTERS
        number = sum(isinstance(known, int) for known in found) + 1
        item = found.setdefault(origin, _Found(f"LoRA {number}" if is_apart else "LoRAs"))
    else:
        item = found.setdefault(Difference, _Found("differences of weights"))
    if not strength and multiplied == 1:
        return
    own = _part(shape, offset)
    term = _term(value, strength, own)
    if multiplied != 1:
        item.left_out[_MIXED] += 1
    elif function is not None:
        item.left_out[_FUNCTION] += 1
    elif isinstance(term, str):
        item.left_out[term] += 1
    else:
        item.pieces.append((key, Piece(term, offset, own)))


def _part(shape: Shape | None, offset: Offset | None) -> Shape | None:
    """The shape of a part of a weight."""
    if shape is None or offset is None:
        return shape
    dim, _, length = offset
    return (*shape[:dim], length, *shape[dim + 1 :])


def _term(value: object, strength: float, shape: Shape | None) -> Term | str:
    """What a patch adds; or in words why that is not told."""
    if isinstance(value, tuple):
        match value:
            case (torch.Tensor() as diff,) | ("diff", (torch.Tensor() as diff,)):
                pass
            case _:
                return _KIND
        if shape is not None and tuple(diff.shape) != shape:
            return _MISFIT
        return Term(Difference(diff.cpu(), 1.0), strength) if is_finite(diff) else _NOT_FINITE
    known = _SLOTS.get(type(value))
    if known is None:
        return _KIND
    algorithm, names = known
    parts = dict(zip(names, cast("Sequence[object]", value.weights), strict=False))  # pyright: ignore
    alpha = parts.pop("alpha", None)
    if parts.get("magnitude") is not None or parts.get("shape") is not None:
        return _WIDER
    tensors = {slot: part.cpu() for slot, part in parts.items() if isinstance(part, torch.Tensor)}
    told = layout(algorithm, {slot: tuple(tensor.shape) for slot, tensor in tensors.items()})
    if told.problem:
        return _MISFIT
    if shape is not None and (told.out != shape[0] or prod(told.inner or ()) != prod(shape[1:])):
        return _MISFIT
    if not all(is_finite(tensor) for tensor in tensors.values()):
        return _NOT_FINITE
    return Term(read(algorithm, tensors, None if alpha is None else float(cast("float", alpha))), strength)
