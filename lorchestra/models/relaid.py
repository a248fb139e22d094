"""A base model under another tool's names: the places of its layers by the names of ComfyUI's model, too.

Diffusers' files have `transformer_blocks.0.attn.to_q`, `…to_k` and `…to_v` where FLUX.1 has one
`double_blocks.0.img_attn.qkv`. What is made for the native layer lands on all of them, each with its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..architectures.signatures import find_signature
from ..architectures.sites import WHOLE, Place, Shape, Site, Sites, model_sites
from ..spelling.prefixes import flatten
from .recognise import identify_base

_NATIVE = 0.5
"""Share of a model's tensors under native names from which on it is taken for native."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some rows of a native tensor, which are a tensor of the file."""

    start: int
    count: int
    swapped: bool
    site: Site


def relaid_sites(tensors: Mapping[str, tuple[str, Shape | None]]) -> Sites:
    """The places by names that the tensors themselves do not have; empty for a model under its native names.

    `tensors` is `name → (key, shape)`, as `model_sites` takes it.
    """
    found = identify_base({name: shape for name, (_, shape) in tensors.items()})
    signature = find_signature(found[0]) if found else None
    if signature is None or sum(name in signature.shapes for name in tensors) > _NATIVE * len(tensors):
        return {}
    native = model_sites({name: (name, shape) for name, shape in signature.shapes.items()})
    pieces: dict[str, list[_Piece]] = {}
    for name, (key, shape) in tensors.items():
        site = native.get(flatten(name.removesuffix(".weight")))
        if site and (shape is None or shape == site.shape):
            start, count = _rows(site)
            pieces.setdefault(site.key, []).append(_Piece(start, count, site.place.swapped, Site(key, shape)))
    whole: dict[str, list[_Piece]] = {}
    for key, parts in pieces.items():
        ordered = sorted(parts, key=lambda part: part.start)
        end = 0
        for part in ordered:
            end = end + part.count if part.start == end else -1
            if end < 0:
                break
        if end == signature.shapes[key][0]:
            whole[key] = ordered
    result: dict[str, Site] = {}
    for name, site in native.items():
        placed = _placed(site, whole.get(site.key, ()))
        if placed:
            result[name] = placed
    return result


def _rows(site: Site) -> tuple[int, int]:
    """(first row, how many) of the native tensor."""
    if site.place.offset is not None:
        return site.place.offset[1:]
    return 0, site.shape[0] if site.shape else 0


def _placed(site: Site, parts: list[_Piece] | tuple[()]) -> Site | None:
    """The tensors of the file that are these rows of the native one; None if the rows have another order there."""
    start, count = _rows(site)
    stop = start + count
    found: list[Site] = []
    for part in parts:
        low, high = max(start, part.start), min(stop, part.start + part.count)
        if low >= high:
            continue
        is_all = low == part.start and high == part.start + part.count
        if is_all and (part.start, part.count) == (start, count):
            place = Place(None, part.swapped != site.place.swapped)
        elif part.swapped or site.place.swapped:
            return None
        else:
            place = WHOLE if is_all else Place((0, low - part.start, high - low))
        shape = part.site.shape and (high - low, *part.site.shape[1:])
        found.append(Site(part.site.key, shape, place))
    if not found:
        return None
    first = found[0]
    if len(found) == 1:
        return first
    if any(item.shape is None for item in found):
        return None  # packed: where its rows are cut is not known
    return Site(first.key, (count, *(first.shape or ())[1:]), first.place, tuple(found))
