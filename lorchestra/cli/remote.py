"""A service of published workflows, called over HTTP: for `publish` and `call`."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Generator
from typing import Any, cast

from ..errors import LorchestraError
from ..files.json_text import read_json
from ..limits import Json

DEFAULT_URL = "http://127.0.0.1:8188"
URL_VARIABLE, TOKEN_VARIABLE = "LORCHESTRA_URL", "LORCHESTRA_TOKEN"
_MOST_BYTES = 64_000_000
_SECONDS = 60.0
_LOCAL = ("127.0.0.1", "localhost", "::1")


class RemoteError(LorchestraError):
    """A service that cannot be reached, or that says no."""


def add_remote(parser: argparse.ArgumentParser) -> None:
    """Adds `--url`. The token is no argument: the list of processes shows these to everybody."""
    parser.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE, DEFAULT_URL),
        help=f"ComfyUI's address; default: {URL_VARIABLE}, else {DEFAULT_URL}. A token is taken from {TOKEN_VARIABLE}",
    )


def path_of(name: str) -> str:
    """Where a published workflow is."""
    return f"/workflows/{urllib.parse.quote(name, safe='@')}"


class Remote:
    """A service by ComfyUI's address. Every method raises `RemoteError`, with what the service says."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RemoteError(f"{url} is not an address; expected one such as {DEFAULT_URL}")
        base = url.rstrip("/")
        self.url = base if base.endswith("/lorchestra") else f"{base}/lorchestra"
        # A proxy from the environment would only be in the way of this machine.
        handlers = [urllib.request.ProxyHandler({})] if parts.hostname in _LOCAL else []
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> Json:
        """The JSON at a path, or at a URL that the service has given."""
        return self._json("GET", path, None)

    def put(self, path: str, value: Json) -> Json:
        """What the service answers to JSON that is put there."""
        return self._json("PUT", path, value)

    def post(self, path: str, value: Json) -> Json:
        """The same for JSON that is posted; sent twice by whatever chance, it is done once."""
        return self._json("POST", path, value, {"Idempotency-Key": str(uuid.uuid4())})

    def download(self, url: str) -> bytes:
        """The bytes of an output."""
        try:
            with self._open("GET", url, None, {}) as answer:
                return cast("bytes", answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def events(self, url: str) -> Generator[tuple[str, dict[str, Json]]]:
        """The events of a job as (kind, data), until the stream ends, which it may before the job has."""
        try:
            with self._open("GET", url, None, {"Accept": "text/event-stream"}) as answer:
                kind = ""
                for line in answer:
                    name, _, text = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
                    if name == "event":
                        kind = text
                    elif name == "data":
                        yield kind, read_json(text, "an event", size=_MOST_BYTES)
        except (OSError, http.client.HTTPException):  # the job itself is asked for afterwards
            return

    def _json(self, method: str, path: str, value: Json, headers: dict[str, str] | None = None) -> Json:
        data = None if value is None else json.dumps(value).encode()
        try:
            with self._open(method, path, data, headers or {}) as answer:
                return read_json(answer.read(_MOST_BYTES + 1), "the answer", size=_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _open(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
        token = os.environ.get(TOKEN_VARIABLE)
        if token and url.startswith(self.url):  # never to another server, whatever an answer links to
            request.add_header("Authorization", f"Bearer {token}")
        try:
            return self._opener.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            raise RemoteError(_said(error)) from error

    def _unreachable(self, error: Exception) -> RemoteError:
        reason = getattr(error, "reason", error)
        return RemoteError(f"there is no answer from {self.url} ({reason}). Is ComfyUI running, with Lorchestra in it?")


def _said(error: urllib.error.HTTPError) -> str:
    """The sentence of a service that says no."""
    text = error.read(100_000)
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answers {error.code} {error.reason}. Is there a Lorchestra that has published workflows?"
