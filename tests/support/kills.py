"""SIGKILLs at random moments of a fleet under load, and what must hold of its jobs afterwards."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Fleet
from support.live_service import EMPTY, pixels

from lorchestra.demo.comfyui import Server
from lorchestra.demo.prompt import demo_prompt

_GONE = (OSError, http.client.HTTPException, urllib.error.URLError)
"""What a client sees of a door that is killed."""
_MOST = 5
"""Jobs that wait or run at one time."""
_PREVIEW = {"8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}}
"""The end of a graph whose picture is only looked at."""
LOST = ("was lost while it ran the job, and so was another attempt", "It was tried 2 times")
UNQUEUED = "The job was not queued"


@dataclass
class Sent:
    """One request, as its client knows it."""

    token: str
    """In the names of its files."""
    seed: int
    is_drawn: bool
    """By a sampler; else pictures of one colour, two of them."""
    job: str | None = None
    """None if no answer came."""

    def graph(self) -> dict[str, Any]:
        if self.is_drawn:
            return demo_prompt([], steps=1 + self.seed % 5, width=64, height=64, seed=self.seed, prefix=self.token)
        graph = json.loads(json.dumps(EMPTY))
        graph["1"]["inputs"]["color"] = self.seed % 0xFFFFFF
        graph["2"]["inputs"]["filename_prefix"] = self.token
        return graph | {"3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": self.token}}}

    @property
    def files(self) -> int:
        return 1 if self.is_drawn else 2


@dataclass
class Kill:
    """One process that was killed, by the wall clock."""

    what: str
    name: str
    at: float
    back: float = 0.0
    """When it was there again."""


class Redis:
    """A Redis that keeps nothing on disk: what is in it when it is killed is lost."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            message = "redis-server is not installed: on Debian, apt-get install redis-server"
            pytest.fail(message) if os.environ.get("REQUIRE_COMFYUI") == "1" else pytest.skip(message)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self.options = ("--broker", self.url, "--database", f"sqlite:///{folder / 'shared.sqlite'}")
        """Of a door and workers that use it."""
        self._command = [binary, "--port", str(port), "--save", "", "--dir", str(folder)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(20)

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def kill_comfyui(server: Server) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


@dataclass
class Siege:
    """A fleet under load, whose parts are killed."""

    fleet: Fleet
    servers: Sequence[Server]
    redis: Redis | None
    seed: int
    delays: tuple[float, ...] = (0.0, 0.5, 12.0)
    """After which a worker is started again: before anybody notices, or after."""
    sent: list[Sent] = field(default_factory=list["Sent"])
    kills: list[Kill] = field(default_factory=list["Kill"])
    recoveries: list[float] = field(default_factory=list[float])
    """Seconds from a kill of the door to its next answer."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._run = f"k{self.seed % 100_000:05d}x{time.time_ns() % 100_000_000:08d}"
        self._port = int(self.fleet.service.url.rpartition(":")[2].partition("/")[0])
        self._is_over = threading.Event()

    # Load.

    @contextlib.contextmanager
    def load(self) -> Generator[None]:
        """Sends jobs all the time, as far as few wait."""
        failed: list[BaseException] = []

        def send() -> None:
            rng = random.Random(self.seed + 1)
            try:
                while not self._is_over.wait(rng.uniform(0.02, 0.2)):
                    with contextlib.suppress(*_GONE):
                        status = self.fleet.status()
                        if sum(status["waiting"].values()) + status["running"] < _MOST:
                            self._send(rng)
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(30)
        assert not failed, failed

    def _send(self, rng: random.Random) -> None:
        """Half of the clients send an `Idempotency-Key`, and so ask again until they have an answer."""
        number = len(self.sent)
        sent = Sent(f"{self._run}-{number:05d}-", rng.randrange(1, 2**31), rng.random() < 0.7)
        self.sent.append(sent)
        key = sent.token if rng.random() < 0.5 else None
        while True:
            try:
                named = {"Idempotency_Key": key} if key else {}
                answer = self.fleet.ask("POST", "/api/v2/jobs", {"workflow": sent.graph()}, **named)
            except _GONE:
                if key is None:
                    return
                time.sleep(0.1)
                continue
            if answer.status == 422 and answer.json["error"]["code"] == "idempotency_key_reuse":
                sent.job = answer.json["error"]["details"]["job_id"]
                return
            if answer.status == 503 and key is not None:  # starting, or no worker is there
                time.sleep(0.1)
                continue
            assert answer.status in (201, 503), answer.content
            sent.job = answer.json["id"] if answer.status == 201 else None
            return

    # Kills.

    def kill(self, what: str, count: int, pause: tuple[float, float] = (0.2, 3.0)) -> None:
        """Kills one of a kind so often, each time after a random pause, and starts it again."""
        for _ in range(count):
            time.sleep(self._random.uniform(*pause))
            done = getattr(self, f"_kill_{what}")()
            self.kills.append(done)
            print(f"  {what} {done.name}: back after {done.back - done.at:.1f} s", flush=True)

    def _kill_worker(self) -> Kill:
        server = self._random.choice(self.servers)
        name = f"worker-{server.url.rpartition(':')[2]}"
        at = time.time()
        self.fleet.kill(name)
        time.sleep(self._random.choice(self.delays))
        self.fleet.start_worker(server.url)
        return Kill("worker", name, at, time.time())

    def _kill_comfyui(self) -> Kill:
        server = self._random.choice(self.servers)
        at = time.time()
        kill_comfyui(server)
        time.sleep(self._random.choice((0.0, 1.0, 3.0)))
        server.__enter__()
        return Kill("comfyui", server.url, at, time.time())

    def _kill_door(self) -> Kill:
        at = time.time()
        self.fleet.kill("door")
        self.fleet.start_door(port=self._port)
        assert self.fleet.ask("GET", "/fleet").status == 200
        self.recoveries.append(time.time() - at)
        time.sleep(self._random.uniform(0.0, 1.0))
        return Kill("door", "door", at, time.time())

    def _kill_redis(self) -> Kill:
        assert self.redis
        at = time.time()
        self.redis.kill()
        time.sleep(self._random.choice((0.0, 0.5, 2.0)))
        started = time.time()
        assert self.fleet.ask("GET", "/fleet").status == 200
        self.recoveries.append(time.time() - started)
        self.redis.start()
        return Kill("redis", "redis", at, time.time())

    # Afterwards.

    def check(self, drawn: int = 3) -> dict[str, Any]:
        """Asserts what must hold, when all has ended, and gives figures; so many drawn pictures are drawn again."""
        jobs = self._wait_for_all()
        known = {one.job: one for one in self.sent if one.job}
        assert all(job in jobs for job in known), "a job that was accepted is not known any more"
        by_status: dict[str, int] = {}
        failures: list[str] = []
        checked = 0
        for job, sent in known.items():
            found = self.fleet.job(job)
            by_status[found["status"]] = by_status.get(found["status"], 0) + 1
            assert found["status"] in ("succeeded", "failed"), found
            if found["status"] == "failed":
                failures.append(found["error"]["message"])
                assert any(said in failures[-1] for said in (*LOST, UNQUEUED)), found
                continue
            assert len(found["outputs"]) == sent.files, (sent, found)
            pictures = [self.fleet.ask("GET", output["url"]) for output in found["outputs"]]
            assert all(one.status == 200 for one in pictures), (found, [one.content[:200] for one in pictures])
            seen = [pixels(one.content) for one in pictures]
            if not sent.is_drawn:
                colour = (sent.seed % 0xFFFFFF).to_bytes(3, "big")
                assert seen == [colour * 64 * 64] * 2, sent
            elif checked < drawn:
                checked += 1
                other = next((one for one in self.servers if not self._files(one, sent.token)), self.servers[0])
                (alone,) = other.run(sent.graph() | _PREVIEW)["8"]["images"]
                assert seen == [pixels(other.view(alone))], sent
        twice = self._made_twice(known)
        assert not twice["unexplained"], twice
        assert checked or not drawn
        kinds = sorted({kill.what for kill in self.kills})
        return {
            "seed": self.seed, "sent": len(self.sent), "accepted": len(known), "by_status": by_status,
            "unqueued": sum(UNQUEUED in one for one in failures),
            "hit_twice": sum(UNQUEUED not in one for one in failures),
            "kills": {kind: sum(kill.what == kind for kill in self.kills) for kind in kinds},
            "drawn_again_after_its_comfyui_was_killed": twice["explained"],
            "resumed": self._resumed(jobs), "door_back": _spread(self.recoveries),
        }  # fmt: skip

    def _wait_for_all(self) -> dict[str, dict[str, Any]]:
        """All jobs by the door's own file, those too of which no client heard; each has one end in the table."""
        end = time.monotonic() + 180
        while True:
            rows = _rows(self.fleet.folder / "jobs.sqlite", "SELECT id, status, data FROM jobs")
            jobs = {job: json.loads(data) for job, _, data in rows}
            orders = _rows(self.fleet.database, "SELECT job, state FROM lorchestra_orders")
            left = [job for job, status, _ in rows if status not in ("succeeded", "failed", "canceled")]
            left += [job for job, state in orders if state != "ended"]
            if not left:
                assert len(orders) == len({job for job, _ in orders})
                return jobs
            assert time.monotonic() < end, {job: self.fleet.job(job) for job in left}
            time.sleep(0.3)

    def _files(self, server: Server, token: str) -> list[Path]:
        """What a ComfyUI has made of a request."""
        return list((server.base / "output").glob(f"{token}*.png"))

    def _made_twice(self, known: dict[str, Sent]) -> dict[str, Any]:
        """Jobs of which the ComfyUIs' folders have more files than one run makes.

        A ComfyUI that is killed after it wrote a picture, and before anybody had it, has forgotten it.
        """
        unexplained, explained = list[Any](), 0
        for sent in self.sent:
            files = [
                (server.url, path.stat().st_mtime)
                for server in self.servers
                for path in self._files(server, sent.token)
            ]
            more = len(files) - sent.files
            if more <= 0:
                continue
            lost = [
                (url, at) for url, at in files
                if any(kill.name == url and at <= kill.at <= at + 3 for kill in self.kills)
            ]  # fmt: skip
            if more <= len(lost):
                explained += 1
            else:
                unexplained.append((sent, files, lost))
        return {"unexplained": unexplained, "explained": explained}

    def _resumed(self, jobs: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
        """By kind, the seconds from a kill to the end of the next job that began after it."""
        ended = [job for job in jobs.values() if job["started"] and job["completed"]]
        runs = sorted((job["started"], job["completed"]) for job in ended)
        found: dict[str, list[float]] = {}
        for kill in self.kills:
            after = [ended - kill.at for began, ended in runs if began > kill.at]
            if after:
                found.setdefault(kill.what, []).append(min(after))
        return {what: _spread(seconds) for what, seconds in found.items()}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {"median": round(ordered[len(ordered) // 2], 2), "most": round(ordered[-1], 2), "count": len(ordered)}


def _rows(path: Path, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as connection:
        return connection.execute(query).fetchall()
