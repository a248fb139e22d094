"""The HTTP side of the routes: reading queries and bodies, working in threads, errors as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, cast

from ...lorchestra.errors import LorchestraError, quoted

if TYPE_CHECKING:
    from aiohttp import web

MAX_BODY = 32_000_000
"""Bytes of a request: a prompt of thousands of nodes has less."""

Query = Mapping[str, str]
Body = Mapping[str, object]
"""The JSON object in the body of a request."""
Handler = Callable[["web.Request"], Awaitable["web.Response"]]


@dataclass(frozen=True)
class Answer:
    """An answer that is not plain JSON with the status 200."""

    value: object
    """Bytes, or something for JSON."""
    content_type: str = "application/json"
    """Of bytes."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def get(work: Callable[[Query], object]) -> Handler:
    """A handler that gives the query to `work`."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        return await _answer(lambda: work(request.query))

    return handle


def post(work: Callable[[Body], object]) -> Handler:
    """A handler that gives the JSON object in the body to `work`."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        if (request.content_length or 0) > MAX_BODY:
            return _error(f"the request has more than {MAX_BODY:,} bytes")
        body = await request.read()
        return await _answer(lambda: work(_read_body(body)))

    return handle


def read_text(body: Body, key: str) -> str | None:
    """The text under a key, None if there is none; raises `LorchestraError` for anything else."""
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise LorchestraError(f'"{key}" is {quoted(value)}; expected text')
    return value


def _read_body(body: bytes) -> Body:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise LorchestraError(f"the request is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise LorchestraError(f"the request is {quoted(data)}; expected a JSON object")
    return cast("Body", data)


async def _answer(work: Callable[[], object]) -> web.Response:
    """Works in a thread; errors of ours become sentences."""
    from aiohttp import web

    try:
        value = await asyncio.to_thread(work)
    except LorchestraError as error:
        return _error(str(error))
    if isinstance(value, Answer):
        if isinstance(value.value, bytes):
            return web.Response(
                body=value.value, content_type=value.content_type, status=value.status, headers=value.headers
            )
        return web.json_response(value.value, status=value.status, headers=value.headers)
    body = await asyncio.to_thread(_to_json, value)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def _error(sentence: str) -> web.Response:
    from aiohttp import web

    return web.json_response({"error": sentence}, status=400)


def _to_json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
