"""(IA)³: the outputs or inputs of a layer times a learned vector, W' = W · (1 + w).

Sources: Liu et al. 2022, https://arxiv.org/abs/2205.05638; LyCORIS `lycoris/modules/ia3.py` (stores w), PEFT
`peft/tuners/ia3/layer.py` (stores 1 + w).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .base import DEFAULTS, Settings, brought, wide


@dataclass(frozen=True, slots=True)
class IA3:
    """One module's vector."""

    vector: Tensor
    """`[n]`, `[n, 1]` or `[1, n, 1, …]`."""
    on_input: bool | None
    """True: one number per column; False: per row; None: PEFT, whose shape tells, but for square convolutions."""
    is_factor: bool
    """True if the vector is the factor itself, False if it is what the factor exceeds 1 by."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`. Also for a layer's bias, which PEFT scales with the outputs. Not additive."""
        axis = self._axis(weight)
        vector = brought(self.vector, weight, wide(weight)).flatten()
        share = (vector - 1 if self.is_factor else vector).to(weight.dtype)
        return weight * share.reshape([-1 if dim == axis else 1 for dim in range(weight.dim())])

    def _axis(self, weight: Tensor) -> int:
        count = self.vector.numel()
        on_input = self.on_input
        if on_input is None:
            # A convolution's shape does not tell; where both widths fit, outputs are more likely.
            is_matrix = self.vector.dim() == 2 and count > 1
            on_input = self.vector.shape[0] == 1 if is_matrix else weight.shape[0] != count
        axis = int(on_input)
        if axis >= weight.dim() or weight.shape[axis] != count:
            where = "inputs" if on_input else "outputs"
            raise ValueError(f"(IA)³ made for {count} {where} cannot change a weight of shape {list(weight.shape)}")
        return axis


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> IA3:
    """From a sound module's tensors by slot; it has no alpha."""
    if "vector" in parts:
        return IA3(parts["vector"], None, True)
    return IA3(parts["weight"], bool(parts["on_input"].item()), False)
