"""A worker takes a job that was begun before: the picture that is there is fetched, and none is made twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.impostor import Impostor, entry

from lorchestra.service.fleet import broker, former, run
from lorchestra.service.fleet.former import is_local, is_same
from lorchestra.service.fleet.kept import Kept
from lorchestra.service.fleet.table import ENDED, REPLACED, RUNNING, WAITING, Order, Table
from lorchestra.service.fleet.twins import find_twin
from lorchestra.service.fleet.worker import Worker, WorkerRefused

GRAPH = {"2": {"class_type": "SaveImage", "inputs": {}}}
INFO = {"SaveImage": {"input": {}}}


class Stage:
    """Two ComfyUIs, the worker of the second, and a job that the first one's worker has lost."""

    def __init__(self, folder: Path, first: Impostor, second: Impostor) -> None:
        self.first, self.second = first, second
        self.table = Table(f"sqlite:///{folder / 'fleet.sqlite'}")
        self.table.make()
        self.kept = Kept(str(folder / "files"), folder)
        self.app = broker.make_app(None, folder / "broker")
        self.worker = Worker(self.table, self.kept, self.app, second.url)
        self.worker.join()
        self.job = str(uuid.uuid4())
        self.table.add(self.job, GRAPH, "any", 0, 30)

    def begin_at(self, url: str) -> Order:
        """The first worker begins the job, and is lost."""
        claimed = self.table.claim("first", ["any"])
        assert claimed
        assert self.table.begin(claimed[0], "first", url)
        assert self.table.lose(self.job, "first", 2, "lost") == WAITING
        self.table.move(self.job, "any")
        return claimed[0]

    def end(self) -> dict[str, Any]:
        state, end = self.table.find_end(self.job)
        assert state == ENDED and end, (state, end)
        return end

    def picture(self) -> bytes:
        (made,) = self.end()["files"]
        path = self.kept.find(f"{made['subfolder']}/{made['name']}")
        assert path
        return path.read_bytes()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(former, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(former, "_SECONDS", 0.5)
    with Impostor(info=INFO, data=b"first") as first, Impostor(info=INFO, data=b"second") as second:
        yield Stage(tmp_path, first, second)


def test_what_is_done_there_is_fetched(stage: Stage) -> None:
    stage.first.history[stage.job] = entry(stage.job)
    stage.begin_at(stage.first.url)
    left = stage.kept.folder / "outputs" / stage.job / "0" / "half.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of the attempt that was lost")
    stage.worker.take("any")
    assert stage.picture() == b"first" and not stage.second.prompts and not stage.first.prompts
    assert not left.exists()


def test_what_runs_there_is_followed(stage: Stage) -> None:
    looks = 0

    def go_on(first: Impostor, path: str) -> bool:
        nonlocal looks
        looks += path == "/queue"
        if looks > 3 and stage.job in first.running:  # in one step, as ComfyUI does it
            first.running.clear()
            first.history[stage.job] = entry(stage.job)
        return False

    stage.first.running.append(stage.job)
    stage.first.hangs = go_on
    stage.begin_at(stage.first.url)
    stage.worker.take("any")
    assert stage.picture() == b"first" and not stage.second.prompts


@pytest.mark.parametrize("what", ["gone", "silent", "forgotten", "dies"])
def test_it_is_drawn_anew_where_it_is_not_known_any_more(stage: Stage, what: str) -> None:
    if what == "gone":
        stage.first.stop()
    elif what == "silent":
        stage.first.hangs = lambda _, path: True
    elif what == "dies":
        stage.first.running.append(stage.job)
        stage.first.hangs = lambda first, path: path == "/ws" and bool(first.running.clear() or True)
        stage.first.on_socket = None
    stage.begin_at(stage.first.url)
    if what == "dies":  # known at the first look, and started again before the second
        stage.first.hangs = lambda first, path: path == "/ws" and first.running.clear() is not None
    stage.worker.take("any")
    assert stage.picture() == b"second" and stage.second.prompts == [stage.job] and not stage.first.prompts
    assert stage.table.find_orders([stage.job]) == [(stage.job, ENDED, stage.second.url)]


