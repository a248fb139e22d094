"""A door, its workers and ComfyUIs as processes of their own, as an owner starts them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.live_service import ARGUMENTS, Answer, Service, comfyui, fill

from lorchestra.demo.comfyui import Server, pack_root

ROOT = Path(__file__).absolute().parents[2]


@dataclass
class Address:
    """What a `Service` asks of a server."""

    url: str


@dataclass
class Fleet:
    """A door in front of workers; all files are below a folder."""

    folder: Path
    options: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict[str, str])
    """Of processes that are started from now on."""
    logs: Path | None = None
    """Where logs are written; the folder if it is None."""
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict[str, "subprocess.Popen[str]"])
    service: Service = field(default_factory=lambda: Service(Address("")))  # type: ignore[arg-type]

    @property
    def database(self) -> Path:
        """The table that door and workers share."""
        named = [one for one in self.options if one.startswith("sqlite:///")]
        return Path(named[0].removeprefix("sqlite:///")) if named else self.folder / "fleet.sqlite"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        command = [sys.executable, "-m", "lorchestra", *arguments]
        return subprocess.run(command, env=self._env(), capture_output=True, text=True, timeout=60, check=False)

    def start(self, name: str, *arguments: str) -> str:
        """A command that goes on; gives the line with which it says that it is there."""
        command = [sys.executable, "-m", "lorchestra", *arguments, "--folder", str(self.folder), *self.options]
        with self._log(name).open("a") as log:
            process = subprocess.Popen(command, env=self._env(), stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes[name] = process
        assert process.stdout
        line = process.stdout.readline().strip()
        assert line, self.log(name)
        return line

    def start_door(self, *arguments: str, port: int = 0) -> None:
        address = self.start("door", "serve", "--port", str(port), *arguments)
        self.service = Service(Address(address.removesuffix("/lorchestra")))  # type: ignore[arg-type]

    def start_worker(self, comfyui: str, *arguments: str) -> str:
        """A worker that the door knows; gives its id."""
        own = self.start(f"worker-{comfyui.rpartition(':')[2]}", "worker", "--comfyui", comfyui, *arguments)
        self.until(lambda: any(one["id"] == own and one["state"] == "ready" for one in self.status()["workers"]))
        return own

    def begin(self, servers: Sequence[Server]) -> None:
        """The door, and a worker for each of these ComfyUIs."""
        self.start_door()
        for server in servers:
            self.start_worker(server.url)

    def worker_of(self, job: str) -> str:
        """The id of the worker that runs a job, once one does."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [one["id"] for one in self.status()["workers"] if one["job"] == job]
            return bool(found)

        self.until(is_there)
        return found[0]

    def process_of(self, job: str) -> str:
        """The name of that worker's process."""
        return f"worker-{self.worker_of(job).rpartition('-')[2]}"

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def log(self, name: str) -> str:
        return self._log(name).read_text()

    def _log(self, name: str) -> Path:
        return (self.logs or self.folder) / f"{name}.log"

    def status(self) -> Any:
        return self.ask("GET", "/fleet").json

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return self.service.ask(method, path, body, **headers)

    def submit(self, graph: Any, **fields: Any) -> str:
        answer = self.ask("POST", "/api/v2/jobs", {"workflow": graph, **fields})
        assert answer.status == 201, answer.content
        return answer.json["id"]

    def job(self, own: str) -> Any:
        return self.ask("GET", f"/api/v2/jobs/{own}").json

    def until(self, is_so: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, {name: self.log(name)[-3000:] for name in self.processes}
            time.sleep(0.05)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _env(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("LORCHESTRA_")}
        return kept | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"} | self.environ


@contextlib.contextmanager
def two_comfyuis(folder: Path, prepare: Callable[[Path], object] = lambda _: None) -> Generator[list[Server]]:
    """Two ComfyUIs with the same model and one thread each; `prepare` is called with the folder of each before."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two of them, and the tests, would fight over the cores
    opened: list[Server] = []
    try:
        for name in ("a", "b"):
            fill(folder / name)
            prepare(folder / name)
            opened.append(Server(comfyui(), folder / name, pack=pack_root(), arguments=ARGUMENTS).__enter__())
        yield opened
    finally:
        for server in opened:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def answering(answer: Callable[[str], tuple[int, bytes] | None]) -> Generator[str]:
    """A server that is no ComfyUI: what it answers to a path, or None to say nothing at all. Gives its address."""
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

        def do_GET(self) -> None:
            said = answer(self.path)
            if said is None:
                is_over.wait(20)
                return
            self.send_response(said[0])
            self.send_header("Content-Length", str(len(said[1])))
            self.end_headers()
            self.wfile.write(said[1])

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
