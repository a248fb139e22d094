"""LoRA files, opened: their tensors memory-mapped, and kept open between uses."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import algorithms
from ..algorithms.base import Adapter, Settings
from ..algorithms.lora import LoRA
from ..errors import AdapterError, HeaderError
from ..files.header import Header
from ..files.key import FileKey, find_key, read_sha256
from ..spelling.modules import Module
from ..spelling.prefixes import PEFT
from ..spelling.quantized import is_scale, spread
from .file import LoraFile, read_lora

DEFAULT_CACHE_BYTES = 4 << 30
"""Bytes of LoRA files that stay mapped; mapped memory belongs to the system's file cache, which takes it back."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Dtypes that a LoRA's tensors may have, by the header's names."""


class TensorReader(Protocol):
    """Gives a file's tensors by their names."""

    def get_tensor(self, name: str) -> Tensor:
        """The tensor, on the CPU."""
        ...


class OpenLora(LoraFile):
    """A LoRA file with its tensors, read when a module is asked for; once, if `keep` is true."""

    def __init__(self, file: LoraFile, tensors: TensorReader, *, keep: bool) -> None:
        super().__init__(file.header, file.reading)
        self._tensors = tensors
        self._keep = keep
        self._adapters: dict[tuple[str, str, str], Adapter] = {}
        self._is_peft = PEFT in file.reading.spellings
        self._sha256: str | None = None
        self._lock = threading.Lock()

    def adapter(self, module: Module) -> Adapter:
        """The module's tensors, mapped from the file and known to be finite, with their algorithm.

        Raises `AdapterError` with file and module where a value is NaN or infinite, or the file is not any more what
        its header said.
        """
        key = (module.name, module.target, module.algorithm)
        with self._lock:
            found = self._adapters.get(key)
            if found is None:
                found = self._read(module)
                if self._keep:
                    self._adapters[key] = found
            return found

    def tensors(self, module: Module) -> dict[str, Tensor]:
        """The module's tensors by slot, as they lie in the file; errors as `adapter`."""
        with self._lock:
            return dequantized({slot: self._tensor(module, slot) for slot in module.slots})

    def leftover(self, name: str) -> Tensor:
        """A tensor that belongs to no module, by its name; may have any values. Raises `AdapterError`."""
        try:
            with self._lock:
                return self._tensors.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise AdapterError(self.path, name, f"the tensor cannot be read ({error})") from error

    def sha256(self) -> str:
        """Hash of the whole file, 64 hex digits; read once."""
        with self._lock:
            if self._sha256 is None:
                self._sha256 = read_sha256(self.path)
            return self._sha256

    def _read(self, module: Module) -> Adapter:
        parts = dequantized(
            {slot: self._tensor(module, slot) for slot in module.slots if slot != "alpha" or module.uses_alpha}
        )
        alpha = parts.pop("alpha").double().item() if "alpha" in parts else None
        scale = self.scales.scale(module) if self.scales else None
        adapter = algorithms.read(module.algorithm, parts, alpha, Settings(scale, is_peft=self._is_peft))
        if isinstance(adapter, LoRA) and module.pads:
            layout = module.layout
            shape = (layout.out or 0, *(layout.inner or ()))
            if adapter.padded is None:
                return replace(adapter, padded=shape)
            if math.prod(adapter.padded) != math.prod(shape):
                reason = f"it says that the weight becomes {list(adapter.padded)}, but its halves are for another shape"
                raise AdapterError(self.path, module.name, reason)
        return adapter

    def _tensor(self, module: Module, slot: str) -> Tensor:
        try:
            tensor = self._tensors.get_tensor(module.slots[slot])
        except (SafetensorError, OSError, RuntimeError) as error:
            raise AdapterError(self.path, module.name, f"the {slot} tensor cannot be read ({error})") from error
        info = self.header.tensors[module.slots[slot]]
        if tensor.dtype != DTYPES[info.dtype] or tuple(tensor.shape) != info.shape:
            raise AdapterError(self.path, module.name, f"the {slot} tensor is another than before; the file changed")
        if tensor.is_floating_point() and (slot != "alpha" or module.uses_alpha) and not is_finite(tensor):
            raise AdapterError(self.path, module.name, f"the {slot} tensor has NaN or infinite values")
        return tensor


