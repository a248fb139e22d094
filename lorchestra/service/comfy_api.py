"""The handlers of the Comfy API v2 (`/api/v2`), as `comfy-api-proxy` 0.1.6 answers and `comfy-sdk` 0.5.0 asks.

More than there: labels (`metadata` as an object), pages of jobs, the outputs' sizes, progress that is polled. Less:
models are not uploaded.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

from ..errors import quoted
from ..limits import Json
from ..workflow.api_shapes import CONTENT_TYPE, CURSOR
from . import assets
from .backend import Graph
from .callers import MOST_PRIORITY, Caller
from .events import stream
from .http import File, Part, Refusal, Request, Response, Stream, invalid
from .job import STATUSES, Job, job_url
from .jobs import Order
from .service import Service, find_callback, idempotency_key, require_object

_FIELDS = ("workflow", "extra_data", "metadata", "priority")
_SECRET = "api_key_comfy_org"
_MOST_LISTED = 100
_MOST_LABELS = 16
_LABEL = re.compile(r"metadata\[(.{1,100})\]", re.S)
_HASH = re.compile(r"blake3:[0-9a-f]{64}", re.ASCII)
_MAX_FIELD = 10_000


async def health(service: Service, request: Request) -> Response:
    """That the service is there; says nothing else, and asks nobody."""
    return Response({"status": "healthy"})


async def post_job(service: Service, request: Request) -> Response:
    """Runs a graph in API form; 201 with the job."""
    if not service.settings.graphs:
        raise Refusal(403, "forbidden", "only published workflows run here: call POST /workflows/{name}/jobs.")
    key, callback = idempotency_key(request), find_callback(service, request)
    body = require_object(await service.read_json(request), _FIELDS)
    metadata, priority = _metadata(body.get("metadata")), read_priority(body.get("priority"))
    secrets = _secrets(body.get("extra_data"))
    workflow = body.get("workflow")
    job = await service.jobs.submit(
        lambda: Order(_graph(service, workflow, request.caller)), key=key, metadata=metadata, priority=priority,
        secrets=secrets, callback=callback, caller=request.caller,
    )  # fmt: skip
    return Response(lambda: service.show(job, request), 201, {"Location": job_url(service.base(request), job.id)})


def _graph(service: Service, workflow: Json, caller: Caller) -> Graph:
    """The graph with the names of files where it has assets; raises `Refusal`."""
    if not isinstance(workflow, dict) or not workflow:
        raise Refusal(422, "invalid_workflow", "expected a graph in API form.", "workflow")
    graph = cast("dict[str, Json]", workflow)
    if isinstance(graph.get("nodes"), list) and "links" in graph:
        raise Refusal(
            422, "workflow_format_ui", "this is a workflow as the editor saves it. Export it in API form.", "workflow"
        )
    for node, data in graph.items():
        values = cast("dict[str, Json]", data) if isinstance(data, dict) else {}
        if not isinstance(values.get("inputs", {}), dict) or not isinstance(values.get("class_type"), str):
            raise Refusal(
                422, "invalid_workflow", 'this is not a node; expected {"class_type", "inputs"}.', f"workflow.{node}"
            )
    missing: list[str] = []
    found = _with_files(graph, lambda asset: service.assets.loadable(asset, caller), missing)
    if missing:
        raise Refusal(
            422, "missing_asset", f"there is no asset {quoted(missing[0])}.", details={"missing_ids": missing[:100]}
        )
    return cast("Graph", found)


def _with_files(value: Json, find: Callable[[str], str | None], missing: list[str]) -> Json:
    """The same with a file's name for each reference to an asset; ids of which there is none are added to `missing`."""
    if isinstance(value, dict):
        data = cast("dict[str, Json]", value)
        if data.get("__type") == "core/ASSET":
            info = data.get("info")
            own = cast("dict[str, Json]", info).get("id") if isinstance(info, dict) else None
            name = find(own) if isinstance(own, str) else None
            if name is None:
                missing.append(own if isinstance(own, str) else quoted(own))
            return name
        return {key: _with_files(item, find, missing) for key, item in data.items()}
    if isinstance(value, list):
        return [_with_files(item, find, missing) for item in cast("list[Json]", value)]
    return value


def _secrets(value: Json) -> dict[str, str]:
    """The key for nodes that call paid services; it is kept nowhere."""
    if value is None:
        return {}
    secret = require_object(value, (_SECRET,), "extra_data").get(_SECRET, "")
    if not isinstance(secret, str):
        raise invalid("expected text.", f"extra_data.{_SECRET}")
    return {_SECRET: secret} if secret else {}


