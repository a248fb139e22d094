"""Our settings stand under one heading, work at once, and are in the user's language."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ROOT = Path(__file__).parents[2]
LOCALES, HELP = ROOT / "locales", ROOT / "js/docs"


class Settings:
    """ComfyUI's settings, and ours in them."""

    def __init__(self, face: Any, pack_folder: str) -> None:
        self.face, self.page, self.folder = face, face.page, pack_folder

    def set(self, name: str, value: Any) -> None:
        self.page.evaluate("([id, value]) => app.extensionManager.setting.set(id, value)", [name, value])

    def get(self, name: str) -> Any:
        """What our code gets."""
        return self.page.evaluate(
            """async ([folder, name]) => {
                const { setting } = await import(`/extensions/${folder}/base/settings.mjs`);
                return setting(app, name);
            }""",
            [self.folder, name],
        )

    def all(self) -> dict[str, Any]:
        """Every setting of ours, by the name in the code."""
        return self.page.evaluate(
            """async (folder) => {
                const { SETTINGS } = await import(`/extensions/${folder}/base/settings.mjs`);
                return JSON.parse(JSON.stringify(SETTINGS));
            }""",
            self.folder,
        )

    def defaults(self) -> dict[str, Any]:
        """What the LoRA list takes for new rows and steps."""
        return self.page.evaluate(
            "async (folder) => (await import(`/extensions/${folder}/stack/defaults.mjs`)).defaultsOf(app)", self.folder
        )

    def widgets(self, node: int) -> dict[str, Any]:
        return self.page.evaluate(
            "(id) => Object.fromEntries(app.graph.getNodeById(id).widgets.map((one) => [one.name, one.value]))", node
        )


@pytest.fixture
def settings(face: Any, pack_folder: str) -> Iterator[Settings]:
    found = Settings(face, pack_folder)
    yield found
    for one in found.all().values():
        found.set(one["id"], one["defaultValue"])


def test_all_are_registered_and_unusable_values_are_not_used(settings: Settings) -> None:
    for name, one in settings.all().items():
        assert settings.get(name) == one["defaultValue"]
        assert settings.page.evaluate("(id) => app.extensionManager.setting.get(id)", one["id"]) == one["defaultValue"]
        settings.set(one["id"], {"no": "value"})
        assert settings.get(name) == one["defaultValue"]
    settings.set("Lorchestra.DefaultWeight", 0.4)
    assert settings.get("defaultWeight") == 0.4
    settings.set("Lorchestra.DefaultWeight", 1e9)
    assert settings.get("defaultWeight") == 0.75


def test_policy_is_for_new_nodes_only(settings: Settings) -> None:
    old = settings.face.add()
    assert settings.widgets(old)["policy"] == "refuse"
    saved = settings.face.workflow()
    settings.set("Lorchestra.Policy", "warn")
    assert settings.widgets(old)["policy"] == "refuse"
    new = settings.face.add(y=600)
    assert settings.widgets(new)["policy"] == "warn"
    settings.page.evaluate("(workflow) => app.loadGraphData(workflow)", saved)
    settings.page.wait_for_timeout(500)
    assert settings.widgets(old)["policy"] == "refuse"
    prompt = settings.face.prompt()
    assert [node["inputs"]["policy"] for node in prompt.values()] == ["refuse"]


def test_the_picker_begins_as_it_is_set(settings: Settings) -> None:
    """With the LoRAs that fit or with all, and with a preview of the width that is set, or without one."""
    page = settings.page
    rows = [
        {"name": f"{kind}.safetensors", "size": 1, "modified": 1, "title": None, "triggers": [], "preview": True}
        | {"architectures": [kind], "family": [kind.upper()], "kind": "lora", "known": True}
        for kind in ("sdxl", "sd1")
    ]
    page.route("**/lorchestra/loras", lambda route: route.fulfill(json={"loras": rows, "pending": 0}))
    page.route("**/lorchestra/preview*", lambda route: route.fulfill(body=PIXEL, content_type="image/png"))

    def opened(count: int) -> Any:
        page.evaluate(
            """async (folder) => {
                const { openPicker } = await import(`/extensions/${folder}/picker/picker.mjs`);
                const { api } = await import("/scripts/api.js");
                window.testPicker?.close();
                const model = { title: "SDXL", architectures: ["sdxl"] };
                const comfy = { app, api: Object.create(api) }, anchor = { x: 300, y: 100 };
                window.testPicker = openPicker(comfy, { anchor, model, onChoose() {} });
            }""",
            settings.folder,
        )
        picker = page.get_by_role("dialog", name="Choose a LoRA")
        expect(picker.get_by_role("option")).to_have_count(count)
        return picker.locator(".lorchestra-picker-preview")

    try:
        preview = opened(1)
        expect(preview).to_be_visible()
        assert preview.bounding_box()["width"] == 232
        settings.set("Lorchestra.PickerFits", False)
        settings.set("Lorchestra.PreviewSize", 160)
        preview = opened(2)
        expect(preview).to_be_visible()
        assert preview.bounding_box()["width"] == 160
        settings.set("Lorchestra.PreviewSize", 0)
        preview = opened(2)
        page.wait_for_timeout(500)
        expect(preview).to_be_hidden()
    finally:
        page.evaluate("window.testPicker?.close()")
        page.unroute("**/lorchestra/loras")
        page.unroute("**/lorchestra/preview*")


