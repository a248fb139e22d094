"""OFT of rows (kohya, LyCORIS, early PEFT) and of columns (PEFT, OneTrainer) against dense matrices in fp64."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, apart, noise
from torch import Tensor

from lorchestra.algorithms import oft, read
from lorchestra.algorithms.base import Settings

ROWS = [(48, 40), (48, 36, 1, 1), (48, 8, 3, 3)]
COLUMNS = [(40, 48), (36, 48, 1, 1), (24, 16, 3, 3)]
EXACT = Settings(neumann_terms=0)


def rotation(q: Tensor) -> Tensor:
    """The block-diagonal matrix of the Cayley transforms of skew `[count, n, n]`."""
    eye = torch.eye(q.shape[1], dtype=torch.float64)
    return torch.block_diag(*[(eye + block) @ torch.linalg.inv(eye - block) for block in q.double()])


def skew(values: Tensor, width: int) -> Tensor:
    """Skew matrices from the numbers above their diagonals, row by row."""
    q = torch.zeros(len(values), width, width, dtype=torch.float64)
    for block, numbers in zip(q, values.double(), strict=True):
        rest = iter(numbers)
        for row in range(width):
            for column in range(row + 1, width):
                block[row, column] = next(rest)
                block[column, row] = -block[row, column]
    return q


def of_rows(r: Tensor, weight: Tensor, factors: Tensor | None = None) -> Tensor:
    turned = r.T @ weight.double().flatten(1)
    turned = turned if factors is None else turned * factors.double().reshape(-1, 1)
    return turned.reshape(weight.shape) - weight.double()


def of_columns(r: Tensor, weight: Tensor, factors: Tensor | None = None) -> Tensor:
    turned = weight.double().flatten(1) @ r.T
    turned = turned if factors is None else turned * factors.double().reshape(-1, 1)
    return turned.reshape(weight.shape) - weight.double()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("shape", ROWS)
def test_rows(shape: tuple[int, ...], rescale: bool, dtype: torch.dtype) -> None:
    blocks = noise(6, 8, 8, size=0.02, dtype=dtype)
    weight = noise(*shape, seed=1, size=0.05)
    factors = (1 + noise(48, *[1] * (len(shape) - 1), seed=2, size=0.01)).to(torch.bfloat16) if rescale else None
    parts = {"blocks": blocks} | ({"rescale": factors} if factors is not None else {})
    expected = of_rows(rotation(blocks.double() - blocks.double().mT), weight, factors)
    assert apart(read("OFT", parts, None).update(weight), expected) < LIMIT
    assert apart(read("OFT", parts, 0.0).update(weight), expected) < LIMIT  # alpha 0 is no limit in LyCORIS


@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 1.0])
def test_alpha_limits_the_norm(alpha: float) -> None:
    """‖Q‖ of all blocks together is at most alpha · rows."""
    blocks, weight = noise(6, 8, 8, size=0.05), noise(48, 40, seed=1)
    q = blocks.double() - blocks.double().mT
    q = q * min(1.0, alpha * 48 / float(q.norm()))
    assert apart(read("OFT", {"blocks": blocks}, alpha).update(weight), of_rows(rotation(q), weight)) < LIMIT


def test_lycoris_2_stored_the_rotation_itself() -> None:
    q = skew(noise(6, 28, size=0.1), 8)
    r = torch.stack([rotation(block[None]) for block in q]).float()
    weight = noise(48, 40, seed=1)
    expected = of_rows(torch.block_diag(*r.double()), weight)
    assert apart(read("OFT", {"diag": r}, None).update(weight), expected) < LIMIT


@pytest.mark.parametrize("rows", [48, 45])
@pytest.mark.parametrize("shared", [False, True])
def test_early_peft_turns_rows_beyond_the_last_one(rows: int, shared: bool) -> None:
    """PEFT up to 0.13: `[r, ⌈out/r⌉, ⌈out/r⌉]`, of whose block-diagonal matrix the upper left part is taken."""
    x, weight = noise(1 if shared else 6, 8, 8, size=0.1), noise(rows, 40, seed=1)
    q = (x.double().mT - x.double()) / 2
    r = rotation(q.expand(6, 8, 8))[:rows, :rows]
    assert apart(read("OFT", {"rotation": x}, None).update(weight), of_rows(r, weight)) < LIMIT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", COLUMNS)
def test_columns_with_the_exact_inverse(shape: tuple[int, ...], shared: bool, dtype: torch.dtype) -> None:
    """PEFT's exact transform is that of −Q."""
    weight = noise(*shape, seed=1, size=0.05)
    count = weight[0].numel() // 8
    values = noise(1 if shared else count, 28, size=0.05, dtype=dtype)
    r = rotation(-skew(values, 8).expand(count, 8, 8))
    adapter = read("OFT", {"rotation": values}, None, Settings(neumann_terms=0, is_peft=True))
    assert apart(adapter.update(weight), of_columns(r, weight)) < LIMIT


