"""The HTTP door in front of many ComfyUIs: the handlers of a service, the fleet's state, and metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ...limits import Json
from ..access import require_access
from ..admission import require_owner
from ..http import MAX_BODY, Refusal
from ..routes import find_route
from ..service import Places, Service
from ..settings import read_settings
from ..web import MOUNT, read_request, send
from .backend import Fleet
from .broker import App
from .kept import Kept
from .metrics import Metrics
from .table import Table

SETTINGS, PUBLISHED = "service.json", "published"


@dataclass(frozen=True, slots=True)
class Folder:
    """What a fleet keeps on this machine, below one folder."""

    path: Path

    @property
    def database(self) -> str:
        """The URL of the embedded database."""
        return f"sqlite:///{(self.path / 'fleet.sqlite').absolute()}"

    @property
    def files(self) -> str:
        """Where files are kept by default."""
        return str((self.path / "files").absolute())

    @property
    def broker(self) -> Path:
        """Messages of the embedded broker."""
        return self.path / "broker"

    @property
    def cache(self) -> Path:
        """Copies of files that lie elsewhere."""
        return self.path / "cache"

    @property
    def places(self) -> Places:
        """The service's own files."""
        return Places(self.path / SETTINGS, self.path / "jobs.sqlite", self.path / PUBLISHED, self.path / "texts")


class Door:
    """The door; lives on one event loop."""

    def __init__(self, places: Places, table: Table, kept: Kept, app: App, seconds: float) -> None:
        """`seconds` is the longest that a job may run. Raises `TableError` and `SettingsError`."""
        settings = read_settings(places.settings)
        self.fleet = Fleet(table, kept, app, seconds, settings.retention_hours)
        self.fleet.start()
        self.metrics = Metrics(self.status)
        self.service = Service(self.fleet, places, on_end=self.metrics.count)

    def make_app(self) -> web.Application:
        """The server's application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/metrics", self._guarded(self._metrics))
        app.router.add_get(f"{MOUNT}/fleet", self._guarded(self._status))
        app.router.add_route("*", MOUNT + r"/{rest:[\s\S]*}", self._answer)
        app.on_startup.append(self._begin)
        app.on_cleanup.append(self._end)
        return app

    async def _begin(self, _: web.Application) -> None:
        await self.service.start()

    async def _end(self, _: web.Application) -> None:
        self.fleet.close()
        await self.service.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return await send(request, await self.service.answer(find_route, read_request(request)))

    def _guarded(self, work: Callable[[], Awaitable[web.Response]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The same access as to the service."""

        async def handle(request: web.Request) -> web.Response:
            try:
                require_owner(require_access(read_request(request), self.service.settings), "the state of the fleet")
            except Refusal as error:
                return web.json_response(error.to_json(), status=error.status, headers=error.headers)
            return await work()

        return handle

    async def _metrics(self) -> web.Response:
        body = await asyncio.to_thread(self.metrics.text)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self) -> web.Response:
        status = await asyncio.to_thread(self.status)
        return web.Response(body=json.dumps(status).encode(), content_type="application/json")

    def status(self) -> dict[str, Json]:
        """Workers, what waits, and what ended. Not on the event loop."""
        return self.fleet.status() | {"ended": self.service.jobs.ended()}
