"""Published workflows on a ComfyUI that runs, and calls of them over the wire."""

from __future__ import annotations

import io
import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import ComfyUI, Server, find_comfyui
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT

EMPTY = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "empty"}},
}
"""A graph that takes no time."""
ROWS = [{"model": "warm", "weight": 0.8}, {"model": "lines", "weight": -0.4}]


@dataclass
class Answer:
    """What a server answers."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Service:
    """The service of a ComfyUI."""

    server: Server

    @property
    def url(self) -> str:
        return f"{self.server.url}/lorchestra"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data, {"Content-Type": "application/json", **named}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=400) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def wait(self, job: str, seconds: float = 300) -> Any:
        end, found = time.monotonic() + seconds, None
        while time.monotonic() < end:
            found = self.ask("GET", f"/api/v2/jobs/{job}").json
            if found["status"] in ("succeeded", "failed", "canceled"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"the job did not end: {found}")

    def is_idle(self) -> bool:
        queue = self.server.get("/queue")
        return not queue["queue_running"] and not queue["queue_pending"]


def comfyui() -> ComfyUI:
    """The one of the tests, with the Python of the tests: it has what the pack needs besides."""
    found = find_comfyui()
    assert found is not None
    if found.version.startswith("0.3."):
        pytest.skip(f"ComfyUI {found.version} does not start beside the newest one's packages; see test_queue.py")
    return replace(found, python=Path(sys.executable))


ARGUMENTS = ("--use-pytorch-cross-attention",)


def fill(folder: Path) -> None:
    """Puts a small model into ComfyUI's base folder, LoRAs for it, and one for another model."""
    loras = folder / "models/loras"
    write_checkpoint(folder / "models/checkpoints" / CHECKPOINT)
    (folder / "models/checkpoints/broken.safetensors").write_bytes(b"no model")
    write_lora(loras / "warm.safetensors", layers("*attn1.to_*"), seed=1)
    write_lora(loras / "styles/lines.safetensors", layers("*attn2.to_*"), "peft", seed=2)
    write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    (loras / "warm.civitai.info").write_text(json.dumps({"modelId": 120096, "id": 135931}))
    (loras / "styles/lines.civitai.info").write_text(json.dumps({"modelId": 245889, "id": 277389}))


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB").tobytes()
