"""Applies a stack to a checkpoint file: streamed tensor by tensor, with exact sums.

Never more than one piece of one tensor is in memory, or one whole tensor where other algorithms than LoRA change it, so
that the size of the checkpoint does not matter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..architectures.sites import Offset
from ..errors import CheckpointError, shortened
from ..files.header import Header, TensorInfo, read_header
from ..files.key import find_key
from ..files.new_file import check_output, header_bytes, new_file
from ..files.opening import RegularFile, open_regular
from ..fit.outcome import UNKNOWN, Outcome
from ..fit.rows import Files, Located
from ..lora.cache import DTYPES, is_finite, open_lora
from ..models import checkpoint
from ..models.base import Base
from ..models.base_file import logical_shapes
from ..models.quantized import GGUF, find_quantization, no_bake
from ..models.recognise import identify_base
from ..stack import Stack
from .fuse import Parts, Term, add_updates
from .plan import Part, Plan, by_offset, make_plan

METADATA_KEY = "lorchestra.baked"
"""Metadata entry of a baked checkpoint: a JSON list of `{"sha256", "name", "model", "clip"}`, in canonical order."""

_PIECE = 8 << 20
"""Elements of a tensor that are in memory at a time (32 MB as fp32); the rest of the room is for the LoRAs on it."""

_SCALES = (".scale_weight", ".weight_scale", ".weight_scale_2", ".weight_scale_inv", ".comfy_quant")
"""Tensors beside a weight that say it is quantized: its numbers are not the weight itself."""


@dataclass(frozen=True, slots=True)
class Baked:
    """What was done."""

    output: str
    outcomes: tuple[Outcome, ...]
    changed: int
    """Tensors that LoRAs were added to."""


Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def bake(
    base: str | Path,
    stack: Stack,
    output: str | Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Baked:
    """Writes `base` with `stack` applied to `output`; rows name files by their paths.

    The output appears whole or not at all. It keeps the base's metadata, tensor order and dtypes; fp8 weights are
    rounded to nearest.

    Raises `CheckpointError` if the base is quantized in a way that hides its weights or changes meanwhile, where
    the output exists (unless `force`), is the base or a LoRA of the stack or cannot be written, and where a weight
    would not be finite; `HeaderError`, `AdapterError` and `StackError` as `make_plan`.
    """
    key = find_key(base)
    if Path(base).name.lower().endswith(".gguf"):
        raise CheckpointError(base, no_bake(GGUF))
    header = read_header(base)
    shapes = logical_shapes(header)
    quantization = find_quantization(header.tensors)
    inputs = [str(base), *(entry.lora for entry in stack.entries)]
    check_output(Path(output), inputs, "the base or one of the LoRAs", force)
    plan = make_plan(
        stack,
        Files(
            find=lambda entry, _: Located(entry.lora),  # opening a file that is not there says so
            open=lambda path: open_lora(path, keep=False),
        ),
        Base(
            Path(base).name,
            checkpoint.targets(shapes),
            lambda: identify_base(checkpoint.model_tensors(shapes)),
            hidden=bool(quantization) and None in shapes.values(),
            quantization=quantization,
        ),
    )
    if any(outcome.verdict == UNKNOWN for outcome in plan.outcomes):
        raise CheckpointError(base, no_bake(quantization))
    changes = _changes(header, plan, quantization)
    metadata = {**header.metadata, METADATA_KEY: _record(header, plan)}
    with new_file(Path(output), force) as target, open_regular(header.path, CheckpointError) as source:
        entries = {name: (info.dtype, info.shape, info.start, info.end) for name, info in header.tensors.items()}
        target.write(header_bytes(entries, metadata))
        total = header.file_size - header.data_start
        done = 0
        for name, info in sorted(header.tensors.items(), key=lambda item: (item[1].start, item[1].end)):
            for data in _tensor_bytes(header, source, name, info, changes.get(name, ())):
                target.write(data)
                done += len(data)
                if progress:
                    progress(done, total)
        if find_key(base) != key:
            raise CheckpointError(base, "the file changed while it was read")
    return Baked(str(output), plan.outcomes, len(changes))


def _changes(header: Header, plan: Plan, quantization: str) -> Mapping[str, Sequence[Part]]:
    """Tensor → what changes it, in canonical order."""
    result: dict[str, Sequence[Part]] = {}
    for change, parts in plan.changes.items():
        info = header.tensors[change.key]
        if quantization and not _is_floating(info):
            raise CheckpointError(header.path, no_bake(quantization))
        if not is_plain(header, change.key):
            raise CheckpointError(
                header.path,
                f"tensor {change.key} is quantized ({info.dtype}); bake into the fp16, bf16 or fp8 checkpoint",
            )
        wide = next((part for part in parts if _is_wider(part, info.shape)), None)
        if wide is not None:
            raise CheckpointError(
                header.path,
                f"{Path(wide.file.path).name} makes tensor {change.key} larger, which works in ComfyUI alone; "
                "leave it out here",
            )
        result[change.key] = parts
    return result


def is_plain(header: Header, name: str) -> bool:
    """True if a tensor's numbers are the weight itself: it is floating point, and nothing beside it scales it."""
    stem = name.removesuffix(".weight")
    return _is_floating(header.tensors[name]) and not any(stem + scale in header.tensors for scale in _SCALES)


