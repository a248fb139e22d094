"""A LoRA file in another spelling, without a loss: what the new names cannot say is an error that names it.

Every module is placed on the layers of the architecture that the file is for, and written under the name that the
spelling has for that layer. Where that is the whole layer in its own order, tensors stay as they are, to the bit.
Parts of a fused layer (q, k and v) become one LoRA on it, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..architectures.names import title
from ..errors import AdapterError, CheckpointError, shortened
from ..files.header import parse_header
from ..files.key import find_key
from ..files.new_file import check_output, header_bytes, new_file
from ..lora.cache import DTYPES, is_finite, open_lora
from ..models.base_file import find_files
from ..models.placing import place
from ..spelling.modules import Module, read_modules
from ..spelling.targets import COMFYUI, DIFFUSERS, KOHYA
from .by_layer import write_comfyui, write_kohya
from .diffusers import write_diffusers
from .items import read_items
from .layers import Layers, choose_layers


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written."""

    output: str
    architecture: str
    """Its id."""
    modules: int
    """Modules of the file that was read."""
    tensors: int
    """Tensors that were written."""
    notes: tuple[str, ...]
    """What is not as plain as a new name, in sentences."""

    @property
    def title(self) -> str:
        """What people call the architecture."""
        return title(self.architecture)


def convert(
    path: str | Path,
    output: Path,
    to: str,
    *,
    architecture: str | None = None,
    model: str | Path | None = None,
    force: bool = False,
) -> Converted:
    """Writes the LoRA file `path` to `output` in the spelling `to`, one of `spelling.targets.TARGETS`.

    The layers are those of the `architecture` with that id, or of a checkpoint `model`, or of what the file is made for
    by its tensors. The output appears whole or not at all and keeps the metadata; α/rank that was a setting in the
    metadata or in PEFT's `adapter_config.json` becomes a tensor, or is multiplied into the up half.

    Raises `HeaderError` and `AdapterError` as `open_lora` and for what cannot be converted, and `CheckpointError` for a
    model that cannot be read and an output that cannot be written.
    """
    inputs = [str(path)] if model is None else [str(path), *find_files(model)]
    check_output(output, inputs, "the file to convert" if model is None else "one of the files to read", force)
    key = find_key(path)
    file = open_lora(path)
    examined = file.examined
    if examined.problem:
        raise AdapterError(file.path, "", examined.problem)
    layers = choose_layers(examined, architecture, model)
    items = read_items(file, layers)
    tensors, metadata, notes = _WRITERS[to](file, layers, items)
    used = {name for module in file.reading.modules for name in module.slots.values()}
    used.update(file.reading.marks)
    rest = [name for name in file.header.shapes if name not in used]
    for name in rest:
        if name in tensors:
            raise AdapterError(file.path, "", f"tensor {shortened(name)} belongs to no module, and its name is needed")
        tensors[name] = file.leftover(name)
    if rest:
        notes.append(f"tensors that belong to no module stay as they are: {len(rest)}, e.g. {shortened(rest[0])}")
    ordered, head = _layout(output, tensors, metadata, layers)
    with new_file(output, force) as target:
        target.write(head)
        for name, tensor in ordered:
            if name not in rest and tensor.is_floating_point() and not is_finite(tensor):
                raise CheckpointError(output, f"tensor {shortened(name)} would not be finite; the scale is too large")
            target.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        if find_key(path) != key:
            raise CheckpointError(path, "the file changed while it was read")
    return Converted(
        str(output), layers.architecture.id, len(file.reading.modules), len(tensors), tuple(dict.fromkeys(notes))
    )


_WRITERS = {COMFYUI: write_comfyui, KOHYA: write_kohya, DIFFUSERS: write_diffusers}


_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def _layout(
    output: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], layers: Layers
) -> tuple[list[tuple[str, Tensor]], bytes]:
    """The tensors in the order of the file, and what stands before them."""
    # The safetensors library wants tensors aligned: the widest come first.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    entries: dict[str, tuple[str, Sequence[int], int, int]] = {}
    position = 0
    for name, tensor in ordered:
        if tensor.dtype not in _DTYPE_NAMES:
            raise CheckpointError(output, f"tensor {shortened(name)} is {tensor.dtype}, which a LoRA never has")
        end = position + tensor.numel() * tensor.dtype.itemsize
        entries[name] = (_DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), position, end)
        position = end
    head = header_bytes(entries, metadata)
    _require_readable(head, position, output, layers)
    return ordered, head


def _require_readable(head: bytes, size: int, output: Path, layers: Layers) -> None:
    """Nothing is written that would not be read again, all of it."""
    header = parse_header(head[8:], path=str(output), file_size=len(head) + size)
    reading = read_modules(header)
    placement = place(reading.modules, layers.targets)
    lost: Iterable[Module] = (*placement.unmatched, *placement.unused, *(module for module, _ in placement.misshapen))
    broken = [module for module in reading.modules if module.layout.problem or module.doubled]
    for module in (*lost, *broken):
        raise CheckpointError(output, f"layer {shortened(module.name)} has no name in this spelling that leads back")
