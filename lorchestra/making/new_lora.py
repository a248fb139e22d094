"""A LoRA file that is written tensor by tensor, before it is known how many there are and how large they become.

The header stands at the start of a file and says where each tensor is. Room for it is left free, as much as it may need
at most, and it is written last, filled up with spaces. What would not be read again is not written at all.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ..architectures.sites import Targets
from ..errors import CheckpointError, shortened
from ..files.header import parse_header
from ..files.new_file import header_bytes, new_file
from ..lora.cache import DTYPES, is_finite
from ..lora.examined import Examined, examine
from ..models.placing import place
from ..spelling import kinds
from ..spelling.scales import read_scales
from .choices import BF16, FP16, FP32
from .low_rank import Halves

DTYPE_NAMES: Mapping[str, torch.dtype] = {FP16: torch.float16, BF16: torch.bfloat16, FP32: torch.float32}
"""What a new file may be written in; the words are those of `choices.DTYPES`."""

_HEADER_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ENTRY_BYTES = 200
"""A tensor's entry in the header, without its name: dtype, shape, two positions."""
_METADATA_BYTES = 4096
"""For metadata that is known at the end only."""
_SMALLEST, _MIDDLE = 2.0**-6, 2.0**-4
"""fp16 has all its bits down to 2⁻¹⁴. Halves whose largest number is below the first are brought near the second."""


@dataclass
class Errors:
    """How far what is written is from what was meant, by layers; ‖Δ − Δ'‖ / ‖Δ‖ (Frobenius), rounding included."""

    error: float = 0.0
    """Σ ‖Δ − Δ'‖²."""
    total: float = 0.0
    """Σ ‖Δ‖²."""
    worst: float = 0.0
    layer: str = ""
    """Where the worst one is."""

    def add(self, layer: str, error: float, total: float) -> None:
        """Adds a layer by its squares."""
        self.error += error
        self.total += total
        own = math.sqrt(error / total) if total else 0.0
        if not self.layer or own > self.worst:
            self.worst, self.layer = own, layer

    @property
    def overall(self) -> float:
        """Of all layers together."""
        return math.sqrt(self.error / self.total) if self.total else 0.0


@dataclass
class NewLora:
    """The file, open for writing."""

    path: Path
    file: IO[bytes]
    start: int
    """First byte of the tensors."""
    entries: dict[str, tuple[str, Sequence[int], int, int]] = field(
        default_factory=lambda: dict[str, tuple[str, Sequence[int], int, int]]()
    )
    position: int = 0
    ranks: list[int] = field(default_factory=lambda: list[int]())
    """Of the layers in halves."""

    def put(self, name: str, tensor: Tensor) -> None:
        """Writes a tensor as it is; raises `CheckpointError` if it has NaN or infinity."""
        if tensor.is_floating_point() and tensor.numel() and not is_finite(tensor):
            raise CheckpointError(
                self.path,
                f"tensor {shortened(name)} would not be finite in {_HEADER_NAMES[tensor.dtype]}; lower the weights, "
                "or write it with --dtype fp32",
            )
        self.copy(name, tensor)

    def copy(self, name: str, tensor: Tensor) -> None:
        """Writes a tensor as it is, whatever its values."""
        if name in self.entries or self.position % tensor.dtype.itemsize:
            raise ValueError(f"tensor {name} is written twice, or behind narrower ones")
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        self.file.write(data)
        end = self.position + len(data)
        self.entries[name] = (_HEADER_NAMES[tensor.dtype], tuple(tensor.shape), self.position, end)
        self.position = end

    def put_halves(self, names: HalfNames, halves: Halves, inner: Sequence[int], dtype: torch.dtype) -> Halves:
        """Writes an update of fp64 halves, rounded to `dtype`, for a weight `[out, *inner]`; gives back what it says.

        The alpha, where there is a name for it, is the rank. It has as many bytes as the rest, so that all tensors stay
        aligned; where these cannot hold it, it is left out, which means the same.
        """
        up, down = halves.up.to(dtype), halves.down.to(dtype)
        rank = halves.rank
        self.put(names.up, up.reshape(-1, rank, *[1] * (len(inner) - 1)))
        self.put(names.down, down.reshape(rank, *inner))
        if names.alpha:
            alpha = torch.tensor(float(rank), dtype=torch.float32 if dtype == torch.float32 else torch.float16)
            if float(alpha) == rank:
                self.put(names.alpha, alpha)
        self.ranks.append(rank)
        return Halves(up, down).wide()

    def finish(self, metadata: Mapping[str, str], targets: Targets | None) -> Examined:
        """Writes the header, and checks it as any other file's; with `targets`, that all layers are in the model."""
        head = header_bytes(self.entries, metadata, self.start)
        if len(head) != self.start:
            raise ValueError("the header has more bytes than were left free")
        self.file.seek(0)
        self.file.write(head)
        self.file.seek(0, 2)
        header = parse_header(head[8:], path=str(self.path), file_size=len(head) + self.position)
        examined = examine(header)
        if examined.problem or examined.kind != kinds.LORA:
            raise CheckpointError(self.path, f"the result could not be read again: {examined.problem or examined.kind}")
        scales = read_scales(header)
        for module in examined.reading.modules if scales else ():
            if scales and (scales.scale(module) or 1.0) != 1.0:
                raise CheckpointError(
                    self.path,
                    f"{scales.where} would change the strength of what is written here; write into another folder",
                )
        if targets is not None:
            placement = place(examined.reading.modules, targets)
            lost = [*placement.unmatched, *placement.unused, *(module for module, _ in placement.misshapen)]
            for module in lost:
                raise CheckpointError(self.path, f"layer {shortened(module.name)} has no name that leads back to it")
        return examined


