"""The OpenAPI 3.1 document of published workflows: one operation each with its own inputs, and the official job API.

Pure; the same publications give the same document. Every example in it is valid under its schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..limits import Json
from .api_shapes import CONTENT_TYPE, CURSOR, STATUSES, error_example, job_example, shapes
from .batch_schema import batch_body_of, batch_example_of
from .interface import LORAS
from .names import Names
from .publication import Publication
from .schema import body_of, example_of
from .value_schema import ASSET_REFERENCE

VERSION = "3.1.0"
_JSON = "application/json"
_PLAIN_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_STATUS_WORDS = "^(({0})(,({0}))*)?$".format("|".join(STATUSES))
_ANY_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}(@[1-9][0-9]{0,6})?$"
"""Example: `portrait`, `portrait@3`."""


@dataclass(frozen=True, slots=True)
class _Error:
    """One HTTP status that says no."""

    status: str
    description: str
    code: str
    message: str


_ERRORS = (
    _Error(
        "400", "The request is not what this takes; details.path names the field.", "invalid_request", "it is missing"
    ),
    _Error("401", "A token is set here, and was not sent.", "unauthorized", "this needs the token"),
    _Error("403", "Not from there, or switched off.", "forbidden", "pages of other sites may not call this service"),
    _Error("404", "There is none.", "not_found", "there is no such workflow"),
    _Error("409", "It contradicts what is there.", "hash_mismatch", "what came has another hash"),
    _Error("413", "The body is too large.", "payload_too_large", "the body is too large"),
    _Error(
        "422",
        "It has the form that the schema asks for, and cannot be run: a LoRA is not there or does not fit the model, a "
        "picture is none, ComfyUI refuses the graph, a key was used before. details.path names the field.",
        "invalid_input",
        "no LoRA here is called so",
    ),
    _Error("429", "Too much at once; try again after Retry-After seconds.", "queue_full", "the queue is full"),
    _Error("500", "Something is broken here.", "publication_broken", "the publication's file is broken"),
    _Error("503", "Not now.", "unavailable", "ComfyUI is busy"),
)
_ALWAYS = ("400", "401", "403", "503")


def openapi_of(publications: Sequence[Publication], base_url: str) -> dict[str, Json]:
    """The document of these publications at `base_url`, such as `http://127.0.0.1:8188/lorchestra`."""
    names, types = Names(), Names()
    paths: dict[str, Json] = {}
    schemas = shapes()
    for name in schemas:
        types.take(name)
    for publication in publications:
        type_ = types.take(f"{_pascal(publication.name)}Inputs")
        schemas[type_] = _with_refs(body_of(publication))
        operation = names.take(f"run_{publication.name.replace('-', '_')}".lower())
        paths[f"/workflows/{publication.name}/jobs"] = {"post": _run(publication, type_, operation)}
        batch = types.take(f"{_pascal(publication.name)}Batch")
        schemas[batch] = _batch_with_refs(batch_body_of(publication))
        operation = names.take(f"sweep_{publication.name.replace('-', '_')}".lower())
        paths[f"/workflows/{publication.name}/batches"] = {"post": _sweep(publication, batch, operation)}
    paths |= _workflows() | _batches() | _jobs() | _assets() | _runware()
    title = publications[0].name if len(publications) == 1 else "Published workflows"
    return {
        "openapi": VERSION,
        "info": {
            "title": title,
            "version": str(publications[0].version) if len(publications) == 1 else "1",
            "description": _description(publications),
        },
        "servers": [{"url": base_url}],
        "security": [{}, {"token": []}],
        "tags": [
            {"name": "workflows", "description": "Published workflows, and calls of them."},
            {"name": "batches", "description": "Many jobs with one request, and their contact sheets."},
            {"name": "jobs", "description": "Runs, in the official form of the Comfy API v2."},
            {"name": "assets", "description": "Files that are sent, and files that were made."},
            {"name": "runware", "description": "Tasks in Runware's form."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Error{item.status}": _error(item) for item in _ERRORS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where a token is set; without one only the machine itself may call.",
                }
            },
        },
    }


def _description(publications: Sequence[Publication]) -> str:
    if len(publications) == 1 and publications[0].description:
        return publications[0].description
    return "Workflows of ComfyUI that are called by name, with named inputs."


def _run(publication: Publication, type_: str, operation: str) -> dict[str, Json]:
    example = _content(_ref("Job"), job_example(publication.name, publication.version))
    lora = next((item.name for item in publication.inputs if item.kind == LORAS), None)
    wrong = f"{lora}[0].weight" if lora is not None else next((item.name for item in publication.inputs), "inputs")
    return {
        "operationId": operation,
        "tags": ["workflows"],
        "summary": f"Run {publication.name}",
        "description": publication.description or f"Runs the workflow {publication.name}.",
        "parameters": [
            {
                "name": "wait",
                "in": "query",
                "description": "Seconds to wait for the end of the job, at most.",
                "schema": {"type": "number", "minimum": 0, "maximum": 600},
            },
            {
                "name": "outputs",
                "in": "query",
                "description": "Whether what was made is linked to, or is in the answer itself.",
                "schema": {"type": "string", "enum": ["url", "base64", "data_uri"], "default": "url"},
            },
            {
                "name": "Prefer",
                "in": "header",
                "description": "respond-async does not wait; wait=30 waits as the parameter does.",
                "schema": {"type": "string", "examples": ["respond-async", "wait=30"]},
            },
            _query(
                "priority",
                "Of jobs that wait, those of a higher priority come first; 0 if it is not sent.",
                {"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000},
            ),
            _idempotency_key(),
            _webhook_url(),
        ],
        "requestBody": {
            "required": True,
            "content": _content(_ref(type_), example_of(publication)),
        },
        "callbacks": _callbacks("{$request.query.webhook_url}", "Job"),
        "responses": {
            "200": {"description": "The job, which has ended; look at its status.", "content": example},
            "202": {"description": "The job, which has not ended yet.", "content": example},
            "400": {
                "description": "The inputs are not what the schema says; details.path names the field.",
                "content": _content(
                    _ref("Error"), error_example("invalid_request", "it is 1000; the most is 100", wrong)
                ),
            },
            **_errors("401", "403", "404", "413", "422", "429", "500", "503"),
        },
    }


def _sweep(publication: Publication, type_: str, operation: str) -> dict[str, Json]:
    return {
        "operationId": operation,
        "tags": ["batches"],
        "summary": f"Run {publication.name} for several values",
        "description": "Queues a job for every combination of the values in each: all of them, or none.",
        "parameters": [_idempotency_key(), _webhook_url("batch")],
        "requestBody": {"required": True, "content": _content(_ref(type_), batch_example_of(publication))},
        "callbacks": _callbacks("{$request.query.webhook_url}", "Batch", "batch"),
        "responses": {
            "202": {"description": "The batch, whose jobs are queued.", "content": _content(_ref("Batch"))},
            **_errors("400", "401", "403", "404", "413", "422", "429", "500", "503"),
        },
    }


def _batches() -> dict[str, Json]:
    id_ = _id("Id of the batch.")
    lists = _get("list_batches", "batches", "List batches, the newest first", _ref("BatchList"))
    lists["parameters"] = _paging()
    octets = "application/octet-stream"  # makers of clients know the first one
    png: dict[str, Json] = {octets: _bytes()[octets], "image/png": {"schema": {}}}
    sheet: dict[str, Json] = {
        "operationId": "get_batch_sheet",
        "tags": ["batches"],
        "summary": "The contact sheet of a batch",
        "description": "While jobs are left, of the pictures that there are by now.",
        "responses": {"200": {"description": "The sheet.", "content": png}, **_errors(*_ALWAYS, "404", "429")},
    }
    events = _events(
        "get_batch_events", "batches", "Follow a batch", "status, progress, job, until the batch has ended"
    )
    batch = _ref("Batch")
    return {
        "/batches": {"get": lists},
        "/batches/{id}": {"parameters": [id_], "get": _get("get_batch", "batches", "Look at a batch", batch, "404")},
        "/batches/{id}/events": {"parameters": [id_], "get": events},
        "/batches/{id}/cancel": {
            "parameters": [id_],
            "post": _get("cancel_batch", "batches", "Cancel the jobs that are left", batch, "404"),
        },
        "/batches/{id}/sheet": {"parameters": [id_], "get": sheet},
    }


def _workflows() -> dict[str, Json]:
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Name of a workflow; with @3 behind it, that version.",
        "schema": {"type": "string", "pattern": _ANY_NAME},
    }
    document: dict[str, Json] = {"type": "object"}
    return {
        "/workflows": {"get": _get("list_workflows", "workflows", "List all workflows", _ref("WorkflowList"))},
        "/openapi.json": {
            "get": _get(
                "get_openapi_of_all",
                "workflows",
                "OpenAPI document of all workflows",
                document,
                "500",
                answer="An OpenAPI document.",
            )
        },
        "/workflows/{name}": {
            "parameters": [name],
            "get": _get("get_workflow", "workflows", "Look at a workflow", _ref("Workflow"), "404", "500"),
            "put": _publish(),
            "delete": {
                "operationId": "delete_workflow",
                "tags": ["workflows"],
                "summary": "Remove a workflow",
                "description": "Removes all versions of a name; name@3 removes that version.",
                "responses": {
                    "200": {"description": "What was removed.", "content": _content(_ref("Removed"))},
                    **_errors(*_ALWAYS, "404"),
                },
            },
        },
        "/workflows/{name}/schema.json": {
            "parameters": [name],
            "get": _get(
                "get_schema", "workflows", "JSON Schema of its inputs", document, "404", "500", answer="A JSON Schema."
            ),
        },
        "/workflows/{name}/batch.schema.json": {
            "parameters": [name],
            "get": _get(
                "get_batch_schema",
                "workflows",
                "JSON Schema of a batch of it",
                document,
                "404",
                "500",
                answer="A JSON Schema.",
            ),
        },
        "/workflows/{name}/openapi.json": {
            "parameters": [name],
            "get": _get(
                "get_openapi",
                "workflows",
                "OpenAPI document of it",
                document,
                "404",
                "500",
                answer="An OpenAPI document.",
            ),
        },
    }


def _publish() -> dict[str, Json]:
    return {
        "operationId": "put_workflow",
        "tags": ["workflows"],
        "summary": "Publish a workflow",
        "description": "Publishes a workflow of the editor or a graph in API form, or what was published elsewhere; "
        "under a name that there is, as its next version.",
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "Name of the workflow, without a version.",
                "schema": {"type": "string", "pattern": _PLAIN_NAME},
            },
            _query(
                "dry_run",
                "Publishes nothing, and answers what would be published.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
            _query(
                "base_url",
                "Where clients reach this service, for the addresses in the answer.",
                {"type": "string", "pattern": "^https?://[!#-;=?-\\[\\]_a-z~]{1,500}$"},
            ),
        ],
        "requestBody": {"required": True, "content": _content(_ref("PublishRequest"))},
        "responses": {
            "200": {"description": "It would be published so.", "content": _content(_ref("Draft"))},
            "201": {"description": "It is published.", "content": _content(_ref("Workflow"))},
            **_errors("400", "401", "403", "409", "413", "422", "503"),
        },
    }


def _runware() -> dict[str, Json]:
    answer = _content(_ref("RunwareAnswer"))
    return {
        "/v1": {
            "post": {
                "operationId": "run_tasks",
                "tags": ["runware"],
                "summary": "Do tasks in Runware's form",
                "description": "Every task is answered, in data or in errors. What the workflow cannot honour is an "
                "error that names the parameter.",
                "requestBody": {"required": True, "content": _content(_ref("RunwareTasks"))},
                "callbacks": _callbacks("{$request.body#/0/webhookURL}", "RunwareAnswer"),
                "responses": {
                    "200": {"description": "At least one task was done.", "content": answer},
                    "400": {"description": "None was.", "content": answer},
                    **{
                        item.status: {"description": item.description, "content": answer}
                        for item in _ERRORS
                        if item.status in ("401", "403", "413", "429", "503")
                    },
                },
            }
        }
    }


def _jobs() -> dict[str, Json]:
    id_ = _id("Id of the job.")
    post: dict[str, Json] = {
        "operationId": "post_job",
        "tags": ["jobs"],
        "summary": "Run a graph",
        "description": "Runs a graph as it is; may be switched off, so that published workflows run only.",
        "parameters": [_idempotency_key(), _webhook_url()],
        "requestBody": {"required": True, "content": _content(_ref("JobRequest"))},
        "callbacks": _callbacks("{$request.query.webhook_url}", "Job"),
        "responses": {
            "201": {"description": "The job.", "content": _content(_ref("Job"))},
            **_errors("400", "401", "403", "413", "422", "429", "503"),
        },
    }
    lists = _get("list_jobs", "jobs", "List jobs, the newest first", _ref("JobList"))
    lists["parameters"] = [
        _query("status", "Status words, with commas between.", {"type": "string", "pattern": _STATUS_WORDS}),
        *_paging(),
    ]
    kinds = "status, progress, preview, output, until the job has ended"
    events = _events("get_job_events", "jobs", "Follow a job", kinds)
    cancel = _get("cancel_job", "jobs", "Cancel a job", _ref("Job"), "404")
    workflow = _get("get_job_workflow", "jobs", "The graph that a job runs", _ref("JobWorkflow"), "404")
    health = _get("get_health", "jobs", "Whether the service is there", _ref("Health"))
    return {
        "/api/v2/jobs": {"post": post, "get": lists},
        "/api/v2/jobs/{id}": {"parameters": [id_], "get": _get("get_job", "jobs", "Look at a job", _ref("Job"), "404")},
        "/api/v2/jobs/{id}/workflow": {"parameters": [id_], "get": workflow},
        "/api/v2/jobs/{id}/events": {"parameters": [id_], "get": events},
        "/api/v2/jobs/{id}/cancel": {"parameters": [id_], "post": cancel},
        "/api/v2/health": {"get": {**health, "security": [{}]}},
    }


def _events(operation: str, tag: str, summary: str, kinds: str) -> dict[str, Json]:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "description": f"Server-Sent Events: {kinds}.",
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Id of the last event.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {
                "description": "The events.",
                "content": {"text/event-stream": {"schema": {"description": "One event: its id, its name, and JSON."}}},
            },
            **_errors(*_ALWAYS, "404", "429"),
        },
    }


def _paging() -> list[dict[str, Json]]:
    return [
        _query("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
        _query("cursor", "The next_cursor of the list before.", {"type": "string", "pattern": f"^{CURSOR}$"}),
    ]


def _assets() -> dict[str, Json]:
    id_ = _id("Id of the asset.")
    form = {
        "type": "object",
        "properties": {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "file_path": {"type": "string"},
            "content_type": {"type": "string", "pattern": f"^{CONTENT_TYPE}$"},
            "expected_hash": {"type": "string", "pattern": "^blake3:[0-9a-f]{64}$"},
            "tags": {"type": "string"},
        },
        "required": ["file"],
        "additionalProperties": False,
    }
    made = {"description": "The asset.", "content": _content(_ref("Asset"))}
    content: dict[str, Json] = {
        "operationId": "get_asset_content",
        "tags": ["assets"],
        "summary": "The bytes of an asset",
        "parameters": [
            {
                "name": "Range",
                "in": "header",
                "description": "A part of them, such as bytes=0-99.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {"description": "All bytes.", "content": _bytes()},
            "206": {"description": "A part of them.", "content": _bytes()},
            "416": {"description": "There is no such part."},
            **_errors(*_ALWAYS, "404"),
        },
    }
    return {
        "/api/v2/assets": {
            "post": {
                "operationId": "post_asset",
                "tags": ["assets"],
                "summary": "Upload a file",
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
                "responses": {
                    "200": {**made, "description": "The asset, whose bytes were here already."},
                    "201": made,
                    **_errors("400", "401", "403", "409", "413", "422", "503"),
                },
            }
        },
        "/api/v2/assets/from-hash": {
            "post": {
                "operationId": "post_asset_from_hash",
                "tags": ["assets"],
                "summary": "An asset of bytes that were uploaded before",
                "requestBody": {"required": True, "content": _content(_ref("AssetFromHash"))},
                "responses": {"200": made, **_errors("400", "401", "403", "404", "413", "503")},
            }
        },
        "/api/v2/assets/by-hash/{hash}": {
            "parameters": [
                {
                    "name": "hash",
                    "in": "path",
                    "required": True,
                    "description": "Hash of the bytes.",
                    "schema": {"type": "string", "pattern": "^blake3:[0-9a-f]{64}$"},
                }
            ],
            "head": {
                "operationId": "head_asset_by_hash",
                "tags": ["assets"],
                "summary": "Whether bytes were uploaded before",
                "responses": {
                    "200": {"description": "They were."},
                    "404": {"description": "They were not."},
                    **{status: {"description": "No."} for status in _ALWAYS},
                },
            },
        },
        "/api/v2/assets/{id}": {
            "parameters": [id_],
            "get": _get("get_asset", "assets", "Look at an asset", _ref("Asset"), "404"),
            "delete": {
                "operationId": "delete_asset",
                "tags": ["assets"],
                "summary": "Delete an asset",
                "responses": {"204": {"description": "It is gone."}, **_errors(*_ALWAYS, "404", "409")},
            },
        },
        "/api/v2/assets/{id}/content": {"parameters": [id_], "get": content},
    }


def _get(
    operation: str, tag: str, summary: str, schema: dict[str, Json], *errors: str, answer: str = "It is here."
) -> dict[str, Json]:
    ok = {"description": answer, "content": _content(schema)}
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": ok, **_errors(*_ALWAYS, *errors)},
    }


def _errors(*statuses: str) -> dict[str, Json]:
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in sorted(statuses)}


def _error(item: _Error) -> dict[str, Json]:
    found: dict[str, Json] = {
        "description": item.description,
        "content": _content(_ref("Error"), error_example(item.code, item.message)),
    }
    if item.status == "429":
        found["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


def _content(schema: dict[str, Json], example: Json = None) -> dict[str, Json]:
    return {_JSON: {"schema": schema} if example is None else {"schema": schema, "example": example}}


def _bytes() -> dict[str, Json]:
    """A file of any type; makers of clients know the first one."""
    return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}, "*/*": {"schema": {}}}


def _idempotency_key() -> dict[str, Json]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Counts once: a second request with the same key is refused, so that nothing runs twice.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    }


def _webhook_url(what: str = "job") -> dict[str, Json]:
    return _query(
        "webhook_url",
        f"Who is told when the {what} has ended; an address from the list in the server's settings.",
        {"type": "string", "pattern": "^https?://[!-~]+$", "maxLength": 2000},
    )


def _callbacks(url: str, schema: str, what: str = "job") -> dict[str, Json]:
    """What is posted when a job or a batch has ended."""
    headers = (
        ("webhook-id", "The same each time that this is told again."),
        ("webhook-timestamp", "Seconds since 1970, of this attempt."),
        ("webhook-signature", "v1, and HMAC-SHA256 in base64 of id.timestamp.body, as Standard Webhooks has it."),
    )
    return {
        "ended": {
            url: {
                "post": {
                    "summary": f"A {what} has ended",
                    "description": "Told again, later and later, until it is answered with 2xx; 410 ends that.",
                    "parameters": [
                        {"name": name, "in": "header", "required": True, "description": said,
                         "schema": {"type": "string"}}
                        for name, said in headers
                    ],
                    "requestBody": {"required": True, "content": _content(_ref(schema))},
                    "responses": {"2XX": {"description": "It is taken."}},
                }
            }
        }
    }  # fmt: skip


def _id(description: str) -> dict[str, Json]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "maxLength": 100},
    }


def _query(name: str, description: str, schema: dict[str, Json]) -> dict[str, Json]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _ref(name: str) -> dict[str, Json]:
    return {"$ref": f"#/components/schemas/{name}"}


def _with_refs(schema: dict[str, Json]) -> dict[str, Json]:
    """The same with one reference for what many inputs share, and without the title, which would be the type's name."""
    del schema["title"]
    for item in cast("dict[str, dict[str, Any]]", schema["properties"]).values():
        if "anyOf" in item:
            item["anyOf"] = [_ref("AssetReference") if one == ASSET_REFERENCE else one for one in item["anyOf"]]
    return schema


def _batch_with_refs(schema: dict[str, Json]) -> dict[str, Json]:
    """The same of a batch."""
    inputs, each = (schema["properties"][name]["properties"] for name in ("inputs", "each"))
    lists = [kind["items"] for one in each.values() for kind in one.get("anyOf", [one]) if "items" in kind]
    for item in cast("list[dict[str, Any]]", [*inputs.values(), *lists]):
        if "anyOf" in item:
            item["anyOf"] = [_ref("AssetReference") if one == ASSET_REFERENCE else one for one in item["anyOf"]]
    return schema


def _pascal(name: str) -> str:
    words = name.replace("-", "_").split("_")
    made = "".join(word[:1].upper() + word[1:] for word in words if word)
    return made if made[:1].isalpha() else f"Workflow{made}"
