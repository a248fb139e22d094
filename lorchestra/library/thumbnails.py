"""Small pictures of the previews beside LoRA files: made once with Pillow, kept in a folder of bounded size.

A preview is anybody's file. Its header is looked at before it is decoded, of an animation only the first frame is, and
no more than `MAX_READ` bytes of a file are ever read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from ..errors import CheckpointError, FileProblem
from ..files.key import FileKey, find_key
from ..files.new_file import new_file
from ..files.opening import open_regular
from .sidecars import IMAGES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from PIL.Image import Image

SIDE = 384
"""Pixels of the longer side of a thumbnail."""
MAX_PIXELS = 40_000_000
"""Of a picture that is decoded: what two threads need for it is some 400 MB."""
MAX_READ = 64_000_000
"""Bytes of a file that are read, at most."""
MAX_KEPT = 512_000_000
"""Bytes of all thumbnails; 10,000 need some 200 MB."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
"""Pillow's words for `IMAGES`; its other plugins are never asked."""
_QUALITY = 80
_KEPT_AFTER = 0.8
"""Of `MAX_KEPT`, what is left after the oldest have been removed."""
_DAY = 86_400.0
_MOST_PROBLEMS = 1000
_SVG = (b"<svg", b"<?xml", b"<!doctype svg")


class PictureError(FileProblem):
    """A picture of which there is no thumbnail."""


class Thumbnails:
    """The thumbnails of one folder; safe for threads."""

    def __init__(self, folder: Path, most: int = MAX_KEPT) -> None:
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._kept: int | None = None
        """Bytes of all thumbnails; None until they were counted."""
        self._problems: OrderedDict[FileKey, str] = OrderedDict()
        """Pictures that were tried in vain, as they are."""

    def read(self, path: str) -> bytes:
        """The thumbnail of a picture, as WebP; it is made if it is not there.

        Raises `PictureError` for what is no picture of `IMAGES`, is broken, or is too large.
        """
        key = find_key(path)
        if key is None:
            raise PictureError(path, "there is no such file")
        if reason := self._problems.get(key):
            raise PictureError(path, reason)
        place = self._place(key)
        kept = _read_kept(place)
        if kept is not None:
            return kept
        try:
            made = make_thumbnail(path)
        except PictureError as error:
            with self._lock:
                self._problems[key] = error.reason
                while len(self._problems) > _MOST_PROBLEMS:
                    self._problems.popitem(last=False)
            raise
        with contextlib.suppress(CheckpointError, OSError):  # without room on the disk it is made anew each time
            place.parent.mkdir(parents=True, exist_ok=True)
            with new_file(place, force=True) as file:
                file.write(made)
            self._count(len(made))
        return made

    def _place(self, key: FileKey) -> Path:
        text = f"{SIDE}\0{key.path}\0{key.size}\0{key.modified_ns}"
        digits = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return self._folder / digits[:2] / f"{digits[2:]}.webp"

    def _count(self, size: int) -> None:
        """Counts a new one, and removes those that were not used for longest when there are too many."""
        with self._lock:
            if self._kept is None:
                self._kept = sum(entry.stat().st_size for entry in self._entries())
            else:
                self._kept += size
            if self._kept <= self._most:
                return
            states = [(entry.stat(), entry.path) for entry in self._entries()]
            states.sort(key=lambda one: one[0].st_mtime)
            self._kept = sum(state.st_size for state, _ in states)
            for state, path in states:
                if self._kept <= self._most * _KEPT_AFTER:
                    break
                with contextlib.suppress(OSError):
                    Path(path).unlink()
                    self._kept -= state.st_size

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for folder in self._folder.iterdir():
            with contextlib.suppress(OSError), os.scandir(folder) as files:  # not of what is no folder
                yield from (entry for entry in files if entry.name.endswith(".webp"))


def _read_kept(place: Path) -> bytes | None:
    """A thumbnail that is there; what is used is marked so once a day."""
    try:
        with open_regular(place, PictureError) as file:
            data = file.read(MAX_READ)
            if time.time() - file.modified_ns / 1e9 > _DAY:
                os.utime(place)
            return data or None
    except (PictureError, OSError):
        return None


def make_thumbnail(path: str) -> bytes:
    """A picture's thumbnail, as WebP of at most `SIDE` × `SIDE` pixels, of the first frame; raises `PictureError`."""
    from PIL.Image import DecompressionBombError
    from PIL.Image import open as open_image

    with open_regular(path, PictureError) as file:
        start = file.read(256)
        if start.lstrip().lower().startswith(_SVG):
            raise PictureError(path, "this is SVG, which is a program and not only a picture; it is not shown")
        if not any(test(start[:16]) for _, _, test in IMAGES):
            raise PictureError(path, "this is not a picture of a kind that is shown")
        try:
            source = cast("IO[bytes]", io.BufferedReader(_Bounded(path, file)))
            with contextlib.closing(open_image(source, formats=_FORMATS)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise PictureError(path, f"the picture has {width:,} × {height:,} pixels, which are too many")
                return _shrunk(image)
        except PictureError:
            raise
        except DecompressionBombError as error:
            raise PictureError(path, "the picture has too many pixels") from error
        except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
            raise PictureError(path, "the picture is broken, or of a kind that Pillow cannot read here") from error


def _shrunk(image: Image) -> bytes:
    from PIL.Image import Resampling
    from PIL.ImageOps import exif_transpose

    image.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG alone: then it is decoded at a fraction of its size
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    small = image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGBA" if has_alpha else "RGB")
    small.thumbnail((SIDE, SIDE), Resampling.LANCZOS)
    upright = exif_transpose(small)
    upright.info.clear()  # no text of the picture's goes along
    buffer = io.BytesIO()
    upright.save(buffer, "WEBP", quality=_QUALITY)
    return buffer.getvalue()


class _Bounded(io.RawIOBase):
    """A file from its start on, of which at most `MAX_READ` bytes are read, however often."""

    def __init__(self, path: str, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self._left = MAX_READ
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._left <= 0:
            raise PictureError(self._path, f"more than {MAX_READ:,} bytes of the picture would have to be read")
        count = self._file.readinto(buffer) or 0
        self._left -= count
        return count
