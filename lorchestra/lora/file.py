"""A LoRA file as its header tells it: read, and checked as a whole; no tensor is opened."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import algorithms
from ..errors import AdapterError, NotALora, quoted
from ..files.header import Header, read_header
from ..spelling import kinds, slots
from ..spelling.modules import Module, Reading
from ..spelling.scales import Scales, read_scales
from .reading import read

if TYPE_CHECKING:
    from .examined import Examined


class LoraFile:
    """One LoRA file that can be applied, as far as its header tells."""

    def __init__(self, header: Header, reading: Reading, kind: str = "") -> None:
        self.header = header
        self.reading = reading
        self.kind = kind

    @property
    def path(self) -> str:
        """The path that the file was opened under."""
        return self.header.path

    @functools.cached_property
    def examined(self) -> Examined:
        """What the header says the file is."""
        from .examined import examine  # it needs all that is known of models, which takes a while to load

        return examine(self.header, self.reading, self.kind)

    @functools.cached_property
    def scales(self) -> Scales | None:
        """The scales that settings give to modules without an alpha, from the metadata or from beside the file."""
        return read_scales(self.header)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its settings say that could not be read, in words."""
        return self.scales.warnings if self.scales else ()


_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_INTEGERS = frozenset({"I64", "I32", "I16", "I8", "U8", "BOOL"})
"""Dtypes that a LoRA's tensors may have, by the header's names; integers for `_NUMBERS` alone."""

_NUMBERS = ("alpha", "on_input", "shape")
"""Slots of a number, a yes or no, and a shape, which may be integers; all others are of floating point."""

_WITHOUT_MATRICES: Mapping[str, str] = {"VeRA": ".vera_", "RandLoRA": ".randlora_"}
"""Algorithm → start of a tensor's last name; the matrices `A` and `B` of a whole file are random, and seldom in it."""


def read_lora(path: str | Path) -> LoraFile:
    """Reads a LoRA file's header and checks all of it that the header tells.

    Raises `HeaderError` if the file is not a sound safetensors file, `AdapterError` if it holds no LoRA, if a half is
    missing, shapes contradict each other, tensors are not of floating point, or an algorithm is not supported: a file
    applies with all of its modules, or not at all.
    """
    header = read_header(path)
    reading, kind = read(header)
    if kind not in (kinds.LORA, kinds.EMPTY, kinds.UNKNOWN):
        raise NotALora(header.path, f"this is {kinds.title(kind)}, not a LoRA", "Switch this row off.")
    if not reading.modules:
        raise NotALora(header.path, _no_modules(header))
    for module in reading.modules:
        _check(header, module)
    return LoraFile(header, reading, kind)


def _check(header: Header, module: Module) -> None:
    reason = _unsupported(header, module) or module.layout.problem or _odd_tensor(header, module)
    if reason:
        raise AdapterError(header.path, module.name, reason)


def _unsupported(header: Header, module: Module) -> str | None:
    name = module.algorithm
    if name in algorithms.SUPPORTED:
        return None
    matrices = _WITHOUT_MATRICES.get(name)
    if matrices and not any(f"{matrices}{half}" in tensor for tensor in header.shapes for half in "AB"):
        return f"{name} cannot be applied: its random matrices are not in the file"
    return f"this version does not apply {name}"


def _odd_tensor(header: Header, module: Module) -> str | None:
    """What is wrong with the tensors beyond their shapes' agreement."""
    if module.doubled:
        return f"a half is there twice: {', '.join([*module.slots.values(), *module.doubled])}"
    for slot, tensor in module.slots.items():
        info = header.tensors[tensor]
        is_number = slot in _NUMBERS and (module.algorithm in (slots.LORA, slots.IA3) or slot == "alpha")
        is_known = info.dtype in _FLOATS or (is_number and info.dtype in _INTEGERS)
        if not is_known or (slot == "alpha" and info.dtype == "BOOL"):
            return f"the {slot} tensor is {info.dtype}, which a LoRA never has"
        if is_number and slot != "shape" and info.shape not in ((), (1,)):
            return f"{slot} has shape {list(info.shape)}; expected one number"
        if is_number and slot == "shape" and len(info.shape) != 1:
            return f"the shape that the weight gets has shape {list(info.shape)}; expected one number per dimension"
    return None


def _no_modules(header: Header) -> str:
    if not header.tensors:
        return "the file has no tensors"
    example = next(iter(header.tensors))
    return f"none of its {len(header.tensors)} tensors is named like a LoRA's; the first is {quoted(example)}"
