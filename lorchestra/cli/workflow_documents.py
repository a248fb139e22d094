"""What `lorchestra export` writes of a whole workflow: schema, OpenAPI, request, clients; notes on stderr."""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast

from ..errors import FileProblem, JsonError, LorchestraError, WorkflowError
from ..files.json_text import read_json
from ..files.opening import read_small
from ..limits import Json
from .terminal import printable

FORMS = ("openapi", "request", "python", "requests", "typescript", "curl")
"""Forms that only a workflow has; `schema` and `runware` are a stack's, too."""
SHARED = ("schema", "runware")
MAX_BYTES = 64_000_000
"""Largest workflow, and largest answer at `/object_info`."""
_MOST_VALUES = 5_000_000
_URL = "http://127.0.0.1:8188/lorchestra"
_SECONDS = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds what only workflows have."""
    group = parser.add_argument_group(f"workflows (--to {', '.join((*SHARED, *FORMS))})")
    group.add_argument(
        "--object-info",
        metavar="FILE|URL",
        help="what ComfyUI answers at /object_info, or the address of a ComfyUI; needed for workflows as the editor "
        "saves them, and for ranges and choices",
    )
    group.add_argument("--name", help="name of the published workflow; that of the file without it")
    group.add_argument("--url", default=_URL, help=f"address of the service in the documents; {_URL} without it")
    group.add_argument("--files", action="store_true", help="list the model files of that ComfyUI as choices")


def is_workflow(value: Json) -> bool:
    """Whether a file is a workflow in UI form, or a graph in API form."""
    from ..workflow.editor import is_saved

    if is_saved(value):
        return True
    if not isinstance(value, dict):
        return False
    data = cast("dict[str, Json]", value)
    inner = data.get("prompt", data)
    nodes = list(cast("dict[str, Json]", inner).values()) if isinstance(inner, dict) else []
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def read_workflow(text: str, args: argparse.Namespace) -> Json | None:
    """The workflow in a text; None if it is none, and may be a stack."""
    if args.to not in (*FORMS, *SHARED):
        return None
    try:
        value = read_json(text, "the workflow", size=MAX_BYTES, values=_MOST_VALUES)
    except JsonError:
        if args.to in FORMS:
            raise
        return None
    if is_workflow(value) or args.to in FORMS:
        return value
    return None


def written(workflow: Json, args: argparse.Namespace) -> str:
    """The document of a workflow; what could not be taken as it says it goes to stderr."""
    from ..workflow.documents import document_of
    from ..workflow.publication import publish

    made = publish(workflow, _object_info(args.object_info), _name(args), with_files=args.files)
    text = document_of(made, args.to, args.url)
    for note in made.notes:
        sys.stderr.write(f"note: {printable(note)}\n")
    return text


def _name(args: argparse.Namespace) -> str:
    from ..workflow.names import slug

    if args.name is not None:
        return args.name
    return slug(Path(args.stack or "").name.split(".")[0]) or "workflow"


def _object_info(source: str | None) -> Json | None:
    if source is None:
        return None
    if not source.lower().startswith(("http://", "https://")):
        text = read_small(source, MAX_BYTES, FileProblem)
        return _checked(read_json(text, source, size=MAX_BYTES, values=_MOST_VALUES), source)
    address = source if source.rstrip("/").endswith("/object_info") else f"{source.rstrip('/')}/object_info"
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # the address is what the caller asked for
            data = answer.read(MAX_BYTES + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise LorchestraError(f"{address} does not answer: {error}. Is ComfyUI running there?") from error
    return _checked(read_json(data, address, size=MAX_BYTES, values=_MOST_VALUES), address)


def _checked(value: Json, source: str) -> Json:
    nodes = list(cast("dict[str, Json]", value).values()) if isinstance(value, dict) else []
    if not nodes or not all(isinstance(node, dict) and "input" in node for node in nodes[:20]):
        raise WorkflowError(f"{source} is not what ComfyUI answers at /object_info")
    return cast("Json", value)
