"""The texts that programs write into JPEG and WebP pictures: the user comment of their EXIF. No pixel is ever decoded.

Sources: Exif 3.0 (CIPA DC-008-2023), §4.6; JPEG (ITU-T T.81), annex B; WebP Container Specification. AUTOMATIC1111,
Forge, SwarmUI and Civitai write `UserComment` into the EXIF folder, Fooocus into the first one. ComfyUI writes
`prompt:` and `workflow:` into two tags of the first one (`SaveAnimatedWEBP`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ..errors import DialectError
from ..limits import MAX_TEXT
from .picture_bytes import Bytes, only_comfyui, skip

JPEG = b"\xff\xd8\xff"
"""What JPEG pictures begin with."""
WEBP = (b"RIFF", b"WEBP")
"""What WebP pictures begin with; four bytes of size are between."""
MAX_CHUNKS = 200_000
_MOST = 2 * MAX_TEXT + 65_536
"""Bytes of EXIF; its text has two a character, and there may be a small picture beside it."""

_EXIF_START = b"Exif\0\0"
_FOLDER, _COMMENT = 0x8769, 0x9286
_OF_COMFYUI: Mapping[int, bytes] = {0x0110: b"prompt:", 0x010F: b"workflow:"}
"""Tag → what its text begins with."""
_PIECE = 1 << 20
_MOST_FILL = 100
"""Bytes before the kind of a part of a JPEG picture; there is nearly always one."""

Tags = Mapping[int, bytes]


def find_in_jpeg(file: Bytes) -> str:
    """The text of a JPEG picture; the file stands behind `JPEG`.

    Raises `DialectError`, in words, for a picture that has none, and for one that is damaged.
    """
    for _ in range(MAX_CHUNKS):
        for _ in range(_MOST_FILL):
            marker = file.read(1)
            if marker != b"\xff":
                break
        else:
            raise DialectError("the picture is damaged: its parts do not follow one another")
        if not marker or marker in b"\xda\xd9":  # the pixels, or the end
            break
        size = int.from_bytes(_exactly(file, 2), "big") - 2
        if size < 0:
            raise DialectError("the picture is damaged: a part of it is shorter than its own length")
        data = _exactly(file, size)
        if marker == b"\xe1" and data.startswith(_EXIF_START):
            return _find_text(data[len(_EXIF_START) :])
        if _exactly(file, 1) != b"\xff":
            raise DialectError("the picture is damaged: its parts do not follow one another")
    raise _nothing()


def find_in_webp(file: Bytes) -> str:
    """The text of a WebP picture; the file stands behind `WEBP`. Errors as `find_in_jpeg`."""
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind != b"EXIF":
            skip(file, size + size % 2)
            continue
        if size > _MOST:
            raise DialectError(f"the text in the picture has {size:,} bytes; at most {_MOST:,} are read")
        return _find_text(_exactly(file, size).removeprefix(_EXIF_START))
    raise _nothing()


def _nothing() -> DialectError:
    return DialectError("nothing about LoRAs is written in the picture: it has no user comment in its EXIF")


def _find_text(tiff: bytes) -> str:
    """The user comment of EXIF data, which begin with their byte order."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        raise DialectError("the EXIF of the picture is damaged")
    first = _read_tags(tiff, order, _number(tiff, order, 4))
    comment = first.get(_COMMENT)
    if _FOLDER in first:
        comment = _read_tags(tiff, order, _number(first[_FOLDER], order, 0)).get(_COMMENT, comment)
    if comment is not None:
        return _text(comment)
    if any(first.get(tag, b"").startswith(start) for tag, start in _OF_COMFYUI.items()):
        raise only_comfyui()
    raise _nothing()


def _read_tags(tiff: bytes, order: str, start: int) -> Tags:
    """Tag → its bytes, for tags of bytes and of text, and for where a folder is; others are left out."""
    (count,) = struct.unpack_from(f"{order}H", tiff, start) if start + 2 <= len(tiff) else (0,)
    found: dict[int, bytes] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if at + 12 > len(tiff):
            raise DialectError("the EXIF of the picture is cut off")
        tag, kind, length = struct.unpack_from(f"{order}HHI", tiff, at)
        if tag == _FOLDER:
            found[tag] = tiff[at + 8 : at + 12]
        elif kind in (1, 2, 7) and tag in (_COMMENT, *_OF_COMFYUI):
            where = at + 8 if length <= 4 else _number(tiff, order, at + 8)
            if where + length > len(tiff):
                raise DialectError("the EXIF of the picture is cut off")
            found[tag] = tiff[where : where + length]
    return found


def _number(data: bytes, order: str, at: int) -> int:
    if at + 4 > len(data):
        raise DialectError("the EXIF of the picture is cut off")
    return int(struct.unpack_from(f"{order}I", data, at)[0])


def _text(comment: bytes) -> str:
    """The text of a user comment, whose first eight bytes say how its characters are written."""
    start, rest = comment[:8], comment[8:]
    if len(comment) > _MOST:
        raise DialectError(f"the text in the picture has {len(comment):,} bytes; at most {_MOST:,} are read")
    if start == b"JIS\0\0\0\0\0":
        raise DialectError("the text in the picture is written in JIS, which is not read")
    try:
        if start == b"UNICODE\0":
            text = rest.decode(_byte_order(rest)).removeprefix("\ufeff")
        elif start in (b"ASCII\0\0\0", bytes(8)):
            text = rest.decode("utf-8")
        else:
            text = comment.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DialectError(f"the text in the picture is damaged at byte {error.start}") from error
    text = text.rstrip("\0")
    if len(text) > MAX_TEXT:
        raise DialectError(f"the text in the picture has more than {MAX_TEXT:,} characters")
    return text


def _byte_order(data: bytes) -> str:
    """UTF-16 with its upper or its lower byte first.

    Nothing says which: AUTOMATIC1111 writes the upper byte first whatever the order of the rest, others the order of
    the rest. The upper bytes of an infotext are mostly zero.
    """
    if data[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return "utf-16-be" if data[0] == 0xFE else "utf-16-le"
    return "utf-16-be" if data[::2].count(0) >= data[1::2].count(0) else "utf-16-le"


def _exactly(file: Bytes, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = file.read(min(size - len(data), _PIECE))
        if not piece:
            raise DialectError("the picture is cut off")
        data += piece
    return data
