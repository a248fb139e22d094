"""The service of published workflows on ComfyUI's server: requests and responses of aiohttp as values, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...lorchestra.errors import LorchestraError
from ...lorchestra.service.http import File, Refusal, Request, Response, Stream, invalid
from ..host import process
from .http import Handler, read_pieces

if TYPE_CHECKING:
    from aiohttp import BodyPartReader, web

    from ...lorchestra.service.service import FindRoute, Service

_CHUNK = 1 << 18
_MOST_PARTS = 20
_SETTINGS = "service.json"
_RESUME_SECONDS = 3.0
"""After ComfyUI's start, which has enough to do."""
_PACKAGES = ("jsonschema", "referencing", "jsonschema_specifications", "rpds", "attrs", "attr")
"""What only the service needs: without them all else works."""


def service_routes() -> tuple[tuple[str, str, Handler], ...]:
    """Method, path below the prefix, handler: all at once, since what they need is loaded with the first request."""
    return (("*", r"/{service:(?:workflows|api/v2|v1|openapi\.json)(?:/[\s\S]*)?}", _handle),)


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


async def _handle(request: web.Request) -> web.StreamResponse:
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
    path = request.rel_url.raw_path
    mount = path[: path.index("/lorchestra") + len("/lorchestra")]
    answer = await service.answer(
        find_route,
        Request(
            request.method,
            path[len(mount) :],
            f"{request.scheme}://{request.host}{mount}",
            _peer(request),
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            partial(_read, request),
            partial(_parts, request),
        ),
    )
    return await _send(request, answer)


def _peer(request: web.Request) -> str | None:
    """The address at the other end; a socket in the file system is this machine's."""
    peer = None if request.transport is None else request.transport.get_extra_info("peername")
    if isinstance(peer, str):
        return "127.0.0.1"
    return peer[0] if peer else None


async def _read(request: web.Request, most: int) -> bytearray:
    if (request.content_length or 0) > most:
        raise Refusal(413, "payload_too_large", f"the body has more than {most:,} bytes.", "body")
    try:
        return await read_pieces(request, most)
    except LorchestraError as error:
        raise invalid(f"{error}.", "body") from error


@dataclass
class _Part:
    """See `lorchestra.service.http.Part`."""

    name: str
    filename: str
    content_type: str
    reader: BodyPartReader

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            with _readable():
                chunk = await self.reader.read_chunk(_CHUNK)
            if not chunk:
                return
            yield bytes(chunk)


@contextmanager
def _readable() -> Generator[None]:
    """Raises `Refusal` for a form that does not come to its end, or is broken: aiohttp has many words for that."""
    from aiohttp import ClientError
    from aiohttp.http_exceptions import HttpProcessingError

    errors = (ValueError, RuntimeError, AssertionError, EOFError, ConnectionError, ClientError, HttpProcessingError)
    try:
        yield
    except errors as error:
        raise Refusal(422, "invalid_request", "the form cannot be read.", "body") from error


async def _parts(request: web.Request) -> AsyncIterator[_Part]:
    from aiohttp import BodyPartReader

    if not request.content_type.startswith("multipart/"):
        raise Refusal(422, "invalid_request", "expected multipart/form-data.", "Content-Type")
    with _readable():
        reader = await request.multipart()
    for _ in range(_MOST_PARTS):
        with _readable():
            part = await reader.next()
        if part is None:
            return
        if isinstance(part, BodyPartReader):
            kind = part.headers.get("Content-Type", "")
            yield _Part(part.name or "", part.filename or "", kind, part)
    raise Refusal(422, "invalid_request", f"the form has more than {_MOST_PARTS} fields.", "body")


async def _send(request: web.Request, answer: Response) -> web.StreamResponse:
    from aiohttp import web

    headers = dict(answer.headers)
    if isinstance(answer.body, File):
        return web.FileResponse(answer.body.path, headers={"Content-Type": answer.body.content_type, **headers})
    if isinstance(answer.body, Stream):
        return await _stream(request, answer.body, headers)
    if answer.status == 204:
        return web.Response(status=204, headers=headers)
    body = cast("bytes", answer.body)
    return web.Response(body=body, status=answer.status, headers=headers, content_type=answer.content_type)


async def _stream(request: web.Request, stream: Stream, headers: dict[str, str]) -> web.StreamResponse:
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Type": stream.content_type, **headers})
    chunks = cast("Any", stream.chunks)
    with stream.counted():
        try:
            await response.prepare(request)
            async for chunk in chunks:
                await response.write(chunk)
            await response.write_eof()
        except (ConnectionError, RuntimeError):  # the client is gone
            pass
        finally:
            await chunks.aclose()
    return response
