"""The adapter algorithms, one file each.

To add one: a file with a frozen dataclass of its tensors that has `update` (see `base.py`) and a `read`, its row in
`ALGORITHMS`, its suffixes in `lorchestra/spelling/slots.py` and the rule of its shapes in
`lorchestra/spelling/layouts.py`. The fields are tensors, numbers, text, None and tuples of these, so that `pack` can
hand them to ComfyUI as a plain tuple, which moves the tensors to where it wants them. A row is added at the end:
packed adapters know their class by its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from torch import Tensor

from ..spelling import slots
from . import boft, dora, embedding, full, glora, ia3, loha, lokr, lora, oft, replacement
from .base import DEFAULTS, Adapter, Settings
from .boft import BOFT
from .dora import DoRA
from .full import Difference
from .glora import GLoRA
from .ia3 import IA3
from .loha import LoHa
from .lokr import LoKr
from .lora import LoRA
from .oft import OFT, InputOFT
from .replacement import Replacement


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm: what it is called and what its files become."""

    name: str
    """As in `slots.py`."""
    classes: tuple[type[Adapter], ...]
    """What `read` may return."""
    read: Callable[[Mapping[str, Tensor], float | None, Settings], Adapter]
    """From a sound module's tensors by slot, its alpha and what else is known."""


ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm(slots.LORA, (LoRA,), lora.read),
    Algorithm(slots.LOHA, (LoHa,), loha.read),
    Algorithm(slots.LOKR, (LoKr,), lokr.read),
    Algorithm(slots.GLORA, (GLoRA,), glora.read),
    Algorithm(slots.OFT, (OFT, InputOFT), oft.read),
    Algorithm(slots.BOFT, (BOFT,), boft.read),
    Algorithm(slots.IA3, (IA3,), ia3.read),
    Algorithm(slots.DIFF, (Difference,), full.read),
    Algorithm(slots.DIFF_BIAS, (), full.read),
    Algorithm(slots.NORM, (), full.read),
    Algorithm(slots.NORM_BIAS, (), full.read),
    Algorithm(slots.LORA_BIAS, (), full.read_bias),
    Algorithm(slots.REPLACEMENT, (Replacement,), replacement.read),
    Algorithm(slots.EMBEDDING, (), embedding.read),
)
"""All but DoRA, which stands on another one. A class is listed with the first algorithm that has it."""

SUPPORTED: tuple[str, ...] = (*(row.name for row in ALGORITHMS), slots.DORA)
"""Algorithms that are applied; files with others are refused by name."""

_CLASSES: tuple[type[Adapter], ...] = (DoRA, *(cls for row in ALGORITHMS for cls in row.classes))

ADDITIVE = (LoRA, LoHa, LoKr, Difference)
"""Adapters whose Δ is the same whatever weight they change; all others need the weight."""

NEED_WEIGHT = tuple(cls for cls in _CLASSES if cls not in ADDITIVE)
"""Adapters whose Δ depends on the weight that they change."""


def read(algorithm: str, parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> Adapter:
    """The adapter of a module whose shapes are sound (`layout` says so), from its tensors by slot.

    `algorithm` is a name of `ALGORITHMS`; a module with a magnitude becomes a `DoRA` of it. `alpha` is the value of the
    module's alpha tensor, None if there is none.
    """
    row = next((row for row in ALGORITHMS if row.name == algorithm), None)
    if row is None:
        raise ValueError(f"{algorithm} is not an algorithm that can be applied")
    return dora.wrap(row.read(parts, alpha, settings), parts)


def pack(adapter: Adapter) -> tuple[Any, ...]:
    """The adapter as a tuple of tensors and plain values, a DoRA's base as a tuple within; undone by `unpack`."""
    values = [getattr(adapter, field.name) for field in fields(cast("Any", adapter))]
    if isinstance(adapter, DoRA):
        values[0] = pack(adapter.base)
    return (_CLASSES.index(type(adapter)), *values)


def unpack(packed: tuple[Any, ...]) -> Adapter:
    """The adapter that `pack` made the tuple of; its tensors may have been moved meanwhile."""
    index: int = packed[0]
    cls = _CLASSES[index]
    values = list(packed[1:])
    if cls is DoRA:
        values[0] = unpack(values[0])
    return cast("Adapter", cast("Any", cls)(*values))
