"""DoRA with norms of rows and of columns, on every base, against the paper's formula in fp64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.closeness import DTYPES, LIMIT, SHAPES, apart, noise
from torch import Tensor

from lorchestra.algorithms import DoRA, dora, glora, loha, lokr, lora, read
from lorchestra.algorithms.base import Adapter

BASES: dict[str, Callable[[torch.dtype], tuple[dict[str, Tensor], Callable[..., Adapter]]]] = {
    "LoRA": lambda dtype: (
        {"up": noise(48, 4, seed=1, size=0.01, dtype=dtype), "down": noise(4, 40, seed=2, dtype=dtype)},
        lora.read,
    ),
    "LoHa": lambda dtype: (
        {
            slot: noise(*shape, seed=seed, size=0.1, dtype=dtype)
            for seed, (slot, shape) in enumerate(
                {"w1_a": (48, 4), "w1_b": (4, 40), "w2_a": (48, 4), "w2_b": (4, 40)}.items()
            )
        },
        loha.read,
    ),
    "LoKr": lambda dtype: (
        {"w1": noise(6, 5, seed=1, size=0.1, dtype=dtype), "w2": noise(8, 8, seed=2, size=0.1, dtype=dtype)},
        lokr.read,
    ),
    "GLoRA": lambda dtype: (
        {
            slot: noise(*shape, seed=seed, size=0.05, dtype=dtype)
            for seed, (slot, shape) in enumerate({"a1": (40, 4), "a2": (4, 40), "b1": (48, 4), "b2": (4, 40)}.items())
        },
        glora.read,
    ),
}


def reference(weight: Tensor, delta: Tensor, magnitude: Tensor, *, rows: bool, epsilon: float) -> Tensor:
    merged = weight.double() + delta.double()
    result = torch.empty_like(merged)
    for index in range(merged.shape[0] if rows else merged.shape[1]):
        part = merged[index] if rows else merged[:, index]
        turned = part * float(magnitude.flatten()[index]) / (part.square().sum().sqrt() + epsilon)
        if rows:
            result[index] = turned
        else:
            result[:, index] = turned
    return result - weight.double()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("name", BASES)
def test_update(name: str, rows: bool, dtype: torch.dtype) -> None:
    parts, read_base = BASES[name](dtype)
    weight = noise(48, 40, seed=9, size=0.05)
    norm = weight.norm(dim=1 if rows else 0, keepdim=True)
    magnitude = (norm * (1 + noise(*norm.shape, seed=8, size=0.01))).to(torch.bfloat16)
    adapter = read(name, parts | {"magnitude": magnitude}, 2.0)
    assert isinstance(adapter, DoRA)
    delta = read_base(parts, 2.0).update(weight.double())
    expected = reference(weight, delta, magnitude, rows=rows, epsilon=torch.finfo(torch.float32).eps)
    assert apart(adapter.update(weight), expected) < LIMIT


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...], rows: bool) -> None:
    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    weight = noise(*shape, seed=9, size=0.05)
    parts = {"up": noise(out, 4, *ones, seed=1, size=0.001), "down": noise(4, inner, *kernel, seed=2)}
    width = out if rows else inner
    magnitude = 0.3 + noise(*((width, 1) if rows else (1, width)), *ones, seed=3, size=0.01)
    delta = lora.read(parts, None).update(weight.double())
    expected = reference(weight, delta, magnitude, rows=rows, epsilon=2.0**-23)
    assert apart(read("LoRA", parts | {"magnitude": magnitude}, None).update(weight), expected) < LIMIT


@pytest.mark.parametrize("shape", SHAPES)
def test_peft_has_one_norm_per_row_whatever_its_shape(shape: tuple[int, ...]) -> None:
    """`[out]` for linear layers, `[1, out, 1, 1]` for convolutions; no epsilon."""
    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    weight = noise(*shape, seed=9, size=1e-6)  # so small that an epsilon would show
    parts = {"up": noise(out, 4, *ones, seed=1, size=1e-8), "down": noise(4, inner, *kernel, seed=2)}
    magnitude = noise(*((1, out, *ones) if kernel else (out,)), seed=3, size=1e-5).abs()
    delta = lora.read(parts, None).update(weight.double())
    expected = reference(weight, delta, magnitude, rows=True, epsilon=0.0)
    assert apart(read("LoRA", parts | {"magnitude_vector": magnitude}, None).update(weight), expected) < LIMIT


@pytest.mark.parametrize("rows", [True, False])
def test_a_small_update_keeps_its_digits(rows: bool) -> None:
    """Where the magnitude is that of W and ΔW is a millionth of it, W' − W would lose half of its digits."""
    weight = noise(64, 48, seed=9)
    parts = {"up": noise(64, 4, seed=1, size=1e-6), "down": noise(4, 48, seed=2)}
    magnitude = weight.double().norm(dim=1 if rows else 0, keepdim=True).float()
    delta = lora.read(parts, None).update(weight.double())
    expected = reference(weight, delta, magnitude, rows=rows, epsilon=2.0**-23)
    update = read("LoRA", parts | {"magnitude": magnitude}, None).update(weight)
    assert apart(update, expected) < LIMIT
    merged = weight + delta.float()
    difference = merged * (magnitude / merged.norm(dim=1 if rows else 0, keepdim=True)) - weight
    assert apart(difference, expected) > 1e-3


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("chunk", [1, 100, 1 << 22])
def test_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch, chunk: int, rows: bool) -> None:
    weight = noise(24, 16, 3, 3, seed=9)
    parts = {"up": noise(24, 4, 1, 1, seed=1), "down": noise(4, 16, 3, 3, seed=2)}
    parts["magnitude"] = noise(*((24, 1, 1, 1) if rows else (1, 16, 1, 1)), seed=3)
    whole = read("LoRA", parts, None).update(weight)
    monkeypatch.setattr(dora, "_CHUNK", chunk)
    assert apart(read("LoRA", parts, None).update(weight), whole.double()) < 1e-7


def test_a_row_of_nothing_stays_nothing() -> None:
    weight = noise(8, 6)
    weight[3] = 0
    parts = {"up": noise(8, 2, seed=1), "down": noise(2, 6, seed=2)}
    parts["up"][3] = 0
    update = read("LoRA", parts | {"magnitude_vector": torch.ones(8)}, None).update(weight)
    assert torch.isfinite(update).all()
    assert not update[3].any()


@pytest.mark.parametrize("slot", ["magnitude", "magnitude_vector"])
def test_a_magnitude_of_another_width_is_refused_in_words(slot: str) -> None:
    parts = {"up": noise(8, 2), "down": noise(2, 6), slot: torch.ones(7)}
    with pytest.raises(ValueError, match=r"magnitude of shape \[7\] cannot scale a weight of \[8, 6\]"):
        read("LoRA", parts, None).update(noise(8, 6))
