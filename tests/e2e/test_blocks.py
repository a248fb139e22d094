"""The editor of weights per block, in a real browser: a user's path through it, and what stays untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

WARM = "lorchestra-demo/warm.safetensors"
SET_LIST = """([loader, id, value]) => {
    const stack = app.graph.getNodeById(id);
    app.graph.getNodeById(loader).connect(0, stack, 0);
    stack.widgets.find((one) => one.name === 'loras').value = value;
}"""


class Blocks:
    """What the tests do with the editor of the first row."""

    def __init__(self, face: Any, blocks: dict[str, float] | None = None) -> None:
        self.face, self.page = face, face.page
        row = {"lora": WARM, "model": 0.75, **({"blocks": blocks} if blocks else {})}
        loader, stack = face.add("CheckpointLoaderSimple", 0, 200), face.add(x=400)
        self.page.evaluate(SET_LIST, [loader, stack, json.dumps({"version": 1, "loras": [row]})])
        expect(face.list_rows).to_have_count(1)
        self.root = self.page.locator(".lorchestra-blocks")

    def open(self) -> None:
        name = self.face.row(0).locator(".lorchestra-name")
        name.focus()
        name.press("b")
        expect(self.root.get_by_role("slider").first).to_be_visible()

    def bar(self, name: str) -> Any:
        return self.root.get_by_role("slider", name=f"{name}, the LoRA", exact=False)

    @property
    def blocks(self) -> Any:
        (row,) = json.loads(self.face.loras())["loras"]
        return row.get("blocks")


def test_bars_groups_presets_and_text(face: Any) -> None:
    editor = Blocks(face, {"input attn": 0.5})
    editor.open()
    page, root = editor.page, editor.root
    expect(root.get_by_text("input attn × 0.5")).to_be_visible()
    bar = editor.bar("input.1")
    bar.focus()
    bar.press("0")
    bar.press("ArrowRight")
    expect(editor.bar("input.2")).to_be_focused()
    page.keyboard.press("ArrowDown")
    assert editor.blocks == {"input.1": 0, "input.2": 0.95, "input attn": 0.5}
    root.get_by_role("button", name="Undo").click()
    assert editor.blocks == {"input.1": 0, "input attn": 0.5}
    root.get_by_role("button", name="Redo").click()
    field = root.get_by_role("textbox", name="Weight of all in output")
    field.fill("0,25")
    field.press("Enter")
    assert editor.blocks == {"input.1": 0, "input.2": 0.95, "output": 0.25, "input attn": 0.5}
    root.get_by_role("button", name="Presets").click()
    page.get_by_role("menuitem", name="Without the text encoder").click()
    assert editor.blocks == {"text_encoder": 0, "input attn": 0.5}
    root.get_by_role("button", name="Remove input attn").click()
    text = root.get_by_role("textbox", name="Weights per block as text")
    text.fill("lbw=OUTD")
    text.press("Enter")
    face.wait_for(lambda: editor.blocks == {"input": 0, "middle": 0, "output.0-2,7-11": 0})
    text.fill("lbw=MINE")
    text.press("Enter")
    expect(root.get_by_role("status")).to_contain_text("under a name that is its writer's own")
    page.keyboard.press("Escape")
    expect(root).to_have_count(0)
    expect(face.row(0).locator(".lorchestra-tag")).to_have_text("B")
    page.keyboard.press("Control+z")  # ComfyUI's own undo
    face.wait_for(lambda: editor.blocks == {"text_encoder": 0})


@pytest.mark.long
def test_dragging_across_bars_is_one_step(face: Any) -> None:
    editor = Blocks(face)
    editor.open()
    first, last = (editor.bar(f"input.{number}").bounding_box() for number in (1, 3))
    assert first and last
    height = first["y"] + first["height"] * 2 / 3  # a third of 1.5
    editor.page.mouse.move(first["x"] + 2, height)
    editor.page.mouse.down()
    editor.page.mouse.move(last["x"] + 2, height, steps=12)
    editor.page.mouse.up()
    assert editor.blocks == {"input.1-3": 0.5}
    editor.root.get_by_role("button", name="Undo").click()
    assert editor.blocks is None


@pytest.mark.long
def test_what_no_bar_shows_survives_untouched(face: Any) -> None:
    blocks = {"INPUT.1-90": 0.5, "double attn": 0, "*": 0.125}
    editor = Blocks(face, blocks)
    editor.open()
    expect(editor.root).to_contain_text("No layer of this model is in: double attn")
    editor.page.keyboard.press("Escape")
    assert editor.blocks == blocks
