"""The JSON Schema (draft 2020-12) of a stack's JSON form: whatever `Stack.to_json` gives is valid under it."""

from __future__ import annotations

from ..limits import MAX_GROUP_NAME, MAX_GROUPS, MAX_NAME, MAX_ROWS, MAX_WORD, MAX_WORDS, WEIGHT_LIMIT, Json
from ..stack import BOTH, CONDITIONINGS, DEFAULT_WEIGHT, EXPERTS, PICKS, VERSION, blocks

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = f"urn:lorchestra:schema:stack:{VERSION}"


def stack_schema() -> dict[str, Json]:
    """A new copy of the schema. Unknown keys are allowed everywhere, because a stack keeps them."""
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "LoRA stack",
        "description": "A list of LoRAs with weights. The order of the rows does not change the result.",
        "type": "object",
        "properties": {
            "version": {
                "description": f"Version of this form; {VERSION} is the one described here.",
                "type": "integer",
                "minimum": 1,
                "default": VERSION,
            },
            "loras": {
                "description": "The rows. Rows of the same file add up.",
                "type": "array",
                "items": {"$ref": "#/$defs/row"},
                "maxItems": MAX_ROWS,
                "default": [],
            },
            "groups": _or_null(
                {
                    "description": "Groups of rows. Their names differ.",
                    "type": "array",
                    "items": {"$ref": "#/$defs/group"},
                    "maxItems": MAX_GROUPS,
                }
            ),
        },
        "required": ["loras"],
        "additionalProperties": True,
        "$defs": {"row": _row(), "group": _group(), "weight": _weight("A weight.")},
        "examples": [_example(), {"version": VERSION, "loras": []}],
    }


def _row() -> dict[str, Json]:
    return {
        "title": "Row",
        "description": "One LoRA.",
        "type": "object",
        "properties": {
            "lora": {
                "description": "The file as ComfyUI lists it; or an AIR or a hash where no file is known.",
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_NAME,
                "pattern": r"\S",
                "not": {"pattern": "[\\u0000-\\u001f]"},
            },
            "on": {"description": "False switches the row off.", "type": "boolean", "default": True},
            "model": {**_weight("Weight for the diffusion model."), "default": DEFAULT_WEIGHT},
            "clip": _or_null(
                _weight("Weight for the text encoders; null, like a missing one, means the same as the model's."),
            ),
            "blocks": {
                "description": blocks.DESCRIPTION,
                "type": ["object", "null"],
                "additionalProperties": {"$ref": "#/$defs/weight"},
                "default": {},
            },
            "schedule": _or_null(
                {
                    "description": (
                        "What the model's weight is multiplied by over the steps: 0:0, 0.3:1 ease, 1:0.2, or the name "
                        "of a preset such as fade-in. The text encoders' weight stays as it is."
                    ),
                    "type": "string",
                },
            ),
            "conditioning": {
                "description": "The conditioning that the row acts on.",
                "type": "string",
                "enum": list(CONDITIONINGS),
                "default": BOTH,
            },
            "expert": _or_null(
                {
                    "description": (
                        "The model that the row is for, where two share the work (Wan 2.2): the one for high noise, "
                        "the one for low noise, or both; null means that the file's name tells it."
                    ),
                    "type": "string",
                    "enum": [*EXPERTS, None],
                },
            ),
            "sha256": _or_null(
                {"description": "Hash of the whole file.", "type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
            ),
            "air": _or_null(
                {"description": "The AIR that hosted services know, e.g. civitai:120096@135931.", "type": "string"},
            ),
            "triggers": _or_null(
                {
                    "description": (
                        "The trigger words that are meant; null, like a missing list, means all that are known of the "
                        "file, an empty list none."
                    ),
                    "type": "array",
                    "maxItems": MAX_WORDS,
                    "items": {
                        "type": "string",
                        "maxLength": MAX_WORD,
                        "pattern": r"\S",
                        "not": {"pattern": "[\\u0000-\\u001f]"},
                    },
                },
            ),
            "group": {"description": "The name of its group, if the stack has groups; null for none."},
        },
        "required": ["lora"],
        "additionalProperties": True,
    }


def _group() -> dict[str, Json]:
    return {
        "title": "Group",
        "description": "What several rows have in common: those whose group has this name.",
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_GROUP_NAME,
                "pattern": r"\S",
                "not": {"pattern": "[\\u0000-\\u001f]"},
            },
            "on": {"description": "False switches all its rows off.", "type": "boolean", "default": True},
            "factor": {
                **_weight("What the model and CLIP weights of its rows are multiplied by."),
                "default": 1.0,
            },
            "pick": {
                "description": (
                    "Which of its rows act: all; one, drawn by the node's seed; or next, the one whose turn it is: the "
                    "row number seed modulo their count."
                ),
                "type": "string",
                "enum": list(PICKS),
                "default": "all",
            },
        },
        "required": ["name"],
        "additionalProperties": True,
    }


def _weight(description: str) -> dict[str, Json]:
    return {"description": description, "type": "number", "minimum": -WEIGHT_LIMIT, "maximum": WEIGHT_LIMIT}


def _or_null(schema: dict[str, Json]) -> dict[str, Json]:
    return {**schema, "type": [schema["type"], "null"], "default": None}


def _example() -> dict[str, Json]:
    return {
        "version": VERSION,
        "loras": [
            {"lora": "styles/pixel.safetensors", "model": 0.7, "clip": 0.5, "air": "civitai:120096@135931"},
            {
                "lora": "details.safetensors",
                "on": False,
                "model": DEFAULT_WEIGHT,
                "schedule": "0:0, 0.3:1 ease, 1:0.2",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            },
        ],
    }
