"""What is wrong with a LoRA file, as far as its header tells: one answer for checking and for applying."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from ..errors import shortened
from ..files.header import Header
from ..sentences import say
from ..spelling import slots
from ..spelling.layouts import is_known
from ..spelling.modules import Module, Reading
from ..spelling.quantized import INTEGER_WEIGHTS, is_scale, scale_problem

FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_INTEGERS = frozenset({"I64", "I32", "I16", "I8", "U8", "BOOL"})
"""Dtypes that a LoRA's tensors may have, by the header's names; integers for `_NUMBERS` alone."""

_NUMBERS = ("alpha", "on_input", "shape")
"""Slots of a number, a yes or no, and a shape, which may be integers; all others are of floating point."""

_WITHOUT_MATRICES: Mapping[str, str] = {"VeRA": ".vera_", "RandLoRA": ".randlora_"}
"""Algorithm → start of a tensor's last name; the matrices `A` and `B` of a whole file are random, and seldom in it."""


def first_problem(header: Header, reading: Reading) -> tuple[str, str] | None:
    """(module, what is wrong with it) of the first module that is not sound; the module is empty for the whole file."""
    if reading.problem:
        return "", reading.problem
    dtypes = set(header.places[0])
    plain = dtypes <= FLOATS
    for module in _telling(reading) if plain else reading.modules:
        reason = _unsupported(header, module) or module.layout.problem or _odd_tensor(header, module, plain)
        if reason:
            return module.name, reason
    return None


def find_problem(header: Header, reading: Reading) -> str | None:
    """The same in one sentence."""
    found = first_problem(header, reading)
    if not found or not found[0]:
        return found and found[1]
    return say("{module}: {reason}", module=shortened(found[0]), reason=found[1])


def _telling(reading: Reading) -> Iterable[Module]:
    """The modules to look at in a file of floating point alone: of those that are alike the first, because only their
    shapes count. A scale's dtype counts, too."""
    firsts = [module for module, _ in reading.alike]
    return reading.modules if any(is_scale(slot) for module in firsts for slot in module.shapes) else firsts


def _unsupported(header: Header, module: Module) -> str | None:
    name = module.algorithm
    if is_known(name):
        return None
    matrices = _WITHOUT_MATRICES.get(name)
    if matrices and not any(f"{matrices}{half}" in tensor for tensor in header.shapes for half in "AB"):
        return say("{name} cannot be applied: its random matrices are not in the file", name=name)
    return say("this version does not apply {name}", name=name)


def _is_of_comfyui(header: Header, tensor: str) -> bool:
    return f"{tensor.removesuffix('.weight')}.comfy_quant" in header.shapes


def _odd_tensor(header: Header, module: Module, plain: bool) -> str | None:
    """What is wrong with the tensors beyond their shapes' agreement. `plain` files have floating point alone."""
    if module.doubled:
        return say("a half is there twice: {tensors}", tensors=", ".join([*module.slots.values(), *module.doubled]))
    for slot, shape in module.shapes.items():
        if slot not in module.slots:
            continue
        is_number = slot in _NUMBERS and (module.algorithm in (slots.LORA, slots.IA3) or slot == "alpha")
        if is_number and slot != "shape" and prod(shape) != 1 and (slot != "alpha" or module.uses_alpha):
            return say("{slot} has shape {shape}; expected one number", slot=slot, shape=list(shape))
        if is_number and slot == "shape" and len(shape) != 1:
            return say(
                "the shape that the weight gets has shape {shape}; expected one number per dimension", shape=list(shape)
            )
        if is_scale(slot):
            reason = scale_problem(slot, shape, header.tensors[module.slots[slot]].dtype, module.shapes)
            if reason:
                return reason
        if plain:
            continue
        dtype = header.tensors[module.slots[slot]].dtype
        if is_number:
            is_sound = dtype in FLOATS or (dtype in _INTEGERS and (slot != "alpha" or dtype != "BOOL"))
        else:
            is_sound = dtype in FLOATS or (dtype in INTEGER_WEIGHTS and f"{slot}_scale" in module.slots)
        if dtype in INTEGER_WEIGHTS and is_sound and _is_of_comfyui(header, module.slots[slot]):
            return say(
                "{slot} is quantized in a format that is not read: int8 of ComfyUI's, whose numbers may be turned",
                slot=slot,
            )
        if not is_sound and (slot != "alpha" or module.uses_alpha):
            return say("the {slot} tensor is {dtype}, which a LoRA never has", slot=slot, dtype=dtype)
    return None
