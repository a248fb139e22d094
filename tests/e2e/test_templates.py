"""Every LoRA loader in ComfyUI's own templates and blueprints becomes a LoRA Stack, whatever subgraph holds its name.

What would be run afterwards is what would have been run before, but for the loaders and the stacks in their place.
A few files are tried, each with loaders that are placed in another way. `ALL_TEMPLATES=1` tries all of them, for some
nine minutes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.exchange import STACK
from support.frontends import OLDEST

from lorchestra.demo.comfyui import find_comfyui

pytestmark = [pytest.mark.slow]

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
