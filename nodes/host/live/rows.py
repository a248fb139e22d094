"""Which rows of a layer's input belong to which rows of the batch."""

from __future__ import annotations

from torch import Tensor

from ....lorchestra.errors import StackError


class MixedRows(StackError):
    """The rows of the batch have different weights, and a layer can have only one weight for all of them.

    `finding` says why, as what follows the layer's name.
    """

    def __init__(self, layer: str, finding: str, reason: str) -> None:
        self.layer = layer
        self.finding = finding
        super().__init__(f'{reason} Give the LoRAs on it the same weight for both ("conditioning": "both").')


def _other_rows(layer: str, count: int, batch: int) -> MixedRows:
    reason = (
        f"{layer} sees {count} {'row' if count == 1 else 'rows'} in a call with {batch}, of which some are the "
        "positive and some the negative conditioning. It cannot be told which of them is whose."
    )
    return MixedRows(layer, "mixes the rows of the batch", reason)


def mixed_weight(layer: str) -> MixedRows:
    """The error for LoRAs that depend on a layer's weight, where an earlier stack changes it for one conditioning."""
    reason = (
        f"LoRAs on {layer} depend on its weight, which an earlier LoRA Stack changes for the positive and the negative "
        "conditioning differently, and both are in one call."
    )
    return MixedRows(layer, "has LoRAs that depend on its weight, and each conditioning has another weight", reason)


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
    raise _other_rows(layer, count, weights.shape[0])
