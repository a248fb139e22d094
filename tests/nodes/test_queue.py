"""The backend "this ComfyUI" in the process of the tests: its queue, its history, and what its server sends."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import folder_paths
import pytest
from support.comfyui_server import import_server

import nodes

pytestmark = pytest.mark.oldest

EMPTY = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "queue"}},
}


class Host:
    """A server of ComfyUI's on an event loop that a test runs by hand, and our queue on it."""

    def __init__(self, pack: ModuleType) -> None:
        self.backend: Any = importlib.import_module(f"{pack.__name__}.lorchestra.service.backend")
        self.loop = asyncio.new_event_loop()
        self.signals: list[Any] = []
        self.queue: Any = importlib.import_module(f"{pack.__name__}.nodes.host.queue").Queue()

        async def start() -> Any:
            return import_server().PromptServer(asyncio.get_running_loop())

        self.server = self.loop.run_until_complete(start())
        self.server.prompt_queue = execution.PromptQueue(self.server)
        self.loop.run_until_complete(self._listen())

    async def _listen(self) -> None:
        self.queue.listen(self.signals.append)

    def submit(self, graph: Any, **secrets: str) -> str:
        job = str(uuid.uuid4())

        self.loop.run_until_complete(self.queue.submit(job, graph, secrets))
        return job

    def run_next(self) -> None:
        """What ComfyUI's worker does with the next prompt, and what its server sends of it."""
        item, number = self.server.prompt_queue.get()
        extra = {**item[3], **(item[5] if len(item) > 5 else {})}
        arguments = inspect.signature(execution.PromptExecutor).parameters
        sizes = {"cache_args": {"lru": 0, "ram": 2.0, "ram_inactive": 2.0}} if "cache_args" in arguments else {}
        executor = execution.PromptExecutor(self.server, cache_type=execution.CacheType.CLASSIC, **sizes)
        executor.execute(item[2], item[1], extra, item[4])
        said = "success" if executor.success else "error"
        status = execution.PromptQueue.ExecutionStatus(said, executor.success, executor.status_messages)
        self.server.prompt_queue.task_done(number, executor.history_result, status=status)
        self.send()

    def send(self) -> None:
        """Sends what waits to be sent."""

        async def all_of_it() -> None:
            await asyncio.sleep(0.01)
            while not self.server.messages.empty():
                await self.server.send(*self.server.messages.get_nowait())

        self.loop.run_until_complete(all_of_it())

    def of(self, kind: str) -> list[Any]:
        return [signal for signal in self.signals if isinstance(signal, getattr(self.backend, kind))]


@pytest.fixture
def host(pack: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    comfyui = import_server()
    before = getattr(comfyui.PromptServer, "instance", None)
    folder_paths_before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    found = Host(pack)
    yield found
    found.loop.close()
    folder_paths.set_output_directory(folder_paths_before)
    if before is None:
        del comfyui.PromptServer.instance
    else:
        comfyui.PromptServer.instance = before


def test_a_job_waits_runs_and_ends(host: Host, tmp_path: Path) -> None:
    first, second = host.submit(EMPTY), host.submit(EMPTY)
    assert host.queue.positions() == {first: 1, second: 2}
    assert host.queue.find_end(first) is None
    host.run_next()
    assert host.queue.positions() == {second: 1}
    ended = host.queue.find_end(first)
    assert (ended.job, ended.was_canceled, ended.failure) == (first, False, None)
    (made,) = ended.files
    assert (made.node, made.type, made.folder) == ("2", "image", "output")
    assert host.queue.find_file(made).parent == tmp_path.resolve()
    assert [signal.job for signal in host.of("Started")] == [first]
    assert host.of("Stepped")[-1].nodes["2"].is_done
    assert [signal.files for signal in host.of("Produced")] == [ended.files]
    assert host.of("Changed")


def test_a_job_is_taken_from_the_queue_or_interrupted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = host.submit(EMPTY), host.submit(EMPTY)
    assert host.queue.cancel(second) == "canceled"
    assert host.queue.cancel(second) == "gone"
    asked: list[bool] = []
    monkeypatch.setattr(nodes, "interrupt_processing", lambda value=True: asked.append(value))
    host.server.prompt_queue.get()
    assert host.queue.positions() == {first: 0}
    assert host.queue.cancel(first) == "canceling"
    assert asked == [True]


def test_what_comfyui_refuses_is_not_queued(host: Host) -> None:
    for graph in (
        {"1": EMPTY["1"]},
        {"1": {"class_type": "NoSuchNode", "inputs": {}, "_meta": 5}},
        {**EMPTY, "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}},
    ):
        with pytest.raises(host.backend.GraphRefused) as raised:
            host.submit(graph)
        assert raised.value.message
    assert host.queue.positions() == {}


def test_keys_of_paid_services_are_in_no_history(host: Host) -> None:
    host.submit(EMPTY, api_key_comfy_org="secret-key")
    (item,) = host.server.prompt_queue.queue
    if len(item) > 5:  # ComfyUI 0.3.64 has no place for them but beside all else
        assert "secret-key" not in str(item[:5])


def test_a_file_outside_of_comfyuis_folders_is_not_given(host: Host, tmp_path: Path) -> None:
    made = host.backend.Made
    (tmp_path.parent / "secret.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path.parent / "secret.png")
    elsewhere = (
        ("../secret.png", "", "output"),
        ("secret.png", "..", "output"),
        (str(tmp_path.parent / "secret.png"), "", "output"),
        ("link.png", "", "output"),
        ("secret.png", "", "models"),
        ("", "", "output"),
    )
    for name, subfolder, folder in elsewhere:
        assert host.queue.find_file(made("2", "image", name, subfolder, folder)) is None


def test_a_preview_comes_with_its_job(host: Host) -> None:
    from PIL import Image

    job = host.submit(EMPTY)
    picture = ("JPEG", Image.new("RGB", (8, 8)), None)
    host.server.send_sync(4, (picture, {"node_id": "1", "prompt_id": job}), host.queue._client)
    host.server.send_sync(1, b"\0\0\0\1nobody's", host.queue._client)
    host.send()
    (preview,) = host.of("Previewed")
    assert (preview.job, preview.node, preview.content_type) == (job, "1", "image/jpeg")
    assert preview.data.startswith(b"\xff\xd8")
