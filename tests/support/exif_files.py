"""JPEG and WebP pictures with a user comment in their EXIF, sound ones and hostile ones."""

from __future__ import annotations

import io
import struct

from PIL import Image

from lorchestra.limits import MAX_TEXT

FOLDER, COMMENT = 0x8769, 0x9286


def unicode(text: str, order: str = "be") -> bytes:
    """A user comment as AUTOMATIC1111 writes it; others have the lower byte first."""
    return b"UNICODE\0" + text.encode(f"utf-16-{order}")


def picture(form: str, comment: bytes | None = None, **first: str) -> bytes:
    """A picture as Pillow writes it, `JPEG` or `WEBP`; `first` are tags of the first folder, such as `t271`."""
    exif, out = Image.Exif(), io.BytesIO()
    if comment is not None:
        exif.get_ifd(FOLDER)[COMMENT] = comment
    for tag, text in first.items():
        exif[int(tag[1:])] = text
    Image.new("RGB", (8, 8)).save(out, form, exif=exif)
    return out.getvalue()


def tiff(comment: bytes, order: str = "<", *, length: int | None = None, at: int = 26, count: int = 1) -> bytes:
    """EXIF data with a user comment in the first folder; what is given by name may be wrong."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHII", COMMENT, 7, len(comment) if length is None else length, at)
    return start + struct.pack(f"{order}H", count) + entry + bytes(4) + comment


def jpeg(exif: bytes, before: bytes = b"") -> bytes:
    """A JPEG picture of nothing but EXIF."""
    size = struct.pack(">H", len(exif) + 8)
    return b"\xff\xd8\xff" + before + b"\xe1" + size + b"Exif\0\0" + exif + b"\xff\xd9"


def webp(exif: bytes, size: int | None = None) -> bytes:
    """A WebP picture of nothing but EXIF."""
    length = struct.pack("<I", len(exif) if size is None else size)
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(exif)) + b"WEBP" + b"EXIF" + length + exif


BROKEN: dict[str, bytes] = {
    "damaged": jpeg(b"no tiff at all"),
    "do not follow": b"\xff\xd8" + b"\xff" * 300,
    "do not follow one": b"\xff\xd8\xff\xe0\0\4ab" + b"nonsense",
    "shorter than its own": b"\xff\xd8\xff\xe1\0\1",
    "is cut off": jpeg(tiff(b"a" * 40))[:-20],
    "EXIF of the picture is cut off": jpeg(tiff(b"abcdef", length=2**32 - 1)),
    "picture is cut": jpeg(tiff(b"abcdef", at=2**32 - 1)),
    "the picture is cut off": jpeg(tiff(b"abcdef", count=60_000)),
    "EXIF of the picture": jpeg(b"II*\0\1"),
    "JIS": jpeg(tiff(b"JIS\0\0\0\0\0abc")),
    "damaged at byte": jpeg(tiff(b"UNICODE\0\0a\xd8\0\0b")),
    "at byte": jpeg(tiff(b"UNICODE\0a\0b")),
    "damaged at": jpeg(tiff(b"ASCII\0\0\0\xff\xfe")),
    "characters": webp(tiff(b"ASCII\0\0\0" + b"a" * (MAX_TEXT + 1))),
    "bytes; at most": webp(b"", 2**32 - 1),
    "is cut": webp(tiff(b"abcdef"), 5000),
}
"""What Python says of it → the file."""
WITHOUT: tuple[bytes, ...] = (
    b"\xff\xd8\xff\xd9",
    b"\xff\xd8\xff",
    jpeg(b"II*\0" + struct.pack("<I", 2**32 - 1)),
    jpeg(b"II*\0" + struct.pack("<IHHHIII", 8, 1, FOLDER, 4, 1, 2**32 - 1, 0)),
    jpeg(b"II*\0" + struct.pack("<IHHHIII", 8, 1, FOLDER, 4, 1, 8, 0)),  # a folder that is in itself
    b"RIFF\0\0\0\0WEBP",
    b"RIFF\0\0\0\0WEBPVP8 \xff\xff\xff\xff",
)
"""Pictures in which no text is."""
