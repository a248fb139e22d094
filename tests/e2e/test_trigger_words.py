"""Trigger words on rows: a mark where the prompt lacks them, chips that choose them, their way into the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route
from support.exchange import TOAST

from lorchestra.demo.loras import layers, write_lora

PIXEL, PLAIN = "words/pixel.safetensors", "words/plain.safetensors"
SET_TEXT = """([id, text]) => {
    const widget = app.graph.getNodeById(id).widgets.find((one) => one.name === "text");
    app.canvas.emitBeforeChange(); widget.value = text; widget.callback?.(text); app.canvas.emitAfterChange();
}"""
CONNECT = """([from, output, to, input]) => {
    const target = app.graph.getNodeById(to);
    app.graph.getNodeById(from).connect(output, target, target.inputs.findIndex((one) => one.name === input));
}"""
SAID = "(toast) => [...document.querySelectorAll(toast)].map((one) => one.textContent).join()"


@pytest.fixture(scope="session", autouse=True)
def files(base: Path) -> Iterator[None]:
    """A LoRA with words in its sidecar, and one without any."""
    few, folder = layers("middle_block.1.*.attn1.to_q"), base / "models/loras/words"
    write_lora(folder / "pixel.safetensors", few, seed=11)
    write_lora(folder / "plain.safetensors", few, seed=12)
    (folder / "pixel.civitai.info").write_text(json.dumps({"trainedWords": ["pixel art", "8-bit", "a sprite sheet"]}))
    yield


class Words:
    """A graph with a stack, its prompt and a sampler."""

    def __init__(self, face: Any) -> None:
        self.face, self.page = face, face.page
        loader = face.add("CheckpointLoaderSimple", 100, 60)
        self.stack = face.add("LorchestraLoraStack", 100, 260)
        self.positive, self.negative = face.add("CLIPTextEncode", 600, 60), face.add("CLIPTextEncode", 600, 300)
        self.sampler = face.add("KSampler", 1060, 140)
        for link in (
            (loader, 0, self.stack, "model"), (loader, 1, self.stack, "clip"), (self.stack, 1, self.positive, "clip"),
            (self.stack, 1, self.negative, "clip"), (self.stack, 0, self.sampler, "model"),
            (self.positive, 0, self.sampler, "positive"), (self.negative, 0, self.sampler, "negative"),
        ):  # fmt: skip
            self.page.evaluate(CONNECT, list(link))
        self.write("a cat, Pixel_Art")
        self.page.evaluate(SET_TEXT, [self.negative, "8-bit"])

    def write(self, text: str) -> None:
        """Writes the prompt."""
        self.page.evaluate(SET_TEXT, [self.positive, text])

    def text(self, node: int | None = None) -> str:
        """The prompt as it would be queued."""
        return next(
            one["inputs"]["text"]
            for key, one in self.face.prompt().items()
            if key.split(":")[-1] == str(node or self.positive)
        )

    def rows(self, *rows: Any) -> None:
        self.face.type(json.dumps({"version": 1, "loras": list(rows)}))
        self.face.menu("Edit as text")

    def lack(self, row: int = 0) -> str:
        """What the mark of a row says; empty without one."""
        mark = self.face.row(row).locator(".lorchestra-lack")
        return mark.get_attribute("title").partition(": ")[2] if mark.is_visible() else ""

    def wait_for_lack(self, words: str, row: int = 0) -> None:
        self.face.wait_for(lambda: self.lack(row) == words)

    def chips(self) -> dict[str, bool]:
        """The chips that can be seen, with whether each is chosen."""
        chips = self.page.locator(".lorchestra-chip:visible")
        return {one.inner_text(): one.get_attribute("aria-pressed") == "true" for one in chips.all()}

    def chip(self, word: str) -> Any:
        return self.page.locator(".lorchestra-chip").filter(has_text=word)


@pytest.fixture
def words(face: Any) -> Words:
    return Words(face)


def test_mark_and_chips(words: Words, tmp_path: Path) -> None:
    face, page = words.face, words.page
    words.rows({"lora": PIXEL, "model": 0.5}, {"lora": PLAIN, "model": 0.5}, {"lora": PIXEL, "model": 0.5, "on": False})
    words.wait_for_lack("8-bit, a sprite sheet")
    assert words.lack(1) == words.lack(2) == ""
    title = face.row(0).locator(".lorchestra-name-title").get_attribute("title")
    assert title == f"{PIXEL}\nTrigger words: pixel art, 8-bit, a sprite sheet"
    height = page.evaluate("(id) => app.graph.getNodeById(id).size[1]", words.stack)

    face.row(0).locator(".lorchestra-name").focus()
    page.keyboard.press("t")
    face.settle()
    assert words.chips() == {"pixel art": True, "8-bit": True, "a sprite sheet": True}  # of both rows of the file
    assert page.evaluate("(id) => app.graph.getNodeById(id).size[1]", words.stack) == height + 52
    face.screenshot("trigger-words")
    words.chip("8-bit").first.click()
    words.wait_for_lack("a sprite sheet")
    assert face.rows()[0] == {"lora": PIXEL, "model": 0.5, "triggers": ["pixel art", "a sprite sheet"]}
    words.chip("a sprite sheet").first.click()
    words.wait_for_lack("")
    face.press("Control+z")
    words.wait_for_lack("a sprite sheet")
    assert "words" not in json.loads(face.loras()) and json.loads(face.values()[0])["words"] == [PIXEL]
    words.write("a cat")
    words.wait_for_lack("pixel art, a sprite sheet")

    face.reload(tmp_path)
    words.wait_for_lack("pixel art, a sprite sheet")
    assert words.chips()["8-bit"] is True and len(page.locator(".lorchestra-chip:visible").all()) == 6
    face.menu("Trigger words", row=0)
    assert words.chips() == {}


def test_words_go_into_the_prompt(words: Words) -> None:
    face, page = words.face, words.page
    words.rows({"lora": PIXEL, "model": 0.5})
    words.wait_for_lack("8-bit, a sprite sheet")
    face.row(0).locator(".lorchestra-lack").click()
    words.chip("8-bit").click(button="right")
    page.get_by_role("menu").locator("[role^=menuitem]").filter(has_text="Insert into prompt").click()
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art, 8-bit")
    words.wait_for_lack("a sprite sheet")
    page.get_by_role("button", name="Insert into the prompt: a sprite sheet").click()
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art, 8-bit, a sprite sheet")
    words.wait_for_lack("")
    assert words.text(words.negative) == "8-bit"
    assert page.get_by_role("button", name="All chosen words are in the prompt").is_disabled()
    face.press("Control+z")
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art, 8-bit")
    face.press("Control+z")
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art")


def test_words_go_into_a_subgraph(words: Words) -> None:
    face, page = words.face, words.page
    words.rows({"lora": PIXEL, "model": 0.5, "triggers": ["8-bit"]})
    page.evaluate("(id) => { app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)])); }", words.positive)
    words.wait_for_lack("8-bit")
    face.row(0).locator(".lorchestra-lack").click()
    page.get_by_role("button", name="Insert into the prompt: 8-bit").click()
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art, 8-bit")
    words.wait_for_lack("")


def test_words_go_where_the_prompt_is_now(words: Words) -> None:
    """Not where it was when the server answered last: it is asked about the new graph, and the answer is waited for."""
    face, page = words.face, words.page
    words.rows({"lora": PIXEL, "model": 0.5, "triggers": ["8-bit"]})
    words.wait_for_lack("8-bit")
    face.row(0).locator(".lorchestra-lack").click()
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/lorchestra/check", hold)
    page.evaluate("(id) => { app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)])); }", words.positive)
    face.wait_for(lambda: bool(held))
    page.get_by_role("button", name="Insert into the prompt: 8-bit").click()
    face.settle()
    assert (words.text(), words.text(words.negative)) == ("a cat, Pixel_Art", "8-bit")
    held[0].continue_()
    face.wait_for(lambda: words.text() == "a cat, Pixel_Art, 8-bit")
    assert words.text(words.negative) == "8-bit"
    page.unroute("**/lorchestra/check")


def test_words_of_a_prompt_that_is_not_known_are_copied(words: Words) -> None:
    face, page = words.face, words.page
    page.evaluate("(id) => app.graph.remove(app.graph.getNodeById(id))", words.positive)
    words.rows({"lora": PIXEL, "model": 0.5, "triggers": ["8-bit"]})
    face.row(0).locator(".lorchestra-name").focus()
    page.keyboard.press("t")
    words.chip("8-bit").wait_for()
    assert words.lack() == ""
    page.get_by_role("button", name="Insert into the prompt: 8-bit").click()
    face.wait_for(
        lambda: "Copied" in page.evaluate(SAID, TOAST) or "does not allow copying" in page.evaluate(SAID, TOAST)
    )
    assert words.text(words.negative) == "8-bit"


def test_a_list_of_open_rows_can_be_sorted(words: Words) -> None:
    """Rows of different heights, dragged by hand."""
    face, page = words.face, words.page
    words.rows(
        {"lora": PIXEL, "model": 0.5}, {"lora": PLAIN, "model": 0.5}, {"lora": "one/twin.safetensors", "model": 0.5}
    )
    words.wait_for_lack("8-bit, a sprite sheet")
    face.row(0).locator(".lorchestra-lack").click()
    face.settle()
    from_ = face.row(0).locator(".lorchestra-grip").bounding_box()
    page.mouse.move(from_["x"] + 5, from_["y"] + 8)
    page.mouse.down()
    page.mouse.move(from_["x"] + 5, from_["y"] + 33, steps=4)
    page.mouse.up()
    face.settle()
    assert [row["lora"] for row in face.rows()] == [PLAIN, PIXEL, "one/twin.safetensors"]
    assert set(words.chips()) == {"pixel art", "8-bit", "a sprite sheet"}


def test_a_workflow_with_fewer_outputs_gets_the_new_one(words: Words) -> None:
    face, page = words.face, words.page
    page.evaluate(
        """async () => {
            const data = JSON.parse(JSON.stringify(app.graph.serialize()));
            const stack = data.nodes.find((node) => node.type === "LorchestraLoraStack");
            stack.outputs = stack.outputs.slice(0, 4);
            await app.loadGraphData(data);
        }"""
    )
    face.settle()
    found = "app.graph.nodes.find((node) => node.type === 'LorchestraLoraStack').outputs"
    names = page.evaluate(f"{found}.map((one) => one.name)")
    assert names == ["MODEL", "CLIP", "LORA_STACK", "report", "trigger_words"]
    assert page.evaluate(f"{found}[0].links.length") == 1
