"""Reads the header of a safetensors file, and nothing else, within bounds and with a reason for every refusal.

Format: https://github.com/huggingface/safetensors#format - eight bytes little-endian header length `n`,
`n` bytes of JSON, then the tensors' bytes. Nothing here needs torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

from ..errors import HeaderError, quoted
from ..sentences import say
from .foreign import SAMPLE, describe
from .header_stream import METADATA, NO_OBJECT, Source
from .opening import open_regular, pickle_reason

MAX_HEADER_BYTES = 100_000_000
"""The same limit as the safetensors library's."""

MAX_TENSORS = 50_000
"""The largest models of ComfyUI have 4,000, whole checkpoints with quantized weights some 20,000."""

MAX_TENSOR_BYTES = 8_000_000
"""Bytes of the header beside its metadata: `MAX_TENSORS` with their names need about as many."""

MAX_DIMENSIONS = 64
"""PyTorch has no tensors of more."""

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, by the dtype's name in the header. Example: `BF16` is 16."""

_LONG = 1_000_000
"""From so many bytes on, a header's metadata is walked through piece by piece and not held as a whole."""

_MOST_MEMORY = 60_000_000
"""Bytes that the parsed JSON of the tensors may take, by the estimate of `_memory`."""

_MOST_NOTES = 20

_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


class TensorInfo(NamedTuple):
    """What the header says about one tensor. A named tuple, because a library of LoRAs has a million of them."""

    dtype: str
    """Name as in the header, e.g. `F16`."""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the end of the header."""
    end: int
    """One past the last byte, counted from the end of the header."""


@dataclass(frozen=True)
class Header:
    """A validated header: every tensor lies inside the file and none overlaps another."""

    path: str
    shapes: Mapping[str, tuple[int, ...]]
    """Name of each tensor → its shape, in the order of the header."""
    metadata: Mapping[str, str]
    data_start: int
    """File offset of the first tensor byte."""
    file_size: int
    digest: str
    """SHA-256 of the header's JSON: equal for equal names, shapes and metadata, whatever the tensors hold."""
    places: tuple[Sequence[str], Sequence[int], Sequence[int]] = field(repr=False, default=((), (), ()))
    """Dtypes, first bytes and ends of all tensors, in the order of `shapes`."""
    unreadable: tuple[str, ...] = ()
    """What is wrong with the metadata, in words; such entries are left out of `metadata` or shown as far as they go."""

    @functools.cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All about each tensor; made when it is first asked for, because names and shapes tell what a file is."""
        dtypes, starts, ends = self.places
        return dict(zip(self.shapes, map(TensorInfo, dtypes, self.shapes.values(), starts, ends), strict=True))


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A header that was read, its metadata taken out; what it says of the tensors is not looked at yet."""

    path: str
    body: str
    """What is left of its JSON after the metadata: `, "name": {…} …}`, or all of it."""
    metadata: Mapping[str, str]
    notes: Sequence[str]
    """As `Header.unreadable`."""
    data_start: int
    file_size: int
    digest: str

    @property
    def structure(self) -> bytes | None:
        """Equal for files that have equal names, dtypes, shapes and places of tensors, and the same room for them.

        None where it is not worth telling: for a header that may say its metadata among the tensors.
        """
        if "__metadata__" in self.body or "\\" in self.body:
            return None
        told = hashlib.sha256(self.body.encode())
        told.update(str(self.file_size - self.data_start).encode())
        return told.digest()


def read_header(path: str | Path) -> Header:
    """Reads and validates the header of one file; its bytes are read once, and no others.

    Raises `HeaderError`, which names the file and the reason, for anything that is not a sound safetensors file:
    a missing or unreadable file, a directory, a pickle, a truncated file, a header that lies. What is wrong with the
    metadata alone is told in `Header.unreadable`. Headers of up to `MAX_HEADER_BYTES` take less than 100 MB of memory.
    """
    return parse_text(read_header_text(path))


def read_header_text(path: str | Path) -> HeaderText:
    """The first half of `read_header`, with the same errors but those that `parse_text` has."""
    name = str(path)
    if name.lower().endswith(_PICKLE_SUFFIXES):
        raise HeaderError(name, pickle_reason(name))
    with open_regular(name) as file:
        size = file.size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, MAX_HEADER_BYTES) or not length:
            raise HeaderError(name, _no_header_reason(name, start, file.read(SAMPLE - len(start)), size))
        source = Source(name, file, length)
        if not source.peek().startswith(_HEADER_STARTS):
            _refuse_foreign(name, start + source.peek()[: SAMPLE - 8], size)
        if length > _LONG:
            return _long_text(source, size)
        return _short_text(name, source.rest(length), source.digest, size)


