"""The backend "this ComfyUI": its own validation, its own queue, and what its server tells those who watch.

ComfyUI sends what happens in a run to the client that has sent the prompt. So this is a client too: it stands among
the server's sockets under an id that nobody else knows, and its prompts carry that id.
"""

from __future__ import annotations

import asyncio
import inspect
import os
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
from ...lorchestra.errors import LorchestraError, shortened
from ...lorchestra.files.opening import is_file
from ...lorchestra.limits import Json
from ...lorchestra.service import messages
from ...lorchestra.service.backend import Ended, Graph, GraphRefused, Made, Row, Signal
from ...lorchestra.service.job import CANCELED, CANCELING
from . import bases, files, node_info, process, prompt
from .server import find_server

GONE = "gone"
_PRIORITY = 1_000_000_000
"""Places in the queue that one step of priority is worth: more than there ever are, and exact in JavaScript."""
_READ_SECONDS = 5.0
"""For headers and sidecars that are not read yet, where only a hash or an AIR may find a file."""

core_nodes: Any = import_module("nodes")
"""ComfyUI's own. By `import nodes` a type checker would find this package."""


class Queue:
    """ComfyUI's queue as a `Backend`; one for each server."""

    outlives_server = False

    def __init__(self) -> None:
        self._client = f"lorchestra-{uuid.uuid4().hex}"
        self._socket = _Socket()
        self._validator = ThreadPoolExecutor(1, "lorchestra-validation")

    # On the event loop.

    def listen(self, tell: Callable[[Signal], object]) -> None:
        """See `Backend`."""
        self._socket.tell = tell
        self._connect()

    async def submit(
        self, job: str, graph: Graph, secrets: Mapping[str, str], priority: int = 0, caller: str | None = None
    ) -> None:
        """See `Backend`: what ComfyUI's own route for prompts does, but any complaint refuses the whole graph."""
        self._put(*await self._checked(job, graph, secrets), secrets, priority)

    async def submit_all(self, graphs: Mapping[str, Graph], priority: int = 0, caller: str | None = None) -> None:
        """See `Backend`: each is checked as one alone is."""
        checked: list[tuple[str, Graph, dict[str, Json], Any]] = []
        for job, graph in graphs.items():
            try:
                checked.append(await self._checked(job, graph, {}))
            except GraphRefused as error:
                raise GraphRefused(error.message, error.node_errors, job) from error
        for item in checked:
            self._put(*item, {}, priority)

    async def _checked(
        self, job: str, graph: Graph, secrets: Mapping[str, str]
    ) -> tuple[str, Graph, dict[str, Json], Any]:
        """The job, its graph, its extra data and its outputs, as the queue takes them; raises `GraphRefused`."""
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
            raise GraphRefused(messages.said(error, node_errors), messages.plain(node_errors))
        return job, graph, extra, outputs

    def _put(
        self, job: str, graph: Graph, extra: dict[str, Json], outputs: Any, secrets: Mapping[str, str], priority: int
    ) -> None:
        server = self._connect()
        number = server.number - _PRIORITY * priority  # the least comes first, as with ComfyUI's own "front"
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
        return messages.find_end(job, *found[job])

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

    def loras(self) -> Sequence[str]:
        """See `Backend`."""
        return folder_paths.get_filename_list("loras")

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
        signal = messages.find_signal(str(message.get("type")), message.get("data"), _is_end)
        if signal is not None:
            self.tell(signal)

    async def send_bytes(self, message: bytes | bytearray) -> None:
        """The same for pictures."""
        signal = messages.find_preview(bytes(message))
        if signal is not None:
            self.tell(signal)


def _is_end(job: str, node: str) -> bool:
    """Whether a prompt that runs is run for this node's sake."""
    running = list(_queue().currently_running.values())
    return any(item[1] == job and node in item[4] for item in running)


def _queue() -> Any:
    return cast("Any", find_server()).prompt_queue


def _has_secrets(queue: Any) -> bool:
    """Whether the queue keeps keys of paid services apart from what it shows; ComfyUI 0.3.64 does not."""
    return "process_item" in inspect.signature(queue.task_done).parameters


def _architectures(checkpoint: str) -> Sequence[str]:
    path = folder_paths.get_full_path("checkpoints", checkpoint)
    base = bases.read(path) if path else None
    return () if base is None else base.architectures
