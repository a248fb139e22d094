"""The handlers of `/workflows`: what is published, what it takes, and calls of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from ..errors import LorchestraError, quoted
from ..limits import Json
from ..workflow.batch_schema import batch_schema_of
from ..workflow.documents import PROGRAMS, document_of, openapi_of, schema_of
from ..workflow.node_classes import find_kinds
from ..workflow.publication import Draft, Placed, Publication, draft, publish
from ..workflow.validation import validators
from .admission import require_owner
from .calls import call
from .comfy_api import read_priority
from .http import MAX_BODY, Refusal, Request, Response, invalid
from .job import Job, job_url
from .publications import Published, read_name
from .service import WEBHOOK, Service, find_callback, idempotency_key, parse, require_object

_MOST_SECONDS = 600.0
_MOST_INLINE = 64_000_000
"""Bytes of outputs that are put into an answer."""
URL, BASE64, DATA_URI = "url", "base64", "data_uri"
OUTPUT_FORMS = (URL, BASE64, DATA_URI)
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*", re.I | re.ASCII)
_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z~]{1,500}", re.ASCII)
"""Example: `https://pictures.example/lorchestra`."""
_WHOLE = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?", re.ASCII | re.I)
"""As JSON and clients write them. Example: `1e-05`."""


async def list_workflows(service: Service, request: Request) -> Response:
    """All published workflows, by name."""
    only_queries(request, ())
    found = await service.threads.run(service.publications.newest)
    base = service.base(request)
    return Response({"workflows": [_summary(one, base) for one in found]})


async def get_workflow(service: Service, request: Request) -> Response:
    """One published workflow: its inputs, its outputs, its versions and its graph."""
    only_queries(request, ())
    name = request.parameters["name"]
    published = await service.threads.run(service.publications.find_or_raise, name)
    versions = await service.threads.run(service.publications.find_versions, published.publication.name)
    return Response(_shown(published, service.base(request)) | {"versions": versions})


async def get_schema(service: Service, request: Request) -> Response:
    """The JSON Schema of a workflow's inputs."""
    only_queries(request, ())
    published = await service.threads.run(service.publications.find_or_raise, request.parameters["name"])
    return Response(await service.threads.run(schema_of, published.publication))


async def get_batch_schema(service: Service, request: Request) -> Response:
    """The JSON Schema of a batch of a workflow."""
    only_queries(request, ())
    published = await service.threads.run(service.publications.find_or_raise, request.parameters["name"])
    return Response(await service.threads.run(batch_schema_of, published.publication))


async def get_openapi(service: Service, request: Request) -> Response:
    """The OpenAPI document of one workflow."""
    only_queries(request, ())
    published = await service.threads.run(service.publications.find_or_raise, request.parameters["name"])
    return Response(await service.threads.run(openapi_of, [published.publication], service.base(request)))


async def get_openapi_of_all(service: Service, request: Request) -> Response:
    """The OpenAPI document of all workflows, in their newest versions."""
    only_queries(request, ())
    found = await service.threads.run(service.publications.newest)
    return Response(await service.threads.run(openapi_of, [one.publication for one in found], service.base(request)))


async def put_workflow(service: Service, request: Request) -> Response:
    """Publishes: `{"workflow": …}` in API or UI form, or `{"publication": …}` as it is shown, with another name or not.

    Answers 201 with the publication, whose version is a new one. With `?dry_run=true`, 200 with what would be
    published, and with the programs for `base_url`.
    """
    require_owner(request.caller, "publishing")
    query = only_queries(request, ("dry_run", "base_url"))
    is_dry = _is_true(query, "dry_run")
    base = _base(service, request)
    name = read_name(request.parameters["name"])
    if name.version is not None:
        raise invalid("a version is never published again; leave out what follows @.", "name")
    body = require_object(await service.read_json(request), ("workflow", "publication", "description"))
    if ("workflow" in body) == ("publication" in body):
        raise invalid('expected either "workflow" or "publication".')
    description = body.get("description")
    if description is not None and not isinstance(description, str):
        raise invalid(f"{quoted(description)} is not text.", "description")
    await service.threads.run(_require_validators)
    if is_dry:
        return Response(await service.threads.run(_try, service, name.name, body, description, base))
    published = await service.threads.run(_publish, service, name.name, body, description)
    return Response(_shown(published, base), 201, {"Location": f"{base}/workflows/{published.reference}"})


