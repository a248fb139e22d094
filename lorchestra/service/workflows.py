"""The handlers of `/workflows`: what is published, what it takes, and calls of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from ..errors import quoted
from ..limits import Json
from ..workflow.documents import openapi_of, schema_of
from ..workflow.node_classes import find_kinds
from ..workflow.publication import Publication, publish
from .calls import call
from .http import MAX_BODY, Request, Response, invalid
from .job import Job, job_url
from .publications import Published, read_name
from .service import Service, idempotency_key, parse, require_object

_MOST_SECONDS = 600.0
_MOST_INLINE = 64_000_000
"""Bytes of outputs that are put into an answer."""
URL, BASE64, DATA_URI = "url", "base64", "data_uri"
OUTPUT_FORMS = (URL, BASE64, DATA_URI)
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*", re.I | re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)


async def list_workflows(service: Service, request: Request) -> Response:
    """All published workflows, by name."""
    _only_queries(request, ())
    found = await service.threads.run(service.publications.newest)
    base = service.base(request)
    return Response({"workflows": [_summary(one, base) for one in found]})


async def get_workflow(service: Service, request: Request) -> Response:
    """One published workflow: its inputs, its outputs, its versions and its graph."""
    _only_queries(request, ())
    name = request.parameters["name"]
    published = await service.threads.run(service.publications.find_or_raise, name)
    versions = await service.threads.run(service.publications.find_versions, published.publication.name)
    return Response(_shown(published, service.base(request)) | {"versions": versions})


async def get_schema(service: Service, request: Request) -> Response:
    """The JSON Schema of a workflow's inputs."""
    _only_queries(request, ())
    published = await service.threads.run(service.publications.find_or_raise, request.parameters["name"])
    return Response(await service.threads.run(schema_of, published.publication))


async def get_openapi(service: Service, request: Request) -> Response:
    """The OpenAPI document of one workflow."""
    _only_queries(request, ())
    published = await service.threads.run(service.publications.find_or_raise, request.parameters["name"])
    return Response(await service.threads.run(openapi_of, [published.publication], service.base(request)))


async def get_openapi_of_all(service: Service, request: Request) -> Response:
    """The OpenAPI document of all workflows, in their newest versions."""
    _only_queries(request, ())
    found = await service.threads.run(service.publications.newest)
    return Response(await service.threads.run(openapi_of, [one.publication for one in found], service.base(request)))


async def put_workflow(service: Service, request: Request) -> Response:
    """Publishes: `{"workflow": …}` in API or UI form, or `{"publication": …}` as it is shown, with another name or not.

    Answers 201 with the publication, whose version is a new one.
    """
    _only_queries(request, ())
    name = read_name(request.parameters["name"])
    if name.version is not None:
        raise invalid("a version is never published again; leave out what follows @.", "name")
    body = require_object(await service.read_json(request), ("workflow", "publication", "description"))
    if ("workflow" in body) == ("publication" in body):
        raise invalid('expected either "workflow" or "publication".')
    description = body.get("description")
    if description is not None and not isinstance(description, str):
        raise invalid(f"{quoted(description)} is not text.", "description")
    published = await service.threads.run(_publish, service, name.name, body, description)
    base = service.base(request)
    return Response(_shown(published, base), 201, {"Location": f"{base}/workflows/{published.reference}"})


def _publish(service: Service, name: str, body: Mapping[str, Json], description: str | None) -> Published:
    if "publication" in body:
        given = body["publication"]
        made = Publication.from_json(given | {"name": name} if isinstance(given, dict) else given)
    else:
        workflow = body["workflow"]
        made = publish(workflow, service.backend.describe(find_kinds(workflow)), name)
    if description is not None:
        made = replace(made, description=description[:4000])
    return service.publications.add(made)


async def delete_workflow(service: Service, request: Request) -> Response:
    """Removes one version (`portrait@3`), or all of a name."""
    _only_queries(request, ())
    removed = await service.threads.run(service.publications.remove, request.parameters["name"])
    return Response({"removed": removed})


async def post_job(service: Service, request: Request) -> Response:
    """Runs a workflow with the inputs in the body: 200 with the job when it has ended, 202 with it before.

    `?wait=30` or `Prefer: wait=30` waits so many seconds at most; `Prefer: respond-async` does not wait at all.
    `?outputs=base64` or `data_uri` puts what came out into the answer, where `url` is a link.
    """
    query = _only_queries(request, ("wait", "outputs"))
    seconds, is_preferred = _seconds(request)
    form = query.get("outputs", URL)
    if form not in OUTPUT_FORMS:
        raise invalid(f"{quoted(form)} is not one of {', '.join(OUTPUT_FORMS)}.", "outputs")
    key, body = idempotency_key(request), await request.read(MAX_BODY)
    name = request.parameters["name"]
    job = await call(service, lambda: service.publications.find_or_raise(name), lambda: _inputs(body), key=key)
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


def _inputs(body: bytes) -> Json:
    return parse(body) if body.strip() else {}


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
        if _NUMBER.fullmatch(said) is None or float(said) > _MOST_SECONDS:
            raise invalid(f"{quoted(said)} is not a number of seconds from 0 to {_MOST_SECONDS:g}.", "wait")
        return float(said), False
    match = next((found for part in prefer.split(",") if (found := _WAIT.fullmatch(part))), None)
    return (min(float(match[1]), _MOST_SECONDS), True) if match else (0.0, False)


def _shown(published: Published, base: str) -> dict[str, Json]:
    return published.publication.to_json() | {"urls": _summary(published, base)["urls"]}


def _summary(published: Published, base: str) -> dict[str, Json]:
    publication = published.publication
    own = f"{base}/workflows/{publication.name}"
    return {
        "name": publication.name,
        "version": publication.version,
        "description": publication.description,
        "inputs": [item.name for item in publication.inputs],
        "outputs": [item.name for item in publication.outputs],
        "urls": {
            "self": own,
            "jobs": f"{own}/jobs",
            "schema": f"{own}/schema.json",
            "openapi": f"{own}/openapi.json",
        },
    }


def _only_queries(request: Request, known: tuple[str, ...]) -> Mapping[str, str]:
    unknown = next((key for key in request.query if key not in known), None)
    if unknown is not None:
        raise invalid(f"unknown query parameter; known are {', '.join(known) or 'none'}.", unknown[:100])
    return request.query
