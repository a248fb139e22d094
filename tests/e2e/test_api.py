"""The same nodes without a page: prompts posted over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.demo.comfyui import PromptRefused
from lorchestra.demo.prompt import CHECKPOINT

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
ROWS = [{"lora": WARM, "model": 0.75}, {"lora": LINES, "model": 0.5}]


def export_prompt(loras: Any, missing: str = "error") -> dict[str, Any]:
    """Nothing is sampled: a LoRA Stack and its rows as our JSON."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "2": {
            "class_type": "LorchestraLoraStack",
            "inputs": {"model": ["1", 0], "clip": ["1", 1], "loras": loras, "missing": missing},
        },
        "3": {
            "class_type": "LorchestraApiExport",
            "inputs": {"lora_stack": ["2", 2], "format": "json", "filename_prefix": "api", "allow_names": True},
        },
    }


@pytest.mark.parametrize(
    "loras",
    [
        {"version": 1, "loras": ROWS},
        json.dumps({"version": 1, "loras": ROWS}),
        {"__value__": ROWS},
        {"__value__": [[WARM, 0.75, 0.75], [LINES, 0.5, 0.5]]},
        f"<lora:{WARM}:0.75>, <lora:lines:0.5>",
        json.dumps([{"lora": "warm", "model": 0.75}, {"lora": "lines", "model": 0.5}]),
    ],
    ids=["object", "text", "list", "triples", "tags", "names"],
)
def test_every_form_of_the_stack_is_read(server: Any, loras: Any) -> None:
    outputs = server.run(export_prompt(loras))
    rows = json.loads(outputs["3"]["text"][0])["loras"]
    assert [(row["lora"], row["model"]) for row in rows] == [(WARM, 0.75), (LINES, 0.5)]


def test_runware_text_is_read(server: Any) -> None:
    text = json.dumps([{"model": "civitai:120096@135931", "weight": 0.7}])
    outputs = server.run(export_prompt(text, missing="skip"))
    rows = json.loads(outputs["3"]["text"][0])["loras"]
    assert rows[0]["air"] == "civitai:120096@135931"
    assert "135931" in outputs["2"]["text"][0]


@pytest.mark.parametrize(
    ("loras", "sentence"),
    [
        ("nonsense", "the stack is neither JSON nor <lora:name:weight> text"),
        ({"loras": [{"lora": WARM}, {"lora": LINES, "model": "much"}]}, 'row 2: the weight "model" is'),
        ({"loras": [{"lora": "../../../etc/passwd"}]}, "../../../etc/passwd"),
        ({"loras": [{"lora": "twin"}]}, "is in 2 folders. Choose one: one/twin.safetensors, two/twin.safetensors"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_our_sentence(server: Any, loras: Any, sentence: str) -> None:
    with pytest.raises(PromptRefused) as refused:
        server.run(export_prompt(loras))
    assert sentence in str(refused.value)
    assert list(refused.value.node_errors) == ["2"]


@pytest.fixture
def sparse(server: Any) -> Iterator[str]:
    """A checkpoint with SD 1.5's names and shapes that could not be loaded; gone before a page chooses it."""
    path = write_sparse(server.base / "models/checkpoints/sparse/sd15.safetensors", base_shapes("sd15"))
    yield "sparse/sd15.safetensors"
    path.unlink()


def test_a_lora_for_another_model_is_refused_before_anything_is_loaded(server: Any, sparse: str) -> None:
    write_sparse(server.base / "models/loras/sparse/flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    prompt = export_prompt("<lora:sparse/flux:1>")
    prompt["1"]["inputs"]["ckpt_name"] = sparse
    prompt["5:1"] = {
        "class_type": "ModelSamplingDiscrete",
        "inputs": {"model": ["1", 0], "sampling": "eps", "zsnr": False},
    }
    prompt["2"]["inputs"]["model"] = ["5:1", 0]
    before = server.log_text()
    with pytest.raises(PromptRefused) as refused:
        server.run(prompt)
    sentence = (
        "row 1: sparse/flux: made for FLUX.1, this model is SD 1.5: 0 of 304 modules fit. "
        "Choose an SD 1.5 LoRA or switch this row off."
    )
    (error,) = refused.value.node_errors["2"]["errors"]
    assert error["details"] == f"loras - {sentence}"
    assert "model_type" not in server.log_text().removeprefix(before)


def test_policy_warn_applies_what_fits_and_check_says_what_does_not(server: Any) -> None:
    write_sparse(server.base / "models/loras/sparse/flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    prompt = export_prompt("<lora:sparse/flux:1> <lora:warm:1>")
    prompt["2"]["inputs"]["policy"] = "warn"
    prompt["4"] = {
        "class_type": "LorchestraLoraCheck",
        "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_stack": ["2", 2]},
    }
    prompt["3"]["inputs"]["lora_stack"] = ["4", 3]
    outputs = server.run(prompt)
    rows = outputs["4"]["text"][0].splitlines()
    assert rows[0].startswith("sparse/flux.safetensors: made for FLUX.1; 0 of 304 modules fit this model. Choose")
    assert rows[1].startswith(f"{WARM}: weight 1, all ")
    assert [row["lora"] for row in json.loads(outputs["3"]["text"][0])["loras"]] == [WARM]
    assert "LoRA Stack: sparse/flux: made for FLUX.1" in server.log_text()


def test_twins_are_told_apart_by_their_folders(server: Any) -> None:
    loras = {"loras": [{"lora": "one/twin.safetensors"}, {"lora": "two\\twin"}]}
    outputs = server.run(export_prompt(loras))
    assert outputs["2"]["text"][0].count("modules fit") + outputs["2"]["text"][0].count("module fits") == 2


def test_help_pages_and_examples_are_served(server: Any, pack_folder: str) -> None:
    for node in (
        "LorchestraLoraStack", "LorchestraLoraSchedule", "LorchestraLoraCheck", "LorchestraApiExport",
        "LorchestraStackFromRequest", "LorchestraLoraBalance", "LorchestraLoraVariants", "LorchestraContactSheet",
        "LorchestraLoraRegion",
    ):  # fmt: skip
        assert server.fetch(f"/extensions/{pack_folder}/docs/{node}.md").startswith(b"# ")
    examples = ["lora_api", "lora_check", "lora_compare", "lora_region", "lora_schedule", "lora_stack"]
    assert sorted(server.get("/api/workflow_templates")[pack_folder]) == examples
    for example in examples:
        assert server.fetch(f"/api/workflow_templates/{pack_folder}/{example}.jpg").startswith(b"\xff\xd8")


def test_pack_and_checkpoint_load_without_complaints(server: Any) -> None:
    server.run(export_prompt("<lora:warm>"))
    log = server.log_text()
    assert "ComfyUI-Lorchestra" in log
    assert "model_type EPS" in log
    for complaint in ("IMPORT FAILED", "clip missing", "unet missing", "unet unexpected", "Missing VAE keys"):
        assert complaint not in log