_HEADER_STARTS = (b"{", b" ", b"\t", b"\n", b"\r")


def _no_header_reason(name: str, start: bytes, more: bytes, size: int) -> str:
    """Why a file cannot be read of which the first bytes, `start` and `more`, are no safetensors file's."""
    if not start:
        return "the file is empty"
    length = int.from_bytes(start, "little")
    # A short header of a large number of bytes starts like a pickle too; it goes on with {.
    if not (len(start) == 8 and more.startswith(b"{") and length <= MAX_HEADER_BYTES):
        _refuse_foreign(name, start + more, size)
    if len(start) < 8:
        return f"the file has only {len(start)} bytes, too few for a safetensors header"
    if length > MAX_HEADER_BYTES:
        return (
            f"the header claims {length:,} bytes, above the limit of {MAX_HEADER_BYTES:,}; "
            "this is not a safetensors file, or it is damaged"
        )
    if length > size - 8:
        return f"the header claims {length:,} bytes but the file has {size:,}; the file is truncated"
    return "the header is not JSON: it is empty"


def _refuse_foreign(name: str, start: bytes, size: int) -> None:
    """Raises `HeaderError` if the first bytes are those of something else that is known."""
    reason = describe(start, lambda: pickle_reason(name), size)
    if reason:
        raise HeaderError(name, reason)


def parse_header(text: bytes, *, path: str, file_size: int) -> Header:
    """The header from its JSON bytes (without the length), checked against `file_size` in bytes; see `read_header`."""
    if len(text) > _LONG:
        return parse_text(_long_text(Source(path, BytesIO(text), len(text)), file_size))
    return parse_text(_short_text(path, text, hashlib.sha256(text).hexdigest(), file_size))


def _short_text(path: str, text: bytes, digest: str, file_size: int) -> HeaderText:
    try:
        decoded, broken = text.decode(), None
    except UnicodeDecodeError as error:  # which harms nothing where it is in the metadata
        decoded, broken = text.decode("utf-8", "surrogateescape"), error
    metadata: dict[str, str] = {}
    notes: list[str] = []
    start = METADATA.match(decoded)
    if start:
        try:
            value, end = _DECODER.raw_decode(decoded, start.end())
        except (ValueError, RecursionError):
            return _long_text(Source(path, BytesIO(text), len(text)), file_size)
        metadata, notes = _metadata(value)
        body = decoded[end:].lstrip(_SPACES)
    else:
        body = decoded
    if broken:
        _check_unicode(path, text, broken, len(decoded) - len(body), decoded)
    return HeaderText(path, body, metadata, notes, 8 + len(text), file_size, digest)


def _long_text(source: Source, file_size: int) -> HeaderText:
    """A header whose metadata may be large, or is broken; of the metadata, what is of use is kept."""
    length = source.left
    metadata, notes = source.metadata()
    text = source.rest(MAX_TENSOR_BYTES)
    if source.left:
        raise HeaderError(
            source.path,
            say(
                "the header describes its tensors with {count} bytes, more than {most}, which no model "
                "needs; the file is damaged or made to do harm",
                count=f"{len(text) + source.left:,}",
                most=f"{MAX_TENSOR_BYTES:,}",
            ),
        )
    try:
        body = text.decode()
    except UnicodeDecodeError as error:
        raise HeaderError(
            source.path, say("the header is not UTF-8 at byte {start}", start=length - len(text) + error.start)
        ) from error
    return HeaderText(source.path, body, metadata, notes, 8 + length, file_size, source.digest)


_SPACES = " \t\n\r"
_DECODER = json.JSONDecoder()
"""Takes control characters in strings."""


def parse_text(text: HeaderText) -> Header:
    """The second half of `read_header`; raises `HeaderError` for what is wrong with the tensors."""
    path, body, metadata, notes = text.path, text.body, text.metadata, text.notes
    room = text.file_size - text.data_start
    found = _usual_tensors(body, room)
    if found is None:
        entries = _entries(path, body)
        if "__metadata__" in entries:
            metadata, notes = _metadata(entries.pop("__metadata__"))
        tensors = {name: _tensor(path, name, value, room) for name, value in entries.items()}
        _check_layout(path, tensors.items(), room)
        columns = list(zip(*tensors.values(), strict=True)) or [(), (), (), ()]
        found = dict(zip(tensors, columns[1], strict=True)), (columns[0], columns[2], columns[3])
    if len(found[0]) > MAX_TENSORS:
        raise HeaderError(
            path,
            say(
                "the header describes {count} tensors, more than {most}",
                count=f"{len(found[0]):,}",
                most=f"{MAX_TENSORS:,}",
            ),
        )
    return Header(
        path,
        found[0],
        metadata,
        text.data_start,
        text.file_size,
        text.digest,
        found[1],
        tuple(notes[:_MOST_NOTES]),
    )


