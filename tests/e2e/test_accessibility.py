"""Names, roles and contrast of all that the face shows, as `axe-core` judges them, in a dark and a light palette."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
EXAMPLE = Path(__file__).parents[2] / "example_workflows/lora_stack.json"
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
ROWS = [
    {"lora": WARM, "model": 0.75, "schedule": "0:0, 0.3:1", "blocks": {"input.4": 0.5, "input attn": 0}},
    {"lora": LINES, "model": 0.5, "clip": 0.25},
    {"lora": WARM, "on": False, "model": 1},
    {"lora": "gone/painterly.safetensors", "model": 1},
    {"lora": "twin.safetensors", "model": -0.5},
]
PALETTE = "(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)"
CHECK = """async () => {
    const found = await axe.run({ include: [[".lorchestra"]] }, { resultTypes: ["violations"] });
    const why = ({ any, all, none }) => [...any, ...all, ...none].map((one) => one.message).join("; ");
    return found.violations.flatMap(({ id, help, nodes }) =>
        nodes.map((node) => `${id}: ${help}\\n  ${node.html.slice(0, 400)}\\n  ${why(node)}`));
}"""
"""Of what is ours; of ComfyUI's page around it nothing is asked."""
SET_LIST = """([id, value]) => {
    app.graph.getNodeById(id).widgets.find((one) => one.name === 'loras').value = value;
}"""
REFUSE = """async ([node, lora]) => {
    const { api } = await import("/scripts/api.js");
    const detail = { prompt_id: crypto.randomUUID(), node, rows: [{ lora, sentence: `${lora} was not found.` }] };
    api.dispatchEvent(new CustomEvent("lorchestra.refused", { detail }));
}"""
SHOW_LIBRARY = "() => app.extensionManager.sidebarTab.toggleSidebarTab('lorchestra-library')"
PUBLISH = "() => app.extensionManager.command.execute('Lorchestra.PublishAsApi')"


class Axe:
    """What axe finds in one place after the other, each kind once; all of it is told at the end."""

    def __init__(self, face: Any) -> None:
        self.face = face
        self.found: dict[str, list[str]] = {}

    def look(self, place: str) -> None:
        """Looks at all of ours that can be seen now."""
        self.face.settle()
        assert self.face.page.locator(".lorchestra:visible").count(), f"nothing is shown: {place}"
        found = self.face.page.evaluate(CHECK)
        if found:
            kinds: dict[str, str] = {}
            for one in found:
                kinds.setdefault(one.partition("\n")[0] + one.partition("class=")[2][:30], one)
            self.found[place] = [*kinds.values()]


@pytest.fixture(params=["dark", pytest.param("light", marks=pytest.mark.long)])
def axe(face: Any, request: pytest.FixtureRequest) -> Iterator[Axe]:
    """Fails at the end with all that was found."""
    assert AXE.is_file(), "axe-core is missing: npm ci"
    face.page.evaluate(AXE.read_text(encoding="utf-8") + "\n;0")
    face.page.evaluate(PALETTE, request.param)
    made = Axe(face)
    yield made
    face.page.evaluate(PALETTE, "dark")
    face.page.evaluate("() => { delete window.axe; }")
    assert not made.found, "\n".join(f"=== {place}\n" + "\n".join(found) for place, found in made.found.items())