@dataclass(frozen=True, slots=True)
class HalfNames:
    """What the tensors of an update in halves are called."""

    up: str
    down: str
    alpha: str = ""
    """Empty where the spelling has none: the scale is 1 then, as with alpha = rank."""

    @staticmethod
    def of(layer: str) -> HalfNames:
        """kohya's ends, which go with every name of ComfyUI's."""
        return HalfNames(f"{layer}.lora_up.weight", f"{layer}.lora_down.weight", f"{layer}.alpha")


@contextlib.contextmanager
def new_lora(output: Path, force: bool, names: Iterable[str], metadata: Mapping[str, str]) -> Generator[NewLora]:
    """A new LoRA file; `names` are all tensors that it may have, `metadata` what of its metadata is known now.

    Errors as `new_file`. `NewLora.finish` must be called at the end.
    """
    room = sum(len(json.dumps(name)) + _ENTRY_BYTES for name in names)
    room += len(json.dumps(dict(metadata))) + _METADATA_BYTES
    start = room + (-room % 8)
    with new_file(output, force) as file:
        file.write(b" " * start)
        yield NewLora(output, file, start)


def balanced(halves: Halves) -> Halves:
    """The same update with halves that fp16 can hold: moved by a power of two, which costs no bit.

    What training leaves in the up half may be tiny, and smaller times a weight.
    """
    most_up, most_down = float(halves.up.abs().max()), float(halves.down.abs().max())
    if not most_up or not most_down:
        return halves
    if most_up < _SMALLEST and most_down > most_up:
        shift = math.floor(math.log2(min(_MIDDLE / most_up, math.sqrt(most_down / most_up))))
    elif most_down < _SMALLEST and most_up > most_down:
        shift = -math.floor(math.log2(min(_MIDDLE / most_down, math.sqrt(most_up / most_down))))
    else:
        return halves
    return Halves(halves.up * 2.0**shift, halves.down * 2.0**-shift)


def default_dtype(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """What is read so is written so: fp16 or bf16 where all is; fp8 becomes fp16; all else fp32."""
    kinds_of = {torch.float16 if dtype.itemsize == 1 else dtype for dtype in dtypes if dtype.is_floating_point}
    return kinds_of.pop() if kinds_of in ({torch.float16}, {torch.bfloat16}) else torch.float32
