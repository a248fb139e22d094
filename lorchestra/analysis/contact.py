"""Contact sheets of picture files: any number of them, of which one is held at a time. Needs Pillow; its numbers torch.

The node Contact Sheet draws pictures of a run with the same code (`sheet.py`, `pictures.py`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from PIL import Image, PngImagePlugin

from ..errors import FileProblem
from ..files.opening import open_regular
from ..sentences import say
from .sheet import Block, Cell, draw_blocks

if TYPE_CHECKING:
    import torch

    from .pictures import Difference

MAX_PIXELS = 100_000_000
"""Of a picture on a sheet; larger ones are not decoded."""
_EMPTY_SIDE = 256
"""Side of the cells of a sheet without any picture, in pixels."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
"""Pillow's words for what ComfyUI's nodes save; its other plugins are never asked."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One place of a sheet: a picture file, or why there is none."""

    label: str
    path: Path | None
    reason: str = ""
    """Why there is no picture."""
    against: int | None = None
    """Number of the shot in its group from which this one's difference is measured; None for no number."""


@dataclass(frozen=True, slots=True)
class Group:
    """Shots that become a block of a sheet, see `sheet.Block`."""

    shots: Sequence[Shot]
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    title: str = ""
    has_first: bool = False


def draw_files(groups: Sequence[Group], caption: str = "") -> Image.Image:
    """The sheet of these groups. A file that cannot be read is an empty cell that says why."""
    read = [[_look(shot) for shot in group.shots] for group in groups]
    sizes = [one.size for some in read for one in some if one.size is not None]
    largest = max(sizes, key=lambda size: size[0] * size[1], default=(_EMPTY_SIDE, _EMPTY_SIDE))
    blocks: list[Block] = []
    for group, files in zip(groups, read, strict=True):
        notes = _notes(group, files)
        cells = [
            _cell(shot, file, note, largest) for shot, file, note in zip(group.shots, files, notes, strict=True)
        ]  # fmt: skip
        blocks.append(Block(cells, group.columns, group.rows, group.title, group.has_first))
    return draw_blocks(blocks, caption)


def to_png(sheet: Image.Image, texts: dict[str, str]) -> bytes:
    """The sheet as a PNG file with texts by name in its metadata."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=info, compress_level=4)
    return file.getvalue()


def in_words(one: Difference | None) -> str:
    """A difference as it stands below a picture."""
    if one is None:
        return say("another size")
    mean = f"{100 * one.mean:.1f} %"
    return mean if one.perceptual is None else f"{mean} · {one.perceptual:.3f}"


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of a shot's file before it is decoded."""

    path: Path | None
    size: tuple[int, int] | None
    """None if there is no picture."""
    reason: str = ""

    def read(self) -> bytes:
        """Its RGB bytes; of an animation those of the first frame. Raises `FileProblem`."""
        assert self.path is not None
        with _opened(self.path) as picture:
            return picture.convert("RGB").tobytes()


def _look(shot: Shot) -> _File:
    if shot.path is None:
        return _File(None, None, shot.reason)
    try:
        with _opened(shot.path) as picture:
            return _File(shot.path, picture.size)
    except FileProblem as error:
        return _File(None, None, error.reason)


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    """A picture whose header is read; raises `FileProblem` for what is none, also while the block decodes it."""
    try:
        with open_regular(path, FileProblem) as file:
            picture = Image.open(cast("IO[bytes]", file), formats=_FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise FileProblem(path, f"its picture has more than {MAX_PIXELS // 10**6} megapixels")
            yield picture
    except FileProblem:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileProblem(path, f"its file is no picture that can be shown ({error})") from error


def _cell(shot: Shot, file: _File, note: str, largest: tuple[int, int]) -> Cell:
    if file.size is None:
        return Cell(shot.label, note, *largest, None, file.reason)
    return Cell(shot.label, note, *file.size, file.read)


def _notes(group: Group, files: Sequence[_File]) -> list[str]:
    """The difference of each shot from the one that it is measured against; none without torch.

    Of the pictures that others are measured against, one is held at a time.
    """
    notes = [""] * len(files)
    held: tuple[int, torch.Tensor] | None = None
    order = sorted(range(len(files)), key=lambda number: group.shots[number].against or 0)
    for number in order:
        against = group.shots[number].against
        if against is None or against == number or files[number].size is None or files[against].size is None:
            continue
        try:
            if held is None or held[0] != against:
                held = (against, _tensor(files[against]))
            notes[number] = in_words(_differ(files[number], held[1]))
        except FileProblem:  # the cell says so when it is drawn
            continue
        except ImportError:  # a door without torch has sheets without numbers
            return notes
    return notes


def _differ(file: _File, first: torch.Tensor) -> Difference | None:
    from .pictures import differ

    return differ(_tensor(file), first)


def _tensor(file: _File) -> torch.Tensor:
    """A batch of one picture of shape [1, height, width, 3], 0 … 1."""
    import torch

    assert file.size is not None
    width, height = file.size
    return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(1, height, width, 3).float() / 255
