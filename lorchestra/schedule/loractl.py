"""loractl's weights, `0@0,1@0.5` (cheald/sd-webui-loractl, `loractl/lib/utils.py`).

Items are `weight@position`, parted by commas or semicolons, in any order; between them the weight goes straight, and
two items at one position are a jump. Positions up to 1 are shares of the run. Where one is above 1, all count steps
from 0: `0@5,1@6` is 0 up to the sixth step and 1 from the seventh on. Of three items at one position the first and the
last count, as in loractl. Where loractl's clock and ours differ: its share reaches 1 one step before the last, ours is
`Steps`'.
"""

from __future__ import annotations

import re

from ..errors import ScheduleError, quoted
from ..limits import WEIGHT_LIMIT
from .curve import MAX_KEYFRAMES, Curve, Keyframe
from .steps import MAX_STEPS

_ITEM = re.compile(r"[^,;]*")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def read(text: str) -> Curve:
    """The curve of loractl's weights, without the tag around them. Raises `ScheduleError` with the column."""
    items: list[tuple[float, float, int]] = []
    at = 0
    while at <= len(text):
        item = _ITEM.match(text, at)
        part = item.group() if item else ""
        if len(items) == MAX_KEYFRAMES:
            raise ScheduleError(f"a schedule has at most {MAX_KEYFRAMES:,} keyframes; this is one more", at + 1)
        items.append(_item(part, at))
        at += len(part) + 1
    ordered = sorted(items, key=lambda item: item[0])  # stable: of one position, the text's order
    in_steps = ordered[-1][0] > 1
    keyframes: list[Keyframe] = []
    for position, weight, column in ordered:
        if position > MAX_STEPS:
            raise ScheduleError(f"a run has at most {MAX_STEPS:,} steps", column)
        keyframe = Keyframe(position + 1 if in_steps else position, weight)
        if [k.position for k in keyframes[-2:]] == [keyframe.position] * 2:
            keyframes.pop()
        keyframes.append(keyframe)
    return Curve(tuple(keyframes), "step" if in_steps else "progress")


def _item(part: str, start: int) -> tuple[float, float, int]:
    """Position, weight and column of `weight@position`."""
    pieces = re.split("[@~]", part, maxsplit=2)
    if len(pieces) != 2:
        raise ScheduleError(f"expected weight@position such as 0.5@0.3, found {quoted(part.strip())}", start + 1)
    columns = (start + 1, start + 2 + len(pieces[0]))
    weight, position = (_number(piece, column) for piece, column in zip(pieces, columns, strict=True))
    if not -WEIGHT_LIMIT <= weight <= WEIGHT_LIMIT:
        raise ScheduleError(f"the weight {weight:g} must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}", columns[0])
    if position < 0:
        raise ScheduleError(f"the position {position:g} lies before the run", columns[1])
    return position, weight, columns[1]


def _number(piece: str, column: int) -> float:
    stripped = piece.strip()
    if not _NUMBER.fullmatch(stripped):
        raise ScheduleError(f"expected a number, found {quoted(stripped)}", column)
    return float(stripped)
