"""What `/object_info` says of one input → its kind, its JSON Schema, and its default if that is valid. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard, cast

from ..limits import MAX_MEDIA, MAX_NAME, MAX_PROMPT, Json
from .interface import AUDIO, BOOLEAN, CHOICE, FILE, IMAGE, INTEGER, MASK, NUMBER, TEXT, VALUE, VIDEO
from .node_classes import COMBO, DYNAMIC, Spec

MAX_CHOICES = 1000
_MODEL_FILE = re.compile(r"\.(?:safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|engine)", re.IGNORECASE)
_FILE = re.compile(
    r"\.(?:safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|engine|yaml|png|jpe?g|webp|gif|bmp|mp4|webm|mkv|mov|wav|mp3|flac"
    r"|ogg|glb|gltf|obj|ply|splat|ksplat|latent|txt)",
    re.IGNORECASE,
)
"""What names of files end in. Example: `.safetensors`."""
FILE_INPUTS = re.compile(
    r"(?:ckpt|unet|vae|clip|lora|control_net|controlnet|style_model|gligen|upscale|diffusion|text_encoder|model|audio"
    r"|patch|bg_removal|hypernetwork|photomaker|audio_encoder)_?(?:model)?_name\d*|config_name|text_encoder\d?|model_file"
)
"""Inputs with the name of a model's file, whose choices are what one machine has. Example: `ckpt_name`."""
ASSET_REFERENCE: dict[str, Json] = {
    "title": "AssetReference",
    "description": "An asset that was uploaded before, as the official API writes it.",
    "type": "object",
    "properties": {
        "__type": {"const": "core/ASSET"},
        "info": {
            "type": "object",
            "properties": {
                "id": {"description": "The asset's id.", "type": "string", "minLength": 1, "maxLength": 200},
                "hash": {"type": ["string", "null"]},
                "file_path": {"type": ["string", "null"]},
            },
            "required": ["id"],
            "additionalProperties": False,
        },
    },
    "required": ["__type", "info"],
    "additionalProperties": False,
}
_KNOWN: Mapping[str, tuple[str, Mapping[str, Json]]] = {
    "seed": (INTEGER, {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}),
    "steps": (INTEGER, {"type": "integer", "minimum": 1, "maximum": 10_000}),
    "cfg": (NUMBER, {"type": "number", "minimum": 0.0, "maximum": 100.0}),
    "denoise": (NUMBER, {"type": "number", "minimum": 0.0, "maximum": 1.0}),
    "width": (INTEGER, {"type": "integer", "minimum": 16, "maximum": 16_384}),
    "height": (INTEGER, {"type": "integer", "minimum": 16, "maximum": 16_384}),
    "batch_size": (INTEGER, {"type": "integer", "minimum": 1, "maximum": 4096}),
}
"""Ranges of ComfyUI's own nodes (`nodes.py`), for graphs whose `/object_info` is not known."""


def _no_brings() -> dict[str, dict[str, Json]]:
    return {}


@dataclass(frozen=True, slots=True)
class Described:
    """One input of a node, described."""

    kind: str
    schema: dict[str, Json]
    default: Json
    """None if the value that it has is not valid."""
    brings: Mapping[str, Mapping[str, Json]] = field(default_factory=_no_brings)
    """Of a choice that brings other inputs: those of each, with their defaults."""


def describe(spec: Spec | None, value: Json, role: str = "", media: str = "", with_files: bool = False) -> Described:
    """The value's schema; `media` is its kind if it is the name of a picture, a video or a sound.

    `with_files` lists the files that the machine has.
    """
    if media:
        return Described(media, _media(media), value if isinstance(value, str) and value else None)
    brings: dict[str, dict[str, Json]] = {}
    if spec is not None and spec.type == DYNAMIC:
        brings = _brings(spec, value)
        kind, schema = CHOICE, {"type": "string", "enum": list(brings)}
    else:
        kind, schema = _of_spec(spec, with_files) if spec is not None else _of_value(value, role)
    default = _normal(value, schema)
    step = schema.get("multipleOf")
    if isinstance(step, int) and isinstance(default, int) and default % step:  # the workflow itself does otherwise
        schema = {("x-step" if key == "multipleOf" else key): item for key, item in schema.items()}
    return Described(kind, schema, default if _is_valid(default, schema) else None, brings)


def _media(kind: str) -> dict[str, Json]:
    words = {IMAGE: "An image", MASK: "A mask", VIDEO: "A video", AUDIO: "A sound"}
    said = f"{words[kind]}: base64, a data URI, the id of an asset, or the name of a file in ComfyUI's input folder."
    text = {"description": said, "type": "string", "minLength": 1, "maxLength": MAX_MEDIA}
    return {"anyOf": [text, ASSET_REFERENCE]}


def _of_spec(spec: Spec, with_files: bool) -> tuple[str, dict[str, Json]]:
    types = [part.strip() for part in str(spec.options.get("widgetType") or spec.type).split(",")]
    if spec.type == COMBO:
        return _of_choices(spec, with_files)
    if types == ["INT"]:
        return INTEGER, {"type": "integer", **_range(spec, whole=True)}
    if "FLOAT" in types:
        return NUMBER, {"type": "number", **_range(spec, whole=False)}
    if "INT" in types:
        return INTEGER, {"type": "integer", **_range(spec, whole=True)}
    if "BOOLEAN" in types:
        return BOOLEAN, {"type": "boolean"}
    if "STRING" in types:
        return TEXT, {"type": "string", "maxLength": MAX_PROMPT}
    if types == ["COLOR"]:
        return TEXT, {"type": "string", "pattern": "^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?$"}
    return VALUE, {}


