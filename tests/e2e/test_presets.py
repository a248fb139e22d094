"""Presets: saved from one list, taken into another; names that are taken, deleting, and files of other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
DATA = {
    "version": 1,
    "groups": [{"name": "g", "factor": 0.5}],
    "loras": [{"lora": WARM, "model": 0.7, "group": "g"}, {"lora": LINES, "model": 0.4}],
}
DROP = """([text, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type: "application/json" }));
    const panel = document.querySelector(".lorchestra-presets");
    panel.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def folder(base: Path) -> Iterator[Path]:
    """Where ComfyUI keeps them; empty before and after."""
    path = base / "user/default/lorchestra/presets"

    def clear() -> None:
        for file in path.glob("*") if path.is_dir() else ():
            file.unlink()

    clear()
    yield path
    clear()


def fill(face: Any, data: Any = DATA) -> None:
    face.add()
    face.type(json.dumps(data))
    face.menu("Edit as text")


def opened(face: Any) -> Any:
    face.menu("Presets…")
    return face.page.get_by_role("dialog", name="Presets")


def save(presets: Any, name: str) -> None:
    presets.get_by_role("button", name="Save rows…").click()
    presets.get_by_role("textbox", name="Name").fill(name)
    presets.get_by_role("button", name="Save").click()


def test_save_and_take(face: Any, folder: Path) -> None:
    fill(face)
    presets = opened(face)
    expect(presets.get_by_role("status")).to_have_text("No presets yet")
    save(presets, "../x")
    expect(presets.get_by_role("alert")).to_contain_text("none of")
    presets.get_by_role("textbox", name="Name").fill("Night")
    presets.get_by_role("textbox", name="Note").fill("for streets")
    face.screenshot("preset-form")
    presets.get_by_role("button", name="Save").click()
    item = presets.get_by_role("listitem", name="Night")
    expect(item).to_contain_text("2 LoRAs: warm, lines")
    face.screenshot("presets")
    saved = json.loads((folder / "Night.json").read_text(encoding="utf-8"))
    assert saved["note"] == "for streets" and saved["stack"]["groups"] == DATA["groups"]
    save(presets, "NIGHT")
    expect(presets.get_by_role("alert")).to_have_text("There is a preset Night.")
    presets.get_by_role("button", name="Cancel").click()
    face.page.keyboard.press("Escape")

    face.clear()  # another workflow
    fill(face, {"version": 1, "groups": [{"name": "g"}], "loras": [{"lora": LINES, "group": "g"}]})
    opened(face).get_by_role("button", name="Append Night").click()
    stack = json.loads(face.values()[0])
    assert [row.get("group") for row in stack["loras"]] == ["g", "g 2", None]
    assert stack["groups"] == [{"name": "g"}, {"name": "g 2", "factor": 0.5}]
    opened(face).get_by_role("button", name="Replace all rows with Night").click()
    stack = json.loads(face.values()[0])
    assert [row["lora"] for row in stack["loras"]] == [WARM, LINES] and stack["groups"] == DATA["groups"]
    face.press("Control+z")
    assert len(json.loads(face.values()[0])["loras"]) == 3

    presets = opened(face)
    presets.get_by_role("button", name="More for Night").click()
    face.page.get_by_role("menuitem", name="Delete the preset").click()
    expect(presets.get_by_role("status")).to_have_text("Deleted: Night")
    assert not (folder / "Night.json").exists()
    presets.get_by_role("button", name="Undo").click()
    expect(presets.get_by_role("listitem", name="Night")).to_be_visible()
    assert json.loads((folder / "Night.json").read_text(encoding="utf-8")) == saved


def test_files_of_others(face: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.json").write_text("{", encoding="utf-8")
    (folder / "foreign.json").write_text('{"a": 1}', encoding="utf-8")
    fill(face, {"version": 1, "loras": []})
    presets = opened(face)
    expect(presets.get_by_role("listitem", name="broken")).to_contain_text("The file is not JSON.")
    expect(presets.get_by_role("listitem", name="foreign")).to_contain_text("There are no LoRAs in the file.")
    recipe = {"title": "x", "loras": [{"file_name": "warm", "strength": 0.6, "hash": "", "exclude": False}]}
    power = {"on": True, "lora": WARM, "strength": 0.5, "strengthTwo": None}
    workflow = {"nodes": [{"type": "Power Lora Loader (rgthree)", "widgets_values": [{}, power]}], "links": []}
    for number, data in enumerate((recipe, workflow)):
        face.page.evaluate(DROP, [json.dumps(data), f"mine{number}.recipe.json"])
        expect(presets.get_by_role("textbox", name="Name")).to_have_value(f"mine{number}")
        presets.get_by_role("button", name="Save").click()
        expect(presets.get_by_role("listitem", name=f"mine{number}")).to_contain_text("1 LoRA: warm")
    rows = json.loads((folder / "mine0.json").read_text(encoding="utf-8"))["stack"]["loras"]
    assert rows[0]["lora"] == WARM and rows[0]["model"] == 0.6
    face.page.keyboard.press("Escape")
