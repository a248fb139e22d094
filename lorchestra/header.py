"""Reads the header of a safetensors file, and nothing else, within bounds and with a reason for every refusal.

Format: https://github.com/huggingface/safetensors#format - eight bytes little-endian header length `n`,
`n` bytes of JSON, then the tensors' bytes. Nothing here needs torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

from .errors import HeaderError, quoted

MAX_HEADER_BYTES = 100_000_000
"""The same limit as the safetensors library's."""

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, by the dtype's name in the header. Example: `BF16` is 16."""

_MOST_BITS = 1 << 70
"""No tensor of a file has more; a product of millions of lengths would never end."""

_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


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
    entries: Mapping[str, Any] = field(repr=False)
    """The header's JSON about the tensors, validated."""

    @functools.cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All about each tensor; made when it is first asked for, because names and shapes tell what a file is."""
        return {
            name: TensorInfo(value["dtype"], self.shapes[name], *value["data_offsets"])
            for name, value in self.entries.items()
        }


def read_header(path: str | Path) -> Header:
    """Reads and validates the header of one file; at most `MAX_HEADER_BYTES` + 8 bytes are read.

    Raises `HeaderError`, which names the file and the reason, for anything that is not a sound safetensors file:
    a missing or unreadable file, a directory, a pickle, a truncated file, a header that lies.
    """
    name = str(path)
    if name.lower().endswith(_PICKLE_SUFFIXES):
        raise HeaderError(name, _pickle_reason(name))
    try:
        with _open_regular(name) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if len(start) < 8:
                raise HeaderError(
                    name,
                    "the file is empty"
                    if not start
                    else f"the file has only {len(start)} bytes, too few for a safetensors header",
                )
            length = int.from_bytes(start, "little")
            # A header of 640 bytes starts like a pickle too; it goes on with {.
            if length > size - 8 and start.startswith(_PICKLE_STARTS) and file.read(1) not in (b"{", b""):
                raise HeaderError(name, _pickle_reason(name))
            if length > MAX_HEADER_BYTES:
                raise HeaderError(
                    name,
                    f"the header claims {length:,} bytes, above the limit of {MAX_HEADER_BYTES:,}; "
                    "this is not a safetensors file, or it is damaged",
                )
            if length > size - 8:
                raise HeaderError(
                    name, f"the header claims {length:,} bytes but the file has {size:,}; the file is truncated"
                )
            text = file.read(length)
    except OSError as error:
        raise HeaderError(name, _os_reason(error)) from error
    except ValueError as error:  # a NUL or broken Unicode in the path
        raise HeaderError(name, f"this cannot be the name of a file ({error})") from error
    if len(text) != length:
        raise HeaderError(name, "the file became shorter while it was read")
    return parse_header(text, path=name, file_size=size)


def parse_header(text: bytes, *, path: str, file_size: int) -> Header:
    """The header from its JSON bytes (without the length), checked against `file_size` in bytes; see `read_header`."""
    try:
        raw: Any = json.loads(text.decode("utf-8"))
        if not _is_surely_unique(text, raw):
            raw = json.loads(text, object_pairs_hook=_unique)
    except _DuplicateKey as error:
        raise HeaderError(path, f"the header has the key {quoted(error.key)} twice") from error
    except UnicodeDecodeError as error:
        raise HeaderError(path, f"the header is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise HeaderError(path, "the header is nested too deeply") from error
    except ValueError as error:
        raise HeaderError(path, f"the header is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise HeaderError(path, "the header is not a JSON object")
    entries = cast("dict[str, Any]", raw)
    metadata = _metadata(path, entries.pop("__metadata__", {}))
    data_start = 8 + len(text)
    shapes = _shapes(path, entries, file_size - data_start)
    return Header(path, shapes, metadata, data_start, file_size, hashlib.sha256(text).hexdigest(), entries)


def _is_surely_unique(text: bytes, raw: object) -> bool:
    """True where no tensor can be there twice: counting is cheaper than looking while parsing.

    Each tensor has one key `data_offsets`; inside of strings a quotation mark is escaped. Of a metadata entry that is
    there twice the last one counts, as in the safetensors library.
    """
    if not isinstance(raw, dict):
        return True
    count = len(cast("dict[str, Any]", raw)) - ("__metadata__" in raw)
    return (
        text.count(b'"data_offsets"') == count
        and text.count(b'"__metadata__"') <= 1
        and b"\\u00" not in text  # a key could be written with escapes
    )


def _shapes(path: str, entries: Mapping[str, Any], room: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, which are validated."""
    shapes = _usual_shapes(entries, room)
    if shapes is None:
        tensors = {name: _tensor(path, name, value, room) for name, value in entries.items()}
        _check_layout(path, tensors.items(), room)
        shapes = {name: info.shape for name, info in tensors.items()}
    return shapes


