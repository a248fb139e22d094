"""The handlers of batches: many jobs of a published workflow with one request, one progress and one contact sheet."""

from __future__ import annotations

from ..limits import Json
from .batch import PNG, Batch
from .batch_events import stream
from .batches import BatchRefused
from .comfy_api import cursor_of, read_cursor, read_limit, require_stream, streamed
from .http import MAX_BODY, File, Request, Response
from .job import batch_url
from .service import WEBHOOK, Service, find_callback, idempotency_key
from .sweep import explain, make_plan
from .workflows import only_queries, read_body


async def post_batch(service: Service, request: Request) -> Response:
    """Queues a job for every combination of what varies, all or none: 202 with the batch.

    The body is `{"inputs": what is the same, "each": what varies}`. `?webhook_url=…` is told when the batch has ended.
    """
    only_queries(request, (WEBHOOK,))
    callback, key = find_callback(service, request), idempotency_key(request)
    body, name = await request.read(MAX_BODY), request.parameters["name"]
    plan = await service.threads.run(
        lambda: make_plan(service, lambda: service.publications.find_or_raise(name), read_body(body), request.caller)
    )
    try:
        batch = await service.batches.submit(plan, key, callback, request.caller)
    except BatchRefused as error:
        refused = error.error
        number, said = error.number, refused.message
        raise await service.threads.run(explain, service, plan, number, said, refused.node_errors) from error
    base = service.base(request)
    return Response(
        lambda: service.batches.see(batch.id, request.caller).to_json(base),
        202,
        {"Location": batch_url(base, batch.id)},
    )


async def list_batches(service: Service, request: Request) -> Response:
    """Batches without their jobs, the newest first: `limit` and `cursor`."""
    query = only_queries(request, ("limit", "cursor"))
    limit = read_limit(query["limit"]) if "limit" in query else 50
    before = read_cursor(query["cursor"]) if "cursor" in query else None
    base = service.base(request)

    def show() -> Json:
        found = service.batches.newest(limit + 1, before, request.caller)
        answer: dict[str, Json] = {"batches": [_summary(service, batch, base) for batch in found[:limit]]}
        if len(found) > limit:
            last = found[limit - 1]
            answer["next_cursor"] = cursor_of(last.created, last.id)
        return answer

    return Response(show)


def _summary(service: Service, batch: Batch, base: str) -> dict[str, Json]:
    counts, value = service.batches.summary(batch)
    return batch.to_json(base, counts, value)


async def get_batch(service: Service, request: Request) -> Response:
    """A batch with its jobs as they are now."""
    base = service.base(request)
    return Response(lambda: service.batches.see(request.parameters["id"], request.caller).to_json(base))


async def cancel_batch(service: Service, request: Request) -> Response:
    """Asks all of its jobs that are left to end; the sheet shows those that have."""
    base = service.base(request)
    return Response(lambda: service.batches.cancel(request.parameters["id"], request.caller).to_json(base))


async def get_events(service: Service, request: Request) -> Response:
    """The events of a batch, until it has ended."""
    seen = await service.threads.run(service.batches.see, request.parameters["id"], request.caller)
    require_stream(service)
    after = request.headers.get("last-event-id", "")[:100]
    return streamed(service, stream(service.batches, service.threads, seen, service.base(request), after))


async def get_sheet(service: Service, request: Request) -> Response:
    """The contact sheet, as PNG; while jobs are left, of the pictures that there are by now."""
    own = request.parameters["id"]
    batch = await service.threads.run(service.batches.find_or_raise, own, request.caller)
    headers = {"X-Content-Type-Options": "nosniff"}
    if batch.sheet is not None:
        path, kind = await service.threads.run(service.assets.find_content, batch.sheet, request.caller)
        return Response(File(path, kind), headers=headers)
    data = await service.batches.sheet_so_far(own)
    return Response(data, headers=headers | {"Cache-Control": "no-store"}, content_type=PNG)
