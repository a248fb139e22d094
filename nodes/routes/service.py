"""The service of published workflows on ComfyUI's server: found, opened once, and asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...lorchestra.errors import LorchestraError
from ..host import process
from .http import Handler

if TYPE_CHECKING:
    from aiohttp import web

    from ...lorchestra.service.service import FindRoute, Service

_SETTINGS = "service.json"
_RESUME_SECONDS = 3.0
"""After ComfyUI's start, which has enough to do."""
_PACKAGES = ("jsonschema", "referencing", "jsonschema_specifications", "rpds", "attrs", "attr")
"""What only the service needs: without them all else works."""


def service_routes() -> tuple[tuple[str, str, Handler], ...]:
    """Method, path below the prefix, handler: all at once, since what they need is loaded with the first request."""
    return (("*", r"/{service:(?:workflows|batches|api/v2|v1|openapi\.json)(?:/[\s\S]*)?}", _handle),)


def _load(_: object) -> tuple[type[Service], FindRoute]:
    """All handlers, and what they import: a second's work, and not for the event loop."""
    from ...lorchestra.service.routes import find_route
    from ...lorchestra.service.service import Service

    return Service, find_route


async def _open() -> tuple[Service, FindRoute]:
    """The service in this ComfyUI.

    Its jobs are in a file for each port, so that a ComfyUI that starts again knows which were its own.
    """
    import folder_paths
    from comfy.cli_args import args

    loaded = await process.quick_jobs().do(_load, _load, lambda: False, joins_started=True)
    make, find_route = cast("tuple[type[Service], FindRoute]", loaded)
    from ...lorchestra.service.service import Places
    from ..host.queue import Queue

    user = Path(folder_paths.get_user_directory())
    own = user / "__lorchestra"
    store = own / f"jobs-{args.port}.sqlite"
    places = Places(own / _SETTINGS, store, user / "lorchestra" / "published", own / "texts")
    return make(Queue(), places), find_route


def resume_soon() -> None:
    """Opens the service before anybody calls it, where callers wait to be told how their jobs ended. On the event loop.

    Jobs that had not ended when ComfyUI did have failed: whoever polls finds that out, and whoever waits does not.
    """
    asyncio.get_running_loop().call_later(_RESUME_SECONDS, lambda: asyncio.ensure_future(_resume()))


async def _resume() -> None:
    import folder_paths

    settings = Path(folder_paths.get_user_directory()) / "__lorchestra" / _SETTINGS
    if not await asyncio.to_thread(_has_webhooks, settings):
        return
    service, _ = await asyncio.shield(_opening())
    await service.start()


def _has_webhooks(settings: Path) -> bool:
    from ...lorchestra.service.settings import read_settings

    try:
        return bool(read_settings(settings).webhooks)
    except LorchestraError:  # requests are told
        return False


def _opening() -> asyncio.Future[tuple[Service, FindRoute]]:
    return process.services.find_or_make("service", lambda: asyncio.ensure_future(_open()))


async def _handle(request: web.Request) -> Any:
    from aiohttp import web

    try:
        service, find_route = await asyncio.shield(_opening())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        said = (
            f"the Python package {error.name} is missing. In the pack's folder run, with the Python that runs ComfyUI: "
            "python -m pip install -r requirements.txt. Then start ComfyUI again."
        )
        return web.json_response({"error": {"code": "unavailable", "message": said, "details": None}}, status=503)
    from ...lorchestra.service import web as values

    answer = await service.answer(find_route, values.read_request(request))
    return await values.send(request, answer)
