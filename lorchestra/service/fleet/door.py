"""The HTTP door in front of many ComfyUIs: the handlers of a service, the fleet's state, and metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...limits import Json
from ..access import require_access
from ..http import MAX_BODY, Refusal
from ..routes import find_route
from ..service import Places, Service
from ..settings import read_settings
from ..web import MOUNT, read_request, send
from .backend import Fleet
from .broker import App
from .kept import Kept
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
        self.service = Service(self.fleet, places)
        self._registry = CollectorRegistry()
        self._registry.register(cast("Collector", _Metrics(self)))

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
                require_access(read_request(request), self.service.settings)
            except Refusal as error:
                return web.json_response(error.to_json(), status=error.status, headers=error.headers)
            return await work()

        return handle

    async def _metrics(self) -> web.Response:
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self) -> web.Response:
        status = await asyncio.to_thread(self.status)
        return web.Response(body=json.dumps(status).encode(), content_type="application/json")

    def status(self) -> dict[str, Json]:
        """Workers, what waits, and what ended. Not on the event loop."""
        return self.fleet.status() | {"ended": self.service.jobs.ended()}


class _Metrics:
    """What Prometheus is told, as it is when it asks."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def describe(self) -> list[Metric]:
        """None beforehand: describing would ask the fleet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        status = self._door.status()
        jobs = GaugeMetricFamily(
            "lorchestra_jobs", "Jobs that wait and run, and that ended and are kept", labels=["status"]
        )
        waiting = cast("dict[str, int]", status["waiting"])
        jobs.add_metric(["queued"], sum(waiting.values()))
        jobs.add_metric(["running"], cast("int", status["running"]))
        ended = cast("dict[str, Json]", status["ended"])
        for name, count in cast("dict[str, int]", ended["by_status"]).items():
            jobs.add_metric([name], count)
        yield jobs
        queued = GaugeMetricFamily("lorchestra_queue_jobs", "Jobs that wait, by queue", labels=["queue"])
        for queue, count in waiting.items():
            queued.add_metric([queue], count)
        yield queued
        age = GaugeMetricFamily("lorchestra_queue_age_seconds", "How long the job has waited that waits longest")
        age.add_metric([], cast("float", ended["oldest_seconds"]))
        yield age
        workers = GaugeMetricFamily("lorchestra_workers", "Workers by state", labels=["state"])
        states = [cast("str", one["state"]) for one in cast("list[dict[str, Json]]", status["workers"])]
        for state in ("ready", "away", "draining", "lost"):
            workers.add_metric([state], states.count(state))
        yield workers
        runs = GaugeMetricFamily(
            "lorchestra_workflow_jobs_kept", "Jobs that succeeded and are kept", labels=["workflow"]
        )
        seconds = GaugeMetricFamily(
            "lorchestra_workflow_seconds_mean", "Seconds that these ran, on average", labels=["workflow"]
        )
        for name, (count, mean) in cast("dict[str, tuple[int, float]]", ended["by_workflow"]).items():
            runs.add_metric([name], count)
            seconds.add_metric([name], mean)
        yield runs
        yield seconds
