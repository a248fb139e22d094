"""Writes `docs/lora-stack.webp`, the moving picture of the README, from a real ComfyUI in a browser.

    .venv-comfyui/bin/python tools/picture.py [--renderer nodes2|classic] [--frames FOLDER] [-o OUT]
    .venv-comfyui/bin/python tools/picture.py --examples [NAME ...]

The second writes the pictures of `example_workflows/` instead, of those that are named or of all, each after a run.

`make test` makes that environment; any Python with playwright and Pillow will do. The ComfyUI is the one that the tests
find, with a base folder of its own that is removed afterwards; the models and LoRAs in it have names and shapes of real
ones and no numbers. The browser is `$CHROMIUM`, or Chromium or Chrome on the PATH.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Locator, Page, Route, sync_playwright

ROOT = Path(__file__).absolute().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]  # at the end: in front, our `nodes/` would hide ComfyUI's `nodes.py`

from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import Server, find_comfyui, pack_root
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT as SMALL_CHECKPOINT

OUT = ROOT / "docs" / "lora-stack.webp"
EXAMPLES = ROOT / "example_workflows"
WIDTH = 1000
"""Of the pictures of the examples, in pixels."""
MARGIN = 20
LARGEST = 1_000_000
"""Bytes that the picture may have."""
SIZE = {"width": 940, "height": 590}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAST = ("--use-pytorch-cross-attention",)
"""Several times faster on a CPU than what ComfyUI takes by itself."""
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.UseNewMenu": "Disabled",
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.ColorPalette": "dark",
    "Comfy.EnableTooltips": False,
    "Lorchestra.PickerFits": False,
}
START = (700.0, 500.0)
"""Where the pointer is in the first and the last frame."""
CHECKPOINT = "sd_xl_base_1.0.safetensors"
LORAS = (
    ("styles/watercolor-xl.safetensors", "sdxl", "*attn?.to_*"),
    ("styles/pixel-art-xl.safetensors", "sdxl", "*attn?.to_*"),
    ("details/film-grain-xl.safetensors", "sdxl", "*attn?.to_*"),
    ("details/soft-light-xl.safetensors", "sdxl", "*attn?.to_*"),
    ("styles/neon-city-flux.safetensors", "flux1_dev", "*_blocks.*"),
)
"""File, architecture, and which layers of it."""
ROWS = '{"version": 1, "loras": [{"lora": "styles/watercolor-xl.safetensors", "model": 0.8}]}'

BUILD = """([checkpoint, rows]) => {
    app.graph.clear();
    const add = (kind, x, y) => {
        const node = LiteGraph.createNode(kind); node.pos = [x, y]; app.graph.add(node); return node;
    };
    const loader = add("CheckpointLoaderSimple", 20, 50);
    const stack = add("LorchestraLoraStack", 370, 50);
    loader.widgets[0].value = checkpoint;
    loader.connect(0, stack, 0);
    loader.connect(1, stack, 1);
    const widget = stack.widgets.find((one) => one.type === "LORCHESTRA_LORAS");
    widget.value = rows;
    widget.callback?.(rows);
    loader.setSize([310, loader.size[1]]);
    stack.setSize([540, stack.size[1]]);
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [0, 0];
    app.canvas.setDirty(true, true);
}"""
BOX = """() => {
    const boxes = app.graph.nodes.map((node) => [...node.pos, ...node.size]);
    const left = Math.min(...boxes.map(([x]) => x)), top = Math.min(...boxes.map(([, y]) => y - 40));
    return [left, top, Math.max(...boxes.map(([x, , width]) => x + width)),
        Math.max(...boxes.map(([, y, , height]) => y + height + 40))];
}"""
SMALL = """() => app.graph.nodes.flatMap((node) => (node.widgets ?? []).flatMap((widget) => {
    const size = node.type.startsWith("Empty") ? 192 : widget.value; // masks have proportions of their own
    const small = { width: size, height: size, steps: node.type === "KSampler" ? 4 : widget.value }[widget.name];
    if (small === undefined) return [];
    const before = widget.value;
    widget.value = small;
    return [[node.id, widget.name, before]];
}))"""
"""Drawing takes long."""
RESTORE = """(all) => {
    for (const [id, name, value] of all)
        app.graph.getNodeById(id).widgets.find((one) => one.name === name).value = value;
}"""
LOOK = """([scale, x, y]) => {
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [x, y];
    app.canvas.setDirty(true, true);
}"""
POINTER = """() => {
    const pointer = document.createElement("div");
    pointer.id = "pointer";
    pointer.innerHTML = '<svg width="20" height="20" viewBox="0 0 20 20">'
        + '<path d="M3 2l12 9-6 .7 3.4 6-2.5 1.3-3.3-6-3.6 4z" fill="#fff" stroke="#000" stroke-width="1.2"/></svg>';
    pointer.style.cssText = "position:fixed;left:0;top:0;z-index:2147483647;pointer-events:none";
    document.documentElement.append(pointer);
    const move = (event) => { pointer.style.transform = `translate(${event.clientX - 3}px, ${event.clientY - 2}px)`; };
    window.addEventListener("pointermove", move, true);
    window.addEventListener("mousemove", move, true);
}"""
# What is of no use in a picture; the pop-ups of the pack and of ComfyUI stay.
QUIET = """
    .side-tool-bar-container, .workflow-tabs-container, .comfyui-body-top, .comfyui-body-bottom, .comfy-menu,
    .comfy-vue-side-bar-container, .p-toast, .graph-canvas-menu, .comfyui-menu,
    .comfy-menu-hamburger { display: none !important; }
    * { caret-color: transparent; }