def test_on_the_same_comfyui_it_is_not_sent_again(stage: Stage) -> None:
    stage.second.history[stage.job] = entry(stage.job)
    stage.begin_at(stage.second.url.replace("127.0.0.1", "localhost"))
    stage.worker.take("any")
    assert stage.picture() == b"second" and not stage.second.prompts


def test_what_was_never_begun_is_no_attempt(stage: Stage) -> None:
    stage.second.stop()
    stage.worker.take("any")
    assert stage.table.find_end(stage.job) == (WAITING, None)
    stage.table.move(stage.job, "any")
    claimed = stage.table.claim("other", ["any"])
    assert claimed and claimed[0].attempt == 1


def test_an_order_that_another_has_by_now_is_not_begun(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever slept while the door took it for lost finds that out before it sends anything."""
    look = stage.worker._inventory.missing

    def slow(graph: Any) -> Any:
        stage.table.lose(stage.job, stage.worker.id, 2, "lost")
        stage.table.move(stage.job, "any")
        assert stage.table.claim("other", ["any"])
        return look(graph)

    monkeypatch.setattr(stage.worker._inventory, "missing", slow)
    stage.worker.take("any")
    assert not stage.second.prompts
    assert stage.table.held("other") == [stage.job]


def test_an_answer_that_nobody_thought_of_is_a_sentence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_(_: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "uploads_of", break_)
    for _ in range(2):
        stage.table.move(stage.job, "any")
        stage.worker.take("any")
    said = stage.end()["failure"]["message"]
    assert "could not run the job (ZeroDivisionError). It was tried 2 times." in said


def test_what_nobody_waits_for_is_taken_from_a_comfyui(stage: Stage) -> None:
    """Jobs that ended without it, or run elsewhere, would hold it up; what others have queued there is left alone."""
    ended, elsewhere, here, foreign = (str(uuid.uuid4()) for _ in range(4))
    for job in (elsewhere, here, ended):
        stage.table.add(job, GRAPH, "two", 0, 30)
        claimed = stage.table.claim("first", ["two"])
        assert claimed
        stage.table.begin(claimed[0], "first", stage.second.url if job == here else stage.first.url)
    stage.table.lose(ended, "first", 1, "lost")
    stage.second.running.append(ended)
    stage.second.pending += [elsewhere, here, foreign]
    fresh = Worker(stage.table, stage.kept, stage.app, stage.second.url)
    fresh.join()
    assert (stage.second.interrupted, stage.second.deleted) == ([ended], [elsewhere])
    assert stage.table.find_orders([here]) == [(here, RUNNING, stage.second.url)]


def test_a_comfyui_has_one_worker(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.worker
    known = first.id, first._url, "here"
    assert find_twin(stage.table, *known) is None, "one that was killed says nothing any more"
    beats = iter(range(2, 100))

    def sleep(_: float) -> None:
        number = next(beats)
        stage.table.beat(first.id, number, "ready", None, first._facts())

    monkeypatch.setattr("lorchestra.service.fleet.twins.time.sleep", sleep)
    with pytest.raises(
        WorkerRefused, match=r"has a worker already, '.*', and needs no other\. To let that one leave: "
    ):
        Worker(stage.table, stage.kept, stage.app, stage.second.url).join()
    by_name = stage.second.url.replace("127.0.0.1", "localhost")
    assert find_twin(stage.table, "other", by_name, str(first._facts()["host"])) == first.id
    assert find_twin(stage.table, "other", by_name, "another machine") is None
    monkeypatch.undo()
    second = Worker(stage.table, stage.kept, stage.app, stage.second.url)
    second._say_all()  # one that came while the first was too busy to say that it lives
    assert stage.table.beat(first.id, 200, "ready", None, first._facts()) == (REPLACED, False)
    assert stage.table.beat(second.id, 201, "ready", None, second._facts()) == ("ready", False)


def test_addresses() -> None:
    assert is_same("http://127.0.0.1:8188", "http://localhost:8188/") and is_same("http://gpu1", "http://GPU1:80")
    assert not is_same("http://127.0.0.1:8188", "http://127.0.0.1:8189")
    assert is_local("http://[::1]:8188") and not is_local("http://gpu1:8188")
