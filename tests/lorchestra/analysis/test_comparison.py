"""The stacks of a comparison, and what is refused."""

from __future__ import annotations

import pytest

from lorchestra.analysis.comparison import KINDS, MOST, Comparison, compare, read_weights
from lorchestra.errors import LorchestraError
from lorchestra.exchange import parse_stack
from lorchestra.stack import Stack


def stack(*rows: object) -> Stack:
    return parse_stack({"version": 1, "loras": list(rows)})


THREE = stack(
    {"lora": "styles/warm.safetensors", "model": 0.75},
    {"lora": "lines.safetensors", "model": 0.5, "clip": 0.25},
    {"lora": "off.safetensors", "on": False, "model": 1},
)


def table(found: Comparison) -> list[tuple[str, dict[str, tuple[float, float]]]]:
    """Each label with the weights of what is on."""
    return [
        (one.label, {row.lora: (row.model, row.clip_weight) for row in one.stack.entries if row.active})
        for one in found.variants
    ]


WARM, LINES, OFF = "styles/warm.safetensors", "lines.safetensors", "off.safetensors"


def test_each_alone() -> None:
    found = compare(THREE, "each alone")
    assert table(found) == [
        ("without", {}),
        ("warm 0.75", {WARM: (0.75, 0.75)}),
        ("lines 0.5", {LINES: (0.5, 0.25)}),
        ("all", {WARM: (0.75, 0.75), LINES: (0.5, 0.25)}),
    ]
    assert (found.columns, found.rows) == (("warm 0.75", "lines 0.5", "all"), ("",))


def test_each_alone_at_several_weights() -> None:
    found = compare(THREE, "each alone", weights=(0.5, 1))
    assert (found.columns, found.rows) == (("0.5", "1"), ("warm", "lines"))
    assert table(found)[1:] == [
        ("warm 0.5", {WARM: (0.5, 0.5)}),
        ("warm 1", {WARM: (1, 1)}),
        ("lines 0.5", {LINES: (0.5, 0.25)}),
        ("lines 1", {LINES: (1, 0.5)}),
    ]


def test_each_left_out() -> None:
    assert table(compare(THREE, "each left out")) == [
        ("without", {}),
        ("all", {WARM: (0.75, 0.75), LINES: (0.5, 0.25)}),
        ("without warm", {LINES: (0.5, 0.25)}),
        ("without lines", {WARM: (0.75, 0.75)}),
    ]


def test_one_row_at_several_weights_beside_the_others() -> None:
    found = compare(THREE, "weights of a row", row=3, weights=(-0.5, 0, 0.5))
    both = {WARM: (0.75, 0.75), LINES: (0.5, 0.25)}
    assert table(found) == [
        ("without", {}),
        ("off -0.5", {**both, OFF: (-0.5, -0.5)}),
        ("off 0", both),
        ("off 0.5", {**both, OFF: (0.5, 0.5)}),
    ]


def test_two_rows_are_crossed() -> None:
    found = compare(THREE, "two rows crossed", row=1, weights=(0.5, 1), second_row=2, second_weights=(0, 0.4, 0.8))
    assert found.columns == ("warm 0.5", "warm 1")
    assert found.rows == ("lines 0", "lines 0.4", "lines 0.8")
    assert table(found)[4] == ("warm 1, lines 0.4", {WARM: (1, 1), LINES: (0.4, 0.2)})
    assert len(found.variants) == 7


def test_what_a_row_has_besides_stays() -> None:
    one = stack({"lora": "a.safetensors", "model": 1, "schedule": "0:0, 1:1", "blocks": {"attn": 0.5}, "new": [1]})
    entry = compare(one, "weights of a row", weights=(0.5,)).variants[1].stack.entries[0]
    assert (entry.schedule, entry.blocks, entry.extra) == ("0:0, 1:1", {"attn": 0.5}, {"new": [1]})


def test_rows_of_one_name_are_told_apart() -> None:
    twice = stack({"lora": "a/x.safetensors"}, {"lora": "b/x.safetensors"}, {"lora": "v1.5.safetensors"})
    assert compare(twice, "each alone").columns == ("x (row 1) 0.75", "x (row 2) 0.75", "v1.5 0.75", "all")


def test_a_name_is_cut_at_the_ending_of_a_model_file_alone() -> None:
    odd = stack({"lora": "a\\pixel.v1"}, {"lora": "civitai:120096@135931"}, {"lora": "b/.safetensors"})
    assert compare(odd, "each alone").columns[:3] == (
        "pixel.v1 0.75",
        "civitai:120096@135931 0.75",
        "b/.safetensors 0.75",
    )


def test_a_clip_weight_stays_in_range() -> None:
    one = stack({"lora": "a.safetensors", "model": 0.01, "clip": 5})
    assert compare(one, "weights of a row", weights=(1,)).variants[1].stack.entries[0].clip == 100


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "all of them"}, "the kind of comparison is 'all of them'; expected one of each alone"),
        ({"kind": "weights of a row"}, "weights is empty; write the weights to compare, such as 0.5, 0.75, 1"),
        ({"kind": "weights of a row", "row": 4, "weights": (1,)}, "row is 4; the stack has 3 rows"),
        ({"kind": "two rows crossed", "weights": (1,)}, "second_weights is empty"),
        ({"kind": "two rows crossed", "weights": (1,), "second_row": 0}, "second_row is 0; the stack has 3 rows"),
        (
            {"kind": "two rows crossed", "weights": (1,), "second_row": 1, "second_weights": (1,)},
            "row and second_row are both 1; two rows are crossed",
        ),
        (
            {"kind": "each alone", "most": 3},
            "this would be 4 variants, the one without LoRAs included; at most 3 are made. Take fewer rows or weights, "
            "or raise the limit",
        ),
        (
            {"kind": "two rows crossed", "weights": tuple(range(100)), "second_weights": tuple(range(100))},
            f"this would be 10,001 variants, the one without LoRAs included; at most {MOST} are made",
        ),
    ],
)
def test_what_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(LorchestraError) as error:
        compare(THREE, **change)  # type: ignore[arg-type]
    assert sentence in str(error.value)


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("empty", [stack(), stack({"lora": "a", "on": False}, {"lora": "b", "model": 0})])
def test_nothing_to_compare(kind: str, empty: Stack) -> None:
    with pytest.raises(LorchestraError, match="there is no LoRA to compare: the stack is empty, or all its rows"):
        compare(empty, kind)


def test_weights_as_people_write_them() -> None:
    assert read_weights("", "weights") == ()
    assert read_weights(" 0.5, 0.75;1 -1\n", "weights") == (0.5, 0.75, 1, -1)
    assert read_weights("0.5,0.75,1", "weights") == (0.5, 0.75, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.5, x", "weights: 'x' is not a number; write them as 0.5, 0.75, 1"),
        ("1, 0,5", "weights: 0,5 may be 0.5, or 0, 5; write a point, or a space after the comma"),
        ("1,2", "weights: 1,2 may be 1.2, or 1, 2; write a point"),
        ("1e9", "weights: 1e9 is not a weight; they lie in -100 to 100"),
        ("nan", "weights: nan is not a weight"),
        ("1 " * 2000, "weights has more than 2,000 characters"),
    ],
)
def test_weights_that_are_none(text: str, sentence: str) -> None:
    with pytest.raises(LorchestraError) as error:
        read_weights(text, "weights")
    assert sentence in str(error.value)
