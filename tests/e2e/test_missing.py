"""A workflow from elsewhere: what it lacks is said once, and one dialog for all of it helps to find it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from lorchestra.demo.loras import layers, write_lora

WARM = "lorchestra-demo/warm.safetensors"
LINES = "lorchestra-demo/lines.safetensors"
AIR = "urn:air:sdxl:lora:civitai:120096@135931"
PAGE = "https://civitai.com/models/120096?modelVersionId=135931"
ENCLOSE = """(ids) => {
    const nodes = ids.map((id) => app.graph.getNodeById(id));
    app.graph.convertToSubgraph(new Set(nodes));
}"""
FORGET = "() => { app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length = 0; }"
"""ComfyUI keeps 50 steps: in a page of many tests, one more makes them no more."""
UNDO = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"
LIVE = """() => {
    const nodes = [...app.graph.nodes, ...app.graph.nodes.flatMap((node) => node.subgraph?.nodes ?? [])];
    return nodes.flatMap((node) => node.widgets ?? []).filter((one) => one.type === 'LORCHESTRA_LORAS')
        .map((one) => one.value);
}"""


class Missing:
    """The notice and the dialog of a page."""

    def __init__(self, face: Any, folder: Path) -> None:
        self.face, self.page, self.folder = face, face.page, folder

    @property
    def notice(self) -> Locator:
        return self.page.get_by_role("region", name="Missing LoRAs")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog", name="Missing LoRAs")

    def item(self, name: str) -> Locator:
        return self.dialog.get_by_role("listitem").filter(has=self.page.get_by_text(name, exact=True)).first

    def stack(self, *rows: dict[str, Any], x: int = 300) -> int:
        """A LoRA Stack with these rows."""
        node = self.face.add(x=x)
        value = json.dumps({"version": 1, "loras": list(rows)})
        self.page.evaluate(
            """([id, value]) => {
                app.canvas.emitBeforeChange();
                app.graph.getNodeById(id).widgets.find((one) => one.name === 'loras').value = value;
                app.canvas.emitAfterChange();
            }""",
            [node, value],
        )
        return node

    def load(self) -> None:
        """Opens the workflow as if it came from elsewhere."""
        path = self.folder / "workflow.json"
        path.write_text(json.dumps(self.face.workflow()), encoding="utf-8")
        self.page.locator("#comfy-file-input").set_input_files(path)

    def rows(self) -> list[list[dict[str, Any]]]:
        """The rows of all stacks, also in subgraphs."""
        return [json.loads(text)["loras"] for text in self.page.evaluate(LIVE)]


@pytest.fixture
def missing(face: Any, tmp_path: Path) -> Iterator[Missing]:
    found = Missing(face, tmp_path)
    yield found
    found.page.keyboard.press("Escape")
    expect(found.dialog).to_have_count(0)


@pytest.fixture
def arrived(face: Any, base: Path) -> Iterator[list[tuple[str, str]]]:
    """Names and hashes of two files that nobody has hashed yet."""
    folder = base / "models/loras/arrived"
    paths = [folder / f"{face.name} {number}.safetensors" for number in range(2)]
    for number, path in enumerate(paths):
        write_lora(path, layers("middle_block.1.*.attn1.to_q"), "native", seed=time.time_ns() % 2**31 + number)
    yield [(f"arrived/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    for path in paths:
        path.unlink()


def test_it_is_said_once_and_shown_when_asked_for(missing: Missing) -> None:
    gone = {"lora": "gone/painterly.safetensors", "sha256": "c" * 64, "air": AIR}
    first = missing.stack(gone, {"lora": WARM}, {"lora": "off.safetensors", "on": False})
    missing.stack({"lora": "old/lines.safetensors"}, {"lora": "deep/twin.safetensors"}, x=800)
    missing.page.evaluate(ENCLOSE, [first])
    missing.load()
    expect(missing.notice.get_by_role("status")).to_have_text("2 LoRAs of this workflow are missing")
    expect(missing.dialog).to_have_count(0)
    missing.face.screenshot("missing_notice")
    find = missing.notice.get_by_role("button", name="Find")
    find.focus()
    missing.page.keyboard.press("Enter")
    expect(missing.dialog.get_by_role("status")).to_contain_text(
        "3 LoRAs are not on this machine. 1 is used under another"
    )
    expect(missing.notice).to_have_count(0)
    item = missing.item("gone/painterly.safetensors")
    expect(item).to_contain_text("c" * 64)
    expect(item).to_contain_text(AIR)
    expect(item).to_contain_text("Made for")
    expect(item).to_contain_text("SDXL")
    link = item.get_by_role("link", name=PAGE)
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (PAGE, "noopener")
    expect(missing.item("off.safetensors")).to_contain_text("row 3, off")
    expect(missing.item("deep/twin.safetensors").get_by_role("button", name="Use ")).to_have_count(2)
    missing.face.screenshot("missing_dialog")
    missing.page.keyboard.press("Escape")
    expect(missing.dialog).to_have_count(0)
    missing.load()  # the same once more
    missing.page.wait_for_timeout(1500)
    expect(missing.notice).to_have_count(0)
    missing.face.menu("Missing LoRAs")
    expect(missing.item("gone/painterly.safetensors")).to_be_visible()


def test_one_file_is_used_and_all_certain_ones_with_one_step_for_each_node(
    missing: Missing, arrived: list[tuple[str, str]]
) -> None:
    (one, hash_of_one), (other, hash_of_other) = arrived
    missing.stack(
        {"lora": "old/a.safetensors", "sha256": hash_of_one, "model": 0.4},
        {"lora": "old/lines.safetensors"},
        {"lora": "deep/twin.safetensors", "sha256": "d" * 64, "air": AIR},
    )
    missing.stack({"lora": "old/b.safetensors", "sha256": hash_of_other}, x=800)
    missing.load()
    missing.notice.get_by_role("button", name="Find").click()
    missing.item("deep/twin.safetensors").get_by_role("button", name="Use this: two/twin.safetensors").click()
    expect(missing.item("deep/twin.safetensors")).to_have_count(0)
    twin = missing.rows()[0][2]
    assert (twin["lora"], twin.get("air")) == ("two/twin.safetensors", None)
    assert twin.get("sha256") != "d" * 64  # what was said of another file is gone
    missing.dialog.get_by_role("button", name="Search all by hash").click()
    all_certain = missing.dialog.get_by_role("button", name="Use all 3 sure matches")
    expect(all_certain).to_be_visible(timeout=20_000)
    missing.page.evaluate(FORGET)
    before = missing.page.evaluate(UNDO)
    all_certain.click()
    expect(missing.dialog.get_by_role("status")).to_have_text("All LoRAs of this workflow are on this machine.")
    first, second = missing.rows()
    assert first[0] == {"lora": one, "model": 0.4, "sha256": hash_of_one}
    assert (first[1]["lora"], second[0]["lora"], second[0]["sha256"]) == (LINES, other, hash_of_other)
    assert missing.page.evaluate(UNDO) == before + 2
    missing.page.keyboard.press("Escape")
    missing.face.press("Control+z")
    missing.face.wait_for(lambda: missing.rows()[1][0]["lora"] == "old/b.safetensors")
    assert missing.rows()[0][0]["lora"] == one


def test_a_search_says_how_far_it_is_and_can_be_stopped(missing: Missing) -> None:
    page = missing.page
    missing.stack({"lora": "gone.safetensors", "sha256": "c" * 64})
    missing.load()
    missing.notice.get_by_role("button", name="Find").click()
    waiting: list[Any] = []
    page.route("**/lorchestra/find", lambda route: waiting.append(route))
    page.route("**/lorchestra/index", lambda route: route.fulfill(json={"searching": {"done": 12, "total": 300}}))
    try:
        missing.item("gone.safetensors").get_by_role("button", name="Search by hash").click()
        expect(missing.dialog).to_contain_text("Searching for gone: 12 of 300 files read")
        assert page.get_by_role("progressbar").get_attribute("max") == "300"
        missing.dialog.get_by_role("button", name="Stop").click()
        expect(missing.dialog.get_by_role("progressbar")).to_have_count(0)
        expect(missing.item("gone.safetensors").get_by_role("button", name="Search by hash")).to_be_enabled()
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
    finally:
        for route in waiting:
            route.abort()
        page.unroute("**/lorchestra/find")
        page.unroute("**/lorchestra/index")


def test_keys_stay_out_of_the_graph_where_the_focus_was_lost(missing: Missing) -> None:
    page = missing.page
    node = missing.stack({"lora": "gone.safetensors"})
    missing.load()
    missing.notice.get_by_role("button", name="Find").click()
    page.evaluate("(id) => { app.canvas.selectNode(app.graph.getNodeById(id)); document.activeElement.blur(); }", node)
    page.keyboard.press("Delete")
    missing.face.settle()
    assert len(missing.rows()) == 1
    page.keyboard.press("Escape")
    expect(missing.dialog).to_have_count(0)


def test_a_row_shows_the_file_that_is_used_and_takes_its_name(missing: Missing) -> None:
    missing.stack({"lora": "lines", "model": 0.5}, {"lora": "old/lines.safetensors"})
    where = missing.face.row(0).locator(".lorchestra-name-folder")
    expect(where).to_have_text(f"→ {LINES}")
    expect(missing.face.row(1).get_by_role("button", name=f"Use this {LINES}")).to_be_visible()
    missing.face.screenshot("missing_used")
    missing.face.menu("Use this name", row=0)
    missing.face.wait_for(lambda: missing.rows()[0][0]["lora"] == LINES)
    expect(where).to_have_text("lorchestra-demo")
    missing.face.press("Control+z")
    missing.face.wait_for(lambda: missing.rows()[0][0]["lora"] == "lines")


def test_all_files_are_identified_when_that_is_asked_for(missing: Missing) -> None:
    page = missing.page
    asked: list[Any] = []

    def answer(route: Any) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json={"hashing": {"done": 1, "total": 9} if asked[-1]["hash"] else {"done": 0, "total": 0}})

    lists: list[Any] = []
    missing.stack({"lora": WARM})
    page.route("**/lorchestra/index", answer)
    page.route("**/lorchestra/loras", lambda route: lists.append(route))
    page.route("**/models/loras", lambda route: route.abort())
    try:
        missing.face.menu("Identify all files")
        panel = page.get_by_role("dialog", name="Identify all files")
        expect(panel).to_contain_text("Reads every LoRA file once")
        missing.face.wait_for(lambda: bool(lists))
        panel.get_by_role("button", name="Identify all files").click()
        expect(panel.get_by_role("status")).to_have_text("hashing 1 of 9")
        with page.expect_response("**/lorchestra/loras"):
            lists[0].continue_()  # that list is from before, and says nothing of hashing
        missing.face.settle()
        expect(panel.get_by_role("status")).to_have_text("hashing 1 of 9")
        panel.get_by_role("button", name="Stop").click()
        expect(panel.get_by_role("status")).to_have_count(0)
        assert asked == [{"hash": True}, {"hash": False}]
    finally:
        for pattern in ("**/lorchestra/index", "**/lorchestra/loras", "**/models/loras"):
            page.unroute(pattern)
        for route in lists[1:]:
            route.abort()
