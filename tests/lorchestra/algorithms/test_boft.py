"""BOFT of rows (LyCORIS) and of columns (PEFT, kohya) against dense matrices with written-out permutations in fp64."""

from __future__ import annotations

import pytest
import torch
from support.closeness import DTYPES, LIMIT, apart, noise
from torch import Tensor

from lorchestra.algorithms import BOFT, read

SETUPS = [(1, 6, 4), (2, 6, 4), (2, 4, 6), (3, 4, 4), (3, 8, 2)]
"""Stages, blocks, width of a block."""


def permutation(source: list[int]) -> Tensor:
    """The matrix P with (P·x)[i] = x[source[i]]."""
    matrix = torch.zeros(len(source), len(source), dtype=torch.float64)
    for row, column in enumerate(source):
        matrix[row, column] = 1
    return matrix


def cayley(q: Tensor) -> Tensor:
    eye = torch.eye(q.shape[-1], dtype=torch.float64)
    return torch.block_diag(*[(eye + block) @ torch.linalg.inv(eye - block) for block in q])


def lycoris(blocks: Tensor) -> Tensor:
    """R of all stages: row 2j + a of a group of 2k rows is made of row a·k + j, k half as wide as the stage reaches."""
    q = blocks.double() - blocks.double().mT
    stages, count, width = q.shape[:3]
    total = torch.eye(count * width, dtype=torch.float64)
    for stage in range(stages):
        k = 2**stage * width // 2
        source = [start + a * k + j for start in range(0, count * width, 2 * k) for j in range(k) for a in (0, 1)]
        p = permutation(source)
        total = p.T @ cayley(q[stage]) @ p @ total
    return total


def peft(blocks: Tensor) -> Tensor:
    """R of all stages: half blocks of even number first, then those of odd number, within 2^stage blocks."""
    q = (blocks.double().mT - blocks.double()) / 2
    stages, count, width = q.shape[:3]
    total = torch.eye(count * width, dtype=torch.float64)
    for stage in range(stages):
        half, reach = width // 2, width * 2**stage
        source = list(range(count * width))
        if stage:
            chunks = [*range(0, reach // half, 2), *range(1, reach // half, 2)]
            source = [
                start + chunk * half + j
                for start in range(0, count * width, reach)
                for chunk in chunks
                for j in range(half)
            ]
        p = permutation(source)
        total = p @ cayley(q[stage]) @ p.T @ total
    return total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(), (1, 1), (3, 3)])
@pytest.mark.parametrize("setup", SETUPS)
def test_rows(setup: tuple[int, int, int], kernel: tuple[int, ...], dtype: torch.dtype) -> None:
    """Without alpha, at which ComfyUI stops; with and without rescale. `oft_blocks` of four dimensions are BOFT's."""
    stages, count, width = setup
    out = count * width
    blocks = noise(stages, count, width, width, size=0.05, dtype=dtype)
    weight = noise(out, 12, *kernel, seed=1, size=0.05)
    turned = (lycoris(blocks) @ weight.double().flatten(1)).reshape(weight.shape)
    adapter = read("OFT", {"blocks": blocks}, None)
    assert isinstance(adapter, BOFT)
    assert apart(adapter.update(weight), turned - weight.double()) < LIMIT
    factors = 1 + noise(out, 1, *[1] * len(kernel), seed=2, size=0.01)
    adapter = read("BOFT", {"blocks": blocks, "rescale": factors}, None)
    assert apart(adapter.update(weight), turned * factors.double() - weight.double()) < LIMIT


@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_alpha_limits_the_norm(alpha: float) -> None:
    blocks, weight = noise(2, 6, 4, 4, size=0.1), noise(24, 12, seed=1)
    q = blocks.double() - blocks.double().mT
    shrunk = blocks.double() * min(1.0, alpha * 24 / float(q.norm()))
    expected = lycoris(shrunk) @ weight.double() - weight.double()
    assert apart(read("BOFT", {"blocks": blocks}, alpha).update(weight), expected) < LIMIT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(), (1, 1), (3, 3)])
@pytest.mark.parametrize("setup", [*SETUPS, (1, 8, 3)])
def test_columns(setup: tuple[int, int, int], kernel: tuple[int, ...], dtype: torch.dtype) -> None:
    stages, count, width = setup
    count *= torch.Size(kernel).numel()
    blocks = noise(stages, count, width, width, size=0.05, dtype=dtype)
    weight = noise(10, setup[1] * width, *kernel, seed=1, size=0.05)
    factors = 1 + noise(*((1, 10) if kernel else (10, 1)), seed=2, size=0.01)  # so PEFT has them
    turned = (weight.double().flatten(1) @ peft(blocks).T) * factors.double().reshape(-1, 1)
    adapter = read("BOFT", {"rotation": blocks, "scale": factors}, None)
    assert apart(adapter.update(weight), turned.reshape(weight.shape) - weight.double()) < LIMIT


@pytest.mark.parametrize("slot", ["blocks", "rotation"])
def test_another_width_is_refused_in_words(slot: str) -> None:
    with pytest.raises(ValueError, match="BOFT's blocks of shape"):
        read("BOFT", {slot: noise(1, 6, 4, 4)}, None).update(noise(20, 20))
