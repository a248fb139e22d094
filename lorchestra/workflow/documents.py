"""The documents of published workflows: JSON Schema, OpenAPI, an example request, clients."""

from __future__ import annotations

from collections.abc import Sequence

from ..limits import Json
from .publication import Publication

__all__ = ["openapi_of", "schema_of"]


def schema_of(publication: Publication) -> dict[str, Json]:
    """The JSON Schema (draft 2020-12) of the inputs, as a new copy."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {item.name: dict(item.schema) for item in publication.inputs},
        "required": [item.name for item in publication.inputs if item.is_required],
        "additionalProperties": False,
    }


def openapi_of(publications: Sequence[Publication], base_url: str) -> dict[str, Json]:
    """The OpenAPI 3.1 document of these publications at `base_url`, such as `http://127.0.0.1:8188/lorchestra`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lorchestra", "version": "1"},
        "servers": [{"url": base_url}],
        "paths": {},
        "components": {"schemas": {item.name: schema_of(item) for item in publications}},
    }
