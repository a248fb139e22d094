"""The `lora` of vLLM-Omni's image and video requests, both ways.

Source: vllm-project/vllm-omni `vllm_omni/entrypoints/openai/utils.py`, `parse_lora_request`. Newer servers take
`{"name", "scale"}` or a list of these, of adapters that were registered at their start, and refuse paths in a request;
older ones take one object with `name`, a path (`local_path`, `path`, `lora_path` or `lora_local_path`) and `scale` (or
`lora_scale`). A scale that is not given is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..errors import DialectError
from ..limits import Json
from ..stack import Entry, Stack
from .dialect import (
    Dialect,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    no_place,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import Item, fields_of, items, left_behind, object_of, objects
from .names import Unique, no_folder, stem

_FIELD = "lora"
_NAMES = ("name", "lora_name", "adapter")
_PATHS = ("local_path", "path", "lora_path", "lora_local_path")
_SCALES = ("scale", "lora_scale")
_IDS = ("int_id", "lora_int_id")


def is_request(value: Json) -> bool:
    """True for a request whose `lora` has names and no `model`."""
    said = _outer(fields_of(value)).get(_FIELD)
    rows = [fields_of(said)] if isinstance(said, Mapping) else objects(said)
    return bool(rows) and all(
        any(key in row for key in (*_NAMES, *_PATHS)) and not {"model", "lora"} & set(row) for row in rows
    )


def read(value: Json) -> Reading:
    """A stack from a request, its `lora`, or JSON text of these; raises `DialectError` with the field's path.

    Where a LoRA has a path, that is the row's file.
    """
    data = from_json(value, "the request") if isinstance(value, str) else value
    losses: list[Loss] = []
    if isinstance(data, Mapping) and not any(key in data for key in (*_NAMES, *_PATHS)):
        request = _outer(object_of(data, f'an object with "{_FIELD}"'))
        if _FIELD not in request:
            raise DialectError(f'the request is an object without "{_FIELD}"')
        losses += left_behind(request, (_FIELD,))
        data = request[_FIELD]
    found: Json = [data] if isinstance(data, Mapping) else data
    return Reading(Stack(tuple(_entry(one) for one in items(found or [], _FIELD, losses))), tuple(losses))


def _outer(data: Mapping[str, Json]) -> Mapping[str, Json]:
    """Where `lora` stands: in a request to /v1/chat/completions it may be in `extra_body`."""
    inner = data.get("extra_body")
    return cast("Mapping[str, Json]", inner) if _FIELD not in data and isinstance(inner, Mapping) else data


def _entry(item: Item) -> Entry:
    name = next((found for key in _NAMES if (found := item.find_text(key))), None)
    path = next((found for key in _PATHS if (found := item.find_text(key))), None)
    if name is None and path is None:
        raise item.fail("name", "the name of an adapter")
    lora = path or cast("str", name)
    key = next((one for one in _SCALES if item.data.get(one) is not None), _SCALES[0])
    extra = item.rest((*_NAMES, *_PATHS, *_SCALES, *_IDS))
    if path and name and name != stem(path):
        extra["name"] = name
    return item.entry(Entry(lora, model=item.number(key, DIALECT.limits.default), extra=extra))


def write(stack: Stack, *, clamp: bool = False, paths: bool = False) -> Writing:
    """The active rows as `{"lora": […]}`, each with the file's name without folder and ending.

    With `paths`, as servers take it that load a LoRA by its path: one object, so at most one row.
    """
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    unique = Unique()
    for row, entry in written(stack, DIALECT, losses):
        if paths and rows:
            raise DialectError("a server that takes paths takes one LoRA; switch this row off, or the other one", row)
        given = entry.extra.get("name")
        wanted = given if isinstance(given, str) and given.strip() else stem(entry.lora) or entry.lora
        name = unique.name(wanted) if paths else wanted
        if not paths and any(one["name"] == name for one in rows):
            losses.append(Loss(row, "lora", f"an adapter called {name!r} stands in the request already; both are one"))
        weight = fitted(entry.model, f"{_FIELD}[{len(rows)}].scale", entry, row, DIALECT, clamp, losses)
        rows.append({"name": name, **({"path": entry.lora} if paths else {}), "scale": weight})
        losses += [] if paths else no_folder(entry, row, DIALECT.title)
        losses += no_place(entry, row, DIALECT.title)
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, ("name",) if wanted == given else ())
    losses += unsaid_of_stack(stack, DIALECT.title)
    request: dict[str, Any] = {_FIELD: (rows[0] if rows else None) if paths else rows}
    return Writing(as_text(request), request, tuple(losses))


DIALECT = Dialect(
    "vllm-omni", "vLLM-Omni", ".json", read, write, write_options=("clamp", "paths"), recognises=is_request
)
