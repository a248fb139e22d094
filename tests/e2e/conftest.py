"""One ComfyUI and one browser for all tests of the face; a page per renderer, and for other frontends (`frontends.py`).

Needs playwright and a Chromium (`$CHROMIUM`, else what is on the PATH). `$COMFYUI_ARGS` goes to ComfyUI.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright
from support.frontends import NEWEST, OLDEST, Frontend, unpacked

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import PACK_FOLDER, Server, find_comfyui, pack_root
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT

SCREENSHOTS = Path(__file__).parent / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.UseNewMenu": "Top",
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
}
STRANGE = 'strange/<img src=x onerror=window.hacked=1> & "quoted" 🎨.safetensors'
"""A legal file name that is HTML, too. Not on Windows, where such names cannot exist."""
MANY = 2000
VALUES = """() => (app.canvas.graph.nodes).map((node) => node.widgets?.find((one) => one.type === 'LORCHESTRA_LORAS'))
    .filter(Boolean).map((widget) => widget.value)"""
SHOWN = """(index) => {
    const lists = [...document.querySelectorAll('.lorchestra-loras')].filter((one) => one.checkVisibility());
    const widgets = app.canvas.graph.nodes.flatMap((node) => node.widgets ?? []);
    const live = widgets.filter((one) => one.type === 'LORCHESTRA_LORAS');
    const list = live[index].element; // the element on the screen must be that of the widget that is saved
    if (!lists.includes(list)) return [];
    const number = (spin) => { // with a schedule, the text says where it goes
        if (!spin?.checkVisibility({visibilityProperty: true})) return null;
        const text = spin.querySelector('.lorchestra-weight-number').textContent;
        const now = Number(spin.getAttribute('aria-valuenow'));
        return spin.hasAttribute('aria-valuetext') || Number(text) === now ? now : text;
    };
    return [...list.querySelectorAll('.lorchestra-row')].map((row) => {
        const [model, clip] = row.querySelectorAll('.lorchestra-weight-spin');
        const isSame = clip?.closest('.lorchestra-weight-same') && number(clip) === number(model);
        const curve = row.querySelector('.lorchestra-schedule');
        return {
            lora: row.querySelector('.lorchestra-name').title,
            on: row.querySelector('[role=switch]').getAttribute('aria-checked') === 'true',
            model: number(model), clip: isSame ? null : number(clip),
            schedule: curve.classList.contains('lorchestra-mark-set') ? curve.title.replace('Schedule: ', '') : '',
        };
    });
}"""
SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 80))))"
IS_STILL = """() => {
    const tracker = app.extensionManager.workflow.activeWorkflow?.changeTracker;
    return !(tracker?._restoringState ?? tracker?.restoringState);
}"""
MARKED = """() => app.canvas.graph.nodes
    .filter((node) => node.has_errors || node.strokeStyles?.nodeError?.call(node)).map((node) => node.type)"""
# Normal for ComfyUI's own frontend, offline and in an empty user folder.
HARMLESS = ("ComfyApp graph accessed before initialization", "Failed to load resource", "Content Security Policy")


def skip_or_fail(reason: str) -> None:
    """Skips, but fails where REQUIRE_COMFYUI=1 asks for these tests."""
    if os.environ.get("REQUIRE_COMFYUI") == "1":
        pytest.fail(f"REQUIRE_COMFYUI=1, but {reason}")
    pytest.skip(reason)


def fill(base: Path) -> None:
    """Puts the demo's files into a base folder."""
    write_checkpoint(base / "models/checkpoints" / CHECKPOINT)
    loras = base / "models/loras"
    attention, text = layers("*.attn?.to_*"), layers("text_model.*.self_attn.q_proj")
    write_lora(loras / "lorchestra-demo/warm.safetensors", attention | text, "kohya", rank=4, alpha=2, seed=1)
    write_lora(loras / "lorchestra-demo/lines.safetensors", attention, "peft", rank=4, seed=2)
    few = layers("middle_block.1.*.attn1.to_q")
    write_lora(loras / "one/twin.safetensors", few, "native", seed=3)
    write_lora(loras / "two/twin.safetensors", few, "native", seed=4)
    if os.name != "nt":
        strange = write_lora(loras / "strange.safetensors", few, seed=5)
        (loras / STRANGE).parent.mkdir(exist_ok=True)
        strange.rename(loras / STRANGE)
    (loras / "many").mkdir()
    for number in range(MANY):
        (loras / f"many/style-{number:04}.safetensors").touch()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ComfyUI's base folder, with the demo's files; removed at the end, because it is large."""
    folder = tmp_path_factory.mktemp("base")
    fill(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(base: Path) -> Iterator[Server]:
    """The one ComfyUI, with the pack in it."""
    comfyui = find_comfyui()
    if comfyui is None:
        skip_or_fail("no ComfyUI was found. Set COMFYUI_PATH.")
        raise AssertionError
    # The Python of the tests has ComfyUI's packages, and what the pack needs besides.
    comfyui = replace(comfyui, python=Path(sys.executable))
    SCREENSHOTS.mkdir(exist_ok=True)
    # PyTorch's attention is several times faster on a CPU than what ComfyUI takes by itself.
    arguments = ["--use-pytorch-cross-attention", *shlex.split(os.environ.get("COMFYUI_ARGS", ""))]
    with Server(comfyui, base, pack=pack_root(), arguments=arguments) as running:
        yield running
    shutil.copy2(running.log, SCREENSHOTS / "server.log")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        skip_or_fail("no Chromium was found. Set CHROMIUM.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


KEPT = "/api/userdata/lorchestra.json"


class Face:
    """A page with ComfyUI in it, and what the tests do there.

    `renderer` is `classic` or `nodes2`, with a dash and the version of a frontend that is not the server's own.
    `context` is what the browser is besides, such as a phone.
    """

    def __init__(self, browser: Browser, server: Server, renderer: str, **context: Any) -> None:
        self.server = server
        self.renderer, _, self.version = renderer.partition("-")
        self.name = renderer
        self.frontend = Frontend(unpacked(self.version)) if self.version else None
        self.errors: list[str] = []
        self.page: Page = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context}).new_page()
        self.page.route("**/*", self._route)
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        self.page.on("console", self._on_console)

    def _route(self, route: Route) -> None:
        url = route.request.url
        inside = url.startswith(("data:", "blob:")) or urlsplit(url).netloc == urlsplit(self.server.url).netloc
        if not inside:
            route.abort()
        elif not (self.frontend and self.frontend.answers(route)):
            route.continue_()

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and not any(text in message.text for text in HARMLESS):
            self.errors.append(f"{message.text} ({message.location['url']})")

    def take_errors(self) -> list[str]:
        """What went wrong in the page since the last call; of another frontend, what names our files.

        A frontend that does not belong to the server has errors of its own there.
        """
        errors, self.errors = self.errors, []
        return [error for error in errors if not self.frontend or PACK_FOLDER in error]

    def skip_in(self, version: str, reason: str) -> None:
        """Skips the test in a version of the frontend that cannot do what it asks for."""
        if self.version == version:
            pytest.skip(f"Frontend {version}: {reason}")

    def settle(self) -> None:
        """Waits until the page has been drawn, and what ComfyUI does 50 ms later has been done."""
        self.page.evaluate(SETTLE)

    def open(self) -> None:
        """Loads the page anew and waits until our nodes are there."""
        settings = {**SETTINGS, "Comfy.VueNodes.Enabled": self.renderer == "nodes2"}
        self.server.post("/api/settings", settings)
        self.page.goto(self.server.url)
        ready = "window.app?.extensionManager && app.canvas && LiteGraph.registered_node_types.LorchestraLoraStack"
        self.page.wait_for_function(f"Boolean({ready})", timeout=90_000)
        self.page.wait_for_timeout(300)

    def clear(self) -> None:
        """An empty workflow at scale 1 in the top graph, without the focus on anything."""
        self.page.evaluate(
            """() => {
                document.activeElement?.blur?.();
                const root = app.rootGraph ?? app.graph.rootGraph ?? app.graph;
                if (app.canvas.graph !== root) app.canvas.setGraph(root);
                root.clear();
                root.id = crypto.randomUUID(); // ComfyUI keeps widget values by graph and node
                app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true);
            }"""
        )
        self.settle()

    def forget(self) -> None:
        """Removes favourites and recent ones: they are in ComfyUI's user folder, and in the page until it reads it."""
        self.page.evaluate("async (address) => { await fetch(address, { method: 'DELETE' }); }", KEPT)

    def add(self, kind: str = "LorchestraLoraStack", x: int = 300, y: int = 200) -> int:
        """A new node; returns its id."""
        number = self.page.evaluate(
            """([kind, x, y]) => {
                const node = LiteGraph.createNode(kind); node.pos = [x, y]; app.graph.add(node);
                app.canvas.emitBeforeChange(); app.canvas.emitAfterChange();
                app.canvas.setDirty(true, true); return node.id;
            }""",
            [kind, x, y],
        )
        self.settle()
        return number

    @property
    def editor(self) -> Locator:
        """The LoRA lists that can be seen."""
        return self.page.locator(".lorchestra-loras:visible")

    @property
    def text(self) -> Locator:
        """The text of the only list, which is opened where it is not shown."""
        text = self.editor.locator("textarea")
        if not text.first.is_visible():
            self.menu("Edit as text")
            text.first.wait_for(state="visible")
        return text

    @property
    def status(self) -> Locator:
        """What the lists say they hold."""
        return self.editor.get_by_role("status")

    @property
    def list_rows(self) -> Locator:
        """The rows that can be seen."""
        return self.editor.get_by_role("listitem")

    def row(self, index: int) -> Locator:
        """One of them."""
        return self.list_rows.nth(index)

    def menu(self, *items: str, row: int | None = None, node: int = 0) -> None:
        """Chooses from the menu of a row, or of the whole list."""
        owner = self.editor.nth(node) if row is None else self.row(row)
        owner.get_by_role("button", name="More for" if row is not None else "More for all LoRAs").click()
        menu = self.page.get_by_role("menu")
        for item in items:
            menu.locator("[role^=menuitem]").filter(has_text=item).first.click()
        self.settle()

    def pick(self, name: str) -> None:
        """Adds a row with the picker."""
        self.editor.first.get_by_role("button", name="Add a LoRA").click()
        self.choose(name)

    def choose(self, name: str) -> None:
        """Chooses in the picker that is open."""
        search = self.page.get_by_role("combobox", name="Find a LoRA")
        search.fill(name)
        option = self.page.get_by_role("option").first
        option.wait_for(state="visible")
        search.press("Enter")
        search.wait_for(state="detached")
        self.settle()

    def type(self, text: str) -> None:
        """Puts a text into the list, as somebody does who pastes it and goes on elsewhere."""
        area = self.text
        area.fill(text)
        area.blur()
        self.settle()

    def prompt(self) -> dict[str, Any]:
        """What would be queued, in API format."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def workflow(self) -> dict[str, Any]:
        """What would be saved."""
        return self.page.evaluate("async () => JSON.parse(JSON.stringify((await app.graphToPrompt()).workflow))")

    def loras(self) -> str:
        """The list's value in the prompt of the only LoRA Stack."""
        values = [
            node["inputs"]["loras"] for node in self.prompt().values() if node["class_type"] == "LorchestraLoraStack"
        ]
        assert len(values) == 1
        return values[0]

    def values(self) -> list[str]:
        """The values of the lists on the canvas that is shown, in the order of the nodes."""
        return self.page.evaluate(VALUES)

    def shown(self, node: int = 0) -> list[dict[str, Any]]:
        """The rows as they are on the screen, read from the elements alone."""
        return self.page.evaluate(SHOWN, node)

    def same(self, node: int = 0) -> list[dict[str, Any]]:
        """The rows, once those on the screen are the widget's value's, and those that are on are the prompt's."""
        rows: list[dict[str, Any]] = []

        def equal() -> bool:
            rows[:] = json.loads(self.values()[node])["loras"]
            mine = [
                {
                    "lora": row["lora"],
                    "on": row.get("on", True),
                    "model": row["model"],
                    "clip": row.get("clip"),
                    "schedule": row.get("schedule", ""),
                }
                for row in rows
            ]
            on = [row for row in rows if row.get("on", True)]
            prompts = [json.loads(text)["loras"] for text in self.stacks()]
            return self.shown(node) == mine and on in prompts

        self.wait_for(equal)
        return rows

    def stacks(self) -> list[str]:
        """The values of all LoRA Stacks in the prompt."""
        nodes = self.prompt().values()
        return [node["inputs"]["loras"] for node in nodes if node["class_type"] == "LorchestraLoraStack"]

    def rows(self) -> list[dict[str, Any]]:
        """The rows in the prompt of the only LoRA Stack."""
        return json.loads(self.loras())["loras"]

    def wait_for_rows(self, count: int) -> None:
        """Waits until the only LoRA Stack has so many rows in JSON; undo takes its time."""
        self.wait_for(lambda: self.loras().startswith("{") and len(self.rows()) == count)

    def wait_for(self, check: Callable[[], bool]) -> None:
        """Waits at most ten seconds until something is so."""
        for _ in range(200):
            with contextlib.suppress(AssertionError, ValueError):  # while undo has taken the node away
                if check():
                    return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"it did not become so; the prompt is {self.prompt()}")

    def load(self, path: Path) -> None:
        """Opens a workflow file as the menu does."""
        self.page.locator("#comfy-file-input").set_input_files(path)
        self.editor.first.wait_for(state="visible")
        self.page.wait_for_timeout(500)

    def reload(self, folder: Path) -> None:
        """Saves to a folder, opens the page anew, and loads: nothing is left of the page before."""
        path = folder / "workflow.json"
        path.write_text(json.dumps(self.workflow()), encoding="utf-8")
        self.open()
        self.load(path)

    def set_widget(self, kind: str, name: str, value: Any) -> None:
        """Gives a widget of the first node of a kind a value."""
        self.page.evaluate(
            """([kind, name, value]) => {
                const node = app.graph.nodes.find((node) => node.type === kind);
                node.widgets.find((widget) => widget.name === name).value = value;
            }""",
            [kind, name, value],
        )

    def press(self, keys: str) -> None:
        """Presses keys with the focus on the canvas, and waits for what they undo."""
        self.page.evaluate("document.getElementById('graph-canvas').focus({preventScroll: true})")
        self.page.keyboard.press(keys)
        self.settle()
        self.page.wait_for_function(IS_STILL)
        self.settle()

    def queue(self) -> dict[str, Any]:
        """Queues the workflow through the UI and waits for the end; returns the outputs."""
        before = set(self.server.get("/history"))
        self.page.evaluate("app.queuePrompt(0, 1)")
        for _ in range(1800):
            self.page.wait_for_timeout(100)
            history = self.server.get("/history")
            new = set(history) - before
            if new:
                entry = history[new.pop()]
                assert entry["status"]["status_str"] == "success", entry["status"]
                self.page.wait_for_timeout(300)
                return entry["outputs"]
        raise AssertionError(f"nothing ran; the log ends with\n{self.server.log_text()[-2000:]}")

    def refused(self) -> dict[str, list[dict[str, Any]]]:
        """Queues what is refused before it runs; returns the errors by the nodes' ids."""
        self.page.evaluate("async () => { try { await app.queuePrompt(0, 1); } catch {} }")
        self.wait_for(lambda: bool(self.page.evaluate("app.lastNodeErrors")))
        self.errors.clear()  # the frontend itself reports the refusal in the console
        dialog = self.page.locator(".p-dialog")  # old frontends open one that covers the nodes
        if self.version == OLDEST:
            dialog.wait_for(state="visible")
            self.page.keyboard.press("Escape")
            dialog.wait_for(state="detached")
        return {node: error["errors"] for node, error in self.page.evaluate("app.lastNodeErrors").items()}

    def marked(self) -> list[str]:
        """The types of the nodes that are drawn as having an error."""
        return self.page.evaluate(MARKED)

    def screenshot(self, name: str) -> None:
        """Saves what the page shows, for people."""
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.name}.png")


