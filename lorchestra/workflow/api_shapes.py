"""Shapes of the official job API as JSON Schemas, for the OpenAPI document. Pure; always new copies.

Source: `comfy_low.models` of comfy-sdk 0.5.0, and the reference of the Comfy API v2 (MIT).
"""

from __future__ import annotations

import copy

from ..exchange.runware import WEIGHT_MAX, WEIGHT_MIN
from ..limits import Json
from .interface import OUTPUT_KINDS
from .value_schema import ASSET_REFERENCE

CURSOR = r"[0-9]{1,12}\.[0-9]{9}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""Where a list of jobs goes on: the moment of its last job, and the job's id."""
UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_WORD = "[A-Za-z0-9!#$&^_.+-]{1,60}"
CONTENT_TYPE = f"{_WORD}/{_WORD}(?: *; *{_WORD}={_WORD}){{0,3}}"
"""Example: `text/plain; charset=utf-8`."""
STATUSES = ("queued", "running", "succeeded", "canceling", "canceled", "failed", "expired")
_ID = "7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b"
_ASSET = "9f8a1c0d-2b3e-4f56-8a7b-1c2d3e4f5a6b"
_NOW, _LATER = "2026-11-29T12:00:00+00:00", "2026-11-30T12:00:00+00:00"


def shapes() -> dict[str, Json]:
    """Name → schema of everything that all services have."""
    return {
        "AssetReference": copy.deepcopy(ASSET_REFERENCE),
        "Workflow": _workflow(),
        "WorkflowSummary": _summary(),
        "WorkflowList": _object({"workflows": _array(_ref("WorkflowSummary"))}, ["workflows"]),
        "PublishRequest": _publish_request(),
        "Draft": _draft(),
        "Removed": _object({"removed": _array(_text("Name of a version.", "portrait@2"))}, ["removed"]),
        "Job": _job(),
        "JobStatus": {"type": "string", "enum": list(STATUSES)},
        "JobList": _object(
            {"jobs": _array(_ref("Job")), "truncated": {"type": "boolean"}, "next_cursor": {"type": "string"}}, ["jobs"]
        ),
        "Batch": _batch(),
        "BatchJob": _batch_job(),
        "BatchList": _object({"batches": _array(_ref("Batch")), "next_cursor": {"type": "string"}}, ["batches"]),
        "JobWorkflow": _object(
            {"workflow": {"type": "object"}, "format": {"type": "string", "enum": ["api", "save"]}},
            ["workflow", "format"],
        ),
        "JobRequest": _job_request(),
        "Progress": _progress(),
        "Output": _output(),
        "JobError": _object(
            {
                "code": _text("What went wrong, for programs.", "node_execution_error"),
                "message": _text("The same for people."),
                "node_id": _or_null("string"),
                "class_type": _or_null("string"),
                "traceback": _or_null("string"),
            },
            ["code", "message"],
        ),
        "Asset": _asset(),
        "AssetFromHash": _object(
            {
                "hash": {"type": "string", "pattern": "^blake3:[0-9a-f]{64}$"},
                "file_path": {"type": "string"},
                "content_type": {"type": "string"},
                "tags": {},
            },
            ["hash"],
            is_closed=True,
        ),
        "RunwareTasks": _runware_tasks(),
        "RunwareImageInference": _image_inference(),
        "RunwareGetResponse": _task("getResponse", {}, ["taskUUID"]),
        "RunwarePing": _task("ping", {"ping": {"type": "boolean"}}, []),
        "RunwareAuthentication": _task("authentication", {"apiKey": {"type": "string"}}, []),
        "RunwareAnswer": _runware_answer(),
        "Error": _error(),
        "Health": _object({"status": {"type": "string"}}, ["status"]),
    }


