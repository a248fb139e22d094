"""Vectors of weights per block: every layer gets in ours what the extension gives it in A1111."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.architectures.blocks import TEXT_ENCODER
from lorchestra.errors import StackError
from lorchestra.exchange import a1111, read_any
from lorchestra.exchange.block_vectors import LAYOUTS, PRESETS, read_vector, write_vector
from lorchestra.models.base import base_by_name
from lorchestra.spelling.prefixes import MODEL
from lorchestra.stack import Entry, Stack
from lorchestra.stack.blocks import factor_of

WEIGHTS = st.one_of(st.sampled_from((0.0, 1.0, 0.5)), st.floats(-100, 100, allow_nan=False))
VECTORS = st.sampled_from(sorted(LAYOUTS)).flatmap(lambda length: st.lists(WEIGHTS, min_size=length, max_size=length))


def factors(architecture: str, blocks: Mapping[str, float]) -> dict[tuple[bool, str], float]:
    """(in the diffusion model?, key) of each layer → its factor."""
    base = base_by_name(architecture)
    assert base is not None
    return {
        (component == MODEL, site.key): factor_of(blocks, base.block_names.labels(site.key, component != MODEL))
        for component, sites in base.targets.items()
        for site in sites.values()
    }


def block_in_a1111(key: str) -> str:
    """The extension's id of a layer of a UNet or FLUX; empty for what it does not weight."""
    parts = key.split(".")
    if parts[0] in ("input_blocks", "output_blocks"):
        return f"{'IN' if parts[0] == 'input_blocks' else 'OUT'}{int(parts[1]):02}"
    if parts[0] in ("double_blocks", "single_blocks"):
        return f"{parts[0][0].upper()}{int(parts[1]):02}"
    others = {"middle_block": "M00", "final_layer": "OUT", "clip_l": "CLIP", "t5xxl": "T5"}
    return "IN" if parts[0].endswith("_in") else others.get(parts[0], "")


@pytest.mark.parametrize(
    ("architecture", "length"), [("sd15", 26), ("sd15", 17), ("sdxl", 12), ("sdxl", 20), ("flux1_dev", 61)]
)
def test_each_layer_has_the_number_of_its_block(architecture: str, length: int) -> None:
    names = LAYOUTS[length]
    numbers = {name: 2.0 + place for place, name in enumerate(names)}
    blocks = read_vector(",".join(map(str, numbers.values()))).blocks
    met: set[str] = set()
    for (is_model, key), factor in factors(architecture, blocks).items():
        block = block_in_a1111(key) if is_model or length == 61 else "BASE"
        assert factor == numbers.get(block, 0.0 if block else 1.0), (key, block)
        met.add(block)
    assert met >= set(names)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("ALL", {"input.0,3,6,9-11": 0, "output.0-2": 0}),
        ("FLUXALL", {}),
        (" OUTD ", {"input": 0, "middle": 0, "output.0-2,7-11": 0}),
        ("NONE", {"text_encoder": 0, "input": 0, "middle": 0, "output": 0}),
        (",".join(["0.5"] * 26), {"text_encoder": 0.5, "input": 0.5, "middle": 0.5, "output": 0.5}),
        ("0,0,1" + ",1" * 58, {"text_encoder": 0}),
        ("0,1,1" + ",1" * 18 + ",0" + ",1" * 39, {"clip_l": 0, "double_blocks.18": 0}),
    ],
)
def test_the_fewest_patterns(text: str, blocks: dict[str, float]) -> None:
    assert read_vector(text).blocks == blocks


def test_presets_are_vectors() -> None:
    assert [len(text.split(",")) for text in PRESETS.values()] == [17] * 10 + [61]


@given(VECTORS)
def test_what_is_read_is_written_and_read_again(numbers: list[float]) -> None:
    blocks = read_vector(",".join(map(repr, numbers))).blocks
    if not set(blocks) - {TEXT_ENCODER}:
        return  # a tag says it by its two weights, or needs to say nothing
    vector = write_vector(blocks)
    assert vector is not None
    again = read_vector(vector).blocks
    for architecture in ("sd15",) if len(numbers) != 61 else ("flux1_dev",):
        assert factors(architecture, again) == factors(architecture, blocks)


