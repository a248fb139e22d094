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
    return [of('pick_seed').value, of('pick_seed').hidden === true, of('control_after_generate').value];
}"""
SET_SEED = """(value) => {
    const node = app.canvas.graph.nodes.find((one) => one.type === 'LorchestraLoraStack');
    const seed = node.widgets.find((one) => one.name === 'pick_seed');
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
    assert "pick_seed" not in sent(face) and face.page.evaluate(SEED)[1:] == [True, "fixed"]
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
    assert sent(face)["pick_seed"] == 0
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


def test_rows_are_dragged_into_a_group_and_out_of_it(face: Any) -> None:
    face.add()
    rows = [{"lora": WARM, "group": "g"}, {"lora": LINES, "group": "g"}, {"lora": TWIN}]
    face.type(json.dumps({"version": 1, "groups": [{"name": "g"}], "loras": rows}))
    face.menu("Edit as text")
    mouse = face.page.mouse

    def drag(index: int, to: Any, above: bool) -> list[tuple[str, str | None]]:
        start, end = row(face, index).locator(".lorchestra-grip").bounding_box(), to.bounding_box()
        mouse.move(start["x"] + 5, start["y"] + 12)
        mouse.down()
        mouse.move(start["x"] + 5, end["y"] + (2 if above else end["height"] - 2), steps=6)
        mouse.up()
        return [(one["lora"], one.get("group")) for one in stack_of(face)["loras"]]

    assert drag(2, row(face, 1), True) == [(WARM, "g"), (TWIN, "g"), (LINES, "g")]
    assert drag(0, row(face, 2), False) == [(TWIN, "g"), (LINES, "g"), (WARM, "g")]
    head = face.editor.get_by_role("listitem", name="Group g", exact=True)
    assert drag(1, head, True) == [(LINES, None), (TWIN, "g"), (WARM, "g")]
    face.press("Control+z")
    face.press("Control+z")
    assert [one.get("group") for one in stack_of(face)["loras"]] == ["g", "g", "g"]


PROMOTE = """() => {
    app.graph.convertToSubgraph(new Set([app.graph.nodes[0]]));
    const host = app.canvas.graph.nodes.find((node) => node.isSubgraphNode?.()), inner = host.subgraph.nodes[0];
    const slot = inner.inputs.find((input) => input.widget?.name === 'loras');
    host.subgraph.addInput('loras', String(slot.type)).connect(slot, inner);
    host.setSize([400, host.computeSize()[1]]); app.canvas.setDirty(true, true);
}"""
INNER = """(value) => {
    const inner = app.graph.nodes[0].subgraph.nodes[0];
    const of = (name) => inner.widgets.find((one) => one.name === name);
    const [seed, control] = [of('pick_seed'), of('control_after_generate')];
    if (value !== null) { seed.value = value; seed.callback?.(value); }
    return [seed.value, control.value];
}"""


def test_a_group_on_a_subgraphs_node(face: Any) -> None:
    """Its seed is inside, and picks for the list that is shown outside."""
    face.add()
    face.page.evaluate(PROMOTE)
    face.wait_for(lambda: face.editor.count() == 1)
    rows = [{"lora": WARM, "group": "g"}, {"lora": LINES, "group": "g"}]
    face.type(json.dumps({"version": 1, "groups": [{"name": "g"}], "loras": rows}))
    face.menu("Edit as text")
    head = face.editor.get_by_role("listitem", name="Group g", exact=True)
    head.get_by_role("button", name="More for g").click()
    face.page.get_by_role("menuitemcheckbox", name="Use the next one each run").click()
    assert face.page.evaluate(INNER, None) == [0, "increment"]
    expect(head).to_contain_text("→ warm")
    assert face.page.evaluate(INNER, 1) == [1, "increment"]
    expect(head).to_contain_text("→ lines")
    assert sent(face)["pick_seed"] == 1 and len(json.loads(sent(face)["loras"])["loras"]) == 2
    face.screenshot("group-in-subgraph")


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
        assert "pick_seed" not in sent(face)