def is_finite(tensor: Tensor) -> bool:
    """False if any value is NaN or infinite; for tensors of any shape with an element at least, and of any dtype."""
    low, high = (tensor.float() if tensor.dtype.itemsize == 1 else tensor).aminmax()  # NaN is both
    return math.isfinite(low) and math.isfinite(high)


def dequantized(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts by slot, those with a scale times it, without the scales; see `spelling/quantized.py`.

    Products are exact: fp32 where that holds them, else fp64.
    """
    result = {slot: tensor for slot, tensor in parts.items() if not is_scale(slot)}
    for slot, scale in parts.items():
        if not is_scale(slot):
            continue
        owner = slot.removesuffix("_scale")
        tensor = result[owner].double()
        blocks = spread(tuple(scale.shape), tuple(tensor.shape))
        if blocks is None:
            raise ValueError(f"a scale of shape {list(scale.shape)} does not fit a tensor of {list(tensor.shape)}")
        counts = [size // block for size, block in zip(tensor.shape, blocks, strict=True)]
        factors = scale.double().reshape(counts)
        for dim, block in enumerate(blocks):
            factors = factors.repeat_interleave(block, dim)
        product = tensor * factors
        result[owner] = product.float() if torch.equal(product.float().double(), product) else product
    return result


class _Reads:
    """Reads each tensor from the file into memory of its own: for one pass over many files in little memory."""

    def __init__(self, header: Header, key: FileKey | None) -> None:
        self._header = header
        self._key = key

    def get_tensor(self, name: str) -> Tensor:
        info = self._header.tensors[name]
        with open(self._header.path, "rb") as file:
            if find_key(self._header.path) != self._key:
                raise OSError("the file changed after it was opened")
            file.seek(self._header.data_start + info.start)
            data = bytearray(file.read(info.end - info.start))
        if len(data) != info.end - info.start:
            raise OSError("the file became shorter while it was read")
        return torch.frombuffer(data, dtype=DTYPES[info.dtype]).reshape(info.shape)


def open_lora(path: str | Path, *, mapped: bool = True) -> OpenLora:
    """Opens a LoRA file; errors as `read_lora`, and `HeaderError` if it cannot be mapped.

    Its tensors are memory-mapped and kept, or, with `mapped` false, read anew each time into memory that is freed.
    """
    key = find_key(path)
    file = read_lora(path)
    if not mapped:
        return OpenLora(file, _Reads(file.header, key), keep=False)
    try:
        tensors = cast("TensorReader", safe_open(file.path, framework="pt", device="cpu"))
    except (SafetensorError, OSError) as error:
        raise HeaderError(file.path, f"the file cannot be mapped ({error})") from error
    return OpenLora(file, tensors, keep=True)


class LoraCache:
    """Opened LoRA files, the least recently used closed first when their bytes exceed a limit; safe for threads."""

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._files: OrderedDict[FileKey, OpenLora] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: str | Path) -> OpenLora:
        """The file, opened now or before; a file that changed on disk is opened anew. Errors as `open_lora`."""
        key = find_key(path)
        if key is None:
            return open_lora(path)  # says why
        with self._lock:
            found = self._files.get(key)
            if found is not None:
                self._files.move_to_end(key)
                return found
        opened = open_lora(path)
        if find_key(path) != key:  # replaced meanwhile: which of the two this is cannot be told
            return opened
        with self._lock:
            found = self._files.setdefault(key, opened)  # another thread may have been faster
            self._files.move_to_end(key)
            for old in [item for item in self._files if item.path == key.path and item != key]:
                del self._files[old]
            while len(self._files) > 1 and sum(item.size for item in self._files) > self._max_bytes:
                self._files.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._files)


def content_ids(files: Sequence[OpenLora]) -> list[str]:
    """One text per file, equal exactly where the contents are equal; the canonical order is that of these texts.

    Headers usually differ, so they come first; whole files are hashed only where two headers are the same.
    """
    by_digest: dict[str, set[str]] = {}
    for file in files:
        by_digest.setdefault(file.header.digest, set()).add(os.path.realpath(file.path))
    return [file.header.digest + (file.sha256() if len(by_digest[file.header.digest]) > 1 else "") for file in files]
