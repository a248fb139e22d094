"""Requests and responses of aiohttp as the values that handlers know, and back: for ComfyUI's server and for ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import LorchestraError
from .http import File, Refusal, Request, Response, Stream, invalid

MOUNT = "/lorchestra"
"""Below which all operations are, on any server."""
_CHUNK = 1 << 18
_MOST_PARTS = 20


def read_request(request: web.Request) -> Request:
    """The request, below the mount."""
    path = request.rel_url.raw_path
    start = path.find(MOUNT)
    mount = "" if start < 0 else path[: start + len(MOUNT)]
    return Request(
        request.method,
        path[len(mount) :],
        f"{request.scheme}://{request.host}{mount}",
        _peer(request),
        dict(request.query),
        {name.lower(): value for name, value in request.headers.items()},
        partial(_read, request),
        partial(_parts, request),
    )


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


async def read_pieces(request: web.Request, most: int) -> bytearray:
    """The body, as far as it is not too long: who sends it in pieces does not say how long it is.

    Not copied once more: 48 MB would hold up the event loop. Raises `LorchestraError` for one that is longer, cannot be
    read or does not come to its end.
    """
    body = bytearray()
    try:
        if (request.content_length or 0) <= most:
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > most:
                    break
            else:
                return body
    except (web.RequestPayloadError, ClientError, ConnectionError, EOFError) as error:
        raise LorchestraError("the request does not come to its end, or cannot be unpacked") from error
    raise LorchestraError(f"the request has more than {most:,} bytes")


@dataclass
class _Part:
    """See `http.Part`."""

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
    errors = (ValueError, RuntimeError, AssertionError, EOFError, ConnectionError, ClientError, HttpProcessingError)
    try:
        yield
    except errors as error:
        raise Refusal(422, "invalid_request", "the form cannot be read.", "body") from error


async def _parts(request: web.Request) -> AsyncIterator[_Part]:
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


async def send(request: web.Request, answer: Response) -> web.StreamResponse:
    """Sends an answer of `Service.answer`."""
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
