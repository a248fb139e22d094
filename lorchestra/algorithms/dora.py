"""DoRA: W' = m ⊙ (W + ΔW) / ‖W + ΔW‖, the norm per row or per column, on top of LoRA, LoHa, LoKr or GLoRA.

Sources: Liu et al. 2024, https://arxiv.org/abs/2402.09353; `weight_decompose` in LyCORIS
`lycoris/functional/general.py`; PEFT `peft/tuners/lora/dora.py`. ComfyUI 0.33 divides by ‖W‖ instead of ‖W + ΔW‖ where
the norm is per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Adapter, brought, wide

LYCORIS_EPSILON = 2.0**-23
"""LyCORIS adds the epsilon of fp32, in which it trains, to every norm; PEFT and the paper add nothing."""

_CHUNK = 1 << 22
"""Elements that are fp64 at a time while norms are taken."""


@dataclass(frozen=True, slots=True)
class DoRA:
    """A module with its magnitude."""

    base: Adapter
    """Gives ΔW at strength 1."""
    magnitude: Tensor
    """`[out]`, `[out, 1, …]` or, from PEFT's convolutions, `[1, out, 1, …]`: one norm per row; `[1, in, 1, …]`: one per
    column, taken over rows and kernel."""
    is_rows: bool
    """True if the magnitude is per row whatever its shape."""
    epsilon: float
    """Added to every norm."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`. Not additive. Norms and their ratios are fp64, so that a small Δ keeps its digits."""
        delta = self.base.update(weight)
        ratio = self.ratio(weight, delta)
        # m(W + Δ)/n − W without the difference of two large numbers.
        return delta.mul_(ratio.to(weight.dtype)).addcmul_(weight, (ratio - 1).to(weight.dtype))

    def ratio(self, weight: Tensor, delta: Tensor) -> Tensor:
        """m / ‖W + ΔW‖ in fp64, `[out, 1, …]` or `[1, in, 1, …]`."""
        axis = self._axis(weight)
        norm = _norms(weight, delta, axis) + self.epsilon
        magnitude = brought(self.magnitude, weight, norm.dtype).reshape(norm.shape)
        return torch.where(norm == 0, 0, magnitude / norm)  # a row of nothing stays nothing

    def _axis(self, weight: Tensor) -> int:
        count = self.magnitude.numel()
        fits = [axis for axis in (0, 1) if axis < weight.dim() and weight.shape[axis] == count]
        if weight.dim() < 2 or not fits or (self.is_rows and fits[0] == 1):
            raise ValueError(
                f"DoRA's magnitude of shape {list(self.magnitude.shape)} cannot scale a weight of {list(weight.shape)}"
            )
        looks_like_columns = self.magnitude.dim() > 1 and self.magnitude.shape[0] == 1 and not self.is_rows
        return fits[-1] if looks_like_columns else fits[0]


def _norms(weight: Tensor, delta: Tensor, axis: int) -> Tensor:
    """‖W + Δ‖ along all dimensions but one, which are kept one wide; summed in fp64, some rows at a time."""
    step = max(1, _CHUNK * weight.shape[0] // weight.numel())
    others = [dim for dim in range(weight.dim()) if dim != axis]
    sums = [
        (weight[row : row + step].to(wide(weight)) + delta[row : row + step]).square_().sum(others, keepdim=True)
        for row in range(0, weight.shape[0], step)
    ]
    squares = torch.cat(sums) if axis == 0 else torch.cat(sums).sum(0, keepdim=True)
    return squares.sqrt()


def wrap(base: Adapter, parts: Mapping[str, Tensor]) -> Adapter:
    """The base with the magnitude that its module has; the base alone where there is none."""
    if "magnitude_vector" in parts:  # PEFT's
        return DoRA(base, parts["magnitude_vector"], True, 0.0)
    if "magnitude" in parts:
        return DoRA(base, parts["magnitude"], False, LYCORIS_EPSILON)
    return base
