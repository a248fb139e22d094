"""Other versions of ComfyUI's frontend over the one server: their files are put under the page instead of its own.

A frontend comes from its wheel: `$COMFYUI_FRONTEND_1_27_10` (the version with underscores) names a folder with that
wheel unpacked; else pip fetches it, once, into a folder beside the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Route

FETCHED = Path(__file__).parents[1] / "e2e" / "frontends"
STATIC = "comfyui_frontend_package/static"
NEWEST = "1.58.1"
"""The newest frontend that is published."""
OLDEST = "1.27.10"
"""The oldest one that is supported; it has no Nodes 2.0."""


def unpacked(version: str) -> Path:
    """The folder of a frontend's static files. Skips the test that asks for one that cannot be had."""
    name = f"COMFYUI_FRONTEND_{version.replace('.', '_')}"
    folder = Path(os.environ.get(name) or FETCHED / version)
    if not (folder / STATIC).is_dir():
        fetch(version, folder, name)
    return folder / STATIC


def fetch(version: str, folder: Path, name: str) -> None:
    """Downloads and unpacks the wheel of a frontend."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    wanted = f"comfyui_frontend_package=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(half), wanted]
    if subprocess.run(command, check=False).returncode:
        shutil.rmtree(half, ignore_errors=True)
        pytest.skip(f"The frontend {version} could not be downloaded. Set {name}.")
    for wheel in half.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(half)
        wheel.unlink()
    try:
        half.rename(folder)
    except OSError:  # another process was quicker
        shutil.rmtree(half, ignore_errors=True)


class Quiet(SimpleHTTPRequestHandler):
    """Gives files to the browser of this machine."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """As ever; a page that is left takes no more."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


class Frontend:
    """Sends a page's requests for the frontend's files to a server of a folder; all others go to ComfyUI.

    The browser fetches them itself, which is several times quicker than files that a test hands to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = sorted((folder / "extensions").rglob("*.js"))
        self.extensions = [f"/{path.relative_to(folder).as_posix()}" for path in own]
        self.files = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=self.files.serve_forever, daemon=True).start()

    def answers(self, route: Route) -> bool:
        """Whether it has answered."""
        path = urlsplit(route.request.url).path
        if path in ("/api/extensions", "/extensions"):
            answer = route.fetch()
            theirs = [one for one in answer.json() if not one.startswith("/extensions/core/")]
            route.fulfill(response=answer, json=[*self.extensions, *theirs])
            return True
        path = "/index.html" if path == "/" else path
        if not (self.folder / unquote(path).lstrip("/")).is_file():
            return False
        route.continue_(url=f"http://127.0.0.1:{self.files.server_port}{path}")
        return True
