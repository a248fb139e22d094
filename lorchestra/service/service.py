"""One service: its publications, jobs and assets, and the one way in which each request is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ..errors import InputError, LorchestraError, UnusableInput, WorkflowError, quoted
from ..files import json_steps
from ..files.json_text import read_json
from ..limits import Json
from .access import require_access
from .addresses import AddressError, require_listed
from .assets import Assets
from .backend import Backend, GraphRefused, Ran
from .batch import Batch
from .batches import Batches
from .callers import OWNER
from .http import MAX_BODY, MAX_VALUES, File, Refusal, Request, Response, Stream, invalid, unusable
from .job import Job
from .jobs import Jobs
from .publications import Publications
from .runware_answer import told_of
from .settings import Settings, SettingsError, read_settings
from .store import Callback, Hook, KeyUsed, Store, StoreError
from .threads import Threads
from .webhooks import Webhooks

MAX_STREAMS = 200
"""Event streams at one time."""
WEBHOOK = "webhook_url"
"""Query parameter of calls."""
MAX_WAITS = 1000
"""Requests that wait for their job at one time."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a service keeps its files."""

    settings: Path
    store: Path
    published: Path
    texts: Path


Handler = Callable[["Service", Request], Awaitable[Response]]
ShowError = Callable[[Refusal, Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation."""

    method: str
    path: str
    """Below the mount; `{name}` is one part of a path."""
    handler: Handler
    is_open: bool = False
    """Whether anybody may call it."""
    show_error: ShowError | None = None
    """How it says no; the official envelope if it is None."""


FindRoute = Callable[[str, str], tuple[Route, dict[str, str]]]


class Count:
    """How many do something at one time; belongs to the event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    def is_full(self) -> bool:
        """Whether there may be no more."""
        return self._now >= self._most

    @contextmanager
    def one_more(self) -> Generator[None]:
        """Counts one as long as the block lasts."""
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


class Service:
    """A service in front of a backend; lives on one event loop."""

    def __init__(
        self,
        backend: Backend,
        places: Places,
        environ: Mapping[str, str] | None = None,
        on_end: Callable[[Job, Ran | None], object] = lambda _job, _ran: None,
    ) -> None:
        """`on_end` is called with each job that has ended, and what its run took, from any thread."""
        self.backend = backend
        self.threads = Threads()
        self.publications = Publications(places.published)
        self.streams = Count(MAX_STREAMS)
        self.waits = Count(MAX_WAITS)
        self._places = places
        self._environ = environ
        self._on_end = on_end
        self._settings: Settings | LorchestraError = SettingsError("the settings were not read yet")
        self._store = Store(places.store)
        self.assets = Assets(self._store, backend, places.texts)
        self.jobs = Jobs(self._store, self.assets, backend, self.threads, lambda: self.settings, self._tell_ended)
        self.batches = Batches(
            self._store, self.assets, self.jobs, self.threads, lambda: self.settings, lambda: self._webhooks.wake()
        )
        self._webhooks = Webhooks(self._store, lambda: self.settings, self._told)
        self._started: asyncio.Task[None] | None = None

    @property
    def settings(self) -> Settings:
        """As they were when the service began; raises `SettingsError`."""
        if isinstance(self._settings, LorchestraError):
            raise self._settings
        return self._settings

    async def answer(self, find: FindRoute, request: Request) -> Response:
        """What the handler of a request's route answers; whatever it raises is an answer too, and the server goes on.

        `find` is `routes.find_route`, which knows all handlers; these know this.
        """
        show_error: ShowError | None = None
        try:
            await self._start()
            try:
                route, parameters = find(request.method, request.path)
            except Refusal:
                require_access(request, self.settings)
                raise
            show_error = route.show_error
            caller = OWNER if route.is_open else require_access(request, self.settings)
            response = await route.handler(self, replace(request, parameters=parameters, caller=caller))
            if isinstance(response.body, bytes | File | Stream):
                return response
            body: Json | Callable[[], Json] = response.body
            return Response(await self.threads.run(_write, body), response.status, response.headers)
        except Refusal as error:
            refusal = error
        except KeyUsed as error:
            refusal = key_used(error)
        except InputError as error:
            status, code = (422, "invalid_input") if isinstance(error, UnusableInput) else (400, "invalid_request")
            refusal = Refusal(status, code, error.reason, error.path or None, details={"pointer": error.pointer})
        except WorkflowError as error:
            refusal = Refusal(422, "invalid_workflow", str(error))
        except GraphRefused as error:
            refusal = Refusal(422, "invalid_workflow", error.message, details={"node_errors": dict(error.node_errors)})
        except SettingsError as error:
            refusal = Refusal(503, "misconfigured", str(error))
        except (StoreError, OSError) as error:
            refusal = Refusal(503, "unavailable", str(error))
        except LorchestraError as error:
            refusal = invalid(str(error))
        if show_error is not None:
            response = show_error(refusal, request)
        else:
            response = Response(refusal.to_json(), refusal.status, refusal.headers)
        return Response(_write(response.body), response.status, response.headers)

    async def close(self) -> None:
        """Ends the service's threads; its files are closed."""
        self.jobs.close()
        self.batches.close()
        self._webhooks.close()
        self.threads.close()
        self._store.close()

    async def _start(self) -> None:
        """Once: settings are read, and jobs of a server that is gone have failed."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._begin())
        await asyncio.shield(self._started)

    async def _begin(self) -> None:
        try:
            self._settings = await self.threads.run(read_settings, self._places.settings, self._environ)
        except LorchestraError as error:
            self._settings = error if isinstance(error, SettingsError) else SettingsError(str(error))
        try:
            await self.threads.run(self.jobs.resume_open_jobs)
            await self.threads.run(self.batches.resume)
        except StoreError:
            self._started = None  # is tried again with the next request
            raise
        self.jobs.start()
        if isinstance(self._settings, Settings):
            self._webhooks.start()

    async def start(self) -> None:
        """What the first request does otherwise: for a server at whose start somebody waits to be told."""
        await self._start()

    def callback(self, request: Request, url: str, path: str, task: str | None = None) -> Callback:
        """Who is to be told how a job ends; raises `Refusal` (422) for an address that is not on the owner's list."""
        try:
            require_listed(url, self.settings.webhooks)
        except AddressError as error:
            raise unusable(f"{error}.", path) from error
        return Callback(url, self.base(request), task)

    def _tell_ended(self, job: Job, ran: Ran | None) -> None:
        self._webhooks.wake()
        self.batches.job_ended(job)
        self._on_end(job, ran)

    def _told(self, hook: Hook, job: Job | Batch) -> Json:
        """What a webhook is told. Not on the event loop."""
        if isinstance(job, Batch):
            return self.batches.see(job.id, OWNER).to_json(hook.base)
        return job.to_json(hook.base) if hook.task is None else told_of(self.assets, hook.base, job, hook.task)

    def base(self, request: Request) -> str:
        """Where the client reaches the mount, by its own words or by the owner's."""
        public = self.settings.public_url
        return request.base if public is None else public.rstrip("/") + "/" + request.base.split("/", 3)[3]

    async def read_json(self, request: Request) -> Json:
        """The JSON in the body; raises `Refusal` (400, and 413 for too much)."""
        body = await request.read(MAX_BODY)
        return await self.threads.run(parse, body)

    def show(self, job: Job, request: Request) -> dict[str, Json]:
        """A job as the official API shows it. Not on the event loop."""
        return job.to_json(self.base(request), self.jobs.position(job))


def parse(body: bytes | bytearray) -> Json:
    """The value of a JSON body; raises `Refusal`."""
    try:
        return read_json(body, "the body", size=MAX_BODY, values=MAX_VALUES, in_steps=True)
    except LorchestraError as error:
        raise invalid(f"{error}.") from error


def require_object(value: Json, known: tuple[str, ...], path: str = "") -> dict[str, Json]:
    """A JSON object without other keys than these; raises `Refusal` with the path of the first."""
    if not isinstance(value, dict):
        raise invalid(f"{quoted(value)} is not an object; expected one with {', '.join(known)}.", path or None)
    data = cast("dict[str, Json]", value)
    unknown = next((key for key in data if key not in known), None)
    if unknown is not None:
        raise invalid(f"unknown field; known are {', '.join(known)}.", f"{path}.{unknown}".lstrip("."))
    return data


def idempotency_key(request: Request) -> str | None:
    """The `Idempotency-Key`; raises `Refusal` for what can be none."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise invalid("expected 1 to 255 printable ASCII characters.", "Idempotency-Key")
    return key


def find_callback(service: Service, request: Request) -> Callback | None:
    """Who is to be told, by the query of a request."""
    url = request.query.get(WEBHOOK)
    return None if url is None else service.callback(request, url, WEBHOOK)


def key_used(error: KeyUsed) -> Refusal:
    """The answer to an idempotency key that was used before."""
    made = "batch" if error.is_batch else "job"
    return Refusal(
        422,
        "idempotency_key_reuse",
        f"this Idempotency-Key was used before. A key is good for one request: look at its {made}, or send another "
        "key.",
        details={"batch_id" if error.is_batch else "job_id": error.job},
    )


def _write(body: Json | Callable[[], Json]) -> bytes:
    value: Json = body() if callable(body) else body
    return json_steps.write(value).encode("utf-8", "replace")
