"""A workflow is published as an API, by one's own word, and tried in a form, all in one panel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

EXAMPLE = Path(__file__).parents[2] / "example_workflows/lora_stack.json"
WARM = "lorchestra-demo/warm.safetensors"
OPEN = "() => app.extensionManager.command.execute('Lorchestra.PublishAsApi')"
SAID = "() => (app.rootGraph ?? app.graph.rootGraph ?? app.graph).extra?.lorchestra ?? null"
ENCLOSE = """(types) => { // gives nothing back: a graph is too much to be sent
    app.graph.convertToSubgraph(new Set(app.graph.nodes.filter((one) => types.includes(one.type))));
}"""
SELECTED = """() => [
    app.canvas.graph === (app.rootGraph ?? app.graph.rootGraph ?? app.graph),
    ...Object.values(app.canvas.selected_nodes).map((node) => node.type),
]"""
MENUS = """() => {
    const node = app.graph.nodes.find((one) => one.type === 'LorchestraApiExport');
    const items = app.collectNodeMenuItems?.(node) ?? [];
    if (!app.collectNodeMenuItems) node.getExtraMenuOptions(app.canvas, items);
    const menus = [items, app.collectCanvasMenuItems?.(app.canvas) ?? items]; // the oldest has none for the canvas
    return menus.map((menu) => menu.some((item) => item?.content === 'Publish as API'));
}"""
COPIED = """() => {
    window.copied = [];
    const write = async (text) => { window.copied.push(text); };
    Object.defineProperty(navigator, 'clipboard', { value: { writeText: write }, configurable: true });
}"""


class Publishing:
    """The panel of a page, for the example."""

    def __init__(self, face: Any) -> None:
        self.face, self.page = face, face.page
        self.name = f"lighthouse-{face.name.replace('.', '-')}"

    @property
    def panel(self) -> Locator:
        return self.page.get_by_role("dialog", name="Publish as API")

    @property
    def status(self) -> Locator:
        return self.panel.get_by_role("status").first

    @property
    def rows(self) -> Locator:
        return self.panel.get_by_role("list", name="Inputs").get_by_role("listitem")

    @property
    def form(self) -> Locator:
        return self.panel.get_by_role("tabpanel", name="Try it")

    def row(self, name: str) -> Locator:
        return self.rows.filter(has=self.page.locator(".lorchestra-publish-name", has_text=re.compile(f"^{name}$")))

    def names(self) -> list[str]:
        return self.rows.locator(".lorchestra-publish-name").all_inner_texts()

    def said(self) -> Any:
        return self.page.evaluate(SAID)

    def begin(self) -> None:
        """The example, small, and the panel for it under the page's own name."""
        self.face.load(EXAMPLE)
        for widget in ("width", "height"):
            self.face.set_widget("EmptyLatentImage", widget, 64)
        self.face.set_widget("KSampler", "steps", 2)
        self.open()
        self.put(self.panel.get_by_label("Name, a part of its address"), self.name)

    def open(self) -> None:
        self.page.evaluate(OPEN)
        expect(self.rows.first).to_be_visible(timeout=15_000)

    def put(self, field: Locator, text: str) -> None:
        field.fill(text)
        field.press("Tab")
        expect(self.panel).not_to_have_attribute("aria-busy", "true")

    def publish(self) -> None:
        button = self.panel.get_by_role("button", name="Publish", exact=True)
        if button.is_enabled():  # else a test before has published just this
            button.click()
        expect(self.status).to_contain_text("Published as version", timeout=15_000)

    def schema(self) -> Any:
        return self.face.server.get(f"/lorchestra/workflows/{self.name}/schema.json")


@pytest.fixture
def publishing(face: Any) -> Iterator[Publishing]:
    found = Publishing(face)
    yield found
    if found.panel.is_visible():
        found.panel.get_by_role("button", name="Close").click()
    expect(found.panel).to_have_count(0)


