"""Pictures and sounds in a request: base64, a data URI or the id of an asset; nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import uuid
from collections.abc import Iterator
from typing import cast

from ..errors import quoted, shortened
from ..limits import Json
from ..workflow.interface import AUDIO, IMAGE, MASK, VIDEO
from .assets import Assets
from .callers import OWNER, Caller
from .http import Refusal, unusable

_DATA = re.compile(r"data:(?P<type>[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60})?(?P<options>(?:;[^;,]{1,100}){0,4}),", re.I)
"""What a data URI begins with. Example: `data:image/png;base64,`."""
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.I)
_STARTS: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"WAVE", 8, "audio/wav"),
    (b"fLaC", 0, "audio/flac"),
    (b"OggS", 0, "audio/ogg"),
    (b"ID3", 0, "audio/mpeg"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1aE\xdf\xa3", 0, "video/webm"),
)
"""What files of a type have at a place."""
_STEP = 1 << 18
"""Characters of base64 that are read in one call."""
_WORDS = {IMAGE: "an image", MASK: "a mask", VIDEO: "a video", AUDIO: "audio"}
_FITTING = {
    IMAGE: ("image/",),
    MASK: ("image/",),
    VIDEO: ("video/", "image/gif", "image/webp"),
    AUDIO: ("audio/", "video/"),
}


def load(value: Json, kind: str, path: str, assets: Assets, caller: Caller = OWNER) -> str:
    """The name under which nodes load what was sent; raises `Refusal` with the path of the field.

    A name that is among the inputs already is given as it is by who calls this. Not on the event loop.
    """
    if isinstance(value, dict):
        value = _reference(cast("dict[str, Json]", value), path)
    if not isinstance(value, str) or not value:
        raise unusable(f"{quoted(value)} is not {_WORDS[kind]}; send base64, a data URI, or the id of an asset.", path)
    if _URL.match(value):
        raise unusable("nothing is fetched from elsewhere. Send base64, a data URI, or the id of an asset.", path)
    if _is_uuid(value):
        name = assets.loadable(value, caller)
        if name is None:
            raise Refusal(422, "missing_asset", f"there is no asset {value}.", path)
        return name
    data = _decode(value, path)
    content_type = _type_of(data)
    if content_type is None or not content_type.startswith(_FITTING[kind]):
        raise unusable(f"what was sent is not {_WORDS[kind]} in a format that is known here.", path)
    suffix = mimetypes.guess_extension(content_type) or ".bin"
    asset = assets.add_bytes(data, f"{path}{suffix}", content_type, caller)
    name = assets.loadable(asset.id)
    if name is None:
        raise Refusal(422, "missing_asset", "what was sent could not be kept.", path)
    return name


def _reference(value: dict[str, Json], path: str) -> Json:
    """The id in an official reference to an asset, `{"__type": "core/ASSET", "info": {"id"}}`."""
    info = value.get("info")
    if value.get("__type") != "core/ASSET" or not isinstance(info, dict):
        raise unusable(f"{quoted(value)} is not a reference to an asset.", path)
    return cast("dict[str, Json]", info).get("id")


def _decode(text: str, path: str) -> bytes:
    match = _DATA.match(text[:600])
    if match is not None and "base64" not in [option.lower() for option in match["options"].split(";")]:
        raise unusable("a data URI must be base64 here.", path)
    start = match.end() if match else 0
    try:
        return b"".join(_pieces(text, start))
    except (binascii.Error, ValueError) as error:
        raise unusable(
            f"{quoted(shortened(text, 60))} is neither base64, a data URI nor the id of an asset.", path
        ) from error


def _pieces(text: str, start: int) -> Iterator[bytes]:
    """The bytes of base64, in steps: one call for all of it would hold up every other thread."""
    rest = ""
    for begin in range(start, len(text), _STEP):
        piece = rest + "".join(text[begin : begin + _STEP].split())
        end = len(piece) - len(piece) % 4
        piece, rest = piece[:end], piece[end:]
        if "=" in piece and (rest or text[begin + _STEP :].strip()):
            raise ValueError("there is more after its end")
        yield base64.b64decode(piece, validate=True)
    yield base64.b64decode(rest, validate=True)


def _type_of(data: bytes) -> str | None:
    return next((kind for start, at, kind in _STARTS if data[at : at + len(start)] == start), None)


def _is_uuid(text: str) -> bool:
    try:
        return len(text) == 36 and str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
