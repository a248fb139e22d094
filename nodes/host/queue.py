"""The backend "this ComfyUI": its own validation, its own queue, and what its server tells those who watch.

ComfyUI sends what happens in a run to the client that has sent the prompt. So this is a client too: it stands among
the server's sockets under an id that nobody else knows, and its prompts carry that id.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import execution
import folder_paths

from ...lorchestra.choices import Choices
from ...lorchestra.errors import LorchestraError, quoted, shortened
from ...lorchestra.files.opening import is_file
from ...lorchestra.limits import Json
from ...lorchestra.service.backend import (
    Cached,
    Changed,
    Ended,
    Failure,
    Graph,
    GraphRefused,
    Made,
    NodeState,
    Previewed,
    Produced,
    Row,
    Signal,
    Started,
    Stepped,
)
from ...lorchestra.service.job import CANCELED, CANCELING
from . import bases, files, node_info, process, prompt
from .server import find_server

GONE = "gone"
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
"""What a binary message begins with: ComfyUI's `protocol.BinaryEventTypes`."""
_PICTURES = {1: "image/jpeg", 2: "image/png"}
_TYPES = {"images": "image", "gifs": "video", "video": "video", "audio": "audio", "latents": "latent", "text": "text"}
"""What nodes call a list of files that they have made → the official word; others are files."""
_ENDINGS = {".mp4": "video", ".webm": "video", ".mkv": "video", ".mov": "video"}
_READ_SECONDS = 5.0
"""For headers and sidecars that are not read yet, where only a hash or an AIR may find a file."""
_MOST_TEXTS = 100

core_nodes: Any = import_module("nodes")
"""ComfyUI's own. By `import nodes` a type checker would find this package."""


