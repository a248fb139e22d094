"""What the head of a LoRA Stack says of its rows, what stands under a row that a run refused, and what mends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from support.frontends import OLDEST
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.demo.prompt import CHECKPOINT

BASE = "z-problems/sdxl.safetensors"
SDXL, FLUX = "z-problems/ink-sdxl.safetensors", "z-problems/ink-flux.safetensors"
NEAR = "z-problems/墨 ink-sdxl-v2.safetensors"
TWIN, OTHER_TWIN = "z-problems/a/mark.safetensors", "z-problems/b/mark.safetensors"
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
CONNECT = """(name) => {
    const loader = app.graph.nodes.find((node) => node.type === "CheckpointLoaderSimple");
    const stack = app.graph.nodes.find((node) => node.type === "LorchestraLoraStack");
    loader.widgets[0].value = name;
    loader.connect(0, stack, "model");
    loader.connect(1, stack, "clip");
}"""
PROMOTE = """() => {
    const graph = app.graph;
    graph.convertToSubgraph(new Set([graph.nodes.find((node) => node.type === "LorchestraLoraStack")]));
    const host = graph.nodes.find((node) => node.isSubgraphNode?.()), [inner] = host.subgraph.nodes;
    const slot = inner.inputs.find((input) => input.widget?.name === "loras");
    host.subgraph.addInput("loras", String(slot.type)).connect(slot, inner);
    app.canvas.setDirty(true, true);
}"""
FITTED = """() => {
    const list = [...document.querySelectorAll('.lorchestra-loras')].find((one) => one.checkVisibility());
    const rows = list.querySelector('.lorchestra-stack-rows');
    return rows.scrollHeight <= rows.clientHeight + 1 && list.scrollHeight <= list.clientHeight + 2;
}"""


STEP = """async (way) => {
    await app.extensionManager.workflow.activeWorkflow.changeTracker[way]();
}"""
"""Undo or redo without keys: at Control, ComfyUI looks for edits, and takes it for one that a node was drawn larger."""


@pytest.fixture
def files(server: Any) -> Iterator[None]:
    """LoRAs for SDXL and for FLUX.1, two of one name, and a model of SDXL; other tests count what is there."""
    loras, checkpoints = server.base / "models/loras", server.base / "models/checkpoints"
    for name in (SDXL, NEAR, TWIN):
        write_sparse(loras / name, lora_shapes("sdxl", "*attn?.to_*"), {"name": name})
    for name in (FLUX, OTHER_TWIN):
        write_sparse(loras / name, lora_shapes("flux1_dev", "*_blocks.*"), {"name": name})
    write_sparse(checkpoints / BASE, base_shapes("sdxl"))
    yield
    for folder in (loras, checkpoints):
        shutil.rmtree(folder / "z-problems")


def build(face: Any, *names: str, model: str = BASE, **rest: Any) -> None:
    """A stack with these rows, connected to a model, and a node that makes it run."""
    face.add("CheckpointLoaderSimple", x=20, y=120)
    face.add(x=420, y=120)
    face.page.evaluate(CONNECT, model)
    rows = [{"lora": name, "model": 0.5, **rest} for name in names]
    face.type(json.dumps({"version": 1, "loras": rows}))
    face.menu("Edit as text")
    face.add("LorchestraLoraCheck", x=900, y=120)
    face.page.evaluate(
        """() => {
            const [, stack, check] = app.graph.nodes;
            stack.connect(0, check, "model"); stack.connect(2, check, "lora_stack");
            app.canvas.emitBeforeChange(); app.canvas.emitAfterChange();
        }"""
    )


def problems(face: Any) -> str:
    """What the head says is wrong."""
    said = face.editor.locator(".lorchestra-stack-problems")
    return said.inner_text() if said.is_visible() else ""


def wait_for_problems(face: Any, text: str) -> None:
    try:
        face.wait_for(lambda: problems(face) == text)
    except AssertionError as error:
        raise AssertionError(f"the head says {problems(face)!r}") from error


def fix(face: Any, item: str) -> None:
    """Chooses from the head's menu, by keyboard."""
    face.editor.get_by_role("button", name="Fix…").focus()
    face.page.keyboard.press("Enter")
    menu = face.page.get_by_role("menu")
    menu.get_by_role("menuitem", name=item).focus()
    face.page.keyboard.press("Enter")
    menu.wait_for(state="detached")
    face.settle()


def trouble(face: Any, name: str) -> Any:
    """The lines under a row."""
    return face.editor.get_by_role("group", name=f"The last run refused {name}")


def names(face: Any) -> list[str]:
    return [row["lora"] for row in json.loads(face.values()[0])["loras"]]


def on(face: Any) -> list[bool]:
    return [row.get("on", True) for row in json.loads(face.values()[0])["loras"]]


def undo_until(face: Any, check: Callable[[], bool]) -> None:
    """One step, and those before it in which the node has only got another height, as its rows got lines."""
    for _ in range(3):
        face.press("Control+z")
        face.page.wait_for_timeout(500)
        if check():
            return
    face.wait_for(check)