_Found = tuple[dict[str, tuple[int, ...]], tuple[Sequence[str], Sequence[int], Sequence[int]]]

_TENSOR = re.compile(r'[{,] ?"([^"]*)": ?\{"dtype([^]]*)\], ?"data_offsets": ?\[([^],]*), ?([^]]*)\]\}')
"""A tensor as the safetensors library and Python's `json` write it; what is wrong with the parts is found later.

Example: `,"a.alpha":{"dtype":"F32","shape":[],"data_offsets":[8,12]}`.
"""


def _usual_tensors(body: str, room: int) -> _Found | None:
    """Shapes and places in the usual case: usually written, all sound, in the order of the header. None: look closer.

    A regular expression, because it takes half the time of a JSON parser, which makes three objects a tensor.
    """
    if "\\" in body:
        return None
    parts = _TENSOR.split(body)  # what is between the tensors, name, dtype and shape, start, end, and so on
    if len(parts) == 1 or parts[0] or any(parts[5:-1:5]) or parts[-1].rstrip(_SPACES) != "}":
        return None
    names, starts, texts = parts[1::5], parts[3::5], parts[4::5]
    try:
        known = list(map(_sized, parts[2::5]))
    except (KeyError, TypeError, ValueError):
        return None
    ends = list(accumulate([size for _, _, size in known]))
    shapes = dict(zip(names, [shape for _, shape, _ in known], strict=True))
    if (
        starts[0] != "0"
        or starts[1:] != texts[:-1]
        or list(map(str, ends)) != texts
        or ends[-1] != room
        or len(shapes) != len(names)
        or "__metadata__" in shapes
        or body.count("{") != len(names) + (body[0] == "{")
    ):
        return None
    return shapes, ([dtype for dtype, _, _ in known], [0, *ends[:-1]], ends)


@functools.lru_cache(maxsize=4096)
def _sized(text: str) -> tuple[str, tuple[int, ...], int]:
    """Dtype, shape and number of bytes in a part of a header; raises where there are none.

    Remembered, because a file has few different shapes. Example: `":"F16","shape":[4,320` → (F16, (4, 320), 2560).
    """
    if len(text) > _LONGEST_SHAPE:
        raise ValueError(text)
    value = json.loads(f'{{"dtype{text}]}}', object_pairs_hook=_unique)
    dtype, shape = value["dtype"], value["shape"]
    if len(value) != 2 or not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(text)
    bits = DTYPE_BITS[dtype] * prod(shape)
    if bits % 8:
        raise ValueError(text)
    return dtype, tuple(shape), bits // 8


_LONGEST_SHAPE = 400


def _entries(path: str, body: str) -> dict[str, Any]:
    """The tensors' JSON, parsed."""
    if body[:1] == ",":
        body = "{" + body[1:]
    elif body[:1] == "}":
        body = "{" + body
    if len(body) > _LONG and _memory(body) > _MOST_MEMORY:
        raise HeaderError(path, say("the header is JSON of a size and form that no model needs"))
    if body.endswith("\0"):
        count = len(body) - len(body.rstrip("\0"))
        raise HeaderError(
            path,
            say(
                "the header is padded with {count} NUL bytes, where the format has spaces, and ComfyUI refuses it, "
                "too. Download the file again, or save it again with the program that made it",
                count=f"{count:,}",
            ),
        )
    try:
        raw: Any = _DECODER.decode(body)
        if not _is_surely_unique(body, raw):
            raw = json.loads(body, object_pairs_hook=_unique)
    except _DuplicateKey as error:
        raise HeaderError(path, say("the header has the key {key} twice", key=quoted(error.key))) from error
    except RecursionError as error:
        raise HeaderError(path, say("the header is nested too deeply")) from error
    except ValueError as error:
        raise HeaderError(path, say("the header is not JSON: {error}", error=error)) from error
    if not isinstance(raw, dict):
        raise HeaderError(path, say("the header is not a JSON object"))
    return cast("dict[str, Any]", raw)


def _memory(text: str) -> int:
    """About the bytes that JSON takes as Python's objects."""
    objects = 240 * text.count("{") + 100 * text.count("[") + 50 * text.count(",") + 60 * text.count('"')
    return objects + (len(text) if text.isascii() else 4 * len(text))


def _is_surely_unique(text: str, raw: object) -> bool:
    """True if no tensor can be there twice: counting is cheaper than looking while parsing.

    Each tensor has one key `data_offsets`; inside of strings a quotation mark is escaped. Of a metadata entry that is
    there twice the last one counts, as in the safetensors library.
    """
    if not isinstance(raw, dict):
        return True
    count = len(cast("dict[str, Any]", raw)) - ("__metadata__" in raw)
    return (
        text.count('"data_offsets"') == count
        and text.count('"__metadata__"') <= 1
        and "\\u00" not in text  # a key could be written with escapes
    )


