"""What ComfyUI tells of a run, to those inside and over its wire, as signals: one reading for both backends."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ..errors import quoted, shortened
from ..limits import Json
from .backend import Cached, Changed, Ended, Failure, Made, NodeState, Previewed, Produced, Signal, Started, Stepped

_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
"""What a binary message begins with: ComfyUI's `protocol.BinaryEventTypes`."""
_PICTURES = {1: "image/jpeg", 2: "image/png"}
_TYPES = {"images": "image", "gifs": "video", "video": "video", "audio": "audio", "latents": "latent", "text": "text"}
"""What nodes call a list of files that they have made → the official word; others are files."""
_ENDINGS = {".mp4": "video", ".webm": "video", ".mkv": "video", ".mov": "video"}
_MOST_TEXTS = 100

IsEnd = Callable[[str, str], bool]
"""Whether a job is run for a node's sake."""


def find_signal(kind: str, data: Any, is_end: IsEnd) -> Signal | None:
    """What a message says; None for one that says nothing of a job."""
    if not isinstance(data, dict):
        return None
    values = cast("dict[str, Any]", data)
    if kind == "status":
        return Changed()
    job = values.get("prompt_id")
    if not isinstance(job, str):
        return None
    match kind:
        case "execution_start":
            return Started(job)
        case "execution_cached":
            return Cached(job, tuple(map(str, values.get("nodes") or ())))
        case "progress_state":
            nodes = cast("dict[str, dict[str, Any]]", values.get("nodes") or {})
            return Stepped(
                job,
                {
                    str(node): NodeState(float(state["value"]), float(state["max"]), state["state"] == "finished")
                    for node, state in nodes.items()
                },
            )
        case "executed":
            node = str(values.get("display_node") or values.get("node"))
            return Produced(job, tuple(find_made(node, values.get("output"), is_end(job, node))))
        case _:
            return None


def find_preview(message: bytes) -> Previewed | None:
    """A picture with its job; those without one cannot be told from others'."""
    if len(message) < 8 or struct.unpack(">I", message[:4])[0] != _PREVIEW_WITH_METADATA:
        return None
    (length,) = struct.unpack(">I", message[4:8])
    try:
        about = json.loads(message[8 : 8 + length])
    except (ValueError, RecursionError):
        return None
    if not isinstance(about, dict):
        return None
    about = cast("dict[str, Any]", about)
    job = about.get("prompt_id")
    node = str(about.get("display_node_id") or about.get("node_id") or "")
    kind = str(about.get("image_type", "image/jpeg"))
    return Previewed(job, node, kind, message[8 + length :]) if isinstance(job, str) else None


def find_end(job: str, outputs: Any, status: Any, ends: Sequence[str]) -> Ended:
    """How a job ended, by its entry in the history: `outputs`, `status`, and the nodes that it was run for."""
    found: Mapping[str, Any] = status or {}
    failure, was_canceled = None, False
    for kind, data in found.get("messages", ()):
        if kind == "execution_interrupted":
            was_canceled = True
        elif kind == "execution_error":
            failure = Failure(
                str(data.get("exception_message", "")).strip() or str(data.get("exception_type", "")),
                str(data.get("node_id", "")) or None,
                str(data.get("node_type", "")) or None,
                "".join(data.get("traceback") or ())[:20_000] or None,
            )
    if failure is None and not was_canceled and found.get("status_str") != "success":
        failure = Failure("ComfyUI does not say why the run ended.")
    shown = cast("Mapping[str, Any]", outputs or {})
    files = [made for node, output in shown.items() for made in find_made(node, output, node in ends)]
    return Ended(job, tuple(files), was_canceled, failure)


def find_made(node: str, output: Any, is_end: bool) -> list[Made]:
    """The files among what a node shows; its texts only if the prompt is run for its sake.

    Other nodes tell with texts what they did: LoRA Stack has its report there.
    """
    found: list[Made] = []
    for key, items in cast("dict[str, Any]", output).items() if isinstance(output, dict) else ():
        if not isinstance(items, (list, tuple)):
            continue
        for number, item in enumerate(cast("Sequence[Any]", items)):
            if isinstance(item, dict) and isinstance(cast("dict[str, Any]", item).get("filename"), str):
                one = cast("dict[str, Any]", item)
                name = one["filename"]
                kind = _ENDINGS.get(Path(name).suffix.lower()) or _TYPES.get(key, "file")
                kind = "file" if kind == "text" else kind
                found.append(Made(node, kind, name, str(one.get("subfolder") or ""), str(one.get("type") or "output")))
            elif is_end and key == "text" and isinstance(item, str) and number < _MOST_TEXTS:
                found.append(Made(node, "text", f"{node}-{number + 1}.txt".replace(":", "-"), text=item))
    return found


def said(error: Any, node_errors: Mapping[str, Any]) -> str:
    """ComfyUI's complaints in one text, a line for each."""
    lines = [
        f"node {node} ({found.get('class_type')}): {_line(one)}"
        for node, found in node_errors.items()
        for one in found.get("errors", ())
    ]
    return shortened("\n".join(lines) or _line(error or {}) or "ComfyUI refuses the graph.", 4000)


def _line(error: Mapping[str, Any]) -> str:
    texts = (str(error.get(key) or "").rstrip(".") for key in ("message", "details"))
    return ": ".join(text for text in texts if text)


def plain(node_errors: Any) -> dict[str, Json]:
    """As JSON: what nodes say of their inputs may be anything."""
    return json.loads(json.dumps(node_errors, default=quoted))
