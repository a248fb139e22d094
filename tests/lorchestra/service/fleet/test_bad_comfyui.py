"""A ComfyUI that answers garbage, hangs, or is of another version; results that cannot be kept: each is a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.fleet import answering, as_json
from support.impostor import Impostor, entry

from lorchestra.service.backend import Ended, Made, Signal
from lorchestra.service.fleet import broker
from lorchestra.service.fleet.comfyui import ComfyUI, ComfyUIError, ComfyUIStuck
from lorchestra.service.fleet.kept import Kept, KeptError, output_name
from lorchestra.service.fleet.table import Table
from lorchestra.service.fleet.worker import Worker, WorkerRefused

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorchestra.service.fleet.comfyui._HISTORY_SECONDS", 0.1)


def nothing(_: Signal) -> None:
    return


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda _: None, "has not answered for 0.3 seconds: it hangs"),
        (lambda _: (200, b"<html>"), "answers '<html>', which is no JSON. Is it a ComfyUI?"),
        (lambda _: (200, b"[1]"), "expected a JSON object"),
        (lambda _: (500, b"oh"), "answers HTTP 500: oh"),
        (lambda path: (200, as_json({path[9:]: {"prompt": 3}})), "has a history that cannot be read"),
        (lambda path: (404, b"") if "/ws" in path else (200, b"{}"), "does not answer"),
    ],
    ids=["hangs", "html", "list", "500", "history", "no socket"],
)
def test_a_run_on_what_is_no_comfyui(answer: Callable[[str], tuple[int, bytes] | None], sentence: str) -> None:
    async def run(url: str) -> None:
        async with ComfyUI(url, seconds=0.3) as comfyui:
            await comfyui.run("job", GRAPH, nothing, lambda: False, 10)

    with answering(answer) as url, pytest.raises(ComfyUIError) as caught:
        asyncio.run(run(url))
    assert sentence in str(caught.value) and url in str(caught.value)


async def rubbish(socket: web.WebSocketResponse) -> None:
    """What other packs and broken servers may send; the last one is larger than what is read."""
    for data in (b"", b"\0\0\0\4", b"\0\0\0\4\0\0\0\2[]", b"\0\0\0\4\xff\xff\xff\xff{", b"\0\0\0\1" + b"x" * 99):
        await socket.send_bytes(data)
    for text in ("", "{", "[1]", "[" * 20_000, '{"type": "progress_state", "data": {"prompt_id": "job", "nodes": 3}}'):
        await socket.send_str(text)
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(b"\0" * 33_000_000)


def run_at(impostor: Impostor, seconds: float = 30.0, answer_seconds: float = 0.5) -> Ended:
    async def run() -> Ended:
        async with ComfyUI(impostor.url, seconds=answer_seconds) as comfyui:
            return await comfyui.run("job", GRAPH, nothing, lambda: False, seconds)

    return asyncio.run(run())


def queues(self: Impostor, job: str) -> None:
    self.running.append(job)


def test_a_socket_that_sends_rubbish_and_breaks_off_ends_no_job() -> None:
    def ends_soon(self: Impostor, job: str) -> None:
        self.running.append(job)

        def end() -> None:
            self.running.clear()
            self.history[job] = entry(job)

        threading.Timer(1.0, end).start()

    with Impostor(on_prompt=ends_soon, on_socket=rubbish) as impostor:
        ended = run_at(impostor, answer_seconds=5.0)
    assert [made.name for made in ended.files] == ["one.png"] and impostor.prompts == ["job"]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"on_prompt": lambda self, job: web.Response(status=500, text="oh")}, "/prompt answers HTTP 500: oh"),
        ({"on_prompt": lambda self, job: web.Response(text="<html>")}, "has forgotten the job"),
        ({"on_prompt": queues, "hangs": lambda self, path: path == "/queue" and bool(self.running)}, "it hangs"),
        ({"hangs": lambda self, path: path == "/prompt"}, "it hangs"),
        ({"hangs": lambda self, path: path == "/ws"}, "it hangs"),
        *(
            (
                {"on_prompt": lambda self, job, made=made: self.history.update({job: made})},
                "a history that cannot be read",
            )
            for made in (
                {"prompt": []},
                {"prompt": [0, 1, 2, 3, 4]},
                entry("job", outputs=[1]),
                entry("job") | {"status": [1]},
                entry("job") | {"status": {"messages": [1]}},
                entry("job") | {"status": {"messages": [["execution_error", 3]]}},
            )
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_comfyui_that_goes_wrong_in_the_middle(bad: Any, sentence: str) -> None:
    with Impostor(**bad) as impostor, pytest.raises(ComfyUIError) as caught:
        run_at(impostor)
    assert sentence in str(caught.value) and impostor.url in str(caught.value)


def test_a_node_that_does_not_hear_that_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorchestra.service.fleet.comfyui._STOP_SECONDS", 0.6)
    with Impostor(on_prompt=queues) as impostor, pytest.raises(ComfyUIStuck) as caught:
        run_at(impostor, seconds=0.3)
    assert impostor.interrupted == ["job"]
    assert "ran longer than 0.3 seconds, and could not be interrupted. Start the ComfyUI at" in str(caught.value)


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000000"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport
    request.transport.close()
    return response


async def hang(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    await asyncio.sleep(20)
    return response


@pytest.mark.parametrize("view", [cut_off, hang])
def test_a_file_that_breaks_off_is_not_kept(tmp_path: Path, view: Any) -> None:
    kept = Kept(str(tmp_path / "files"), tmp_path)

    async def keep(url: str) -> None:
        async with ComfyUI(url, seconds=0.5) as comfyui:
            await kept.write("outputs/job/0/a.png", comfyui.fetch(Made("1", "image", "a.png")))

    with Impostor(on_view=view) as impostor, pytest.raises(ComfyUIError, match=r"does not answer|it hangs"):
        asyncio.run(keep(impostor.url))
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def test_a_full_disk_ends_a_job_with_a_sentence_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """The system lets this process write no file of more than 4 MB, as a small disk would."""
    table = Table(f"sqlite:///{tmp_path / 'fleet.sqlite'}")
    table.make()
    kept = Kept(str(tmp_path / "files"), tmp_path)
    outputs = {"2": {"images": [{"filename": name, "type": "output"} for name in ("a.png", "b.png")]}}
    sizes = iter((10, 6_000_000, 10, 10))

    async def view(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * next(sizes))

    def ends(self: Impostor, job: str) -> None:
        self.history[job] = entry(job, outputs)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Impostor(on_prompt=ends, on_view=view, info={"EmptyImage": {}}) as impostor:
        worker = Worker(table, kept, broker.make_app(None, tmp_path / "broker"), impostor.url)
        worker.join()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
        try:
            for job in ("large", "small"):
                table.add(job, GRAPH, "any", 0, 30)
                worker.take("any")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    _, end = table.find_end("large")
    said = end["failure"]["message"] if end else ""
    assert said.startswith("what was made cannot be kept: ")
    assert said.endswith(
        "1/b.png: the file cannot be written (File too large). Free its disk, or let workers write there."
    )
    assert not (tmp_path / "files/outputs/large").exists(), "half of a job's files is of no use"
    _, end = table.find_end("small")
    assert end and end["failure"] is None and len(end["files"]) == 2


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ((404, b"404"), "has no Lorchestra, or one that is older than workers"),
        ((200, as_json({"version": "9.9.9"})), "has Lorchestra 9.9.9, and this worker is"),
    ],
)
def test_a_worker_of_another_version_ends(tmp_path: Path, about: tuple[int, bytes], sentence: str) -> None:
    table = Table(f"sqlite:///{tmp_path / 'fleet.sqlite'}")
    table.make()
    kept = Kept(str(tmp_path / "files"), tmp_path)
    with answering(lambda _: about) as url, pytest.raises((WorkerRefused, ComfyUIError)) as caught:
        Worker(table, kept, broker.make_app(None, tmp_path / "broker"), url).join()
    assert sentence in str(caught.value)
    assert table.workers() == []


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def broken(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one
    raise ComfyUIError("it is gone")


def test_results_are_kept_in_a_folder_or_elsewhere(tmp_path: Path) -> None:
    name = output_name("job", 0, "../../a/b c.png")
    assert name == "outputs/job/0/b c.png"
    for kept in (Kept(str(tmp_path / "files"), tmp_path / "cache"), Kept("memory://results", tmp_path / "cache")):
        asyncio.run(kept.write(name, chunks(b"one", b"two")))
        found = kept.find(name)
        assert found and found.read_bytes() == b"onetwo"
        assert kept.find("outputs/job/1/none.png") is None
        kept.remove("job")
        assert kept.find(name) is None
        with pytest.raises(ComfyUIError, match="is gone"):
            asyncio.run(kept.write(name, broken(b"one")))
        assert kept.find(name) is None, "whole or not at all"


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"no folder")
    with pytest.raises(KeptError, match=r"what was made cannot be kept .*Free its disk, or let workers write there"):
        asyncio.run(Kept(str(tmp_path / "files"), tmp_path).write("outputs/job/0/a.png", chunks(b"one")))
    with pytest.raises(KeptError, match="is no place for files"):
        Kept("nowhere://x", tmp_path)
