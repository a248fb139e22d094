"""What the tests of all adapter algorithms share: noise, the shapes of layers, and how far two results are apart."""

from __future__ import annotations

import torch
from torch import Tensor

LIMIT = 1e-6
"""The relative error (Frobenius norms) that an fp32 result may have against fp64."""

SHAPES = [(48, 40), (40, 48), (36, 36), (32, 24, 1, 1), (24, 16, 3, 3)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


def noise(*shape: int, seed: int = 0, size: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normally distributed, with a standard deviation of `size` and another for every seed."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * size).to(dtype)


def apart(result: Tensor, reference: Tensor) -> float:
    """‖result − reference‖ / ‖reference‖; the shapes must be the same, and the reference not nothing."""
    assert result.shape == reference.shape
    reference = reference.double()
    assert reference.norm() > 0
    return float((result.double() - reference).norm() / reference.norm())
