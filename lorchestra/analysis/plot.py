"""A picture of a balance: how strong each LoRA is in each block, and the cosine of each pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..schedule.plot import GRID, INK, LARGEST, ZERO, Box, Label, Picture
from ..spelling.prefixes import MODEL
from .balance import Balance, Group
from .findings import named

WEAK_TO_STRONG = ("#24313f", "#2a6f97", "#52b69a", "#d9ed92")
AGAINST, NOTHING, ALONG = "#4f9cf0", "#2a2b31", "#f0894f"
_DARK = "#14151a"
"""Text on bright cells."""
_NAME, _LETTER = 30, 6.4
"""Letters of a name that are shown; pixels of one at most."""
_MARGIN, _ROW, _CELL, _GAP = 14, 20, 18, 6
_PAIR = 34
"""Pixels of a pair's cell, with a number in it."""
_MOST_NUMBERS = 16
"""With more LoRAs, pairs have no numbers in them."""
_LEAST_SCALE = 0.3
"""The cosine that has the full colour if all are smaller."""
_LEGEND = 24


@dataclass(frozen=True, slots=True)
class _Column:
    """A block in the heat map; a text encoder is one."""

    stack: str
    """The block's name without its number."""
    number: str
    groups: tuple[Group, ...]


class _Canvas:
    """What is drawn so far."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.labels: list[Label] = []

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """One pixel is left free around it."""
        self.boxes.append(Box((round(x, 2), round(y, 2)), round(width - 1, 2), round(height - 1, 2), colour))

    def text(self, x: float, y: float, text: str, anchor: str = "middle", colour: str = INK) -> None:
        self.labels.append(Label((round(x, 2), round(y, 2)), text, anchor, colour))


def draw(balance: Balance) -> Picture:
    """The picture, at the rows' weights; what is not known is a question mark."""
    names = [f"{item.label}  {_fitted(named(balance, lora))}" for lora, item in enumerate(balance.loras)]
    canvas = _Canvas()
    if not names:
        canvas.text(_MARGIN, 30, "No LoRA does anything here.", "start")
        return Picture(240, 60, (), (), tuple(canvas.labels))
    left = _MARGIN + max(len(name) for name in names) * _LETTER + 8
    right, bottom = _heat_map(canvas, balance, names, left)
    if len(names) > 1:
        end, bottom = _pairs(canvas, balance, names, left, bottom + 16)
        right = max(right, end)
    return Picture(
        min(math.ceil(right + _MARGIN), LARGEST), math.ceil(bottom), (), (), tuple(canvas.labels), tuple(canvas.boxes)
    )


