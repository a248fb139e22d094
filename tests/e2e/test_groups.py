"""Groups of rows in the list: made by the menu and by keys, one switch and one factor, and a seed that picks."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import expect

WARM, LINES, TWIN = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors", "one/twin.safetensors"
SEED = """() => {
    const node = app.canvas.graph.nodes.find((one) => one.type === 'LorchestraLoraStack');
    const of = (name) => node.widgets.find((one) => one.name === name);
    return [of('seed').value, of('seed').hidden === true, of('control_after_generate').value];
}"""
SET_SEED = """(value) => {
    const node = app.canvas.graph.nodes.find((one) => one.type === 'LorchestraLoraStack');
    const seed = node.widgets.find((one) => one.name === 'seed');
    seed.value = value;
    seed.callback?.(value);
}"""


def stack_of(face: Any) -> dict[str, Any]:
    return json.loads(face.values()[0])


def sent(face: Any) -> dict[str, Any]:
    """The inputs of the LoRA Stack in the prompt, as JSON has them: without what is undefined."""
    inputs = next(node["inputs"] for node in face.prompt().values() if node["class_type"] == "LorchestraLoraStack")
    return {name: value for name, value in inputs.items() if value is not None}


def row(face: Any, index: int) -> Any:
    """A row, without the heads of groups."""
    return face.editor.locator(".lorchestra-row").nth(index)


def test_a_group_by_menus_and_keys(face: Any) -> None:
    face.add()
    rows = [{"lora": WARM, "model": 0.7}, {"lora": LINES, "model": 0.5}, {"lora": TWIN, "model": 1}]
    face.type(json.dumps({"version": 1, "loras": rows}))
    face.menu("Edit as text")
    before = face.prompt()
    assert "seed" not in sent(face) and face.page.evaluate(SEED)[1:] == [True, "fixed"]
    face.menu("Group", "New group", row=0)
    name = face.editor.get_by_role("textbox", name="Name of the group")
    name.fill("Style")
    name.press("Enter")
    head = face.editor.get_by_role("listitem", name="Group Style", exact=True)
    expect(head).to_be_visible()
    face.menu("Group", "Style", row=3)  # the head is an item of the list, too
    assert [row.get("group") for row in stack_of(face)["loras"]] == ["Style", "Style", None]
    assert [row["lora"] for row in stack_of(face)["loras"]] == [WARM, TWIN, LINES]
    head.get_by_role("spinbutton", name="Factor of Style").click()
    field = head.get_by_role("textbox")
    field.fill("0.5")
    field.press("Enter")
    assert stack_of(face)["groups"] == [{"name": "Style", "factor": 0.5}]
    face.screenshot("groups")
    head.get_by_role("switch").click()
    expect(face.status).to_have_text("3 LoRAs, 2 off")
    assert json.loads(sent(face)["loras"]) == {"version": 1, "loras": [rows[1]]}
    face.press("Control+z")
    expect(face.status).to_have_text("3 LoRAs")

    row(face, 2).locator(".lorchestra-name").focus()  # lines goes up into the group, and out again
    face.page.keyboard.press("Alt+ArrowUp")
    assert [row.get("group") for row in stack_of(face)["loras"]] == ["Style"] * 3
    face.page.keyboard.press("Alt+ArrowDown")
    face.page.keyboard.press("Alt+ArrowDown")
    head.get_by_role("button", name="Rows of Style").click()
    expect(face.editor.locator(".lorchestra-row:visible")).to_have_count(0)
    assert stack_of(face)["groups"][0]["folded"] is True and "folded" not in sent(face)["loras"]
    head.get_by_role("button", name="More for Style").click()
    face.page.get_by_role("menuitem", name="Ungroup").click()
    assert "groups" not in stack_of(face)
    assert face.prompt().keys() == before.keys()


def test_a_group_that_picks(face: Any) -> None:
    face.add()
    data = {
        "version": 1,
        "groups": [{"name": "g"}],
        "loras": [{"lora": WARM, "group": "g"}, {"lora": LINES, "group": "g"}],
    }
    face.type(json.dumps(data))
    face.menu("Edit as text")
    head = face.editor.get_by_role("listitem", name="Group g", exact=True)
    head.get_by_role("button", name="More for g").click()
    face.page.get_by_role("menuitemcheckbox", name="Use the next one each run").click()
    assert stack_of(face)["groups"] == [{"name": "g", "pick": "next"}]
    assert face.page.evaluate(SEED) == [0, False, "increment"]
    assert sent(face)["seed"] == 0
    expect(head).to_contain_text("→ warm")
    face.screenshot("group-picks")
    face.page.evaluate(SET_SEED, 1)
    expect(head).to_contain_text("→ lines")
    expect(row(face, 0)).to_have_class(re.compile("lorchestra-row-idle"))
    saved = face.workflow()
    face.press("Control+z")
    assert face.page.evaluate(SEED)[0] == 0
    values = next(node for node in saved["nodes"] if node["type"] == "LorchestraLoraStack")["widgets_values"]
    assert values[1:] == ["error", "refuse", "auto", 1, "increment"]


CONNECT = """() => {
    const [loader, stack, exporter] = app.graph.nodes;
    loader.connect(0, stack, 'model');
    stack.connect(2, exporter, 'lora_stack');
}"""


def test_runs_take_turns(face: Any) -> None:
    """ComfyUI's own control counts the seed up, and the report of each run says what was picked."""
    face.add("CheckpointLoaderSimple", x=60, y=120)
    face.add(x=420, y=120)
    face.add("LorchestraApiExport", x=880, y=120)
    face.page.evaluate(CONNECT)
    face.set_widget("LorchestraApiExport", "format", "a1111")
    rows = [{"lora": WARM, "group": "g"}, {"lora": LINES, "group": "g"}]
    face.type(json.dumps({"version": 1, "groups": [{"name": "g"}], "loras": rows}))
    face.menu("Edit as text")
    head = face.editor.get_by_role("listitem", name="Group g", exact=True)
    head.get_by_role("button", name="More for g").click()
    face.page.get_by_role("menuitemcheckbox", name="Use the next one each run").click()
    for number, name in enumerate(("warm", "lines", "warm")):
        expect(head).to_contain_text(f"→ {name}")
        face.queue()
        expect(face.page.get_by_label("Report of the last run")).to_have_value(re.compile(f"picked row [12]: .*{name}"))
        assert face.page.evaluate(SEED)[0] == number + 1


OLD = """(values) => {
    const node = app.canvas.graph.nodes.find((one) => one.type === 'LorchestraLoraStack');
    const data = node.serialize();
    data.widgets_values = values;
    node.configure(data);
    return node.serialize().widgets_values;
}"""


def test_workflows_of_before(face: Any) -> None:
    """Values by position, of three and of four widgets."""
    face.add()
    text = json.dumps({"version": 1, "loras": [{"lora": WARM}]})
    for values in ([text, "error", "warn"], [text, "skip", "ignore", "live"]):
        expected = [*values, "auto"][:4]
        assert face.page.evaluate(OLD, values) == [*expected, 0, "fixed"]
        assert "seed" not in sent(face)