def test_the_stack_and_what_its_rows_open(axe: Axe) -> None:
    face, page = axe.face, axe.face.page
    node = face.add()
    axe.look("an empty stack")
    page.evaluate(SET_LIST, [node, json.dumps({"version": 1, "loras": ROWS})])
    expect(face.list_rows).to_have_count(len(ROWS))
    axe.look("rows")
    fix = face.editor.get_by_role("button", name="Fix…")
    expect(fix).to_be_visible()
    fix.click()
    axe.look("the menu of problems")
    page.keyboard.press("Escape")
    page.evaluate(REFUSE, [str(node), ROWS[3]["lora"]])
    expect(face.editor.get_by_role("group", name="The last run refused painterly")).to_be_visible()
    axe.look("a refused row")
    face.row(0).get_by_role("button", name="More for").click()
    axe.look("a row's menu")
    page.keyboard.press("Escape")
    face.editor.get_by_role("button", name="More for all LoRAs").click()
    page.get_by_role("menu").locator("[role^=menuitem]").filter(has_text="Copy as").first.click()
    axe.look("the list's menu")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    face.menu("Info", row=0)
    expect(page.locator(".lorchestra-info")).to_contain_text("Changed")
    axe.look("the info card")
    page.keyboard.press("Escape")
    face.menu("Schedule", row=0)
    expect(page.locator(".lorchestra-popup .lorchestra-curve")).to_be_visible()
    axe.look("the curve editor")
    page.get_by_role("button", name="Presets").click()
    axe.look("the curve editor's presets")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    face.menu("Group", "New group", row=1)
    axe.look("a group's name")
    page.keyboard.press("Enter")
    axe.look("a group")
    face.editor.get_by_role("button", name="More for Group 1").click()
    axe.look("a group's menu")
    page.get_by_role("menuitemcheckbox", name="Use one at random").click()
    axe.look("a group that picks")
    face.menu("Presets…")
    presets = page.get_by_role("dialog", name="Presets")
    expect(presets.get_by_role("status")).to_have_text("No presets yet")
    axe.look("no presets")
    presets.get_by_role("button", name="Save rows…").click()
    axe.look("the form of a preset")
    presets.get_by_role("textbox", name="Name").fill("a")
    presets.get_by_role("button", name="Save").click()
    expect(presets.get_by_role("listitem", name="a")).to_contain_text("5 LoRAs")
    axe.look("presets")
    presets.get_by_role("button", name="More for a").click()
    page.get_by_role("menuitem", name="Delete the preset").click()
    expect(presets.get_by_role("button", name="Undo")).to_be_visible()
    axe.look("a deleted preset")
    page.keyboard.press("Escape")
    face.menu("Edit as text")
    axe.look("the list as text")


def test_the_weights_per_block(axe: Axe) -> None:
    face, page = axe.face, axe.face.page
    loader, node = face.add("CheckpointLoaderSimple", 0, 200), face.add(x=400)
    page.evaluate("([a, b]) => { app.graph.getNodeById(a).connect(0, app.graph.getNodeById(b), 0); }", [loader, node])
    page.evaluate(SET_LIST, [node, json.dumps({"version": 1, "loras": ROWS[:1]})])
    expect(face.list_rows).to_have_count(1)
    face.menu("Weights per block", row=0)
    expect(page.locator(".lorchestra-blocks-bar").first).to_be_visible()
    axe.look("the weights per block")
    page.get_by_role("button", name="Presets").click()
    axe.look("the presets of weights per block")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")


def arrange(page: Any, view: str) -> None:
    page.get_by_role("button", name="Order: ").first.click()
    page.get_by_role("menuitemradio", name=view, exact=True).click()


def test_the_picker_and_the_library(axe: Axe) -> None:
    face, page = axe.face, axe.face.page
    face.add()
    face.editor.get_by_role("button", name="Add a LoRA").click()
    search = page.get_by_role("combobox", name="Find a LoRA")
    expect(page.get_by_role("option").first).to_be_visible()
    axe.look("the picker")
    search.press("Shift+ArrowDown")
    search.press("Control+Enter")
    axe.look("the picker with two added")
    arrange(page, "Grid")
    axe.look("the picker's grid")
    arrange(page, "List")
    search.fill("nothing has this name")
    axe.look("nothing found")
    search.press("Escape")
    page.evaluate(SHOW_LIBRARY)
    library = page.get_by_role("region", name="LoRA library")
    expect(library.get_by_role("option").first).to_be_visible()
    axe.look("the library")
    library.get_by_role("option").nth(0).click()
    library.get_by_role("option").nth(2).click(modifiers=["Shift"])
    axe.look("the library with three selected")
    page.evaluate(SHOW_LIBRARY)


def test_missing_loras_and_publishing(axe: Axe) -> None:
    face, page = axe.face, axe.face.page
    node = face.add()
    page.evaluate(SET_LIST, [node, json.dumps({"version": 1, "loras": ROWS})])
    face.settle()
    face.menu("Missing LoRAs")
    dialog = page.get_by_role("dialog", name="Missing LoRAs")
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    axe.look("missing LoRAs")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    face.load(EXAMPLE)
    page.evaluate(PUBLISH)
    panel = page.get_by_role("dialog", name="Publish as API")
    expect(panel.get_by_role("listitem").first).to_be_visible(timeout=15_000)
    for tab in panel.get_by_role("tab").all():
        tab.click()
        axe.look(f"publishing: {tab.inner_text()}")
    panel.get_by_role("button", name="Close").click()


def test_the_node_of_a_schedule(axe: Axe) -> None:
    axe.face.add("LorchestraLoraSchedule", x=420, y=120)
    expect(axe.face.page.locator(".lorchestra-curve:visible")).to_be_visible()
    axe.look("the curve on the node")