def _metadata(value: Any) -> tuple[dict[str, str], list[str]]:
    """The metadata's strings, and what is wrong with the rest."""
    if not isinstance(value, dict):
        return {}, [NO_OBJECT]
    metadata: dict[str, str] = {}
    notes: list[str] = []
    for key, item in cast("dict[str, Any]", value).items():
        if not isinstance(item, str):
            notes.append(f"{quoted(key)} is not a string")
        elif not (key.isascii() and item.isascii()) and _ESCAPED.search(key + item):
            notes.append(f"{quoted(_ESCAPED.sub(_UNKNOWN, key))} is not UTF-8")
            metadata[_ESCAPED.sub(_UNKNOWN, key)] = _ESCAPED.sub(_UNKNOWN, item)
        else:
            metadata[key] = item
    return metadata, notes


_ESCAPED = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that are not UTF-8."""
_UNKNOWN = "\ufffd"


def _check_unicode(path: str, text: bytes, error: UnicodeDecodeError, taken: int, decoded: str) -> None:
    """Raises where a byte behind the first `taken` characters is not UTF-8."""
    start = len(decoded[:taken].encode("utf-8", "surrogateescape"))
    try:
        text[start:].decode()
    except UnicodeDecodeError as later:
        raise HeaderError(path, say("the header is not UTF-8 at byte {start}", start=start + later.start)) from error


def _tensor(path: str, name: str, value: Any, room: int) -> TensorInfo:
    where = f"tensor {quoted(name)}"
    if not isinstance(value, dict):
        raise HeaderError(path, say("{where} is not described by a JSON object", where=where))
    info = cast("dict[str, Any]", value)
    dtype, shape, offsets = info.get("dtype"), info.get("shape"), info.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise HeaderError(path, say("{where} has the unknown dtype {dtype}", where=where, dtype=quoted(dtype)))
    if not _naturals(shape):
        raise HeaderError(path, say("{where} has the impossible shape {shape}", where=where, shape=quoted(shape)))
    if not _naturals(offsets) or len(offsets) != 2:
        raise HeaderError(
            path, say("{where} has the impossible data_offsets {offsets}", where=where, offsets=quoted(offsets))
        )
    start, end = offsets
    if start > end:
        raise HeaderError(
            path, say("{where} ends at byte {end} before it starts at byte {start}", where=where, end=end, start=start)
        )
    if end > room:
        raise HeaderError(
            path,
            say(
                "{where} reaches to byte {end} of the data but the file holds {room}; the file is truncated",
                where=where,
                end=f"{end:,}",
                room=f"{room:,}",
            ),
        )
    if len(shape) > MAX_DIMENSIONS:
        raise HeaderError(
            path,
            say(
                "{where} has {count} dimensions, more than {most}",
                where=where,
                count=f"{len(shape):,}",
                most=MAX_DIMENSIONS,
            ),
        )
    elements = prod(shape)
    if elements * DTYPE_BITS[dtype] != (end - start) * 8:
        raise HeaderError(
            path,
            say(
                "{where} has {end} bytes, which do not fit {dtype} of shape {shape}",
                where=where,
                end=f"{end - start:,}",
                dtype=dtype,
                shape=quoted(shape),
            ),
        )
    return TensorInfo(dtype, tuple(shape), start, end)


def _check_layout(path: str, tensors: Iterable[tuple[str, TensorInfo]], room: int) -> None:
    """The tensors must fill the data area without overlap or gap, as the format demands."""
    position, previous = 0, ""
    for name, info in sorted(tensors, key=lambda item: (item[1].start, item[1].end)):
        if info.start < position:
            raise HeaderError(
                path,
                say(
                    "tensors {previous} and {name} overlap at byte {start}",
                    previous=quoted(previous),
                    name=quoted(name),
                    start=f"{info.start:,}",
                ),
            )
        if info.start > position:
            raise HeaderError(
                path,
                say(
                    "bytes {position} to {start} before tensor {name} are unaccounted for",
                    position=f"{position:,}",
                    start=f"{info.start:,}",
                    name=quoted(name),
                ),
            )
        position, previous = info.end, name
    if position != room:
        raise HeaderError(
            path, say("{room} bytes after the last tensor are unaccounted for", room=f"{room - position:,}")
        )


def _naturals(value: Any) -> TypeGuard[list[int]]:
    if not isinstance(value, list):
        return False
    return all(type(item) is int and 0 <= item < 2**63 for item in cast("list[Any]", value))


class _DuplicateKey(ValueError):
    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)
    return result
