"""LoHa: ΔW = α/r · (w1_a @ w1_b) ⊙ (w2_a @ w2_b), an elementwise product of two low-rank matrices.

Sources: Hyeon-Woo et al. 2021 (FedPara), https://arxiv.org/abs/2108.06098; LyCORIS `lycoris/functional/loha.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import DEFAULTS, Settings, brought, scale_of, shaped


@dataclass(frozen=True, slots=True)
class LoHa:
    """The tensors of one module, as they lie in the file; floating point of any dtype."""

    w1_a: Tensor
    """`[out, rank]`, or `[out, rank, 1, …]` as OneTrainer has it for convolutions; with cores `[rank, out]`."""
    w1_b: Tensor
    """`[rank, in · kernel]` or `[rank, in, kernel …]`; with cores `[rank, in]`."""
    w2_a: Tensor
    """As `w1_a`."""
    w2_b: Tensor
    """As `w1_b`."""
    t1: Tensor | None
    """Tucker core `[rank, rank, kernel …]` between `w1_a` and `w1_b`, or None."""
    t2: Tensor | None
    """The core of the other product; there is one where `t1` is."""
    scale: float
    """α / rank; 1 where the file has no alpha."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`; products are taken in the weight's dtype."""
        first = product(self.w1_a, self.w1_b, self.t1, weight)
        second = product(self.w2_a, self.w2_b, self.t2, weight)
        return shaped(first.mul_(second).mul_(self.scale), weight, "LoHa")


def product(a: Tensor, b: Tensor, core: Tensor | None, like: Tensor) -> Tensor:
    """`[out, in · kernel]` on the device and in the dtype of `like`: a @ b, or joined by a Tucker core.

    With a core: W[o, i, k…] = Σ_pq core[p, q, k…] · a[p, o] · b[q, i] (LyCORIS `rebuild_tucker`).
    """
    a, b = brought(a, like), brought(b, like)
    if core is None:
        return a.flatten(1) @ b.flatten(1)
    return torch.einsum("oqk,qi->oik", torch.einsum("pqk,po->oqk", brought(core, like).flatten(2), a), b).flatten(1)


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> LoHa:
    """From a sound module's tensors by slot."""
    a, b = parts["w1_a"], parts["w1_b"]
    scale = scale_of(alpha, b.shape[0], settings)
    return LoHa(a, b, parts["w2_a"], parts["w2_b"], parts.get("t1"), parts.get("t2"), scale)
