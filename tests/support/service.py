"""A service without ComfyUI: a backend whose queue is a list that a test works through by hand, and requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lorchestra.errors import LorchestraError
from lorchestra.limits import Json
from lorchestra.service.backend import (
    Changed,
    Ended,
    Failure,
    Graph,
    GraphRefused,
    Made,
    NodeState,
    Row,
    Signal,
    Started,
    Stepped,
)
from lorchestra.service.http import File, Part, Refusal, Request, Response, Stream
from lorchestra.service.routes import find_route
from lorchestra.service.service import Places, Service


@dataclass
class ListBackend:
    """Runs nothing by itself: `run_next` and `finish` say what happens."""

    folder: Path
    outlives_server: bool = False
    waiting: list[str] = field(default_factory=list[str])
    running: str | None = None
    ends: dict[str, Ended] = field(default_factory=dict[str, Ended])
    graphs: dict[str, Graph] = field(default_factory=dict[str, Graph])
    tell: Callable[[Signal], object] = lambda _: None
    misfits: dict[str, str] = field(default_factory=dict[str, str])
    """File → why it does not fit."""
    names: list[str] = field(default_factory=list[str])
    """The LoRAs that are listed."""
    checkpoint: tuple[str, tuple[str, ...]] = ("sd15.safetensors", ("sd15",))

    async def submit(
        self, job: str, graph: Graph, secrets: Mapping[str, str], priority: int = 0, caller: str | None = None
    ) -> None:
        await self.submit_all({job: graph})

    async def submit_all(self, graphs: Mapping[str, Graph], priority: int = 0, caller: str | None = None) -> None:
        for job, graph in graphs.items():
            for node, data in graph.items():
                if data.get("class_type") == "Refused":
                    raise GraphRefused("the node is refused", {node: {"class_type": "Refused", "errors": []}}, job)
                if any(misfit in str(data) for misfit in self.misfits):
                    raise GraphRefused("a LoRA does not fit", {}, job)
        self.graphs |= graphs
        self.waiting += graphs
        self.tell(Changed())

    def run_next(self) -> str:
        self.running = self.waiting.pop(0)
        self.tell(Changed())
        self.tell(Started(self.running))
        return self.running

    def finish(self, *files: Made, failure: Failure | None = None, was_canceled: bool = False) -> None:
        assert self.running
        self.ends[self.running] = Ended(self.running, files, was_canceled, failure)
        self.running = None
        self.tell(Changed())

    def cancel(self, job: str) -> str:
        if job in self.waiting:
            self.waiting.remove(job)
            return "canceled"
        return "canceling" if job == self.running else "gone"

    def positions(self) -> Mapping[str, int]:
        found = {job: place for place, job in enumerate(list(self.waiting), 1)}
        return found | ({self.running: 0} if self.running else {})

    def find_end(self, job: str) -> Ended | None:
        return self.ends.get(job)

    def listen(self, tell: Callable[[Signal], object]) -> None:
        self.tell = tell

    def find_file(self, made: Made) -> Path | None:
        path = self.folder / made.folder / made.name
        return path if path.is_file() else None

    def input_folder(self) -> Path:
        return self.folder / "input"

    def describe(self, kinds: Iterable[str]) -> Mapping[str, Json]:
        return {}

    def resolver(self) -> Callable[[str], str]:
        def find(lora: str) -> str:
            if lora == "gone":
                raise LorchestraError("gone is not there")
            return lora if lora.endswith(".safetensors") else f"{lora}.safetensors"

        return find

    def loras(self) -> Sequence[str]:
        return self.names

    def check(self, graph: Graph, node: str, loras: Sequence[Json]) -> Sequence[Row]:
        return [Row(n, self.misfits[row["lora"]]) for n, row in enumerate(loras) if row["lora"] in self.misfits]

    def find_model(self, air_or_name: str) -> tuple[str | None, Sequence[str]]:
        return self.checkpoint if air_or_name in ("civitai:1@2", self.checkpoint[0]) else (None, ())

    def model_of(self, graph: Graph) -> tuple[str | None, Sequence[str]]:
        return self.checkpoint


@dataclass
class FormPart:
    """One field of a form."""

    name: str
    data: bytes
    filename: str = ""
    content_type: str = ""

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 1 << 16):
            yield self.data[start : start + (1 << 16)]


@dataclass
class Caller:
    """Sends requests to a service, as a server would."""

    service: Service
    peer: str | None = "127.0.0.1"
    host: str = "127.0.0.1:8188"

    async def send(
        self,
        method: str,
        path: str,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
        parts: Sequence[Part] = (),
    ) -> Response:
        split = urlsplit(path)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def read(most: int) -> bytes:
            if len(data) > most:
                raise Refusal(413, "payload_too_large", "too much", "body")
            return data

        async def give() -> AsyncIterator[Part]:
            for part in parts:
                yield part

        request = Request(
            method, split.path, f"http://{self.host}/lorchestra", self.peer, dict(parse_qsl(split.query, True)),
            {"host": self.host, **{name.lower(): text for name, text in (headers or {}).items()}}, read, give,
        )  # fmt: skip
        return await self.service.answer(find_route, request)

    async def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        response = await self.send(method, path, body, named)
        assert isinstance(response.body, bytes), response.body
        return response.status, json.loads(response.body) if response.body else None

    async def events(self, path: str, **headers: str) -> AsyncIterator[tuple[str, str, Any]]:
        """(id, event, data) of an event stream, as they come."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        response = await self.send("GET", path, headers=named)
        assert isinstance(response.body, Stream), response.body
        with response.body.counted():
            async for chunk in response.body.chunks:
                lines = dict(line.split(": ", 1) for line in chunk.decode().strip().split("\n"))
                if "event" in lines:
                    yield lines["id"], lines["event"], json.loads(lines["data"])


def make_service(folder: Path, environ: Mapping[str, str] | None = None) -> tuple[Service, ListBackend]:
    """A service whose files are in a folder."""
    backend = ListBackend(folder)
    places = Places(folder / "service.json", folder / "jobs.sqlite", folder / "published", folder / "texts")
    return Service(backend, places, environ or {}), backend


class Door:
    """A service behind the standard library's HTTP server, for what calls it over the wire."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.service, self.backend = make_service(folder, environ)

    def __enter__(self) -> Door:
        self._thread.start()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                caller = Caller(door.service, "127.0.0.1", self.headers["Host"])
                path = self.path.removeprefix("/lorchestra")
                response = door.call(caller.send(self.command, path, body, dict(self.headers)))
                self.send_response(response.status)
                self.end_headers()
                if isinstance(response.body, Stream):
                    chunks = response.body.chunks
                    with contextlib.suppress(StopAsyncIteration):
                        while True:
                            self.wfile.write(door.call(anext(chunks)))
                elif isinstance(response.body, File):
                    self.wfile.write(response.body.path.read_bytes())
                else:
                    assert isinstance(response.body, bytes)
                    self.wfile.write(response.body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def call(self, work: Coroutine[Any, Any, Any] | Awaitable[Any]) -> Any:
        """Runs something on the service's event loop."""

        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.call(self.service.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def working(door: Door, end: Callable[[str], object]) -> Generator[None]:
    """Begins the jobs that are queued, one after another, each with one of two steps done; `end` ends each."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.005):
            if door.backend.waiting:
                job = door.backend.run_next()
                door.backend.tell(Stepped(job, {"6": NodeState(1, 2, False)}))
                end(job)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
