"""What all adapter algorithms have in common: one method, and how tensors and scales are brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Adapter(Protocol):
    """One module of one file. Implementations are frozen dataclasses of tensors, numbers and other adapters."""

    def update(self, weight: Tensor) -> Tensor:
        """Δ at strength 1 for `weight`, the original weight or the part of a fused one that is meant; a new tensor.

        `weight` is fp32 or fp64 and is not changed; Δ has its shape, dtype and device. The adapter's own tensors may
        lie on another device and have any floating dtype. Raises `ValueError`, in words, where the shape does not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file's tensors do not say, but its metadata or its spelling may."""

    scale: float | None = None
    """Takes the place of α/rank: PEFT's `lora_alpha / r`, or α/√r of rank-stabilized LoRA; None if not said."""
    neumann_terms: int = 5
    """PEFT's `num_cayley_neumann_terms` of OFT; 0 where `use_cayley_neumann` is false."""
    is_peft: bool = False
    """True for a file that PEFT itself wrote; OneTrainer and kohya turn the kernels of convolutions the other way."""


DEFAULTS = Settings()


def brought(tensor: Tensor, weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor on the weight's device in the weight's dtype, or in `dtype`; sent as it is, converted there."""
    return tensor.to(weight.device).to(dtype or weight.dtype)


def wide(weight: Tensor) -> torch.dtype:
    """The dtype for small inverses and norms: fp64 where the weight's device has it."""
    return torch.float32 if weight.device.type == "mps" else torch.float64


def scale_of(alpha: float | None, rank: int, settings: Settings) -> float:
    """α/rank; 1 where the file has no alpha; the settings' scale where there is one."""
    if settings.scale is not None:
        return settings.scale
    return 1.0 if alpha is None else alpha / rank


def shaped(update: Tensor, weight: Tensor, name: str) -> Tensor:
    """The update in the weight's shape: a matrix for a convolution, a linear layer for one that is one wide.

    Raises `ValueError` if the numbers are not as many, or not in as many rows.
    """
    if update.numel() != weight.numel() or (weight.dim() and update.shape[0] != weight.shape[0]):
        raise ValueError(f"{name} made for shape {list(update.shape)} cannot change a weight of {list(weight.shape)}")
    return update.reshape(weight.shape)
