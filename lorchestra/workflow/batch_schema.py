"""The JSON Schema of a batch: a published workflow's inputs, of which some have several values each. Pure.

Whatever is valid under it is run, or refused for a reason that no schema can say, such as too many jobs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

from ..choices import COMPARISONS, STOP, UNFIT
from ..limits import MAX_NAME, MAX_ROWS, WEIGHT_LIMIT, Json
from .interface import INTEGER, LORAS, NUMBER, Input
from .publication import Publication
from .schema import body_of
from .stack_schema import DIALECT

INPUTS, EACH = "inputs", "each"
FROM, TO, STEP = "from", "to", "step"
FOLDER, ROWS, COMPARE, BESIDE, WITHOUT, UNFIT_ROWS = "folder", "rows", "compare", "beside", "without", "unfit"
WEIGHTS, ROW, SECOND_WEIGHTS, SECOND_ROW = "weights", "row", "second_weights", "second_row"
MOST_VALUES = 10_000
"""Of one input."""


def batch_schema_of(publication: Publication) -> dict[str, Json]:
    """The JSON Schema (draft 2020-12) of a batch of a workflow."""
    own = {"$schema": DIALECT, "$id": f"urn:lorchestra:batch:{publication.name}:{publication.version}"}
    return own | {"title": f"{publication.name} batch"} | batch_body_of(publication)


def batch_body_of(publication: Publication) -> dict[str, Json]:
    """The same without what only stands at the top of a document."""
    each: dict[str, Json] = {
        "type": "object",
        "description": "The inputs that vary. There is a job for every combination of their values. In the sheet, the "
        "first input goes across and the second one down, as they are written.",
        "properties": {item.name: variation_of(item) for item in publication.inputs},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {
        "description": f"Many jobs of the workflow {publication.name}.",
        "type": "object",
        "properties": {INPUTS: fixed_of(publication), EACH: each},
        "required": [EACH],
        "additionalProperties": False,
    }


def fixed_of(publication: Publication) -> dict[str, Json]:
    """The schema of the inputs that are the same in all jobs. What is required may be among those that vary."""
    schema = body_of(publication)
    schema.pop("required", None)
    del schema["title"]
    schema["description"] = "What is the same in all jobs; nothing that is in each."
    for value in cast("dict[str, dict[str, Json]]", schema["properties"]).values():
        _strip(value)
    return schema


def variation_of(item: Input) -> dict[str, Json]:
    """The schema of what an input may be in `each`: a list of its values, a range, a comparison of LoRAs."""
    kinds = [values_of(item)]
    if item.kind in (INTEGER, NUMBER):
        kinds.append(range_of(item))
    if item.kind == LORAS:
        kinds.append(comparison_of(item))
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def values_of(item: Input) -> dict[str, Json]:
    """The schema of a list of an input's values, which differ."""
    return _list(_value(item))


def range_of(item: Input) -> dict[str, Json]:
    """The schema of `{"from": 1, "to": 4}`."""
    bounds = {key: item.schema[key] for key in ("minimum", "maximum") if key in item.schema}
    number: dict[str, Json] = {"type": "integer" if item.kind == INTEGER else "number"}
    return _closed(
        {
            FROM: number | bounds,
            TO: number | bounds | {"description": "The last one, if a step leads to it."},
            STEP: number | {"exclusiveMinimum": 0, "default": 1},
        },
        [FROM, TO],
    )


def comparison_of(item: Input) -> dict[str, Json]:
    """The schema of a comparison: what the node LoRA Variants makes of rows, or of every LoRA of a folder."""
    rows = _value(item)
    weight: dict[str, Json] = {"type": "number", "minimum": -WEIGHT_LIMIT, "maximum": WEIGHT_LIMIT}
    weights = _list(weight)
    number: dict[str, Json] = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}
    closed = _closed(
        {
            FOLDER: {
                "description": "Every LoRA in this folder or below it, by the names that ComfyUI lists; empty for all.",
                "type": "string", "maxLength": MAX_NAME,
            },
            ROWS: rows | {"description": "The LoRAs to compare, instead of a folder.", "minItems": 1},
            COMPARE: {
                "description": "As in the node LoRA Variants.",
                "type": "string", "enum": list(COMPARISONS), "default": COMPARISONS[0],
            },
            WEIGHTS: weights | {"description": "Weights of each LoRA, or of the row."},
            ROW: number | {"description": "Number of the row whose weights are compared, from 1.", "default": 1},
            SECOND_WEIGHTS: weights | {"description": "Weights of the second row."},
            SECOND_ROW: number | {"default": 2},
            BESIDE: rows | {"description": "LoRAs that are in every job, also in the one without the others."},
            WITHOUT: {
                "description": "Whether a job without these LoRAs comes first, against which the others are measured.",
                "type": "boolean", "default": True,
            },
            UNFIT_ROWS: {
                "description": "A LoRA that doesn't fit the model refuses the batch, or is left out; left_out says so.",
                "type": "string", "enum": list(UNFIT), "default": STOP,
            },
        },
        [],
    )  # fmt: skip
    return closed | {"oneOf": [{"required": [FOLDER]}, {"required": [ROWS]}]}


def batch_example_of(publication: Publication) -> dict[str, Json] | None:
    """A batch that is valid: of the first number, else of the first input that has a value; None if there is none."""
    for item in publication.inputs:
        if item.kind == INTEGER:
            least = item.schema.get("minimum", 0)
            if item.schema.get("maximum", least + 3) >= least + 3:
                return {EACH: {item.name: {FROM: least, TO: least + 3, STEP: item.schema.get("multipleOf", 1)}}}
    first = next((item for item in publication.inputs if item.default is not None), None)
    return None if first is None else {EACH: {first.name: [copy.deepcopy(first.default)]}}


def _value(item: Input) -> dict[str, Json]:
    schema = copy.deepcopy(dict(item.schema))
    _strip(schema)
    return schema


def _strip(schema: dict[str, Json]) -> None:
    """Takes titles off, here and in rows: makers of clients take them for the names of types, which must differ."""
    schema.pop("title", None)
    items = schema.get("items")
    if isinstance(items, dict):
        _strip(cast("dict[str, Json]", items))


def _list(items: dict[str, Json]) -> dict[str, Json]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": MOST_VALUES, "uniqueItems": True}


def _closed(properties: Mapping[str, Json], required: list[str]) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return schema | {"required": required} if required else schema
