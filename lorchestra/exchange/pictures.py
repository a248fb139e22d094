"""The text that a program wrote into a picture, whichever of PNG, JPEG and WebP it is."""

from __future__ import annotations

from . import exif, png
from .picture_bytes import Bytes

LONGEST_START = 12
"""Bytes by which a picture is known."""


def is_picture(start: bytes) -> bool:
    """True for the first `LONGEST_START` bytes of a picture that may have a text."""
    return start.startswith((png.SIGNATURE, exif.JPEG)) or (start[:4], start[8:12]) == exif.WEBP


def find_parameters(start: bytes, file: Bytes) -> str:
    """The text of a picture, of which `start` has been read; raises `DialectError`, in words, where there is none."""
    rest = _Behind(start, file)
    if start.startswith(png.SIGNATURE):
        rest.read(len(png.SIGNATURE))
        return png.find_parameters(rest)
    if start.startswith(exif.JPEG):
        rest.read(len(exif.JPEG))
        return exif.find_in_jpeg(rest)
    return exif.find_in_webp(file)


class _Behind:
    """A file of which some bytes have been read already, given again."""

    def __init__(self, start: bytes, file: Bytes) -> None:
        self._start = start
        self._file = file

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end."""
        given, self._start = self._start[:size], self._start[size:]
        return given + self._file.read(size - len(given)) if len(given) < size else given

    def seekable(self) -> bool:
        """True once the bytes are given."""
        return not self._start and self._file.seekable()

    def seek(self, offset: int, whence: int) -> int:
        """Goes on by so many bytes, for `whence` 1."""
        return self._file.seek(offset, whence)