def _metadata(value: Json) -> dict[str, str] | str | None:
    """A label, or several by name."""
    if value is None or (isinstance(value, str) and len(value.encode("utf-8", "replace")) <= 1024):
        return value
    if not isinstance(value, dict):
        raise Refusal(422, "metadata_invalid", "expected text of 1 KiB at most, or an object of texts.", "metadata")
    labels = cast("dict[str, Json]", value)
    if len(labels) > _MOST_LABELS:
        raise Refusal(422, "metadata_invalid", f"there are {len(labels)}; at most {_MOST_LABELS} are kept.", "metadata")
    for name, text in labels.items():
        if not isinstance(text, str) or not 1 <= len(name) <= 64 or len(text) > 512:
            raise Refusal(
                422, "metadata_invalid", "expected a name of 1 to 64 characters, and text of 512 at most.",
                f"metadata.{name}",
            )  # fmt: skip
    return cast("dict[str, str]", labels)


def read_priority(value: Json) -> int | None:
    """The priority that a job is to have; raises `Refusal`."""
    if isinstance(value, float) and value.is_integer():  # JSON Schema takes 1.0 for a whole number
        value = int(value)
    if value is not None and (type(value) is not int or abs(value) > MOST_PRIORITY):
        raise invalid(f"{quoted(value)} is not a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}.", "priority")
    return value


async def list_jobs(service: Service, request: Request) -> Response:
    """Jobs, the newest first: `status`, `limit`, `cursor`, and `metadata[name]` that they must have."""
    statuses, labels, before, limit = None, dict[str, str](), None, 50
    for name, text in request.query.items():
        label = _LABEL.fullmatch(name)
        if label:
            labels[label[1]] = text
        elif name == "limit":
            limit = read_limit(text)
        elif name == "status":
            statuses = {part.strip() for part in text.split(",")} - {""}
            unknown = sorted(statuses - set(STATUSES))
            if unknown:
                raise invalid(f"{quoted(unknown[0])} is not one of {', '.join(STATUSES)}.", "status")
        elif name == "cursor":
            before = read_cursor(text)
        else:
            raise invalid("unknown query parameter; known are status, limit, cursor and metadata[…].", name[:100])

    def accepts(job: Job) -> bool:
        has_labels = not labels or (isinstance(job.metadata, Mapping) and labels.items() <= job.metadata.items())
        return has_labels and (not statuses or job.status in statuses)

    found, is_cut = await service.threads.run(service.jobs.newest, limit, accepts, before, request.caller)
    positions = await service.threads.run(service.backend.positions)
    base = service.base(request)
    shown: list[Json] = []
    for job in found:
        item = job.to_json(base, positions.get(job.id) or None)
        times = {"create_time": item["created_at"], "update_time": item["completed_at"] or item["started_at"]}
        shown.append(item | times)
    answer: dict[str, Json] = {"jobs": shown, "truncated": is_cut and len(found) < limit}
    if is_cut and found:
        answer["next_cursor"] = cursor_of(found[-1].created, found[-1].id)
    return Response(answer)


