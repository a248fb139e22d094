"""A contact sheet: pictures side by side with what they are called, as one picture. Needs Pillow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from ..errors import FileProblem, LorchestraError
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
    """One picture of a sheet, or why there is none."""

    label: str
    note: str
    """A second line, e.g. numbers."""
    width: int
    height: int
    pixels: bytes | Callable[[], bytes] | None
    """RGB, row after row; a function that gives them is called once, when they are drawn, and may raise `FileProblem`.
    None if there is no picture."""
    reason: str = ""
    """Why there is none, written in its place."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a sheet: cells that fill lines, or a table with heads if it has two or more rows."""

    cells: Sequence[Cell]
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    title: str = ""
    has_first: bool = True
    """Of a table: whether the first cell stands by itself before it."""

    @property
    def is_table(self) -> bool:
        """Whether it has heads."""
        return len(self.rows) > 1


def draw_sheet(
    cells: Sequence[Cell], columns: Sequence[str] = (), rows: Sequence[str] = (), caption: str = ""
) -> Image.Image:
    """A sheet of one block. With two or more `rows`, the first cell stands by itself, and the others in a table with
    heads; otherwise all of them fill lines of about as many as make the sheet a square.

    Raises `LorchestraError` if the table has not as many places as there are cells.
    """
    return draw_blocks([Block(cells, columns, rows)], caption)


def draw_blocks(blocks: Sequence[Block], caption: str = "") -> Image.Image:
    """The sheet of several blocks of one shape, which fill lines as the cells of a block do.

    No more than one picture is held beside the sheet, where cells give theirs by a function. Raises `LorchestraError`
    if a table has not as many places as there are cells.
    """
    cells = [cell for block in blocks for cell in block.cells]
    if not cells:
        raise LorchestraError("there are no pictures for a sheet")
    for block in blocks:
        places = int(block.has_first) + len(block.columns) * len(block.rows)
        if block.is_table and len(block.cells) != places:
            before = " and one place before it" if block.has_first else ""
            raise LorchestraError(
                f"{len(block.cells)} pictures do not fill a table of {len(block.rows)} rows and "
                f"{len(block.columns)} columns{before}"
            )
    heads = [text for block in blocks for text in (*block.columns, *block.rows, block.title)]
    font = _font([*heads, caption, *(text for cell in cells for text in (cell.label, cell.reason))])
    layout = _Layout(blocks, font)
    bottom = _LINE + _GAP if caption else 0
    sheet = Image.new("RGB", (layout.width, layout.height + bottom), PAPER)
    for number, block in enumerate(blocks):
        layout.put_block(sheet, block, number)
    if caption:
        text = _cut(font, caption, sheet.width - 2 * _GAP)
        ImageDraw.Draw(sheet).text((_GAP, sheet.height - _LINE - _GAP), text, _QUIET, font)
    return sheet


class _Layout:
    """Where everything of a sheet stands; all blocks have the same places."""

    def __init__(self, blocks: Sequence[Block], font: Font) -> None:
        first, cells = blocks[0], [cell for block in blocks for cell in block.cells]
        self._font = font
        width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
        count = max(len(block.cells) for block in blocks)
        if first.is_table:
            self._columns = len(first.columns)
            down = int(first.has_first) + len(first.rows)
            names = [text for block in blocks for text in block.rows]
            self._left = min(_GAP + max(_length(font, text) for text in names) + _GAP, 300)
        else:
            square = round(math.sqrt(count * height / width))
            # A second line of blocks is read as columns: their cells then stay in one line.
            self._columns = max(1, min(count, square if len(blocks) == 1 else count))
            down = -(-count // self._columns)
            self._left = _GAP
        self._head = _LINE if first.is_table else 0
        self._title = _LINE if any(block.title for block in blocks) else 0
        shape = (self._left + self._columns * (width + _GAP), self._title + self._head + down * (height + 2 * _LINE))
        self._across = max(1, min(len(blocks), round(math.sqrt(len(blocks) * shape[1] / shape[0]))))
        lines = -(-len(blocks) // self._across)
        across, total = self._columns * self._across, down * lines
        self.scale = min(
            1.0,
            LARGEST_CELL / max(width, height),
            (MOST_SIDE - self._left * self._across) / across / width - _GAP / width,
            (MOST_SIDE - (self._head + self._title) * lines - 3 * _LINE) / total / height - (2 * _LINE + _GAP) / height,
        )
        self._cell = (max(round(width * self.scale), _SMALLEST_CELL), max(round(height * self.scale), _SMALLEST_CELL))
        self._step = (max(self._cell[0], 110) + _GAP, self._cell[1] + 2 * _LINE + _GAP)
        self._block = (
            self._left + self._columns * self._step[0],
            self._title + self._head + down * self._step[1],
        )
        self.width = self._across * self._block[0]
        self.height = _GAP + lines * self._block[1]

    def put_block(self, sheet: Image.Image, block: Block, number: int) -> None:
        """Draws a block at its place."""
        draw, font, step = ImageDraw.Draw(sheet), self._font, self._step
        x, y = number % self._across * self._block[0], _GAP + number // self._across * self._block[1]
        left, top = x + self._left, y + self._title
        if block.title:
            draw.text((x + _GAP, y), _cut(font, block.title, self._block[0] - 2 * _GAP), _INK, font)
        cells = list(block.cells)
        if block.is_table:
            if block.has_first:
                self._put(sheet, cells.pop(0), left, top)
                top += step[1]
            for column, text in enumerate(block.columns):
                draw.text((left + column * step[0], top), _cut(font, text, step[0] - _GAP), _INK, font)
            top += self._head
            for row, text in enumerate(block.rows):
                draw.text((x + _GAP, top + row * step[1]), _cut(font, text, self._left - 2 * _GAP), _INK, font)
        for place, cell in enumerate(cells):
            self._put(sheet, cell, left + place % self._columns * step[0], top + place // self._columns * step[1])

    def _put(self, sheet: Image.Image, cell: Cell, x: int, y: int) -> None:
        draw, font, width = ImageDraw.Draw(sheet), self._font, self._step[0] - _GAP
        try:
            pixels, reason = cell.pixels() if callable(cell.pixels) else cell.pixels, cell.reason
        except FileProblem as error:
            pixels, reason = None, error.reason
        if pixels is None:
            draw.rectangle((x, y, x + self._cell[0] - 1, y + self._cell[1] - 1), outline=_QUIET)
            lines = _wrapped(font, reason, max(self._cell[0], 110) - 8, max(1, (self._cell[1] - 8) // _LINE))
            for number, line in enumerate(lines):
                draw.text((x + 4, y + 4 + number * _LINE), line, _QUIET, font)
        else:
            picture = Image.frombytes("RGB", (cell.width, cell.height), pixels)
            size = (max(1, round(cell.width * self.scale)), max(1, round(cell.height * self.scale)))
            same = size == picture.size
            sheet.paste(picture if same else picture.resize(size, Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + self._cell[1] + 2), _cut(font, cell.label, width), _INK, font)
        draw.text((x, y + self._cell[1] + 2 + _LINE), _cut(font, cell.note, width), _QUIET, font)


def _wrapped(font: Font, text: str, width: int, most: int) -> list[str]:
    """The text in so many lines at most; the last one is cut."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most - 1:
        line = words.pop(0)
        while words and _length(font, f"{line} {words[0]}") <= width:
            line += f" {words.pop(0)}"
        lines.append(_cut(font, line, width))
    return [*lines, _cut(font, " ".join(words), width)] if words else lines


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
