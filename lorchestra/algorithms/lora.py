"""LoRA: ΔW = s · α/r · up @ down, for linear layers and convolutions, also with a Tucker core between the halves.

Many on one weight are added up by `lorchestra/fuse.py`; `update` is for those that stand alone or carry a DoRA.

Sources: Hu et al. 2021, https://arxiv.org/abs/2106.09685 (linear); LyCORIS `docs/Algo-Details.md` (LoCon and Tucker).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import DEFAULTS, Settings, brought, scale_of, shaped


@dataclass(frozen=True, slots=True)
class LoRA:
    """The tensors of one module, as they lie in the file; floating point of any dtype."""

    up: Tensor
    """`[out, rank]`, or `[out, rank, 1, …]` for a convolution."""
    down: Tensor
    """`[rank, in]` or `[rank, in, kernel …]`; with a core `[rank, in, 1, …]`."""
    mid: Tensor | None
    """Tucker core `[rank, rank, kernel …]`, or None."""
    scale: float
    """α / rank; 1 where the file has no alpha."""
    padded: tuple[int, ...] | None = None
    """The shape that the weight is padded to with zeros before anything is added, from `reshape_weight`; Flux' control
    LoRAs widen `img_in` so. The caller pads."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`; the product is taken in the weight's dtype."""
        mid = None if self.mid is None else brought(self.mid, weight)
        here = LoRA(brought(self.up, weight), brought(self.down, weight), mid, self.scale)
        return shaped((up_matrix(here) * self.scale) @ down_matrix(here, weight.dtype), weight, "LoRA")


def down_matrix(lora: LoRA, dtype: torch.dtype) -> Tensor:
    """The down half as a matrix `[rank, in · kernel]` in `dtype`, the Tucker core multiplied in.

    LyCORIS: ΔW[o, i, k…] = Σ_pq mid[p, q, k…] · up[o, p] · down[q, i].
    """
    if lora.mid is None:
        return lora.down.flatten(1).to(dtype)
    down, mid = lora.down.flatten(1).to(dtype), lora.mid.flatten(2).to(dtype)
    return torch.einsum("pqk,qi->pik", mid, down).flatten(1)


def up_matrix(lora: LoRA) -> Tensor:
    """The up half as a matrix `[out, rank]`, in the file's dtype."""
    return lora.up.flatten(1)


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> LoRA:
    """From a sound module's tensors by slot."""
    down, shape = parts["down"], parts.get("shape")
    padded = None if shape is None else tuple(int(shape[index]) for index in range(shape.numel()))
    return LoRA(parts["up"], down, parts.get("mid"), scale_of(alpha, down.shape[0], settings), padded)
