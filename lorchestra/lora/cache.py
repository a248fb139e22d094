"""LoRA files, opened: their tensors read into memory of our own, and kept between uses.

They are not mapped from the file: whoever touches a mapped file that was cut short meanwhile is killed by the system,
and a trainer that saves over its last file does cut it short. What is read is checked and stays as it is.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from .. import algorithms
from ..algorithms.base import Adapter, Settings
from ..algorithms.lora import LoRA
from ..algorithms.rows import cut
from ..errors import AdapterError, HeaderError
from ..files.header import Header, TensorInfo
from ..files.key import FileKey, find_key, read_sha256
from ..files.opening import RegularFile, open_regular
from ..sentences import say
from ..spelling.modules import Module
from ..spelling.prefixes import PEFT
from ..spelling.quantized import is_scale, spread
from ..spelling.rows import Rows
from .file import LoraFile, read_lora
from .values import not_finite_reason, odd_shape

DEFAULT_CACHE_BYTES = 1 << 30
"""Bytes of tensors that are kept when nothing uses them: the next weight that is tried needs no reading."""

_MOST_FILES = 64
"""Files whose headers are kept; the largest have some megabytes of names."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Dtypes that a LoRA's tensors may have, by the header's names."""


ReadTensor = Callable[[str], Tensor]
"""Gives a tensor by its name, on the CPU and in memory of its own; raises `HeaderError`."""


class TensorReader(Protocol):
    """Gives a file's tensors."""

    def opened(self) -> AbstractContextManager[ReadTensor]:
        """The file, opened for some reads; raises `HeaderError`."""
        ...


class OpenLora(LoraFile):
    """A LoRA file with its tensors, read when a module is asked for; once, if `keep` is true."""

    def __init__(self, file: LoraFile, tensors: TensorReader, *, keep: bool) -> None:
        super().__init__(file.header, file.reading, file.kind)
        self._tensors = tensors
        self._keep = keep
        self.kept_bytes = 0
        """Bytes of the tensors that are kept."""
        self._adapters: dict[tuple[str, str, str, Rows | None], Adapter] = {}
        self._whole: dict[str, dict[str, Tensor]] = {}
        """The tensors of modules that several layers take their rows from."""
        self._is_peft = PEFT in file.reading.spellings
        self._sha256: str | None = None
        self._lock = threading.Lock()

    def adapter(self, module: Module, rows: Rows | None = None) -> Adapter:
        """The module's tensors, in memory of their own and known to be finite, with their algorithm.

        With `rows`, as `spelling.rows.parted` gives them, those of the module that is the same for these rows.

        Raises `AdapterError` with file and module where a value is NaN or infinite, or the file is not any more what
        its header said.
        """
        key = (module.name, module.target, module.algorithm, rows)
        with self._lock:
            found = self._adapters.get(key)
            if found is None:
                found = self._read(module, rows)
                if self._keep:
                    self._adapters[key] = found
            return found

    def tensors(self, module: Module) -> dict[str, Tensor]:
        """The module's tensors by slot, as they lie in the file; errors as `adapter`."""
        with self._lock:
            return dequantized(self._parts(module, module.slots))

    def leftover(self, name: str) -> Tensor:
        """A tensor that belongs to no module, by its name; may have any values. Raises `AdapterError`."""
        try:
            with self._lock, self._tensors.opened() as read:
                return read(name)
        except _UNREADABLE as error:
            raise AdapterError(
                self.path, name, say("the tensor cannot be read ({reason})", reason=_reason(error))
            ) from error

    def sha256(self) -> str:
        """Hash of the whole file, 64 hex digits; read once."""
        with self._lock:
            if self._sha256 is None:
                self._sha256 = read_sha256(self.path)
            return self._sha256

    def _read(self, module: Module, rows: Rows | None) -> Adapter:
        slots = [slot for slot in module.slots if slot != "alpha" or module.uses_alpha]
        parts = self._whole.get(module.name) or dequantized(self._parts(module, slots))
        if self._keep and module.name not in self._whole:
            self.kept_bytes += sum(tensor.nbytes for tensor in parts.values())
            if rows is not None:
                self._whole[module.name] = parts
        parts = dict(parts)
        alpha = parts.pop("alpha").double().item() if "alpha" in parts else None
        if rows is not None:
            parts, alpha = cut(module.algorithm, parts, alpha, rows)
        scale = self.scales.scale(module) if self.scales else None
        adapter = algorithms.read(module.algorithm, parts, alpha, Settings(scale, is_peft=self._is_peft))
        if isinstance(adapter, LoRA) and module.pads:
            layout = module.layout
            if adapter.padded is None:
                return replace(adapter, padded=(layout.out or 0, *(layout.inner or ())))
            reason = odd_shape(module, adapter.padded)
            if reason:
                raise AdapterError(self.path, module.name, reason)
        return adapter

    def _parts(self, module: Module, slots: Iterable[str]) -> dict[str, Tensor]:
        try:
            with self._tensors.opened() as read:
                return {slot: self._tensor(read, module, slot) for slot in slots}
        except HeaderError as error:
            raise AdapterError(
                self.path, module.name, say("its tensors cannot be read ({reason})", reason=error.reason)
            ) from error

    def _tensor(self, read: ReadTensor, module: Module, slot: str) -> Tensor:
        info = self.header.tensors[module.slots[slot]]
        if self.kept_bytes + info.end - info.start > _memory():
            reason = f"the {slot} tensor cannot be read: the file's tensors are larger than this machine's memory"
            raise AdapterError(self.path, module.name, reason)
        try:
            tensor = read(module.slots[slot])
        except _UNREADABLE as error:
            why = _reason(error)
            raise AdapterError(
                self.path, module.name, say("the {slot} tensor cannot be read ({why})", slot=slot, why=why)
            ) from error
        if tensor.dtype != DTYPES[info.dtype] or tuple(tensor.shape) != info.shape:
            raise AdapterError(
                self.path, module.name, say("the {slot} tensor is another than before; the file changed", slot=slot)
            )
        if tensor.is_floating_point() and (slot != "alpha" or module.uses_alpha) and not is_finite(tensor):
            raise AdapterError(self.path, module.name, not_finite_reason(slot))
        return tensor


