"""What the shapes of a module's tensors say, for every algorithm and every way to store it."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from lorchestra.algorithms import ALGORITHMS
from lorchestra.spelling.layouts import Layout, is_old_glora, layout, triangle_width

Shapes = dict[str, tuple[int, ...]]

SOUND: list[tuple[str, Shapes, tuple[int | None, tuple[int, ...] | None, int | None]]] = [
    ("LoRA", {"up": (20, 4), "down": (4, 10)}, (20, (10,), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "alpha": ()}, (20, (10,), 4)),
    ("LoRA", {"up": (20, 4, 1, 1), "down": (4, 10, 3, 3), "alpha": ()}, (20, (10, 3, 3), 4)),
    ("LoRA", {"up": (20, 4, 1, 1), "down": (4, 10, 1, 1), "mid": (4, 4, 3, 3)}, (20, (10, 3, 3), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 128), "shape": (2,)}, (20, (128,), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "bias": (20,)}, (20, (10,), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude": (20, 1)}, (20, (10,), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude": (1, 10)}, (20, (10,), 4)),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude_vector": (20,)}, (20, (10,), 4)),
    (
        "LoRA",
        {"up": (20, 4, 1, 1), "down": (4, 10, 3, 3), "magnitude_vector": (1, 20, 1, 1)},
        (20, (10, 3, 3), 4),
    ),
    ("LoHa", {"w1_a": (20, 4), "w1_b": (4, 10), "w2_a": (20, 4), "w2_b": (4, 10)}, (20, (10,), 4)),
    (
        "LoHa",
        {"w1_a": (20, 4, 1, 1), "w1_b": (4, 10, 3, 3), "w2_a": (20, 4, 1, 1), "w2_b": (4, 10, 3, 3), "alpha": ()},
        (20, (10, 3, 3), 4),
    ),
    (
        "LoHa",
        {"w1_a": (4, 20), "w1_b": (4, 10), "t1": (4, 4, 3, 3), "w2_a": (4, 20), "w2_b": (4, 10), "t2": (4, 4, 3, 3)},
        (20, (10, 3, 3), 4),
    ),
    ("LoKr", {"w1": (4, 5), "w2": (6, 7)}, (24, (35,), None)),
    ("LoKr", {"w1": (4, 5), "w2": (6, 7, 3, 3)}, (24, (35, 3, 3), None)),
    ("LoKr", {"w1_a": (4, 2), "w1_b": (2, 5), "w2": (6, 7)}, (24, (35,), 2)),
    ("LoKr", {"w1": (4, 5), "w2_a": (6, 2), "w2_b": (2, 7)}, (24, (35,), 2)),
    ("LoKr", {"w1": (4, 5), "w2_a": (6, 2), "w2_b": (2, 63)}, (24, (315,), 2)),
    ("LoKr", {"w1": (4, 5), "w2_a": (6, 2), "w2_b": (2, 7, 3, 3)}, (24, (35, 3, 3), 2)),
    ("LoKr", {"w1_a": (4, 2), "w1_b": (2, 5), "w2_a": (6, 2), "w2_b": (2, 7)}, (24, (35,), 2)),
    ("LoKr", {"w1": (4, 5), "w2_a": (2, 6), "w2_b": (2, 7), "t2": (2, 2, 3, 3)}, (24, (35, 3, 3), 2)),
    ("LoKr", {"w1_a": (4, 2), "w1_b": (2, 5), "w2_a": (2, 6), "w2_b": (2, 7), "t2": (2, 2, 3)}, (24, (35, 3), 2)),
    ("GLoRA", {"a1": (10, 4), "a2": (4, 10), "b1": (20, 4), "b2": (4, 10)}, (20, (10,), 4)),
    ("GLoRA", {"a1": (4, 10), "a2": (10, 4), "b1": (4, 10), "b2": (20, 4)}, (20, (10,), 4)),
    (
        "GLoRA",
        {"a1": (10, 4, 1, 1), "a2": (4, 10, 1, 1), "b1": (20, 4, 1, 1), "b2": (4, 10, 3, 3)},
        (20, (10, 3, 3), 4),
    ),
    ("OFT", {"blocks": (5, 4, 4), "alpha": ()}, (20, None, None)),
    ("OFT", {"blocks": (5, 4, 4), "rescale": (20, 1, 1, 1)}, (20, None, None)),
    ("OFT", {"diag": (5, 4, 4)}, (20, None, None)),
    ("OFT", {"rotation": (5, 6)}, (None, (20,), None)),
    ("OFT", {"rotation": (1, 6)}, (None, None, None)),
    ("OFT", {"rotation": (5, 4, 4)}, (None, None, None)),
    ("OFT", {"rotation": (5, 4, 4), "scale": (12, 1)}, (12, (20,), None)),
    ("OFT", {"blocks": (2, 6, 4, 4)}, (24, None, None)),
    ("BOFT", {"blocks": (2, 6, 4, 4), "rescale": (24, 1)}, (24, None, None)),
    ("BOFT", {"rotation": (2, 6, 4, 4), "scale": (12, 1)}, (12, (24,), None)),
    ("BOFT", {"rotation": (1, 5, 3, 3), "scale": (1, 12)}, (12, (15,), None)),
    ("(IA)³", {"weight": (20,), "on_input": ()}, (None, None, None)),
    ("(IA)³", {"weight": (1, 20, 1, 1), "on_input": ()}, (None, None, None)),
    ("(IA)³", {"vector": (20, 1)}, (20, None, None)),
    ("(IA)³", {"vector": (1, 10)}, (None, (10,), None)),
    ("(IA)³", {"vector": (1, 10, 1, 1)}, (None, None, None)),
    ("full difference", {"diff": (20, 10, 3, 3)}, (20, (10, 3, 3), None)),
    ("bias difference", {"diff_b": (20,)}, (20, (), None)),
    ("norm difference", {"w_norm": (20,)}, (20, (), None)),
    ("norm bias difference", {"b_norm": (20,)}, (20, (), None)),
    ("LoRA bias", {"bias": (20,)}, (20, (), None)),
    ("weight replacement", {"value": (20,)}, (20, (), None)),
    ("LoRA of an embedding", {"up": (16, 4), "down": (4, 300)}, (300, (16,), 4)),
]

BROKEN: list[tuple[str, Shapes, str]] = [
    ("LoRA", {"up": (20, 4), "down": (5, 10)}, "the up half has rank 4, the down half has rank 5"),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "bias": (10,)}, "the bias has shape [10]"),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude": (4,)}, "20 numbers, one per row, or 10, one per column"),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude": (2, 10)}, "the magnitude has shape [2, 10]"),
    ("LoRA", {"up": (20, 4), "down": (4, 10), "magnitude_vector": (10,)}, "it must have 20 numbers, one per row"),
    ("LoHa", {"w1_a": (20, 4), "w1_b": (4, 10)}, "w2_a and w2_b are missing"),
    ("LoHa", {"w1_a": (20, 4), "w1_b": (5, 10), "w2_a": (20, 4), "w2_b": (4, 10)}, "have ranks 4 and 5"),
    ("LoHa", {"w1_a": (20, 4), "w1_b": (4, 10), "w2_a": (20, 4), "w2_b": (4, 11)}, "both must be the same"),
    ("LoHa", {"w1_a": (20,), "w1_b": (4, 10), "w2_a": (20, 4), "w2_b": (4, 10)}, "cannot be multiplied"),
    ("LoHa", {"w1_a": (20, 4), "w1_b": (4, 10), "w2_a": (20, 4), "w2_b": (4, 10), "t1": (4, 4, 3)}, "other one"),
    ("LoHa", {"w1_a": (20, 0), "w1_b": (0, 10), "w2_a": (20, 4), "w2_b": (4, 10)}, "holds nothing"),
    ("LoKr", {"w1": (4, 5)}, "w2 is missing"),
    ("LoKr", {"w2": (4, 5)}, "w1 is missing"),
    ("LoKr", {"w1": (4, 5), "w2_a": (6, 2)}, "w2_a is there but w2_b is missing"),
    ("LoKr", {"w1": (4, 5), "w1_a": (4, 2), "w2": (6, 7)}, "w1 is there both whole and as two factors"),
    ("LoKr", {"w1": (4, 5), "w2": (6, 7), "t2": (2, 2, 3)}, "w2 is there both whole and with a core"),
    ("LoKr", {"w1": (4, 5), "w2_a": (2, 6), "w2_b": (2, 7), "t2": (3, 2, 3)}, "it must begin with [2, 2]"),
    ("LoKr", {"w1": (4, 5, 3), "w2": (6, 7)}, "it must be a matrix"),
    ("LoKr", {"w1": (4,), "w2": (6, 7)}, "it needs two dimensions at least"),
    ("GLoRA", {"a1": (10, 4), "a2": (4, 10), "b1": (20, 4)}, "b2 is missing"),
    ("GLoRA", {"a1": (10, 4), "a2": (4, 10), "b1": (20, 5), "b2": (4, 10)}, "which do not fit"),
    ("GLoRA", {"a1": (10,), "a2": (4, 10), "b1": (20, 4), "b2": (4, 10)}, "need two dimensions"),
    ("OFT", {"alpha": ()}, "the blocks are missing"),
    ("OFT", {"blocks": (5, 4, 3)}, "they must be square"),
    ("OFT", {"blocks": (5, 4)}, "they must be square"),
    ("OFT", {"blocks": (5, 4, 4), "rescale": (19, 1)}, "it must have 20 numbers"),
    ("OFT", {"rotation": (5, 7)}, "7 numbers each, which is not a triangle"),
    ("OFT", {"rotation": (5, 4, 3)}, "they must be square"),
    ("OFT", {"rotation": (5,)}, "two or three dimensions"),
    ("OFT", {"blocks": (3, 6, 4, 4)}, "cannot be exchanged in 3 stages"),
    ("BOFT", {"blocks": (1, 6, 3, 3)}, "cannot be exchanged"),
    ("BOFT", {"blocks": (10**15, 6, 2, 2)}, "cannot be exchanged"),
    ("BOFT", {"rotation": (6, 4, 4)}, "must be four-dimensional and square"),
    ("BOFT", {"scale": (12, 1)}, "the blocks are missing"),
    ("(IA)³", {"on_input": ()}, "the vector is missing"),
    ("(IA)³", {"weight": (20,)}, "not said whether the vector is for the input"),
    ("(IA)³", {"vector": (20, 3)}, "wide in one dimension only"),
    ("(IA)³", {"weight": (20, 3), "on_input": ()}, "wide in one dimension only"),
    ("full difference", {"alpha": ()}, "the diff tensor is missing"),
    ("full difference", {"diff": ()}, "a single number"),
    ("LoRA of an embedding", {"up": (16, 4), "down": (5, 300)}, "the halves have ranks 4 and 5"),
    ("LoRA of an embedding", {"up": (16, 4)}, "down is missing"),
    ("VeRA", {"b": (20,)}, "VeRA is not known"),
]


@pytest.mark.parametrize(("algorithm", "shapes", "expected"), SOUND)
def test_sound(algorithm: str, shapes: Shapes, expected: tuple[int | None, tuple[int, ...] | None, int | None]) -> None:
    assert layout(algorithm, shapes) == Layout(*expected, None)


@pytest.mark.parametrize(("algorithm", "shapes", "words"), BROKEN)
def test_broken(algorithm: str, shapes: Shapes, words: str) -> None:
    found = layout(algorithm, shapes)
    assert found.problem is not None
    assert words in found.problem
    assert (found.out, found.inner, found.rank) == (None, None, None)


def test_every_algorithm_has_a_rule() -> None:
    assert {row.name for row in ALGORITHMS} == {algorithm for algorithm, *_ in SOUND}
    assert {row.name for row in ALGORITHMS} <= {algorithm for algorithm, *_ in BROKEN} | {
        "bias difference",
        "norm difference",
        "norm bias difference",
        "LoRA bias",
        "weight replacement",
    }


SLOTS = sorted({slot for _, shapes, _ in [*SOUND, *BROKEN] for slot in shapes})
SIZES = st.integers(0, 6) | st.integers(0, 2**53)


@given(
    st.sampled_from([row.name for row in ALGORITHMS]),
    st.dictionaries(st.sampled_from(SLOTS), st.lists(SIZES, max_size=5).map(tuple), max_size=8),
)
@example("BOFT", {"blocks": (2**53, 2**53, 2**53, 2**53)})
@example("OFT", {"rotation": (2**53, 2**53)})
def test_any_shapes_give_an_answer(algorithm: str, shapes: Shapes) -> None:
    found = layout(algorithm, shapes)
    assert found.problem is None or found.problem
    assert found.problem or found.out is None or found.out > 0


@given(st.integers(0, 10**6))
def test_triangle_width(numbers: int) -> None:
    expected = next((width for width in range(1, 1500) if width * (width - 1) // 2 == numbers), None)
    if numbers:
        assert triangle_width(numbers) == expected


@pytest.mark.parametrize(
    ("rank", "width", "old"), [(4, 10, False), (4, 10, True), (10, 10, True), (1, 2, False), (1, 2, True)]
)
def test_square_glora_is_told_by_its_rank(rank: int, width: int, old: bool) -> None:
    wide, tall = (rank, width), (width, rank)
    shapes = (wide, tall, wide, tall) if old else (tall, wide, tall, wide)
    assert is_old_glora(*shapes) is old


def test_lora_has_the_same_answer_with_and_without_the_short_way() -> None:
    shapes = {"up": (20, 4), "down": (4, 10)}
    assert layout("LoRA", shapes) == layout("LoRA", shapes | {"shape": (2,)})
