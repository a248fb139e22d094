"""The HTTP side of the routes: reading queries and bodies within bounds, working in threads, errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, cast

from ...lorchestra.errors import LorchestraError, quoted
from ...lorchestra.files.json_text import read_json
from ...lorchestra.sentences import say, with_parts
from ..host import process
from .jobs import Busy, Gone, IsWanted

if TYPE_CHECKING:
    from aiohttp import web

    from .jobs import Jobs

SMALL = 100_000
"""Bytes of a request that names things."""
MIDDLE = 5_000_000
"""Bytes of a request with the text of a stack, or with the sigmas of a run."""
LARGE = 32_000_000
"""Bytes of a request with a prompt: one of thousands of nodes has less."""
MAX_VALUES = 500_000
"""Objects, lists, keys, texts and numbers of a request of any size."""

Query = Mapping[str, str]
Body = Mapping[str, object]
"""The JSON object in the body of a request."""
Handler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


@dataclass(frozen=True)
class Answer:
    """An answer that is not plain JSON with the status 200."""

    value: object
    """Bytes, or something for JSON."""
    content_type: str = "application/json"
    """Of bytes."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def get(work: Callable[[Query], object], jobs: Callable[[], Jobs] | None = None) -> Handler:
    """A handler that gives the query to `work`, which the threads of `jobs` do; the quick ones if none are given."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        query = dict(request.query)
        threads = jobs() if jobs else process.quick_jobs()
        return await _answer(request, threads, _key(work, query), lambda _: work(query), False)

    return handle


def get_long(work: Callable[[Query, IsWanted], object], is_long: Callable[[Query], bool]) -> Handler:
    """The same for `work` that may take minutes, for a query of which `is_long` says so; it is to stop in between."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        query = dict(request.query)
        jobs, joins = (process.long_jobs(), True) if is_long(query) else (process.quick_jobs(), False)
        return await _answer(request, jobs, _key(work, query), lambda is_wanted: work(query, is_wanted), joins)

    return handle


def post(work: Callable[[Body], object], most: int = SMALL) -> Handler:
    """A handler that gives the JSON object in a body of at most `most` bytes to `work`."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        try:
            body = await read_body(request, most)
        except LorchestraError as error:
            return _error(error.sentence)
        key = (work, body)
        return await _answer(request, process.quick_jobs(), key, lambda _: work(_read_body(body, most)), False)

    return handle


def post_long(
    work: Callable[[Body, IsWanted], object],
    is_long: Callable[[Body], bool],
    long_jobs: Callable[[], Jobs] | None = None,
    most: int = SMALL,
) -> Handler:
    """The same for `work` that may take minutes, as `get_long`; `long_jobs` does that if it is given."""

    @wraps(work)
    async def handle(request: web.Request) -> web.Response:
        try:
            data = await read_body(request, most)
            body = _read_body(data, most)
        except LorchestraError as error:
            return _error(error.sentence)
        long = long_jobs or process.long_jobs
        jobs, joins = (long(), True) if is_long(body) else (process.quick_jobs(), False)
        return await _answer(request, jobs, (work, data), lambda is_wanted: work(body, is_wanted), joins)

    return handle


def read_text(body: Body, key: str) -> str | None:
    """The text under a key, None if there is none; raises `LorchestraError` for anything else."""
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise LorchestraError(f'"{key}" is {quoted(value)}; expected text')
    return value


def _key(work: object, query: Query) -> Hashable:
    return work, tuple(sorted(query.items()))


async def read_body(request: web.Request, most: int) -> bytes:
    """The body as bytes; see `read_pieces`."""
    from ...lorchestra.service.web import read_pieces

    return bytes(await read_pieces(request, most))


def _read_body(body: bytes, most: int) -> Body:
    data = read_json(body, say("the request"), size=most, values=MAX_VALUES)
    if not isinstance(data, dict):
        raise LorchestraError(f"the request is {quoted(data)}; expected a JSON object")
    return cast("Body", data)


async def _answer(
    request: web.Request, jobs: Jobs, key: Hashable, work: Callable[[IsWanted], object], joins_started: bool
) -> web.Response:
    """Works in a thread of ours; errors of ours and of the system become sentences."""
    from aiohttp import web

    def is_gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    try:
        answer = await jobs.do(key, lambda is_wanted: _written(work(is_wanted)), is_gone, joins_started=joins_started)
    except Busy as error:
        return _error(error.sentence, status=503)
    except LorchestraError as error:
        return _error(error.sentence)
    except OSError as error:
        return _error(f"a file cannot be read ({error.strerror or type(error).__name__})")
    except Gone:
        return web.Response(status=499)
    value = cast("Answer", answer)
    return web.Response(
        body=cast("bytes", value.value),
        content_type=value.content_type,
        charset="utf-8" if value.content_type == "application/json" else None,
        status=value.status,
        headers=value.headers,
    )


def _written(value: object) -> Answer:
    """The answer as bytes."""
    answer = value if isinstance(value, Answer) else Answer(value)
    if isinstance(answer.value, bytes):
        return answer
    body = json.dumps(answer.value, allow_nan=False, separators=(",", ":")).encode()
    return Answer(body, status=answer.status, headers=answer.headers)


def _error(sentence: str, status: int = 400) -> web.Response:
    from aiohttp import web

    return web.json_response(with_parts({"error": sentence}), status=status)