def test_what_a_person_says_is_published_saved_and_undone(publishing: Publishing, tmp_path: Path) -> None:
    publishing.begin()
    assert publishing.names()[:5] == ["prompt", "negative_prompt", "loras", "seed", "steps"]
    steps = publishing.row("steps")
    expect(steps).to_contain_text("whole number · 1 – 10,000 · default 2")
    steps.get_by_role("button", name="steps").first.click()
    publishing.put(steps.get_by_label("Least"), "0")
    expect(steps.get_by_role("alert")).to_contain_text("the node takes 1 at the least")
    expect(publishing.panel.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    publishing.put(steps.get_by_label("Least"), "2")
    publishing.put(steps.get_by_label("Most"), "30")
    publishing.put(steps.get_by_label("Name, as programs call it"), "rounds")
    rounds = publishing.row("rounds")
    expect(rounds).to_contain_text("2 – 30")
    publishing.row("scheduler").get_by_role("button", name="Hide").click()
    expect(publishing.panel.get_by_role("tab", name="Inputs (11)")).to_be_visible()
    rounds.locator(".lorchestra-publish-open").press("Alt+ArrowUp")
    expect(rounds.locator(".lorchestra-publish-open")).to_be_focused()
    publishing.face.screenshot("publish_inputs")
    publishing.publish()
    schema = publishing.schema()["properties"]
    assert list(schema)[:5] == ["prompt", "negative_prompt", "loras", "rounds", "seed"]
    assert (schema["rounds"]["minimum"], schema["rounds"]["maximum"], "scheduler" in schema) == (2, 30, False)

    before = publishing.said()
    publishing.row("cfg").get_by_role("button", name="Hide").click()
    expect(publishing.status).to_contain_text("Changed since version")
    publishing.panel.get_by_role("button", name="Close").focus()
    publishing.page.keyboard.press("Control+z")
    expect(publishing.status).to_contain_text("Published as version")
    assert publishing.said() == before
    publishing.panel.press("Escape")
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(publishing.face.workflow()), encoding="utf-8")
    publishing.face.clear()
    assert publishing.said() != before
    publishing.face.load(path)
    assert publishing.said() == before
    assert (before["name"], len(before["inputs"])) == (publishing.name, 8)
    publishing.open()
    assert publishing.names()[3] == "rounds"


def test_the_form_runs_it_and_says_what_is_wrong_at_the_field(publishing: Publishing) -> None:
    publishing.begin()
    publishing.publish()
    publishing.panel.get_by_role("tab", name="Try it").click()
    form = publishing.form
    expect(form).to_contain_text("Runs version")
    steps, run = form.get_by_label("Steps"), form.get_by_role("button", name="Run")
    steps.fill("20000")
    run.click()
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(steps).to_be_focused()
    expect(form.get_by_role("alert").filter(has_text="the most is 10000")).to_be_visible()
    steps.fill("1")
    expect(form.get_by_role("listitem")).to_have_count(2)
    form.get_by_role("button", name=re.compile("^Remove .*lines")).click()
    form.get_by_role("button", name="Add a LoRA").click()
    search = publishing.page.get_by_role("combobox", name="Find a LoRA")
    search.fill("warm")
    expect(publishing.page.get_by_role("listbox", name="LoRAs").get_by_role("option")).to_have_count(1)
    search.press("Enter")
    expect(form.get_by_role("listitem")).to_have_count(2)
    publishing.put(form.get_by_label(re.compile("^Weight of")).nth(1), "200")
    run.click()
    expect(form.get_by_role("alert").filter(has_text="the most is 100")).to_be_visible()
    publishing.put(form.get_by_label(re.compile("^Weight of")).nth(1), "0.4")
    run.click()
    picture = form.get_by_role("list", name="What came out").get_by_role("img")
    expect(picture).to_be_visible(timeout=180_000)
    publishing.page.wait_for_function("(image) => image.naturalWidth === 64", arg=picture.element_handle())
    publishing.face.screenshot("publish_form")
    jobs = publishing.face.server.get("/lorchestra/api/v2/jobs?limit=1")["jobs"]
    assert (jobs[0]["status"], jobs[0]["workflow"].split("@")[0]) == ("succeeded", publishing.name)
    graph = publishing.face.server.get(f"/lorchestra/api/v2/jobs/{jobs[0]['id']}/workflow")["workflow"]
    rows = json.loads(graph["3"]["inputs"]["loras"])["loras"]
    assert [(row["lora"], row["model"]) for row in rows] == [(WARM, 0.75), (WARM, 0.4)]
    assert graph["8"]["inputs"]["steps"] == 1