def test_the_head_counts_what_is_wrong_and_mends_it(face: Any, files: None) -> None:
    build(face, SDXL, FLUX, "gone", "nowhere", "mark")
    wait_for_problems(face, "1 doesn't fit · 2 missing · 1 to choose")
    assert face.status.inner_text() == "5 LoRAs"
    face.screenshot("problems")
    # Of the two files of one name, the one that fits is offered, and marked in the pop-up.
    offer = face.row(4).get_by_role("button", name=f"Use this {TWIN}")
    assert offer.is_visible()
    face.row(4).locator(".lorchestra-badge").press("Enter")
    found = face.page.get_by_role("dialog").locator(".lorchestra-find-found")
    assert [one.get_attribute("aria-label") for one in found.get_by_role("img").all()] == [
        "Fits the model", "Does not fit the model",
    ]  # fmt: skip
    assert TWIN in face.page.evaluate("document.activeElement.textContent")
    face.screenshot("problems-candidates")
    face.page.keyboard.press("Escape")
    fix(face, "Show the first problem")
    assert face.row(1).evaluate("(row) => row.contains(document.activeElement)")
    before = face.values()[0]
    fix(face, "Use the only matching file")
    face.wait_for(lambda: names(face)[4] == TWIN)
    wait_for_problems(face, "1 doesn't fit · 2 missing")
    fix(face, "Turn off 2 missing ones")
    face.wait_for(lambda: on(face) == [True, True, False, False, True])
    wait_for_problems(face, "1 doesn't fit")
    assert "switch this row off" in face.row(1).locator(".lorchestra-badge").get_attribute("title")
    fix(face, "Turn it off")
    wait_for_problems(face, "")
    face.wait_for(lambda: face.row(1).locator(".lorchestra-badge").get_attribute("title").endswith("SDXL LoRA."))
    for text in ("1 doesn't fit", "1 doesn't fit · 2 missing", "1 doesn't fit · 2 missing · 1 to choose"):
        face.page.evaluate(STEP, "undo")
        wait_for_problems(face, text)
    assert face.values()[0] == before
    for text in ("1 doesn't fit · 2 missing", "1 doesn't fit", ""):
        face.page.evaluate(STEP, "redo")
        wait_for_problems(face, text)


def test_replace_one_after_another(face: Any, files: None) -> None:
    """What fits and is named nearly so comes first, and Enter takes it."""
    build(face, FLUX, "ink-sdxll-v2")
    wait_for_problems(face, "1 doesn't fit · 1 missing")
    fix(face, "Replace 2")
    search = face.page.get_by_role("combobox", name="Find a LoRA")
    for index, wanted in ((0, {SDXL, NEAR}), (1, {NEAR})):
        # The files are new: the list of before is shown until the server has answered.
        expect(face.page.get_by_role("option").first).to_contain_text("ink-sdxl")
        expect(face.page.locator(".lorchestra-picker-foot")).not_to_contain_text("reading")
        face.screenshot(f"problems-replace-{index}")
        search.press("Enter")
        face.wait_for(lambda index=index, wanted=wanted: names(face)[index] in wanted)
    search.wait_for(state="detached")
    wait_for_problems(face, "")
    face.press("Control+z")
    face.wait_for(lambda: names(face)[1] == "ink-sdxll-v2" and names(face)[0] != FLUX)
    face.press("Control+z")
    face.wait_for(lambda: names(face) == [FLUX, "ink-sdxll-v2"])


def test_a_refused_run_stands_under_its_rows(face: Any, files: None) -> None:
    build(face, SDXL, FLUX, "gone", "mark", NEAR)
    wait_for_problems(face, "1 doesn't fit · 1 missing · 1 to choose")
    height = face.page.evaluate("app.graph.nodes[1].size[1]")
    (errors,) = face.refused().values()
    for text in ("row 2: z-problems/ink-flux", "row 3: gone was not found", "row 4: 'mark' is in 2 folders"):
        assert text in errors[0]["details"], errors
    for name, text in (
        ("ink-flux", "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA"),
        ("gone", "gone was not found. Add the file to a LoRA folder"),
        ("mark", "'mark' is in 2 folders. Choose one: z-problems/a/mark.safetensors"),
    ):
        trouble(face, name).wait_for(state="visible")
        assert text in trouble(face, name).locator("p").inner_text()
    assert trouble(face, "").count() == 3
    assert trouble(face, "ink-flux").get_by_role("button", name="Find").count() == 0
    face.wait_for(lambda: face.page.evaluate(FITTED))
    face.screenshot("refused")
    assert face.page.evaluate("app.graph.nodes[1].size[1]") > height
    # Turn off, by keyboard: the lines go, and the focus stays on the row.
    trouble(face, "gone").get_by_role("button", name="Turn off").press("Enter")
    trouble(face, "gone").wait_for(state="detached" if face.version == OLDEST else "hidden")
    face.wait_for(lambda: on(face)[2] is False)
    assert face.row(2).evaluate("(row) => row.contains(document.activeElement)")
    # Replace: what may be meant and fits is the first.
    trouble(face, "mark").get_by_role("button", name="Replace").press("Enter")
    search = face.page.get_by_role("combobox", name="Find a LoRA")
    expect(face.page.get_by_role("option").first).to_contain_text("mark")  # the files are new
    search.press("Enter")
    face.wait_for(lambda: names(face)[3] == TWIN)
    trouble(face, "mark").wait_for(state="hidden")
    undo_until(face, lambda: names(face)[3] == "mark")
    trouble(face, "mark").wait_for(state="visible")
    undo_until(face, lambda: on(face)[2] is True)
    trouble(face, "gone").wait_for(state="visible")
    face.wait_for(lambda: face.page.evaluate(FITTED))
    trouble(face, "gone").get_by_role("button", name="Find").press("Enter")
    popup = face.page.get_by_role("dialog", name="Not on this machine")
    popup.get_by_text("There is no file with this name, AIR or hash.").wait_for(state="visible")
    face.page.keyboard.press("Escape")
    # Another model: what fits it is not complained of any more.
    fix(face, "Turn off all 3")
    assert trouble(face, "").locator("visible=true").count() == 0


