"""The documents of published workflows: JSON Schema, OpenAPI, an example request, clients; see `DOCUMENTS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import WorkflowError, quoted
from .clients import to_curl, to_python, to_requests, to_typescript
from .openapi import openapi_of
from .publication import Publication
from .runware_form import to_runware
from .schema import example_of, schema_of

__all__ = ["DOCUMENTS", "PROGRAMS", "Document", "document_of", "example_of", "openapi_of", "schema_of"]


@dataclass(frozen=True, slots=True)
class Document:
    """One form in which a workflow leaves."""

    id: str
    suffix: str
    write: Callable[[Publication, str], str]
    """From a publication and the address of the service."""


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


DOCUMENTS = (
    Document("schema", ".schema.json", lambda publication, _: _text(schema_of(publication))),
    Document("openapi", ".openapi.json", lambda publication, url: _text(openapi_of([publication], url))),
    Document("request", ".request.json", lambda publication, _: _text(example_of(publication))),
    Document("python", ".py", to_python),
    Document("requests", ".requests.py", to_requests),
    Document("typescript", ".ts", to_typescript),
    Document("curl", ".sh", to_curl),
    Document("runware", ".runware.json", lambda publication, _: _text(to_runware(publication))),
)
"""To add one: its row here; the command line takes its choices from it."""


PROGRAMS = ("curl", "python", "requests", "typescript")
"""Those that call it, and that every workflow has."""


def document_of(publication: Publication, id: str, base_url: str) -> str:  # noqa: A002 - it is the document's id
    """The text of a document; raises `WorkflowError` for one that there is not, or that the workflow does not fit."""
    found = next((item for item in DOCUMENTS if item.id == id), None)
    if found is None:
        known = ", ".join(item.id for item in DOCUMENTS)
        raise WorkflowError(f"there is no document {quoted(id)}; choose one of {known}")
    return found.write(publication, base_url)