def test_neumann_series_of_five_terms() -> None:
    """PEFT's default and OneTrainer's only way: R = I + 2Q + 2Q² + 2Q³ + Q⁴."""
    values, weight = noise(6, 28, size=0.2), noise(40, 48, seed=1)
    q = torch.block_diag(*skew(values, 8))
    r = torch.eye(48, dtype=torch.float64) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q
    assert apart(read("OFT", {"rotation": values}, None).update(weight), of_columns(r, weight)) < LIMIT


@pytest.mark.parametrize("shape", COLUMNS)
def test_onetrainer_multiplies_convolutions_by_the_rotation_and_not_its_transpose(shape: tuple[int, ...]) -> None:
    weight = noise(*shape, seed=1)
    count = weight[0].numel() // 8
    values = noise(count, 28, size=0.01)
    r = rotation(skew(values, 8))
    expected = of_columns(r if len(shape) == 2 else r.T, weight)
    assert apart(read("OFT", {"rotation": values}, None).update(weight), expected) < 1e-4  # the series is cut off
    other = of_columns(r.T if len(shape) == 2 else r, weight)
    assert apart(read("OFT", {"rotation": values}, None).update(weight), other) > 1


def test_scaled_oft_divides_by_twice_the_root_of_the_width() -> None:
    values, weight = noise(6, 28, size=0.2), noise(40, 48, seed=1)
    scaled = read("OFT", {"rotation": values, "scaled": torch.tensor(True)}, None).update(weight)
    plain = read("OFT", {"rotation": values.double() / (2 * 7**0.5)}, None).update(weight)
    assert apart(scaled, plain) < LIMIT


def test_peft_0_14_has_a_factor_for_each_row() -> None:
    x, factors, weight = noise(6, 8, 8, size=0.1), 1 + noise(40, 1, size=0.1), noise(40, 48, seed=1)
    r = rotation((x.double().mT - x.double()) / 2)
    adapter = read("OFT", {"rotation": x, "scale": factors}, None)
    assert apart(adapter.update(weight), of_columns(r, weight, factors)) < LIMIT


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 6, 9])
def test_more_terms_come_closer(terms: int) -> None:
    q = skew(noise(1, 28, size=0.05), 8)
    exact = rotation(q) - torch.eye(8, dtype=torch.float64)
    error = float((oft.neumann_step(q, terms)[0] - exact).norm())
    length = float(torch.linalg.matrix_norm(q[0], 2))
    powers = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 9: 8}[terms]
    assert error < 3 * 8**0.5 * length**powers


@pytest.mark.parametrize(
    "parts",
    [
        {"blocks": noise(6, 8, 8)},
        {"diag": noise(6, 8, 8)},
        {"rotation": noise(2, 8, 8)},
        {"rotation": noise(6, 28)},
        {"rotation": noise(1, 28)},
        {"blocks": noise(5, 8, 8), "rescale": noise(48)},
    ],
)
def test_another_width_is_refused_in_words(parts: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"cannot (turn|scale) a weight of"):
        read("OFT", parts, None).update(noise(40, 39))


def test_the_strength_is_a_factor() -> None:
    """R₍s₎ = I + s(R − I) as in LyCORIS: s times what `update` gives, and no other power of s."""
    blocks, weight = noise(6, 8, 8, size=0.05), noise(48, 40, seed=1).double()
    r = rotation(blocks.double() - blocks.double().mT)
    half = 0.5 * r + 0.5 * torch.eye(48, dtype=torch.float64)
    assert apart(0.5 * read("OFT", {"blocks": blocks}, None).update(weight), of_rows(half, weight)) < 1e-12