def read_limit(text: str) -> int:
    """How many a list is to have; raises `Refusal`."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_LISTED:
        raise invalid(f"{quoted(text)} is not a whole number from 1 to {_MOST_LISTED}.", "limit")
    return int(text)


def cursor_of(created: float, own: str) -> str:
    """Where a list goes on, by its last job or batch."""
    return f"{created:.9f}_{own}"


def read_cursor(text: str) -> tuple[float, str]:
    """What `cursor_of` was made of; raises `Refusal`."""
    if re.fullmatch(CURSOR, text[:200], re.ASCII) is None:
        raise Refusal(400, "invalid_cursor", "this is not a cursor of such a list.", "cursor")
    created, _, job = text.partition("_")
    return float(created), job


async def get_job(service: Service, request: Request) -> Response:
    """A job as it is now."""
    return Response(lambda: service.show(service.jobs.find_or_raise(request.parameters["id"], request.caller), request))


async def get_job_workflow(service: Service, request: Request) -> Response:
    """The graph that a job runs."""
    graph = await service.threads.run(service.jobs.find_graph, request.parameters["id"], request.caller)
    return Response({"workflow": graph, "format": "api"})


async def cancel_job(service: Service, request: Request) -> Response:
    """Asks a job to end; one that has ended stays as it is."""
    return Response(lambda: service.show(service.jobs.cancel(request.parameters["id"], request.caller), request))


async def get_events(service: Service, request: Request) -> Response:
    """The events of a job, until it has ended."""
    job = await service.threads.run(service.jobs.find_or_raise, request.parameters["id"], request.caller)
    require_stream(service)
    events = stream(service.jobs, job, service.base(request), request.headers.get("last-event-id", "")[:100])
    return streamed(service, events)


def require_stream(service: Service) -> None:
    """Raises `Refusal` (429) if no more streams may be open."""
    if service.streams.is_full():
        raise Refusal(
            429, "too_many_streams", "too many event streams are open. Ask for the job or the batch itself instead.",
            headers={"Retry-After": "5"},
        )  # fmt: skip


def streamed(service: Service, events: AsyncIterator[bytes]) -> Response:
    """Events as an answer."""
    return Response(
        Stream(events, "text/event-stream", service.streams.one_more),
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def post_asset(service: Service, request: Request) -> Response:
    """Takes a file in a form: `file`, `file_path`, `content_type`, `expected_hash`, `tags`.

    201 with the asset; 200 if its bytes were here already.
    """
    upload = await service.threads.run(service.assets.begin_upload)
    try:
        fields: dict[str, str] = {}
        sent: Part | None = None
        async for part in request.parts():
            if part.name == "file":
                if sent is not None:
                    raise invalid("one file can be sent at a time.", "file")
                sent = part
                async for chunk in part.chunks():
                    await service.threads.run(upload.write, chunk)
            elif part.name in ("file_path", "content_type", "expected_hash", "tags"):
                fields[part.name] = await _read_field(part)
            else:
                raise invalid("unknown field.", part.name[:100])
        if sent is None:
            raise Refusal(422, "invalid_request", "a file is missing.", "file")
        name = assets.check_file_path(fields.get("file_path") or sent.filename)
        expected = fields.get("expected_hash")
        found = await service.threads.run(upload.hash)
        if expected is not None and found is not None and expected.lower() != found:
            raise Refusal(409, "hash_mismatch", f"what came has the hash {found}.", "expected_hash")
        kind = fields.get("content_type") or sent.content_type or assets.BYTES
        if re.fullmatch(CONTENT_TYPE, kind, re.ASCII) is None:  # it becomes a header when the file is asked for
            raise invalid(f"{quoted(kind)} is not a type such as image/png.", "content_type")
        asset, is_new = await service.threads.run(service.assets.keep_upload, upload, name, kind, request.caller)
    finally:
        await service.threads.run(upload.drop)
    return Response(assets.to_json(asset, service.base(request), is_new), 201 if is_new else 200)


async def _read_field(part: Part) -> str:
    data = bytearray()
    async for chunk in part.chunks():
        data += chunk
        if len(data) > _MAX_FIELD:
            raise invalid("the field is too long.", part.name)
    return data.decode("utf-8", "replace").strip()


async def post_asset_from_hash(service: Service, request: Request) -> Response:
    """The asset with these bytes, if they were uploaded before."""
    body = require_object(await service.read_json(request), ("hash", "file_path", "content_type", "tags"))
    for name in ("file_path", "content_type"):
        if not isinstance(body.get(name, ""), str):
            raise invalid(f"{quoted(body[name])} is not text.", name)
    asset = await service.threads.run(service.assets.find_by_hash, _hash(body.get("hash")), request.caller)
    if asset is None:
        raise Refusal(404, "blob_not_found", "no such bytes were uploaded.", "hash")
    return Response(assets.to_json(asset, service.base(request), False))


async def head_asset_by_hash(service: Service, request: Request) -> Response:
    """Whether bytes with this hash were uploaded."""
    asset = await service.threads.run(service.assets.find_by_hash, _hash(request.parameters["hash"]), request.caller)
    return Response(b"", 404 if asset is None else 200)


def _hash(value: Json) -> str:
    if not isinstance(value, str) or _HASH.fullmatch(value.lower()) is None:
        raise invalid(f"{quoted(value)} is not a hash; expected blake3: and 64 hex digits.", "hash")
    return value.lower()


async def get_asset(service: Service, request: Request) -> Response:
    """What is known of an asset."""
    asset = await service.threads.run(service.assets.find_or_raise, request.parameters["id"], request.caller)
    return Response(assets.to_json(asset, service.base(request)))


async def get_asset_content(service: Service, request: Request) -> Response:
    """The bytes of an asset, or a part of them."""
    path, content_type = await service.threads.run(
        service.assets.find_content, request.parameters["id"], request.caller
    )
    return Response(File(path, content_type), headers=_harmless(content_type))


def _harmless(content_type: str) -> Mapping[str, str]:
    """A page or a drawing with scripts in it would run as one of this server."""
    headers = {"X-Content-Type-Options": "nosniff"}
    if content_type.startswith(("image/", "video/", "audio/", "text/plain")) and "svg" not in content_type:
        return headers
    return headers | {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox"}


async def delete_asset(service: Service, request: Request) -> Response:
    """Deletes an asset that was uploaded."""
    await service.threads.run(service.assets.delete, request.parameters["id"], request.caller)
    return Response(b"", 204)
