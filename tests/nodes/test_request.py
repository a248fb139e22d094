"""The Stack from Request node reads any dialect, finds the files as the LoRA Stack does, and says what it lost."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import pytest

import nodes
from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest

INK, TWINS = "styles/ink.safetensors", ("one/twin.safetensors", "two/twin.safetensors")
AIR = "civitai:120096@135931"
MISSING = "row 1: gone was not found. Add the file to a LoRA folder,"
AMBIGUOUS = "row 1: 'twin' is in 2 folders. Choose one: one/twin.safetensors, two/twin.safetensors"


@pytest.fixture
def node(pack: ModuleType) -> Any:
    return next(one for one in pack.node_list if one.__name__ == "StackFromRequest")


@pytest.fixture
def library(pack: ModuleType, loras: Path) -> Path:
    """Three files; the catalog knows nothing of them yet."""
    path = write_lora(loras / INK, layers("*attn1.to_q"))
    path.with_suffix(".metadata.json").write_text(json.dumps({"civitai": {"modelId": 120096, "id": 135931}}))
    for seed, name in enumerate(TWINS):
        write_lora(loras / name, layers("*attn1.to_q"), seed=seed + 2)
    importlib.import_module(f"{pack.__name__}.nodes.host.process").lora_library.cache_clear()
    return loras


REQUESTS = {
    "Runware": (f'{{"positivePrompt": "a cat", "lora": [{{"model": "{AIR}", "weight": 0.7}}]}}', "auto", 0.7, 0.7),
    "A1111": ("a cat <lora:ink:0.25:0.5> in the rain", "auto", 0.5, 0.25),
    "SwarmUI's order": ("a cat <lora:ink:0.5:0.25>", "swarmui-prompt", 0.5, 0.25),
    "rgthree": (json.dumps([{"on": True, "lora": INK, "strength": 0.7}]), "auto", 0.7, 0.7),
    "fal": ('{"loras": [{"path": "ink.safetensors", "scale": 0.7}]}', "fal", 0.7, 0.7),
    "ours": (json.dumps({"version": 1, "loras": [{"lora": INK, "model": 0.7}]}), "auto", 0.7, 0.7),
}


@pytest.mark.parametrize(("text", "form", "model", "clip"), REQUESTS.values(), ids=REQUESTS)
def test_any_dialect_becomes_rows(node: Any, library: Path, text: str, form: str, model: float, clip: float) -> None:
    """Under the name by which ComfyUI lists the file, for other packs."""
    rows, report = node.execute(text, form).args
    assert [tuple(row) for row in rows] == [(INK, model, clip)]
    assert f"weight {model:g}" in report
    assert node.validate_inputs(text, format=form) is True


def test_rows_come_behind_those_of_another_stack(node: Any, library: Path) -> None:
    rows, _ = node.execute("<lora:ink:0.5>", lora_stack=[("x.safetensors", 1.0, 1.0)]).args
    assert [tuple(row) for row in rows] == [("x.safetensors", 1.0, 1.0), (INK, 0.5, 0.5)]


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text_is_no_lora(node: Any, library: Path, text: str) -> None:
    for form in ("auto", "runware"):
        assert list(node.execute(text, form).args) == [[], "There is no LoRA in the request."]
        assert node.validate_inputs(text, format=form) is True


def test_what_is_lost_is_in_the_report(node: Any, library: Path) -> None:
    rows, report = node.execute("<lora:ink:0.5:lbw=MINE> <lora:gone:0> <lora:ink:0,8>", missing="skip").args
    assert len(rows) == 1
    assert report.splitlines()[:2] == [
        f"ink: weight 0.5; used {INK}, the only file of that name", "gone: weight 0; left out",
    ]  # fmt: skip
    lost = [line for line in report.splitlines() if line.startswith("Not kept from the text: ")]
    assert any("lbw" in line for line in lost)
    assert any("0,8" in line for line in lost)


@pytest.mark.parametrize(
    ("text", "form", "sentence"),
    [
        ("<lora:gone:1>", "auto", MISSING),
        ("<lora:twin:1>", "auto", AMBIGUOUS),
        ("a cat", "auto", "neither JSON nor"),
        ("{", "runware", "is not JSON"),
    ],
)
def test_what_cannot_be_used_stops_the_prompt(node: Any, library: Path, text: str, form: str, sentence: str) -> None:
    assert sentence in node.validate_inputs(text, format=form, missing="error")
    with pytest.raises(Exception, match=re.escape(sentence)):
        node.execute(text, form)


def test_a_missing_lora_can_be_skipped(node: Any, library: Path) -> None:
    text = "<lora:gone:1> <lora:ink:0.5>"
    assert node.validate_inputs(text, missing="skip") is True
    rows, report = node.execute(text, missing="skip").args
    assert [tuple(row) for row in rows] == [(INK, 0.5, 0.5)]
    assert report.splitlines()[0] == "gone: not found; skipped"


def test_choices_are_the_dialects(node: Any, pack: ModuleType) -> None:
    """The code of all dialects is loaded with the first text, so their words are written down."""
    registry = importlib.import_module(f"{pack.__name__}.lorchestra.exchange.registry")
    options = next(one.options for one in node.define_schema().inputs if one.id == "format")
    assert set(options) == {"auto", *(dialect.id for dialect in registry.DIALECTS)}
    assert "format is 'wav'; expected one of auto, runware" in node.validate_inputs("", format="wav")
    assert "missing is 'cry'; expected one of error, skip" in node.validate_inputs("", missing="cry")


def test_it_runs_again_when_a_file_changed(node: Any, library: Path) -> None:
    before = node.fingerprint_inputs(request="<lora:ink:1>")
    assert node.fingerprint_inputs(request="<lora:ink:1>") == before
    write_lora(library / INK, layers("*attn1.to_[qk]"))
    assert node.fingerprint_inputs(request="<lora:ink:1>") != before
    assert node.fingerprint_inputs(request="{") == node.fingerprint_inputs(request="{")
    assert node.fingerprint_inputs(request=None) == ""


def test_comfyui_stops_the_prompt_once(
    node: Any, pack: ModuleType, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sentence, on the node to blame."""
    for one in pack.node_list:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, one.define_schema().node_id, one)
    remember = importlib.import_module(f"{pack.__name__}.nodes.host.prompt").remember

    async def validate(**inputs: Any) -> Any:
        graph = {
            "1": {"class_type": "LorchestraStackFromRequest", "inputs": inputs},
            "2": {
                "class_type": "LorchestraApiExport",
                "inputs": {"lora_stack": ["1", 0], "format": "json", "filename_prefix": "a", "allow_names": False},
            },
        }
        request = remember({"prompt": graph, "prompt_id": "5f0c8a4e-0000-4000-8000-000000000000"})
        return await execution.validate_prompt(request["prompt_id"], graph, None)

    errors = asyncio.run(validate(request="<lora:gone:1>"))[3]
    (error,) = errors["1"]["errors"]
    assert error["details"].startswith(f"request - {MISSING}")
    assert asyncio.run(validate(request="<lora:gone:1>", missing="skip"))[0]
    assert asyncio.run(validate(request="<lora:ink:1>"))[0]
