"""LoRA: ΔW = s · α/r · up @ down, for linear layers and convolutions, also with a Tucker core between the halves.

Sources: Hu et al. 2021, https://arxiv.org/abs/2106.09685 (linear); LyCORIS `docs/Algo-Details.md` (LoCon and Tucker).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..spelling.modules import Module


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


@dataclass(frozen=True, slots=True)
class Term:
    """A LoRA at a weight: one summand of an update."""

    lora: LoRA
    weight: float

    @property
    def factor(self) -> float:
        """What `up @ down` is multiplied by."""
        return self.weight * self.lora.scale

    def rows(self, start: int, count: int) -> Term:
        """The same for `count` rows of the weight from row `start` on."""
        lora = self.lora
        return Term(LoRA(lora.up[start : start + count], lora.down, lora.mid, lora.scale), self.weight)


def check(module: Module) -> str | None:
    """What is wrong with the module's shapes, in words; None when they agree with each other."""
    up, down, mid = (module.shapes.get(slot) for slot in ("up", "down", "mid"))
    if up is None or down is None:
        if up is None and down is None:
            return "a core is there but both halves are missing"
        have, lack = ("down", "up") if up is None else ("up", "down")
        return f"the {have} half is there but the {lack} half is missing"
    if len(up) < 2 or len(down) < 2:
        return f"the halves have shapes {list(up)} and {list(down)}; both need two dimensions at least"
    if any(size != 1 for size in up[2:]):
        return f"the up half has shape {list(up)}; it must be one wide beyond its second dimension"
    if 0 in up or 0 in down:
        return f"the halves have shapes {list(up)} and {list(down)}, which hold nothing"
    if mid is None:
        if up[1] != down[0]:
            return f"the up half has rank {up[1]}, the down half has rank {down[0]}"
        return None
    if len(mid) < 3 or mid[:2] != (up[1], down[0]):
        return f"the core has shape {list(mid)}; with these halves it must begin with {[up[1], down[0]]}"
    if any(size != 1 for size in down[2:]):
        return f"the down half has shape {list(down)}; with a core it must be one wide beyond its second dimension"
    return None


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