def _usual_shapes(entries: Mapping[str, Any], room: int) -> dict[str, tuple[int, ...]] | None:
    """The shapes in the usual case: all sound, none empty, in the order of the header. None: look closer."""
    shapes: dict[str, tuple[int, ...]] = {}
    position = 0
    bits_of = DTYPE_BITS
    try:
        for name, value in entries.items():
            shape: list[int] = value["shape"]
            start, end = value["data_offsets"]
            if start != position or type(start) is not int or type(end) is not int or type(shape) is not list:
                return None
            bits = bits_of[value["dtype"]]
            for length in shape:
                if type(length) is not int or length < 1 or bits > _MOST_BITS:
                    return None
                bits *= length
            if bits != (end - start) * 8:
                return None
            shapes[name] = tuple(shape)
            position = end
    except (KeyError, TypeError, ValueError):
        return None
    return shapes if position == room else None


def _tensor(path: str, name: str, value: Any, room: int) -> TensorInfo:
    where = f"tensor {quoted(name)}"
    if not isinstance(value, dict):
        raise HeaderError(path, f"{where} is not described by a JSON object")
    info = cast("dict[str, Any]", value)
    dtype, shape, offsets = info.get("dtype"), info.get("shape"), info.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise HeaderError(path, f"{where} has the unknown dtype {quoted(dtype)}")
    if not _naturals(shape):
        raise HeaderError(path, f"{where} has the impossible shape {quoted(shape)}")
    if not _naturals(offsets) or len(offsets) != 2:
        raise HeaderError(path, f"{where} has the impossible data_offsets {quoted(offsets)}")
    start, end = offsets
    if start > end:
        raise HeaderError(path, f"{where} ends at byte {end} before it starts at byte {start}")
    if end > room:
        raise HeaderError(
            path, f"{where} reaches to byte {end:,} of the data but the file holds {room:,}; the file is truncated"
        )
    elements = 0 if 0 in shape else 1
    for length in shape:
        if elements > 2**63:  # cannot fit any more, and a product of millions of lengths would never end
            break
        elements *= length
    if elements * DTYPE_BITS[dtype] != (end - start) * 8:
        raise HeaderError(path, f"{where} has {end - start:,} bytes, which do not fit {dtype} of shape {quoted(shape)}")
    return TensorInfo(dtype, tuple(shape), start, end)


def _check_layout(path: str, tensors: Iterable[tuple[str, TensorInfo]], room: int) -> None:
    """The tensors must fill the data area without overlap or gap, as the format demands."""
    position, previous = 0, ""
    for name, info in sorted(tensors, key=lambda item: (item[1].start, item[1].end)):
        if info.start < position:
            raise HeaderError(path, f"tensors {quoted(previous)} and {quoted(name)} overlap at byte {info.start:,}")
        if info.start > position:
            raise HeaderError(
                path, f"bytes {position:,} to {info.start:,} before tensor {quoted(name)} are unaccounted for"
            )
        position, previous = info.end, name
    if position != room:
        raise HeaderError(path, f"{room - position:,} bytes after the last tensor are unaccounted for")


def _metadata(path: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise HeaderError(path, "__metadata__ is not a JSON object")
    entries = cast("dict[str, Any]", value)
    for key, item in entries.items():
        if not isinstance(item, str):
            raise HeaderError(path, f"the metadata entry {quoted(key)} is not a string")
    return cast("dict[str, str]", entries)


def _naturals(value: Any) -> TypeGuard[list[int]]:
    if not isinstance(value, list):
        return False
    return all(type(item) is int and 0 <= item < 2**63 for item in cast("list[Any]", value))


def _open_regular(name: str):
    """Opens a plain file for reading; a directory, pipe or device is refused before anything can block on it."""
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise HeaderError(name, "this is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise HeaderError(name, "this is not a regular file")
    return open(name, "rb")


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied)"
    return f"the file cannot be read ({error.strerror or error})"


def _pickle_reason(name: str) -> str:
    target = Path(name).with_suffix(".safetensors").name
    return (
        "this is a pickle file, which can run code when it is opened; Lorchestra reads only .safetensors. "
        "If you trust its source, convert it: "
        f'python -c "import torch, safetensors.torch as s; d = torch.load({Path(name).name!r}, weights_only=True); '
        f"s.save_file({{k: v.contiguous() for k, v in d.get('state_dict', d).items()}}, {target!r})\""
    )


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
