"""From a header to the layers that a LoRA file talks about; no tensor is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..header import Header, TensorInfo
from . import prefixes, slots


@dataclass(frozen=True, slots=True)
class Module:
    """One layer that a file talks about."""

    name: str
    """As the file spells it, without the slot: `lora_unet_down_blocks_0_…_to_q`."""
    component: str
    """`model`, `te`, `te1`, `te2`, `te3`, or `text_encoders` (ComfyUI's own names, the encoder's is in the path)."""
    path: str
    """The name without its prefix, dotted or underscored as the file has it."""
    algorithm: str
    slots: Mapping[str, str]
    """Slot → name of the tensor in the file."""
    shapes: Mapping[str, tuple[int, ...]]
    """Slot → shape of the tensor."""
    doubled: tuple[str, ...] = ()
    """Tensors for slots that are filled already: a half in a second spelling, or a second PEFT adapter's."""

    @property
    def is_complete(self) -> bool:
        """False when a half is missing: an up without its down, or the other way round."""
        return self.algorithm != slots.LORA or ("up" in self.slots and "down" in self.slots)

    @property
    def rank(self) -> int | None:
        """The width of the bottleneck; None for algorithms without one."""
        shape = self.shapes.get("down")
        return shape[0] if shape else None

    @property
    def out_features(self) -> int | None:
        """Rows of the weight that this module changes, from the up half."""
        shape = self.shapes.get("up")
        return shape[0] if shape else None

    @property
    def in_shape(self) -> tuple[int, ...] | None:
        """The weight's shape without its rows: `(in,)`, or `(in, kernel …)` for a convolution; from the down half.

        With a Tucker core the kernel is the core's.
        """
        down, mid = self.shapes.get("down"), self.shapes.get("mid")
        if not down or len(down) < 2:
            return None
        return (down[1], *mid[2:]) if mid else down[1:]

    @property
    def kind(self) -> str:
        """The algorithm in words: plain LoRA, LoCon (a convolution wider than one), Tucker, or the algorithm's name."""
        if self.algorithm != slots.LORA:
            return self.algorithm
        if "mid" in self.shapes:
            return "LoCon Tucker"
        shape = self.in_shape or ()
        return "LoCon" if any(size > 1 for size in shape[1:]) else slots.LORA


@dataclass(frozen=True, slots=True)
class Reading:
    """What a header's names mean."""

    modules: tuple[Module, ...]
    """In the order of the names."""
    leftovers: tuple[str, ...]
    """Tensors that belong to no module: their names have no known ending, or only an alpha is there."""
    spellings: Mapping[str, int]
    """Spelling → number of modules written in it."""


def read_modules(header: Header) -> Reading:
    """Groups the header's tensors into modules; pure and total: it accepts every sound header."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    doubled: dict[str, list[str]] = {}
    leftovers: list[str] = []
    for tensor in header.tensors:
        parts = slots.split(tensor)
        if parts is None:
            leftovers.append(tensor)
        else:
            name, algorithm, slot = parts
            module = found.setdefault(name, {})
            if slot in module:
                doubled.setdefault(name, []).append(tensor)
            else:
                module[slot] = (algorithm, tensor)
    spellings: Counter[str] = Counter()
    modules: list[Module] = []
    for name in sorted(found):
        module, spelling = _module(name, found[name], header.tensors, tuple(doubled.get(name, ())))
        if module is None:
            leftovers.extend([*(tensor for _, tensor in found[name].values()), *doubled.get(name, ())])
        else:
            modules.append(module)
            spellings[spelling] += 1
    return Reading(tuple(modules), tuple(leftovers), dict(spellings.most_common()))


def _module(
    name: str, parts: Mapping[str, tuple[str, str]], tensors: Mapping[str, TensorInfo], doubled: tuple[str, ...]
) -> tuple[Module | None, str]:
    algorithms = {algorithm for algorithm, _ in parts.values() if algorithm}
    if not algorithms:  # an alpha alone
        return None, ""
    others = sorted(algorithms - {slots.LORA})
    algorithm = " + ".join(others) if others else slots.LORA
    component, path, spelling = prefixes.split(name)
    module = Module(
        name=name,
        component=component,
        path=path,
        algorithm=algorithm,
        slots={slot: tensor for slot, (_, tensor) in parts.items()},
        shapes={slot: tensors[tensor].shape for slot, (_, tensor) in parts.items()},
        doubled=doubled,
    )
    return module, spelling
