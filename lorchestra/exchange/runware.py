"""The `lora` array of Runware's image and video requests, both ways.

Source: https://runware.ai/docs/image-inference/api-reference - `[{"model": "civitai:120096@135931", "weight": 0.7}]`,
`weight` -4 … 4 with the default 1; `transformer` (`high`, `low`, `both`) for video models with two experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import DialectError, StackError, quoted
from ..limits import MAX_ROWS, WEIGHT_LIMIT, Json
from ..stack import EXPERTS, Entry, Schedules, Stack
from ..stack import read_row as read_own_row
from ..stack.air import find_air
from .dialect import (
    AIR,
    EXPERT,
    Dialect,
    Limits,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .hosted import find_air_of

WEIGHT_MIN, WEIGHT_MAX = -4.0, 4.0
DEFAULT_WEIGHT = 1.0
"""Weight of a row that names none."""


def read(value: Json) -> Reading:
    """A stack from the `lora` array, from an object with one, from a whole request, or from JSON text of these.

    Of a request (a list of tasks) the `lora` array of the one task that has one is taken. Raises `DialectError`, with
    the row's number where a row is to blame. The rows' unknown keys are kept in `Entry.extra`.
    """
    rows, losses = _find_rows(from_json(value, "the request") if isinstance(value, str) else value)
    if len(rows) > MAX_ROWS:
        raise DialectError(f"a stack has at most {MAX_ROWS} rows, this one has {len(rows)}", MAX_ROWS + 1)
    entries: list[Entry] = []
    schedules = Schedules()
    for row, item in enumerate(rows, 1):
        if not isinstance(item, Mapping):
            raise DialectError(f'the row is {quoted(item)}; expected {{"model": AIR, "weight": number}}', row)
        entries.append(read_row(cast("Mapping[str, Json]", item), row, schedules))
    return Reading(Stack(tuple(entries)), losses)


def read_row(data: Mapping[str, Json], row: int, schedules: Schedules | None = None) -> Entry:
    """One row of the array, e.g. `{"model": "civitai:120096@135931", "weight": 0.7}`.

    A `model` that is no AIR is taken as the name of a file. Keys that rows of ours have (`on`, `clip`, `sha256` …) mean
    the same here. Raises `DialectError` with the row's number.
    """
    model, weight = data.get("model"), data.get("weight")
    if not isinstance(model, str):
        raise DialectError(f'"model" is {quoted(model)}; expected an AIR such as "civitai:120096@135931"', row)
    weight = DEFAULT_WEIGHT if weight is None else weight
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise DialectError(f'"weight" is {quoted(weight)}; expected a number', row)
    if not -WEIGHT_LIMIT <= weight <= WEIGHT_LIMIT:  # also false for NaN
        raise DialectError(f'"weight" is {quoted(weight)}; it must lie in {WEIGHT_MIN:g} … {WEIGHT_MAX:g}', row)
    name = model.strip()
    own: dict[str, Json] = {"lora": name, **{key: item for key, item in data.items() if key != "weight"}}
    own["model"] = weight
    if own.get("transformer") in EXPERTS and "expert" not in own:  # the same words for the same thing
        own["expert"] = own.pop("transformer")
    if find_air(name) is not None:
        own["air"] = name
    try:
        return read_own_row(own, 1, schedules)
    except StackError as error:
        raise DialectError(error.reason, row) from error


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as the `lora` array, in their order; equal AIRs are not merged.

    A row without an AIR is a `DialectError` that names it, unless `allow_names`: then the file's name is written, for
    servers of one's own. A weight outside -4 … 4 is a `DialectError`, unless `clamp`.
    """
    losses: list[Loss] = []
    rows: list[dict[str, Json]] = []
    for row, entry in written(stack, DIALECT, losses):
        rows.append(_write_row(entry, row, f"lora[{len(rows)}]", allow_names, clamp, losses))
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text(rows), rows, tuple(losses))