def _require_validators() -> None:
    """Raises `Refusal` (503) where what is published could not be called."""
    try:
        validators()
    except LorchestraError as error:
        raise Refusal(503, "unavailable", f"{error}.") from error


def _publish(service: Service, name: str, body: Mapping[str, Json], description: str | None) -> Published:
    if "publication" in body:
        made = _given(body["publication"], name)
    else:
        workflow = body["workflow"]
        made = publish(workflow, service.backend.describe(find_kinds(workflow)), name)
    return service.publications.add(_described(made, description))


def _given(publication: Json, name: str) -> Publication:
    return Publication.from_json(publication | {"name": name} if isinstance(publication, dict) else publication)


def _described(made: Publication, description: str | None) -> Publication:
    return made if description is None else replace(made, description=description[:4000])


def _try(service: Service, name: str, body: Mapping[str, Json], description: str | None, base: str) -> dict[str, Json]:
    """What would be published, what of it the workflow's `extra` may say otherwise, and what is published by now."""
    if "publication" in body:
        given = _given(body["publication"], name)
        made = Draft(given, inputs=tuple(Placed(item, item.targets[0]) for item in given.inputs))
    else:
        workflow = body["workflow"]
        made = draft(workflow, service.backend.describe(find_kinds(workflow)), name)
    versions = service.publications.find_versions(name)
    newest = service.publications.find_or_raise(name).publication if versions else None
    publication = replace(_described(made.publication, description), version=max(versions, default=0) + 1)
    shown = publication.to_json() | {
        "inputs": [item.to_json() for item in made.inputs],
        "urls": _urls(name, base),
    }
    del shown["graph"]
    return {
        "publication": shown,
        "schema": schema_of(publication),
        "programs": {id_: document_of(publication, id_, base) for id_ in PROGRAMS},
        "problems": [{"path": one.path, "message": one.error.reason} for one in made.problems],
        "found": {
            "inputs": [item.to_json() for item in made.found],
            "outputs": [item.to_json() for item in made.outputs],
        },
        "others": [list(place) for place in made.others],
        "versions": versions,
        "is_published": newest is not None and replace(newest, version=publication.version) == publication,
    }


async def delete_workflow(service: Service, request: Request) -> Response:
    """Removes one version (`portrait@3`), or all of a name."""
    require_owner(request.caller, "removing a workflow")
    only_queries(request, ())
    removed = await service.threads.run(service.publications.remove, request.parameters["name"])
    return Response({"removed": removed})


async def post_job(service: Service, request: Request) -> Response:
    """Runs a workflow with the inputs in the body: 200 with the job when it has ended, 202 with it before.

    `?wait=30` or `Prefer: wait=30` waits so many seconds at most; `Prefer: respond-async` does not wait at all.
    `?outputs=base64` or `data_uri` puts what came out into the answer, where `url` is a link. `?webhook_url=…` is told
    when the job has ended.
    """
    query = only_queries(request, ("wait", "outputs", "priority", WEBHOOK))
    seconds, is_preferred = _seconds(request)
    form = query.get("outputs", URL)
    if form not in OUTPUT_FORMS:
        raise invalid(f"{quoted(form)} is not one of {', '.join(OUTPUT_FORMS)}.", "outputs")
    callback = find_callback(service, request)
    priority = _priority(query.get("priority"))
    key, body = idempotency_key(request), await request.read(MAX_BODY)
    name = request.parameters["name"]
    job = await call(
        service, lambda: service.publications.find_or_raise(name), lambda: read_body(body), key=key, callback=callback,
        priority=priority, caller=request.caller,
    )  # fmt: skip
    if seconds > 0 and not service.waits.is_full():
        with service.waits.one_more():
            job = await service.jobs.wait(job, seconds)
    headers = {"Location": job_url(service.base(request), job.id)}
    if is_preferred:
        headers["Preference-Applied"] = request.headers["prefer"]

    def show() -> Json:
        shown = service.show(job, request)
        if form != URL:
            _put_in(service, job, shown, form)
        return shown

    return Response(show, 200 if job.has_ended else 202, headers)


