"""Whole differences of weights, biases and norms, the bias of a LoRA, and replaced weights."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, apart, noise

from lorchestra.algorithms import read
from lorchestra.algorithms.base import Settings

SLOTS = {
    "full difference": "diff",
    "bias difference": "diff_b",
    "norm difference": "w_norm",
    "norm bias difference": "b_norm",
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(48, 40), (24, 16, 3, 3), (48,)])
@pytest.mark.parametrize("algorithm", SLOTS)
def test_difference(algorithm: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    diff = noise(*shape, size=0.1, dtype=dtype)
    update = read(algorithm, {SLOTS[algorithm]: diff}, None).update(noise(*shape, seed=1))
    assert update.dtype == torch.float32
    assert torch.equal(update, diff.float())


def test_the_bias_of_a_lora_is_scaled_as_the_lora_is() -> None:
    bias, weight = noise(48), noise(48, seed=1)
    parts = {"bias": bias, "up": noise(48, 4), "down": noise(4, 40)}
    assert torch.equal(read("LoRA bias", parts, 2.0).update(weight), bias * 0.5)
    assert torch.equal(read("LoRA bias", parts, None).update(weight), bias)
    assert torch.equal(read("LoRA bias", {"bias": bias}, None, Settings(scale=0.25)).update(weight), bias * 0.25)


@pytest.mark.parametrize("dtype", DTYPES)
def test_replacement(dtype: torch.dtype) -> None:
    value, weight = noise(48, dtype=dtype), noise(48, seed=1)
    assert apart(weight + read("weight replacement", {"value": value}, None).update(weight), value.double()) < LIMIT


def test_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"the difference made for shape \[48\] cannot change a weight of \[40\]"):
        read("bias difference", {"diff_b": noise(48)}, None).update(noise(40))
    with pytest.raises(ValueError, match="the replacement made for shape"):
        read("weight replacement", {"value": noise(48)}, None).update(noise(40))