def test_subgraphs_are_opened_and_their_nodes_shown_on_the_canvas(publishing: Publishing) -> None:
    publishing.face.load(EXAMPLE)
    publishing.page.evaluate(ENCLOSE, ["KSampler", "CLIPTextEncode"])
    publishing.open()
    publishing.row("cfg").get_by_role("button", name="KSampler").click()
    publishing.page.wait_for_function(f"({SELECTED})().join() === 'false,KSampler'")
    publishing.row("loras").get_by_role("button", name="LoRA Stack #3: loras").click()
    publishing.page.wait_for_function(f"({SELECTED})().join() === 'true,LorchestraLoraStack'")
    add = publishing.panel.get_by_label("Add an input")
    add.select_option("format")
    expect(publishing.row("format")).to_contain_text("choice")
    assert publishing.said()["inputs"][-1] == {"node": "4", "widget": "format"}
    publishing.row("format").get_by_role("button", name="Hide").click()
    expect(publishing.row("format")).to_have_count(0)
    assert publishing.said() is None


def test_programs_are_copied_with_the_keyboard_alone(publishing: Publishing, request: pytest.FixtureRequest) -> None:
    publishing.begin()
    assert publishing.page.evaluate(MENUS) == [True, True]
    publishing.publish()
    publishing.page.evaluate(COPIED)
    request.addfinalizer(lambda: publishing.page.evaluate("() => { delete navigator.clipboard; }"))
    copy = publishing.panel.get_by_role("button", name="Copy…")
    for keys in (["Enter"], ["ArrowDown", "Enter"], ["ArrowDown", "ArrowDown", "Enter"], ["End", "Enter"]):
        copy.focus()
        publishing.page.keyboard.press("Enter")
        for key in keys:
            publishing.page.keyboard.press(key)
        expect(publishing.panel.get_by_role("status").first).to_contain_text("Copied")
    url = f"{publishing.face.server.url}/lorchestra/workflows/{publishing.name}/jobs"
    address, curl, python, typescript = publishing.page.evaluate("window.copied")
    assert address == url
    assert curl.startswith("#!/bin/sh") and url in curl and WARM in curl
    assert "from comfy_sdk import Comfy" in python
    assert "@comfyorg/sdk" in typescript
    tab = publishing.panel.get_by_role("tab", name="Inputs")
    tab.focus()
    for _ in range(2):
        publishing.page.keyboard.press("ArrowRight")
    expect(publishing.form).to_be_visible()
    publishing.page.keyboard.press("Escape")
    expect(publishing.panel).to_have_count(0)


def test_the_token_is_asked_for_once_and_what_is_refused_is_told(publishing: Publishing) -> None:
    """What the service answers with a token, and without its package, is put before the real one."""
    page, missing = publishing.page, {"is": True}

    def answer(route: Route) -> None:
        sent = route.request.headers.get("authorization")
        if missing["is"]:
            said = {
                "code": "unavailable",
                "message": "the package jsonschema is missing. Run pip install.",
                "details": None,
            }
            route.fulfill(status=503, json={"error": said})
        elif sent != "Bearer open-sesame-open-sesame":
            route.fulfill(status=401, json={"error": {"code": "unauthorized", "message": "no", "details": None}})
        else:
            route.continue_()

    page.route("**/lorchestra/workflows/**", answer)
    try:
        publishing.face.load(EXAMPLE)
        page.evaluate(OPEN)
        expect(publishing.status).to_contain_text("The package jsonschema is missing. Run pip install.")
        missing["is"] = False
        publishing.panel.press("Escape")
        page.evaluate(OPEN)
        expect(publishing.status).to_contain_text("has a token")
        token = publishing.panel.get_by_label("Token of the service")
        expect(token).to_be_focused()
        token.fill("wrong")
        token.press("Enter")
        expect(publishing.status).to_contain_text("not the token")
        token.fill("open-sesame-open-sesame")
        token.press("Enter")
        expect(publishing.rows.first).to_be_visible()
        expect(token).to_be_hidden()
        publishing.panel.press("Escape")
        publishing.open()
        assert "sesame" not in json.dumps(publishing.face.workflow())
    finally:
        page.unroute("**/lorchestra/workflows/**", answer)
        page.evaluate("sessionStorage.clear()")
