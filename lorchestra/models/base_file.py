"""The tensors of a base model by their logical shapes, from headers alone: safetensors, also in shards, and GGUF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

from ..errors import CheckpointError, quoted
from ..files.gguf import read_gguf
from ..files.header import MAX_HEADER_BYTES, Header, TensorInfo, read_header
from ..files.opening import exists, is_file, is_folder, read_small
from .quantized import GGUF, RENAMED, find_quantization

Shape = tuple[int, ...]

MAX_SHARDS = 1_000
MAX_INDEX_BYTES = 16_000_000
"""The index of 100,000 tensors has about 10 MB."""

INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.(?:safetensors|gguf))", re.I)
"""Example: `diffusion_pytorch_model-00001-of-00003.safetensors`."""

_MODEL_FOLDERS = ("transformer", "unet")
"""Where a diffusers pipeline has its diffusion model."""

_FULL_WIDTH = frozenset({"F16", "BF16", "F32", "F64", "F4", "F6_E2M3", "F6_E3M2"})
"""Dtypes whose stored shape is the weight's own; safetensors counts elements of F4 and F6, not bytes."""

_FP8 = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
_FP8_FORMATS = ("float8_e4m3fn", "float8_e5m2")

_PADDING = 64
"""ComfyUI pads nvfp4 to multiples of 16 and mxfp8 to multiples of 32. A width that is a multiple of 64 is taken as the
layer's own: no linear layer of a known model has one that padding would bring there."""


@dataclass(frozen=True, slots=True)
class BaseFile:
    """What the headers say about a base model."""

    path: str
    files: tuple[str, ...]
    """All files that belong to it, in order."""
    shapes: Mapping[str, Shape | None]
    """Tensor name → logical shape; None if the weight is packed so that its shape cannot be told."""
    renamed: bool
    """True if a quantization renames layers: that a layer is not found here says nothing."""
    header_bytes: int
    """Bytes of all headers."""
    notes: tuple[str, ...]
    """What is worth knowing about how the file was read, in sentences."""
    quantization: str = ""
    """What packed its weights, as people call it; empty if they are plain, or scaled fp8."""

    @property
    def packed(self) -> frozenset[str]:
        """Names of the tensors whose shape cannot be told."""
        return frozenset(name for name, shape in self.shapes.items() if shape is None)


def read_base(path: str | Path) -> BaseFile:
    """Reads the headers of a base model and nothing else.

    `path` is a .safetensors or .gguf file, one shard of several (all of them are read), the index of shards
    (`….safetensors.index.json`), or a diffusers folder.

    Raises `CheckpointError` for a missing shard, an index or a GGUF header that lies, a folder without a model, and
    shards that contradict each other; `HeaderError` for a .safetensors file that is none.
    """
    start = _find_start(path)
    files, expected = _parts(start)
    if start.name.lower().endswith(".gguf"):
        return _from_gguf(str(path), files)
    return _from_safetensors(str(path), files, expected)


def find_files(path: str | Path) -> tuple[str, ...]:
    """All files that `read_base` would read, without reading their headers; errors as there."""
    start = _find_start(path)
    return tuple(dict.fromkeys([str(start), *map(str, _parts(start)[0])]))


def _find_start(path: str | Path) -> Path:
    """The file to begin with: in a folder the index or the single file of the model."""
    if not is_folder(path):
        return Path(path)
    try:
        return _find_in_folder(Path(path))
    except OSError as error:
        raise CheckpointError(path, f"the folder cannot be read ({error.strerror or error})") from error


def _parts(path: Path) -> tuple[list[Path], Mapping[str, str]]:
    """All files of the model, and `tensor → file` where an index says so."""
    if path.name.lower().endswith(INDEX_SUFFIX):
        expected = _read_index(path)
        return [path.parent / name for name in sorted(set(expected.values()))], expected
    match = _SHARD.fullmatch(path.name)
    if not match:
        return [path], {}
    total = int(match["total"])
    if not 1 <= int(match["number"]) <= total <= MAX_SHARDS:
        raise CheckpointError(path, f"the name says shard {int(match['number']):,} of {total:,}, which cannot be")
    names = (f"{match['stem']}-{number:05}-of-{total:05}{match['suffix']}" for number in range(1, total + 1))
    return [path.parent / name for name in names], {}


def _require(path: Path, count: int) -> None:
    if count > 1 and not exists(path):
        raise CheckpointError(path, f"this shard of a model in {count} files is missing; download it, too")


def _read_index(path: Path) -> Mapping[str, str]:
    index = _json_object(read_small(path, MAX_INDEX_BYTES, CheckpointError))
    weights = _object(index.get("weight_map")) if index is not None else None
    if not weights:
        raise CheckpointError(path, 'this is not an index of shards: it has no "weight_map"')
    for name, file in weights.items():
        # Only names beside the index: it must not lead anywhere else.
        if not isinstance(file, str) or not _is_plain_name(file):
            raise CheckpointError(path, f"the index puts tensor {quoted(name)} into the impossible file {quoted(file)}")
    if len(set(weights.values())) > MAX_SHARDS:
        raise CheckpointError(path, f"the index names more than {MAX_SHARDS:,} files")
    return cast("dict[str, str]", weights)


def _is_plain_name(name: str) -> bool:
    return name.lower().endswith(".safetensors") and not any(mark in name for mark in "/\\:\0")


