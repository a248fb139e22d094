"""Many LoRAs on a weight in one pass: as exact as the weight's dtype allows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
import torch
from exact import delta, same_bits, sum_of, ulp, ulps_off
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_files import factors, weight
from torch import Tensor

from lorchestra.algorithms.lora import LoRA
from lorchestra.fuse import Term, add_updates

Parts = Mapping[str, Tensor]


def term(strength: float, parts: Parts) -> Term:
    scale = float(parts["alpha"].double()) / parts["down"].shape[0] if "alpha" in parts else 1.0
    return Term(LoRA(parts["up"], parts["down"], parts.get("mid"), scale), strength)


def added(start: Tensor, updates: Sequence[tuple[float, Parts]]) -> Tensor:
    """The weight with the updates, rounded to its dtype from fp32 as ComfyUI and bake do."""
    wide = start.to(torch.float64 if start.dtype == torch.float64 else torch.float32, copy=True)
    assert add_updates(wide, [(None, [term(*update) for update in updates])]) is wide
    return wide.to(start.dtype)


SHAPES = {
    "linear": ((160, 120), False),
    "1x1": ((160, 120, 1, 1), False),
    "LoCon": ((96, 40, 3, 3), False),
    "Tucker": ((96, 40, 3, 3), True),
    "one row": ((1, 500), False),
    "one column": ((500, 1), False),
}
WEIGHT_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LORA_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("size", [0.0003, 0.003, 0.03], ids=["1 %", "10 %", "100 %"])
def test_within_half_a_unit_of_fp64(kind: str, dtype: torch.dtype, size: float) -> None:
    """Updates as large as the weight cancel it here and there, which is where fp32 sums go wrong by whole units."""
    shape, tucker = SHAPES[kind]
    start = weight(shape, dtype=dtype)
    updates = [
        (1.0, factors(shape, 16, seed=1, size=size, tucker=tucker)),
        (-0.7, factors(shape, 4, seed=2, size=size, alpha=2, tucker=tucker, dtype=torch.float16)),
        (0.4, factors(shape, 1, seed=3, size=size)),
    ]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


@pytest.mark.parametrize("dtype", LORA_DTYPES, ids=str)
@pytest.mark.parametrize("alpha", [None, 0.0, 1.0, 3.0, 4.0])
def test_dtypes_and_alphas_of_files(dtype: torch.dtype, alpha: float | None) -> None:
    start = weight((90, 70), dtype=torch.float16)
    updates = [(0.75, factors((90, 70), 4, seed=1, size=0.25, alpha=alpha, dtype=dtype))]
    result = added(start, updates)
    assert ulps_off(result, sum_of(start, updates)) <= 0.51
    assert torch.equal(result, start) == (alpha == 0)


def test_files_of_different_dtypes_on_one_weight() -> None:
    start = weight((90, 70))
    updates = [(0.5, factors((90, 70), 4, seed=n, size=0.1, dtype=dtype)) for n, dtype in enumerate(LORA_DTYPES)]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_weight_that_is_cancelled_whole(dtype: torch.dtype) -> None:
    """W is the rounded product itself, so that W - up @ down is nothing but W's rounding error.

    In fp32 that would be less than what fp64 sums can tell; there fractions are the judge, below.
    """
    parts = factors((200, 150), 8, seed=5)
    start = delta(parts, (200, 150)).to(dtype)
    updates = [(-1.0, parts)]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


def test_many_loras_of_high_rank() -> None:
    start = weight((64, 48), dtype=torch.bfloat16)
    updates = [((-1) ** n * 0.3, factors((64, 48), 128, seed=n, size=0.02)) for n in range(40)]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


FLOATS = st.floats(-4, 4, width=16)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, list[tuple[float, dict[str, Tensor]]]]:
    out, inner = draw(st.integers(1, 4)), draw(st.integers(1, 4))

    def tensor(*shape: int) -> Tensor:
        count = shape[0] * shape[1]
        return torch.tensor(draw(st.lists(FLOATS, min_size=count, max_size=count))).reshape(shape).half()

    updates = []
    for rank in draw(st.lists(st.integers(1, 3), max_size=3)):
        parts = {"up": tensor(out, rank), "down": tensor(rank, inner)}
        if draw(st.booleans()):
            parts["alpha"] = torch.tensor(draw(FLOATS)).half()
        updates.append((draw(st.floats(-100, 100)), parts))
    return tensor(out, inner).float(), updates


@given(problems())
@settings(max_examples=60)
def test_against_rational_numbers(problem: tuple[Tensor, list[tuple[float, dict[str, Tensor]]]]) -> None:
    """Exact fractions are the judge: half a unit of fp32, and fp64's share of what is summed."""
    start, updates = problem
    result = added(start, updates)
    for row, column in itertools.product(range(start.shape[0]), range(start.shape[1])):
        summands = [Fraction(float(start[row, column]))]
        for strength, parts in updates:
            rank = parts["down"].shape[0]
            scale = Fraction(strength) * (Fraction(float(parts["alpha"])) / rank if "alpha" in parts else 1)
            summands += [
                scale * Fraction(float(parts["up"][row, r])) * Fraction(float(parts["down"][r, column]))
                for r in range(rank)
            ]
        exact = sum(summands, Fraction(0))
        unit = Fraction(float(ulp(torch.tensor(float(exact), dtype=torch.float64), torch.float32)))
        allowed = unit / 2 + sum(map(abs, summands)) / 2**48
        assert abs(Fraction(float(result[row, column])) - exact) <= allowed