# Where several processes share the tests, all tests of a renderer are one's: opening its page takes ten seconds.
PAIRS = (("nodes2", f"classic-{NEWEST}"), (f"nodes2-{NEWEST}", "classic"))
"""Each test is in one of the pairs, by its name: in both renderers, in ComfyUI's own frontend and in the newest one.
The first one is in `make test`, the second one in `make test-frontends`, and the other pair in `make test-slow`."""
RENDERERS = [
    *(pytest.param(name, marks=pytest.mark.xdist_group(name)) for pair in PAIRS for name in pair),
    pytest.param(f"classic-{OLDEST}", marks=[pytest.mark.xdist_group("oldest"), pytest.mark.slow]),
]


@pytest.hookimpl(tryfirst=True)  # before marks choose what is run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Chooses each test's pair."""
    names = sorted((name for pair in PAIRS for name in pair), key=len, reverse=True)
    for item in items:
        test, _, values = item.nodeid.rstrip("]").partition("[")
        renderer = next((name for name in names if values.startswith(name)), None)
        quick, other = PAIRS[zlib.crc32(test.encode()) % len(PAIRS)]
        if renderer == other:
            item.add_marker(pytest.mark.other_frontend)
        elif renderer is not None and renderer != quick and f"-{OLDEST}" not in values:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=RENDERERS)
def opened(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Face]:
    """The page of one renderer."""
    face = Face(browser, server, request.param)
    face.open()
    yield face
    face.page.context.close()


@pytest.fixture
def face(opened: Face, request: pytest.FixtureRequest) -> Iterator[Face]:
    """The page with an empty workflow and no favourites; afterwards, no error may have come up in it."""
    opened.clear()
    opened.forget()
    yield opened
    opened.screenshot(request.node.originalname)
    assert opened.take_errors() == []


@pytest.fixture(scope="session")
def open_face(browser: Browser) -> Callable[[Server, str], Face]:
    """Opens a page of another server."""

    def open_other(server: Server, renderer: str) -> Face:
        other = Face(browser, server, renderer)
        other.open()
        return other

    return open_other


@pytest.fixture(scope="session")
def strange() -> str:
    """The name of a LoRA that is HTML, too."""
    if os.name == "nt":
        pytest.skip("Windows has no such file names.")
    return STRANGE


@pytest.fixture(scope="session")
def many() -> int:
    """How many LoRAs there are in the folder `many`."""
    return MANY


@pytest.fixture(scope="session")
def pack_folder() -> str:
    """The pack's name in addresses."""
    return PACK_FOLDER
