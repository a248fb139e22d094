"""(IA)³ as LyCORIS and PEFT store it."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, SHAPES, apart, noise

from lorchestra.algorithms import read


def scaled(weight: torch.Tensor, factors: torch.Tensor, axis: int) -> torch.Tensor:
    result = torch.empty_like(weight, dtype=torch.float64)
    for index in range(weight.shape[axis]):
        result.select(axis, index).copy_(weight.double().select(axis, index) * float(factors.flatten()[index]))
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("on_input", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_lycoris(shape: tuple[int, ...], on_input: bool, dtype: torch.dtype) -> None:
    weight = noise(*shape, seed=1)
    width = shape[int(on_input)]
    vector = noise(*((1, width, *[1] * (len(shape) - 2)) if len(shape) > 2 else (width,)), size=0.1, dtype=dtype)
    update = read("(IA)³", {"weight": vector, "on_input": torch.tensor(int(on_input))}, None).update(weight)
    assert apart(update, scaled(weight, vector, int(on_input))) < LIMIT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("on_input", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_peft(shape: tuple[int, ...], on_input: bool, dtype: torch.dtype) -> None:
    weight = noise(*shape, seed=1)
    width = shape[int(on_input)]
    vector_shape = (1, width, *[1] * (len(shape) - 2)) if on_input or len(shape) > 2 else (width, 1)
    vector = (1 + noise(*vector_shape, size=0.1)).to(dtype)
    update = read("(IA)³", {"vector": vector}, None).update(weight)
    assert apart(update, scaled(weight, vector.double() - 1, int(on_input))) < LIMIT


def test_where_a_square_convolution_does_not_tell_outputs_are_scaled() -> None:
    weight, vector = noise(8, 8, 3, 3, seed=1), 1 + noise(1, 8, 1, 1)
    assert apart(read("(IA)³", {"vector": vector}, None).update(weight), scaled(weight, vector.double() - 1, 0)) < LIMIT


def test_the_bias_of_scaled_outputs() -> None:
    bias, vector = noise(8, seed=1), 1 + noise(8, 1)
    expected = bias.double() * (vector.double().flatten() - 1)
    assert apart(read("(IA)³", {"vector": vector}, None).update(bias), expected) < LIMIT


@pytest.mark.parametrize(("vector", "words"), [(noise(7, 1), "7 outputs"), (noise(1, 7), "7 inputs")])
def test_another_width_is_refused_in_words(vector: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=f"made for {words} cannot change a weight of shape"):
        read("(IA)³", {"vector": vector}, None).update(noise(8, 6))