def test_chunks_and_pieces_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    start = weight((300, 64))
    updates = [(0.8, factors((300, 64), 16, seed=1)), (-1.3, factors((300, 64), 8, seed=2, alpha=4))]
    terms = [term(*update) for update in updates]
    whole = added(start, updates)
    monkeypatch.setattr("lorchestra.fuse._CHUNK", 1000)
    assert same_bits(added(start, updates), whole)
    pieces = []
    for first in range(0, 300, 77):
        piece = start[first : first + 77].clone()
        add_updates(piece, [(None, [item.rows(first, piece.shape[0]) for item in terms])])
        pieces.append(piece)
    assert same_bits(torch.cat(pieces), whole)


def test_threads_make_no_difference_to_exactness() -> None:
    start = weight((700, 600), dtype=torch.float16)
    updates = [(0.8, factors((700, 600), 16, seed=1)), (-0.3, factors((700, 600), 8, seed=2, alpha=4))]
    reference = sum_of(start, updates)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert ulps_off(added(start, updates), reference) <= 0.51
    finally:
        torch.set_num_threads(before)


def test_a_chunk_is_never_less_than_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorchestra.fuse._CHUNK", 1)
    start = weight((5, 64))
    updates = [(0.8, factors((5, 64), 2))]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


@pytest.mark.parametrize("name", ["channels last", "transposed", "every second row", "a part of the columns", "a view"])
def test_weights_that_lie_otherwise_in_memory_are_changed_in_place(name: str) -> None:
    around = weight((40, 24, 3, 3))
    views = {
        "channels last": around.to(memory_format=torch.channels_last),
        "transposed": around.permute(1, 0, 2, 3),
        "every second row": around[::2],
        "a part of the columns": around.narrow(1, 4, 8),
        "a view": around.flatten(1)[:, 5:50],
    }
    view = views[name]
    before = view.clone(memory_format=torch.contiguous_format)
    updates = [(0.9, factors(tuple(view.shape), 4, seed=3))]
    add_updates(view, [(None, [term(*update) for update in updates])])
    assert ulps_off(view.contiguous(), sum_of(before, updates)) <= 0.51


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_the_file_s_tensors_stay_as_they_are(dtype: torch.dtype, count: int) -> None:
    """A LoRA in the work's own dtype must be copied before the factors are multiplied in."""
    loras = [factors((20, 10), 4, seed=seed, dtype=dtype) for seed in range(count)]
    before = [{part: tensor.clone() for part, tensor in parts.items()} for parts in loras]
    for start in (weight((20, 10)), weight((20, 10)).double()):
        add_updates(start, [(None, [term(3.0, parts) for parts in loras])])
    for parts, copy in zip(loras, before, strict=True):
        assert all(same_bits(parts[part], copy[part]) for part in parts)


def test_no_terms_change_nothing() -> None:
    start = weight((4, 4))
    before = start.clone()
    add_updates(start, [])
    add_updates(start, [(None, []), ((0, 1, 2), [])])
    assert same_bits(start, before)


def test_tensors_that_do_not_lie_in_one_piece() -> None:
    parts = factors((20, 10), 4)
    turned = {"up": parts["up"].T.contiguous().T, "down": parts["down"].repeat(1, 2)[:, ::2]}
    parts["down"] = turned["down"].contiguous()
    start = weight((20, 10))
    assert same_bits(added(start, [(1.0, turned)]), added(start, [(1.0, parts)]))
