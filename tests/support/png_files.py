"""PNG pictures with texts in them, sound ones and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorchestra.limits import MAX_TEXT


def picture(zipped: bool = False, **texts: str) -> bytes:
    """A picture as Pillow writes it; a text that is not Latin-1 becomes iTXt."""
    info, out = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text, zip=zipped)
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def chunk(kind: bytes, data: bytes, check: int | None = None) -> bytes:
    """A chunk; `check` is a checksum that is wrong."""
    found = zlib.crc32(kind + data) if check is None else check
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", found)


BOMB = zlib.compress(b"\0" * 100_000_000, 9)
BROKEN: dict[str, bytes] = {
    "more than 4,000,000": chunk(b"zTXt", b"parameters\0\0" + BOMB),
    "more than 4,000,000 characters": chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB),
    "compressed data is cut off": chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(range(256)))[:99]),
    "damaged": chunk(b"zTXt", b"parameters\0\0nonsense"),
    "does not know": chunk(b"zTXt", b"parameters\0\7" + zlib.compress(b"a")),
    "not UTF-8": chunk(b"iTXt", b"parameters\0\0\0\0\0\xff\xfe"),
    "is cut off": chunk(b"tEXt", b"parameters\0abc")[:-6],
    "at most": chunk(b"tEXt", b"parameters\0" + b"a" * (MAX_TEXT + 1)),
    "bytes; at most": struct.pack(">I4s", 2**32 - 1, b"tEXt") + b"parameters\0",
}
"""What Python says of it → all that is behind the signature."""
WITHOUT: tuple[bytes, ...] = (
    struct.pack(">I4s", 2**32 - 1, b"IDAT"),
    chunk(b"tEXt", b"parameters"),
    chunk(b"tEXt", b"p" * 80 + b"\0a"),
    b"",
)
"""Pictures in which no text is."""
