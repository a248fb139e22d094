"""LoHa against the formula in fp64, element by element."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, SHAPES, apart, noise
from torch import Tensor

from lorchestra.algorithms import loha
from lorchestra.algorithms.base import Settings

Parts = dict[str, Tensor]


def parts(shape: tuple[int, ...], rank: int = 4, tucker: bool = False, dtype: torch.dtype = torch.float32) -> Parts:
    out, inner, *kernel = shape
    result: Parts = {}
    for side in (1, 2):
        a, b = ((rank, out), (rank, inner)) if tucker else ((out, rank), (rank, inner * torch.Size(kernel).numel()))
        result[f"w{side}_a"] = noise(*a, seed=side, size=0.2, dtype=dtype)
        result[f"w{side}_b"] = noise(*b, seed=side + 2, size=0.5, dtype=dtype)
        if tucker:
            result[f"t{side}"] = noise(rank, rank, *kernel, seed=side + 4, dtype=dtype)
    return result


def reference(parts: Parts, shape: tuple[int, ...]) -> Tensor:
    wide = {slot: tensor.double() for slot, tensor in parts.items()}
    product = torch.ones(*shape[:2], torch.Size(shape[2:]).numel(), dtype=torch.float64)
    for side in ("1", "2"):
        a, b, core = wide[f"w{side}_a"], wide[f"w{side}_b"], wide.get(f"t{side}")
        factor = torch.zeros_like(product)
        for p in range(a.shape[0] if core is not None else a.shape[1]):
            if core is None:
                factor += a[:, p, None, None] * b[p].reshape(1, shape[1], -1)
            else:
                for q in range(b.shape[0]):
                    factor += core[p, q].flatten()[None, None] * a[p, :, None, None] * b[q, None, :, None]
        product *= factor
    return product.reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "tucker"), [*((shape, False) for shape in SHAPES), (SHAPES[-1], True)])
def test_update(shape: tuple[int, ...], tucker: bool, dtype: torch.dtype) -> None:
    tensors = parts(shape, tucker=tucker, dtype=dtype)
    update = loha.read(tensors, 2.0).update(noise(*shape))
    assert update.dtype == torch.float32
    assert apart(update, reference(tensors, shape) * 2.0 / 4) < LIMIT


def test_fp64() -> None:
    tensors = parts((48, 40))
    assert apart(loha.read(tensors, None).update(noise(48, 40).double()), reference(tensors, (48, 40))) < 1e-14


def test_onetrainer_keeps_the_dimensions_of_convolutions() -> None:
    tensors = parts((24, 16, 3, 3))
    as_convolutions = {
        slot: tensor.reshape(24, 4, 1, 1) if slot.endswith("a") else tensor.reshape(4, 16, 3, 3)
        for slot, tensor in tensors.items()
    }
    weight = noise(24, 16, 3, 3)
    assert torch.equal(loha.read(as_convolutions, 1.0).update(weight), loha.read(tensors, 1.0).update(weight))


def test_scale() -> None:
    tensors, weight = parts((48, 40)), noise(48, 40)
    plain = loha.read(tensors, None).update(weight)
    assert torch.equal(loha.read(tensors, 8.0).update(weight), plain * 2)
    assert torch.equal(loha.read(tensors, 8.0, Settings(scale=0.5)).update(weight), plain * 0.5)


def test_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"LoHa made for shape \[48, 40\] cannot change a weight of \[40, 48\]"):
        loha.read(parts((48, 40)), None).update(noise(40, 48))
