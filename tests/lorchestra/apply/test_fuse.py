"""Many LoRAs on a weight in one pass: as exact as the weight's dtype allows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.algorithm_files import CONVOLUTION, KINDS, MATRIX, made
from support.exact import delta, same_bits, sum_of, ulp, ulps_off
from support.lora_files import factors, weight
from torch import Tensor

from lorchestra.algorithms import Adapter, read
from lorchestra.algorithms.lora import LoRA
from lorchestra.apply.fuse import Term, add_updates, padded_shape
from lorchestra.architectures.sites import Offset
from lorchestra.spelling import slots

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


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("size", [0.003, 0.03], ids=["10 %", "100 %"])
def test_fp32_products_are_off_by_a_roundoff_for_each(kind: str, size: float) -> None:
    """(R + 3) · 2⁻²⁴ of the sum of all magnitudes, and for a Tucker core its own products; as the module promises."""
    shape, tucker = SHAPES[kind]
    start = weight(shape)
    ranks = (16, 4, 1)
    updates = [
        (0.7 - number, factors(shape, rank, seed=number, size=size, tucker=tucker)) for number, rank in enumerate(ranks)
    ]
    magnitudes = [(abs(strength), {slot: half.abs() for slot, half in parts.items()}) for strength, parts in updates]
    result = start.clone()
    add_updates(result, [(None, [term(*update) for update in updates])], exact=False)
    error = (result.double() - sum_of(start, updates)).abs()
    rounded = sum(ranks) + 3 + (max(ranks) + 1 if tucker else 0)
    assert (error <= rounded * 2.0**-24 * sum_of(start.abs(), magnitudes)).all()


@pytest.mark.parametrize("count", [2, 8])
def test_fp32_products_are_nearer_than_a_chain_of_loaders(count: int) -> None:
    """At the strengths of most LoRAs, each a tenth of the weight: the weight is rounded once, and not for each."""
    start = weight((200, 160))
    updates = [(0.7 + number / 50, factors((200, 160), 16, seed=number, size=0.003)) for number in range(count)]
    result, chain = start.clone(), start.clone()
    add_updates(result, [(None, [term(*update) for update in updates])], exact=False)
    for strength, parts in updates:
        chain += strength * (parts["up"] @ parts["down"])
    exact = sum_of(start, updates)
    assert (result.double() - exact).abs().mean() < 0.97 * (chain.double() - exact).abs().mean()


def test_many_loras_of_high_rank() -> None:
    start = weight((64, 48), dtype=torch.bfloat16)
    updates = [((-1) ** n * 0.3, factors((64, 48), 128, seed=n, size=0.02)) for n in range(40)]
    assert ulps_off(added(start, updates), sum_of(start, updates)) <= 0.51


@pytest.mark.parametrize("swapped", [False, True])
def test_rows_of_a_term(swapped: bool) -> None:
    parts = factors((20, 10), 4)
    whole = Term(LoRA(parts["up"], parts["down"], None, 0.5), -2.0, swapped)
    part = whole.rows(5, 8)
    assert isinstance(part.adapter, LoRA)
    assert (part.weight, part.adapter.scale, part.swapped) == (-2.0, 0.5, False)
    up = torch.cat([parts["up"][10:], parts["up"][:10]]) if swapped else parts["up"]
    assert torch.equal(part.adapter.up, up[5:13])
    assert part.adapter.down is parts["down"]


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
    monkeypatch.setattr("lorchestra.apply.fuse._CHUNK", 1000)
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
    monkeypatch.setattr("lorchestra.apply.fuse._CHUNK", 1)
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


def adapter(kind: str, shape: tuple[int, ...], seed: int = 0) -> Adapter:
    """As it is read from a file."""
    parts: dict[str, Tensor] = {}
    for end, tensor in made(kind, shape, seed).items():
        found = slots.split(f"x{end}")
        parts[found[2] if found else end.removeprefix(".")] = tensor
    alpha = parts.pop("alpha", None)
    return read(KINDS[kind].algorithm, parts, None if alpha is None else float(alpha))


Mix = list[tuple[str, int, float, Offset | None, bool]]
"""(kind, seed, strength, part of the weight, whether its rows are swapped)."""


def mixed(start: Tensor, mix: Mix, *, exact: bool = True) -> Tensor:
    """The weight with all of them added, in fp32."""
    parts: dict[Offset | None, list[Term]] = {}
    for kind, seed, strength, offset, swapped in mix:
        shape = tuple(start.shape if offset is None else start.narrow(*offset).shape)
        parts.setdefault(offset, []).append(Term(adapter(kind, shape, seed), strength, swapped))
    result = start.clone()
    assert add_updates(result, list(parts.items()), exact=exact) is result
    return result


def mixed_reference(start: Tensor, mix: Mix) -> Tensor:
    """W + Σ s·Δ(W) in fp64; every Δ from the original weight."""
    total = start.double()
    for kind, seed, strength, offset, swapped in mix:
        part = start if offset is None else start.narrow(*offset)
        half = part.shape[0] // 2
        seen = torch.cat([part[half:], part[:half]]) if swapped else part
        delta = KINDS[kind].delta(made(kind, tuple(part.shape), seed), seen)
        change = strength * (torch.cat([delta[half:], delta[:half]]) if swapped else delta)
        (total if offset is None else total.narrow(*offset)).add_(change)
    return total


def is_close(result: Tensor, reference: Tensor) -> bool:
    return float((result.double() - reference).norm() / reference.norm()) < 1e-6


CASES = [(kind, (48, 40)) for kind in MATRIX] + [(kind, (16, 12, 3, 3)) for kind in CONVOLUTION]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_every_algorithm_alone(kind: str, shape: tuple[int, ...], swapped: bool) -> None:
    start, mix = weight(shape), [(kind, 1, -0.7, None, swapped)]
    reference = mixed_reference(start, mix)
    assert ulps_off(mixed(start, mix), reference) <= 0.51
    assert is_close(mixed(start, mix, exact=False), reference)
    assert (reference - start).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(48, 40), (16, 12, 3, 3)])
def test_all_algorithms_on_one_weight(shape: tuple[int, ...]) -> None:
    """Each one's update is that of the original weight, whatever stands before it."""
    kinds = MATRIX if len(shape) == 2 else CONVOLUTION
    mix: Mix = [(kind, seed, 0.3 - 0.1 * seed, None, False) for seed, kind in enumerate(kinds)]
    start = weight(shape)
    reference = mixed_reference(start, mix)
    assert ulps_off(mixed(start, mix), reference) <= 0.51
    assert is_close(mixed(start, mix, exact=False), reference)
    one_by_one = start.double()
    for item in mix:
        one_by_one = one_by_one + mixed_reference(one_by_one, [item]) - one_by_one
    assert not is_close(one_by_one, reference)


