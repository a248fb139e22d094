"""BOFT: the weight turned by a product of sparse orthogonal matrices, block-diagonal between two permutations.

Source: Liu et al. 2023, https://arxiv.org/abs/2311.06243; LyCORIS `lycoris/functional/boft.py` for rows, PEFT
`peft/tuners/boft/layer.py` and kohya `networks/boft.py` for columns.

LyCORIS makes every stage R₍s₎ = I + s(R − I), a polynomial of the strength; we multiply the whole Δ by it, which is the
same at 1. ComfyUI 0.33 does both, limits ‖Q‖ to alpha instead of alpha · rows, and stops where there is no alpha.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import DEFAULTS, Settings, brought, wide


@dataclass(frozen=True, slots=True)
class BOFT:
    """Stages that turn rows, or columns; those of a convolution's kernel are columns too."""

    blocks: Tensor
    """`[stages, count, n, n]`; LyCORIS' B with Q = B − Bᵀ, PEFT's X with Q = (Xᵀ − X)/2."""
    rescale: Tensor | None
    """Factors of the rows of the result, `[out, 1, …]`, from PEFT's convolutions `[1, out]`; or None."""
    constraint: float
    """‖Q‖ of all blocks together is at most this; 0 for no limit."""
    on_input: bool
    """True for PEFT's: W' = W·Rᵀ with R = Rₘ…R₁; False for LyCORIS': W' = R·W."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`. R − I is made in fp64, products are taken in the weight's dtype. Not additive."""
        blocks = brought(self.blocks, weight, wide(weight))
        stages, count, width = blocks.shape[:3]
        q = (blocks.mT - blocks) / 2 if self.on_input else limited(blocks - blocks.mT, self.constraint)
        steps = cayley_step(q).to(weight.dtype)
        start = weight.flatten(1).T if self.on_input else weight.flatten(1)
        if start.shape[0] != count * width:
            raise ValueError(
                f"BOFT's blocks of shape {list(blocks.shape)} cannot turn a weight of shape {list(weight.shape)}"
            )
        total = torch.zeros_like(start)
        for stage in range(stages):
            # LyCORIS exchanges single rows, PEFT and the paper half blocks.
            chunk = width // 2 if self.on_input else 1
            inner = 2**stage if self.on_input else 2**stage * (width // 2)
            # What the stage adds is added up, not what it makes, so that a small Δ keeps its digits.
            rows = _swapped(start + total, 2, inner, chunk).reshape(count, width, -1)
            total = total + _swapped(torch.bmm(steps[stage], rows).flatten(0, 1), inner, 2, chunk)
        turned = total.T if self.on_input else total
        return rescaled(turned.reshape(weight.shape), self.rescale, weight)


def _swapped(rows: Tensor, outer: int, inner: int, chunk: int) -> Tensor:
    """Rows in groups of `outer` × `inner` chunks, the two exchanged."""
    if outer == 1 or inner == 1:
        return rows
    return rows.reshape(-1, outer, inner, chunk, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def cayley_step(q: Tensor) -> Tensor:
    """R − I = 2Q(I − Q)⁻¹ for R = (I + Q)(I − Q)⁻¹, of skew `[…, n, n]`; nothing cancels where Q is small."""
    return 2 * q @ (torch.eye(q.shape[-1], dtype=q.dtype, device=q.device) - q).inverse()


def limited(q: Tensor, constraint: float) -> Tensor:
    """Q, shrunk where its Frobenius norm exceeds the constraint; LyCORIS `get_r`."""
    if constraint <= 0:
        return q
    norm = q.square().sum().sqrt() + 1e-8
    return torch.where(norm > constraint, q * (constraint / norm), q)


def rescaled(turned: Tensor, rescale: Tensor | None, weight: Tensor) -> Tensor:
    """The Δ of rescale · (W + turned), where `turned` is what turning adds; `rescale` has a number per row."""
    if rescale is None:
        return turned
    if rescale.numel() != weight.shape[0]:
        raise ValueError(f"a rescale of shape {list(rescale.shape)} cannot scale a weight of {list(weight.shape)}")
    factors = brought(rescale, weight, wide(weight)).reshape(-1, *[1] * (weight.dim() - 1))
    return turned * factors.to(weight.dtype) + weight * (factors - 1).to(weight.dtype)


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> BOFT:
    """From a sound module's tensors by slot: LyCORIS' `blocks` and `rescale`, or PEFT's `rotation` and `scale`."""
    if "blocks" in parts:
        blocks = parts["blocks"]
        return BOFT(blocks, parts.get("rescale"), (alpha or 0.0) * blocks.shape[1] * blocks.shape[2], False)
    return BOFT(parts["rotation"], parts.get("scale"), 0.0, True)
