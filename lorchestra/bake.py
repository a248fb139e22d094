"""Applies a stack to a checkpoint file: streamed tensor by tensor, the same weights as in ComfyUI.

Never more than one piece of one tensor is in memory, so that the size of the checkpoint does not matter.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from .adapters import open_lora, read_sha256
from .architectures import checkpoint
from .check import Outcome
from .errors import CheckpointError
from .fuse import add_low_rank
from .header import Header, TensorInfo, read_header
from .placing import Offset
from .plan import Part, Plan, make_plan
from .stack import Entry, Stack

METADATA_KEY = "lorchestra.baked"
"""Metadata entry of a baked checkpoint: a JSON list of `{"sha256", "name", "model", "clip"}`, in canonical order."""

_PIECE = 32 << 20
"""Elements of a tensor that are in memory at a time (128 MB as fp32)."""

_DTYPES: Mapping[str, torch.dtype] = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""Dtypes of weights that can be changed."""

_SCALES = (".scale_weight", ".weight_scale", ".comfy_quant", ".weight_scale_2")
"""Tensors beside a weight that say it is quantized: its numbers are not the weight itself."""


@dataclass(frozen=True, slots=True)
class Baked:
    """What was done."""

    output: str
    outcomes: tuple[Outcome, ...]
    changed: int
    """Tensors that differ from the base's."""


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

    Raises `CheckpointError` where the base is quantized in a way that hides its weights, where the output exists
    (unless `force`) or is the base or a LoRA itself; `HeaderError`, `AdapterError` and `StackError` as `make_plan`.
    """
    header = read_header(base)
    _check_output(Path(output), [str(base), *(entry.lora for entry in stack.entries if entry.active)], force)
    plan = make_plan(
        stack,
        find=_find_path,
        open_file=lambda path: open_lora(path, mapped=False),
        targets=checkpoint.targets({name: info.shape for name, info in header.tensors.items()}),
    )
    changes = _changes(header, plan)
    metadata = {**header.metadata, METADATA_KEY: _record(header, plan)}
    with _new_file(Path(output)) as target, open(header.path, "rb") as source:
        target.write(_header_bytes(header, metadata))
        total = header.file_size - header.data_start
        done = 0
        for name, info in sorted(header.tensors.items(), key=lambda item: (item[1].start, item[1].end)):
            source.seek(header.data_start + info.start)
            for data in _tensor_bytes(header, source, name, info, changes.get(name, ())):
                target.write(data)
                done += len(data)
                if progress:
                    progress(done, total)
    return Baked(str(output), plan.outcomes, len(changes))


def _find_path(entry: Entry, row: int) -> str | None:
    return entry.lora if os.path.lexists(entry.lora) else None


def _check_output(output: Path, inputs: Sequence[str], force: bool) -> None:
    if output.is_dir():
        raise CheckpointError(output, "this is a directory; name the file to write")
    if not output.parent.is_dir():
        raise CheckpointError(output, f"the folder {output.parent} does not exist")
    if not output.exists():
        return
    if any(Path(path).exists() and output.samefile(path) for path in inputs):
        raise CheckpointError(output, "this is one of the files to be read; write to another")
    if not force:
        raise CheckpointError(output, "the file exists already; use --force to replace it")


_Changes = Sequence[tuple[Offset | None, tuple[Part, ...]]]


def _changes(header: Header, plan: Plan) -> Mapping[str, _Changes]:
    """Tensor → its changes; whole-tensor changes first, then parts by their start."""
    result: dict[str, list[tuple[Offset | None, tuple[Part, ...]]]] = {}
    for change, parts in plan.changes.items():
        dtype = header.tensors[change.key].dtype
        stem = change.key.removesuffix(".weight")
        if dtype not in _DTYPES or any(stem + scale in header.tensors for scale in _SCALES):
            raise CheckpointError(
                header.path, f"tensor {change.key} is quantized ({dtype}); bake into the fp16, bf16 or fp8 checkpoint"
            )
        result.setdefault(change.key, []).append((change.offset, parts))
    return {key: sorted(items, key=lambda item: item[0] or (-1, 0, 0)) for key, items in result.items()}


def _record(header: Header, plan: Plan) -> str:
    """The metadata entry: what an earlier bake left, and then what this one applies."""
    rows = [
        {
            "sha256": read_sha256(item.file.path),
            "name": Path(item.file.path).name,
            "model": item.weighted.model,
            "clip": item.weighted.clip,
        }
        for item in plan.chosen
    ]
    return json.dumps([*read_baked(header), *rows])


def _header_bytes(header: Header, metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name, info in header.tensors.items():
        entries[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [info.start, info.end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of eight, as the safetensors library writes it
    return len(text).to_bytes(8, "little") + text


def _tensor_bytes(
    header: Header, source: IO[bytes], name: str, info: TensorInfo, changes: _Changes
) -> Iterator[bytes | memoryview]:
    """The tensor's bytes in pieces, changed where there are changes."""
    if not changes:
        left = info.end - info.start
        while left:
            data = _read(header, source, min(left, _PIECE))
            left -= len(data)
            yield data
        return
    dtype = _DTYPES[info.dtype]
    rows, width = info.shape[0], (info.end - info.start) // info.shape[0]
    terms = [(offset, [part.term() for part in parts]) for offset, parts in changes]
    step = max(1, _PIECE // max(1, width // dtype.itemsize))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        stored = torch.frombuffer(bytearray(_read(header, source, count * width)), dtype=dtype)
        piece = stored.reshape(count, *info.shape[1:])
        wide = piece.to(torch.float64 if dtype == torch.float64 else torch.float32)
        for offset, summands in terms:
            part = _part(wide, offset, first)
            if part is not None:
                start = max(0, first - (offset[1] if offset and offset[0] == 0 else 0))
                add_low_rank(part, [term.rows(start, part.shape[0]) for term in summands])
        yield _rounded(wide, dtype).contiguous().view(torch.uint8).numpy().data


def _part(piece: Tensor, offset: Offset | None, first: int) -> Tensor | None:
    """What of the offset's part lies in a piece that begins at row `first`; None where nothing does."""
    if offset is None:
        return piece
    dim, start, length = offset
    if dim != 0:
        return piece.narrow(dim, start, length)
    low, high = max(start, first), min(start + length, first + piece.shape[0])
    return piece[low - first : high - first] if low < high else None


def _rounded(wide: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.itemsize == 1:  # fp8 has no infinity to overflow to
        limit = torch.finfo(dtype).max
        wide = wide.clamp(-limit, limit)
    return wide.to(dtype)


def _read(header: Header, source: IO[bytes], count: int) -> bytes:
    data = source.read(count)
    if len(data) != count:
        raise CheckpointError(header.path, "the file became shorter while it was read")
    return data


@contextlib.contextmanager
def _new_file(output: Path) -> Generator[IO[bytes]]:
    """A file that takes its name when it is complete, and is removed whatever else happens."""
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp made it private
        Path(name).replace(output)
    except OSError as error:
        raise CheckpointError(output, f"the file cannot be written ({error.strerror or error})") from error
    finally:
        Path(name).unlink(missing_ok=True)


def read_baked(header: Header) -> Sequence[Mapping[str, Any]]:
    """What earlier bakes left in a checkpoint's metadata; empty where there is nothing."""
    try:
        rows: Any = json.loads(header.metadata.get(METADATA_KEY, "[]"))
    except ValueError:
        return []
    return cast("list[Mapping[str, Any]]", rows) if isinstance(rows, list) else []
