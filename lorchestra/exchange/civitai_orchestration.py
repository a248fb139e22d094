"""LoRAs in the requests of Civitai's orchestration, both ways.

Source: the package `@civitai/client` 0.2.0-beta.86: `additionalNetworks` of a text-to-image job is
`{AIR: {"strength", "triggerWord"?, "type"?}}`; other inputs have `loras`, as `{AIR: strength}` or as
`[{"air", "strength"?}]`. A strength that is not given is 1; the types state no bounds. Each AIR stands there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry, Stack
from ..stack.air import LORA_TYPES, find_air
from .dialect import (
    AIR,
    Dialect,
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
from .fields import Item, check_rows, fields_of, item, items, left_behind, object_of, objects
from .hosted import find_air_of

_NETWORKS, _LORAS = "additionalNetworks", "loras"
_WORD = "triggerWord"
_OTHERS = {"lora", "model", "path", "name"}
"""What rows of other programs have."""


def is_request(value: Json) -> bool:
    """True for an input with `additionalNetworks`, or with `loras` by AIR; also in a job or a step of a workflow."""
    data = fields_of(value)
    loras = data.get(_LORAS)
    if isinstance(data.get(_NETWORKS), dict):
        return True
    if isinstance(loras, dict) and loras:
        return all(find_air(str(key)) for key in fields_of(loras))
    rows = objects(loras)
    if rows:
        return all(isinstance(row.get("air"), str) and not _OTHERS & set(row) for row in rows)
    steps = [fields_of(step.get("input")) for step in _steps(data)]
    return any(_NETWORKS in one or _LORAS in one for one in (fields_of(data.get("input")), *steps))


def read(value: Json) -> Reading:
    """A stack from an input, a job, a workflow whose only step has LoRAs, or JSON text of these.

    Raises `DialectError` with the field's path.
    """
    data = from_json(value, "the request") if isinstance(value, str) else value
    request = _find_input(object_of(data, f'an object with "{_NETWORKS}" or "{_LORAS}"'))
    losses = list(left_behind(request, (_NETWORKS, _LORAS)))
    entries = [_entry(one) for one in _items(request, losses)]
    check_rows(len(entries), _NETWORKS)
    return Reading(Stack(tuple(entry for entry in entries if entry is not None)), tuple(losses))


def _find_input(data: Mapping[str, Json]) -> Mapping[str, Json]:
    for _ in range(4):
        if _NETWORKS in data or _LORAS in data:
            return data
        inputs = [(step, fields_of(step.get("input"))) for step in _steps(data)]
        steps = [step for step, given in inputs if _NETWORKS in given or _LORAS in given]
        if len(steps) > 1:
            raise DialectError(f"{len(steps)} steps of the request have LoRAs; give one of them alone", None, "steps")
        inner = steps[0] if steps else data.get("input")
        if not isinstance(inner, Mapping):
            break
        data = cast("Mapping[str, Json]", inner)
    raise DialectError(f'the request is an object without "{_NETWORKS}" or "{_LORAS}"')


def _steps(data: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    steps = data.get("steps")
    found = cast("list[Json]", steps) if isinstance(steps, list) else []
    return [cast("Mapping[str, Json]", step) for step in found[:100] if isinstance(step, Mapping)]


def _items(request: Mapping[str, Json], losses: list[Loss]) -> Iterator[Item]:
    row = 1
    for field in (_NETWORKS, _LORAS):
        found = request.get(field)
        if found is None:
            continue
        if not isinstance(found, Mapping):
            for one in items(found, field, losses):
                yield Item(one.data, one.path, row, losses)
                row += 1
            continue
        networks = cast("Mapping[str, Json]", found)
        check_rows(len(networks), field)
        for air, said in networks.items():
            path = f"{field}[{quoted(air)}]"
            data: Json = said
            if isinstance(said, Mapping):
                data = {**cast("Mapping[str, Json]", said), "air": air}
            elif said is None or isinstance(said, int | float):
                data = {"air": air, "strength": said}
            yield item(data, path, row, losses)
            row += 1


def _entry(item: Item) -> Entry | None:
    air = item.text("air", 'an AIR such as "urn:air:sdxl:lora:civitai:120096@135931"')
    parsed = find_air(air)
    if parsed is None:
        raise DialectError(f"{quoted(air)} is not an AIR", item.row, item.path)
    kind = (item.find_text("type") or parsed.type or "lora").lower()
    if kind not in LORA_TYPES:
        item.losses.append(Loss(item.row, item.path, f"it is a {quoted(kind)}, not a LoRA; it is left out"))
        return None
    weight = item.number("strength", DIALECT.limits.default)
    return item.entry(Entry(air, model=weight, air=air, extra=item.rest(("air", "strength", "type"))))


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as `{"additionalNetworks": {AIR: {"strength"}}}`, in their order.

    A row without an AIR, and one whose AIR another row has, are a `DialectError`.
    """
    losses: list[Loss] = []
    networks: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for row, entry in written(stack, DIALECT, losses):
        air = find_air_of(entry, row)
        if air is None:
            raise DialectError(
                f"{quoted(entry.lora)} has no AIR, by which Civitai knows a file; give the row an "
                '"air" such as "urn:air:sdxl:lora:civitai:120096@135931", or switch it off',
                row,
                _NETWORKS,
            )
        text = (entry.air if entry.air is not None else entry.lora).strip()
        path = f"{_NETWORKS}[{quoted(text)}]"
        if text.lower() in seen:
            raise DialectError(
                f"row {seen[text.lower()]} has the same AIR; put the sum of both into one row", row, path
            )
        seen[text.lower()] = row
        networks[text] = {"strength": fitted(entry.model, f"{path}.strength", entry, row, DIALECT, clamp, losses)}
        said = (_WORD,) if isinstance(entry.extra.get(_WORD), str) else ()
        networks[text] |= {key: entry.extra[key] for key in said}
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, said)
    losses += unsaid_of_stack(stack, DIALECT.title)
    request = {_NETWORKS: networks}
    return Writing(as_text(request), request, tuple(losses))


DIALECT = Dialect(
    "civitai-orchestration", "Civitai's orchestration", ".json", read, write, write_options=("clamp",), keeps=(AIR,),
    recognises=is_request,
)  # fmt: skip
