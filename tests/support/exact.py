"""What the results are measured with: updates in fp64 straight from the formulas, and units in the last place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def delta(parts: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """α/r · up · (mid ·) down in fp64 with the weight's shape; one sum per element, no matrix is joined to another."""
    up, down = parts["up"].double().flatten(1), parts["down"].double()
    if "mid" in parts:
        mid = parts["mid"].double()
        update = torch.einsum("op,pq...,qi->oi...", up, mid, down.flatten(1))
    else:
        update = torch.einsum("or,r...->o...", up, down)
    scale = float(parts["alpha"].double()) / down.shape[0] if "alpha" in parts else 1.0
    return update.reshape(tuple(shape)) * scale


def sum_of(weight: Tensor, updates: Sequence[tuple[float, Mapping[str, Tensor]]]) -> Tensor:
    """W + Σ sᵢ·Δᵢ in fp64."""
    result = weight.double()
    for strength, parts in updates:
        result = result + strength * delta(parts, weight.shape)
    return result


def ulp(reference: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance of neighbouring numbers of `dtype` at `reference` (fp64), below the normal numbers too."""
    info = torch.finfo(dtype)
    bits = torch.frexp(torch.tensor(info.eps, dtype=torch.float64)).exponent - 1
    lowest = torch.frexp(torch.tensor(info.smallest_normal, dtype=torch.float64)).exponent - 1
    exponent = torch.frexp(reference.double()).exponent - 1
    return torch.ldexp(torch.ones_like(reference, dtype=torch.float64), torch.maximum(exponent, lowest) + bits)


def ulps_off(result: Tensor, reference: Tensor) -> float:
    """The largest distance of `result` from the fp64 `reference`, in units in the last place of `result`'s dtype."""
    assert result.shape == reference.shape
    return float(((result.double() - reference).abs() / ulp(reference, result.dtype)).max())


def same_bits(first: Tensor, second: Tensor) -> bool:
    """True if two tensors are the same to the bit; 0 and -0 differ, NaN equals itself."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(*(t.contiguous().reshape(-1).view(torch.uint8) for t in (first, second)))