def is_request(value: Json) -> bool:
    """True for a task object, an object with a `lora` array (and no `loras`), and a list with one of these in it."""
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        return "loras" not in data and ("taskType" in data or isinstance(data.get("lora"), list))
    return isinstance(value, list) and any(
        isinstance(item, dict) and is_request(item) for item in cast("list[Json]", value)
    )


def _write_row(
    entry: Entry, row: int, path: str, allow_names: bool, clamp: bool, losses: list[Loss]
) -> dict[str, Json]:
    weight = fitted(entry.model, f"{path}.weight", entry, row, DIALECT, clamp, losses)
    item: dict[str, Json] = {"model": _model(entry, row, f"{path}.model", allow_names, losses), "weight": weight}
    losses += one_weight(entry, row, DIALECT.title)
    transformer = entry.expert or entry.extra.get("transformer")
    said: tuple[str, ...] = ("expert",)
    if transformer in EXPERTS:
        item["transformer"] = transformer
        said = ("expert", "transformer") if entry.extra.get("transformer") == transformer else said
    losses += unsaid(entry, row, DIALECT.title, said)
    return item


def _model(entry: Entry, row: int, path: str, allow_names: bool, losses: list[Loss]) -> str:
    """What `model` is for this row: the short AIR, or the file's name where that is allowed."""
    air = find_air_of(entry, row)
    if air is None:
        if allow_names:
            return entry.lora
        raise DialectError(
            f"{quoted(entry.lora)} has no AIR, the identifier that Runware needs; give the row an "
            '"air" such as "civitai:120096@135931", switch it off, or allow names',
            row,
            path,
        )
    if air.version is None:
        raise DialectError(
            f"the AIR {quoted(air.short)} names no version; Runware takes source:id@version, so add @ and the version",
            row,
            path,
        )
    if air.file is not None:
        losses.append(Loss(row, "air", f"Runware's short AIR cannot name one file of a version; +{air.file} is lost"))
    return air.short


def _find_rows(value: Json) -> tuple[Sequence[Json], tuple[Loss, ...]]:
    if isinstance(value, Mapping):
        return _rows_of_tasks([cast("Mapping[str, Json]", value)])
    if isinstance(value, list | tuple):
        items = cast("Sequence[Json]", value)
        tasks = [cast("Mapping[str, Json]", item) for item in items if isinstance(item, Mapping)]
        if any(is_request(task) for task in tasks):
            return _rows_of_tasks(tasks)
        return items, ()
    raise DialectError(
        f'the request is {quoted(value)}; expected a list of {{"model": AIR, "weight": number}}, '
        'or an object with "lora"'
    )


def _rows_of_tasks(tasks: Sequence[Mapping[str, Json]]) -> tuple[Sequence[Json], tuple[Loss, ...]]:
    if not any("lora" in task or "taskType" in task for task in tasks):
        raise DialectError('the request is an object without "lora"; expected a list of LoRAs under that name')
    for number, task in enumerate(tasks, 1):
        if not isinstance(task.get("lora", []), list | None):
            raise DialectError(f'"lora" of task {number} is {quoted(task["lora"])}; expected a list')
    chosen = [number for number, task in enumerate(tasks) if task.get("lora")]
    if len(chosen) > 1:
        numbers = ", ".join(str(number + 1) for number in chosen)
        raise DialectError(f"the tasks {numbers} of the request all have LoRAs; give one of them alone")
    rows: list[Any] = tasks[chosen[0]]["lora"] if chosen else []
    left = [key for task in tasks for key in task if key != "lora"]
    if not left:
        return rows, ()
    names = ", ".join(dict.fromkeys(left))
    return rows, (Loss(None, "request", f"only the LoRAs are taken; left behind: {quoted(names, 200)}"),)


DIALECT = Dialect(
    "runware", "Runware", ".json", read, write, write_options=("allow_names", "clamp"),
    limits=Limits(WEIGHT_MIN, WEIGHT_MAX), keeps=(AIR, EXPERT), recognises=is_request,
)  # fmt: skip
