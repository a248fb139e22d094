"""The curve editor, on the LoRA Schedule and as a pop-up, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.frontends import OLDEST

from lorchestra.schedule import Schedule

pytestmark = pytest.mark.slow  # test_stack_list.py opens it in the quick run


NODE = "LorchestraLoraSchedule"
BELL = ("point 1: at 0%, weight 0, cosine", "point 2: at 50%, weight 1, cosine", "point 3: at 100%, weight 0")


class Editor:
    """What the tests do with the editor of the only LoRA Schedule, or of the pop-up."""

    def __init__(self, face: Any, inside: str = "") -> None:
        self.face = face
        self.page = face.page
        self.root = face.page.locator(f"{inside} .lorchestra-curve:visible")
        self.plot = self.root.locator(".lorchestra-curve-plot")
        self.points = self.root.get_by_role("slider")
        self.status = self.root.get_by_role("status")

    def widget(self, name: str) -> Any:
        """The value of one of the node's widgets."""
        return self.page.evaluate(
            """([kind, name]) => app.graph.nodes.find((node) => node.type === kind)
                ?.widgets.find((widget) => widget.name === name)?.value""",
            [NODE, name],
        )

    @property
    def text(self) -> str:
        """The text in the prompt."""
        (node,) = (node for node in self.face.prompt().values() if node["class_type"] == NODE)
        return node["inputs"]["text"]

    def labels(self) -> list[str]:
        """What a screen reader says of the points."""
        return self.points.evaluate_all("(points) => points.map((point) => point.ariaLabel)")

    def wait_for_labels(self, *expected: str) -> None:
        """Waits until the points are these."""
        self.face.wait_for(lambda: self.labels() == list(expected))

    def axes(self) -> list[str]:
        """The names of the axes."""
        return self.root.locator(".lorchestra-curve-axis").all_text_contents()

    def place(self, number: int) -> tuple[float, float]:
        """The middle of a point, from 1, in the window."""
        box = self.points.nth(number - 1).locator("circle").last.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def area(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the grid in the window."""
        box = self.root.locator(".lorchestra-curve-grid").bounding_box()
        return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]

    def at(self, progress: float, weight: float) -> tuple[float, float]:
        """Where a progress and a weight of 0 … 1 are in the window."""
        left, top, right, bottom = self.area()
        return left + progress * (right - left), bottom - weight * (bottom - top)

    def drag(self, number: int, progress: float, weight: float) -> None:
        """Drags a point there, in several steps."""
        self.page.mouse.move(*self.place(number))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(progress, weight), steps=6)
        self.page.mouse.up()
        self.page.wait_for_timeout(100)

    def type(self, text: str) -> None:
        """Puts a text into the node's own field, as one step of undo."""
        field = self.page.locator("textarea:visible").first
        field.fill(text)
        field.blur()
        self.page.evaluate("app.canvas.emitBeforeChange(); app.canvas.emitAfterChange()")
        self.page.wait_for_timeout(150)


@pytest.fixture
def curve(face: Any) -> Editor:
    face.add(NODE, x=420, y=120)
    return Editor(face)


def test_a_dragged_point_is_in_the_text_the_prompt_and_the_output(curve: Editor) -> None:
    curve.type("0:0, 0.5:1 ease, 1:0")
    curve.wait_for_labels("point 1: at 0%, weight 0", "point 2: at 50%, weight 1, ease", "point 3: at 100%, weight 0")
    curve.drag(2, 0.31, 0.62)
    assert curve.text == "0:0, 0.3:0.6 ease, 1:0"
    assert curve.widget("text") == curve.page.locator("textarea:visible").first.input_value() == curve.text
    assert curve.labels()[1] == "point 2: at 30%, weight 0.6, ease"
    outputs = curve.face.queue()
    assert [output["text"] for output in outputs.values()] == [["0:0, 0.3:0.6 ease, 1:0"]]
    curve.face.wait_for(lambda: curve.root.count() == 1)
    curve.face.page.wait_for_timeout(600)
    curve.face.screenshot("curve-after-run")


def test_dragging_goes_straight_up_or_aside_and_finely_with_shift(curve: Editor) -> None:
    curve.type("0:0, 1/3:0.5, 1:0")
    x, y = curve.place(2)
    curve.page.mouse.move(x, y)
    curve.page.mouse.down()
    curve.page.mouse.move(x + 2, y - 30, steps=4)
    curve.page.mouse.up()
    assert curve.text.startswith("0:0, 1/3:0."), "a pointer that goes up leaves the position alone"
    curve.page.keyboard.down("Shift")
    curve.drag(2, 0.333, 0.333)
    curve.page.keyboard.up("Shift")
    assert re.fullmatch(r"0:0, 1/3:0\.3[234], 1:0", curve.text)
    curve.drag(2, 1.4, -0.5)
    assert curve.text.startswith("0:0, 1:-0."), "neither past the neighbour nor kept in the grid"
    assert "-0.5" in curve.root.locator("svg text").all_text_contents()
    assert curve.axes() == ["Progress of the sampling, in %", "Weight"]


def test_typing_text_moves_the_points(curve: Editor) -> None:
    curve.type("0:0.2, 0.25:-1 hold, 1:2.5")
    curve.wait_for_labels(
        "point 1: at 0%, weight 0.2", "point 2: at 25%, weight -1, hold", "point 3: at 100%, weight 2.5"
    )
    left, top, right, bottom = curve.area()
    x, y = curve.place(2)
    assert x == pytest.approx(left + (right - left) / 4, abs=2)
    assert y == pytest.approx(bottom, abs=2)
    assert curve.place(3)[1] < top + 40
    curve.type("step 1:0, 5:1")
    curve.wait_for_labels("point 1: at 1, weight 0", "point 2: at 5, weight 1")
    curve.type("sigma 14.6:0, 7:1")
    curve.wait_for_labels("point 1: at 14.6, weight 0", "point 2: at 7, weight 1")
    assert curve.axes()[0] == "Sigma"
    assert curve.place(1)[0] < curve.place(2)[0]


def test_steps_of_the_run_are_marked(curve: Editor) -> None:
    marks = "(path) => path.getAttribute('d').split('M').length - 1"
    steps = curve.root.locator(".lorchestra-curve-steps")
    assert steps.evaluate(marks) == 20
    assert curve.status.inner_text() == "20 steps"
    curve.page.evaluate("""() => {
        const steps = app.graph.nodes[0].widgets.find((widget) => widget.name === 'steps');
        steps.value = 7; steps.callback?.(7);
    }""")
    curve.face.wait_for(lambda: steps.evaluate(marks) == 7)
    curve.page.evaluate("""() => {
        const scheduler = LiteGraph.createNode('BasicScheduler'); scheduler.pos = [60, 120]; app.graph.add(scheduler);
        scheduler.widgets.find((widget) => widget.name === 'steps').value = 5;
        scheduler.connect(0, app.graph.nodes[0], 'sigmas');
    }""")
    curve.face.wait_for(lambda: steps.evaluate(marks) == 5)


def test_the_steps_of_the_sampler_are_offered(curve: Editor) -> None:
    curve.page.evaluate("""() => {
        const add = (kind, x) => {
            const node = LiteGraph.createNode(kind); node.pos = [x, 600]; app.graph.add(node); return node;
        };
        const stack = add('LorchestraLoraStack', 420), sampler = add('KSampler', 900);
        sampler.widgets.find((widget) => widget.name === 'steps').value = 8;
        app.graph.nodes[0].connect(0, stack, stack.inputs.findIndex((input) => input.name === 'schedule'));
        stack.connect(0, sampler, 'model');
    }""")
    offer = curve.root.get_by_role("button", name="Sampler: 8")
    curve.root.hover()
    offer.click()
    assert curve.widget("steps") == 8
    assert curve.status.inner_text() == "8 steps"
    assert not offer.is_visible()


def test_sigmas_of_the_last_run_are_marked(curve: Editor) -> None:
    curve.type("sigma 8:0, 2:1")
    curve.page.evaluate("""() => {
        const sigmas = LiteGraph.createNode('ManualSigmas'); app.graph.add(sigmas); sigmas.pos = [60, 120];
        sigmas.widgets[0].value = '10, 6, 3, 1, 0';
        sigmas.connect(0, app.graph.nodes[0], 'sigmas');
    }""")
    curve.face.queue()
    steps = curve.root.locator(".lorchestra-curve-steps")
    curve.face.wait_for(lambda: steps.evaluate("(path) => path.getAttribute('d').split('M').length - 1") == 4)
    assert curve.status.inner_text() == "4 steps"


def test_the_report_says_only_what_text_and_curve_do_not(curve: Editor) -> None:
    report = curve.page.get_by_label("The schedule in words")
    height = "() => app.graph.nodes[0].size[1]"
    before = curve.page.evaluate(height)
    for text, words in (("0:0, 1:1", ""), ("step 1:0.2, 30:1", "step 30"), ("0:0, 0.5:1, 1:0", "")):
        curve.type(text)
        curve.face.queue()
        expect(report).to_be_attached()
        if words:
            expect(report).to_have_value(re.compile(words))
            expect(report).to_be_visible()
            assert text not in report.input_value()
            assert report.evaluate("(one) => one.scrollHeight <= one.clientHeight + 1"), "all of it can be read"
            curve.face.screenshot("schedule-report")
        else:
            expect(report).to_be_hidden()
            assert curve.page.evaluate(height) - before < 300, "nothing but the picture makes the node higher"
            assert curve.root.bounding_box()["height"] > 200
    curve.face.screenshot("schedule-no-report")


def test_presets(curve: Editor) -> None:
    curve.type("0:0.3, 1:0.4")
    curve.root.get_by_role("button", name="Presets").click()
    menu = curve.page.get_by_role("menu", name="Presets")
    curve.page.keyboard.press("b")
    curve.page.keyboard.press("Enter")
    menu.wait_for(state="detached")
    assert (curve.widget("preset"), curve.text) == ("bell", "0:0.3, 1:0.4"), "the own text is kept for later"
    curve.wait_for_labels(
        "point 1: at 0%, weight 0, cosine", "point 2: at 50%, weight 1, cosine", "point 3: at 100%, weight 0"
    )
    curve.drag(2, 0.7, 0.8)
    assert (curve.widget("preset"), curve.text) == ("from text", "0:0 cosine, 0.7:0.8 cosine, 1:0")
    curve.face.press("Control+z")
    curve.face.wait_for(lambda: (curve.widget("preset"), curve.text) == ("bell", "0:0.3, 1:0.4"))
    curve.wait_for_labels(
        "point 1: at 0%, weight 0, cosine", "point 2: at 50%, weight 1, cosine", "point 3: at 100%, weight 0"
    )


def test_undo_and_redo_go_gesture_by_gesture(curve: Editor) -> None:
    curve.type("0:0, 0.5:1, 1:0")
    curve.page.wait_for_timeout(300)
    curve.drag(2, 0.3, 0.6)
    curve.page.mouse.dblclick(*curve.at(0.75, 0.9))
    curve.page.wait_for_timeout(100)
    curve.root.get_by_role("button", name="Invert").click()
    states = ["0:0, 0.5:1, 1:0", "0:0, 0.3:0.6, 1:0", "0:0, 0.3:0.6, 0.75:0.9, 1:0", "0:1, 0.3:0.4, 0.75:0.1, 1:1"]
    assert curve.text == states[3]
    for number, keys in ((2, "z"), (1, "z"), (0, "z"), (1, "y"), (2, "y"), (3, "y"), (2, "z")):
        curve.face.press(f"Control+{keys}")
        curve.face.wait_for(lambda number=number: curve.text == states[number])
        curve.face.wait_for(lambda number=number: curve.points.count() == states[number].count(":"))
    curve.drag(2, 0.2, 0.5)  # the element on the screen is the live one
    assert curve.text == "0:0, 0.2:0.5, 0.75:0.9, 1:0"


def test_a_key_pressed_while_dragging_is_no_step_of_its_own(curve: Editor) -> None:
    curve.type("0:0, 0.5:1, 1:0")
    curve.page.wait_for_timeout(300)
    curve.page.mouse.move(*curve.place(2))
    curve.page.mouse.down()
    curve.page.mouse.move(*curve.at(0.4, 0.7), steps=3)
    curve.page.keyboard.press("Shift")
    curve.page.wait_for_timeout(300)
    curve.page.mouse.move(*curve.at(0.2, 0.4), steps=3)
    curve.page.mouse.up()
    assert curve.text == "0:0, 0.2:0.4, 1:0"
    curve.face.press("Control+z")
    curve.face.wait_for(lambda: curve.text == "0:0, 0.5:1, 1:0")


def test_saved_and_loaded_again(curve: Editor, tmp_path: Path) -> None:
    curve.drag(2, 0.6, 0.7)
    assert curve.text == "0:0, 0.6:0.7"
    saved = curve.face.workflow()
    (node,) = saved["nodes"]
    assert node["widgets_values"] == ["from text", "0:0, 0.6:0.7", 20], "the curve has no value of its own"
    assert set(next(iter(curve.face.prompt().values()))["inputs"]) == {"preset", "text", "steps"}
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(saved), encoding="utf-8")
    curve.face.open()
    curve.page.locator("#comfy-file-input").set_input_files(path)
    curve.root.wait_for(state="visible")
    curve.wait_for_labels("point 1: at 0%, weight 0", "point 2: at 60%, weight 0.7")
    curve.drag(2, 0.8, 0.5)
    assert curve.text == "0:0, 0.8:0.5"


