"""A saved workflow says by what its files are known; nothing else notices: not the prompt, not undo, not the mark."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lorchestra.demo.loras import layers, write_lora

TRACKER = """() => {
    const workflow = app.extensionManager.workflow.activeWorkflow, tracker = workflow.changeTracker;
    (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
    return [workflow.isModified, tracker.undoQueue.length, tracker.redoQueue.length];
}"""
AS_SAVED = """() => {
    const workflow = app.extensionManager.workflow.activeWorkflow, tracker = workflow.changeTracker;
    (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
    tracker.reset(); workflow.isModified = false;
}"""
SAVE = "() => { app.extensionManager.command.execute('Comfy.SaveWorkflowAs'); }"
ENCLOSE = """(promote) => {
    const graph = app.graph;
    graph.convertToSubgraph(new Set([graph.nodes.find((node) => node.type === 'LorchestraLoraStack')]));
    if (!promote) return;
    const host = app.graph.nodes.find((node) => node.isSubgraphNode?.()), [inner] = host.subgraph.nodes;
    const slot = inner.inputs.find((input) => input.widget?.name === 'loras');
    host.subgraph.addInput('loras', String(slot.type)).connect(slot, inner);
    app.canvas.setDirty(true, true);
}"""
LIVE = """() => {
    const nodes = [...app.graph.nodes, ...app.graph.nodes.flatMap((node) => node.subgraph?.nodes ?? [])];
    return nodes.flatMap((node) => node.widgets ?? []).filter((one) => one.type === 'LORCHESTRA_LORAS')
        .map((one) => one.value);
}"""


@pytest.fixture
def named(face: Any, base: Path) -> Iterator[tuple[str, str]]:
    """Name and hash of a file that no other test knows, with an AIR in its sidecar."""
    path = write_file(base, f"known {face.name}")
    sidecar = path.with_suffix(".civitai.info")
    sidecar.write_text(json.dumps({"modelId": 11, "id": 22, "baseModel": "SD 1.5"}))
    yield f"saving/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    sidecar.unlink()


@pytest.fixture
def unnamed(face: Any, base: Path) -> Iterator[str]:
    """Name of a file of which no hash and no AIR is known."""
    path = write_file(base, f"unknown {face.name}")
    yield f"saving/{path.name}"
    path.unlink()


def write_file(base: Path, stem: str) -> Path:
    path = base / f"models/loras/saving/{stem} {time.time_ns()}.safetensors"
    return write_lora(path, layers("middle_block.1.*.attn1.to_q"), "native", seed=time.time_ns() % 2**31)


def rows_in(workflow: Any) -> list[dict[str, Any]]:
    """The rows of the LoRA Stacks in a saved workflow: each text that stands there once."""
    graphs = [workflow, *(workflow.get("definitions") or {}).get("subgraphs", [])]
    texts = {
        value
        for graph in graphs
        for node in graph["nodes"]
        for value in node.get("widgets_values") or []
        if isinstance(value, str) and '"loras"' in value
    }
    return [row for text in texts for row in json.loads(text)["loras"]]


def learn(face: Any, name: str) -> None:
    """Lets the server hash the file, and the face ask again."""
    face.server.get(f"/lorchestra/info?hash=1&lora={quote(name)}")
    face.press("r")
    face.wait_for(lambda: all("sha256" in row for row in rows_in(face.workflow()) if row["lora"] == name))


def test_hashes_are_saved_and_nobody_notices(face: Any, named: tuple[str, str], unnamed: str, base: Path) -> None:
    face.add()
    face.pick(Path(named[0]).stem)
    face.pick(Path(unnamed).stem)
    face.page.evaluate(AS_SAVED)
    before, prompt = face.page.evaluate(TRACKER), face.prompt()
    assert before[0] is False
    learn(face, named[0])
    assert face.page.evaluate(TRACKER) == before
    assert (face.prompt(), face.page.evaluate(LIVE)) == (prompt, face.values())
    saved = {row["lora"]: row for row in rows_in(face.workflow())}
    assert saved[named[0]]["sha256"] == named[1]
    assert saved[named[0]]["air"].endswith("civitai:11@22")
    assert "sha256" not in saved[unnamed]

    face.press("Control+z")
    face.wait_for_rows(1)
    assert face.page.evaluate(TRACKER)[1:] == [before[1] - 1, 1]
    assert all("sha256" not in row for row in face.rows())
    face.press("Control+y")
    face.wait_for_rows(2)
    assert face.page.evaluate(TRACKER) == before
    assert face.prompt() == prompt

    name = f"{face.name} {time.time_ns()}"
    face.page.evaluate(SAVE)
    face.page.locator(".p-dialog input, [role=dialog] input").fill(name)
    face.page.keyboard.press("Enter")
    file = base / f"user/default/workflows/{name}.json"
    face.wait_for(file.is_file)
    written = json.loads(file.read_text(encoding="utf-8"))
    assert {row["lora"]: row.get("sha256") for row in rows_in(written)} == {named[0]: named[1], unnamed: None}


def test_rows_hold_them_after_a_reload(face: Any, named: tuple[str, str], tmp_path: Path) -> None:
    face.add()
    face.pick(Path(named[0]).stem)
    learn(face, named[0])
    face.reload(tmp_path)
    (row,) = face.rows()
    assert row["sha256"] == named[1]
    assert row["air"].endswith("civitai:11@22")
    assert face.page.evaluate(TRACKER)[:2] == [False, 0]


@pytest.mark.parametrize("promote", [False, True])
def test_in_subgraphs_and_on_their_nodes(face: Any, named: tuple[str, str], promote: bool) -> None:
    face.add()
    face.pick(Path(named[0]).stem)
    face.page.evaluate(ENCLOSE, promote)
    face.settle()
    face.page.evaluate(AS_SAVED)
    before = face.page.evaluate(TRACKER)
    learn(face, named[0])
    assert face.page.evaluate(TRACKER) == before
    saved = rows_in(face.workflow())
    assert {row.get("sha256") for row in saved} == {named[1]}
    assert all("sha256" not in text for text in face.page.evaluate(LIVE))


def test_a_row_s_own_hash_stays(face: Any, named: tuple[str, str]) -> None:
    face.add()
    face.type(json.dumps({"version": 1, "loras": [{"lora": named[0]}, {"lora": named[0], "sha256": "c" * 64}]}))
    learn(face, named[0])
    assert [row["sha256"] for row in rows_in(face.workflow())] == [named[1], "c" * 64]
