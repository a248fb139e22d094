"""Finds a ComfyUI on this machine, runs a private headless server of it, and talks to it over HTTP.

For the demo, the tests and the benchmarks. Nothing of ComfyUI is imported: its own Python runs its own `main.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from ..errors import LorchestraError

Json = Any
"""A value as `json.loads` gives it."""

PACK_FOLDER = "ComfyUI-Lorchestra"
"""The pack's folder name under `custom_nodes`; also a part of its addresses, `/extensions/ComfyUI-Lorchestra/…`."""
_PACK_PARTS = ("__init__.py", "pyproject.toml", "nodes", "lorchestra", "js", "locales", "example_workflows")
_FOLDERS = ("custom_nodes", "input", "output", "models/checkpoints", "models/loras", "user/default/workflows")
_VERSION = re.compile(r'^__version__\s*=\s*["\']([^"\']+)["\']', re.MULTILINE)  # __version__ = "0.33.0"
_LAST_LINES = 30


class ComfyUIError(LorchestraError):
    """ComfyUI could not be found, started or reached."""


class PromptRefused(ComfyUIError):
    """ComfyUI's validation did not accept a prompt.

    `node_errors` is what the server said, by node id; empty when the prompt as a whole is meant.
    """

    def __init__(self, message: str, node_errors: Mapping[str, Json]) -> None:
        self.node_errors = node_errors
        super().__init__(message)


class PromptFailed(ComfyUIError):
    """A prompt was accepted, but a node raised an error while it ran.

    `node_id` and `traceback` are empty when the server did not say.
    """

    def __init__(self, message: str, node_id: str = "", traceback: str = "") -> None:
        self.node_id = node_id
        self.traceback = traceback
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ComfyUI:
    """An installation of ComfyUI."""

    root: Path
    """The folder that holds `main.py`."""
    python: Path
    """The interpreter that has ComfyUI's requirements."""
    version: str
    """As ComfyUI states it, e.g. `0.33.0`; empty when it does not."""


def pack_root() -> Path | None:
    """The folder of the node pack that this package belongs to; None for an installed wheel, which has no nodes."""
    root = Path(__file__).absolute().parents[2]
    return root if (root / "nodes").is_dir() and (root / "__init__.py").is_file() else None


