"""The bytes of a picture, read once from the first to the last: from a file, or from a pipe."""

from __future__ import annotations

from typing import Protocol

from ..errors import DialectError

_PIECE = 1 << 20


class Bytes(Protocol):
    """What is read of a file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def seekable(self) -> bool:
        """False for a pipe."""
        ...

    def seek(self, offset: int, whence: int, /) -> int:
        """Goes on by so many bytes, for `whence` 1."""
        ...


def skip(file: Bytes, size: int) -> None:
    """Goes on by so many bytes, or to the end."""
    if file.seekable():
        file.seek(size, 1)
        return
    while size > 0:
        piece = file.read(min(size, _PIECE))
        if not piece:
            return
        size -= len(piece)


def only_comfyui() -> DialectError:
    """What is said of a picture that has ComfyUI's workflow alone."""
    return DialectError(
        "the picture has no list of LoRAs; ComfyUI wrote its workflow into it: drop the picture on the canvas, and "
        "convert the loaders there"
    )
