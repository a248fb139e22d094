"""All operations of a service. To add one: a handler in the file of its topic, and its row here."""

from __future__ import annotations

from . import comfy_api, runware, workflows
from .service import Route

ROUTES: tuple[Route, ...] = (
    Route("GET", "/workflows", workflows.list_workflows),
    Route("GET", "/openapi.json", workflows.get_openapi_of_all),
    Route("GET", "/workflows/{name}", workflows.get_workflow),
    Route("PUT", "/workflows/{name}", workflows.put_workflow),
    Route("DELETE", "/workflows/{name}", workflows.delete_workflow),
    Route("GET", "/workflows/{name}/schema.json", workflows.get_schema),
    Route("GET", "/workflows/{name}/openapi.json", workflows.get_openapi),
    Route("POST", "/workflows/{name}/jobs", workflows.post_job),
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
