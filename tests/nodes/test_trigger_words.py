"""The trigger words of a stack: its output, the report, and what the badges' route says of them; in ComfyUI."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch
from comfy_api.latest import io
from comfy_execution.utils import CurrentNodeContext
from support.models import load_unet

import nodes
from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def model() -> Any:
    """A small MODEL."""
    return load_unet(torch.float16)


@pytest.fixture
def library(pack: ModuleType, loras: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """LoRAs with words of every kind, and the pack's nodes among ComfyUI's."""
    for node in pack.node_list:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    few = layers("middle_block.1.*.attn1.to_q")
    write_lora(loras / "styles/pixel.safetensors", few, seed=1)
    (loras / "styles/pixel.civitai.info").write_text(json.dumps({"trainedWords": ["pixel art", "8-bit"]}))
    write_lora(loras / "ink.safetensors", few, seed=2)
    (loras / "ink.json").write_text(json.dumps({"activation text": "ink wash, PIXEL ART"}))
    tags = {"ss_tag_frequency": json.dumps({"set": {"1girl": 9}})}
    write_lora(loras / "tags.safetensors", few, seed=3, metadata=tags)
    write_lora(loras / "phrase.safetensors", few, seed=4, metadata={"modelspec.trigger_phrase": "ohwx man"})
    write_lora(loras / "other.safetensors", {"nowhere": (8, 8)}, "native", seed=5)
    (loras / "other.json").write_text(json.dumps({"activation text": "elsewhere"}))
    (loras / "broken.safetensors").write_bytes(b"no LoRA")
    (loras / "broken.json").write_text(json.dumps({"activation text": "broken"}))
    process = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    process.lora_library.cache_clear()
    folder_paths.filename_list_cache.pop("loras", None)
    yield loras
    process.lora_library.cache_clear()


PIXEL, INK, TAGS, PHRASE = "styles/pixel.safetensors", "ink.safetensors", "tags.safetensors", "phrase.safetensors"


def rows(*entries: Any) -> str:
    return json.dumps({"version": 1, "loras": [{"lora": one} if isinstance(one, str) else one for one in entries]})


def words(stack_node: Any, model: Any, text: str, **more: Any) -> str:
    return stack_node.execute(model=model, loras=text, **more).args[4]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([PIXEL], "pixel art, 8-bit"),
        ([PHRASE, PIXEL], "ohwx man, pixel art, 8-bit"),
        ([INK, PIXEL, PIXEL], "ink wash, PIXEL ART, pixel art, 8-bit"),
        ([TAGS], ""),
        ([], ""),
        ([{"lora": PIXEL, "triggers": ["8-bit"]}], "8-bit"),
        ([{"lora": PIXEL, "triggers": ["my own", "8-Bit"]}, {"lora": PHRASE, "triggers": ["8-bit"]}], "my own, 8-Bit"),
        ([{"lora": PIXEL, "triggers": []}], ""),
        ([{"lora": PIXEL, "on": False}, {"lora": PHRASE, "model": 0}], ""),
        ([{"lora": PIXEL, "model": 1}, {"lora": PIXEL, "model": -1}, PHRASE], "ohwx man"),
        (["gone", "other", "broken", PHRASE], "ohwx man"),
        ([{"lora": "pixel"}], "pixel art, 8-bit"),
    ],
)
def test_words_of_what_is_applied(
    stack_node: Any, model: Any, library: Path, entries: list[Any], expected: str
) -> None:
    assert words(stack_node, model, rows(*entries), policy="warn", missing="skip") == expected


def test_words_of_a_chain_in_its_order(stack_node: Any, model: Any, library: Path) -> None:
    first = stack_node.execute(
        model=model, loras=rows({"lora": PIXEL, "triggers": ["8-bit"]}, {"lora": INK, "on": False})
    )
    assert words(stack_node, model, rows(PHRASE), lora_stack=first.args[2]) == "8-bit, ohwx man"
    foreign = [(PIXEL, 0.5, 0.5)]
    assert words(stack_node, model, rows(PHRASE), lora_stack=foreign) == "pixel art, 8-bit, ohwx man"


def test_the_output_is_the_last(stack_node: Any) -> None:
    assert list(stack_node.RETURN_NAMES) == ["MODEL", "CLIP", "LORA_STACK", "report", "trigger_words"]


def test_other_words_in_a_sidecar_are_another_run(stack_node: Any, library: Path, pack: ModuleType) -> None:
    before = stack_node.fingerprint_inputs(loras=rows(PIXEL))
    assert stack_node.fingerprint_inputs(loras=rows(PIXEL)) == before
    assert re.fullmatch("[0-9a-f]{64}", before), "ComfyUI writes it into pictures: no path may be in it"
    (library / "styles/pixel.civitai.info").write_text(json.dumps({"trainedWords": ["pixels"]}))
    assert stack_node.fingerprint_inputs(loras=rows(PIXEL)) != before


def graph(text: object, loras: str = "", **more: Any) -> dict[str, Any]:
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "9": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["1", 0], "clip": ["1", 1], "loras": loras}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["9", 1], "text": text}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["9", 1], "text": "8-bit"}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["9", 0], "positive": ["2", 0], "negative": ["3", 0]}},
        **more,
    }


def report(stack_node: Any, model: Any, prompt: object, loras: str) -> list[str]:
    """The report of a run in a prompt, as ComfyUI runs the node."""
    hidden = {io.Hidden.prompt: prompt}
    is_oldest = "hidden_inputs" in inspect.signature(stack_node.PREPARE_CLASS_CLONE).parameters
    prepared = stack_node.PREPARE_CLASS_CLONE(hidden if is_oldest else {"hidden_inputs": hidden})
    with CurrentNodeContext("id", "9"):
        return prepared.execute(model=model, loras=loras).args[3].splitlines()


@pytest.mark.skipif(not hasattr(io.ComfyNode, "PREPARE_CLASS_CLONE"), reason="this ComfyUI prepares nodes otherwise")
def test_the_report_names_words_that_are_not_in_the_prompt(stack_node: Any, model: Any, library: Path) -> None:
    missing = "pixel: trigger words not in the prompt: 8-bit"
    assert report(stack_node, model, graph("(Pixel_Art:1.2)"), rows(PIXEL))[1:] == [missing]
    assert report(stack_node, model, graph("a cat"), rows(PHRASE, {"lora": PIXEL, "triggers": ["8-bit"]}))[2:] == [
        "phrase: trigger words not in the prompt: ohwx man",
        missing,
    ]
    concatenated = {"class_type": "StringConcatenate", "inputs": {"string_a": "8", "string_b": "bit", "delimiter": "-"}}
    chosen = rows({"lora": PIXEL, "triggers": ["8-bit"]})
    for prompt in (
        graph("pixel art, 8-bit"),
        graph(["5", 0], **{"5": {"class_type": "Mine", "inputs": {}}}),
        graph(["9", 4]),
        graph(["5", 0], **{"5": concatenated}),
        {},
        {"9": [], "2": {"inputs": 3}},
        None,
    ):
        assert len(report(stack_node, model, prompt, chosen)) == 1


def test_the_route_says_which_words_are_there(pack: ModuleType, library: Path) -> None:
    badges = importlib.import_module(f"{pack.__name__}.nodes.host.badges")
    text = rows(
        PIXEL, {"lora": TAGS}, {"lora": PHRASE, "triggers": ["mine", "ohwx man"]}, {"lora": "gone"}, {"lora": ""}
    )
    (stack,) = badges.check(graph("Pixel Art"), [("9", text)])
    assert stack["prompt"] == {"node": "2", "input": "text"}
    assert [row["words"] for row in stack["rows"]] == [
        [{"word": "pixel art", "present": True}, {"word": "8-bit", "present": False}],
        [],
        [{"word": "ohwx man", "present": False}, {"word": "mine", "present": False}],
        [],
        [],
    ]
    (unknown,) = badges.check({}, [("9", rows(PIXEL))])
    assert unknown["prompt"] is None and {word["present"] for word in unknown["rows"][0]["words"]} == {None}
    chosen = rows({"lora": PIXEL, "triggers": ["8-bit"]})
    (wired,) = badges.check(graph(["9", 4]), [("9", chosen)])
    assert [word["present"] for word in wired["rows"][0]["words"]] == [None, True]
