"""Templates: ours run and leave room for what nodes show; the LoRA loaders of ComfyUI's own become LoRA Stacks.

Every loader in ComfyUI's own templates and blueprints does, whatever subgraph holds its name. What would be run
afterwards is what would have been run before, but for the loaders and the stacks in their place. A few files are tried,
each with loaders that are placed in another way. `ALL_TEMPLATES=1` tries all of them, for some nine minutes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from support.exchange import STACK
from support.frontends import OLDEST

from lorchestra.demo.comfyui import find_comfyui
from lorchestra.workflow.publication import publish

OURS = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
ROWS = 7
"""Of a stack in a template that somebody has worked with."""
BOXES = """() => app.graph.nodes.map((node) => {
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`);
    const box = drawn?.getBoundingClientRect();
    const { scale } = app.canvas.ds;
    const [left, top, width, height] = box ? [box.x, box.y, box.width / scale, box.height / scale]
        : [...node.pos, ...node.size];
    const at = box ? app.canvas.convertEventToCanvasOffset({ clientX: left, clientY: top }) : [left, top - 30];
    return { type: node.type, left: at[0], top: at[1], right: at[0] + width, bottom: at[1] + height + (box ? 0 : 30) };
})"""
"""Where the nodes are, with their titles."""


def overlapping(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (one["type"], other["type"])
        for one, other in combinations(boxes, 2)
        if one["left"] < other["right"] and other["left"] < one["right"]
        and one["top"] < other["bottom"] and other["top"] < one["bottom"]
    ]  # fmt: skip


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_templates_run_and_leave_room(face: Any, path: Path) -> None:
    """Also with more rows than they come with, and with all that the nodes show after a run."""
    face.load(path)
    assert face.marked() == []
    assert overlapping(face.page.evaluate(BOXES)) == []
    row = {"lora": "lorchestra-demo/lines.safetensors", "model": 0.1}
    face.set_widget("LorchestraLoraStack", "loras", json.dumps({"version": 1, "loras": [row] * ROWS}))
    face.page.evaluate(SMALL)
    face.settle()
    face.queue()
    face.settle()
    assert overlapping(face.page.evaluate(BOXES)) == []
    face.page.evaluate("app.canvas.ds.scale = 0.5; app.canvas.ds.offset = [60, 120]; app.canvas.setDirty(true, true)")
    face.settle()
    face.screenshot(f"template-{path.stem}")


def test_lora_api_is_an_api(face: Any) -> None:
    """Its inputs are those of the titles; API Export copies the documents of the very workflow that ran."""
    path = next(path for path in OURS if path.stem == "lora_api")
    face.load(path)
    face.page.evaluate(SMALL)
    face.queue()
    copied = face.page.get_by_role("group", name="Copy the workflow as an API")
    names = copied.get_by_role("button").all_inner_texts()
    assert names == ["Schema", "OpenAPI", "Request", "curl", "Python"]
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied.get_by_role("button", name="Copy Schema").click()
    face.page.get_by_text("Copied: Schema").first.wait_for(state="visible")
    schema = json.loads(face.page.evaluate("navigator.clipboard.readText()"))
    assert list(schema["properties"]) == INPUTS
    newest = max((face.server.base / "output/lorchestra").glob("lighthouse_*.schema.json"))
    assert json.loads(newest.read_text("utf-8")) == schema
    published = publish(json.loads(path.read_text("utf-8")), face.server.object_info(), "lighthouse")
    assert [item.name for item in published.inputs] == INPUTS
    assert published.notes == ()


INPUTS = [
    "prompt", "negative", "loras", "request", "seed", "steps", "cfg", "sampler", "scheduler", "width",
    "height", "batch_size", "checkpoint",
]  # fmt: skip
SMALL = """() => {
    for (const node of app.graph.nodes) for (const widget of node.widgets ?? []) {
        if (node.type.startsWith("Empty") && ["width", "height"].includes(widget.name)) widget.value = 64;
        if (widget.name === "steps" && node.type === "KSampler") widget.value = 2;
    }
}"""
"""Drawing takes long."""

LOADERS = {"LoraLoader", "LoraLoaderModelOnly"}
CONVERT_ALL = """async (folder) => {
    const { api } = await import("/scripts/api.js");
    const { convert, convertible } = await import(`/extensions/${folder}/convert/convert.mjs`);
    const root = app.rootGraph ?? app.graph.rootGraph ?? app.graph;
    const graphs = new Set([root]);
    for (const graph of graphs) for (const node of graph.nodes) if (node.subgraph) graphs.add(node.subgraph);
    const outcome = { loaders: 0, converted: 0, refused: [] };
    for (const graph of graphs) {
        const loaders = () => graph.nodes.filter((node) => /^LoraLoader(ModelOnly)?$/.test(node.type));
        outcome.loaders += loaders().length;
        for (const loader of loaders()) {
            if (graph.getNodeById(loader.id) !== loader) continue;
            const { reason } = convertible(loader), before = loaders().length;
            const stack = reason ? undefined : await convert({ app, api }, loader);
            if (stack) outcome.converted += before - loaders().length;
            else outcome.refused.push(reason || "undone");
        }
    }
    return outcome;
}"""


def templates() -> Iterator[Path]:
    """The files that hold LoRA loaders."""
    comfyui = find_comfyui()
    if comfyui is None:
        return
    folders = [comfyui.root / "blueprints"]
    for package in sorted(comfyui.python.parents[1].glob("lib/python*/site-packages/comfyui_workflow_templates*")):
        if package.is_dir() and not package.name.endswith(".dist-info"):
            folders.append(package)
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            text = path.read_text("utf-8")
            if any(f'"{kind}"' in text for kind in LOADERS):
                yield path


def placed(workflow: dict[str, Any]) -> tuple[tuple[object, ...], ...]:
    """How its loaders are placed: whether in a subgraph, with which inputs, and how many."""
    subgraphs = (workflow.get("definitions") or {}).get("subgraphs", [])
    found = [
        (graph is not workflow, node["type"], *sorted(slot["name"] for slot in node["inputs"] if slot.get("link")))
        for graph in (workflow, *subgraphs)
        for node in graph["nodes"]
        if node["type"] in LOADERS
    ]
    return tuple(sorted(found))


def sample(files: list[Path]) -> list[Path]:
    """The smallest file of each sort; at most eight."""
    first: dict[object, Path] = {}
    for path in sorted(files, key=lambda path: path.stat().st_size):
        first.setdefault(placed(json.loads(path.read_text("utf-8"))), path)
    return list(first.values())[:8]


def lora_free(prompt: dict[str, Any]) -> dict[str, Any]:
    """All nodes but loaders and stacks; where a link went through them, what it begins at, and the LoRAs on its way."""

    def weights(node: dict[str, Any], slot: int) -> list[tuple[str, float]]:
        inputs = node["inputs"]
        if node["class_type"] in LOADERS:
            return [(inputs["lora_name"], inputs["strength_clip" if slot else "strength_model"])]
        rows = json.loads(inputs["loras"])["loras"]
        return [(row["lora"], row.get("clip", row["model"]) if slot else row["model"]) for row in reversed(rows)]

    def follow(link: Any) -> Any:
        if not (isinstance(link, list) and len(link) == 2 and isinstance(link[1], int)):
            return link
        loras: list[tuple[str, float]] = []
        while (node := prompt.get(link[0])) and node["class_type"] in {*LOADERS, STACK}:
            loras += weights(node, link[1])
            link = node["inputs"]["clip" if link[1] else "model"]
        return [*link, loras]

    return {
        key: {"type": node["class_type"], **{name: follow(value) for name, value in node["inputs"].items()}}
        for key, node in prompt.items()
        if node["class_type"] not in {*LOADERS, STACK}
    }


@pytest.mark.slow
def test_loaders_of_the_official_templates(face: Any, pack_folder: str) -> None:
    face.skip_in(OLDEST, "inputs that take any one type, as the templates have them, are newer")
    files = list(templates())
    if not files:
        pytest.skip("no templates are installed beside ComfyUI")
    every = os.environ.get("ALL_TEMPLATES") == "1"
    files = files if every else sample(files)
    loaders = converted = 0
    refused: list[str] = []
    for path in files:
        face.page.evaluate(
            "(workflow) => app.loadGraphData(workflow, true, true, null, { showMissingNodesDialog: false })",
            json.loads(path.read_text("utf-8")),
        )
        face.page.keyboard.press("Escape")
        before = lora_free(face.prompt())
        outcome = face.page.evaluate(CONVERT_ALL, pack_folder)
        loaders, converted = loaders + outcome["loaders"], converted + outcome["converted"]
        refused += [f"{path.name}: {reason}" for reason in outcome["refused"]]
        assert lora_free(face.prompt()) == before, path.name
    assert loaders >= (150 if every else len(files))
    assert refused == []
    assert converted == loaders