def _workflow() -> dict[str, Json]:
    return _object(
        {
            "name": _text("Its name."),
            "version": {"type": "integer", "minimum": 1},
            "description": {"type": "string"},
            "inputs": _array(_input()),
            "outputs": _array(_result()),
            "graph": {"type": "object"},
            "graph_hash": {"type": "string"},
            "notes": _array({"type": "string"}),
            "versions": _array({"type": "integer"}),
            "urls": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        ["name", "version", "inputs", "outputs"],
    )


def _input() -> dict[str, Json]:
    return _object(
        {
            "name": _text("What callers name it by."),
            "kind": _text(
                "What it is: text, integer, number, boolean, choice, file, image, mask, video, audio, loras …"
            ),
            "title": _text("What people call it."),
            "description": _text("What it does."),
            "schema": {"type": "object"},
            "default": {"description": "The workflow's own value."},
            "node": _text("Id of the node that it goes to."),
            "widget": _text("The node's input that it goes to."),
            "place": _array(_text("Its node and its widget in the editor.")),
            "row": {
                "type": ["integer", "null"],
                "description": "Number of the row in the workflow's extra that says something of it.",
            },
        },
        ["name", "kind", "schema"],
    )


def _result() -> dict[str, Json]:
    return _object(
        {"name": _text("Its name."), "kind": {"type": "string", "enum": list(OUTPUT_KINDS)}, "node": _text("Node id.")},
        ["name", "kind", "node"],
    )


def _draft() -> dict[str, Json]:
    problem = _object({"path": _text("The row.", "inputs[3]"), "message": _text("Why it cannot be.")}, ["message"])
    found = _object({"inputs": _array(_input()), "outputs": _array(_result())}, ["inputs", "outputs"])
    return _object(
        {
            "publication": _ref("Workflow"),
            "schema": {"type": "object", "description": "JSON Schema of its inputs."},
            "programs": {"type": "object", "additionalProperties": {"type": "string"}},
            "problems": _array(problem)
            | {"description": "Rows in the workflow's extra that keep it from being published."},
            "found": found | {"description": "The same before the workflow's extra says anything."},
            "others": _array(_array({"type": "string"})) | {"description": "Widgets that may become inputs."},
            "versions": _array({"type": "integer"}),
            "is_published": {"type": "boolean", "description": "Whether the newest version is just this."},
        },
        ["publication", "schema", "programs", "problems", "found", "versions", "is_published"],
    )


def _publish_request() -> dict[str, Json]:
    schema = _object(
        {
            "workflow": {"type": "object", "description": "As the editor saves it, or in API form."},
            "publication": {"type": "object", "description": "A workflow as it is shown by this service, or another."},
            "description": _text("What it is for."),
        },
        [],
        is_closed=True,
    )
    return schema | {"oneOf": [{"required": ["workflow"]}, {"required": ["publication"]}]}


def _image_inference() -> dict[str, Json]:
    lora = _object(
        {
            "model": _text("AIR, hash or name of the file.", "civitai:120096@135931"),
            "weight": _number("number", WEIGHT_MIN, WEIGHT_MAX) | {"default": 1},
        },
        ["model"],
        is_closed=True,
    )
    own = {
        "model": _text("AIR or name of the checkpoint, by which the workflow is found.") | {"minLength": 1},
        "positivePrompt": _text("What is to be made; __BLANK__ for nothing.") | {"minLength": 1},
        "negativePrompt": _text("What is to be avoided."),
        "scheduler": _text("As Runware calls them.", "DPM++ 2M Karras"),
        "CFGScale": _number("number", 0, 100),
        "strength": _number("number", 0, 1),
        "width": _number("integer", 16, 16384),
        "height": _number("integer", 16, 16384),
        "steps": _number("integer", 1, 10_000),
        "seed": _number("integer", 0, 2**63 - 1) | {"description": "Drawn by the server if it is not sent."},
        "numberResults": _number("integer", 1, 20) | {"default": 1},
        "outputType": {"type": "string", "enum": ["URL", "base64Data", "dataURI"], "default": "URL"},
        "outputFormat": {"type": "string", "enum": ["PNG", "JPG", "WEBP"]},
        "outputQuality": _number("integer", 20, 99) | {"default": 95},
        "deliveryMethod": {"type": "string", "enum": ["sync", "async"], "default": "sync"},
        "seedImage": _text("Base64, a data URI, or the id of an asset."),
        "maskImage": _text("Base64, a data URI, or the id of an asset."),
        "includeCost": {"type": "boolean", "const": False},
        "webhookURL": _text("Who is told when each picture is there; from the list in the server's settings."),
        "lora": _array(lora),
    }
    return _task("imageInference", own, ["taskUUID", "model", "positivePrompt"])


def _task(kind: str, own: dict[str, Json], required: list[str]) -> dict[str, Json]:
    """The schema of a task of this type."""
    uuid = _text("A UUID of the caller's, by which getResponse finds it.", _ID) | {"pattern": f"^{UUID}$"}
    return _object(
        {"taskType": {"type": "string", "enum": [kind]}, "taskUUID": uuid, **own}, ["taskType", *required],
        is_closed=True,
    )  # fmt: skip


def _runware_tasks() -> dict[str, Json]:
    kinds = ("RunwareImageInference", "RunwareGetResponse", "RunwarePing", "RunwareAuthentication")
    return _array({"oneOf": [_ref(kind) for kind in kinds]}) | {"minItems": 1, "maxItems": 100}


def _runware_answer() -> dict[str, Json]:
    error = _object(
        {name: {"type": "string"} for name in ("code", "message", "parameter", "taskType", "taskUUID")},
        ["code", "message"],
    )
    return _object({"data": _array({"type": "object"}), "errors": _array(error)}, ["data"])


def _summary() -> dict[str, Json]:
    return _object(
        {
            "name": _text("Its name."),
            "version": {"type": "integer", "minimum": 1},
            "description": {"type": "string"},
            "inputs": _array({"type": "string"}),
            "outputs": _array({"type": "string"}),
            "urls": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        ["name", "version"],
    )


def _job() -> dict[str, Json]:
    time = {"type": "string", "format": "date-time"}
    time_or_null = {"type": ["string", "null"], "format": "date-time"}
    urls = _object(
        {
            "self": _text("Where it is."),
            "events": _text("Where its events come."),
            "cancel": _text("Where it is canceled."),
        },
        ["self", "events", "cancel"],
    )
    return {
        **_object(
            {
                "id": _text("A UUID.", _ID),
                "status": _ref("JobStatus"),
                "created_at": time,
                "started_at": time_or_null,
                "completed_at": time_or_null,
                "expires_at": time,
                "queue_position": _or_null("integer"),
                "progress": {"anyOf": [_ref("Progress"), {"type": "null"}]},
                "outputs": _array(_ref("Output")),
                "error": {"anyOf": [_ref("JobError"), {"type": "null"}]},
                "metrics": {"type": ["object", "null"], "additionalProperties": _or_null("integer")},
                "urls": urls,
                "workflow": _text("The published workflow that it runs, with its version."),
                "metadata": {"description": "Labels that the caller gave."},
                "priority": {"type": "integer"},
                "batch": _text("Id of the batch that it is of.", _ID),
                "caller": _text("Whose job it is, where several may call."),
                "drawn": {
                    "description": "Inputs that were not sent and that the server drew, by name: a seed that the "
                    "editor randomizes. Send them to get the same again.",
                    "type": "object",
                    "additionalProperties": {"type": "integer"},
                },
            },
            [
                "id", "status", "created_at", "started_at", "completed_at", "expires_at", "queue_position", "progress",
                "outputs", "error", "urls",
            ],
        ),
        "description": "One run. Follow its urls; poll it, or read its events, until it has ended.",
    }  # fmt: skip


def _batch() -> dict[str, Json]:
    time = {"type": "string", "format": "date-time"}
    number: dict[str, Json] = {"type": "integer", "minimum": 0}
    progress = _object(
        {"value": {"type": "number", "minimum": 0, "maximum": 1}, "jobs_ended": number, "jobs_total": number},
        ["value", "jobs_ended", "jobs_total"],
    )
    varied = _object(
        {"input": _text("Its name."), "values": {"type": "array", "items": {}}, "labels": _array({"type": "string"})},
        ["input", "values", "labels"],
    )
    sheet = _object(
        {
            "id": _text("Id of the asset.", _ASSET),
            "url": _text("Where its bytes are."),
            "content_type": _text("Its type.", "image/png"),
            "size_bytes": number,
        },
        ["id", "url", "content_type", "size_bytes"],
    )
    left_out = _object({"model": _text("The LoRA."), "message": _text("Why it cannot be used.")}, ["model", "message"])
    urls = _object({name: {"type": "string"} for name in ("self", "events", "cancel", "sheet")}, ["self", "sheet"])
    properties: dict[str, Json] = {
        "id": _text("A UUID.", _ID),
        "status": _ref("JobStatus"),
        "created_at": time,
        "completed_at": time | {"type": ["string", "null"]},
        "expires_at": time,
        "workflow": _text("The published workflow that it runs, with its version."),
        "progress": progress,
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "inputs": {"type": "object", "description": "What is the same in all jobs."},
        "drawn": {"type": "object", "description": "Of these, what the server drew."},
        "each": _array(varied) | {"description": "What varies; there is a job for every combination."},
        "left_out": _array(left_out),
        "sheet": {"anyOf": [sheet, {"type": "null"}], "description": "The contact sheet, when it is made."},
        "sheet_problem": _or_null("string"),
        "jobs": _array(_ref("BatchJob")) | {"description": "In their order; the last input changes first."},
        "urls": urls,
    }
    required = (
        "id",
        "status",
        "created_at",
        "completed_at",
        "expires_at",
        "workflow",
        "progress",
        "counts",
        "each",
        "urls",
    )
    return {
        **_object(properties, list(required)),
        "description": "Many jobs of one workflow. It has ended when all of them have and its sheet is made.",
    }


def _batch_job() -> dict[str, Json]:
    return _object(
        {
            "id": _text("A UUID.", _ID),
            "status": _ref("JobStatus"),
            "values": {"type": "object", "description": "Its values of what varies, by the inputs' names."},
            "labels": _array({"type": "string"}),
            "outputs": _array(_ref("Output")),
            "error": {"anyOf": [_ref("JobError"), {"type": "null"}]},
            "url": _text("Where the job is."),
        },
        ["id", "status", "values", "labels", "outputs", "error", "url"],
    )


def _job_request() -> dict[str, Json]:
    return _object(
        {
            "workflow": {
                "description": "A graph in the form of ComfyUI's API.",
                "type": "object",
                "additionalProperties": {"type": "object"},
                "minProperties": 1,
            },
            "extra_data": {
                "type": ["object", "null"],
                "properties": {"api_key_comfy_org": {"type": "string"}},
                "additionalProperties": False,
            },
            "metadata": {"description": "Labels, at most 16 by name.", "type": ["object", "string", "null"]},
            "priority": {"type": ["integer", "null"], "minimum": -1_000_000, "maximum": 1_000_000},
        },
        ["workflow"],
        is_closed=True,
    )


def _progress() -> dict[str, Json]:
    return _object(
        {
            "value": {"type": "number", "minimum": 0, "maximum": 1},
            "nodes_done": {"type": "integer", "minimum": 0},
            "nodes_total": {"type": "integer", "minimum": 0},
            "current_node": _or_null("string"),
            "current_node_class": _or_null("string"),
            "step": _or_null("integer"),
            "steps": _or_null("integer"),
            "message": _or_null("string"),
        },
        ["value", "nodes_done", "nodes_total"],
    )


def _output() -> dict[str, Json]:
    return _object(
        {
            "node_id": _text("The node that made it."),
            "name": _text("Name of the file.", "ComfyUI_00001_.png"),
            "type": {"type": "string", "enum": list(OUTPUT_KINDS)},
            "content_type": _text("Its type.", "image/png"),
            "size_bytes": {"type": "integer", "minimum": 0},
            "id": _text("Id of the asset.", _ASSET),
            "hash": _or_null("string"),
            "url": _text("Where its bytes are; with outputs=data_uri the bytes themselves."),
            "url_expires_at": {"type": "string", "format": "date-time"},
            "job_id": _or_null("string"),
            "data_base64": _text("Its bytes, with outputs=base64."),
        },
        ["node_id", "name", "type", "content_type", "size_bytes", "id", "hash", "url", "url_expires_at"],
    )


def _asset() -> dict[str, Json]:
    return _object(
        {
            "id": _text("A UUID.", _ASSET),
            "hash": _or_null("string"),
            "size_bytes": {"type": "integer", "minimum": 0},
            "content_type": {"type": "string"},
            "file_path": _or_null("string"),
            "created_new": _or_null("boolean"),
            "created_at": {"type": "string", "format": "date-time"},
            "url": {"type": "string"},
            "url_expires_at": {"type": "string", "format": "date-time"},
            "expires_at": {"type": ["string", "null"], "format": "date-time"},
            "job_id": _or_null("string"),
        },
        ["id", "hash", "size_bytes", "content_type", "created_at", "url", "url_expires_at"],
    )


def _error() -> dict[str, Json]:
    details = {
        "description": "path is the field that is to blame, such as loras[1].weight; node_errors what ComfyUI says.",
        "type": ["object", "null"],
    }
    inner = _object(
        {"code": _text("For programs.", "invalid_request"), "message": _text("For people."), "details": details},
        ["code", "message"],
    )
    return {**_object({"error": inner}, ["error"]), "description": "What was wrong, where, and what to do."}


def job_example(name: str, version: int) -> dict[str, Json]:
    """A job that has just been queued."""
    own = f"/lorchestra/api/v2/jobs/{_ID}"
    return {
        "id": _ID,
        "status": "queued",
        "created_at": _NOW,
        "started_at": None,
        "completed_at": None,
        "expires_at": _LATER,
        "queue_position": 1,
        "progress": None,
        "outputs": [],
        "error": None,
        "metrics": {"queue_ms": None, "execution_ms": None},
        "urls": {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"},
        "workflow": f"{name}@{version}",
    }


def error_example(code: str, message: str, path: str | None = None) -> dict[str, Json]:
    """An error as it is answered."""
    shown = f"{path}: {message}" if path else message
    return {"error": {"code": code, "message": shown, "details": {"path": path} if path else None}}


def _object(properties: dict[str, Json], required: list[str], *, is_closed: bool = False) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": "object", "properties": properties, "required": required}
    return schema | {"additionalProperties": False} if is_closed else schema


def _array(items: dict[str, Json]) -> dict[str, Json]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, Json]:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, example: str | None = None) -> dict[str, Json]:
    schema: dict[str, Json] = {"description": description, "type": "string"}
    return schema if example is None else schema | {"examples": [example]}


def _number(kind: str, least: float, most: float) -> dict[str, Json]:
    return {"type": kind, "minimum": least, "maximum": most}


def _or_null(kind: str) -> dict[str, Json]:
    return {"type": [kind, "null"]}
