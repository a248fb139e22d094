"""Requests that one ComfyUI's service and the door of many answer alike, but for ids, moments and addresses."""

from __future__ import annotations

import base64
import io
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from support.live_service import EMPTY, Answer, Service

from lorchestra.demo.prompt import CHECKPOINT, demo_prompt

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+\+00:00")
_CURSOR = re.compile(r"[0-9]{10}\.[0-9]{9}_")
_HEADERS = ("Content-Type", "Content-Range", "Content-Disposition", "X-Content-Type-Options",
            "Allow", "Retry-After", "Preference-Applied", "Location", "WWW-Authenticate", "Cache-Control")  # fmt: skip


def _picture(color: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(made, "PNG")
    return made.getvalue()


PICTURE = _picture("red")
COPY = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sent"}},
}
PORTRAIT = demo_prompt([], steps=1, width=64, height=64)
UI = {"nodes": [], "links": [], "version": 0.4}
TASK = {
    "taskType": "imageInference", "model": CHECKPOINT, "positivePrompt": "a barn", "width": 64, "height": 64,
    "steps": 1, "seed": 5,
}  # fmt: skip
_MESSAGE = r'"(message|node_errors)":.*?("path"|$)'
"""In sentences one says what ComfyUI has, and the other what the workers have."""
_PICTURE = r"[A-Za-z0-9+/=]{200,}"
"""In base64: its metadata has a digest of the files that its own ComfyUI read."""
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass
class Door:
    """One of the two, and what was named so far: `{job}` in a path is the id of the answer that was called `job`."""

    service: Service
    ids: dict[str, str] = field(default_factory=dict[str, str])

    def ask(self, asked: Ask) -> Answer:
        path = asked.path.format(**self.ids) if "{" in asked.path else asked.path
        answer = self.service.ask(asked.method, path.replace(" ", "%20"), self._named(asked.body), **asked.headers)
        if asked.name:
            self.ids[asked.name] = answer.json["id"]
        return answer

    def _named(self, body: Any) -> Any:
        if isinstance(body, str) and body.startswith("<") and body[1:-1] in self.ids:
            return self.ids[body[1:-1]]
        if isinstance(body, dict):
            return {key: self._named(item) for key, item in body.items()}
        return [self._named(item) for item in body] if isinstance(body, list) else body


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    name: str = ""
    """By which later requests know the id in its answer."""
    ignores: str = ""
    """A pattern of what may differ besides."""
    is_long: bool = False
    """Whether a picture is made for it."""


def form(file: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A form with a file in it."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'.encode()
        for key, text in fields.items()
    ]
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join([*parts, head.encode(), file, b"\r\n--x--\r\n"]), {
        "Content_Type": "multipart/form-data; boundary=x"
    }


