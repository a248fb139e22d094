"""A contact sheet: pictures side by side with what they are called, as one picture. Needs Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from ..errors import LorchestraError
from ..schedule.plot import PAPER

MOST_SIDE = 8192
"""Longest side of a sheet, in pixels: pictures are made smaller until it fits."""
LARGEST_CELL = 1024
"""Longest side of a picture on it, in pixels."""
_SMALLEST_CELL = 16
_GAP, _LINE = 10, 20
_FONT = 14
_INK, _QUIET = "#e4e6ec", "#a9adb8"
_LAST_LATIN = "\u024f"
"""Pillow's own font has no signs after this one."""
_OTHER_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a sheet."""

    label: str
    note: str
    """A second line, e.g. numbers."""
    width: int
    height: int
    pixels: bytes
    """RGB, row after row."""


def draw_sheet(
    cells: Sequence[Cell], columns: Sequence[str] = (), rows: Sequence[str] = (), caption: str = ""
) -> Image.Image:
    """The sheet. With two or more `rows`, the first cell stands by itself, and the others in a table with heads;
    otherwise all of them fill lines of about as many as make the sheet a square.

    Raises `LorchestraError` if the table has not as many places as there are cells.
    """
    if not cells:
        raise LorchestraError("there are no pictures for a sheet")
    is_table = len(rows) > 1
    if is_table and len(cells) != 1 + len(columns) * len(rows):
        raise LorchestraError(
            f"{len(cells)} pictures do not fill a table of {len(rows)} rows and {len(columns)} columns and one place "
            "before it"
        )
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    across = len(columns) if is_table else max(1, min(len(cells), round(math.sqrt(len(cells) * height / width))))
    down = 1 + len(rows) if is_table else -(-len(cells) // across)
    font = _font([*columns, *rows, caption, *(cell.label for cell in cells)])
    left = _GAP + (max(_length(font, text) for text in rows) + _GAP if is_table else 0)
    left = min(left, 300)
    head = _LINE if is_table else 0
    scale = min(
        1.0,
        LARGEST_CELL / max(width, height),
        (MOST_SIDE - left) / across / width - _GAP / width,
        (MOST_SIDE - head - 3 * _LINE) / down / height - (2 * _LINE + _GAP) / height,
    )
    cell_width, cell_height = max(round(width * scale), _SMALLEST_CELL), max(round(height * scale), _SMALLEST_CELL)
    step_x, step_y = max(cell_width, 110) + _GAP, cell_height + 2 * _LINE + _GAP
    bottom = _LINE + _GAP if caption else 0
    sheet = Image.new("RGB", (left + across * step_x, _GAP + head + down * step_y + bottom), PAPER)
    draw = ImageDraw.Draw(sheet)

    def put(cell: Cell, x: int, y: int) -> None:
        picture = Image.frombytes("RGB", (cell.width, cell.height), cell.pixels)
        size = (max(1, round(cell.width * scale)), max(1, round(cell.height * scale)))
        sheet.paste(picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + cell_height + 2), _cut(font, cell.label, step_x - _GAP), _INK, font)
        draw.text((x, y + cell_height + 2 + _LINE), _cut(font, cell.note, step_x - _GAP), _QUIET, font)

    if is_table:
        put(cells[0], left, _GAP)
        top = _GAP + step_y
        for number, text in enumerate(columns):
            draw.text((left + number * step_x, top), _cut(font, text, step_x - _GAP), _INK, font)
        for number, text in enumerate(rows):
            draw.text((_GAP, top + head + number * step_y), _cut(font, text, left - 2 * _GAP), _INK, font)
        for number, cell in enumerate(cells[1:]):
            put(cell, left + number % across * step_x, top + head + number // across * step_y)
    else:
        for number, cell in enumerate(cells):
            put(cell, left + number % across * step_x, _GAP + number // across * step_y)
    if caption:
        draw.text((_GAP, sheet.height - _LINE - _GAP), _cut(font, caption, sheet.width - 2 * _GAP), _QUIET, font)
    return sheet


def can_write(texts: Sequence[str]) -> bool:
    """Whether a font is there that has the signs of these texts: Pillow's own has Latin ones."""
    return _is_latin(texts) or _other_font() is not None


def _is_latin(texts: Sequence[str]) -> bool:
    return all(sign <= _LAST_LATIN or sign in "…–—“”" for text in texts for sign in text)


def _font(texts: Sequence[str]) -> Font:
    return (None if _is_latin(texts) else _other_font()) or ImageFont.load_default(_FONT)


def _other_font() -> Font | None:
    for name in _OTHER_FONTS:
        try:
            return ImageFont.truetype(name, _FONT)
        except OSError:
            continue
    return None


def _length(font: Font, text: str) -> int:
    return math.ceil(font.getlength(text))


def _cut(font: Font, text: str, width: int) -> str:
    """The text with its middle left out where it is too long: names differ at both ends."""
    text = " ".join(text.split())[:400]
    if _length(font, text) <= width:
        return text
    keep = len(text) - 1
    while keep > 2 and _length(font, f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}") > width:
        keep -= 1
    return f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
