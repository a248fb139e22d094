"""All operations of a service. To add one: a handler in the file of its topic, and its row here."""

from __future__ import annotations

from urllib.parse import unquote

from ..errors import quoted
from . import batch_api, comfy_api, runware, workflows
from .http import Refusal, not_found
from .service import Route

ROUTES: tuple[Route, ...] = (
    Route("GET", "/workflows", workflows.list_workflows),
    Route("GET", "/openapi.json", workflows.get_openapi_of_all),
    Route("GET", "/workflows/{name}", workflows.get_workflow),
    Route("PUT", "/workflows/{name}", workflows.put_workflow),
    Route("DELETE", "/workflows/{name}", workflows.delete_workflow),
    Route("GET", "/workflows/{name}/schema.json", workflows.get_schema),
    Route("GET", "/workflows/{name}/openapi.json", workflows.get_openapi),
    Route("GET", "/workflows/{name}/batch.schema.json", workflows.get_batch_schema),
    Route("POST", "/workflows/{name}/jobs", workflows.post_job),
    Route("POST", "/workflows/{name}/batches", batch_api.post_batch),
    Route("GET", "/batches", batch_api.list_batches),
    Route("GET", "/batches/{id}", batch_api.get_batch),
    Route("POST", "/batches/{id}/cancel", batch_api.cancel_batch),
    Route("GET", "/batches/{id}/events", batch_api.get_events),
    Route("GET", "/batches/{id}/sheet", batch_api.get_sheet),
    Route("GET", "/api/v2/health", comfy_api.health, is_open=True),
    Route("POST", "/api/v2/jobs", comfy_api.post_job),
    Route("GET", "/api/v2/jobs", comfy_api.list_jobs),
    Route("GET", "/api/v2/jobs/{id}", comfy_api.get_job),
    Route("GET", "/api/v2/jobs/{id}/workflow", comfy_api.get_job_workflow),
    Route("POST", "/api/v2/jobs/{id}/cancel", comfy_api.cancel_job),
    Route("GET", "/api/v2/jobs/{id}/events", comfy_api.get_events),
    Route("POST", "/api/v2/assets", comfy_api.post_asset),
    Route("POST", "/api/v2/assets/from-hash", comfy_api.post_asset_from_hash),
    Route("HEAD", "/api/v2/assets/by-hash/{hash}", comfy_api.head_asset_by_hash),
    Route("GET", "/api/v2/assets/{id}", comfy_api.get_asset),
    Route("DELETE", "/api/v2/assets/{id}", comfy_api.delete_asset),
    Route("GET", "/api/v2/assets/{id}/content", comfy_api.get_asset_content),
    Route("POST", "/v1", runware.post_tasks, show_error=runware.show_error),
)


def find_route(method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
    """The operation of a method and a path below the mount, still percent-encoded, and what the path says.

    Raises `Refusal`: 404 for a path that there is none at, 405 for a method that it lacks.
    """
    parts = raw_path.split("/")
    matches = [(route, found) for route in ROUTES if (found := _match(route.path.split("/"), parts)) is not None]
    plainest = min((len(found) for _, found in matches), default=0)
    allowed: list[str] = []
    for route, found in matches:
        if len(found) > plainest:  # `/assets/from-hash` is no asset
            continue
        if route.method == method:
            return route, found
        allowed.append(route.method)
    if allowed:
        raise Refusal(
            405,
            "method_not_allowed",
            f"{quoted(method)} is not one of {', '.join(allowed)}.",
            headers={"Allow": ", ".join(allowed)},
        )
    raise not_found(f"there is nothing at {quoted(raw_path)}.")


def _match(wanted: list[str], given: list[str]) -> dict[str, str] | None:
    if len(wanted) != len(given):
        return None
    found: dict[str, str] = {}
    for name, part in zip(wanted, given, strict=True):
        if name.startswith("{") and part:
            found[name[1:-1]] = unquote(part)
        elif name != part:
            return None
    return found