def test_everything_by_keyboard(curve: Editor) -> None:
    page = curve.page
    curve.root.get_by_role("button", name="Mirror").focus()
    page.keyboard.press("Tab")
    label = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(label) == "point 1: at 0%, weight 0"
    assert page.evaluate("getComputedStyle(document.activeElement.children[1]).stroke") not in (
        "none",
        "rgba(0, 0, 0, 0)",
    )
    page.keyboard.press("PageDown")
    assert page.evaluate(label) == "point 2: at 100%, weight 1"
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate(label) == "point 2: at 90%, weight 0.94"
    assert curve.text == "0:0, 0.9:0.94"
    page.keyboard.press("Home")
    page.keyboard.press("Insert")
    assert curve.text == "0:0, 0.45:0.47, 0.9:0.94"
    assert page.evaluate(label) == "point 2: at 45%, weight 0.47"
    page.keyboard.press("Tab")  # to the button of the point before
    curve.root.get_by_label("At", exact=True).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("30")
    page.keyboard.press("Enter")
    expect(curve.root.get_by_label("At", exact=True)).to_have_value("30%")
    page.keyboard.press("Control+a")
    page.keyboard.type("1/4")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("0,5")
    page.keyboard.press("Enter")
    assert curve.text == "0:0, 0.25:0.5, 0.9:0.94"
    page.keyboard.press("ArrowUp")
    curve.root.get_by_label("Transition to the next point").select_option("cubic")
    assert curve.text == "0:0, 0.25:0.55 cubic, 0.9:0.94"
    curve.points.nth(1).focus()
    page.keyboard.press("Delete")
    assert curve.text == "0:0, 0.9:0.94"
    assert page.evaluate("app.graph.nodes.length") == 1
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    assert curve.text == "0.9:0.94", "the last point stays"
    assert page.evaluate("app.graph.nodes.length") == 1