@given(VECTORS, st.floats(-4, 4, allow_nan=False), st.sampled_from((None, 0.5, 0.0)))
def test_tags_go_round(numbers: list[float], model: float, clip: float | None) -> None:
    tag = f"<lora:a:te={model if clip is None else clip}:unet={model}:lbw={','.join(map(repr, numbers))}>"
    reading = a1111.read(tag)
    assert reading.losses == ()
    (entry,) = reading.stack.entries
    if not entry.active:
        return
    writing = a1111.write(reading.stack)
    assert [loss.field for loss in writing.losses] == []
    (again,) = a1111.read_tags(writing.text).entries
    architecture = "sd15" if len(numbers) != 61 else "flux1_dev"
    expected, found = (
        {
            (is_model, key): (row.model if is_model else row.clip_weight) * factor
            for (is_model, key), factor in factors(architecture, row.blocks).items()
        }
        for row in (entry, again)
    )
    assert found == expected


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"text_encoder": 0}, "<lora:a:te=0:unet=0.5>"),
        ({"*": 0.5}, "<lora:a:0.25>"),
        ({"* text_encoder": 0.5, "*": 2}, "<lora:a:te=0.5:unet=1>"),
        ({"early": 0, "input.4": 2}, "<lora:a:0.5:lbw=1" + ",0" * 12 + ",1" * 13 + ">"),
        ({"double.0-2": 0}, "<lora:a:0.5:lbw=1,1,1,0,0,0" + ",1" * 55 + ">"),
        ({"clip_l": 0, "text_encoder": 2}, "<lora:a:0.5:lbw=0,2" + ",1" * 59 + ">"),
        ({"*": 2, "middle": 0}, "<lora:a:1:lbw=" + "1," * 13 + "0" + ",1" * 12 + ">"),
    ],
)
def test_other_patterns_that_a_tag_can_say(blocks: dict[str, float], said: str) -> None:
    writing = a1111.write(Stack((Entry("a", model=0.5, blocks=blocks),)))
    assert (writing.text, writing.losses) == (said, ())


@pytest.mark.parametrize(
    "pattern",
    ["attn", "double attn", "input.4 mlp", "early", "blocks.3", "audio", "double_blocks.19", "clip_g", "img_in attn"],
)
def test_what_no_vector_says_is_told(pattern: str) -> None:
    writing = a1111.write(Stack((Entry("a", model=0.5, blocks={pattern: 0.5}),)))
    assert writing.text == "<lora:a:0.5>"
    (loss,) = writing.losses
    assert (loss.row, loss.field) == (1, "blocks") and pattern in loss.reason


def test_blocks_of_two_models() -> None:
    assert write_vector({"input.4": 0, "double_blocks.3": 0}) is None


ONES = ",".join("1" * 15)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<lora:a:0.5:lbw=MINE>", "under a name that is its writer's own"),
        ("<lora:a:0.5:lbw=>", "under a name that is its writer's own"),
        ("<lora:a:0.5:lbw=1,1,1>", "weights for 3 blocks; there are vectors of 12, 17, 20, 26, 61"),
        (f"<lora:a:0.5:lbw={ONES},nan,1>", "'nan' for the block OUT10; expected a number"),
        (f"<lora:a:0.5:lbw={ONES},,1>", "'' for the block OUT10; expected a number"),
        (f"<lora:a:0.5:lbw={ONES},101,1>", "it must lie in ±100"),
        ("<lora:a:0.5:lbw=1" + ",1" * 100_000 + ">", "weights for 100,001 blocks"),
    ],
)
def test_bad_vectors_are_told_and_refused_by_the_node(tag: str, words: str) -> None:
    reading = read_any(tag)
    assert reading.stack.entries == (Entry("a", model=0.5),)
    (loss,) = reading.losses
    assert loss.field == "lbw" and words in loss.reason and "used for all blocks" in loss.reason
    with pytest.raises(StackError, match="row 1"):
        a1111.read_tags(tag)


def test_random_and_inherited_weights() -> None:
    reading = read_any("<lora:a:1:lbw=R,U,X" + ",1" * 14 + ":x=0.5>")
    assert reading.stack.entries[0].blocks == {"input.0,3,6,9-11": 0, "input.2": 0.5, "output.0-2": 0}
    (loss,) = reading.losses
    assert "random weights for BASE, IN01; 1 is used" in loss.reason
    old = read_any("<lora:a:1:1,1,X+0.25" + ",1" * 14 + ":0.5>")
    assert old.losses == () and old.stack.entries[0].blocks["input.2"] == 0.75
    assert read_any("<lora:a:1:lbw=1,1,X" + ",1" * 14 + ">").stack.entries[0].blocks == read_vector("ALL").blocks


def test_two_hundred_rows_and_turns() -> None:
    text = " ".join(f"<lora:a{number}:0.5:lbw=OUTD>" for number in range(200))
    stack = read_any(text).stack
    assert len(stack.entries) == 200 and len({tuple(entry.blocks) for entry in stack.entries}) == 1
    turns = read_any("[<lora:a:1:lbw=OUTD>:<lora:a:1:lbw=INS>:0.5]").stack.entries
    assert [entry.blocks for entry in turns] == [read_vector("OUTD").blocks, read_vector("INS").blocks]