class Queue:
    """ComfyUI's queue as a `Backend`; one for each server."""

    def __init__(self) -> None:
        self._client = f"lorchestra-{uuid.uuid4().hex}"
        self._socket = _Socket()
        self._validator = ThreadPoolExecutor(1, "lorchestra-validation")

    # On the event loop.

    def listen(self, tell: Callable[[Signal], object]) -> None:
        """See `Backend`."""
        self._socket.tell = tell
        self._connect()

    async def submit(self, job: str, graph: Graph, secrets: Mapping[str, str]) -> None:
        """See `Backend`: what ComfyUI's own route for prompts does, but any complaint refuses the whole graph."""
        server = self._connect()
        extra: dict[str, Json] = {"client_id": self._client, **secrets}
        request = {"prompt": graph, "prompt_id": job, "client_id": self._client, "extra_data": extra}
        request = server.trigger_on_prompt(request)
        graph = request["prompt"]
        replacer = getattr(server, "node_replace_manager", None)
        try:
            if replacer is not None:
                replacer.apply_replacements(graph)
            is_valid, error, outputs, node_errors = await self._validate(job, graph)
        except Exception as reason:  # ComfyUI's own route would answer 500: it expects a graph that the editor wrote
            said = f"ComfyUI cannot read the graph ({type(reason).__name__}: {reason})"
            raise GraphRefused(shortened(said, 1000), {}) from reason
        if not is_valid or node_errors:
            raise GraphRefused(_said(error, node_errors), _plain(node_errors))
        number = server.number
        server.number += 1
        kept_apart = {key: extra.pop(key) for key in secrets} if _has_secrets(server.prompt_queue) else None
        extra["create_time"] = int(time.time() * 1000)
        item = (number, job, graph, extra, outputs)
        server.prompt_queue.put(item if kept_apart is None else (*item, kept_apart))

    async def _validate(self, job: str, graph: Graph) -> Any:
        """ComfyUI's own validation, in a thread with a loop of its own: a thousand rows take a good part of a second.

        One at a time, as on the server's loop.
        """
        in_context, loop = copy_context(), asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._validator, lambda: in_context.run(asyncio.run, execution.validate_prompt(job, graph, None))
        )

    def _connect(self) -> Any:
        """The server, with us among its clients."""
        server: Any = find_server()
        server.sockets[self._client] = self._socket
        server.sockets_metadata[self._client] = {"feature_flags": {"supports_preview_metadata": True}}
        return server

    # From any thread.

    def cancel(self, job: str) -> str:
        """See `Backend`."""
        queue = _queue()
        with queue.mutex:  # so that the job does not end, and another begin, between the look and the interruption
            if queue.delete_queue_item(lambda item: item[1] == job):
                return CANCELED
            if any(item[1] == job for item in queue.currently_running.values()):
                core_nodes.interrupt_processing()
                return CANCELING
        return GONE

    def positions(self) -> Mapping[str, int]:
        """See `Backend`."""
        running, waiting = _queue().get_current_queue_volatile()
        found = {item[1]: place for place, item in enumerate(sorted(waiting, key=lambda item: item[0]), 1)}
        return found | {item[1]: 0 for item in running}

    def find_end(self, job: str) -> Ended | None:
        """See `Backend`."""
        found = _queue().get_history(
            job, map_function=lambda entry: (entry.get("outputs"), entry.get("status"), tuple(entry["prompt"][4]))
        )
        if job not in found:
            return None
        outputs, status, ends = found[job]
        status = status or {}
        failure, was_canceled = None, False
        for kind, data in status.get("messages", ()):
            if kind == "execution_interrupted":
                was_canceled = True
            elif kind == "execution_error":
                failure = Failure(
                    str(data.get("exception_message", "")).strip() or str(data.get("exception_type", "")),
                    str(data.get("node_id", "")) or None,
                    str(data.get("node_type", "")) or None,
                    "".join(data.get("traceback") or ())[:20_000] or None,
                )
        if failure is None and not was_canceled and status.get("status_str") != "success":
            failure = Failure("ComfyUI does not say why the run ended.")
        files = [made for node, output in (outputs or {}).items() for made in _made(node, output, node in ends)]
        return Ended(job, tuple(files), was_canceled, failure)

    def find_file(self, made: Made) -> Path | None:
        """See `Backend`: only files in ComfyUI's own folders, whatever a node says."""
        folder = folder_paths.get_directory_by_type(made.folder)
        if folder is None or not made.name:
            return None
        root = os.path.realpath(folder)
        path = os.path.realpath(Path(root, made.subfolder, made.name))
        return Path(path) if os.path.commonpath((root, path)) == root and is_file(path) else None

    def input_folder(self) -> Path:
        """See `Backend`."""
        return Path(folder_paths.get_input_directory())

    def describe(self, kinds: Iterable[str]) -> Mapping[str, Json]:
        """See `Backend`."""
        return node_info.describe(kinds)

    def resolver(self) -> Callable[[str], str]:
        """See `Backend`."""
        from ...lorchestra.fit.rows import missing_sentence
        from ...lorchestra.stack import Entry

        finder = files.Finder(_READ_SECONDS)

        def find(lora: str) -> str:
            found = finder.resolve(Entry(lora))
            if found is None:
                raise LorchestraError(missing_sentence(Entry(lora), Choices()))
            return found.name

        return find

    def check(self, graph: Graph, node: str, loras: Sequence[Json]) -> Sequence[Row]:
        """See `Backend`: what the LoRA Stack says when a prompt is queued, of each row for itself."""
        from ...lorchestra.errors import FileProblem, StackError
        from ...lorchestra.fit.refusals import find_misfit
        from ...lorchestra.fit.rows import find_rows, missing_error
        from ...lorchestra.stack import Stack, read_row

        path = prompt.find_base(graph, node)
        base = cache(lambda: None if path is None else bases.read(path))
        located = files.row_files()
        found: list[Row] = []
        for number, row in enumerate(loras):
            try:
                stack = Stack((read_row(row, 1),))
                rows = find_rows(stack, located.find, base, Choices(), has_clip=True)
                if rows.refused:
                    raise rows.refused[0]
                if rows.lost:
                    raise missing_error(list(rows.lost))
                for file, weighted in stack.combined(rows.paths).items():
                    misfit = find_misfit(located.open(file), weighted, base)
                    if misfit is not None:
                        found.append(Row(number, misfit.advice))
            except (StackError, FileProblem) as error:
                found.append(Row(number, error.reason))
        return found

    def find_model(self, air_or_name: str) -> tuple[str | None, Sequence[str]]:
        """See `Backend`."""
        from ...lorchestra.library.resolve import resolve
        from ...lorchestra.stack.air import find_air
        from ...lorchestra.stack.wanted import Wanted

        shelf = process.checkpoint_library()
        air = find_air(air_or_name)
        if air is not None:
            shelf.read_now(_READ_SECONDS)
        try:
            found = resolve(Wanted(air_or_name, None, air), shelf, shelf.listing())
        except LorchestraError:
            return None, ()
        return (None, ()) if found is None else (found.name, _architectures(found.name))

    def model_of(self, graph: Graph) -> tuple[str | None, Sequence[str]]:
        """See `Backend`."""
        names = {
            str(name)
            for data in graph.values()
            if isinstance(name := cast("dict[str, Json]", data.get("inputs", {})).get("ckpt_name"), str)
        }
        return (name, _architectures(name)) if len(names) == 1 and (name := names.pop()) else (None, ())