def _fitted(name: str) -> str:
    """Cut in the middle, as what tells files apart stands at both ends."""
    if len(name) <= _NAME:
        return name
    half = (_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _heat_map(canvas: _Canvas, balance: Balance, names: Sequence[str], left: float) -> tuple[float, float]:
    """Draws it; the pixels where it ends to the right and below."""
    columns = _columns(balance)
    values = [[float(value) for value in balance.strengths(groups=column.groups)] for column in columns]
    most = max((value for column in values for value in column if math.isfinite(value)), default=0.0)
    canvas.text(_MARGIN, 18, "Strength by block", "start")
    head, top = 40, 66
    x, widths = left, [width for stack in _stacks(columns) for width in _widths(stack, len(columns))]
    place = 0
    for stack in _stacks(columns):
        own = widths[place : place + len(stack)]
        canvas.text(x + sum(own) / 2, head, stack[0].stack if len(stack[0].stack) * _LETTER <= sum(own) else "…")
        every = math.ceil(max(len(column.number) for column in stack) * _LETTER / own[0]) if stack[0].number else 1
        for index, column in enumerate(stack):
            if column.number and index % every == 0:
                canvas.text(x + own[index] / 2, head + 14, column.number, colour=ZERO)
            for lora, value in enumerate(values[place + index]):
                _cell(canvas, x, top + lora * _ROW, own[index], _ROW, _heat(value, most), "?" if value != value else "")
            x += own[index]
        place += len(stack)
        x += _GAP
    strengths = [float(strength) for strength in balance.strengths()]
    total = math.fsum(strength for strength in strengths if math.isfinite(strength)) or 1.0
    for lora, (name, strength) in enumerate(zip(names, strengths, strict=True)):
        y = top + lora * _ROW + _ROW / 2
        canvas.text(_MARGIN, y, name, "start")
        told = "not known" if strength != strength else f"{strength:.3g}   {strength / total:.0%}"
        canvas.text(x, y, told, "start")
    canvas.text(x, head + 14, "in all, share", "start", ZERO)
    bottom = top + len(names) * _ROW + _LEGEND / 2
    shades = [most * step / (_SHADES - 1) for step in range(_SHADES)]
    ends = ("0", f"{most:.3g}")
    _legend(canvas, left, bottom, [_heat(shade, most) for shade in shades], ends)
    return max(x + 14 * _LETTER, left + 200), bottom + _LEGEND


def _columns(balance: Balance) -> list[_Column]:
    """The blocks in order; the layers of a text encoder together."""
    result: list[_Column] = []
    encoders: dict[str, list[Group]] = {}
    for block, groups in balance.blocks().items():
        own = tuple(group for group in groups if group.component == MODEL)
        if own:
            stack, _, number = block.rpartition(".")
            result.append(_Column(stack, number, own) if number.isdigit() else _Column(block, "", own))
        encoders.setdefault(block.partition(".")[0], []).extend(group for group in groups if group not in own)
    return [*result, *(_Column(name, "", tuple(groups)) for name, groups in encoders.items() if groups)]


def _stacks(columns: Sequence[_Column]) -> Iterator[list[_Column]]:
    """The columns that have one heading."""
    for _, stack in groupby(columns, key=lambda column: column.stack):
        yield list(stack)


def _widths(stack: Sequence[_Column], count: int) -> list[float]:
    """Of a stack's cells: as wide as its heading at least, as long as there is room."""
    cell = min(_CELL, (LARGEST - 800) / count)
    heading = len(stack[0].stack) * _LETTER + 4 if count <= _MOST_HEADINGS else 0.0
    return [max(cell, heading / len(stack))] * len(stack)


_SHADES = 12
_MOST_HEADINGS = 120
"""With more columns, headings that are wider than their cells are left out."""


def _pairs(canvas: _Canvas, balance: Balance, names: Sequence[str], left: float, top: float) -> tuple[float, float]:
    """Draws the matrix of pairs; the pixels where it ends to the right and below."""
    cosines, count = balance.cosines(), len(names)
    table = [[float(cosines[i, j]) for j in range(count)] for i in range(count)]
    most = max((abs(value) for i, row in enumerate(table) for value in row[:i] if math.isfinite(value)), default=0.0)
    most = max(most, _LEAST_SCALE)
    size = _PAIR if count <= _MOST_NUMBERS else _ROW
    canvas.text(_MARGIN, top, "Pairs: cosine of what two add; 1 is the same, -1 the opposite", "start")
    for j, item in enumerate(balance.loras):
        canvas.text(left + j * size + size / 2, top + 20, item.label, colour=ZERO)
    top += 30
    for i, name in enumerate(names):
        y = top + i * _ROW
        canvas.text(_MARGIN, y + _ROW / 2, name, "start")
        for j, value in enumerate(table[i]):
            if i == j:
                canvas.box(left + j * size, y, size, _ROW, GRID)
                continue
            told = "?" if value != value else f"{round(value, 2) + 0:.2f}" if count <= _MOST_NUMBERS else ""
            _cell(canvas, left + j * size, y, size, _ROW, _sided(value, most), told)
    bottom = top + count * _ROW + _LEGEND / 2
    steps = [most * step / (_SHADES // 2) for step in range(-_SHADES // 2, _SHADES // 2 + 1)]
    _legend(canvas, left, bottom, [_sided(step, most) for step in steps], (f"{-most:.2f}", f"{most:.2f}"))
    return max(left + count * size, 62 * _LETTER), bottom + _LEGEND


def _legend(canvas: _Canvas, x: float, y: float, colours: Sequence[str], ends: tuple[str, str]) -> None:
    canvas.text(x, y + 5, ends[0], "start", ZERO)
    x += len(ends[0]) * _LETTER + 6
    for colour in colours:
        canvas.boxes.append(Box((round(x, 2), y), 10, 10, colour))
        x += 10
    canvas.text(x + 6, y + 5, ends[1], "start", ZERO)


def _cell(canvas: _Canvas, x: float, y: float, width: float, height: float, colour: str, text: str) -> None:
    canvas.box(x, y, width, height, colour)
    if text:
        canvas.text(x + width / 2, y + height / 2, text, colour=_DARK if _is_bright(colour) else INK)


def _heat(value: float, most: float) -> str:
    """The shade of a strength; that of the paper's grid for none."""
    if value != value or value <= 0 or most <= 0:
        return GRID if value != value else NOTHING
    place = min(value / most, 1.0) * (len(WEAK_TO_STRONG) - 1)
    index = min(int(place), len(WEAK_TO_STRONG) - 2)
    return _mixed(WEAK_TO_STRONG[index], WEAK_TO_STRONG[index + 1], place - index)


def _sided(value: float, most: float) -> str:
    """The shade of a cosine."""
    if value != value:
        return GRID
    return _mixed(NOTHING, ALONG if value > 0 else AGAINST, min(abs(value) / most, 1.0))


def _mixed(first: str, second: str, share: float) -> str:
    parts = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _is_bright(colour: str) -> bool:
    red, green, blue = _channels(colour)
    return 0.3 * red + 0.59 * green + 0.11 * blue > 120
