"""What the LoRAs of a stack add to one weight at weight 1, brought to the same rows; plain LoRAs stay in their halves.

The parts of a change may be for the whole weight or for some of its rows, as q, k and v of a fused layer are. The
weight is cut where any of them begins or ends, so that two LoRAs are compared where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..algorithms import NEED_WEIGHT
from ..algorithms.lora import LoRA, down_matrix, up_matrix
from ..algorithms.row_order import to_model
from ..apply.fuse import Term, update_of
from ..apply.plan import Part
from ..architectures.sites import Offset

Shape = tuple[int, ...]

NEEDS_BASE = "what it does depends on the model's own weights, which are not at hand"
WIDENS = "it makes the layer wider"
COLUMNS = "it is for columns of a layer"


@dataclass(frozen=True, slots=True)
class Delta:
    """What one LoRA adds to some rows of a weight, at weight 1: either `up @ down` or `dense`."""

    lora: int
    """Number of the LoRA in the plan."""
    start: int
    """First row of the model's weight."""
    up: Tensor
    """`[rows, rank]` in any floating dtype; of a dense one `[rows, in · kernel]`, Δ itself in fp32."""
    down: Tensor | None
    """`[rank, in · kernel]` in any floating dtype; None for a dense one."""
    scale: float = 1.0
    """What all of it is multiplied by."""

    @property
    def stop(self) -> int:
        """The row after its last."""
        return self.start + self.up.shape[0]

    @property
    def columns(self) -> int:
        """Columns of the weight as a matrix."""
        return self.up.shape[1] if self.down is None else self.down.shape[1]

    def within(self, start: int, stop: int) -> Delta:
        """The same for some of its rows."""
        return replace(self, start=start, up=self.up[start - self.start : stop - self.start])

    def built(self) -> Tensor:
        """Δ in fp32, `[rows, in · kernel]`."""
        update = self.up.float() if self.down is None else self.up.float() @ self.down.float()
        return update if self.scale == 1 else update * self.scale


def find_delta(lora: int, term: Term, offset: Offset | None, weight: Tensor | None, shape: Shape | None) -> Delta | str:
    """What a term adds at its weight to a part of the model's weight; or in words why that cannot be told.

    `weight` is the model's whole weight in fp32, `[out, in, kernel …]`, or None if it is not at hand: the part's
    `shape` is enough for adapters that do not depend on it. Raises `ValueError`, in words, where the term does not fit.
    """
    adapter = term.adapter
    if offset is not None and offset[0] != 0:
        return COLUMNS
    start = 0 if offset is None else offset[1]
    if isinstance(adapter, LoRA):
        if adapter.padded is not None:
            return WIDENS
        up, down = up_matrix(adapter), adapter.down.flatten(1)
        if adapter.mid is not None:
            down = down_matrix(adapter, torch.float32)
        scale = term.weight * adapter.scale
        if term.transposed:
            return Delta(lora, start, down.T, up.T, scale)
        return Delta(lora, start, to_model(up, term.swapped, term.heads), down, scale)
    if weight is None and (shape is None or isinstance(adapter, NEED_WEIGHT)):
        return NEEDS_BASE
    if weight is None:
        own = torch.zeros(shape or ())
    else:
        own = weight if offset is None else weight.narrow(*offset)
    update = update_of(term, own)
    return Delta(lora, start, update.flatten(1) if update.dim() > 1 else update[:, None], None, term.weight)


def shape_of(part: Part) -> Shape:
    """Of the part of the model's weight that a part is for, as far as its file says."""
    layout = part.module.layout
    rows = part.rows.length if part.rows else layout.out
    return ((part.place.offset[2] if part.place.offset else rows) or 0, *(layout.inner or ()))


def meeting(deltas: Sequence[Delta]) -> list[list[Delta]]:
    """For each run of rows in which the same LoRAs meet, what each of them adds there."""
    edges = sorted({edge for delta in deltas for edge in (delta.start, delta.stop)})
    runs = [
        [delta.within(low, high) for delta in deltas if delta.start <= low and high <= delta.stop]
        for low, high in pairwise(edges)
    ]
    return [run for run in runs if run]