def _priority(said: str | None) -> int | None:
    return read_priority(int(said) if said is not None and _WHOLE.fullmatch(said) else said)


def read_body(body: bytes | bytearray) -> Json:
    """The JSON of a body; of none, no inputs. Raises `Refusal`."""
    return parse(body) if body and not body.isspace() else {}


def _put_in(service: Service, job: Job, shown: dict[str, Json], form: str) -> None:
    contents = service.assets.read(job, _MOST_INLINE)
    for output in cast("list[dict[str, Json]]", shown["outputs"]):
        text = base64.b64encode(contents[output["id"]]).decode()
        if form == BASE64:
            output["data_base64"] = text
        else:
            output["url"] = f"data:{output['content_type']};base64,{text}"


def _seconds(request: Request) -> tuple[float, bool]:
    """How long to wait, and whether that is because of the header `Prefer`."""
    said = request.query.get("wait")
    prefer = request.headers.get("prefer", "")
    if any(part.strip().lower() == "respond-async" for part in prefer.split(",")):
        return 0.0, True
    if said is not None:
        if _NUMBER.fullmatch(said) is None or not 0 <= float(said) <= _MOST_SECONDS:
            raise invalid(f"{quoted(said)} is not a number of seconds from 0 to {_MOST_SECONDS:g}.", "wait")
        return float(said), False
    match = next((found for part in prefer.split(",") if (found := _WAIT.fullmatch(part))), None)
    return (min(float(match[1]), _MOST_SECONDS), True) if match else (0.0, False)


def _shown(published: Published, base: str) -> dict[str, Json]:
    return published.publication.to_json() | {"urls": _summary(published, base)["urls"]}


def _summary(published: Published, base: str) -> dict[str, Json]:
    publication = published.publication
    return {
        "name": publication.name,
        "version": publication.version,
        "description": publication.description,
        "inputs": [item.name for item in publication.inputs],
        "outputs": [item.name for item in publication.outputs],
        "urls": _urls(publication.name, base),
    }


def _urls(name: str, base: str) -> dict[str, Json]:
    own = f"{base}/workflows/{name}"
    return {
        "self": own, "jobs": f"{own}/jobs", "batches": f"{own}/batches", "schema": f"{own}/schema.json",
        "batch_schema": f"{own}/batch.schema.json", "openapi": f"{own}/openapi.json",
    }  # fmt: skip


def _base(service: Service, request: Request) -> str:
    """Where clients reach the service: by the owner's word, by the query's, or as this request did."""
    said = request.query.get("base_url")
    if said is None or service.settings.public_url is not None:
        return service.base(request)
    if _URL.fullmatch(said) is None:
        raise invalid(f"{quoted(said)} is not an address; expected one such as https://host/lorchestra.", "base_url")
    return said.rstrip("/")


def _is_true(query: Mapping[str, str], name: str) -> bool:
    said = query.get(name, "false")
    if said not in ("true", "false"):
        raise invalid(f"{quoted(said)} is neither true nor false.", name)
    return said == "true"


def only_queries(request: Request, known: tuple[str, ...]) -> Mapping[str, str]:
    """The query of a request; raises `Refusal` for a parameter that is not known."""
    unknown = next((key for key in request.query if key not in known), None)
    if unknown is not None:
        raise invalid(f"unknown query parameter; known are {', '.join(known) or 'none'}.", unknown[:100])
    return request.query
