"""The info card: what is shown, copied and taken over, by mouse and by keys, in dark and light, good and bad data."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from support.sparse_files import lora_shapes, write_sparse

pytestmark = pytest.mark.slow  # test_stack_list.py opens it in the quick run


CARD, BARE = "cards/pixel.safetensors", "cards/bare.safetensors"
SHA = "ab" * 32
SCRIPT = "<script>window.hacked=1</script>"
ONERROR = "<img src=x onerror=window.hacked=1>"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4APMOGVHbHSAEEsAQ9jVbCfAAAAAElFTkSuQmCC"
)

OPEN = """async ([folder, lora, row]) => {
    const { openInfoCard } = await import(`/extensions/${folder}/info/card.mjs`);
    const { api } = await import("/scripts/api.js");
    let anchor = document.getElementById("card-anchor");
    if (!anchor) {
        anchor = Object.assign(document.createElement("button"), { id: "card-anchor", textContent: "i" });
        anchor.style.cssText = "position:fixed;left:300px;top:120px;z-index:9";
        document.body.append(anchor);
    }
    anchor.focus();
    window.changes = [];
    window.cardsClosed = 0;
    const onChange = row ? (change) => window.changes.push(change) : undefined;
    const onClose = () => { window.cardsClosed += 1; };
    window.card = openInfoCard({ app, api }, { anchor, lora, row, onChange, onClose });
}"""


class Card:
    """The open card."""

    def __init__(self, face: Any, folder: str) -> None:
        self.face, self.page, self.folder = face, face.page, folder

    @property
    def element(self) -> Locator:
        return self.page.locator(".lorchestra-popup .lorchestra-info")

    def open(self, lora: str, row: Any = None, wait: bool = True) -> Locator:
        self.page.evaluate(OPEN, [self.folder, lora, row])
        if wait:
            self.element.get_by_text("Changed", exact=True).wait_for()
        return self.element

    def changes(self) -> list[Any]:
        return self.page.evaluate("window.changes")

    def clipboard(self) -> str:
        return self.page.evaluate("navigator.clipboard.readText()")


@pytest.fixture
def card(face: Any, pack_folder: str, server: Any) -> Iterator[Card]:
    folder: Path = server.base / "models/loras"
    metadata = {"ss_sd_model_name": "ponyDiffusionV6XL.safetensors", "modelspec.author": ONERROR}
    write_sparse(folder / CARD, lora_shapes("sdxl", "*attn?.to_*", rank=16), metadata)
    write_sparse(folder / BARE, {"weight": (1, 1)})
    (folder / "cards/pixel.preview.png").write_bytes(PNG)
    info = {
        "modelId": 1, "id": 2, "baseModel": "Pony", "trainedWords": ["pixel art", ONERROR], "name": "v1",
        "description": f"<p>Best at 0.8</p>{SCRIPT}", "model": {"name": f"Pixel {ONERROR}"},
        "files": [{"hashes": {"SHA256": SHA}}],
    }  # fmt: skip
    tips = json.dumps({"strength": 0.8, "strength_min": 0.5, "strength_max": 1.1, "clip_strength": 0.4})
    (folder / "cards/pixel.metadata.json").write_text(
        json.dumps({"civitai": info, "usage_tips": tips, "notes": "mine"})
    )
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield Card(face, pack_folder)
    face.page.unroute_all()
    face.page.route("**/*", face._route)
    face.page.evaluate("() => { window.card?.close(); document.getElementById('card-anchor')?.remove(); }")
    assert face.page.evaluate("window.hacked") is None
    assert face.page.locator(".lorchestra-info").count() == 0


def test_all_that_is_known_is_shown_as_text(card: Card) -> None:
    element = card.open(CARD)
    text = element.inner_text()
    count = len(lora_shapes("sdxl", "*attn?.to_*")) // 2
    for expected in (
        f"Pixel {ONERROR} (v1)", "cards/", "SDXL", "Pony", f"LoRA {count}", "16", f"model {count}", "pixel art",
        ONERROR, "0.80 · CLIP 0.40 · 0.50 to 1.10 work", "mine", "Best at 0.8", f"{SHA[:10]}…", "civitai:1@2", "kohya",
    ):  # fmt: skip
        assert expected in text, expected
    assert element.locator("script").count() == 0
    assert element.locator("img").count() == 1
    card.page.wait_for_function("document.querySelector('.lorchestra-info-image').naturalWidth === 8")
    card.face.screenshot("info_card_dark")


def test_several_pictures_are_gone_through(card: Card, server: Any) -> None:
    more = server.base / "models/loras/cards/pixel_1.png"
    more.write_bytes(PNG)
    try:
        element = card.open(CARD)
        image, turn = element.locator("img"), element.locator(".lorchestra-info-turn")
        expect(turn).to_have_text("1 / 2")
        first = image.get_attribute("src")
        element.get_by_role("button", name="Next picture").click()
        expect(turn).to_have_text("2 / 2")
        assert image.get_attribute("src") == first.replace("number=0", "number=1")
        element.get_by_role("status").get_by_text("Picture 2 of 2").wait_for()
        card.page.wait_for_function("document.querySelector('.lorchestra-info-image').naturalWidth === 8")
        card.face.screenshot("info_card_pictures")
        card.page.keyboard.press("ArrowRight")
        expect(turn).to_have_text("1 / 2")
    finally:
        more.unlink()


def test_words_are_copied_by_a_click(card: Card) -> None:
    element = card.open(CARD)
    element.get_by_role("button", name="Copy pixel art").click()
    element.get_by_role("status").get_by_text("Copied: pixel art").wait_for()
    assert card.clipboard() == "pixel art"
    element.get_by_role("button", name="Trigger words: Copy all").click()
    element.get_by_role("status").get_by_text("Copied: pixel art, ").wait_for()
    assert card.clipboard() == f"pixel art, {ONERROR}"
    element.get_by_role("button", name=f"Copy {SHA[:10]}…").click()
    element.get_by_role("status").get_by_text(f"Copied: {SHA}").wait_for()
    assert card.clipboard() == SHA


def test_without_a_clipboard_the_old_way_is_taken(card: Card) -> None:
    element = card.open(CARD)
    card.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    button = element.get_by_role("button", name="Copy civitai:1@2")
    button.click()
    element.get_by_role("status").get_by_text("Copied: civitai:1@2").wait_for()
    assert card.clipboard() == "civitai:1@2"
    assert button.evaluate("(one) => document.activeElement === one")
    card.page.evaluate("delete navigator.clipboard.writeText")


def test_weight_and_identity_are_taken_over(card: Card) -> None:
    element = card.open(CARD, {"lora": CARD, "model": 1})
    element.get_by_role("button", name="Use the recommended weight").click()
    element.get_by_role("button", name="Save with this row").click()
    assert card.changes() == [{"model": 0.8, "clip": 0.4}, {"sha256": SHA, "air": "civitai:1@2"}]
    assert element.get_by_role("button", name="Save with this row").count() == 0
    card.page.evaluate("card.close()")
    element = card.open(CARD)
    for name in ("Use the recommended weight", "Save with this row"):
        assert element.get_by_role("button", name=name).count() == 0


def test_by_keys_alone(card: Card) -> None:
    element = card.open(CARD, {"lora": CARD})
    close = element.get_by_role("button", name="Close")
    assert close.evaluate("(one) => document.activeElement === one")
    reached = []
    for _ in range(40):
        card.page.keyboard.press("Tab")
        reached.append(card.page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
        assert card.page.evaluate("document.activeElement.closest('.lorchestra-info') !== null")
    for wanted in ("Copy pixel art", "Use the recommended weight", "Save with this row", "Close", f"Copy {SHA[:10]}…"):
        assert wanted in reached, wanted
    card.page.keyboard.press("Escape")
    assert card.element.count() == 0
    assert card.page.evaluate("[window.cardsClosed, document.activeElement.id]") == [1, "card-anchor"]


def test_a_hash_that_nobody_knows_is_worked_out(card: Card) -> None:
    element = card.open(BARE, {"lora": BARE})
    element.get_by_text("None of its 1 tensors").or_(element.get_by_text("not a LoRA")).or_(
        element.get_by_text("Nothing more is known")
    ).or_(element.get_by_text("No layer of any model")).first.wait_for()
    element.get_by_role("button", name="Calculate").click()
    element.get_by_role("button", name="Save with this row").click()
    (change,) = card.changes()
    assert len(change["sha256"]) == 64


def test_loading_and_errors(card: Card) -> None:
    held: list[Any] = []
    card.page.route("**/lorchestra/info?*", lambda route: held.append(route))
    element = card.open(CARD, wait=False)
    element.locator("[aria-busy=true]").wait_for()
    while not held:
        card.page.wait_for_timeout(50)
    held.pop().fulfill(status=500, body="<html>")
    element.get_by_role("alert").get_by_text("The server answered with error 500").wait_for()
    card.page.unroute("**/lorchestra/info?*")
    element.get_by_role("button", name="Try again").click()
    element.get_by_text("Best at 0.8").wait_for()
    card.page.evaluate("card.close()")
    card.open("gone.safetensors", wait=False).get_by_role("alert").get_by_text("there is no LoRA").wait_for()


def test_an_answer_after_closing_changes_nothing(card: Card) -> None:
    held: list[Any] = []
    card.page.route("**/lorchestra/info?*", lambda route: held.append(route))
    card.open(CARD, wait=False)
    while not held:
        card.page.wait_for_timeout(50)
    card.page.keyboard.press("Escape")
    held.pop().continue_()
    card.page.wait_for_timeout(500)
    assert card.element.count() == 0


def test_contrast_in_the_light_palette(card: Card) -> None:
    set_palette = "(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)"
    card.page.evaluate(set_palette, "light")
    card.page.wait_for_timeout(500)
    try:
        card.open(CARD, {"lora": CARD})
        card.face.screenshot("info_card_light")
        for selector in (".lorchestra-info-title", ".lorchestra-info-facts dt", ".lorchestra-info-facts dd",
                         ".lorchestra-info-word", ".lorchestra-info-text"):  # fmt: skip
            assert card.page.evaluate(CONTRAST, selector) >= 4.5, selector
    finally:
        card.page.evaluate(set_palette, "dark")
        card.page.wait_for_timeout(500)


CONTRAST = """(selector) => {
    const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (color) => {
        pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = color; pixel.fillRect(0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const element = document.querySelector(`.lorchestra-info ${selector}`) ?? document.querySelector(selector);
    let behind = element;
    while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const { color } = getComputedStyle(element), { backgroundColor } = getComputedStyle(behind);
    const [one, other] = [light(rgb(color)), light(rgb(backgroundColor))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""
