"""ComfyUI's own templates as APIs: all export, and become the graphs that the editor itself makes of them."""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support.graphs_equal import prints

from lorchestra.demo.comfyui import Server, find_comfyui
from lorchestra.errors import LorchestraError
from lorchestra.workflow.api_form import to_api
from lorchestra.workflow.create import create
from lorchestra.workflow.documents import example_of, openapi_of, schema_of
from lorchestra.workflow.publication import publish

Json = Any

LOAD = """async (text) => {
    await app.loadGraphData(JSON.parse(text), true, false, null);
    await new Promise((done) => setTimeout(done, 60));
    return JSON.stringify((await app.graphToPrompt()).output);
}"""
OTHERWISE = {
    "template_contact_sheet-step_3.app.json": "the editor forgets a primitive's value where its link enters a subgraph",
    "templates_graphic_design_recomposer.json": "the editor puts a value of an older node into the wrong widget",
    "flux1_dev_uso_reference_image_gen.json": "the editor queues what is inside of a bypassed subgraph, for nothing",
}
"""Templates of which the editor makes another graph, and why."""


def templates() -> list[Path]:
    """The workflows of the package comfyui-workflow-templates-json."""
    spec = importlib.util.find_spec("comfyui_workflow_templates_json")
    if spec is None or spec.origin is None:
        pytest.skip("this ComfyUI has no package comfyui-workflow-templates-json")
    files = sorted((Path(spec.origin).parent / "templates").glob("*.json"))
    return [path for path in files if isinstance(data := json.loads(path.read_text()), dict) and "nodes" in data]


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI with the nodes of its partners, which many templates have, and without the pack."""
    found = find_comfyui()
    if found is None:
        pytest.skip("no ComfyUI was found. Set COMFYUI_PATH.")
    with Server(found, tmp_path_factory.mktemp("templates"), partners=True) as running:
        yield running


@pytest.mark.slow
def test_all_templates_export(comfyui: Server) -> None:
    """At least 97 of 100 become a schema, an example that is valid, and a graph; the others say why not."""
    jsonschema = pytest.importorskip("jsonschema")
    info = comfyui.object_info()
    files = templates()
    refused: dict[str, str] = {}
    for path in files:
        try:
            made = publish(json.loads(path.read_text(encoding="utf-8")), info, "template")
        except LorchestraError as error:
            refused[path.name] = str(error)
            continue
        schema = schema_of(made)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(example_of(made))
        assert create(made, example_of(made), resolve=lambda model: model).keys() == made.graph.keys()
        assert made.outputs
        document = openapi_of([made], comfyui.url)
        assert "/workflows/template/jobs" in document["paths"]
    assert len(files) > 300
    assert len(refused) <= 0.03 * len(files), refused
    assert all(reason.startswith("node ") and "this ComfyUI has no such node" in reason for reason in refused.values())


@pytest.mark.slow
def test_the_editor_makes_the_same_graphs(comfyui: Server, browser: Browser) -> None:
    """A hundred of the templates, with and without subgraphs, those of the list above among them."""
    info = comfyui.object_info()
    files = templates()
    chosen = random.Random(7).sample(files, min(100, len(files)))
    chosen += [path for path in files if path.name in OTHERWISE and path not in chosen]
    comfyui.post("/settings", {"Comfy.TutorialCompleted": True, "Comfy.Workflow.ShowMissingNodesWarning": False})
    page = opened(browser, comfyui.url)
    different: list[str] = []
    for path in chosen:
        text = path.read_text(encoding="utf-8")
        try:
            ours = to_api(json.loads(text), info).graph
        except LorchestraError:
            continue
        if prints(json.loads(page.evaluate(LOAD, text))) != prints(ours) and path.name not in OTHERWISE:
            different.append(path.name)
    page.context.close()
    assert not different


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_function("Boolean(window.app?.graph && LiteGraph.registered_node_types.KSampler)", timeout=120_000)
    page.wait_for_timeout(2000)
    return page