def requests() -> list[Ask]:
    """All of them, in their order."""
    jobs, graphs = "/workflows/twin/jobs", "/api/v2/jobs"
    sent = base64.b64encode(PICTURE).decode()
    mine = str(uuid.uuid4())
    return [
        Ask("PUT", "/workflows/twin?dry_run=true", {"workflow": PORTRAIT}),
        Ask("PUT", "/workflows/twin", {"workflow": PORTRAIT}),
        Ask("PUT", "/workflows/twin", {"workflow": PORTRAIT, "description": "the second"}),
        Ask("PUT", "/workflows/twin-copy", {"workflow": COPY}, ignores=r'"(enum|examples|default)":.*?[\]",]'),
        Ask("PUT", "/workflows/Not A Name", {"workflow": PORTRAIT}),
        Ask("PUT", "/workflows/broken", {"workflow": {"1": {"class_type": "Nowhere", "inputs": {}}}}),
        Ask("PUT", "/workflows/broken", {"workflow": UI}),
        Ask("GET", "/workflows/twin"), Ask("GET", "/workflows/twin@1"), Ask("GET", "/workflows/twin@9"),
        Ask("GET", "/workflows/twin/schema.json"), Ask("GET", "/workflows/twin/openapi.json"),
        Ask("GET", "/workflows?x=1"), Ask("PATCH", "/workflows/twin"),
        # Calls.
        Ask("POST", f"{jobs}?wait=120", {"seed": 3}, name="job"),
        Ask("POST", f"{jobs}?wait=120&outputs=base64", {"seed": 3, "loras": [{"model": "warm"}]}, ignores=_PICTURE,
            is_long=True),
        Ask("POST", f"{jobs}?wait=120&outputs=data_uri&priority=3", {"seed": 3}, {"Prefer": "wait=1"}),
        Ask("POST", f"{jobs}?wait=120", {"seed": 3, "loras": [{"model": "civitai:120096@135931"}]}, is_long=True),
        Ask("POST", jobs, {"stepz": 3}), Ask("POST", jobs, {"steps": 0}), Ask("POST", jobs, {"steps": "x"}),
        Ask("POST", jobs, {"checkpoint": "none.safetensors"}, ignores=_MESSAGE),
        Ask("POST", jobs, []), Ask("POST", jobs, b"{"),
        Ask("POST", jobs, {"loras": [{"model": "gone"}]}, ignores=_MESSAGE),
        Ask("POST", jobs, {"loras": [{"model": "civitai:1@2"}]}, ignores=_MESSAGE),
        Ask("POST", jobs, {"loras": [{"model": "sha256:" + "ab" * 32}]}, ignores=_MESSAGE),
        Ask("POST", jobs, {"loras": [{"model": "warm", "weight": 1000}]}),
        Ask("POST", jobs, b'{"prompt": "' + b"x" * 49_000_000 + b'"}'), Ask("POST", jobs, b"[" * 9000),
        Ask("POST", f"{jobs}?wait=-1", {}), Ask("POST", f"{jobs}?outputs=x", {}), Ask("POST", f"{jobs}?priority=x", {}),
        Ask("POST", f"{jobs}?webhook_url=https://example.com/x", {}), Ask("POST", f"{jobs}?other=1", {}),
        Ask("POST", f"{jobs}?wait=60", {"seed": 3}, {"Idempotency_Key": mine}),
        Ask("POST", jobs, {}, {"Idempotency_Key": mine}), Ask("POST", jobs, {}, {"Idempotency_Key": "ü"}),
        Ask("POST", "/workflows/twin@7/jobs", {}), Ask("POST", "/workflows/none/jobs", {}),
        # Pictures and files.
        Ask("POST", "/workflows/twin-copy/jobs?wait=60", {"image": sent}),
        Ask("POST", "/workflows/twin-copy/jobs", {"image": "AAAA"}),
        Ask("POST", "/workflows/twin-copy/jobs", {"image": NOBODY}),
        Ask("POST", "/workflows/twin-copy/jobs", {"image": "https://example.com/a.png"}),
        Ask("POST", "/api/v2/assets", *form(_picture("blue"), file_path="in/blue.png"), name="asset"),
        Ask("POST", "/api/v2/assets", *form(_picture("blue"), tags="a,b")),
        Ask("POST", "/api/v2/assets", *form(PICTURE, expected_hash="blake3:" + "0" * 64)),
        Ask("POST", "/api/v2/assets", *form(PICTURE, file_path="../a.png")),
        Ask("POST", "/api/v2/assets", {}), Ask("GET", "/api/v2/assets/{asset}"),
        Ask("GET", "/api/v2/assets/{asset}/content"),
        Ask("GET", "/api/v2/assets/{asset}/content", headers={"Range": "bytes=1-3"}),
        Ask("GET", "/api/v2/assets/{asset}/content", headers={"Range": "bytes=99999-"}),
        Ask("POST", "/api/v2/assets/from-hash", {"hash": "blake3:" + "0" * 64}),
        Ask("HEAD", "/api/v2/assets/by-hash/blake3:" + "0" * 64),
        Ask("POST", "/workflows/twin-copy/jobs?wait=60", {"image": "<asset>"}),
        Ask("DELETE", "/api/v2/assets/{asset}"), Ask("GET", "/api/v2/assets/{asset}"),
        Ask("GET", f"/api/v2/assets/{NOBODY}/content"),
        # Graphs and jobs.
        Ask("POST", graphs, {"workflow": EMPTY, "metadata": {"a": mine}, "priority": 2.0}, name="graph"),
        Ask("POST", graphs, {"workflow": UI}), Ask("POST", graphs, {"workflow": {}}), Ask("POST", graphs, {}),
        Ask("POST", graphs, {"workflow": {"1": 3}}), Ask("POST", graphs, {"workflow": EMPTY, "priority": 1.5}),
        Ask("POST", graphs, {"workflow": EMPTY, "metadata": 3}), Ask("POST", graphs, {"workflow": EMPTY, "x": 1}),
        Ask("POST", graphs, {"workflow": {"1": {"class_type": "LoadImage", "inputs": {"image": {
            "__type": "core/ASSET", "info": {"id": NOBODY}}}}}}),
        Ask("GET", "/api/v2/jobs/{graph}/events", ignores=r"(?s)\n.*"),
        Ask("GET", "/api/v2/jobs/{graph}"), Ask("GET", "/api/v2/jobs/{graph}/workflow"),
        Ask("POST", "/api/v2/jobs/{graph}/cancel"), Ask("GET", "/api/v2/jobs/{job}/events"),
        Ask("GET", f"{graphs}?metadata[a]={mine}&limit=1"), Ask("GET", f"{graphs}?limit=0"),
        Ask("GET", f"{graphs}?status=odd"), Ask("GET", f"{graphs}?cursor=x"), Ask("GET", f"{graphs}/{NOBODY}"),
        Ask("GET", f"{graphs}/{NOBODY}/events"), Ask("POST", f"{graphs}/{NOBODY}/cancel"), Ask("GET", f"{graphs}/x"),
        Ask("GET", "/api/v2/health"),
        # Runware's form.
        Ask("POST", "/v1", [{"taskType": "ping"}, {"taskType": "authentication", "apiKey": "x"}, {"taskType": "odd"}]),
        Ask("POST", "/v1", [TASK | {"taskUUID": mine, "lora": [{"model": "warm", "weight": 0.4}]}], is_long=True),
        Ask("POST", "/v1", [{"taskType": "getResponse", "taskUUID": mine}], is_long=True), Ask("POST", "/v1", {}),
        Ask("POST", "/v1", [TASK | {"taskUUID": str(uuid.uuid4()), "model": "civitai:9@9"},
                            TASK | {"taskUUID": str(uuid.uuid4()), "steps": 0}, TASK]),
        Ask("DELETE", "/workflows/twin@1"), Ask("DELETE", "/workflows/twin"), Ask("DELETE", "/workflows/twin"),
    ]  # fmt: skip


def told(door: Door, answer: Answer, ignores: str) -> str:
    """An answer with the same words for what may differ: ids and moments by the order in which they come."""
    headers = {name: answer.headers[name] for name in _HEADERS if answer.headers[name] is not None}
    is_text = "json" in (answer.headers["Content-Type"] or "") or "text" in (answer.headers["Content-Type"] or "")
    body = answer.content.decode("utf-8", "replace") if is_text else answer.content.hex()
    text = json.dumps(headers) + "\n" + body
    text = text.replace(door.service.url, "URL").replace(door.service.server.url, "SERVER")
    seen: dict[str, str] = {}
    text = _UUID.sub(lambda match: seen.setdefault(match[0], f"id-{len(seen)}"), text)
    text = _CURSOR.sub("", _MOMENT.sub("a-moment", text))
    text = re.sub(r"_[0-9]{5}_\.", "_number_.", text)
    text = re.sub(r'"queue_position":(1|null)', '"queue_position":0', text)
    text = re.sub(r'"(queue_ms|execution_ms|size_bytes)":\s*[0-9]+', r'"\1":0', text)
    if ignores:
        text = re.sub(ignores, "", text)
    return f"{answer.status} {text}"