def test_text_of_other_forms_is_asked_of_the_server(curve: Editor) -> None:
    for text, points in (("0@0.2,1@0.5", 2), ("0.2-0.6:1", 3), ("step 1-2:1", 2), ("[<lora:a:1>:0.2,0.6]", 3)):
        curve.type(text)
        curve.face.wait_for(lambda points=points: curve.points.count() == points)
        curve.face.wait_for(lambda: curve.root.get_attribute("data-state") == "ready")
        assert curve.text == text, "to look at it changes nothing"
    curve.type("0@0.2,1@0.5")
    curve.wait_for_labels("point 1: at 20%, weight 0", "point 2: at 50%, weight 1")
    curve.drag(2, 0.7, 0.5)
    assert curve.text == "0.2:0, 0.7:0.5"


def test_a_product_is_edited_curve_by_curve(curve: Editor) -> None:
    curve.type("fade-in * 0:1, 1:0.5")
    factor = curve.root.get_by_label("Curve of the product to edit")
    curve.wait_for_labels("point 1: at 0%, weight 0", "point 2: at 100%, weight 1")
    factor.select_option("1")
    curve.wait_for_labels("point 1: at 0%, weight 1", "point 2: at 100%, weight 0.5")
    curve.drag(2, 1, 0.25)
    assert curve.text == "0:0, 1:1 * 0:1, 1:0.25"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:0, 1:high", "Column 8: expected a weight such as 0.7, found 'high'"),
        ("0:0, <img src=x onerror=window.hacked=1>", "Column 6: expected a position such as 0.5"),
        ("", "Column 1: the schedule is empty"),
        ("0:0, 0.5:1 bouncy", "Column 12: 'bouncy' is not an easing"),
    ],
)
def test_text_that_means_nothing_stays_and_says_where(curve: Editor, text: str, words: str) -> None:
    curve.type(text)
    curve.face.wait_for(lambda: curve.status.inner_text().startswith(words))
    curve.drag(1, 0.5, 0.5)
    curve.root.get_by_role("button", name="Mirror").click(force=True)
    assert curve.text == curve.widget("text") == text
    assert curve.root.get_by_role("button", name="Mirror").is_disabled()
    assert curve.page.evaluate("window.hacked") is None
    curve.type("0:1, 1:0")
    curve.wait_for_labels("point 1: at 0%, weight 1", "point 2: at 100%, weight 0")
    assert curve.root.get_attribute("data-state") == "ready"


