"""LoKr against the formula in fp64, entry by entry of the Kronecker product."""

from __future__ import annotations

from math import prod

import pytest
import torch
from support.closeness import DTYPES, LIMIT, apart, noise
from torch import Tensor

from lorchestra.algorithms import lokr
from lorchestra.algorithms.base import Settings

Parts = dict[str, Tensor]
RANK = 3

FACTORINGS = [
    ("w1", "w2"),
    ("w1", "w2_ab"),
    ("w1_ab", "w2"),
    ("w1_ab", "w2_ab"),
    ("w1", "w2_tucker"),
    ("w1_ab", "w2_tucker"),
]


def parts(factoring: tuple[str, str], kernel: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Parts:
    """For a weight of shape (4·10, 6·8, *kernel)."""
    first, second = factoring
    shapes: dict[str, tuple[int, ...]] = {}
    if first == "w1":
        shapes["w1"] = (4, 6)
    else:
        shapes |= {"w1_a": (4, RANK), "w1_b": (RANK, 6)}
    if second == "w2":
        shapes["w2"] = (10, 8, *kernel)
    elif second == "w2_ab":
        shapes |= {"w2_a": (10, RANK), "w2_b": (RANK, 8 * prod(kernel))}
    else:
        shapes |= {"w2_a": (RANK, 10), "w2_b": (RANK, 8), "t2": (RANK, RANK, *kernel)}
    return {slot: noise(*shape, seed=seed, dtype=dtype) for seed, (slot, shape) in enumerate(shapes.items())}


def reference(parts: Parts, shape: tuple[int, ...]) -> Tensor:
    wide = {slot: tensor.double() for slot, tensor in parts.items()}
    w1 = wide["w1"] if "w1" in wide else wide["w1_a"] @ wide["w1_b"]
    if "w2" in wide:
        w2 = wide["w2"]
    elif "t2" in wide:
        w2 = torch.einsum("pqk,po,qi->oik", wide["t2"].flatten(2), wide["w2_a"], wide["w2_b"])
    else:
        w2 = wide["w2_a"] @ wide["w2_b"]
    w2 = w2.reshape(10, 8, -1)
    row, column = torch.arange(40)[:, None], torch.arange(48)
    result = w1[row // 10, column // 8][..., None] * w2[row % 10, column % 8]
    return result.reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("factoring", "kernel"),
    [
        (factoring, kernel)
        for factoring in FACTORINGS
        for kernel in [(), (1, 1), (3, 3)]
        if kernel or "w2_tucker" not in factoring  # cores are for convolutions
    ],
)
def test_update(factoring: tuple[str, str], kernel: tuple[int, ...], dtype: torch.dtype) -> None:
    shape = (40, 48, *kernel)
    tensors = parts(factoring, kernel, dtype)
    scale = 1.0 if factoring == ("w1", "w2") else 1.5 / RANK  # alpha does not count where both factors are whole
    assert apart(lokr.read(tensors, 1.5).update(noise(*shape)), reference(tensors, shape) * scale) < LIMIT


def test_a_second_half_may_keep_the_kernel() -> None:
    """LyCORIS `functional/lokr.py` makes w2_b as `[rank, in, kernel …]`, its modules as `[rank, in · kernel]`."""
    tensors, weight = parts(("w1", "w2_ab"), (3, 3)), noise(40, 48, 3, 3)
    kept = tensors | {"w2_b": tensors["w2_b"].reshape(RANK, 8, 3, 3)}
    assert torch.equal(lokr.read(kept, 1.0).update(weight), lokr.read(tensors, 1.0).update(weight))


def test_a_scale_from_metadata_counts_for_whole_factors_too() -> None:
    """PEFT multiplies them by its alpha / r."""
    tensors, weight = parts(("w1", "w2"), ()), noise(40, 48)
    plain = lokr.read(tensors, 16.0).update(weight)
    assert apart(lokr.read(tensors, 16.0, Settings(scale=0.25)).update(weight), plain * 0.25) < LIMIT


def test_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="LoKr made for shape"):
        lokr.read(parts(("w1", "w2"), ()), None).update(noise(40, 40))
