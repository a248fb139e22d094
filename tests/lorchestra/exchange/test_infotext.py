"""The texts that AUTOMATIC1111 and its relatives write into pictures: read with their hashes, and written."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Any

import pytest

from lorchestra.errors import StackError
from lorchestra.exchange import Reading, infotext, read_any
from lorchestra.exchange.infotext import Run, UsedLora, write_infotext
from lorchestra.stack import Entry, Stack

A1111 = """a cat <lora:pixel art:0.7>, <lora:b,c:0.5:0.25>
on a mat
Negative prompt: ugly <lora:no:1>, bad
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5, Denoising strength: 0.4, ADetailer prompt: "a: \\"b\\", c", \
Lora hashes: "pixel art: 1234567890AB, bc: abcdefabcdef, gone: 111111111111", Version: v1.10.1"""


def rows(reading: Reading) -> list[tuple[Any, ...]]:
    return [(entry.lora, entry.model, entry.clip, entry.extra.get("hash")) for entry in reading.stack.entries]


def fields(reading: Reading) -> list[str]:
    return [loss.field for loss in reading.losses]


def test_tags_get_the_hashes_of_their_names() -> None:
    reading = infotext.read(A1111)
    assert rows(reading) == [("pixel art", 0.7, None, "1234567890ab"), ("b,c", 0.25, 0.5, "abcdefabcdef")]
    assert fields(reading) == ["prompt", "negative prompt", "Lora hashes", "parameters"]
    said = "\n".join(map(str, reading.losses))
    assert "'gone'" in said and "Sampler" in said and "Model hash" in said and "ADetailer prompt" in said
    assert read_any(A1111) == reading
    assert read_any(json.dumps(A1111)) == reading
    assert rows(infotext.read(A1111, order="model-first"))[1] == ("b,c", 0.5, 0.25, "abcdefabcdef")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'x <lora:a:1>\nSteps: 1, Hashes: {"model": "0123456789", "lora:a": "ABCDEF0123", "vae": "1"}, Seed: 1',
            [("a", 1.0, None, "abcdef0123")],
        ),
        (
            'x <lora:a:1>\nSteps: 1, Hashes: "{\\"lora:a\\": \\"ABCDEF0123\\"}", Lora hashes: "a: 111111111111"',
            [("a", 1.0, None, "111111111111")],
        ),
        (
            'x\nSteps: 9, Civitai resources: [{"type":"checkpoint","modelVersionId":1},{"type":"lora","weight":0.8,'
            '"modelVersionId":42,"modelVersionName":"a, b"}], Civitai metadata: {"a": {}}',
            [("https://civitai.com/api/download/models/42", 0.8, None, None)],
        ),
        (
            "x\nSteps: 9, Sampler: a, Seed: 2, Lora hashes: \"a: 0123456789, b: 9876543210\", "
            'Lora weights: "a: 0.5, b: -1", Version: Fooocus v2.5',
            [("a", 0.5, None, "0123456789"), ("b", -1.0, None, "9876543210")],
        ),
        ('<lora:a:1>\nLora hashes: "a: 0123456789ab"', [("a", 1.0, None, "0123456789ab")]),
        ('<lora:a:1>\nSteps: 5, Lora hashes: "a: e3b0c44298fc"', [("a", 1.0, None, None)]),
        ("<lora:a:1>\nSteps: 5, Lora hashes: a: 0123456789ab", [("a", 1.0, None, "0123456789ab")]),
        ("<lora:a:1>\nSteps: 5, Size: 1x1\nTemplate: <lora:b:1>", [("a", 1.0, None, None)]),
        ("Negative prompt: <lora:b:1>\nSteps: 5, Size: 1x1", []),
        ("Steps: 5, Size: 1x1", []),
        ("\r\na <lora:a:.5>\r\nSteps: 5, Seed: 1\r\n", [("a", 0.5, None, None)]),
    ],
)  # fmt: skip
def test_forms(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert rows(infotext.read(text)) == expected
    assert rows(read_any(text)) == expected


def test_lora_manager_s_recipe_in_a_picture_is_exact() -> None:
    recipe = {"loras": [{"file_name": "a", "hash": "0" * 64, "strength": 0.3, "modelVersionId": 7}], "title": "t"}
    text = A1111 + "\nRecipe metadata: " + json.dumps(recipe)
    (entry,) = read_any(text).stack.entries
    assert entry == Entry("a", model=0.3, sha256="0" * 64, extra={"modelVersionId": 7})


FOOOCUS = {
    "base_model": "x", "full_prompt": ["a cat"], "loras": [["pixel", 0.7, "0123456789"], ["b", -1, ""]],
    "version": "v2.5",
    "lora_combined_1": "pixel : 0.7",
}  # fmt: skip


def test_fooocus_own_scheme() -> None:
    reading = read_any(json.dumps(FOOOCUS))
    assert rows(reading) == [("pixel", 0.7, None, "0123456789"), ("b", -1.0, None, None)]
    assert fields(reading) == ["request"]
    assert infotext.read(FOOOCUS) == infotext.read(json.dumps(FOOOCUS)) == reading
    for bad, path in ((["a", 1], "loras[0]"), (["a", "1", ""], "loras[0][1]"), ([1, 1, ""], "loras[0]")):
        with pytest.raises(StackError) as caught:
            infotext.read({**FOOOCUS, "loras": [bad]})
        assert getattr(caught.value, "path", None) == path


@pytest.mark.parametrize("text", ["a cat <lora:a:1>, Steps: 20", "Steps: many, x", "a cat\nHashes:"])
def test_prompts_are_no_infotext(text: str) -> None:
    assert not infotext.is_infotext(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('Steps: 1, Lora weights: "a: much"', "Lora weights.a"),
        ('Steps: 1, Lora weights: "a: 101"', "Lora weights.a"),
        ('Steps: 1, Civitai resources: [{"type": "lora", "weight": "x", "modelVersionId": 1}]', "resources[0].weight"),
        ("Steps: 1, Civitai resources: [1, 2]", "resources[0]"),
    ],
)
def test_what_cannot_be_read_names_the_field(text: str, path: str) -> None:
    with pytest.raises(StackError) as caught:
        infotext.read(text)
    assert getattr(caught.value, "path", None) == path


@pytest.mark.parametrize(
    "line",
    [
        "a" * 300_000, "a:" * 150_000, '"' * 300_000, '\\"' * 150_000, 'a: "' * 75_000, "[" * 300_000, "a: [" * 75_000,
        "a: {" * 75_000, "," * 300_000, ": " * 150_000, 'a: "\\' * 60_000, "Steps: 1, " * 30_000, " " * 300_000,
        "Steps: 1\n" * 30_000,
    ],
    ids=range(14),
)  # fmt: skip
def test_no_line_takes_long(line: str) -> None:
    begun = time.process_time()
    with suppress(StackError):
        infotext.read(f"x\nSteps: 1, {line}")
    assert time.process_time() - begun < 1


def test_a_stack_is_written_with_the_hashes_that_are_known() -> None:
    sha256 = "0123456789abcdef" * 4
    stack = Stack(
        (
            Entry("x/pixel, art.safetensors", model=0.7, extra={"hash": "1234567890ab"}),
            Entry("b", model=1.0, clip=0.5, sha256=sha256),
            Entry("c", model=1.0),
            Entry("d", on=False, extra={"hash": "1234567890ab"}),
        )
    )
    writing = infotext.write(stack)
    assert writing.text.splitlines() == [
        "<lora:pixel, art:0.7> <lora:b:te=0.5:unet=1> <lora:c:1>",
        'Lora hashes: "pixel art: 1234567890ab", Hashes: "{\\"lora:b\\": \\"0123456789\\"}"',
    ]
    assert [(loss.row, loss.field) for loss in writing.losses] == [(1, "lora"), (2, "sha256"), (4, "on")]
    assert rows(infotext.read(writing.text)) == [
        ("pixel, art", 0.7, None, "1234567890ab"), ("b", 1.0, 0.5, "0123456789"), ("c", 1.0, None, None),
    ]  # fmt: skip


RUN = Run(
    prompt="a cat <lora:pixel:0.7>, on a mat",
    negative="ugly",
    steps=20,
    sampler=infotext.sampler_name("dpmpp_2m"),
    schedule=infotext.schedule_name("karras"),
    cfg=7.0,
    seed=2**63,
    width=512,
    height=768,
    model="v1-5: pruned, ema",
    model_hash="6CE0161689B3853ACAA03779EC93EAFE75A02F4CED659BEE03F50797806FA2FA",
    denoise=0.45,
    clip_skip=2,
    loras=(UsedLora("pixel", 0.7, autov3="1234567890ABCDEF"), UsedLora("b,c", 0.5, 0.25, "a" * 64), UsedLora("d", 1.0)),
    more=(("Note", 'says "hi"'), ("Other", "a: b, c")),
    version="Lorchestra",
)


def test_a_run_is_written_as_automatic1111_does() -> None:
    assert write_infotext(RUN) == (
        "a cat <lora:pixel:0.7>, on a mat <lora:b,c:te=0.25:unet=0.5> <lora:d:1>\n"
        "Negative prompt: ugly\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 9223372036854775808, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5 pruned ema, Denoising strength: 0.45, Clip skip: 2, "
        'Lora hashes: "pixel: 1234567890ab, bc: aaaaaaaaaaaa", Note: says "hi", Other: "a: b, c", Version: Lorchestra'
    )


def test_a_run_that_says_little() -> None:
    run = Run("", 1, "Euler", 1.5, 0, 8, 8)
    assert write_infotext(run) == "Steps: 1, Sampler: Euler, CFG scale: 1.5, Seed: 0, Size: 8x8"


def test_a_run_reads_back_by_the_programs_own_rule() -> None:
    """The pattern is AUTOMATIC1111's (`modules/infotext_utils.py`, `re_param_code`)."""
    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    *prompt, line = write_infotext(RUN).split("\n")
    said = dict(pattern.findall(line))
    assert said["Size"] == "512x768" and said["Model hash"] == "6ce0161689" and said["Model"] == "v1-5 pruned ema"
    assert json.loads(said["Lora hashes"]) == "pixel: 1234567890ab, bc: aaaaaaaaaaaa"
    assert json.loads(said["Other"]) == "a: b, c"
    assert prompt[1] == "Negative prompt: ugly"
    assert rows(read_any(write_infotext(RUN))) == [
        ("pixel", 0.7, None, "1234567890ab"), ("b,c", 0.5, 0.25, "aaaaaaaaaaaa"), ("d", 1.0, None, None),
    ]  # fmt: skip
