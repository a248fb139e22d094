"""What one module of a LoRA adds to a layer: two halves where that is exact, else the whole difference."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..algorithms import NEED_WEIGHT
from ..algorithms.base import Adapter
from ..algorithms.loha import LoHa
from ..algorithms.lokr import LoKr
from ..algorithms.lora import LoRA, down_matrix, up_matrix
from ..algorithms.row_order import to_model
from ..apply.plan import Part
from ..errors import AdapterError
from .low_rank import Halves
from .weights import Weights


@dataclass(frozen=True, slots=True)
class Piece:
    """What a part adds at weight 1."""

    halves: Halves | None
    """In fp64, the scale multiplied in; None for a whole one."""
    whole: Tensor | None
    """Δ in fp64, `[rows, in · kernel]` or `[rows, 1]`."""
    weight: float
    start: int
    """Its first row in the layer."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return (self.halves.up if self.halves else self.delta()).shape[0]

    def delta(self) -> Tensor:
        """Δ at weight 1, fp64."""
        if self.halves is not None:
            return self.halves.up @ self.halves.down
        if self.whole is None:
            raise ValueError("a piece is either in halves or whole")
        return self.whole


def read_piece(part: Part, columns: int, in_file_order: bool, weights: Weights | None) -> Piece:
    """A part's piece of a layer with so many columns, its rows in the file's order or in the model's.

    `weights` is the base model, for adapters that depend on it. Raises `AdapterError` where it is needed and is not
    there, and for what cannot be written as a part of one file.
    """
    adapter = part.adapter()
    place = part.place
    if place.transposed or (place.offset is not None and place.offset[0] != 0):
        raise _cannot(part, "it is for columns of a layer, which has no name of its own")
    if isinstance(adapter, LoRA) and adapter.padded is not None:
        raise _cannot(part, "it makes the layer wider, as control LoRAs do; leave it out")
    start = 0 if in_file_order or place.offset is None else place.offset[1]
    halves = exact_halves(adapter)
    if halves is not None:
        if halves.down.shape[1] != columns:
            raise _cannot(part, f"it is for {halves.down.shape[1]} columns, and the layer has {columns}")
        up = halves.up if in_file_order else to_model(halves.up, place.swapped, place.heads)
        return Piece(Halves(up, halves.down), None, part.weight, start)
    try:
        update = _update(part, adapter, columns, weights)
    except ValueError as error:
        raise _cannot(part, str(error)) from error
    if not in_file_order:
        update = to_model(update, place.swapped, place.heads)
    return Piece(None, update, part.weight, start)


def _update(part: Part, adapter: Adapter, columns: int, weights: Weights | None) -> Tensor:
    """Δ for the part's rows in the file's order, `[rows, columns]` in fp64."""
    if isinstance(adapter, NEED_WEIGHT):
        if weights is None:
            raise _cannot(
                part,
                f"what {part.module.kind} does depends on the model's own weights; name the model's file with --model",
            )
        own = weights.read_for(part.module)
        if own is None:
            raise _cannot(part, "its layer is not in the model that --model names")
        update = part.file.adapter(part.module).update(own.double()).reshape(own.shape[0], -1)
        return update if part.rows is None else update.narrow(0, part.rows.start, part.rows.length)
    layout = part.module.layout
    inner = layout.inner or ()
    rows = part.rows.length if part.rows else layout.out or 0
    if inner and prod(inner) != columns:
        raise ValueError(f"it is for {prod(inner)} columns, and the layer has {columns}")
    return adapter.update(torch.zeros(rows, *inner, dtype=torch.float64)).reshape(rows, -1)


def exact_halves(adapter: Adapter) -> Halves | None:
    """An adapter as two fp64 halves, where that is exact and smaller than its whole difference; else None.

    (a₁b₁) ⊙ (a₂b₂) = (a₁ • a₂)(b₁ • b₂), where • multiplies all columns, and rows, of one with all of the other;
    w₁ ⊗ (ab) = (w₁ ⊗ a)(1 ⊗ b).
    """
    if isinstance(adapter, LoRA):
        return Halves(up_matrix(adapter).double() * adapter.scale, down_matrix(adapter, torch.float64))
    if isinstance(adapter, LoHa) and adapter.t1 is None and adapter.t2 is None:
        a1, b1, a2, b2 = (item.double().flatten(1) for item in (adapter.w1_a, adapter.w1_b, adapter.w2_a, adapter.w2_b))
        if not _is_smaller(a1.shape[1] * a2.shape[1], a1.shape[0], b1.shape[1]):
            return None
        up = (a1[:, :, None] * a2[:, None, :]).flatten(1)
        down = (b1[:, None, :] * b2[None, :, :]).flatten(0, 1)
        return Halves(up * adapter.scale, down)
    if isinstance(adapter, LoKr) and adapter.w2_a is not None and adapter.w2_b is not None and adapter.t2 is None:
        a, b = adapter.w2_a.double().flatten(1), adapter.w2_b.double().flatten(1)
        w1 = None if adapter.w1 is None else adapter.w1.double()
        if w1 is None and adapter.w1_a is not None and adapter.w1_b is not None:
            w1 = adapter.w1_a.double() @ adapter.w1_b.double()
        if w1 is None or not _is_smaller(w1.shape[1] * a.shape[1], w1.shape[0] * a.shape[0], w1.shape[1] * b.shape[1]):
            return None
        identity = torch.eye(w1.shape[1], dtype=torch.float64)
        return Halves(_kronecker(w1, a) * adapter.scale, _kronecker(identity, b))
    return None


def _kronecker(one: Tensor, other: Tensor) -> Tensor:
    rows, columns = one.shape[0] * other.shape[0], one.shape[1] * other.shape[1]
    return (one[:, None, :, None] * other[None, :, None, :]).reshape(rows, columns)


def _is_smaller(rank: int, rows: int, columns: int) -> bool:
    return rank * (rows + columns) < rows * columns


def _cannot(part: Part, reason: str) -> AdapterError:
    return AdapterError(part.file.path, part.module.name, reason)