def test_a_server_that_fails_leaves_the_text(curve: Editor) -> None:
    curve.page.route("**/lorchestra/schedule", lambda route: route.fulfill(status=500, body="<b>no</b>"))
    try:
        curve.type("0@0.2,1@0.5")
        curve.face.wait_for(lambda: curve.status.inner_text().endswith("answered with error 500"))
        assert curve.text == "0@0.2,1@0.5"
    finally:
        curve.page.unroute("**/lorchestra/schedule")


def test_two_hundred_points(curve: Editor) -> None:
    weights = [round((index % 20) / 20, 2) for index in range(200)]
    curve.type(", ".join(f"{round(index / 199, 4)}:{weight}" for index, weight in enumerate(weights)))
    curve.face.wait_for(lambda: curve.points.count() == 200)
    started = curve.page.evaluate("performance.now()")
    curve.points.nth(100).focus()
    for _ in range(10):
        curve.page.keyboard.press("ArrowUp")
    assert curve.page.evaluate("performance.now()") - started < 3000
    assert curve.text.count(":") == 200
    assert Schedule.parse(curve.text).curves[0].keyframes[100].weight == pytest.approx(0.5)
    assert curve.root.locator('[tabindex="0"][role="slider"]').count() == 1, "one stop for the Tab key"