QKV = (None, (0, 0, 16), (0, 16, 16), (0, 32, 16), (0, 8, 16), (1, 0, 8))
"""The whole, thirds, a part across two thirds, and some columns."""


@st.composite
def mixes(draw: st.DrawFn) -> Mix:
    item = st.tuples(
        st.sampled_from(MATRIX), st.integers(0, 3), st.floats(-2, 2), st.sampled_from(QKV), st.booleans()
    )  # fmt: skip
    return draw(st.lists(item, max_size=5))


@given(mixes())
@settings(max_examples=60, deadline=None)
def test_any_mix_on_the_whole_and_on_parts(mix: Mix) -> None:
    start = weight((48, 40))
    reference = mixed_reference(start, mix)
    exact = mixed(start, mix)
    # fp64 itself is wrong by more than an ulp of fp32 where large updates cancel to nothing
    error = (exact.double() - reference).abs()
    assert (error <= 0.51 * ulp(reference, torch.float32) + 1e-14 * (1 + reference.abs().max())).all()
    assert is_close(mixed(start, mix, exact=False), reference)
    assert same_bits(mixed(start, mix), exact)


def test_plain_loras_on_the_whole_and_on_its_parts_are_rounded_once() -> None:
    start = weight((48, 40))
    mix: Mix = [("LoRA", seed, 0.7, offset, False) for seed, offset in enumerate((None, (0, 0, 16), (0, 16, 16)))]
    assert ulps_off(mixed(start, mix), mixed_reference(start, mix)) <= 0.51
    assert ulps_off(mixed(start, mix[1:]), mixed_reference(start, mix[1:])) <= 0.51


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", [(64,), (7,)])
def test_biases(shape: tuple[int, ...], exact: bool) -> None:
    start = weight(shape)
    result = start.clone()
    terms = [Term(read("bias difference", {"diff_b": weight(shape, seed)}, None), seed / 2) for seed in (1, 2)]
    terms.append(Term(read("weight replacement", {"value": weight(shape, 3)}, None), 0.25))
    add_updates(result, [(None, terms)], exact=exact)
    reference = start.double() + weight(shape, 1).double() / 2 + weight(shape, 2).double()
    reference += (weight(shape, 3).double() - start.double()) / 4
    assert is_close(result, reference)
    assert ulps_off(result, reference) <= 0.51 or not exact


