"""A ComfyUI that answers garbage, hangs, or is of another version; results that cannot be kept: each is a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.fleet import answering, as_json

from lorchestra.service.backend import Signal
from lorchestra.service.fleet import broker
from lorchestra.service.fleet.comfyui import ComfyUI, ComfyUIError
from lorchestra.service.fleet.kept import Kept, KeptError, output_name
from lorchestra.service.fleet.table import Table
from lorchestra.service.fleet.worker import Worker, WorkerRefused

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}


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


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"no folder")
    with pytest.raises(KeptError, match=r"what was made cannot be kept .*Free its disk, or let workers write there"):
        asyncio.run(Kept(str(tmp_path / "files"), tmp_path).write("outputs/job/0/a.png", chunks(b"one")))
    with pytest.raises(KeptError, match="is no place for files"):
        Kept("nowhere://x", tmp_path)
