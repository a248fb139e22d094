"""GLoRA in both of LyCORIS' layouts against the formula in fp64."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, SHAPES, apart, noise
from torch import Tensor

from lorchestra.algorithms import glora

Parts = dict[str, Tensor]
RANK = 4


def parts(shape: tuple[int, ...], *, old: bool = False, dtype: torch.dtype = torch.float32) -> Parts:
    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    new = {
        "a1": noise(inner, RANK, *ones, seed=1, size=0.1, dtype=dtype),
        "a2": noise(RANK, inner, *ones, seed=2, dtype=dtype),
        "b1": noise(out, RANK, *ones, seed=3, size=0.01, dtype=dtype),
        "b2": noise(RANK, inner, *kernel, seed=4, dtype=dtype),
    }
    return {"a1": new["a2"], "a2": new["a1"], "b1": new["b2"], "b2": new["b1"]} if old else new


def reference(new: Parts, weight: Tensor) -> Tensor:
    a1, a2, b1, b2 = (new[slot].double() for slot in ("a1", "a2", "b1", "b2"))
    change = a1.flatten(1) @ a2.flatten(1)
    follows, wide = torch.empty_like(weight, dtype=torch.float64), weight.double().movedim(1, -1)
    for column in range(weight.shape[1]):
        follows[:, column] = (wide * change[:, column]).sum(-1)
    return follows + (b1.flatten(1) @ b2.flatten(1)).reshape(weight.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_update(shape: tuple[int, ...], old: bool, dtype: torch.dtype) -> None:
    weight = noise(*shape, size=0.05, seed=9)
    update = glora.read(parts(shape, old=old, dtype=dtype), 2.0).update(weight)
    assert apart(update, reference(parts(shape, dtype=dtype), weight) * 2.0 / RANK) < LIMIT


def test_a_square_layer_whose_rank_is_its_width_has_the_old_layout() -> None:
    """Nothing tells them apart; ComfyUI takes the old one."""
    tensors = {slot: noise(8, 8, seed=seed) for seed, slot in enumerate(("a1", "a2", "b1", "b2"))}
    weight = noise(8, 8, seed=9)
    a1, a2, b1, b2 = (tensors[slot].double() for slot in ("a1", "a2", "b1", "b2"))
    assert apart(glora.read(tensors, None).update(weight), weight.double() @ a2 @ a1 + b2 @ b1) < LIMIT


def test_the_weight_is_not_changed() -> None:
    weight = noise(48, 40)
    before = weight.clone()
    glora.read(parts((48, 40)), None).update(weight)
    assert torch.equal(weight, before)


def test_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="GLoRA made for"):
        glora.read(parts((48, 40)), None).update(noise(48, 48))
    with pytest.raises(ValueError, match="GLoRA made for 40 columns"):
        glora.read(parts((48, 40)), None).update(noise(48, 20, 2))
