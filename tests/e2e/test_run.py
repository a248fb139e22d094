"""Workflows with our nodes, run through the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pictures import pixels, saved
from support.sparse_files import lora_shapes, write_sparse

EXAMPLES = Path(__file__).parents[2] / "example_workflows"
EXAMPLE = EXAMPLES / "lora_stack.json"
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
BOTH = json.dumps({"version": 1, "loras": [{"lora": WARM, "model": 0.75}, {"lora": LINES, "model": 0.5, "clip": 0.25}]})


def test_example_workflow_runs_and_its_loras_change_the_picture(face: Any) -> None:
    face.load(EXAMPLE)
    face.wait_for(lambda: face.status.inner_text() == "2 LoRAs")
    assert face.marked() == []
    assert face.page.evaluate("app.graph.nodes.every((node) => node.type in LiteGraph.registered_node_types)")
    assert not face.page.get_by_text("Missing Node", exact=False).is_visible()
    for name in ("width", "height"):
        face.set_widget("EmptyLatentImage", name, 64)
    face.set_widget("KSampler", "steps", 2)
    with_loras = pixels(face.server, saved(face.queue()))
    assert face.page.get_by_label("Report of the last run").input_value().count("modules fit") == 2
    face.screenshot("example")
    face.type(face.text.input_value().replace('"model"', '"on": false, "model"'))
    assert face.status.inner_text() == "2 LoRAs, 2 off"
    if face.renderer == "nodes2":
        return  # what is drawn does not depend on the renderer, and drawing takes long
    assert pixels(face.server, saved(face.queue())) != with_loras


def add_export(face: Any, text: str) -> None:
    face.add("CheckpointLoaderSimple", x=60, y=120)
    face.add(x=420, y=120)
    face.add("LorchestraApiExport", x=880, y=120)
    face.page.evaluate(
        """() => {
            const [loader, stack, exporter] = app.graph.nodes;
            loader.connect(0, stack, 'model'); loader.connect(1, stack, 'clip');
            stack.connect(2, exporter, 'lora_stack');
        }"""
    )
    face.type(text)


def test_api_export_shows_its_text_and_writes_a_file(face: Any) -> None:
    add_export(face, BOTH)
    face.set_widget("LorchestraApiExport", "format", "a1111")
    name = face.name.replace(".", "_")
    face.set_widget("LorchestraApiExport", "filename_prefix", f"exports/{name}")
    before = face.workflow()
    outputs = face.queue()
    shown = face.page.get_by_label("What was written")
    shown.wait_for(state="visible")
    text = next(output["text"][0] for output in outputs.values() if "files" in output)
    assert shown.input_value() == text
    assert "<lora:warm:0.75>" in text
    files = list((face.server.base / "output/exports").glob(f"{name}_*"))
    assert len(files) == 1
    assert files[0].read_text(encoding="utf-8").strip() in text
    # What is shown is no part of the workflow or of the prompt, and shifts no other widget's value.
    after = face.workflow()
    values = [json.dumps([node.get("widgets_values") for node in saved["nodes"]]) for saved in (before, after)]
    known = [re.sub(r', \\"sha256\\": \\"[0-9a-f]{64}\\"', "", text) for text in values]  # learned meanwhile
    assert known[0] == known[1]
    assert not any("lorchestra_result" in node["inputs"] for node in face.prompt().values())
    # A second run writes into the same text area.
    face.set_widget("LorchestraApiExport", "format", "json")
    face.queue()
    assert shown.count() == 1
    assert json.loads(shown.input_value())["loras"][0]["lora"] == WARM


def test_text_that_does_not_parse_marks_the_node_with_our_sentence(face: Any) -> None:
    add_export(face, '{"version": 1, "loras": [{"lora": "a.safetensors", "model": 1000}]}')
    errors = json.dumps(face.refused(), ensure_ascii=False)
    assert 'row 1: the weight \\"model\\" is 1000; it must lie in -100 … 100' in errors
    assert face.marked() == ["LorchestraLoraStack"]


def test_missing_file_is_an_error_before_the_run_or_skipped(face: Any) -> None:
    add_export(face, json.dumps({"loras": [{"lora": "not-here.safetensors"}, {"lora": WARM}]}))
    assert "not-here.safetensors" in json.dumps(face.refused())
    face.set_widget("LorchestraLoraStack", "missing", "skip")
    face.set_widget("LorchestraApiExport", "format", "json")
    face.queue()
    assert "not-here" in face.page.get_by_label("Report of the last run").input_value()


@pytest.fixture
def flux(face: Any) -> Iterator[None]:
    """A LoRA for another model, without weights; other tests count what is there."""
    path = face.server.base / "models/loras/lorchestra-demo/for-flux.safetensors"
    write_sparse(path, lora_shapes("flux1_dev", "*_blocks.*"))
    yield
    path.unlink()


def test_a_lora_for_another_model_makes_the_node_red_or_is_skipped(face: Any, flux: None) -> None:
    add_export(face, f"<lora:{WARM}:1> <lora:for-flux:1>")
    errors = face.refused()
    sentence = "row 2: for-flux: made for FLUX.1; 0 of 304 modules fit this model."
    (error,) = errors["2"]
    assert error["details"].startswith(f"loras - {sentence}")
    assert face.marked() == ["LorchestraLoraStack"]
    face.screenshot("refused")
    face.set_widget("LorchestraLoraStack", "policy", "warn")
    face.set_widget("LorchestraApiExport", "format", "json")
    face.queue()
    report = face.page.get_by_label("Report of the last run").input_value()
    assert "modules fit" in report.splitlines()[0]
    assert "for-flux: made for FLUX.1" in report.splitlines()[1]


def test_check_shows_what_fits_in_the_example(face: Any, flux: None) -> None:
    face.load(EXAMPLES / "lora_check.json")
    face.wait_for(lambda: face.status.inner_text() == "3 LoRAs")
    assert face.marked() == []
    # Drawing the picture takes long.
    face.page.evaluate("app.graph.remove(app.graph.nodes.find((node) => node.type === 'SaveImage'))")
    face.queue()
    shown = face.page.get_by_label("What fits the model")
    shown.wait_for(state="visible")
    verdicts = shown.input_value().splitlines()
    assert len(verdicts) == 3
    assert "all " in verdicts[0] and "all " in verdicts[1]
    assert verdicts[2].startswith("lorchestra-demo/for-flux.safetensors: made for FLUX.1; 0 of 304 modules fit")
    assert face.page.get_by_label("Report of the last run").input_value().splitlines()[2] == verdicts[2]
    face.screenshot("check")