@pytest.mark.parametrize("kind", ["LoRA", "DoRA by row", "LoKr"])
@pytest.mark.parametrize("name", ["transposed", "every second row", "a part of the columns", "channels last"])
def test_every_algorithm_changes_a_weight_that_lies_otherwise_in_memory(kind: str, name: str) -> None:
    around = weight((32, 24, 3, 3))
    views = {
        "channels last": around.to(memory_format=torch.channels_last),
        "transposed": around.permute(1, 0, 2, 3),
        "every second row": around[::2],
        "a part of the columns": around.narrow(1, 4, 8),
    }
    view = views[name]
    before = view.clone(memory_format=torch.contiguous_format)
    shape = tuple(view.shape)
    for exact in (True, False):
        view.copy_(before)
        add_updates(view, [(None, [Term(adapter(kind, shape), 0.5)])], exact=exact)
        assert is_close(view, mixed_reference(before, [(kind, 0, 0.5, None, False)]))


@pytest.mark.parametrize("exact", [True, False])
def test_a_lora_that_is_larger_than_the_weight_makes_it_grow(exact: bool) -> None:
    """Zeros first; what others change is the weight that was there, and two may ask for different sizes."""
    start, small, large = weight((12, 6)), factors((12, 8), 3, seed=1), factors((12, 10), 2, seed=2)
    plain, turned = factors((12, 6), 2, seed=3), adapter("DoRA by row", (12, 6))
    terms = [
        Term(LoRA(small["up"], small["down"], None, 0.5, (12, 8)), 0.7),
        Term(LoRA(plain["up"], plain["down"], None, 1.0), -0.4),
        Term(LoRA(large["up"], large["down"], None, 1.0, (12, 10)), 0.2),
        Term(turned, 0.3),
    ]
    part = Term(LoRA(plain["up"][:4], plain["down"], None, 1.0), 0.1)
    parts = [(None, terms), ((0, 4, 4), [part])]
    before = start.clone()
    result = add_updates(start, parts, exact=exact)
    assert padded_shape(parts) == result.shape == (12, 10)
    assert result.dtype == torch.float32
    assert same_bits(start, before)
    reference = torch.zeros(12, 10, dtype=torch.float64)
    reference[:, :6] = mixed_reference(start, [("DoRA by row", 0, 0.3, None, False)]) - 0.4 * delta(plain, (12, 6))
    reference[:, :8] += 0.35 * delta(small, (12, 8))
    reference += 0.2 * delta(large, (12, 10))
    reference[4:8, :6] += 0.1 * delta(plain, (12, 6))[:4]
    assert is_close(result, reference)
    assert ulps_off(result, reference) <= 0.51 or not exact


def test_a_lora_that_pads_to_the_shape_that_is_there_is_a_plain_one() -> None:
    start, parts = weight((12, 6)), factors((12, 6), 3)
    results = [
        add_updates(start.clone(), [(None, [Term(LoRA(parts["up"], parts["down"], None, 1.0, shape), 0.7)])])
        for shape in (None, (12, 6))
    ]
    assert same_bits(*results)


def test_what_does_not_fit_is_refused_in_words() -> None:
    start = weight((12, 6))
    large = Term(LoRA(torch.ones(12, 1), torch.ones(1, 8), None, 1.0, (12, 8)), 1.0)
    with pytest.raises(ValueError, match=r"pads the weight to \[12, 8\] cannot change this one or a part of it"):
        add_updates(start, [((0, 0, 6), [large])])
    flat = Term(LoRA(torch.ones(12, 1), torch.ones(1, 8), None, 1.0, (12, 2, 2, 2)), 1.0)
    with pytest.raises(ValueError, match=r"pad one weight to \[12, 8\] and \[12, 2, 2, 2\]"):
        add_updates(start, [(None, [large, flat])])
    for exact in (True, False):
        with pytest.raises(ValueError, match=r"LoRA made for shape \[8, 6\] cannot change a weight of \[12, 6\]"):
            add_updates(start, [(None, [term(1.0, factors((8, 6), 2))])], exact=exact)
        with pytest.raises(ValueError, match=r"LoRA made for shape \[12, 2, 3, 3\] cannot change a weight of"):
            add_updates(start, [(None, [term(1.0, factors((12, 2, 3, 3), 2, tucker=True))])], exact=exact)
    with pytest.raises(ValueError, match="OFT"):
        add_updates(start, [(None, [Term(adapter("OFT", (16, 6)), 1.0)])])
    assert same_bits(start, weight((12, 6)))
