"""Whether a value is what a schema says, with the path of what is not and a sentence of ours; bounded in every way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..errors import InputError, LorchestraError, quoted
from ..limits import MAX_NESTING, MAX_VALUES, Json

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]
_Trail = tuple["_Trail | None", str | int]
"""The way to a value: that to what it is in, and its key or number there."""
_MOST_ERRORS = 100
_MOST_BITS = 4096
"""Of a whole number."""
_WORDS: Mapping[str, str] = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value."""

    reason: str
    path: Path


def check(schema: Mapping[str, Json], value: Json) -> None:
    """Raises `InputError` with the path of the first thing that is not as the schema says."""
    problem = find_problem(schema, value)
    if problem is not None:
        raise InputError(problem.reason, problem.path)


def validators() -> type[Draft202012Validator]:
    """What makes a validator of a schema; raises `LorchestraError` where the package that has it is missing."""
    try:  # here, so that a ComfyUI without it still has its nodes
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise LorchestraError(
            "the Python package jsonschema is missing, which checks requests. In the pack's folder run, with the "
            "Python that runs ComfyUI: python -m pip install -r requirements.txt. Then start ComfyUI again"
        ) from error
    return Draft202012Validator


def find_problem(schema: Mapping[str, Json], value: Json) -> Problem | None:
    """The first thing that is not as the schema says, by its place; None if all is."""
    problem = find_oddity(value)
    if problem is not None:
        return problem
    validator = validators()(cast("dict[str, Any]", schema))
    errors: list[ValidationError] = []
    for error in validator.iter_errors(value):  # pyright: ignore[reportUnknownMemberType] - jsonschema has no types
        errors.append(error)
        if len(errors) >= _MOST_ERRORS:
            break
    if not errors:
        return None
    first = min(errors, key=lambda error: (error.validator == "required", len(error.absolute_path)))
    return _problem(first)


def find_oddity(value: Json, most: int = MAX_VALUES) -> Problem | None:
    """What no JSON has (NaN, other types), or what is too much or too deep; None for plain values."""
    waiting: list[tuple[Json, int, _Trail | None]] = [(value, 0, None)]
    count = 0
    while waiting:
        item, depth, trail = waiting.pop()
        count += 1
        if count > most:
            return Problem(f"there are more than {most:,} values", ())
        if depth > MAX_NESTING:
            return Problem(f"it is nested more than {MAX_NESTING} levels deep", _path(trail)[:3])
        if isinstance(item, dict):
            for key, inner in cast("dict[object, Json]", item).items():
                if not isinstance(key, str):
                    return Problem(f"the key {quoted(key)} is not text", _path(trail))
                waiting.append((inner, depth + 1, (trail, key)))
        elif isinstance(item, list):
            waiting += [(inner, depth + 1, (trail, number)) for number, inner in enumerate(cast("list[Json]", item))]
        elif isinstance(item, float):
            if not math.isfinite(item):
                return Problem(f"it is {item}, which is not a number", _path(trail))
        elif isinstance(item, int) and item.bit_length() > _MOST_BITS:
            return Problem("it is a number of thousands of digits", _path(trail))
        elif item is not None and not isinstance(item, bool | int | str):
            return Problem(f"it is {quoted(item)}, which is not JSON", _path(trail))
    return None


def _path(trail: _Trail | None) -> Path:
    parts: list[str | int] = []
    while trail is not None:
        trail, part = trail
        parts.append(part)
    return tuple(reversed(parts))


def _problem(error: ValidationError) -> Problem:
    path = tuple(error.absolute_path)
    value, said = cast("Json", error.instance), cast("Json", error.validator_value)
    match error.validator:
        case "additionalProperties":
            known = cast("dict[str, Json]", cast("dict[str, Json]", error.schema).get("properties") or {})
            unknown = next(key for key in value if key not in known)
            names = ", ".join(known) or "none"
            return Problem(f"there is no such field here; known are {quoted(names, 300)[1:-1]}", (*path, unknown))
        case "required":
            missing = next(key for key in said if key not in value)
            return Problem("it is missing", (*path, missing))
        case "type":
            kinds = cast("list[str]", said if isinstance(said, list) else [said])
            return Problem(
                f"it is {quoted(value)}; expected {' or '.join(_WORDS.get(kind, kind) for kind in kinds)}", path
            )
        case "anyOf":
            return Problem(f"it is {quoted(value)}; expected text, or a reference to an asset", path)
        case "enum":
            return Problem(f"it is {quoted(value)}; expected one of {_listed(said)}", path)
        case "minimum":
            return Problem(f"it is {quoted(value)}; the least is {said}", path)
        case "exclusiveMinimum":
            return Problem(f"it is {quoted(value)}; expected more than {said}", path)
        case "maximum":
            return Problem(f"it is {quoted(value)}; the most is {said}", path)
        case "multipleOf":
            return Problem(f"it is {quoted(value)}; expected a multiple of {said}", path)
        case "minLength":
            return Problem(
                "it is empty" if not value else f"it has {len(value):,} characters; at least {said} are needed", path
            )
        case "maxLength":
            return Problem(f"it has {len(value):,} characters; at most {said:,} are read", path)
        case "minItems":
            return Problem(f"it has {len(value):,} items; at least {said:,} are needed", path)
        case "uniqueItems":
            before, number = _find_twice(cast("list[Json]", value))
            return Problem(f"it is the same as number {before + 1}; leave one of them out", (*path, number))
        case "maxItems":
            return Problem(f"it has {len(value):,} items; at most {said:,} are read", path)
        case "minProperties":
            return Problem("it is empty", path)
        case "maxProperties":
            return Problem(f"it has {len(value):,} fields; at most {said:,} are read", path)
        case "pattern":
            return Problem(
                "it is blank" if said == r"\S" else f"it is {quoted(value)}; expected text like {said}", path
            )
        case _:
            return Problem(f"it is {quoted(value)}, which is not what is expected here", path)


def _find_twice(values: list[Json]) -> tuple[int, int]:
    """The first two numbers of values that JSON Schema takes for equal, as 1 and 1.0 are."""
    seen: dict[str, int] = {}
    for number, value in enumerate(values):
        before = seen.setdefault(json.dumps(_plain(value), sort_keys=True), number)
        if before != number:
            return before, number
    return 0, 0


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in cast("dict[str, Json]", value).items()}
    return [_plain(inner) for inner in cast("list[Json]", value)] if isinstance(value, list) else value


def _listed(choices: Json) -> str:
    words = [str(choice) for choice in cast("list[Json]", choices)]
    text = ", ".join(words)
    return text if len(text) <= 400 else f"{text[:400].rpartition(', ')[0]} … ({len(words)} in all)"