class _Socket:
    """A client of ComfyUI's server that makes signals of what it is sent."""

    def __init__(self) -> None:
        self.tell: Callable[[Signal], object] = lambda _: None

    async def send_json(self, message: Mapping[str, Any]) -> None:
        """What a web socket does, without the wire."""
        signal = _signal(str(message.get("type")), message.get("data"))
        if signal is not None:
            self.tell(signal)

    async def send_bytes(self, message: bytes | bytearray) -> None:
        """The same for pictures."""
        signal = _preview(bytes(message))
        if signal is not None:
            self.tell(signal)


def _signal(kind: str, data: Any) -> Signal | None:
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
            return Produced(job, tuple(_made(node, values.get("output"), _is_end(job, node))))
        case _:
            return None


def _preview(message: bytes) -> Previewed | None:
    """A picture with its job; those without one cannot be told from others'."""
    if len(message) < 8 or struct.unpack(">I", message[:4])[0] != _PREVIEW_WITH_METADATA:
        return None
    (length,) = struct.unpack(">I", message[4:8])
    try:
        about = json.loads(message[8 : 8 + length])
    except ValueError:
        return None
    job = about.get("prompt_id")
    node = str(about.get("display_node_id") or about.get("node_id") or "")
    kind = str(about.get("image_type", "image/jpeg"))
    return Previewed(job, node, kind, message[8 + length :]) if isinstance(job, str) else None


def _is_end(job: str, node: str) -> bool:
    """Whether a prompt that runs is run for this node's sake."""
    running = list(_queue().currently_running.values())
    return any(item[1] == job and node in item[4] for item in running)


def _made(node: str, output: Any, is_end: bool) -> list[Made]:
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


def _queue() -> Any:
    return cast("Any", find_server()).prompt_queue


def _has_secrets(queue: Any) -> bool:
    """Whether the queue keeps keys of paid services apart from what it shows; ComfyUI 0.3.64 does not."""
    return "process_item" in inspect.signature(queue.task_done).parameters


def _said(error: Any, node_errors: Mapping[str, Any]) -> str:
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


def _plain(node_errors: Any) -> dict[str, Json]:
    """As JSON: what nodes say of their inputs may be anything."""
    return json.loads(json.dumps(node_errors, default=quoted))


def _architectures(checkpoint: str) -> Sequence[str]:
    path = folder_paths.get_full_path("checkpoints", checkpoint)
    base = bases.read(path) if path else None
    return () if base is None else base.architectures
