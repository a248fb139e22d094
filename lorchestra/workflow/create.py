"""From a publication and what a caller sent to the graph that is queued; pure, the inverse of publishing."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from ..errors import InputError, LorchestraError, ScheduleError, StackError, UnusableInput, quoted
from ..limits import Json
from ..schedule import Schedule
from ..stack import BOTH, Entry, Stack, read_row
from ..stack.air import find_air
from .graph import class_of
from .interface import FILE, LORAS, MEDIA, Input
from .lora_lists import BLOCKS, CLIP, CONDITIONING, DEFAULT_WEIGHT, MODEL, SCHEDULE, WEIGHT, find_lora_list
from .publication import Publication
from .schema import schema_of
from .validation import Path, check

Resolve = Callable[[str], str]
"""A LoRA's `model` (AIR, hash or name) → the file as ComfyUI lists it; raises `LorchestraError` with the reason."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
"""Example: `https://`."""
_MOST_NAME = 4096


def create(publication: Publication, inputs: Json, *, resolve: Resolve) -> dict[str, Json]:
    """The graph in API form with the values put in; what is not sent stays as the workflow has it.

    `inputs` is what `schema_of` describes; images, masks, videos and sounds are by now names of files or references to
    assets, since what was sent as data has to be kept somewhere first. Raises `InputError` with the path of the field
    that is to blame, `UnusableInput` where it has the form that it should have; nothing else, and nothing but values
    that were checked gets into the graph.
    """
    if not isinstance(inputs, dict):
        raise InputError(f"the inputs are {quoted(inputs)}; expected an object")
    check(schema_of(publication), inputs)
    graph: dict[str, Any] = copy.deepcopy(dict(publication.graph))
    for item in publication.inputs:  # in their order, whatever that of the request is
        if item.name in inputs:
            _put(graph, item, cast("dict[str, Json]", inputs)[item.name], resolve)
    return graph


def _put(graph: dict[str, Any], item: Input, value: Json, resolve: Resolve) -> None:
    path: Path = (item.name,)
    if item.kind == LORAS:
        stack = _stack(cast("list[Json]", value), path, resolve)
        for node, _ in item.targets:
            known = find_lora_list(class_of(graph, node))
            if known is None:
                raise UnusableInput(f"node {node} is no list of LoRAs any more; publish the workflow again", path)
            graph[node]["inputs"] = known.write(stack, graph[node]["inputs"])
        return
    if item.kind in MEDIA or item.kind == FILE:
        _check_name(value, item, path)
    for node, widget in item.targets:
        values = graph[node]["inputs"]
        if item.brings:
            _bring(values, widget, item.brings.get(cast("str", value), {}))
        values[widget] = {"__value__": value} if isinstance(value, list) else value


def _bring(values: dict[str, Json], widget: str, brought: Mapping[str, Json]) -> None:
    """The inputs that belong to a choice: those of the other choices go, those that both have stay."""
    for name in [name for name in values if name.startswith(f"{widget}.") and name not in brought]:
        del values[name]
    for name, value in brought.items():
        values.setdefault(name, value)


def _check_name(value: Json, item: Input, path: Path) -> None:
    """Names stay in their folder; data and addresses are no names."""
    if not isinstance(value, str):
        return
    if value[:5].lower() == "data:":
        raise UnusableInput("it is a data URI, which has to be kept as a file first", path)
    if _ADDRESS.match(value):
        raise UnusableInput("it is an address; nothing is fetched. Send the data itself, or the id of an asset", path)
    if len(value) > _MOST_NAME:
        raise UnusableInput(f"it has {len(value):,} characters, which is too long for a name", path)
    parts = value.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or ":" in parts[0] or "\0" in value:
        kind = "model" if item.kind == FILE else item.kind
        raise UnusableInput(f"{quoted(value)} leads out of the folder; give the name of the {kind}'s file in it", path)


def _stack(rows: list[Json], path: Path, resolve: Resolve) -> Stack:
    """The rows as a stack, their files found; raises `UnusableInput` with the path of the row's field."""
    entries: list[Entry] = []
    for number, row in enumerate(cast("list[dict[str, Json]]", rows)):
        at: Path = (*path, number)
        schedule = row.get(SCHEDULE)
        if schedule is not None and schedule.strip():
            try:
                Schedule.parse(schedule)
            except ScheduleError as error:
                raise UnusableInput(str(error), (*at, SCHEDULE)) from error
        try:
            lora = resolve(row[MODEL])
        except StackError as error:
            raise UnusableInput(error.reason, (*at, MODEL)) from error
        except LorchestraError as error:
            raise UnusableInput(str(error), (*at, MODEL)) from error
        own: dict[str, Json] = {
            "lora": lora,
            "model": row.get(WEIGHT, DEFAULT_WEIGHT),
            "clip": row.get(CLIP),
            "schedule": schedule,
            "blocks": row.get(BLOCKS),
            "conditioning": row.get(CONDITIONING, BOTH),
        }
        if find_air(row[MODEL]) is not None and lora != row[MODEL]:
            own["air"] = row[MODEL]
        try:
            entries.append(read_row(own, 1))
        except StackError as error:
            raise UnusableInput(error.reason, at) from error
    try:
        return Stack(tuple(entries)).checked()
    except StackError as error:
        raise UnusableInput(error.reason, path if error.row is None else (*path, error.row - 1)) from error
