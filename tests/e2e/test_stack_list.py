"""The rows of a LoRA Stack on its node: added, edited, moved and undone, by the mouse and by the keyboard alone.

At every step the rows on the screen are the rows of the widget's value, and those that are on are the prompt's:
`Face.same` says so.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from playwright.sync_api import expect

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
IS_A_STEP = """() => {
    const graph = app.rootGraph ?? app.graph;
    const kept = app.extensionManager.workflow.activeWorkflow.changeTracker.activeState;
    return JSON.stringify(kept.nodes) === JSON.stringify(graph.serialize().nodes);
}"""
"""Whether the graph is the last step that ComfyUI keeps for undo."""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PALETTES = ("light", "arc", "nord", "solarized", "github", "dark")
"""All that ComfyUI brings, in an order in which no two that follow each other look the same."""
FIELD = "getComputedStyle(document.querySelector('.lorchestra-stack-box')).backgroundColor"
NAMES = [f"many/style-{number:04}.safetensors" for number in range(6)]


def set_rows(face: Any, rows: list[dict[str, Any]], node: int = 0, **more: Any) -> None:
    """Puts rows into the widget as a loaded workflow does, as one step of undo."""
    text = json.dumps({"version": 1, "loras": rows, **more})
    face.page.evaluate(
        """([index, text]) => {
            const widgets = app.canvas.graph.nodes.flatMap((node) => node.widgets ?? []);
            const widget = widgets.filter((one) => one.type === 'LORCHESTRA_LORAS')[index];
            app.canvas.emitBeforeChange();
            widget.value = text;
            widget.node.setSize([420, widget.node.computeSize()[1]]);
            app.canvas.emitAfterChange();
        }""",
        [node, text],
    )
    face.page.wait_for_timeout(250)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["lora"] for row in rows]


def weight(face: Any, index: int, name: str = "Model") -> Any:
    return face.row(index).get_by_role("spinbutton", name=name)


def test_the_node_has_its_list(face: Any) -> None:
    face.add()
    assert face.editor.count() == 1
    assert face.status.inner_text() == "No LoRAs"
    widgets = face.page.evaluate("app.graph.nodes[0].widgets.map((widget) => widget.name)")
    assert widgets[:4] == ["loras", "missing", "policy", "mode"]
    assert face.loras() == '{"version": 1, "loras": []}'


def test_picked_rows_are_the_rows_of_the_prompt(face: Any) -> None:
    face.add()
    face.pick(WARM)
    assert face.same() == [{"lora": WARM, "model": 0.75}]
    face.pick(LINES)
    assert face.same() == [{"lora": WARM, "model": 0.75}, {"lora": LINES, "model": 0.75}]
    assert face.status.inner_text() == "2 LoRAs"
    face.row(0).get_by_role("button", name="LoRA: ").click()
    face.choose("one/twin")
    assert names(face.same()) == ["one/twin.safetensors", LINES]
    face.row(1).get_by_role("switch").click()
    assert face.same()[1] == {"lora": LINES, "on": False, "model": 0.75}
    assert face.status.inner_text() == "2 LoRAs, 1 off"
    assert [row["lora"] for row in face.rows()] == ["one/twin.safetensors"]


def test_several_are_added_at_once_and_a_row_shows_its_picture(face: Any) -> None:
    """Each time is one step of undo, and the picker stays where it is while the node grows under it."""
    picture = face.server.base / f"models/loras/{LINES}".replace(".safetensors", ".png")
    picture.write_bytes(PIXEL)
    try:
        face.add()
        with face.page.expect_response("**/userdata/lorchestra.json"):  # recent ones come first
            face.editor.get_by_role("button", name="Add a LoRA").click()
        search = face.page.get_by_role("combobox", name="Find a LoRA")
        search.fill("lorchestra-demo")
        status = face.page.get_by_role("dialog", name="Choose a LoRA").get_by_role("status")
        expect(status).to_contain_text("2 of")
        search.press("Control+Enter")
        search.press("Shift+ArrowDown")
        search.press("Control+Enter")
        expect(status).to_contain_text("2 added")
        search.press("ArrowDown")
        search.press("Enter")
        expect(search).to_have_count(0)
        assert names(face.same()) == [LINES, LINES, WARM, WARM]
        face.press("Control+z")
        face.press("Control+z")
        assert names(face.same()) == [LINES]
        preview = face.page.locator(".lorchestra-picker-preview")
        face.row(0).locator(".lorchestra-name").hover()
        expect(preview.locator("img")).to_be_visible()
        face.screenshot("row-preview")
        face.page.mouse.move(5, 500)
        expect(preview).to_have_count(0)
    finally:
        picture.unlink()


def test_a_weight_is_typed_dragged_and_turned(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 0.5}])
    page, number = face.page, weight(face, 0)
    number.click()
    page.keyboard.type("1,25")
    page.keyboard.press("Enter")
    assert face.same()[0]["model"] == 1.25
    page.keyboard.press("ArrowUp")
    assert face.same()[0]["model"] == 1.3
    page.keyboard.press("Shift+ArrowDown")
    assert face.same()[0]["model"] == 1.29
    page.keyboard.press("Control+ArrowDown")
    assert face.same()[0]["model"] == 0.79
    page.keyboard.type("-2.125")
    page.keyboard.press("Tab")
    assert face.same()[0]["model"] == -2.125
    number.click()
    page.keyboard.type("nonsense")
    page.keyboard.press("Enter")
    assert face.same()[0]["model"] == -2.125
    number.click()
    page.keyboard.type("7")
    page.keyboard.press("Escape")
    assert face.same()[0]["model"] == -2.125
    number.dblclick()
    assert face.same()[0]["model"] == 0.75
    box = number.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.wait_for_timeout(200)  # ComfyUI adds to a step of undo what changes within 50 ms of it
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 41, y, steps=6)
    page.mouse.up()
    assert face.same()[0]["model"] == 1.25
    scale = page.evaluate("app.canvas.ds.scale")
    number.focus()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    face.wait_for(lambda: json.loads(face.loras())["loras"][0]["model"] == 1.3)
    assert page.evaluate("app.canvas.ds.scale") == scale
    page.wait_for_timeout(500)
    assert face.same()[0]["model"] == 1.3
    for expected in (1.25, 0.75, -2.125, 0.79, 1.29, 1.3, 1.25, 0.5):
        face.press("Control+z")
        face.wait_for(lambda value=expected: json.loads(face.loras())["loras"][0]["model"] == value)
        face.same()
    assert face.page.evaluate("document.querySelectorAll('.lorchestra-popup').length") == 0


def test_a_row_that_is_off_is_edited_without_a_change_of_the_prompt(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 0.5}, {"lora": LINES, "model": 1}])
    face.row(1).get_by_role("switch").click()
    before = face.prompt()
    assert names(face.rows()) == [WARM]
    weight(face, 1).focus()
    for key in ("ArrowUp", "Control+d", "Delete", "Alt+ArrowUp"):
        face.page.keyboard.press(key)
        face.same()
        assert face.prompt() == before
    assert face.same() == [{"lora": LINES, "on": False, "model": 1.05}, {"lora": WARM, "model": 0.5}]


def test_a_weight_stays_inside_its_limits(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 99.9}])
    weight(face, 0).focus()
    face.page.keyboard.press("Control+ArrowUp")
    assert face.same()[0]["model"] == 100
    face.page.keyboard.type("-1000")
    face.page.keyboard.press("Enter")
    assert face.same()[0]["model"] == -100


def test_clip_weights_are_split_and_locked(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 0.5}, {"lora": LINES, "model": 0.6}])
    assert face.row(0).get_by_role("spinbutton").count() == 1
    face.menu("Separate CLIP weight", row=0)
    assert face.same() == [{"lora": WARM, "model": 0.5, "clip": 0.5}, {"lora": LINES, "model": 0.6}]
    weight(face, 0, "Clip").focus()
    face.page.keyboard.type("0.2")
    face.page.keyboard.press("Enter")
    assert face.same()[0] == {"lora": WARM, "model": 0.5, "clip": 0.2}
    face.menu("Separate CLIP weight", row=0)
    assert face.same()[0] == {"lora": WARM, "model": 0.5}
    face.menu("Separate CLIP weights for all")
    assert [row["clip"] for row in face.same()] == [0.5, 0.6]
    face.menu("Use the model weight for CLIP")
    assert all("clip" not in row for row in face.same())


def test_the_row_menu(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 0.5, "later": [1]}, {"lora": LINES, "model": 0.6}])
    face.menu("Duplicate", row=0)
    assert face.same()[:2] == [{"lora": WARM, "model": 0.5, "later": [1]}] * 2
    face.menu("Move down", row=1)
    assert names(face.same()) == [WARM, LINES, WARM]
    face.menu("Move up", row=1)
    assert names(face.same()) == [LINES, WARM, WARM]
    face.menu("Remove", row=2)
    assert names(face.same()) == [LINES, WARM]
    face.row(0).get_by_role("button", name="More for").click()
    menu = face.page.get_by_role("menu")
    assert menu.get_by_role("menuitem", name="Move up").get_attribute("aria-disabled") == "true"
    face.screenshot("row-menu")
    menu.get_by_role("menuitemradio", name="1", exact=True).click()
    assert face.same()[0]["model"] == 1
    for item, key, value in (("−", "conditioning", "negative"), ("high", "expert", "high")):
        face.row(0).get_by_role("button", name="More for").click()
        menu.get_by_role("menuitemradio", name=item, exact=True).click()
        assert face.same()[0][key] == value
    assert face.row(0).locator(".lorchestra-tag").inner_text() == "− H"
    assert face.same()[1] == {"lora": WARM, "model": 0.5, "later": [1]}


def test_a_row_gets_a_schedule(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 0.5}])
    face.row(0).hover()
    face.row(0).get_by_role("button", name="Change the weight over the steps").click()
    dialog = face.page.get_by_role("dialog")
    dialog.get_by_label("The schedule as text").fill("0:0, 1:1")
    face.wait_for(lambda: face.same()[0].get("schedule", "") != "")
    face.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert face.same()[0] == {"lora": WARM, "model": 0.5, "schedule": "0:0, 1:1"}
    face.press("Control+z")
    face.wait_for(lambda: face.same() == [{"lora": WARM, "model": 0.5}])
    face.press("Control+y")
    face.wait_for(lambda: "schedule" in face.same()[0])
    face.menu("Remove the schedule", row=0)
    assert face.same() == [{"lora": WARM, "model": 0.5}]


def test_the_menu_of_the_whole_list(face: Any) -> None:
    face.add()
    rows = [
        {"lora": NAMES[3], "model": 0.1},
        {"lora": "gone.safetensors", "model": 3},
        {"lora": NAMES[1], "model": 0.2},
    ]
    set_rows(face, rows)
    face.editor.get_by_role("switch", name="All LoRAs").click()
    assert [row["on"] for row in face.same()] == [False] * 3
    face.editor.get_by_role("switch", name="All LoRAs").click()
    assert face.same() == rows
    face.menu("name")
    assert names(face.same()) == ["gone.safetensors", NAMES[1], NAMES[3]]
    face.menu("weight")
    assert [row["model"] for row in face.same()] == [3, 0.2, 0.1]
    expect(face.row(0).locator("[data-state=missing]")).to_be_visible()
    face.menu("Remove 1 missing")
    assert names(face.same()) == [NAMES[1], NAMES[3]]
    height = face.page.evaluate("app.graph.nodes[0].size[1]")
    face.menu("Collapse")
    assert face.list_rows.locator("visible=true").count() == 0
    assert "style-0001 0.20 · style-0003 0.10" in face.editor.inner_text()
    assert face.page.evaluate("app.graph.nodes[0].size[1]") < height
    assert names(face.rows()) == [NAMES[1], NAMES[3]]
    assert "collapsed" not in face.loras()
    face.editor.get_by_role("button", name="Rows").click()
    assert names(face.same()) == [NAMES[1], NAMES[3]]
    # Nodes 2.0 add what they measure.
    assert 0 <= face.page.evaluate("app.graph.nodes[0].size[1]") - height < 20
    face.menu("Remove all")
    assert face.same() == []


def test_a_row_is_dragged_to_another_place(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": name, "model": number / 10} for number, name in enumerate(NAMES)])
    face.page.evaluate("app.canvas.ds.scale = 1.25; app.canvas.setDirty(true, true)")
    face.page.wait_for_timeout(400)
    start, end = (face.row(index).locator(".lorchestra-grip").bounding_box() for index in (4, 1))
    mouse = face.page.mouse
    mouse.move(start["x"] + 5, start["y"] + 12)
    mouse.down()
    mouse.move(start["x"] + 60, end["y"] + 14, steps=8)
    face.screenshot("drag")
    mouse.up()
    moved = [NAMES[index] for index in (0, 4, 1, 2, 3, 5)]
    assert names(face.same()) == moved
    mouse.move(start["x"] + 5, start["y"] + 12)
    mouse.down()
    mouse.move(start["x"] + 5, start["y"] + 900, steps=4)
    mouse.up()
    last = [NAMES[index] for index in (0, 4, 1, 2, 5, 3)]
    assert names(face.same()) == last
    for expected in (moved, NAMES):
        face.press("Control+z")
        face.wait_for(lambda value=expected: names(face.same()) == value)


def test_the_keyboard_alone_does_it_all(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": name, "model": 1} for name in NAMES[:4]])
    press = face.page.keyboard.press
    face.row(0).get_by_role("switch").focus()
    press("Space")
    assert [row.get("on", True) for row in face.same()] == [False, True, True, True]
    press("ArrowDown")
    press("Space")
    assert [row.get("on", True) for row in face.same()] == [False, False, True, True]
    press("Alt+ArrowUp")
    assert names(face.same()) == [NAMES[index] for index in (1, 0, 2, 3)]
    press("Alt+ArrowDown")
    press("Alt+ArrowDown")
    assert names(face.same()) == [NAMES[index] for index in (0, 2, 1, 3)]
    press("Delete")
    assert names(face.same()) == [NAMES[index] for index in (0, 2, 3)]
    assert face.page.evaluate("app.graph.nodes.length") == 1
    press("ArrowRight")
    press("Enter")
    face.choose("one/twin")
    assert names(face.same()) == [NAMES[0], NAMES[2], "one/twin.safetensors"]
    press("Home")
    press("Control+d")
    assert names(face.same())[:2] == [NAMES[0]] * 2
    labels: list[str] = []
    face.row(0).get_by_role("switch").focus()
    for _ in range(6):
        labels.append(
            face.page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.title")
        )
        outline = face.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in ("none", "hidden"), labels
        press("Tab")
    assert labels[0].endswith("is on")
    assert labels[1].startswith("LoRA: ")
    assert any(label.startswith("Model weight") for label in labels)
    assert any(label.startswith("More for") for label in labels)


def test_undo_and_redo_go_row_by_row_and_editing_goes_on(face: Any) -> None:
    face.add()
    for name in (WARM, LINES, WARM):
        face.pick(name)
    for expected, keys in ((2, "Control+z"), (1, "Control+z"), (2, "Control+y"), (3, "Control+y"), (2, "Control+z")):
        face.press(keys)
        face.wait_for_rows(expected)
        assert len(face.same()) == expected
        assert face.page.evaluate(IS_A_STEP)  # else the next click would end what can be redone
    # The element on the screen is the live one: what is edited now counts.
    face.row(0).get_by_role("switch").click()
    face.pick(LINES)
    assert names(face.same()) == [WARM, LINES, LINES]
    assert face.same()[0]["on"] is False
    face.press("Control+y")
    assert len(face.same()) == 3
    face.press("Control+z")
    face.wait_for(lambda: len(face.same()) == 2)


def test_undo_and_redo_of_typed_text(face: Any) -> None:
    face.add()
    set_rows(face, [{"lora": WARM, "model": 1}, {"lora": LINES, "model": 1}])
    before = face.loras()
    face.type("<lora:warm:0.5>")
    for _ in range(3):
        face.press("Control+z")
        face.wait_for(lambda: face.loras() == before)
        face.press("Control+y")
        face.wait_for(lambda: face.loras() == "<lora:warm:0.5>")
    face.press("Control+z")
    face.wait_for(lambda: face.loras() == before)
    face.same()
    face.pick(LINES)
    assert names(face.same()) == [WARM, LINES, LINES]


def test_text_of_any_form_becomes_rows(face: Any) -> None:
    face.add()
    face.type("<lora:lorchestra-demo/warm:0.5:0.25>")
    face.editor.get_by_role("button", name="Show as list").click()
    assert face.loras() == "<lora:lorchestra-demo/warm:0.5:0.25>"
    weight(face, 0).focus()
    face.page.keyboard.press("ArrowUp")
    assert face.same() == [{"lora": "lorchestra-demo/warm", "model": 0.3, "clip": 0.5}]


def test_a_text_that_only_python_reads_becomes_the_rows_that_it_reads(face: Any) -> None:
    held: list[Any] = []
    face.page.route("**/lorchestra/read", lambda route: held.append(route))
    face.add()
    face.type("[<lora:lorchestra-demo/warm:0.5>:<lora:lorchestra-demo/warm:1>:0.2] <lora:lines:0,8>")
    face.wait_for(lambda: bool(held))
    assert face.status.inner_text() == "Reading the text …"
    assert face.editor.locator("textarea").get_attribute("aria-invalid") == "false"
    face.page.unroute("**/lorchestra/read")
    for route in held:
        route.continue_()
    face.wait_for(lambda: face.status.inner_text().startswith("1 LoRA, not kept from the text: "))
    assert "line 1, column 69, tag: the tag '<lora:lines:0,8>'" in face.status.inner_text()
    before = face.loras()
    face.editor.get_by_role("button", name="Show as list").click()
    assert face.status.inner_text() == "1 LoRA"
    (row,) = face.same()
    assert row == {"lora": "lorchestra-demo/warm", "model": 1, "schedule": "0:0.5 hold, 0.2:1"}
    face.press("Control+z")
    face.wait_for(lambda: face.loras() == before)


def test_a_text_that_python_refuses_too(face: Any) -> None:
    face.add()
    face.type("<lora:lorchestra-demo/warm:0.5> by the sea")
    face.wait_for(lambda: "Only <lora:…> tags are allowed here. Remove 'by the sea'" in face.status.inner_text())
    assert face.editor.locator("textarea").get_attribute("aria-invalid") == "true"
    assert face.editor.get_by_role("button", name="Show as list").count() == 0
    face.page.route("**/lorchestra/read", lambda route: route.abort())
    face.type("<lora:lorchestra-demo/warm:te=0.5>")
    face.wait_for(lambda: face.status.inner_text() == "The server cannot be reached")
    face.page.unroute("**/lorchestra/read")
    face.type("<lora:lorchestra-demo/warm:te=0.25>")
    face.wait_for(lambda: face.status.inner_text() == "1 LoRA")


def test_keys_in_the_text_stay_in_the_text(face: Any) -> None:
    face.add()
    face.text.click()
    for keys in ("Control+a", "Delete"):
        face.page.keyboard.press(keys)
    face.page.keyboard.type("<lora:warm:1>")
    for keys in ("Control+a", "Control+c", "End", "Control+v"):
        face.page.keyboard.press(keys)
    assert face.page.evaluate("app.graph.nodes.length") == 1
    assert face.loras() == "<lora:warm:1><lora:warm:1>"


def test_what_cannot_be_read_opens_as_text_and_nothing_is_lost(face: Any) -> None:
    face.add()
    text = '{"loras": ['
    face.page.evaluate("(text) => { app.graph.nodes[0].widgets[0].value = text; }", text)
    face.page.wait_for_timeout(200)
    assert face.status.inner_text().startswith("This is not JSON: ")
    assert face.editor.locator("textarea").input_value() == text
    face.pick(WARM)
    assert face.loras() == text
    face.type('{"loras": [{"lora": "a"}]}')
    assert face.status.inner_text() == "1 LoRA"
    face.editor.get_by_role("button", name="Show as list").click()
    assert face.loras() == '{"loras": [{"lora": "a"}]}'
    assert face.list_rows.count() == 1


def test_a_newer_version_keeps_what_is_not_known(face: Any) -> None:
    face.add()
    text = '{"version":7,"new":{"a":[1,2]},"loras":[{"lora":"a","model":1e0,"wave":{"x":1}}]}'
    face.page.evaluate("(text) => { app.graph.nodes[0].widgets[0].value = text; }", text)
    face.page.wait_for_timeout(200)
    assert face.status.inner_text() == "1 LoRA, written by a newer version (7)"
    assert face.loras() == text
    face.row(0).get_by_role("switch").click()
    assert json.loads(face.values()[0]) == {
        "version": 7,
        "new": {"a": [1, 2]},
        "loras": [{"lora": "a", "on": False, "model": 1, "wave": {"x": 1}}],
    }


def test_wheel_zooms_and_scrolls_a_long_list_that_has_the_focus(face: Any) -> None:
    face.add(y=60)
    set_rows(face, [{"lora": name, "model": 1} for name in NAMES * 5])
    page = face.page
    page.evaluate("app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true)")
    page.wait_for_timeout(300)
    scroll = "document.querySelector('.lorchestra-stack-rows').scrollTop"
    face.row(3).hover()
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(400)
    assert page.evaluate("app.canvas.ds.scale") < 1
    page.evaluate("app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true)")
    page.wait_for_timeout(400)
    face.row(3).get_by_role("switch").focus()
    face.row(4).hover()
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(400)
    assert page.evaluate("app.canvas.ds.scale") == 1
    assert page.evaluate(scroll) > 0


def test_what_is_written_can_be_read_in_every_palette(face: Any, strange: str) -> None:
    face.add()
    set_rows(
        face,
        [
            {"lora": WARM, "model": 0.75, "schedule": "0:0, 1:1", "conditioning": "positive"},
            {"lora": LINES, "on": False, "model": -0.5, "clip": 0.25},
            {"lora": "gone/away.safetensors", "model": 1},
            {"lora": strange, "model": 1, "expert": "low"},
            {"lora": "folder/" + "long name " * 30 + ".safetensors", "model": 0.125},
        ],
    )
    expect(face.row(2).locator("[data-state=missing]")).to_be_visible()
    field = ""
    try:
        for palette in PALETTES:
            face.page.evaluate("(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)", palette)
            face.wait_for(lambda before=field: face.page.evaluate(FIELD) != before)
            field = face.page.evaluate(FIELD)
            for row in (0, 1):
                weight(face, row).hover()
                face.settle()
                for part, least in contrasts(face).items():
                    assert least >= 4.5, (palette, part)
            face.screenshot(f"palette-{palette}")
    finally:
        face.page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")


def contrasts(face: Any) -> dict[str, float]:
    """WCAG's contrast of every text in the list with what is painted behind it; the least of each class."""
    found = face.page.evaluate(
        """() => {
            const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const rgb = (colours) => { paint.clearRect(0, 0, 1, 1);
                for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
                return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3); };
            const out = [];
            for (const element of document.querySelectorAll('.lorchestra-stack-box *')) {
                const text = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
                const seen = element.checkVisibility({visibilityProperty: true, opacityProperty: true});
                if (!seen || !(text || element.matches('.lorchestra-badge'))) continue;
                const behind = [];
                for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
                const colour = getComputedStyle(element).color;
                out.push([element.className, rgb([...behind, colour]), rgb(behind)]);
            }
            return out;
        }"""
    )
    least: dict[str, float] = {}
    for name, *colours in found:
        light, dark = sorted((_luminance(colour) for colour in colours), reverse=True)
        least[name] = min(least.get(name, 21), (light + 0.05) / (dark + 0.05))
    assert len(least) > 5
    return least


def _luminance(colour: list[int]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