def test_badges_are_shown_while_they_are_wanted(settings: Settings) -> None:
    node = settings.face.add()
    settings.page.evaluate(
        """async ([folder, id]) => {
            const { createBadges } = await import(`/extensions/${folder}/badges/badges.mjs`);
            const { api } = await import("/scripts/api.js");
            const read = () => '{"loras": [{"lora": "gone"}]}';
            const show = (rows) => { window.testState = rows.map((row) => row.state).join(); };
            window.stopTest = createBadges({ app, api }).watch({ node: app.graph.getNodeById(id), read, show });
        }""",
        [settings.folder, node],
    )
    try:
        for wanted, state in ((True, "missing"), (False, ""), (True, "missing")):
            settings.set("Lorchestra.Badges", wanted)
            settings.page.wait_for_function("(state) => window.testState === state", arg=state)
    finally:
        settings.page.evaluate("window.stopTest()")


def test_new_rows_are_as_they_are_set(settings: Settings) -> None:
    assert settings.defaults() == {"weight": 0.75, "step": 0.05, "split": False}
    settings.set("Lorchestra.DefaultWeight", -0.4)
    settings.set("Lorchestra.WeightStep", 0.1)
    settings.set("Lorchestra.SplitClip", True)
    assert settings.defaults() == {"weight": -0.4, "step": 0.1, "split": True}


def test_they_stand_under_one_heading(settings: Settings) -> None:
    settings.page.evaluate("app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = settings.page.get_by_role("dialog")
    dialog.get_by_text("Lorchestra", exact=True).first.click()
    for one in settings.all().values():
        dialog.get_by_text(one["name"], exact=True).wait_for()
    settings.face.screenshot("settings")
    settings.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_another_language(settings: Settings, open_face: Any, server: Any, language: str) -> None:
    """The face, the nodes and the settings say what the language's files say."""
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (LOCALES / language).glob("*.json")}
    server.post("/api/settings", {"Comfy.Locale": language})
    try:
        other = open_face(server, settings.face.name)
    finally:
        server.post("/api/settings", {"Comfy.Locale": "en"})
    try:
        page = other.page
        other.clear()
        node = other.add()
        stack = files["nodeDefs"]["LorchestraLoraStack"]
        assert page.evaluate("(id) => app.graph.getNodeById(id).title", node) == stack["display_name"]
        labels = page.evaluate("(id) => app.graph.getNodeById(id).widgets.map((one) => [one.name, one.label])", node)
        said = {name: label for name, label in labels if name in ("missing", "policy", "mode")}
        assert said == {name: stack["inputs"][name]["name"] for name in said}
        assert len(said) == 3
        words = files["main"]["lorchestra"]
        page.get_by_text(words["Add the first LoRA"]).first.wait_for()
        found = page.evaluate(
            """async (folder) => {
                const { t } = await import(`/extensions/${folder}/base/words.mjs`);
                return t("{count} LoRAs", { count: 3 });
            }""",
            settings.folder,
        )
        assert found == words["{count} LoRAs"].replace("{count}", "3")
        page.evaluate(
            "(id) => { app.graph.getNodeById(id).widgets.find((one) => one.name === 'loras').value = "
            '\'{"version": 1, "loras": [{"lora": "gone.safetensors"}]}\'; }',
            node,
        )
        sentences = files["main"]["lorchestraSentences"]
        missing = sentences["{lora} was not found"].replace("{lora}", "gone.safetensors")
        advice = "Add the file to a LoRA folder, choose another one, switch the row off, or let the node skip it."
        said = sentences[f"{{missing}}. {advice}"].replace("{missing}", missing)
        other.wait_for(lambda: said in page.locator(".lorchestra-loras").first.inner_html())
        other.screenshot(f"language-{language}")
        help_page = (HELP / f"LorchestraLoraStack/{language}.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## (.+)", help_page, re.MULTILINE)
        page.evaluate("(id) => app.canvas.selectNode(app.graph.getNodeById(id))", node)
        page.get_by_test_id("info-button").click()
        for heading in headings:
            expect(page.get_by_role("heading", name=heading, level=2, exact=True)).to_be_attached()
        page.wait_for_timeout(500)
        other.screenshot(f"help-{language}")
        assert other.errors == []
    finally:
        other.page.context.close()
