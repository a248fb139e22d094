"""The menus of a LoRA Stack: Copy as, what pop-ups do when nodes move, and where the focus goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from support.frontends import OLDEST

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
AIR = "civitai:120096@135931"
FORMATS = [
    "JSON (Lorchestra)", "<lora:…> text (A1111, Forge)", "Runware request", "ComfyUI's own list of LoRAs",
    "Power Lora Loader (rgthree)", "LoRA-Manager", "Python (diffusers)",
]  # fmt: skip
IS_CUT = "(all) => all.some((one) => one.scrollWidth > one.clientWidth + 1)"
SIDE_PANEL = """() => {
    const panel = document.querySelector('[data-testid="properties-panel"]');
    return panel?.checkVisibility() ? panel.innerText : "";
}"""


HIDE = """(milliseconds) => {
    const list = [...document.querySelectorAll('.lorchestra-loras')].find((one) => one.checkVisibility());
    list.style.display = "none";
    setTimeout(() => { list.style.display = ""; }, milliseconds);
}"""


@pytest.fixture
def stack(face: Any) -> Any:
    """A LoRA Stack with two rows, one of which has an AIR."""
    face.add()
    face.type(json.dumps({"version": 1, "loras": [{"lora": WARM, "model": 0.5, "air": AIR}, {"lora": LINES}]}))
    face.menu("Edit as text")
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    face.page.evaluate("navigator.clipboard.writeText('')")
    return face


def copied(face: Any) -> str:
    text: list[str] = []

    def is_there() -> bool:
        text[:] = [face.page.evaluate("navigator.clipboard.readText()")]
        return text[0] != ""

    face.wait_for(is_there)
    return text[0]


def test_copy_as_shows_all_formats_with_their_full_names(stack: Any) -> None:
    """By keys and by the pointer, in either renderer."""
    stack.editor.get_by_role("button", name="More for all LoRAs").click()
    item = stack.page.get_by_role("menuitem", name="Copy as")
    item.hover()
    inner = stack.page.get_by_role("menu", name="Copy as")
    inner.wait_for(state="visible")
    labels = inner.locator(".lorchestra-menu-label")
    assert labels.all_inner_texts() == FORMATS
    assert not labels.evaluate_all(IS_CUT)
    box = inner.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1400
    stack.page.get_by_role("menuitem", name="Paste rows").hover()
    inner.wait_for(state="detached")
    item.focus()
    stack.page.keyboard.press("ArrowRight")
    inner.wait_for(state="visible")
    assert item.get_attribute("aria-expanded") == "true"
    stack.page.keyboard.press("ArrowLeft")
    inner.wait_for(state="detached")
    assert item.evaluate("(one) => one === document.activeElement")
    stack.page.keyboard.press("Enter")
    inner.get_by_role("menuitem", name="<lora:…> text").focus()
    stack.page.keyboard.press("Enter")
    assert stack.page.get_by_role("menu").count() == 0
    assert copied(stack) == "<lora:warm:0.5> <lora:lines:0.75>"


@pytest.mark.parametrize(("choice", "models"), [("Copy names", [AIR, LINES]), ("Leave them out", [AIR])])
def test_rows_without_an_air_are_asked_about(stack: Any, choice: str, models: list[str]) -> None:
    stack.menu("Copy as", "Runware")
    asked = stack.page.get_by_role("dialog", name="1 row has no AIR:")
    asked.wait_for(state="visible")
    assert "lines" in asked.inner_text()
    asked.get_by_role("button", name=choice).click()
    assert [row["model"] for row in json.loads(copied(stack))] == models


@pytest.fixture
def known(face: Any) -> Iterator[str]:
    """A LoRA with its AIR in a sidecar; other tests count what is there."""
    name = f"lorchestra-demo/known-{face.name}.safetensors"
    path = face.server.base / "models/loras" / name
    shutil.copy(face.server.base / "models/loras" / LINES, path)
    sidecar = path.with_suffix(".civitai.info")
    sidecar.write_text(json.dumps({"id": 135931, "modelId": 120096}))
    yield name
    path.unlink()
    sidecar.unlink()


def test_an_air_in_a_sidecar_is_copied(face: Any, known: str) -> None:
    """As the card shows it, though the row does not have it."""
    face.add()
    face.type(json.dumps({"version": 1, "loras": [{"lora": known, "model": 0.5}]}))
    face.menu("Edit as text")
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    face.page.evaluate("navigator.clipboard.writeText('')")
    face.menu("Copy as", "Runware")
    assert json.loads(copied(face)) == [{"model": AIR, "weight": 0.5}]


def test_an_air_in_a_sidecar_is_copied_as_json_at_once(face: Any, known: str) -> None:
    """Whether the badge has been asked about or not; and so it is saved."""
    face.add()
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    face.page.evaluate("navigator.clipboard.writeText('')")
    face.type(json.dumps({"version": 1, "loras": [{"lora": known, "model": 0.5}]}))
    face.menu("Edit as text")
    face.menu("Copy as", "JSON")
    (row,) = json.loads(copied(face))["loras"]
    assert (row["lora"], row["air"]) == (known, AIR)
    saved = [node for node in face.workflow()["nodes"] if node["type"] == "LorchestraLoraStack"]
    assert AIR in json.dumps(saved)
    assert "air" not in face.loras()


def test_missing_rows_are_in_the_menu_only_if_there_are_any(stack: Any) -> None:
    stack.editor.get_by_role("button", name="More for all LoRAs").click()
    assert stack.page.get_by_role("menuitem", name="Remove all").is_visible()
    assert stack.page.get_by_role("menuitem", name="missing LoRA").filter(has_text="Remove").count() == 0


def test_a_menu_goes_with_the_node(stack: Any) -> None:
    """A node that finds its place a moment late must not close what was just opened: keys would press the button."""
    stack.editor.get_by_role("button", name="More for all LoRAs").click()
    menu = stack.page.get_by_role("menu")
    before = menu.bounding_box()
    stack.page.evaluate("app.canvas.ds.offset = [40, 30]; app.canvas.setDirty(true, true)")
    stack.wait_for(lambda: abs(menu.bounding_box()["x"] - before["x"] - 40) < 3)
    assert abs(menu.bounding_box()["y"] - before["y"] - 30) < 3
    stack.page.keyboard.press("Escape")
    menu.wait_for(state="detached")


def test_a_menu_stays_when_its_node_is_not_drawn_for_a_moment(stack: Any) -> None:
    """The key that chooses would press the button instead, and the menu would be open again."""
    stack.editor.get_by_role("button", name="More for all LoRAs").click()
    menu = stack.page.get_by_role("menu")
    stack.page.evaluate(HIDE, 60)
    stack.page.wait_for_timeout(200)
    stack.page.keyboard.press("E")  # Edit as text
    stack.page.keyboard.press("Enter")
    menu.wait_for(state="detached")
    assert stack.editor.locator("textarea").is_visible()
    stack.editor.get_by_role("button", name="More for all LoRAs").click()
    menu.wait_for(state="visible")
    stack.page.evaluate(HIDE, 3000)
    menu.wait_for(state="detached", timeout=2500)


def test_after_the_first_lora_the_focus_is_on_its_row(face: Any) -> None:
    face.add()
    face.editor.get_by_role("button", name="Add the first LoRA").click()
    face.choose("warm")
    face.wait_for(lambda: face.list_rows.count() == 1)
    assert face.row(0).evaluate("(row) => row.contains(document.activeElement)")


def test_a_folder_is_cut_with_an_ellipsis_or_not_shown(face: Any) -> None:
    node = face.add()
    face.type(
        json.dumps({"version": 1, "loras": [{"lora": "many/style-0001.safetensors", "model": 0.5}, {"lora": WARM}]})
    )
    face.menu("Edit as text")
    for width in range(320, 420, 12):
        face.page.evaluate(
            "([id, width]) => { const node = app.graph.getNodeById(id); node.setSize([width, node.size[1]]);"
            " app.canvas.setDirty(true, true); }",
            [node, width],
        )
        face.settle()
        for row in range(2):
            folder = face.row(row).locator(".lorchestra-name-folder")
            shown = folder.evaluate(
                """(one) => {
                    const own = one.getBoundingClientRect(), around = one.parentElement.getBoundingClientRect();
                    return own.top < around.bottom - 2 ? one.clientWidth : 0;
                }"""
            )
            assert shown == 0 or shown >= 24, (width, row)


def test_the_parameters_panel_has_no_gap(face: Any) -> None:
    """The list is on the node; ComfyUI would show its name there, and nothing beside it."""
    face.skip_in(OLDEST, "there is no such panel")
    node = face.add()
    face.page.evaluate("(id) => app.canvas.selectNode(app.graph.getNodeById(id))", node)
    face.page.evaluate("app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', true)")
    try:
        face.wait_for(lambda: "mode" in face.page.evaluate(SIDE_PANEL))
        assert "loras" not in face.page.evaluate(SIDE_PANEL).split()
        face.screenshot("parameters")
    finally:
        face.page.evaluate("app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', false)")