def test_a_report_of_other_rows_is_greyed(face: Any) -> None:
    build(face, WARM, LINES, model=CHECKPOINT)
    face.queue()
    report = face.page.get_by_label("Report of the last run")
    assert "modules fit" in report.input_value()
    assert "lorchestra-result-old" not in report.get_attribute("class")
    face.row(0).get_by_role("switch").click()
    face.wait_for(lambda: "lorchestra-result-old" in report.get_attribute("class"))
    assert report.get_attribute("aria-label").endswith("The rows have changed since this run")
    face.screenshot("old-report")
    face.row(0).get_by_role("switch").click()
    face.wait_for(lambda: "lorchestra-result-old" not in report.get_attribute("class"))
    # Whether words are shown is nothing that a run is about.
    face.menu("Trigger words")
    face.wait_for(lambda: face.editor.get_by_role("group", name="Trigger words").first.is_visible())
    assert "lorchestra-result-old" not in report.get_attribute("class")


def test_a_new_run_takes_back_what_the_last_one_said(face: Any, files: None) -> None:
    build(face, FLUX)
    wait_for_problems(face, "1 doesn't fit")
    face.refused()
    trouble(face, "ink-flux").wait_for(state="visible")
    face.set_widget("LorchestraLoraStack", "policy", "warn")
    face.page.evaluate(CONNECT, CHECKPOINT)
    face.queue()
    trouble(face, "ink-flux").wait_for(state="hidden")


def test_a_list_on_a_subgraph_s_node(face: Any, files: None) -> None:
    face.skip_in(OLDEST, "all of a subgraph's nodes show the one list of the node inside")
    build(face, FLUX, SDXL)
    wait_for_problems(face, "1 doesn't fit")
    face.page.evaluate(PROMOTE)
    wait_for_problems(face, "1 doesn't fit")
    (node,) = face.refused()
    assert ":" in node  # it is inside
    trouble(face, "ink-flux").wait_for(state="visible")
    face.wait_for(lambda: face.page.evaluate(FITTED))
    trouble(face, "ink-flux").get_by_role("button", name="Turn off").click()
    trouble(face, "ink-flux").wait_for(state="hidden")
    wait_for_problems(face, "")


def test_a_server_that_does_not_say_what_fits(face: Any, files: None) -> None:
    """What a run refused is shown all the same."""
    face.page.route("**/lorchestra/check", lambda route: route.fulfill(status=500, body="<html>"))
    try:
        build(face, FLUX, SDXL)
        face.refused()
        trouble(face, "ink-flux").wait_for(state="visible")
        assert "made for FLUX.1" in trouble(face, "ink-flux").locator("p").inner_text()
        assert problems(face) == ""
        trouble(face, "ink-flux").get_by_role("button", name="Turn off").click()
        face.wait_for(lambda: on(face) == [False, True])
    finally:
        face.page.unroute("**/lorchestra/check")


def test_five_hundred_rows(face: Any, files: None) -> None:
    build(face, *(f"名前-{number}" for number in range(498)), FLUX, SDXL)
    wait_for_problems(face, "1 doesn't fit · 498 missing")
    face.refused()
    trouble(face, "名前-0").wait_for(state="visible")
    took = face.page.evaluate(
        """async () => {
            const start = performance.now();
            document.querySelector('.lorchestra-trouble-button').click();
            return performance.now() - start;
        }"""
    )
    assert took < 1500
    wait_for_problems(face, "1 doesn't fit · 497 missing")
    fix(face, "Turn off 497 missing ones")
    wait_for_problems(face, "1 doesn't fit")
