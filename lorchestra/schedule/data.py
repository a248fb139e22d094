"""The JSON form of a schedule.

`{"by": "step", "keyframes": [{"position": 1, "weight": 1, "easing": "hold"}, {"position": 3, "weight": 0}]}`; a product
is a list of such curves. Text in any of its forms and bare numbers are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from ..errors import ScheduleError, quoted
from ..limits import Json
from .curve import ADDRESSINGS, MAX_KEYFRAMES, Curve, Keyframe
from .easing import LINEAR
from .reading import read as read_text


def read(value: Json) -> tuple[Curve, ...]:
    """The curves of the schedule in JSON data. Raises `ScheduleError` with column or keyframe."""
    if isinstance(value, str):
        return read_text(value)
    if isinstance(value, bool) or value is None:
        raise ScheduleError(f"a schedule is text, a number, an object or a list of objects, not {quoted(value)}")
    if isinstance(value, int | float):
        return (Curve((Keyframe(0, _number(value, "the weight", None)),)),)
    if isinstance(value, Mapping):
        return (_curve(cast("Mapping[str, Json]", value)),)
    if isinstance(value, list | tuple):
        curves = cast("Sequence[Json]", value)
        if len(curves) > MAX_KEYFRAMES:
            raise ScheduleError(f"a schedule has at most {MAX_KEYFRAMES:,} curves")
        for curve in curves:
            if not isinstance(curve, Mapping):
                raise ScheduleError(f'expected a curve such as {{"keyframes": […]}}, found {quoted(curve)}')
        return tuple(_curve(cast("Mapping[str, Json]", curve)) for curve in curves)
    raise ScheduleError(f"a schedule is text, a number, an object or a list of objects, not {type(value).__name__}")


def write(curves: Sequence[Curve]) -> Json:
    """A schedule as JSON data: an object, or a list of objects for a product."""
    written = [_written(curve) for curve in curves]
    return written[0] if len(written) == 1 else written


def _written(curve: Curve) -> dict[str, Json]:
    keyframes: list[Json] = []
    for keyframe in curve.keyframes:
        item: dict[str, Json] = {"position": keyframe.position, "weight": keyframe.weight}
        if keyframe.easing != LINEAR:
            item["easing"] = keyframe.easing
        keyframes.append(item)
    return {"by": curve.by, "keyframes": keyframes}


def _curve(data: Mapping[str, Json]) -> Curve:
    _known(data, ("by", "keyframes"), None)
    by = data.get("by", "progress")
    addressing = next((addressing for addressing in ADDRESSINGS if addressing.by == by), None)
    if addressing is None:
        raise ScheduleError(f'"by" is {quoted(by)}; expected progress, step or sigma')
    items = data.get("keyframes")
    if not isinstance(items, list | tuple):
        raise ScheduleError(f'"keyframes" is {quoted(items)}; expected a list')
    found = cast("Sequence[Json]", items)
    if len(found) > MAX_KEYFRAMES:
        raise ScheduleError(f"a schedule has at most {MAX_KEYFRAMES:,} keyframes", None, MAX_KEYFRAMES + 1)
    return Curve(tuple(_keyframe(item, number) for number, item in enumerate(found, 1)), addressing.by)


def _keyframe(item: Json, number: int) -> Keyframe:
    if not isinstance(item, Mapping):
        raise ScheduleError(
            f'{quoted(item)} is not a keyframe; expected {{"position": 0.5, "weight": 1}}', None, number
        )
    data = cast("Mapping[str, Json]", item)
    _known(data, ("position", "weight", "easing"), number)
    easing = data.get("easing", LINEAR)
    if not isinstance(easing, str):
        raise ScheduleError(f'"easing" is {quoted(easing)}; expected a word such as hold', None, number)
    return Keyframe(
        _number(data.get("position"), '"position"', number), _number(data.get("weight"), '"weight"', number), easing
    )


def _known(data: Mapping[str, Json], keys: Sequence[str], number: int | None) -> None:
    unknown = [key for key in data if key not in keys]
    if unknown:
        raise ScheduleError(f"{quoted(unknown[0])} is not known; expected {', '.join(keys)}", None, number)


def _number(value: Json, what: str, number: int | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScheduleError(f"{what} is {quoted(value)}; expected a number", None, number)
    try:
        result = float(value)
    except OverflowError:  # an int of more than 308 digits
        result = math.inf
    if not math.isfinite(result):
        raise ScheduleError(f"{what} is {quoted(value)}; expected a finite number", None, number)
    return result