"""


@dataclass
class Film:
    """A page, and the pictures that were taken of it."""

    page: Page
    frames: list[Image.Image] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    """Milliseconds that each frame is shown."""
    at: tuple[float, float] = START
    """Where the pointer is."""

    def take(self, milliseconds: int) -> None:
        """One frame; one that is like the last only makes that last longer."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        if self.frames and self.frames[-1].tobytes() == picture.tobytes():
            self.times[-1] += milliseconds
            return
        self.frames.append(picture)
        self.times.append(milliseconds)

    def move(self, x: float, y: float, steps: int = 6, milliseconds: int = 45) -> None:
        """Moves the pointer there, slower towards the end."""
        start_x, start_y = self.at
        for step in range(1, steps + 1):
            share = 1 - (1 - step / steps) ** 2
            self.page.mouse.move(start_x + (x - start_x) * share, start_y + (y - start_y) * share)
            self.take(milliseconds)
        self.at = (x, y)

    def move_to(self, target: Locator, share: float = 0.5) -> None:
        """Moves the pointer onto an element."""
        target.scroll_into_view_if_needed()  # a menu may be longer than the window
        box = target.bounding_box()
        assert box, target
        self.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)

    def click(self, target: Locator, hold: int = 300) -> None:
        """Moves to an element and clicks it."""
        self.move_to(target)
        self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(250)
        self.take(hold)

    def drag(self, x: float, y: float, steps: int = 8) -> None:
        """Drags from where the pointer is."""
        self.page.mouse.down()
        self.move(x, y, steps, 70)
        self.page.mouse.up()
        self.page.wait_for_timeout(150)
        self.take(400)

    def type(self, text: str) -> None:
        """Types, letter by letter."""
        for letter in text:
            self.page.keyboard.type(letter)
            self.page.wait_for_timeout(60)
            self.take(110)

    def pick(self, words: str, option: str) -> None:
        """Adds a row with the picker."""
        self.click(self.page.get_by_role("button", name="Add a LoRA"), 350)
        self.page.get_by_role("option").first.wait_for(state="visible")
        self.take(700)
        self.type(words)
        found = self.page.get_by_role("option").filter(has_text=option).first
        found.wait_for(state="visible")
        self.page.wait_for_timeout(200)
        self.take(400)
        self.click(found, 300)

    def row(self, number: int) -> Locator:
        """A row of the stack, from 1."""
        return self.page.locator(".lorchestra-loras:visible").get_by_role("listitem").nth(number - 1)

    def wait_for_badge(self, number: int, state: str) -> None:
        """Waits until the badge of a row says this, e.g. `fits`, `misfit`."""
        self.row(number).locator(f".lorchestra-badge[data-state={state}]").wait_for()


def film(page: Page) -> Film:
    """A LoRA is added and its weight dragged; one for another model is refused; a curve is drawn."""
    film = Film(page)
    page.mouse.move(*film.at)
    film.wait_for_badge(1, "fits")
    film.take(900)

    film.pick("grain", "film-grain")
    film.wait_for_badge(2, "fits")
    film.take(600)
    weight = film.row(2).locator(".lorchestra-weight").first
    film.move_to(weight)
    film.take(250)
    film.drag(film.at[0] + 24, film.at[1])
    film.take(500)

    film.pick("neon", "neon-city")
    film.wait_for_badge(3, "misfit")
    film.take(900)
    film.click(film.row(3).locator(".lorchestra-badge"), 2600)
    page.keyboard.press("Escape")
    page.wait_for_timeout(250)
    film.take(200)
    film.click(film.row(3).get_by_role("switch"), 900)

    film.click(film.row(2).locator(".lorchestra-schedule"), 600)
    curve = page.locator(".lorchestra-curve-popover")
    curve.wait_for(state="visible")
    film.click(curve.get_by_role("button", name="Presets"), 500)
    film.click(page.get_by_role("menuitemcheckbox", name="bell", exact=True), 700)
    grid = curve.locator(".lorchestra-curve-grid").bounding_box()
    point = curve.locator(".lorchestra-curve-point").nth(1).locator("circle").last
    assert grid
    film.move_to(point)
    film.drag(grid["x"] + 0.3 * grid["width"], grid["y"] + 0.2 * grid["height"])
    film.take(900)
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    film.move(*START)
    film.take(1800)
    return film


def save(film: Film, out: Path) -> int:
    """Writes the animation as small as it has to be; returns its size."""
    for quality in (90, 80, 70, 60, 50, 40):
        first, *others = film.frames
        first.save(
            out, save_all=True, append_images=others, duration=film.times, loop=0, quality=quality, method=6,
            minimize_size=True,
        )  # fmt: skip
        size = out.stat().st_size
        if size < LARGEST:
            return size
    raise SystemExit(f"{out} has {size:,} bytes, which is more than {LARGEST:,}.")


