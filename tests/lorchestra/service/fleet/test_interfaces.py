"""ComfyUIs whose nodes differ: the difference in words, which of them a graph goes to, and workers that are refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fleet import answering, as_json

from lorchestra import __version__
from lorchestra.service.fleet import broker, peers, worker
from lorchestra.service.fleet.interfaces import Interfaces, find_difference, find_matching
from lorchestra.service.fleet.kept import Kept
from lorchestra.service.fleet.table import AWAY, READY, Table
from lorchestra.service.fleet.worker import Worker, WorkerRefused


def node(module: str = "nodes", outputs: Any = ("IMAGE",), optional: Any = None, **inputs: Any) -> Any:
    return {
        "input": {"required": inputs, "optional": optional or {}, "hidden": {"prompt": "PROMPT"}},
        "output": list(outputs), "output_is_list": [False] * len(outputs), "output_node": False,
        "python_module": module,
    }  # fmt: skip


PLAIN: dict[str, Any] = {
    "Load": node(name=[["a.safetensors"], {}]),
    "Blur": node("custom_nodes.ComfyUI-Blur", image=["IMAGE"], radius=["INT", {"max": 8}]),
}
SHARP = {name: node("custom_nodes.Sharp") for name in ("S1", "S2", "S3", "S4", "S5", "S6", "S7")}
BLUR_2 = {"Blur": node("custom_nodes.ComfyUI-Blur", image=["IMAGE"], radius=["INT", {}], passes=["INT", {}])}


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (PLAIN, PLAIN, None),
        (PLAIN | {"Load": node(name=["COMBO", {"options": ["b.safetensors"]}])}, PLAIN, None),
        (PLAIN | {"Blur": node("custom_nodes.b", image=["IMAGE", {"tooltip": ""}], radius=["INT", {}])}, PLAIN, None),
        (PLAIN, PLAIN | SHARP, "missing: 7 of Sharp (S1, S2, S3, S4, S5 and 2 more)"),
        (PLAIN | SHARP, PLAIN | BLUR_2,
         "more: 7 of Sharp (S1, S2, S3, S4, S5 and 2 more); otherwise defined: 1 of ComfyUI-Blur (Blur)"),
        (PLAIN | {"Load": node(outputs=("MASK",), name=[[], {}])}, PLAIN, "otherwise defined: 1 of ComfyUI (Load)"),
        (PLAIN | {"Load": node(optional={"name": [[], {}]})}, PLAIN, "otherwise defined: 1 of ComfyUI (Load)"),
        ({}, PLAIN, "missing: 1 of ComfyUI (Load), 1 of ComfyUI-Blur (Blur)"),
        ({"Load": 3}, {"Load": []}, None),
    ],
)  # fmt: skip
def test_a_difference_in_words(own: Any, others: Any, said: str | None) -> None:
    difference = find_difference(Interfaces(own), Interfaces(others))
    assert (None if difference is None else str(difference)) == said


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"image": ["2", 0], "radius": 3}, ["a", "b"]),
        ({"image": ["2", 0], "radius": 3, "passes": 2}, ["c", "d"]),
        ({"image": ["2", 0]}, ["a", "b"]),
    ],
)
def test_a_graph_goes_to_one_definition_of_its_nodes(inputs: Any, found: list[str]) -> None:
    old, new = Interfaces(PLAIN), Interfaces(PLAIN | BLUR_2 | SHARP)
    able = {"a": old, "b": old, "c": new, "d": new}
    graph = {"1": {"class_type": "Blur", "inputs": inputs}}
    assert find_matching(graph, able, ["a", "b"]) == found
    assert find_matching({"1": {"class_type": "Load", "inputs": {"name": "a"}}}, able, ["a"]) == list(able)


class Server:
    """A server that answers as a ComfyUI with these nodes does."""

    def __init__(self, nodes: Any) -> None:
        self.nodes = nodes
        self.version = "0.33.0"

    def answer(self, path: str) -> tuple[int, bytes]:
        system = {"comfyui_version": self.version, "pytorch_version": "2.9"}
        said = {
            "/lorchestra/about": {"version": __version__}, "/object_info": self.nodes, "/queue": {},
            "/system_stats": {"system": system, "devices": []}, "/lorchestra/identities": {"loras": {"is_read": True}},
        }.get(path)  # fmt: skip
        return (404, b"{}") if said is None else (200, as_json(said))


@contextmanager
def beating(table: Table, own: str) -> Generator[None]:
    """A worker that counts on."""
    is_over = threading.Event()
    (first,) = [beat for beat in table.workers() if beat.id == own]

    def beat() -> None:
        number = first.beat
        while not is_over.wait(0.1):
            number += 1
            table.beat(own, number, READY, None, first.facts)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_worker_with_other_nodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(f"sqlite:///{tmp_path / 'fleet.sqlite'}")
    table.make()
    monkeypatch.setattr(peers, "_LOOK_SECONDS", 0.2)
    first, second = Server(PLAIN), Server(PLAIN | SHARP)
    second.version = "0.34.0"

    def make(url: str, allows_other_nodes: bool = False) -> Worker:
        kept, app = Kept(str(tmp_path), tmp_path), broker.make_app(None, tmp_path / "broker")
        return Worker(table, kept, app, url, allows_other_nodes=allows_other_nodes)

    with answering(first.answer) as one, answering(second.answer) as other:
        make(one).join()
        (joined,) = table.workers()
        with beating(table, joined.id):
            with pytest.raises(WorkerRefused, match=r"other nodes than .*: more: 7 of Sharp \(S1") as caught:
                make(other).join()
            assert joined.id in str(caught.value) and "--allow-other-nodes" in str(caught.value)
            assert len(table.workers()) == 1
            make(other, True).join()
            others = make(other)
            second.nodes = PLAIN
            others.join()
            assert [beat.facts["versions"] for beat in table.workers()].count("ComfyUI 0.34.0, PyTorch 2.9") == 1
            # Its ComfyUI is started again with other nodes, and then once more with the same ones.
            monkeypatch.setattr(worker, "_AWAY_SECONDS", 0.02)
            monkeypatch.setattr(worker, "_INFO_SECONDS", 0.02)
            monkeypatch.setattr(worker, "_REFUSED_SECONDS", 0.02)
            thread = threading.Thread(target=others._looks)
            thread.start()
            try:
                second.nodes = PLAIN | BLUR_2
                until(lambda: others._problem is not None)
                assert others._state == AWAY and "otherwise defined: 1 of ComfyUI-Blur (Blur)" in str(others._problem)
                second.nodes = PLAIN
                until(lambda: others._state == READY)
            finally:
                others._ended.set()
                thread.join()
        second.nodes = PLAIN | SHARP
        make(other).join()  # what the first said last is no reason: it is not there any more


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
