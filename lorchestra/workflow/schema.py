"""The JSON Schema of what a published workflow takes, and an example of it. Pure; always a new copy."""

from __future__ import annotations

import copy
from typing import cast

from ..limits import Json
from .interface import LORAS, MEDIA, Input
from .publication import Publication
from .stack_schema import DIALECT


def schema_of(publication: Publication) -> dict[str, Json]:
    """The JSON Schema (draft 2020-12) of the inputs."""
    return {"$schema": DIALECT, "$id": f"urn:lorchestra:workflow:{publication.name}:{publication.version}"} | body_of(
        publication
    )


def body_of(publication: Publication) -> dict[str, Json]:
    """The same without what only stands at the top of a document."""
    schema: dict[str, Json] = {
        "title": publication.name,
        "description": publication.description or f"What the workflow {publication.name} takes.",
        "type": "object",
        "properties": {item.name: property_of(item) for item in publication.inputs},
        "additionalProperties": False,
    }
    required = [item.name for item in publication.inputs if item.is_required]
    return schema | {"required": required} if required else schema


def property_of(item: Input) -> dict[str, Json]:
    """The schema of one input, with its title, description and default."""
    said: dict[str, Json] = {"title": item.title or item.name}
    description = item.description
    if item.is_random:
        description = f"{description} Without one, the server draws one, and says it in the job's drawn.".strip()
    if description:
        said["description"] = description
    said |= copy.deepcopy(dict(item.schema))
    if item.default is not None and not item.is_random:
        said["default"] = copy.deepcopy(item.default)
    if item.role:
        said["x-role"] = item.role
    return said


def example_of(publication: Publication) -> dict[str, Json]:
    """A request that is valid: the workflow's own values, with a LoRA where it has none."""
    return {item.name: value for item in publication.inputs if (value := _example(item)) is not None}


def _example(item: Input) -> Json:
    if item.kind == LORAS:
        rows = cast("list[Json]", item.default or [])
        most = item.schema.get("maxItems", 0)
        return copy.deepcopy(rows[:most]) or ([{"model": "civitai:120096@135931", "weight": 0.8}] if most else [])
    if item.default is not None:
        return copy.deepcopy(item.default)
    if item.kind in MEDIA and item.is_required:
        return "example.png"
    return _least(item) if item.is_required else None


def _least(item: Input) -> Json:
    """The smallest value that the schema allows, for an input that must be sent and has no default."""
    schema = item.schema
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "integer" | "number":
            least = schema.get("minimum", min(0, schema.get("maximum", 0)))
            step = schema.get("multipleOf", 1)
            return -(-least // step) * step if schema["type"] == "integer" else least
        case "boolean":
            return False
        case "string":
            return "#000000" if "pattern" in schema else "text"
        case "array":
            return []
        case _:
            return {}
