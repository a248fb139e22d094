"""The face on a phone: long presses, what is large enough for a finger, and the picker as a sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from lorchestra.demo.comfyui import Server

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
ROWS = [
    {"lora": WARM, "model": 0.75, "schedule": "0:0, 0.3:1", "triggers": ["warm light"]},
    {"lora": LINES, "model": 0.6, "clip": 0.3, "conditioning": "negative", "expert": "high"},
    {"lora": "gone.safetensors", "model": 1},
]
LEAST = 24  # pixels
SMALL = """([root, least]) => [...document.querySelectorAll(root)]
    .flatMap((one) => [...one.querySelectorAll(
        'button, input, select, summary, [role=spinbutton], [role=option], [role=treeitem], [role^=menuitem], '
        + '.lorchestra-grip, .lorchestra-picker-star, .lorchestra-picker-add')])
    .filter((one) => one.checkVisibility({visibilityProperty: true}))
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([, {width, height}]) => width < least - 0.01 || height < least - 0.01)
    .map(([one, {width, height}]) => `${one.className} ${width} × ${height}`)"""
"""What in an element is too small to be pressed with a finger."""


@pytest.fixture(scope="module")
def opened_phone(opened: Any, browser: Browser, server: Server) -> Iterator[Any]:
    phone = type(opened)(browser, server, opened.name, **PHONE)
    phone.open()
    yield phone
    phone.page.context.close()


@pytest.fixture
def phone(opened_phone: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A phone with a LoRA Stack."""
    opened_phone.clear()
    opened_phone.add(x=70, y=220)  # below what ComfyUI says of the workflow that it begins with
    opened_phone.page.evaluate(
        """(text) => {
            const widget = app.graph.nodes[0].widgets.find((one) => one.type === 'LORCHESTRA_LORAS');
            app.canvas.emitBeforeChange();
            widget.value = text;
            app.canvas.emitAfterChange();
        }""",
        json.dumps({"version": 1, "loras": ROWS, "words": [WARM]}),
    )
    expect(opened_phone.row(2).locator("[data-state=missing]")).to_be_visible()
    yield opened_phone
    opened_phone.screenshot(request.node.originalname)
    assert opened_phone.take_errors() == []


class Finger:
    """Presses as a finger does."""

    def __init__(self, face: Any) -> None:
        self.page = face.page
        self.session = face.page.context.new_cdp_session(face.page)

    def hold(self, target: Locator, milliseconds: int, *, move: int = 0) -> None:
        """Presses the middle of an element for a time, and may move on the way."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self._send("touchStart", [{"x": x, "y": y}])
        if move:
            self.page.wait_for_timeout(50)
            self._send("touchMove", [{"x": x + move, "y": y}])
        self.page.wait_for_timeout(milliseconds)
        self._send("touchEnd", [])

    def _send(self, kind: str, points: list[dict[str, float]]) -> None:
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_a_long_press_opens_the_menu_of_a_row(phone: Any) -> None:
    """Once, without what a short press does, and without a menu of ComfyUI's."""
    page, finger = phone.page, Finger(phone)
    menu, before = page.get_by_role("menu"), phone.same()
    for part in (".lorchestra-name", ".lorchestra-weight-spin >> nth=0", ".lorchestra-switch"):
        finger.hold(phone.row(1).locator(part), 650)
        expect(menu).to_have_count(1)
        expect(menu).to_have_accessible_name("LoRA 2")
        page.wait_for_timeout(150)
        expect(menu).to_have_count(1)
        assert page.locator(".lorchestra-picker, .lorchestra-weight-input, .litecontextmenu").count() == 0
        assert page.locator(".p-contextmenu:visible").count() == 0
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
    assert phone.same() == before
    # A short press does what it says, and so does one that moves.
    finger.hold(phone.row(1).locator(".lorchestra-weight-spin").first, 700, move=40)
    page.wait_for_timeout(100)
    assert phone.same()[1]["model"] > before[1]["model"]
    page.wait_for_timeout(450)
    finger.hold(phone.row(1).locator(".lorchestra-weight-spin").first, 60)
    expect(phone.row(1).get_by_role("textbox")).to_be_focused()
    expect(menu).to_have_count(0)
    page.keyboard.press("Escape")


