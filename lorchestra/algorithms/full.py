"""Differences that are stored whole: of a weight, a bias, a norm's weight and bias; the bias of a LoRA's up half.

Sources: LyCORIS `lycoris/modules/full.py` and `norms.py`; PEFT `peft/tuners/lora/layer.py` (`lora_bias`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .base import DEFAULTS, Settings, brought, scale_of, shaped

_SLOTS = ("diff", "diff_b", "w_norm", "b_norm")


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of the weight's own shape."""

    diff: Tensor
    scale: float
    """1, but for a LoRA's bias: its α / rank, as PEFT has it."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`; `weight` may be a bias."""
        return shaped(brought(self.diff, weight) * self.scale, weight, "the difference")


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> Difference:
    """From a sound module's tensors by slot; it has no alpha."""
    return Difference(next(parts[slot] for slot in _SLOTS if slot in parts), 1.0)


def read_bias(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> Difference:
    """The bias of a LoRA's up half, from all of the LoRA's tensors; without the halves its scale is the settings'."""
    down = parts.get("down")
    scale = scale_of(None if down is None else alpha, 1 if down is None else down.shape[0], settings)
    return Difference(parts["bias"], scale)