def _find_in_folder(folder: Path) -> Path:
    """The index or the single file of a diffusers model or pipeline; of several variants the one without a suffix."""
    for place in (folder, *(folder / name for name in _MODEL_FOLDERS)):
        if not is_folder(place):
            continue
        names = sorted(item.name for item in place.iterdir() if is_file(item))
        indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
        singles = [name for name in names if name.endswith(".safetensors") and not _SHARD.fullmatch(name)]
        found = min(indices or singles, key=lambda name: (len(name), name), default=None)
        shards = [name for name in names if name.endswith(".safetensors")]
        if found or shards:
            return place / (found or shards[0])
    raise CheckpointError(folder, "the folder has no model: neither an index of shards nor a .safetensors file")


def _from_gguf(path: str, files: list[Path]) -> BaseFile:
    shapes: dict[str, Shape | None] = {}
    size = 0
    for file in files:
        _require(file, len(files))
        header = read_gguf(file)
        _check_doubles(file, shapes, header.shapes)
        shapes.update(header.shapes)
        size += header.size
    return BaseFile(path, tuple(map(str, files)), shapes, False, size, (), GGUF)


def _from_safetensors(path: str, files: list[Path], expected: Mapping[str, str]) -> BaseFile:
    tensors: dict[str, TensorInfo] = {}
    formats: dict[str, str] = {}
    size = 0
    for file in files:
        _require(file, len(files))
        header = read_header(file)
        _check_doubles(file, tensors, header.tensors)
        for name, shard in expected.items():
            if shard == file.name and name not in header.tensors:
                raise CheckpointError(file, f"the index says that tensor {quoted(name)} is here, but it is not")
        tensors.update(header.tensors)
        formats.update(_formats(header.metadata.get("_quantization_metadata", "")))
        size += header.data_start
        if size > MAX_HEADER_BYTES:
            raise CheckpointError(path, f"the headers have more than {MAX_HEADER_BYTES:,} bytes together")
    tools = {tool for name in tensors for end, tool in RENAMED.items() if name.endswith(end)}
    shapes: dict[str, Shape | None] = {
        name: _logical_shape(name, info, tensors, formats) for name, info in tensors.items()
    }
    notes = tuple(_notes(shapes, tools))
    return BaseFile(path, tuple(map(str, files)), shapes, bool(tools), size, notes, find_quantization(tensors))


def logical_shapes(header: Header) -> dict[str, Shape | None]:
    """The tensors of one safetensors file by their logical shapes, as `BaseFile.shapes`."""
    formats = _formats(header.metadata.get("_quantization_metadata", ""))
    return {name: _logical_shape(name, info, header.tensors, formats) for name, info in header.tensors.items()}


def _check_doubles(file: Path, known: Mapping[str, object], new: Mapping[str, object]) -> None:
    double = next((name for name in new if name in known), None)
    if double is not None:
        raise CheckpointError(file, f"tensor {quoted(double)} is in another shard, too")


def _logical_shape(
    name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo], formats: Mapping[str, str]
) -> Shape | None:
    """The weight's own shape; None if the stored one is packed and does not tell.

    Formats of ComfyUI: `.comfy_quant` and scales beside the weight, or metadata `_quantization_metadata`. bitsandbytes
    writes NF4 and FP4 as U8 of shape (n, 1) and its int8 with an `.SCB` beside.
    """
    if any(name.endswith(end) for end in RENAMED):
        return None
    if not name.endswith(".weight") or info.dtype in _FULL_WIDTH:
        return info.shape
    kind, scale = formats.get(name.removesuffix(".weight")), tensors.get(f"{name}_scale")
    if info.dtype in _FP8 or kind in _FP8_FORMATS:
        is_mxfp8 = kind == "mxfp8" or (scale is not None and scale.dtype in ("U8", "F8_E8M0"))
        return _unpadded(info.shape) if is_mxfp8 else info.shape
    if info.dtype == "U8" and len(info.shape) == 2 and (kind == "nvfp4" or f"{name}_scale_2" in tensors):
        return _unpadded((info.shape[0], 2 * info.shape[1]))  # two values a byte
    if info.dtype == "I8" and info.shape:
        per_row = scale or tensors.get(f"{name.removesuffix('.weight')}.SCB")
        is_whole = per_row is not None and f"{name}_s_rel" not in tensors and prod(per_row.shape) in (1, info.shape[0])
        if kind == "int8_tensorwise" or (kind is None and is_whole):
            return info.shape
    return None


def _unpadded(shape: Shape) -> Shape | None:
    """The shape where it cannot come from padding, else None."""
    return None if any(length % _PADDING for length in shape) else shape


def _formats(text: str) -> Mapping[str, str]:
    """Layer → name of its format, from ComfyUI's metadata; empty if that is unreadable."""
    root = _json_object(text.encode("utf-8", "replace")) if text else None
    layers = (_object(root.get("layers")) if root else None) or {}
    result: dict[str, str] = {}
    for layer, value in layers.items():
        kind = (_object(value) or {}).get("format")
        if isinstance(kind, str):
            result[layer] = kind
    return result


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _notes(shapes: Mapping[str, Shape | None], tools: set[str]) -> Iterator[str]:
    packed = sum(shape is None for shape in shapes.values())
    if packed:
        yield f"{packed} of {len(shapes)} tensors are packed by their quantization, so that their shapes are unknown."
    if tools:
        yield f"The layers are renamed by their quantization ({', '.join(sorted(tools))}); names do not tell all."