def test_a_linked_text_cannot_be_edited_here(curve: Editor) -> None:
    curve.page.evaluate("""() => {
        const source = LiteGraph.createNode('PrimitiveStringMultiline'); source.pos = [60, 120]; app.graph.add(source);
        source.connect(0, app.graph.nodes[0], 'text');
    }""")
    curve.face.wait_for(lambda: curve.root.get_attribute("data-state") == "locked")
    assert curve.status.inner_text() == "The schedule comes through a link"
    assert curve.root.get_by_role("button", name="Presets").is_disabled()
    curve.page.evaluate("app.graph.nodes[0].disconnectInput('text')")
    curve.face.wait_for(lambda: curve.root.get_attribute("data-state") == "ready")
    curve.drag(2, 0.5, 0.5)
    assert curve.text == "0:0, 0.5:0.5"


def test_drags_are_right_when_zoomed_and_after_a_switch_of_the_renderer(curve: Editor) -> None:
    curve.type("0:0, 0.5:1, 1:0")
    curve.page.evaluate("app.canvas.ds.scale = 1.6; app.canvas.ds.offset = [-250, -60]; app.canvas.setDirty(true)")
    curve.page.wait_for_timeout(500)
    curve.drag(2, 0.25, 0.5)
    assert curve.text == "0:0, 0.25:0.5, 1:0"
    curve.page.evaluate("app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true)")
    curve.face.skip_in(OLDEST, "Nodes 2.0 are an experiment there, in which no widget of a pack is shown.")
    other = curve.face.renderer != "nodes2"
    setting = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    for on in (other, not other):
        curve.page.evaluate(setting, on)
        curve.page.wait_for_timeout(1200)
        assert curve.root.count() == 1
        curve.drag(2, 0.75 if on else 0.4, 0.8)
        assert curve.text == f"0:0, {0.75 if on else 0.4}:0.8, 1:0"


def test_nothing_is_left_of_a_removed_node(curve: Editor) -> None:
    curve.page.mouse.move(*curve.place(2))
    curve.page.mouse.down()
    curve.page.mouse.move(*curve.at(0.5, 0.5), steps=3)
    curve.page.evaluate("app.graph.remove(app.graph.nodes[0])")
    curve.page.mouse.up()
    curve.face.wait_for(lambda: curve.page.locator(".lorchestra-curve").count() == 0)
    curve.face.add(NODE, x=420, y=120)  # and undo still takes snapshots
    curve.drag(2, 0.5, 0.5)
    curve.face.press("Control+z")
    curve.face.wait_for(lambda: curve.text == "0:0, 1:1")