def _of_choices(spec: Spec, with_files: bool) -> tuple[str, dict[str, Json]]:
    choices = [choice for choice in spec.choices or () if isinstance(choice, str | int | float)]
    of_files = is_of_files(spec)
    if spec.options.get("multiselect") is True:
        items: dict[str, Json] = {"enum": choices} if choices and not of_files else {"type": "string"}
        return VALUE, {"type": "array", "items": items, "maxItems": MAX_CHOICES}
    if choices and len(choices) <= MAX_CHOICES and (not of_files or with_files):
        words = all(isinstance(choice, str) for choice in choices)
        typed: dict[str, Json] = {"type": "string"} if words else {}
        return FILE if of_files else CHOICE, {**typed, "enum": list(dict.fromkeys(choices))}
    return FILE if of_files else TEXT, {"type": "string", "minLength": 1, "maxLength": MAX_NAME}


def is_of_files(spec: Spec) -> bool:
    """True for choices that are what one machine has in a folder."""
    if FILE_INPUTS.fullmatch(spec.name.rpartition(".")[2]) or spec.options.get("image_folder"):
        return True
    names = [choice for choice in (spec.choices or ())[:50] if isinstance(choice, str)]
    return any(_FILE.fullmatch(name[name.rfind(".") :]) for name in names if "." in name)


def is_model_file(value: Json) -> bool:
    """True for the name of a model's file."""
    return isinstance(value, str) and "." in value and _MODEL_FILE.fullmatch(value[value.rfind(".") :]) is not None


def _range(spec: Spec, whole: bool) -> dict[str, Json]:
    said: dict[str, Json] = {}
    least, most, step = (spec.options.get(key) for key in ("min", "max", "step"))
    if _is_number(least):
        said["minimum"] = math.ceil(least) if whole else least
    if _is_number(most):
        said["maximum"] = math.floor(most) if whole else most
    if said.get("minimum", 0) > said.get("maximum", math.inf):
        said = {}
    if _is_number(step) and step > 0:
        base = said.get("minimum", 0)
        # ComfyUI itself takes numbers between the steps. A step that begins at 0 is what the model needs.
        if whole and step == int(step) and step > 1 and base % int(step) == 0:
            said["multipleOf"] = int(step)
        elif not whole or step > 1:
            said["x-step"] = step
    return said


def _brings(spec: Spec, value: Json) -> dict[str, dict[str, Json]]:
    """Choice → the inputs that it brings; without the choices that need something linked to them."""
    found: dict[str, dict[str, Json]] = {}
    for key in spec.choices or ():
        if not isinstance(key, str):
            continue
        inner = _defaults(spec, key)
        if inner is not None or key == value:
            found[key] = inner or {}
    return found


def _defaults(spec: Spec, key: str, depth: int = 0) -> dict[str, Json] | None:
    values: dict[str, Json] = {}
    for inner in spec.chosen(key):
        if not inner.is_widget:
            if inner.is_required and not inner.type.startswith("COMFY_AUTOGROW"):
                return None
            continue
        values[inner.name] = inner.default
        if inner.type == DYNAMIC and isinstance(inner.default, str) and depth < 8:
            deeper = _defaults(inner, inner.default, depth + 1)
            if deeper is None:
                return None
            values |= deeper
    return {name: value for name, value in values.items() if value is not None}


def _of_value(value: Json, role: str) -> tuple[str, dict[str, Json]]:
    if role in _KNOWN and not isinstance(value, bool) and isinstance(value, int | float):
        kind, schema = _KNOWN[role]
        return kind, dict(schema)
    if isinstance(value, bool):
        return BOOLEAN, {"type": "boolean"}
    if isinstance(value, int):
        return INTEGER, {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1}
    if isinstance(value, float):
        return NUMBER, {"type": "number"}
    if is_model_file(value):
        return FILE, {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    if isinstance(value, str):
        return TEXT, {"type": "string", "maxLength": MAX_PROMPT}
    return VALUE, {}


def intersected(one: Mapping[str, Json], other: Mapping[str, Json]) -> dict[str, Json] | None:
    """The schema of what both schemas allow; None if that cannot be said."""
    if one == other:
        return dict(one)
    both: dict[str, Json] = {}
    if one.get("type") != other.get("type") or one.get("type") not in ("integer", "number"):
        return None
    for key in dict.fromkeys((*one, *other)):
        first, second = one.get(key), other.get(key)
        if first is None or second is None or first == second:
            both[key] = second if first is None else first
        elif key == "minimum":
            both[key] = max(first, second)
        elif key == "maximum":
            both[key] = min(first, second)
        elif key == "multipleOf":
            both[key] = math.lcm(first, second)
        elif key == "x-step":
            both[key] = max(first, second)
        else:
            return None
    return both if both.get("minimum", 0) <= both.get("maximum", math.inf) else None


def _normal(value: Json, schema: Mapping[str, Json]) -> Json:
    """Numbers as the schema calls them: the editor writes 1 for 1.0."""
    if schema.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _is_valid(value: Json, schema: Mapping[str, Json]) -> bool:
    """Whether a value of a workflow is one that ComfyUI takes; for the schemas that are made here alone."""
    kind = schema.get("type")
    if "enum" in schema:
        return any(value == choice and type(value) is type(choice) for choice in cast("Sequence[Json]", schema["enum"]))
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "number"):
        if not _is_number(value) or (kind == "integer" and not isinstance(value, int)):
            return False
        least, most, step = schema.get("minimum", -math.inf), schema.get("maximum", math.inf), schema.get("multipleOf")
        return least <= value <= most and (step is None or value % step == 0)
    if kind == "string":
        fits = isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
        pattern = schema.get("pattern")
        return fits and (pattern is None or re.search(pattern, cast("str", value)) is not None)
    return value is not None


def _is_number(value: object) -> TypeGuard[int | float]:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
