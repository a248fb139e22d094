"""Writes small GGUF files by hand, sound or broken."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

UINT32, INT32, STRING, ARRAY = 4, 5, 8, 9
F32, Q4_0 = 0, 2


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def original_shape(name: str, shape: Sequence[int]) -> bytes:
    """As ComfyUI-GGUF writes it."""
    return entry(f"comfy.gguf.orig_shape.{name}", ARRAY, array(INT32, [struct.pack("<i", length) for length in shape]))


def tensor(name: str | bytes, shape: Sequence[int], start: int = 0, kind: int = F32) -> bytes:
    """`shape` in torch's order."""
    dims = struct.pack(f"<{len(shape)}Q", *reversed(shape))
    return text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", kind, start)


def gguf(
    tensors: Sequence[bytes] | Mapping[str, Sequence[int]] = (),
    entries: Sequence[bytes] = (),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 64,
) -> bytes:
    """A whole file; `counts` are what it claims instead of the true (tensors, entries)."""
    infos = [tensor(*item) for item in tensors.items()] if isinstance(tensors, Mapping) else list(tensors)
    claimed = counts or (len(infos), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", version, *claimed) + b"".join(entries) + b"".join(infos)
    return head + bytes(-len(head) % 32) + bytes(data)