def is_finite(tensor: Tensor) -> bool:
    """False if any value is NaN or infinite; for tensors of any shape with an element at least, and of any dtype."""
    low, high = (tensor.float() if tensor.dtype.itemsize == 1 else tensor).aminmax()  # NaN is both
    return math.isfinite(low) and math.isfinite(high)


_UNREADABLE = (HeaderError, RuntimeError, MemoryError)
"""What reading a tensor may raise; PyTorch says with a `RuntimeError` that there is not enough memory."""


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, HeaderError) else str(error) or "there is not enough memory"


@cache
def _memory() -> float:
    """Bytes of the machine's memory; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


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


def read_tensor(file: RegularFile, header: Header, info: TensorInfo) -> Tensor:
    """A tensor of an open file of this header, in memory of its own; of the dtypes in `DTYPES`."""
    data = torch.empty(info.end - info.start, dtype=torch.uint8)
    file.fill(header.data_start + info.start, data.numpy().data)
    return data.view(DTYPES[info.dtype]).reshape(info.shape)


class _Reads:
    """Reads tensors from the file in one state of it, each into memory of its own."""

    def __init__(self, header: Header, key: FileKey | None) -> None:
        self._header = header
        self._key = key

    @contextmanager
    def opened(self) -> Generator[ReadTensor]:
        header = self._header
        with open_regular(header.path) as file:
            if self._key is None or (file.modified_ns, file.size) != (self._key.modified_ns, self._key.size):
                raise HeaderError(header.path, say("the file changed after it was opened"))

            def read(name: str) -> Tensor:
                return read_tensor(file, header, header.tensors[name])

            yield read
            if file.has_changed():
                raise HeaderError(header.path, say("the file changed while it was read"))


def open_lora(path: str | Path, *, keep: bool = True) -> OpenLora:
    """Opens a LoRA file; errors as `read_lora`.

    Its tensors are read when they are asked for, and kept; with `keep` false they are read anew each time.
    """
    key = find_key(path)
    file = read_lora(path)
    return OpenLora(file, _Reads(file.header, key), keep=keep)


class LoraCache:
    """Opened LoRA files; safe for threads.

    A file is found as long as anything uses it. Beyond that the most recently used ones are kept, as far as their
    tensors, and they themselves, are not too many.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._files: OrderedDict[FileKey, OpenLora] = OrderedDict()
        self._in_use: WeakValueDictionary[FileKey, OpenLora] = WeakValueDictionary()
        self._lock = threading.Lock()

    def open(self, path: str | Path) -> OpenLora:
        """The file, opened now or before; a file that changed on disk is opened anew. Errors as `open_lora`."""
        key = find_key(path)
        if key is None:
            return open_lora(path)  # says why
        with self._lock:
            found = self._in_use.get(key)
            if found is not None:
                self._keep(key, found)
                return found
        opened = open_lora(path)
        if find_key(path) != key:  # replaced meanwhile: which of the two this is cannot be told
            return opened
        with self._lock:
            found = self._in_use.setdefault(key, opened)  # another thread may have been faster
            self._keep(key, found)
        return found

    def _keep(self, key: FileKey, file: OpenLora) -> None:
        """Makes a file the most recently used one, and lets go of the rest as far as they are too many."""
        self._files[key] = file
        self._files.move_to_end(key)
        for old in [item for item in self._files if item.path == key.path and item != key]:
            del self._files[old]
        kept = sum(item.kept_bytes for item in self._files.values())
        while len(self._files) > 1 and (kept > self._max_bytes or len(self._files) > _MOST_FILES):
            kept -= self._files.popitem(last=False)[1].kept_bytes

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