def test_a_long_press_that_the_browser_answers_itself(phone: Any) -> None:
    """Phones' browsers make a right click of it: then there is none of ours."""
    page = phone.page
    page.evaluate(
        """() => {
            window.menus = 0;
            const row = document.querySelectorAll('.lorchestra-row')[1];
            row.addEventListener('contextmenu', () => { window.menus += 1; });
            const name = row.querySelector('.lorchestra-name');
            const press = {bubbles: true, cancelable: true, pointerType: 'touch', pointerId: 7, isPrimary: true,
                           clientX: 200, clientY: 300};
            name.dispatchEvent(new PointerEvent('pointerdown', press));
            setTimeout(() => name.dispatchEvent(new PointerEvent('contextmenu', press)), 200);
        }"""
    )
    page.wait_for_timeout(900)
    assert page.evaluate("window.menus") == 1
    expect(page.get_by_role("menu")).to_have_count(1)
    page.keyboard.press("Escape")


def test_what_is_pressed_is_large_enough_for_a_finger(phone: Any) -> None:
    page = phone.page

    def small(root: str) -> list[str]:
        page.locator(root).first.wait_for()
        page.wait_for_timeout(300)
        return page.evaluate(SMALL, [root, LEAST])

    # ComfyUI's own buttons are above the left part, and the node is wider than the window.
    page.evaluate("app.canvas.ds.offset = [-110, 0]; app.canvas.setDirty(true, true)")
    assert small(".lorchestra-loras") == []
    assert phone.row(0).locator(".lorchestra-schedule").evaluate("(one) => getComputedStyle(one).opacity") == "1"
    phone.row(0).locator(".lorchestra-more").tap()
    assert small(".lorchestra-popup") == []
    page.keyboard.press("Escape")
    phone.row(0).locator(".lorchestra-schedule").tap()
    assert small(".lorchestra-popup") == []
    page.get_by_role("button", name="Presets").tap()
    assert small(".lorchestra-popup") == []
    phone.screenshot("phone-presets")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    phone.row(0).locator(".lorchestra-more").tap()
    page.get_by_role("menuitem", name="Info…").tap()
    page.get_by_role("dialog", name="About").get_by_text("SHA-256").wait_for()
    assert small(".lorchestra-popup") == []
    phone.screenshot("phone-info")
    page.keyboard.press("Escape")


def test_the_picker_is_a_sheet(phone: Any) -> None:
    page = phone.page
    page.evaluate("() => { app.canvas.ds.offset = [-200, 0]; app.canvas.setDirty(true, true); }")  # the node is wider
    phone.settle()
    phone.editor.get_by_role("button", name="Add a LoRA").tap()
    sheet = page.get_by_role("dialog", name="Choose a LoRA")
    search = sheet.get_by_role("combobox")
    option = sheet.get_by_role("option").first
    option.wait_for()
    expect(search).not_to_be_focused()  # which would open a keyboard over the list
    for view in ("list", "grid"):
        page.wait_for_timeout(300)
        box = sheet.bounding_box()
        assert (box["x"], box["width"], round(box["y"] + box["height"])) == (0, 390, 844), view
        assert box["height"] > 600
        inside = sheet.locator(".lorchestra-picker-panel").bounding_box()
        assert inside["height"] > box["height"] - 4
        assert inside["width"] == 390
        assert page.evaluate(SMALL, [".lorchestra-picker", LEAST]) == []
        phone.screenshot(f"phone-{view}")
        if view == "list":
            sheet.get_by_role("button", name="Show as grid").tap()
    sheet.get_by_role("button", name="Show as grid").tap()
    sheet.get_by_role("button", name="Close").tap()
    expect(sheet).to_have_count(0)
    phone.editor.get_by_role("button", name="Add a LoRA").tap()
    search.fill("one/twin")
    option.filter(has_text="twin").tap()
    expect(sheet).to_have_count(0)
    assert phone.same()[-1]["lora"] == "one/twin.safetensors"
    phone.press("Control+z")
    phone.wait_for(lambda: len(phone.same()) == len(ROWS))