def _is_floating(info: TensorInfo) -> bool:
    return info.dtype in DTYPES and DTYPES[info.dtype].is_floating_point


def _is_wider(part: Part, shape: Sequence[int]) -> bool:
    """True for a LoRA that pads the weight with zeros first."""
    return part.module.pads and prod(part.module.in_shape or ()) != prod(shape[1:])


def _record(header: Header, plan: Plan) -> str:
    """The metadata entry: what an earlier bake left, and then what this one applies."""
    applied = {id(part.file) for parts in plan.changes.values() for part in parts}
    rows = [
        {
            "sha256": item.file.sha256(),
            "name": os.fsencode(Path(item.file.path).name).decode("utf-8", "replace"),  # also one of other bytes
            "model": item.weighted.model,
            "clip": item.weighted.clip,
        }
        for item in plan.chosen
        if id(item.file) in applied
    ]
    return json.dumps([*read_baked(header), *rows])


def _tensor_bytes(
    header: Header, source: RegularFile, name: str, info: TensorInfo, changes: Sequence[Part]
) -> Iterator[bytearray | memoryview]:
    """The tensor's bytes in pieces, changed where there are changes."""
    if not changes:
        for position in range(info.start, info.end, _PIECE):
            yield _read(header, source, position, min(_PIECE, info.end - position))
        return
    dtype = DTYPES[info.dtype]
    rows, width = info.shape[0], (info.end - info.start) // info.shape[0]
    parts = [(offset, [part.term() for part in items]) for offset, items in by_offset(changes)]
    step = rows
    if all(term.is_low_rank(info.shape) for _, terms in parts for term in terms):
        step = max(1, _PIECE // max(1, width // dtype.itemsize))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        stored = torch.frombuffer(_read(header, source, info.start + first * width, count * width), dtype=dtype)
        wide = stored.reshape(count, *info.shape[1:]).to(torch.float64 if dtype == torch.float64 else torch.float32)
        try:
            add_updates(wide, parts if count == rows else _piece(parts, first, count))
        except ValueError as error:
            raise CheckpointError(header.path, f"tensor {shortened(name)} cannot be changed: {error}") from error
        yield _rounded(header, name, wide, dtype).flatten().view(torch.uint8).numpy().data


def _piece(parts: Parts, first: int, count: int) -> Parts:
    """What of low-rank updates falls on `count` rows of a weight from row `first` on."""
    result: list[tuple[Offset | None, Sequence[Term]]] = []
    for offset, terms in parts:
        if offset is None or offset[0] != 0:
            result.append((offset, [term.rows(first, count) for term in terms]))
            continue
        _, start, length = offset
        low, high = max(start, first), min(start + length, first + count)
        if low < high:
            result.append(((0, low - first, high - low), [term.rows(low - start, high - low) for term in terms]))
    return result


def _rounded(header: Header, name: str, wide: Tensor, dtype: torch.dtype) -> Tensor:
    limit = torch.finfo(dtype).max
    is_fp8 = dtype.itemsize == 1  # which is clamped, as in ComfyUI
    rounded = (wide.clamp(-limit, limit) if is_fp8 else wide).to(dtype)
    if not is_finite(wide if is_fp8 else rounded):
        raise CheckpointError(
            header.path,
            f"tensor {shortened(name)} would not be finite: the update goes beyond {limit:.4g}, the largest value of "
            "its dtype, or the base has NaN there; lower the weights of the LoRAs",
        )
    return rounded


def _read(header: Header, source: RegularFile, start: int, count: int) -> bytearray:
    """`count` bytes of the data from byte `start` on."""
    data = bytearray(count)
    source.fill(header.data_start + start, memoryview(data))
    return data


def read_baked(header: Header) -> Sequence[Mapping[str, Any]]:
    """What earlier bakes left in a checkpoint's metadata; empty if there is nothing."""
    try:
        rows: Any = json.loads(header.metadata.get(METADATA_KEY, "[]"))
    except (ValueError, RecursionError):
        return []
    return cast("list[Mapping[str, Any]]", rows) if isinstance(rows, list) else []
