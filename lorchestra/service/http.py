"""Requests and responses as values; a `Refusal` is an answer that says no, with a code that programs know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..errors import LorchestraError, shortened
from ..limits import Json
from .callers import OWNER, Caller

MAX_BODY = 48_000_000
"""Bytes of a JSON body: pictures in it are base64."""
MAX_VALUES = 500_000
"""Objects, lists, keys, texts and numbers of a body."""


class Part(Protocol):
    """One field of a form with files."""

    name: str
    filename: str
    """As the client says it; empty for a plain field."""
    content_type: str

    def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes; to be read before the next part is asked for."""
        ...


@dataclass(frozen=True)
class Request:
    """A request, as far as handlers look at it."""

    method: str
    path: str
    """Below the mount and percent-encoded, such as `/api/v2/jobs`."""
    base: str
    """Where the client reaches the mount: `https://host:port/lorchestra`."""
    peer: str | None
    """The address at the other end of the connection."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By names in lower case."""
    read: Callable[[int], Awaitable[bytes | bytearray]]
    """The body, of so many bytes at most; raises `Refusal`."""
    parts: Callable[[], AsyncIterator[Part]]
    """The fields of a form; raises `Refusal` for what is no form."""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the path says, by the names in the route: `{"name": "portrait"}`."""
    caller: Caller = OWNER
    """Who calls."""


@dataclass(frozen=True)
class File:
    """A body that is a file on disk, of which parts may be asked for."""

    path: Path
    content_type: str


@dataclass(frozen=True)
class Stream:
    """A body that comes bit by bit."""

    chunks: AsyncIterator[bytes]
    content_type: str
    counted: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered while it is sent."""


@dataclass(frozen=True)
class Response:
    """An answer; a body that is not bytes, a file or a stream is JSON, or makes it, in a thread."""

    body: Json | bytes | File | Stream | Callable[[], Json]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"
    """Of bytes."""


class Refusal(LorchestraError):
    """A request that is not done: HTTP status, a code for programs, a sentence for people.

    `path` is the field that is to blame, such as `loras[1].weight`; None if no single one is.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        path: str | None = None,
        *,
        details: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = shortened(message, 4000)
        self.path = None if path is None else shortened(path)
        self.details = dict(details or {}) | ({} if path is None else {"path": self.path})
        self.headers = dict(headers or {})
        super().__init__(self.message if path is None else f"{self.path}: {self.message}")

    def to_json(self) -> Json:
        """The official envelope: `{"error": {"code", "message", "details"}}`."""
        return {"error": {"code": self.code, "message": str(self), "details": self.details or None}}


def invalid(message: str, path: str | None = None) -> Refusal:
    """A request that is not one: 400 `invalid_request`."""
    return Refusal(400, "invalid_request", message, path)


def unusable(message: str, path: str) -> Refusal:
    """A value of the form that the schema asks for, and that cannot be used: 422 `invalid_input`."""
    return Refusal(422, "invalid_input", message, path)


def not_found(message: str) -> Refusal:
    """404 `not_found`."""
    return Refusal(404, "not_found", message)
