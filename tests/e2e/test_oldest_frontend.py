"""The classic renderer of the oldest frontend that is supported, over the same ComfyUI.

The frontend comes from its wheel: `$COMFYUI_OLDEST_FRONTEND` is that wheel unpacked, else pip fetches it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lorchestra.comfyui import PACK_FOLDER, Server

VERSION = "1.27.10"
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked frontend."""
    named = os.environ.get("COMFYUI_OLDEST_FRONTEND")
    if named:
        return Path(named) / "comfyui_frontend_package/static"
    folder = tmp_path_factory.mktemp("frontend")
    wanted = f"comfyui_frontend_package=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wanted]
    if subprocess.run(command, check=False).returncode:
        pytest.skip(f"The frontend {VERSION} could not be downloaded. Set COMFYUI_OLDEST_FRONTEND.")
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "comfyui_frontend_package/static"


@pytest.fixture(scope="module")
def old(server: Any, frontend: Path, open_face: Any) -> Iterator[Any]:
    """A page of the oldest frontend, in a second ComfyUI over the same files."""
    arguments = [*server.arguments, "--front-end-root", str(frontend)]
    with Server(server.comfyui, server.base, pack=server.pack, arguments=arguments) as other:
        face = open_face(other, "classic")
        yield face
        face.page.context.close()


def ours(errors: list[str]) -> list[str]:
    """Errors in our files; this frontend has some of its own with a ComfyUI that is newer than it is."""
    return [error for error in errors if PACK_FOLDER in error]


def test_list_undo_copy_and_reload(old: Any, tmp_path: Path) -> None:
    old.clear()
    old.add()
    old.pick(WARM)
    old.pick(LINES)
    assert old.status.inner_text() == "2 LoRAs"
    assert [row["lora"] for row in old.rows()] == [WARM, LINES]
    old.press("Control+z")
    old.wait_for_rows(1)
    old.press("Control+y")
    old.wait_for_rows(2)
    old.type("<lora:warm:0.5>")
    old.press("Control+z")
    old.wait_for_rows(2)
    old.press("Control+y")
    old.wait_for(lambda: old.loras() == "<lora:warm:0.5>")
    old.press("Control+z")
    old.wait_for_rows(2)
    old.pick(WARM)
    old.wait_for_rows(3)
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(old.workflow()), encoding="utf-8")
    old.open()
    old.load(path)
    old.wait_for(lambda: old.status.inner_text() == "3 LoRAs")
    assert len(old.rows()) == 3
    old.screenshot("oldest-frontend")
    assert ours(old.errors) == []


def test_run_shows_the_report_on_the_node(old: Any) -> None:
    old.clear()
    old.add("CheckpointLoaderSimple", x=60, y=120)
    old.add(x=420, y=120)
    old.add("LorchestraApiExport", x=880, y=120)
    old.page.evaluate(
        """() => {
            const [loader, stack, exporter] = app.graph.nodes;
            loader.connect(0, stack, 0); loader.connect(1, stack, 1); stack.connect(2, exporter, 0);
            exporter.widgets.find((widget) => widget.name === 'format').value = 'a1111';
        }"""
    )
    old.pick(WARM)
    old.queue()
    assert "<lora:warm:0.75>" in old.page.get_by_label("What was written").input_value()
    assert "modules fit" in old.page.get_by_label("Report of the last run").input_value()
    old.screenshot("oldest-frontend-run")
    assert ours(old.errors) == []
