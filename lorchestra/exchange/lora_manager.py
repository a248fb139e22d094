"""The rows of LoRA-Manager's loader and stacker, both ways.

Source: willmiao/ComfyUI-Lora-Manager `web/comfyui/loras_widget.js`, `py/nodes/utils.py` - `[{"name": "pixel",
"strength": 0.8, "clipStrength": 0.8, "active": true}]`, or that list under `__value__`. A name is the file's without
folder and ending; numbers may be text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import DialectError, StackError, quoted
from ..limits import MAX_ROWS, Json
from ..stack import Entry, Schedules, Stack, read_row
from .dialect import CLIP, OFF, Dialect, Loss, Reading, Writing, from_json, no_place, unsaid, unsaid_of_stack

DEFAULT_WEIGHT = 1.0
_KEYS = ("name", "strength", "clipStrength", "active")
_OF_THE_WIDGET = ("expanded", "locked", "_isDummy", "selected")
"""How the widget shows a row; of no use elsewhere."""
_SUFFIXES = (".safetensors", ".sft")


def is_row(value: Json) -> bool:
    """True for one row, such as `{"name": "pixel", "strength": 0.8, "active": true}`."""
    return isinstance(value, dict) and "name" in value and "strength" in value and "lora" not in value


def find_rows(value: Json) -> Sequence[Json] | None:
    """The rows in what was copied: a row, a list, either under `__value__` or `loras`, or a node; None without."""
    if is_row(value):
        return [value]
    if isinstance(value, dict):
        data = cast("dict[str, Json]", value)
        for key in ("__value__", "loras", "inputs", "widgets_values"):
            found = find_rows(data[key]) if isinstance(data.get(key), dict | list) else None
            if found:
                return found
        return None
    if isinstance(value, list):
        items = cast("list[Json]", value)
        rows = [item for item in items if is_row(item)]
        if rows:
            return rows
        return next((found for item in items if isinstance(item, list) and (found := find_rows(item))), None)
    return None


def read(value: Json) -> Reading:
    """A stack from rows or from what holds them, see `find_rows`, or from JSON text of these.

    Raises `StackError` with the row's number.
    """
    data = from_json(value) if isinstance(value, str) else value
    rows: Sequence[Json] | None = [] if data == [] else find_rows(data)
    if rows is None:
        raise DialectError(f'{quoted(value)} has no rows such as {{"name": "pixel", "strength": 0.8, "active": true}}')
    if len(rows) > MAX_ROWS:
        raise DialectError(f"a stack has at most {MAX_ROWS} rows, this one has {len(rows)}", MAX_ROWS + 1)
    schedules = Schedules()
    entries = (
        _entry(cast("Mapping[str, Json]", item), row, schedules)
        for row, item in enumerate(rows, 1)
        if cast("Mapping[str, Json]", item).get("_isDummy") is not True
    )
    return Reading(Stack(tuple(entries)))


def _entry(data: Mapping[str, Json], row: int, schedules: Schedules) -> Entry:
    model = _number(data.get("strength"))
    model = DEFAULT_WEIGHT if model is None else model
    clip = _number(data.get("clipStrength"))
    own: dict[str, Json] = {key: item for key, item in data.items() if key not in _KEYS and key not in _OF_THE_WIDGET}
    own |= {"lora": data["name"], "on": data.get("active", True), "model": model}
    if clip is not None and clip != model:
        own["clip"] = clip
    try:
        return read_row(own, 1, schedules)
    except StackError as error:
        raise DialectError(error.reason, row) from error


def _number(value: Json) -> Json:
    """The number that a text holds; any other value as it is."""
    if not isinstance(value, str) or len(value) > 30:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def write(stack: Stack) -> Writing:
    """All rows, those that are off too; names without folder and ending, as LoRA-Manager looks them up."""
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in enumerate(stack.checked().entries, 1):
        path = entry.lora.replace("\\", "/")
        folder, _, name = path.rpartition("/")
        suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
        name = name[: len(name) - len(suffix)] or entry.lora
        rows.append({"name": name, "strength": entry.model, "clipStrength": entry.clip_weight, "active": entry.on})
        if folder:
            losses.append(Loss(row, "lora", f"{DIALECT.title} names no folder; {quoted(folder)} is left out"))
        losses += no_place(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title)
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(json.dumps(rows, indent=2, ensure_ascii=False), rows, tuple(losses))


DIALECT = Dialect(
    "lora-manager", "LoRA-Manager", ".json", read, write, keeps=(OFF, CLIP),
    recognises=lambda value: find_rows(value) is not None,
)  # fmt: skip
