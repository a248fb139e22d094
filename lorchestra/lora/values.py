"""The values of a file's small tensors: alphas, scales that are one number, and the shape that a weight is padded to.

They are read without anything else of the file, so that a check can tell what would only be found while applying.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from ..files.header import Header, TensorInfo
from ..files.opening import RegularFile, open_regular
from ..spelling.modules import Module
from ..spelling.quantized import is_scale

_FORMATS = {
    "F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U8": "B", "BOOL": "?",
}  # fmt: skip
"""How `struct` reads the header's dtypes."""

_MOST = 8
"""Numbers of a tensor that are read; a weight has five dimensions at most."""


def read_alphas(header: Header, modules: Iterable[Module]) -> dict[str, float]:
    """Module's name → its alpha, for the modules that have one; NaN if it is not one number. Raises `HeaderError`."""
    infos = {module.name: header.tensors[module.slots["alpha"]] for module in modules if "alpha" in module.slots}
    if not infos:
        return {}
    with open_regular(header.path) as file:
        return {name: _number(file, header, info) for name, info in infos.items()}


def find_odd_value(header: Header, modules: Iterable[Module]) -> tuple[str, str] | None:
    """(module, what is wrong with a value) of the first one that cannot be applied, in the words of applying it.

    For modules whose shapes and dtypes are sound. Takes a read of some bytes for each small tensor: 10 µs, and longer
    where the disk has to look for it. Raises `HeaderError`.
    """
    small = [(module, slot) for module in modules for slot in _small_slots(module)]
    if not small:
        return None
    with open_regular(header.path) as file:
        for module, slot in small:
            numbers = _numbers(file, header, header.tensors[module.slots[slot]])
            reason = not_finite_reason(slot) if not all(map(math.isfinite, numbers)) else None
            if slot == "shape" and not reason:
                reason = odd_shape(module, [int(number) for number in numbers])
            if reason:
                return module.name, reason
    return None


def odd_alpha(module: Module, alpha: float) -> str | None:
    """What is wrong with the value of a module's alpha, in words; None where it is sound, or does not count."""
    return None if math.isfinite(alpha) or not module.uses_alpha else not_finite_reason("alpha")


def not_finite_reason(slot: str) -> str:
    """The reason for a tensor with values that are no numbers."""
    return f"the {slot} tensor has NaN or infinite values"


def odd_shape(module: Module, said: Sequence[int]) -> str | None:
    """What is wrong with the shape that a module says its weight is padded to, in words; None if it is its halves'."""
    layout = module.layout
    if prod(said) == prod((layout.out or 0, *(layout.inner or ()))):
        return None
    return f"it says that the weight becomes {list(said)}, but its halves are for another shape"


def _small_slots(module: Module) -> Iterator[str]:
    for slot in module.slots:
        count = prod(module.shapes[slot])
        is_number = count == 1 and (is_scale(slot) or (slot == "alpha" and module.uses_alpha))
        if is_number or (slot == "shape" and module.pads and count <= _MOST):
            yield slot


def _number(file: RegularFile, header: Header, info: TensorInfo) -> float:
    if prod(info.shape) != 1 or info.dtype == "BOOL":
        return math.nan
    return _numbers(file, header, info)[0]


def _numbers(file: RegularFile, header: Header, info: TensorInfo) -> tuple[float, ...]:
    """All values of a tensor of a few; NaN for a dtype that has none."""
    data = bytearray(info.end - info.start)
    file.fill(header.data_start + info.start, memoryview(data))
    count = prod(info.shape)
    if info.dtype == "BF16":  # the upper half of an fp32
        return tuple(float(struct.unpack("<f", b"\0\0" + data[at : at + 2])[0]) for at in range(0, 2 * count, 2))
    if info.dtype == "F8_E5M2":  # the upper half of an fp16
        return tuple(float(struct.unpack("<e", bytes((0, byte)))[0]) for byte in data)
    if info.dtype == "F8_E4M3":
        return tuple(map(_e4m3, data))
    form = _FORMATS.get(info.dtype)
    return tuple(map(float, struct.unpack(f"<{count}{form}", data))) if form else (math.nan,) * count


def _e4m3(byte: int) -> float:
    """One byte as a number: sign, four bits of exponent (bias 7), three of mantissa; all ones is NaN.

    Source: Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433, table 1. Example: 0x38 is 1.
    """
    exponent, mantissa = byte >> 3 & 15, byte & 7
    if exponent == 15 and mantissa == 7:
        return math.nan
    value = math.ldexp(8 + mantissa, exponent - 10) if exponent else math.ldexp(mantissa, -9)
    return -value if byte & 128 else value