def find_comfyui(environ: Mapping[str, str] | None = None) -> ComfyUI | None:
    """The first ComfyUI of: `$COMFYUI_PATH`, the one whose `custom_nodes` this pack lies in, `~/comfy/ComfyUI`,
    `~/ComfyUI`; None when there is none.

    Its Python is `$COMFYUI_PYTHON`, else the installation's own `.venv` or `venv`, else the `python_embeded` of the
    Windows portable build, else the running one. Raises `ComfyUIError` when one of the two variables points at nothing.
    """
    env = os.environ if environ is None else environ
    named = env.get("COMFYUI_PATH")
    if named:
        root = Path(named).expanduser().absolute()
        if not _is_comfyui(root):
            raise ComfyUIError(f"COMFYUI_PATH is {root}, but there is no ComfyUI (main.py and comfy/) in that folder.")
    else:
        custom_nodes = Path(__file__).absolute().parents[3]
        candidates = [Path.home() / "comfy" / "ComfyUI", Path.home() / "ComfyUI"]
        if custom_nodes.name == "custom_nodes":
            candidates.insert(0, custom_nodes.parent)
        found = next((folder for folder in candidates if _is_comfyui(folder)), None)
        if found is None:
            return None
        root = found
    return ComfyUI(root, _python(root, env), _version(root))


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _version(root: Path) -> str:
    try:
        match = _VERSION.search((root / "comfyui_version.py").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return match[1] if match else ""


def _python(root: Path, env: Mapping[str, str]) -> Path:
    named = env.get("COMFYUI_PYTHON")
    if named:
        python = Path(named).expanduser().absolute()
        if not python.is_file():
            raise ComfyUIError(f"COMFYUI_PYTHON is {python}, but there is no such file.")
        return python
    own = [root / venv / python for venv in (".venv", "venv") for python in ("bin/python", "Scripts/python.exe")]
    candidates = [*own, root.parent / "python_embeded" / "python.exe"]
    return next((python for python in candidates if python.is_file()), Path(sys.executable))


class Client:
    """A running ComfyUI, by its address.

    Every method raises `ComfyUIError` when the server does not answer or answers with an error.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        """`http://host:port`, without a slash at the end."""
        # The server is on this machine: a proxy from the environment would only be in the way.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self, prompt: Mapping[str, Json], timeout: float = 600.0) -> dict[str, Json]:
        """Queues a prompt in API format, waits at most `timeout` seconds, and returns its outputs by node id.

        Raises `PromptRefused` when validation complains, be it about one of several outputs only, and `PromptFailed`
        when a node fails or the time is over.
        """
        prompt_id = str(uuid.uuid4())
        self._queue({"prompt": prompt, "prompt_id": prompt_id, "client_id": prompt_id})
        end, pause = time.monotonic() + timeout, 0.02
        while True:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                return _outputs(entry)
            if time.monotonic() > end:
                raise PromptFailed(f"ComfyUI did not finish the prompt within {timeout:g} seconds.")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def view(self, image: Mapping[str, str]) -> bytes:
        """The bytes of an output file, from its entry in `run`'s outputs: `filename`, `subfolder`, `type`."""
        wanted = {key: image.get(key, "") for key in ("filename", "subfolder", "type")}
        return self.fetch("/view?" + urllib.parse.urlencode(wanted))

    def object_info(self, node: str | None = None) -> dict[str, Json]:
        """Inputs and outputs of all nodes, or of one node; `{}` for a node that is not there."""
        return self.get("/object_info" if node is None else f"/object_info/{urllib.parse.quote(node)}")

    def get(self, path: str) -> Json:
        """The JSON that the server has at `path`."""
        return json.loads(self.fetch(path))

    def post(self, path: str, data: Json) -> Json:
        """Posts JSON and returns the answer's JSON; None when the answer is not JSON."""
        answer = self.fetch(path, json.dumps(data).encode())
        try:
            return json.loads(answer)
        except ValueError:
            return None

    def _queue(self, body: Mapping[str, Json]) -> None:
        try:
            with self._open("/prompt", json.dumps(body).encode()) as answer:
                data = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                data = json.loads(text)
            except ValueError:
                raise ComfyUIError(f"ComfyUI answered the prompt with HTTP {error.code}: {text[:500]}") from error
            raise _refusal(data) from error
        except OSError as error:
            raise self._unreachable(error) from error
        if data.get("node_errors"):  # queued without the outputs that it complains about
            self.post("/queue", {"delete": [body["prompt_id"]]})
            raise _refusal(data)

    def fetch(self, path: str, data: bytes | None = None) -> bytes:
        """The bytes that the server has at `path`; `data` is posted as JSON."""
        try:
            with self._open(path, data) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")[:500]
            raise ComfyUIError(f"ComfyUI answered {path} with HTTP {error.code}: {text}") from error
        except OSError as error:
            raise self._unreachable(error) from error

    def _open(self, path: str, data: bytes | None) -> Any:
        headers = {} if data is None else {"Content-Type": "application/json"}
        return self._opener.open(urllib.request.Request(self.url + path, data, headers), timeout=60)

    def _unreachable(self, error: OSError) -> ComfyUIError:
        return ComfyUIError(f"ComfyUI at {self.url} does not answer: {error}")


class Server(Client):
    """A ComfyUI of our own, headless and on the CPU, for as long as the `with` block lasts.

    It uses nothing of the installation but its code: models, outputs, settings and custom nodes are in the base folder.
    """

    def __init__(
        self,
        comfyui: ComfyUI,
        base: Path,
        *,
        pack: Path | None = None,
        arguments: Sequence[str] = (),
        timeout: float = 180.0,
        partners: bool = False,
    ) -> None:
        """`base` is made where it is missing. `pack` is the folder of a node pack to put into it; None for none.

        `arguments` go to `main.py` after ours. `timeout` is how many seconds ComfyUI may take to start. `partners` adds
        the nodes that ask services elsewhere.
        """
        super().__init__(f"http://127.0.0.1:{_free_port()}")
        self.comfyui = comfyui
        self.base = base.absolute()
        self.pack = pack
        self.arguments = tuple(arguments)
        self.timeout = timeout
        self.partners = partners
        self.log = self.base / "server.log"
        """Everything that ComfyUI prints."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        for folder in _FOLDERS:
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        if self.pack is not None:
            put_pack(self.pack, self.base / "custom_nodes")
        port = self.url.rsplit(":", 1)[1]
        command = [
            str(self.comfyui.python), "main.py", "--cpu", "--listen", "127.0.0.1", "--port", port,
            "--base-directory", str(self.base), "--database-url", "sqlite:///:memory:",
            "--disable-auto-launch", *([] if self.partners else ["--disable-api-nodes"]), *self.arguments,
        ]  # fmt: skip
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.comfyui.root, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process that was started here, and no other; does nothing when it is gone already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log_text(self) -> str:
        """Everything that ComfyUI has printed so far."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _wait(self) -> None:
        end = time.monotonic() + self.timeout
        while True:
            try:
                self.get("/object_info/CheckpointLoaderSimple")
                return
            except ComfyUIError:
                if self._ended() is not None or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _ended(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """Of the process that was started here; None if there is none."""
        return None if self._process is None else self._process.pid

    def _unreachable(self, error: OSError) -> ComfyUIError:
        code = self._ended()
        if code is None:
            reason = f"ComfyUI {self.comfyui.version} at {self.url} does not answer: {error}"
        else:
            reason = f"ComfyUI {self.comfyui.version} ended with exit code {code}"
        last = "\n".join(self.log_text().splitlines()[-_LAST_LINES:])
        return ComfyUIError(f"{reason}. The last lines of {self.log}:\n{last}")


def put_pack(pack: Path, custom_nodes: Path) -> Path:
    """Links the pack into a `custom_nodes` folder, or copies it where links are not allowed; returns its place there.

    A link or a copy from an earlier time is replaced. Raises `ComfyUIError` when the pack is already there as itself.
    """
    place = custom_nodes / PACK_FOLDER
    if place.is_symlink():
        place.unlink()
    elif place.exists() and place.resolve() == pack.resolve():
        raise ComfyUIError(f"{place} is the pack itself; it cannot be linked into its own place.")
    if not place.exists():
        try:
            place.symlink_to(pack.resolve(), target_is_directory=True)
            return place
        except OSError:  # Windows without developer mode
            place.mkdir()
    for part in _PACK_PARTS:
        source = pack / part
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source, place / part, ignore=skip, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, place / part)
    return place


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


def _outputs(entry: Json) -> dict[str, Json]:
    status: Json = entry.get("status") or {}
    if status.get("status_str") == "success":
        return entry["outputs"]
    for kind, data in status.get("messages", ()):
        if kind == "execution_error":
            node = f"node {data.get('node_id')} ({data.get('node_type')})"
            message = str(data.get("exception_message", "")).strip()
            traceback = "".join(data.get("traceback") or ())
            raise PromptFailed(f"{node} failed: {message}", str(data.get("node_id", "")), traceback)
        if kind == "execution_interrupted":
            raise PromptFailed("The prompt was interrupted.", str(data.get("node_id", "")))
    raise PromptFailed(f"The prompt ended with the status {status.get('status_str')}.")


def _refusal(data: Json) -> PromptRefused:
    """The server's answer in words: one line per complaint, with the node that it is about."""
    general: Json = data.get("error") or {}
    node_errors: dict[str, Json] = data.get("node_errors") or {}
    lines: list[str] = []
    for node_id, node in node_errors.items():
        for error in node.get("errors", ()):
            lines.append(f"node {node_id} ({node.get('class_type')}): {_said(error)}")
    if not lines:
        lines.append(general if isinstance(general, str) else _said(general))
    return PromptRefused("ComfyUI refused the prompt. " + "\n".join(lines), node_errors)


def _said(error: Json) -> str:
    texts = (str(error.get(key) or "").rstrip(".") for key in ("message", "details"))
    return ": ".join(text for text in texts if text)