def test_both_palettes(curve: Editor) -> None:
    curve.type("0:0 cosine, 0.3:1.2 ease-out, 0.6:0.6 hold, 0.8:-0.3, 1:0.2")
    curve.points.nth(1).focus()
    for palette in ("light", "dark"):
        curve.page.evaluate("(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)", palette)
        curve.page.wait_for_timeout(400)
        curve.face.screenshot(f"curve-{palette}")
        assert contrast(curve, ".lorchestra-curve-line", "stroke") >= 3
        assert contrast(curve, "svg text", "fill") >= 4.5
        assert contrast(curve, ".lorchestra-curve-point", "color") >= 4.5


def contrast(curve: Editor, selector: str, kind: str) -> float:
    """WCAG's contrast of a colour on the plot."""
    colours = curve.page.evaluate(
        """([selector, kind]) => {
            const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const rgb = (colour) => { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
                                      return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3); };
            const plot = document.querySelector('.lorchestra-curve-plot');
            const found = getComputedStyle(plot.querySelector(selector))[kind];
            return [rgb(found), rgb(getComputedStyle(plot).backgroundColor)];
        }""",
        [selector, kind],
    )
    light, dark = sorted((_luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: list[int]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


class Popover(Editor):
    """The editor in its pop-up, opened by a page that keeps what it is told."""

    def __init__(self, face: Any, folder: str, text: str) -> None:
        super().__init__(face, ".lorchestra-popup")
        face.page.evaluate(
            """async ([url, text]) => {
                const { openCurve } = await import(url);
                const anchor = document.createElement('button');
                anchor.id = 'anchor'; anchor.style.cssText = 'position:fixed;left:500px;top:120px;z-index:9';
                anchor.textContent = 'curve';
                document.querySelector('#anchor')?.remove();
                document.body.append(anchor);
                const { app } = await import('/scripts/app.js'), { api } = await import('/scripts/api.js');
                window.told = {changes: [], commits: [], closed: 0};
                openCurve({app, api}, {anchor, text, onChange: (text) => told.changes.push(text),
                    onCommit: (text) => told.commits.push(text), onClose: () => { told.closed += 1; }});
            }""",
            [f"/extensions/{folder}/curve/popover.mjs", text],
        )
        self.root.wait_for(state="visible")

    @property
    def told(self) -> dict[str, Any]:
        return self.page.evaluate("window.told")


def test_popover_edits_the_schedule_of_a_row(face: Any, pack_folder: str) -> None:
    curve = Popover(face, pack_folder, "0:0, 0.5:1, 1:0")
    curve.drag(2, 0.25, 0.5)
    told = curve.told
    assert told["commits"] == ["0:0, 0.25:0.5, 1:0"]
    assert told["changes"][-1] == "0:0, 0.25:0.5, 1:0"
    assert len(told["changes"]) > 1
    field = curve.root.get_by_label("The schedule as text")
    assert field.input_value() == "0:0, 0.25:0.5, 1:0"
    field.fill("0:1, 1:0")
    curve.wait_for_labels("point 1: at 0%, weight 1", "point 2: at 100%, weight 0")
    field.fill("0:1, 1:")
    face.wait_for(lambda: curve.status.inner_text().startswith("Column 8: expected a weight"))
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("0:1, 1:0.5")
    face.screenshot("curve-popover")
    face.page.keyboard.press("Escape")
    curve.root.wait_for(state="detached")
    assert curve.told["commits"] == ["0:0, 0.25:0.5, 1:0", "0:1, 1:0.5"]
    assert curve.told["closed"] == 1


def test_popover_without_a_schedule_and_back_to_none(face: Any, pack_folder: str) -> None:
    curve = Popover(face, pack_folder, "")
    assert curve.status.inner_text() == "No schedule: the same weight at every step"
    curve.wait_for_labels("point 1: at 0%, weight 1")
    face.page.keyboard.press("Escape")
    curve.root.wait_for(state="detached")
    assert curve.told == {"changes": [], "commits": [], "closed": 1}, "to look at it changes nothing"
    curve = Popover(face, pack_folder, "")
    curve.root.get_by_role("button", name="Presets").click()
    face.page.get_by_role("menuitemcheckbox", name="fade-out", exact=True).click()
    curve.wait_for_labels("point 1: at 0%, weight 1", "point 2: at 100%, weight 0")
    assert curve.told["commits"] == ["fade-out"]
    face.page.get_by_role("button", name="No schedule").click()
    curve.root.wait_for(state="detached")
    assert curve.told["commits"] == ["fade-out", ""]
