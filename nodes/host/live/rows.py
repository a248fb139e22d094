"""Which rows of a layer's input belong to which rows of the batch."""

from __future__ import annotations

from torch import Tensor

from ....lorchestra.errors import StackError


class MixedRows(StackError):
    """A layer sees other rows than those of the batch, and the rows of the batch have different weights."""

    def __init__(self, layer: str, count: int, batch: int) -> None:
        self.layer = layer
        super().__init__(
            f"{layer} sees {count} {'row' if count == 1 else 'rows'} in a call with {batch}, of which some are the "
            "positive and some the negative conditioning. It cannot be told which of them is whose. Give the LoRAs on "
            'it the same weight for both ("conditioning": "both").'
        )


def rows_of(weights: Tensor, count: int, is_same: bool, layer: str) -> Tensor:
    """The weights, `[E]` or `[B, E]`, for a layer that sees so many rows.

    `is_same` says that no LoRA on this layer has different weights in the batch. Other counts than the batch's say
    nothing: frames may be folded into the rows, before the batch or after it, times may be doubled, all may share one.
    Raises `MixedRows` there, and ComfyUI is asked for a call for each conditioning instead.
    """
    if weights.dim() == 1 or weights.shape[0] == count:
        return weights
    if is_same:
        return weights[0]
    raise MixedRows(layer, count, weights.shape[0])
