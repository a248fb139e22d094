"""A server that says what a ComfyUI says, and misbehaves where a test wants it to; it draws nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from lorchestra import __version__

OnSocket = Callable[[web.WebSocketResponse], Awaitable[None]]
OUTPUTS = {"2": {"images": [{"filename": "one.png", "subfolder": "", "type": "output"}]}}


def entry(job: str, outputs: Any = OUTPUTS, status: str = "success") -> dict[str, Any]:
    """A job in the history."""
    prompt = [0, job, {}, {}, ["2"]]
    return {"prompt": prompt, "outputs": outputs, "status": {"status_str": status, "messages": []}}


@dataclass
class Impostor:
    """What it has and does; a context in which it answers, from a thread of its own."""

    running: list[str] = field(default_factory=list[str])
    pending: list[str] = field(default_factory=list[str])
    history: dict[str, Any] = field(default_factory=dict[str, Any])
    prompts: list[str] = field(default_factory=list[str])
    """The ids of all graphs that were sent."""
    deleted: list[str] = field(default_factory=list[str])
    interrupted: list[str] = field(default_factory=list[str])
    data: bytes = b"picture"
    on_prompt: Callable[[Impostor, str], web.Response | None] = lambda self, job: self.history.update({job: entry(job)})
    on_socket: OnSocket | None = None
    on_view: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    hangs: Callable[[Impostor, str], bool] = lambda _, path: False
    """Whether a path is not answered, now."""
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    url: str = ""

    def __enter__(self) -> Impostor:
        self._loop = asyncio.new_event_loop()
        is_there = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(is_there,), daemon=True)
        self._thread.start()
        assert is_there.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it at once, with all its connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(10)

    def _work(self, is_there: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(is_there))

    async def _serve(self, is_there: threading.Event) -> None:
        self._over = asyncio.Event()
        app = web.Application(middlewares=[self._hang], client_max_size=1 << 26)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/queue", self._queue)
        app.router.add_post("/queue", self._delete)
        app.router.add_post("/interrupt", self._interrupt)
        app.router.add_post("/prompt", self._prompt)
        app.router.add_get("/history/{job}", self._history)
        app.router.add_get("/view", self._view)
        for path in ("/lorchestra/about", "/lorchestra/identities", "/object_info", "/system_stats"):
            app.router.add_get(path, self._tell)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        is_there.set()
        await self._over.wait()
        await runner.cleanup()

    @web.middleware
    async def _hang(self, request: web.Request, handler: Any) -> web.StreamResponse:
        while self.hangs(self, request.path):
            await asyncio.sleep(0.05)
        return await handler(request)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.on_socket is not None:
            await self.on_socket(socket)
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        return socket

    async def _tell(self, request: web.Request) -> web.Response:
        files = {"loras": {"files": [], "is_read": True, "is_hashing": False}}
        about = {"/object_info": self.info, "/lorchestra/about": {"version": __version__}}
        about["/lorchestra/identities"] = files
        return await _json(about.get(request.path, {"devices": [{"vram_free": 1}]}))

    async def _queue(self, _: web.Request) -> web.Response:
        rows = {"queue_running": self.running, "queue_pending": self.pending}
        return await _json({name: [[0, job, {}, {}, ["2"]] for job in jobs] for name, jobs in rows.items()})

    async def _delete(self, request: web.Request) -> web.Response:
        for job in (await request.json())["delete"]:
            self.deleted.append(job)
            self.pending[:] = [one for one in self.pending if one != job]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupted.append((await request.json())["prompt_id"])
        return web.Response()

    async def _prompt(self, request: web.Request) -> web.Response:
        job = (await request.json())["prompt_id"]
        self.prompts.append(job)
        return self.on_prompt(self, job) or await _json({"prompt_id": job, "number": 1, "node_errors": {}})

    async def _history(self, request: web.Request) -> web.Response:
        job = request.match_info["job"]
        return await _json({job: self.history[job]} if job in self.history else {})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.data) if self.on_view is None else await self.on_view(request)


async def _json(value: Any) -> web.Response:
    return web.json_response(value)
