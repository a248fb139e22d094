"""The rows of rgthree's Power Lora Loader, both ways.

Source: rgthree/rgthree-comfy `src_web/comfyui/power_lora_loader.ts` - each row is the value of a widget `lora_1`,
`lora_2` …: `{"on": true, "lora": "pixel.safetensors", "strength": 0.8, "strengthTwo": null}`; `strengthTwo` is the clip
weight where the two are shown apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import DialectError, StackError, quoted
from ..limits import MAX_ROWS, Json
from ..stack import Entry, Schedules, Stack, read_row
from .dialect import CLIP, FOLDER, OFF, Dialect, Loss, Reading, Writing, from_json, no_place, unsaid, unsaid_of_stack

DEFAULT_WEIGHT = 1.0
_NUMBERED = re.compile(r"lora_\d+", re.IGNORECASE)  # lora_1
_KEYS = ("on", "lora", "strength", "strengthTwo")


def is_row(value: Json) -> bool:
    """True for one row, such as `{"on": true, "lora": "pixel.safetensors", "strength": 0.8}`."""
    return isinstance(value, dict) and "lora" in value and ("strength" in value or "strengthTwo" in value)


def find_rows(value: Json) -> Sequence[Json] | None:
    """The rows in what was copied: one row, a list, an object by `lora_1` …, a node of a workflow or of a prompt.

    None if there are none.
    """
    if is_row(value):
        return [value]
    if isinstance(value, dict):
        data = cast("dict[str, Json]", value)
        for key in ("inputs", "widgets_values"):
            found = find_rows(data[key]) if isinstance(data.get(key), dict | list) else None
            if found:
                return found
        rows = [item for key, item in data.items() if _NUMBERED.fullmatch(key) and is_row(item)]
        return rows or None
    if isinstance(value, list):
        rows = [item for item in cast("list[Json]", value) if is_row(item)]
        return rows or None
    return None


def read(value: Json) -> Reading:
    """A stack from rows or from what holds them, see `find_rows`, or from JSON text of these.

    Rows without a LoRA (`None`) are left out. Raises `StackError` with the row's number.
    """
    data = from_json(value) if isinstance(value, str) else value
    rows: Sequence[Json] | None = [] if data == [] else find_rows(data)
    if rows is None:
        raise DialectError(
            f'{quoted(value)} has no rows such as {{"on": true, "lora": "a.safetensors", "strength": 1}}'
        )
    if len(rows) > MAX_ROWS:
        raise DialectError(f"a stack has at most {MAX_ROWS} rows, this one has {len(rows)}", MAX_ROWS + 1)
    entries: list[Entry] = []
    losses: list[Loss] = []
    schedules = Schedules()
    for row, item in enumerate(rows, 1):
        data = cast("Mapping[str, Json]", item)
        if data["lora"] in (None, "", "None"):
            losses.append(Loss(row, "lora", "no LoRA is chosen in it, so the row is left out"))
            continue
        entries.append(_entry(data, row, schedules))
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(data: Mapping[str, Json], row: int, schedules: Schedules) -> Entry:
    model, clip = data.get("strength"), data.get("strengthTwo")
    own: dict[str, Json] = {key: item for key, item in data.items() if key not in _KEYS}
    own |= {"lora": data["lora"], "on": data.get("on", True), "model": DEFAULT_WEIGHT if model is None else model}
    if clip is not None and clip != own["model"]:
        own["clip"] = clip
    try:
        return read_row(own, 1, schedules)
    except StackError as error:
        raise DialectError(error.reason, row) from error


def write(stack: Stack) -> Writing:
    """All rows, those that are off too, as the list of the widgets' values."""
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in enumerate(stack.checked().entries, 1):
        clip = entry.clip if entry.clip_weight != entry.model else None
        rows.append({"on": entry.on, "lora": entry.lora, "strength": entry.model, "strengthTwo": clip})
        losses += no_place(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title)
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(json.dumps(rows, indent=2, ensure_ascii=False), rows, tuple(losses))


DIALECT = Dialect(
    "rgthree", "rgthree's Power Lora Loader", ".json", read, write, keeps=(OFF, CLIP, FOLDER),
    recognises=lambda value: find_rows(value) is not None,
)  # fmt: skip
