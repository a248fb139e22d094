"""GLoRA: ΔW = α/r · (W·a1·a2 + b1·b2), where the first term follows the weight itself.

Sources: Chavan et al. 2023, https://arxiv.org/abs/2306.07967; LyCORIS `lycoris/modules/glora.py`. LyCORIS up to 2.0
wrote the factors the other way round, W·a2·a1 + b2·b1; which of the two a file has is told by its shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..spelling.layouts import is_old_glora
from .base import DEFAULTS, Settings, brought, scale_of, shaped


@dataclass(frozen=True, slots=True)
class GLoRA:
    """The tensors of one module, in the new order whichever the file has; floating point of any dtype."""

    a1: Tensor
    """`[in, rank]`, or `[in, rank, 1, …]` for a convolution."""
    a2: Tensor
    """`[rank, in]`, or `[rank, in, 1, …]`."""
    b1: Tensor
    """`[out, rank]`, or `[out, rank, 1, …]`."""
    b2: Tensor
    """`[rank, in]`, or `[rank, in, kernel …]`."""
    scale: float
    """α / rank; 1 where the file has no alpha."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`; products are taken in the weight's dtype. Not additive: it depends on the weight."""
        a1, a2, b1, b2 = (brought(tensor, weight).flatten(1) for tensor in (self.a1, self.a2, self.b1, self.b2))
        update = shaped(b1 @ b2, weight, "GLoRA")
        columns = weight.flatten(2) if weight.dim() > 2 else weight[..., None]
        if columns.shape[1] != a1.shape[0]:
            raise ValueError(f"GLoRA made for {a1.shape[0]} columns cannot change a weight of {list(weight.shape)}")
        follows = torch.einsum("ork,rj->ojk", torch.einsum("oik,ir->ork", columns, a1), a2)
        return update.add_(follows.reshape(weight.shape)).mul_(self.scale)


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> GLoRA:
    """From a sound module's tensors by slot."""
    a1, a2, b1, b2 = (parts[name] for name in ("a1", "a2", "b1", "b2"))
    if is_old_glora(*(tuple(tensor.shape) for tensor in (a1, a2, b1, b2))):
        a1, a2, b1, b2 = a2, a1, b2, b1
    return GLoRA(a1, a2, b1, b2, scale_of(alpha, b2.shape[0], settings))
