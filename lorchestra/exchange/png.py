"""The texts that programs write into a PNG picture: its chunks tEXt, zTXt and iTXt. No pixel is ever decoded.

Source: Portable Network Graphics (W3C, third edition), §5 and §11.3.3. AUTOMATIC1111, Forge, Fooocus and SwarmUI write
`parameters`; ComfyUI writes `prompt` and `workflow`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ..errors import DialectError, quoted
from ..limits import MAX_TEXT
from .picture_bytes import Bytes, only_comfyui, skip

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PARAMETERS = "parameters"
COMFYUI = ("prompt", "workflow")
"""What ComfyUI writes."""
MAX_CHUNKS = 200_000
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def find_parameters(file: Bytes) -> str:
    """The text `parameters` of a picture; the file stands behind its signature.

    Raises `DialectError`, in words, for a picture that has none, and for one that is damaged.
    """
    found: dict[str, str] = {}
    for name, data, kind in _text_chunks(file):
        if name == PARAMETERS:
            found[name] = _text(data, kind)
        elif name in COMFYUI:
            found[name] = ""
    if PARAMETERS in found:
        return found[PARAMETERS]
    if found:
        raise only_comfyui()
    raise DialectError('nothing about LoRAs is written in the picture: it has no text "parameters"')


def _text_chunks(file: Bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """(keyword, what is behind it, kind) of the chunks with text."""
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if not head:
            return  # some programs leave out the end
        if len(head) < 8:
            raise DialectError("the picture is cut off")
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind not in _TEXTS or size > MAX_TEXT:
            if kind in _TEXTS and PARAMETERS.encode() in file.read(80):
                raise DialectError(f"the text in the picture has {size:,} bytes; at most {MAX_TEXT:,} are read")
            skip(file, size + 4 - (min(80, size + 4) if kind in _TEXTS else 0))
            continue
        data, check = file.read(size), file.read(4)
        if len(data) < size or len(check) < 4:
            raise DialectError("the picture is cut off")
        keyword, zero, rest = data.partition(b"\0")
        if not zero or len(keyword) > 79:
            continue
        name = keyword.decode("latin-1")
        if name in (PARAMETERS, *COMFYUI) and zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(check, "big"):
            raise DialectError(f"the text {quoted(name)} in the picture is damaged: its checksum is wrong")
        yield name, rest, kind
    raise DialectError(f"the picture has more than {MAX_CHUNKS:,} chunks")


def _text(data: bytes, kind: bytes) -> str:
    """The text of a chunk, as it stands behind the keyword."""
    if kind == b"tEXt":
        return data.decode("latin-1")
    if kind == b"zTXt":
        return _inflated(data[1:], data[:1]).decode("latin-1")
    flag, method, rest = data[:1], data[1:2], data[2:]
    text = rest.partition(b"\0")[2].partition(b"\0")[2]  # behind the language and the translated keyword
    try:
        return (_inflated(text, method) if flag == b"\1" else text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DialectError(f"the text in the picture is not UTF-8 at byte {error.start}") from error


def _inflated(data: bytes, method: bytes) -> bytes:
    """What was compressed, if it is not too long."""
    if method != b"\0":
        raise DialectError("the text in the picture is compressed in a way that PNG does not know")
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(data, MAX_TEXT + 1)
    except zlib.error as error:
        raise DialectError(f"the text in the picture is damaged: {error}") from error
    if len(found) > MAX_TEXT:
        raise DialectError(f"the text in the picture has more than {MAX_TEXT:,} characters")
    if not inflating.eof:
        raise DialectError("the text in the picture is damaged: its compressed data is cut off")
    return found
