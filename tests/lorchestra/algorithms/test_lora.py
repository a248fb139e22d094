"""LoRA's shapes and products, for linear layers, convolutions and Tucker cores."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, SHAPES, apart, noise
from support.exact import delta
from support.lora_files import factors

from lorchestra.algorithms.base import Settings
from lorchestra.algorithms.lora import LoRA, down_matrix, read, up_matrix
from lorchestra.spelling.modules import Module

Shapes = dict[str, tuple[int, ...]]


def module(shapes: Shapes) -> Module:
    return Module("x", "model", "x", "LoRA", {slot: f"x.{slot}" for slot in shapes}, shapes)


@pytest.mark.parametrize(
    "shapes",
    [
        {"up": (20, 4), "down": (4, 10)},
        {"up": (20, 400), "down": (400, 10)},
        {"up": (1, 1), "down": (1, 1)},
        {"up": (20, 4, 1, 1), "down": (4, 10, 3, 3)},
        {"up": (20, 4), "down": (4, 10, 3, 3)},
        {"up": (20, 4, 1, 1, 1), "down": (4, 10, 3, 1, 1)},
        {"up": (20, 4, 1, 1), "down": (4, 10, 1, 1), "mid": (4, 4, 3, 3)},
        {"up": (20, 4), "down": (6, 10), "mid": (4, 6, 3, 3)},
        {"up": (20, 4), "down": (4, 10), "alpha": ()},
    ],
)
def test_sound_shapes(shapes: Shapes) -> None:
    assert module(shapes).layout.problem is None


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"up": (20, 4)}, "the up half is there but the down half is missing"),
        ({"down": (4, 10)}, "the down half is there but the up half is missing"),
        ({"up": ()}, "the up half is there but the down half is missing"),
        ({"mid": (4, 4, 3, 3)}, "a core is there but both halves are missing"),
        ({"up": (20, 4), "down": (5, 10)}, "the up half has rank 4, the down half has rank 5"),
        ({"up": (4, 20), "down": (10, 4)}, "the up half has rank 20, the down half has rank 10"),
        ({"up": (20,), "down": (4, 10)}, "both need two dimensions"),
        ({"up": (20, 4), "down": (4,)}, "both need two dimensions"),
        ({"up": (), "down": ()}, "both need two dimensions"),
        ({"up": (20, 4, 3, 3), "down": (4, 10, 3, 3)}, "must be one wide beyond its second dimension"),
        ({"up": (20, 0), "down": (0, 10)}, "hold nothing"),
        ({"up": (0, 4), "down": (4, 10)}, "hold nothing"),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 3, 3), "mid": (4, 4, 3, 3)}, "with a core it must be one wide"),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 1, 1), "mid": (4, 5, 3, 3)}, "must begin with [4, 4]"),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 1, 1), "mid": (5, 4, 3, 3)}, "must begin with [4, 4]"),
        ({"up": (20, 4), "down": (4, 10), "mid": (4, 4)}, "must begin with [4, 4]"),
    ],
)
def test_shapes_that_contradict_each_other(shapes: Shapes, reason: str) -> None:
    found = module(shapes).layout.problem
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    ("shape", "tucker"),
    [
        ((20, 10), False),
        ((20, 10, 1, 1), False),
        ((20, 10, 3, 3), False),
        ((20, 10, 3, 3), True),
        ((6, 5, 3, 2, 1), True),
    ],
)
def test_up_times_down_is_the_update(shape: tuple[int, ...], tucker: bool) -> None:
    parts = factors(shape, 4, tucker=tucker)
    lora = LoRA(parts["up"], parts["down"], parts.get("mid"), 1.0)
    product = up_matrix(lora).double() @ down_matrix(lora, torch.float64)
    torch.testing.assert_close(product.reshape(shape), delta(parts, shape), rtol=1e-12, atol=1e-12)


def test_a_core_between_halves_of_two_ranks() -> None:
    """LyCORIS allows two ranks: mid[p, q, …] joins p columns of up with q rows of down."""
    generator = torch.Generator().manual_seed(0)
    up, down, mid = (torch.randn(shape, generator=generator) for shape in ((7, 2, 1, 1), (3, 5, 1, 1), (2, 3, 2, 4)))
    lora = LoRA(up, down, mid, 1.0)
    product = (up_matrix(lora).double() @ down_matrix(lora, torch.float64)).reshape(7, 5, 2, 4)
    for o, i, y, x in ((0, 0, 0, 0), (6, 4, 1, 3), (3, 2, 0, 1)):
        expected = sum(
            float(mid[p, q, y, x]) * float(up[o, p, 0, 0]) * float(down[q, i, 0, 0]) for p in range(2) for q in range(3)
        )
        assert abs(float(product[o, i, y, x]) - expected) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "tucker"), [*((shape, False) for shape in SHAPES), (SHAPES[-1], True)])
def test_update(shape: tuple[int, ...], tucker: bool, dtype: torch.dtype) -> None:
    parts = factors(shape, 4, tucker=tucker, dtype=dtype)
    update = read(parts, 2.0).update(noise(*shape))
    assert update.dtype == torch.float32
    assert apart(update, delta(parts, shape) * 2.0 / 4) < LIMIT


def test_update_of_a_pointwise_convolution_by_a_linear_lora() -> None:
    parts = factors((20, 10), 4)
    assert apart(read(parts, None).update(noise(20, 10, 1, 1)), delta(parts, (20, 10)).reshape(20, 10, 1, 1)) < LIMIT


def test_a_scale_from_metadata_takes_the_place_of_alpha() -> None:
    parts = factors((20, 10), 4)
    assert read(parts, None).scale == 1.0
    assert read(parts, 2.0).scale == 0.5
    assert read(parts, 2.0, Settings(scale=3.0)).scale == 3.0


def test_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"LoRA made for shape \[20, 10\] cannot change a weight of \[10, 20\]"):
        read(factors((20, 10), 4), None).update(noise(10, 20))