def shoot_examples(page: Page, server: Server, names: Sequence[str]) -> None:
    """A picture of each example, or of those that are named, with what its nodes show after a run."""
    page.evaluate("document.getElementById('pointer').remove()")
    for path in [EXAMPLES / f"{name}.json" for name in names] or sorted(EXAMPLES.glob("*.json")):
        page.locator("#comfy-file-input").set_input_files(path)
        page.locator(".lorchestra-loras:visible").first.wait_for()
        page.wait_for_timeout(1500)
        done = len(server.get("/history"))
        before = page.evaluate(SMALL)
        page.evaluate("app.queuePrompt(0, 1)")
        while len(server.get("/history")) == done:
            page.wait_for_timeout(200)
        page.evaluate(RESTORE, before)
        page.wait_for_timeout(1500)
        left, top, right, bottom = page.evaluate(BOX)
        width, height = right - left + 2 * MARGIN, bottom - top + 2 * MARGIN
        scale = 2 * WIDTH / width  # twice as large as it will be, for sharp letters
        page.set_viewport_size({"width": 2 * WIDTH, "height": round(height * scale)})
        page.evaluate(LOOK, [scale, MARGIN - left, MARGIN - top])
        page.wait_for_timeout(1500)
        taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        out = path.with_suffix(".jpg")
        taken.resize((WIDTH, round(WIDTH * taken.height / taken.width)), Image.Resampling.LANCZOS).save(out, quality=88)
        print(f"{out}: {out.stat().st_size:,} bytes")


def write_small(base: Path) -> None:
    """A checkpoint and LoRAs that the examples can run with; one is for another model."""
    write_checkpoint(base / "models/checkpoints" / SMALL_CHECKPOINT)
    folder = base / "models/loras/lorchestra-demo"
    attention, text = layers("*.attn?.to_*"), layers("text_model.*.self_attn.q_proj")
    write_lora(folder / "warm.safetensors", attention | text, "kohya", rank=4, alpha=2, seed=1)
    write_lora(folder / "lines.safetensors", attention, "peft", rank=4, seed=2)
    write_sparse(folder / "for-flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))


def open_page(browser: Any, server: Server, renderer: str) -> Page:
    """ComfyUI with a checkpoint and a LoRA Stack on the canvas, and nothing else."""
    page: Page = browser.new_context(viewport=SIZE, color_scheme="dark").new_page()

    def local_only(route: Route) -> None:
        inside = urlsplit(route.request.url).netloc in ("", urlsplit(server.url).netloc)
        (route.continue_ if inside else route.abort)()

    page.route("**/*", local_only)
    server.post("/api/settings", {**SETTINGS, "Comfy.VueNodes.Enabled": renderer == "nodes2"})
    while server.get("/lorchestra/loras")["pending"]:  # headers are read in the background
        time.sleep(0.1)
    page.goto(server.url)
    ready = "window.app?.extensionManager && app.canvas && LiteGraph.registered_node_types.LorchestraLoraStack"
    page.wait_for_function(f"Boolean({ready})", timeout=90_000)
    page.wait_for_timeout(500)
    page.add_style_tag(content=QUIET)
    page.evaluate(POINTER)
    page.evaluate(BUILD, [CHECKPOINT, ROWS])
    page.locator(".lorchestra-loras:visible").wait_for()
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts ComfyUI and the browser, and makes the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renderer", choices=("nodes2", "classic"), default="nodes2")
    parser.add_argument(
        "--examples",
        nargs="*",
        metavar="NAME",
        help="write the pictures of these example_workflows/ instead",
    )
    parser.add_argument("--frames", type=Path, help="a folder for the single frames, to look at")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    comfyui = find_comfyui()
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if comfyui is None or path is None:
        raise SystemExit("A ComfyUI and a Chromium are needed. Set COMFYUI_PATH and CHROMIUM.")
    with tempfile.TemporaryDirectory(prefix="lorchestra-picture-") as folder:
        base = Path(folder)
        if options.examples is not None:
            write_small(base)
        write_sparse(base / "models/checkpoints" / CHECKPOINT, base_shapes("sdxl"))
        for name, architecture, pattern in LORAS:
            write_sparse(base / "models/loras" / name, lora_shapes(architecture, pattern, rank=16))
        with Server(comfyui, base, pack=pack_root(), arguments=FAST) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = open_page(browser, server, options.renderer)
            if options.examples is not None:
                shoot_examples(page, server, options.examples)
                browser.close()
                return
            try:
                taken = film(page)
            except Exception:
                page.screenshot(path=options.output.with_suffix(".failed.png"))
                raise
            browser.close()
    if options.frames:
        options.frames.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(taken.frames):
            frame.save(options.frames / f"{number:03}.png")
    size = save(taken, options.output)
    print(f"{options.output}: {len(taken.frames)} frames, {sum(taken.times) / 1000:.1f} s, {size:,} bytes")


if __name__ == "__main__":
    main()
