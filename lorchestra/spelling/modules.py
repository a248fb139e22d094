"""From a header to the layers that a LoRA file talks about; no tensor is read."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ..files.header import Header
from . import numbered, prefixes, qkv, quantized, slots
from .layouts import Layout, layout
from .prefixes import flatten

WEIGHT = "weight"
BIAS = "bias"


class Module(NamedTuple):
    """One layer that a file talks about: what changes its weight, or what changes its bias.

    A named tuple, because a library of LoRAs has a million of them.
    """

    name: str
    """As the file spells it, without the slot: `lora_unet_down_blocks_0_…_to_q`."""
    component: str
    """`model`, `te`, `te1`, `te2`, `te3`, or `text_encoders` (ComfyUI's own names, the encoder's is in the path)."""
    path: str
    """The name without its prefix, dotted or underscored as the file has it."""
    algorithm: str
    """One of `slots`' names; with DoRA that of the update beneath."""
    slots: Mapping[str, str]
    """Slot → name of the tensor in the file."""
    shapes: Mapping[str, tuple[int, ...]]
    """Slot → shape of the tensor."""
    target: str = WEIGHT
    """`weight` or `bias`."""
    doubled: tuple[str, ...] = ()
    """Tensors for slots that are filled already: a half in a second spelling, or a second PEFT adapter's."""
    pads: bool = False
    """True if the weight grows to this module's size first: the input layer of a control LoRA."""
    by_head: bool = False
    """True for a fused q, k and v whose rows stand head by head; see `qkv.py`."""

    @property
    def layout(self) -> Layout:
        """What the shapes say about the weight and about themselves."""
        return layout(self.algorithm, self.shapes)

    @property
    def flat(self) -> str:
        """The name by which the layer is looked up in `placing.Sites`."""
        path = flatten(self.path)
        return path if self.target == WEIGHT else f"{path}_bias"

    @property
    def is_complete(self) -> bool:
        """False when a half is missing: an up without its down, or the other way round."""
        return self.algorithm != slots.LORA or ("up" in self.slots and "down" in self.slots)

    @property
    def rank(self) -> int | None:
        """The width of the bottleneck; None for algorithms without one."""
        return self.layout.rank

    @property
    def out_features(self) -> int | None:
        """Rows of the weight that this module changes; None if its tensors do not tell."""
        return self.layout.out

    @property
    def in_shape(self) -> tuple[int, ...] | None:
        """The weight's shape without its rows: `(in,)`, or `(in, kernel …)`; None if its tensors do not tell."""
        return self.layout.inner

    @property
    def uses_alpha(self) -> bool:
        """False where an alpha is written, but does not count: LoKr of two whole factors, and (IA)³.

        LyCORIS writes a huge one there, which is infinite in fp16.
        """
        return self.algorithm != slots.IA3 and (self.algorithm != slots.LOKR or self.rank is not None)

    @property
    def kind(self) -> str:
        """The algorithm in words: plain LoRA, LoCon (a convolution wider than one), `LoHa Tucker`, `DoRA (LoRA)` …"""
        kind = self.algorithm
        if "mid" in self.shapes or "t1" in self.shapes or "t2" in self.shapes:
            kind = "LoCon Tucker" if kind == slots.LORA else f"{kind} Tucker"
        elif kind == slots.LORA and any(size > 1 for size in (self.in_shape or ())[1:]):
            kind = "LoCon"
        is_dora = "magnitude" in self.slots or "magnitude_vector" in self.slots
        return f"{slots.DORA} ({kind})" if is_dora else kind


@dataclass(frozen=True)
class Reading:
    """What a header's names mean."""

    modules: tuple[Module, ...]
    """In the order of the names."""
    leftovers: tuple[str, ...]
    """Tensors that belong to no module: their names have no known ending, or only an alpha is there."""
    spellings: Mapping[str, int]
    """Spelling → number of modules written in it, the most frequent first."""
    embeddings: tuple[str, ...] = ()
    """Textual inversions that are bundled with the LoRA, by their names; they are left aside."""
    problem: str | None = None
    """What is wrong with the file as a whole, in words: it says something about its tensors that is not known."""
    marks: tuple[str, ...] = ()
    """Tensors that say how others are quantized, and change nothing: `….comfy_quant`, `….scale_input`."""

    @functools.cached_property
    def alike(self) -> tuple[tuple[Module, int], ...]:
        """The first module of each algorithm and shapes, in the order of the modules, and how many there are of it.

        Those that have a half twice are told apart.
        """
        groups: dict[tuple[object, ...], list[Any]] = {}
        for module in self.modules:
            key = (module.algorithm, module.doubled, *module.shapes.items())
            group = groups.get(key)
            if group is None:
                groups[key] = [module, 1]
            else:
                group[1] += 1
        return tuple((module, count) for module, count in groups.values())


_make: Callable[[tuple[Any, ...]], Module] = functools.partial(cast("Any", tuple).__new__, Module)
"""A module from all its fields; the class itself takes three times as long."""

_Parts = tuple[dict[str, str], dict[str, tuple[int, ...]]]
"""The tensors of one name: slot → tensor, slot → shape."""

_BUNDLES = ("bundle_emb.", "emb_params", "string_to_param")
"""Starts of the names of bundled textual inversions: `bundle_emb.my-token.string_to_param.*`."""

_NORM_SCALES = (".query_norm.scale", ".key_norm.scale")
"""Ends of whole parameters in the control LoRAs of Black Forest Labs, which replace the model's."""


def read_modules(header: Header) -> Reading:
    """Groups the header's tensors into modules; pure and total: it accepts every sound header."""
    names = numbered.real_names(header)
    found: dict[str, _Parts] = {}
    others: _Algorithms = {}
    doubled: dict[str, list[str]] = {}
    leftovers: list[str] = []
    last: str | None = None
    tensors: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor, shape in header.shapes.items():
        spelled = names.get(tensor, tensor) if names else tensor
        name, mark, end = spelled.rpartition(".lora")
        slot = _LORA_ENDS.get(end) if mark else None  # nearly always one of these, or the alpha
        if slot is None:
            if spelled.endswith(_ALPHA):
                name, slot = spelled[: -len(_ALPHA)], "alpha"
            else:
                parts = slots.split(spelled)
                if parts is None:
                    leftovers.append(tensor)
                    continue
                name, algorithm, slot = parts
                if algorithm and algorithm != slots.LORA and not (name in found and slot in found[name][0]):
                    others.setdefault(name, {})[slot] = algorithm
        if name != last:  # the tensors of a module mostly stand together
            last = name
            parts = found.get(name)
            if parts is None:
                found[name] = (tensors := {slot: tensor}), (shapes := {slot: shape})
                continue
            tensors, shapes = parts
        if slot in tensors:
            doubled.setdefault(name, []).append(tensor)
        else:
            tensors[slot] = tensor
            shapes[slot] = shape
    embeddings: dict[str, None] = {}
    marks: list[str] = []
    is_control = any(tensor.endswith(_NORM_SCALES) for tensor in leftovers)
    if leftovers:
        leftovers = _second_look(leftovers, found, others, embeddings, marks, header)
    spellings: list[str] = []
    modules: list[Module] = []
    split = prefixes.split
    for name in sorted(found):
        tensors, shapes = found[name]
        component, path, spelling = split(name) if len(name) <= _LONGEST else split.__wrapped__(name)
        twice = tuple(doubled.get(name, ())) if doubled else ()
        if name not in others and (len(tensors) > 1 or "alpha" not in tensors):  # nearly always
            spellings.append(spelling)
            pads = "shape" in tensors or (is_control and name == "img_in")
            modules.append(_make((name, component, path, slots.LORA, tensors, shapes, WEIGHT, twice, pads, False)))
            continue
        groups, rest = _groups(found[name], others.get(name, {}))
        leftovers.extend(rest)
        for algorithm, target, chosen in groups:
            spellings.append(spelling)
            if "blocks_1" in chosen:
                modules.extend(_slices(Module(name, component, path, algorithm, chosen, shapes, target, twice)))
                twice = ()
                continue
            widths = {slot: shapes[slot] for slot in chosen}
            pads = "shape" in chosen or (is_control and name == "img_in" and algorithm == slots.LORA)
            modules.append(Module(name, component, path, algorithm, chosen, widths, target, twice, pads))
            twice = ()
        leftovers.extend(twice)
    problem = _find_by_head(modules, header) if qkv.FUSED in "\n".join(found) else None
    counts = {numbered.SPELLING: len(modules)} if names else dict(Counter(spellings).most_common())
    return Reading(tuple(modules), tuple(leftovers), counts, tuple(embeddings), problem, tuple(marks))


def _find_by_head(modules: list[Module], header: Header) -> str | None:
    """Marks those whose rows stand head by head; what is wrong with the file, if that cannot be told."""
    for number, module in enumerate(modules):
        if module.name.endswith(qkv.FUSED) and qkv.is_fused(module.path):
            by_head = qkv.is_by_head(header.metadata, prefixes.split(module.name)[2], module.slots)
            if by_head is None:
                return qkv.unknown_layout(header.metadata)
            if by_head:
                modules[number] = module._replace(by_head=True)
    return None


_LONGEST = 300
"""No layer has a longer name; those are not remembered, because they may be megabytes."""

_ALPHA = ".alpha"
_LORA_ENDS = {
    suffix.removeprefix(".lora"): slot
    for suffix, (algorithm, slot) in slots.SUFFIXES.items()
    if suffix.startswith(".lora") and algorithm == slots.LORA
}
"""What follows `.lora` in the names of plain LoRAs: `_down.weight`, `_A.weight`, `.down.weight` …"""

_Algorithms = dict[str, dict[str, str]]
"""Name → slot → algorithm, where it is another one than LoRA; the alpha has none."""


def _second_look(
    leftovers: list[str],
    found: dict[str, _Parts],
    others: _Algorithms,
    embeddings: dict[str, None],
    marks: list[str],
    header: Header,
) -> list[str]:
    """What is left of the tensors without a known ending when their neighbours are known."""
    rest: list[str] = []
    for tensor in leftovers:
        stem = tensor.removesuffix(".weight")
        parts = found.get(stem)
        if header.metadata.get(tensor) == numbered.EMBEDDING:
            embeddings[tensor] = None
        elif tensor.startswith(_BUNDLES):
            embeddings[tensor.split(".")[1] if tensor.startswith(_BUNDLES[0]) else tensor] = None
        elif parts and stem != tensor and "on_input" in parts[0] and "weight" not in parts[0]:
            parts[0]["weight"] = tensor  # LyCORIS' (IA)³: `x.weight` beside `x.on_input`
            parts[1]["weight"] = header.shapes[tensor]
            others.setdefault(stem, {})["weight"] = slots.IA3
        elif tensor.endswith(_NORM_SCALES):
            layer = tensor.removesuffix(".scale")
            found[layer] = {"value": tensor}, {"value": header.shapes[tensor]}
            others[layer] = {"value": slots.REPLACEMENT}
        elif not _is_of_quantized(tensor, found, others, marks, header):
            rest.append(tensor)
    return rest


def _is_of_quantized(
    tensor: str, found: dict[str, _Parts], others: _Algorithms, marks: list[str], header: Header
) -> bool:
    """True for the scale of a quantized tensor, which joins its module, and for a mark, which joins `marks`."""
    about = quantized.find_owner(tensor)
    if tensor in quantized.MARKERS:
        marks.append(tensor)
        return True
    if about is None:
        return False
    owner, suffix = about
    for name in (f"{owner}.weight", owner):
        split = slots.split(name) if name in header.shapes else None
        parts = found.get(split[0]) if split else None
        if not (split and parts and parts[0].get(split[2]) == name):
            continue
        if not suffix:
            marks.append(tensor)
            return True
        module, algorithm, slot = split[0], split[1], split[2] + suffix
        if slot in parts[0]:
            return False
        parts[0][slot] = tensor
        parts[1][slot] = header.shapes[tensor]
        if algorithm and algorithm != slots.LORA:
            others.setdefault(module, {})[slot] = algorithm
        return True
    if not suffix and owner in found:
        marks.append(tensor)
        return True
    return False


def _groups(parts: _Parts, algorithms: Mapping[str, str]) -> tuple[list[tuple[str, str, dict[str, str]]], list[str]]:
    """One name's tensors as ([(algorithm, target, slot → tensor)], tensors that belong to none)."""
    tensors, shapes = parts
    groups: dict[str, dict[str, str]] = {}
    for slot, tensor in tensors.items():
        algorithm = algorithms.get(slot, "" if slot == "alpha" else slots.LORA)
        if algorithm and algorithm != slots.DORA:
            groups.setdefault(algorithm, {})[slot] = tensor
    rest: list[str] = []
    bases = [name for name in groups if name not in slots.BIASES and name not in _DENSE]
    if "AdaLoRA" in bases and slots.LORA in bases:  # its singular values stand between the halves
        groups["AdaLoRA"].update(groups.pop(slots.LORA))
        bases.remove(slots.LORA)
    if set(groups.get(slots.OFT, ())) == {"rescale"}:
        rest.append(groups.pop(slots.OFT)["rescale"])
        bases.remove(slots.OFT)
    for slot in ("alpha", *_MAGNITUDES):
        if slot not in tensors:
            continue
        for name in bases:
            groups[name][slot] = tensors[slot]
        if not bases:
            rest.append(tensors[slot])
    bias = groups.get(slots.LORA_BIAS)
    if bias is not None and "down" in tensors:  # its scale is that of the halves; without them no alpha counts
        bias.update({slot: tensors[slot] for slot in ("down", "alpha") if slot in tensors})
    result: list[tuple[str, str, dict[str, str]]] = []
    for name, chosen in groups.items():
        algorithm = slots.BOFT if name == slots.OFT and len(shapes.get("blocks", ())) == 4 else name
        result.append((algorithm, BIAS if name in slots.BIASES else WEIGHT, chosen))
    return result, rest


def _slices(module: Module) -> Iterator[Module]:
    """kohya's OFT of a fused layer, which has blocks for each of q, k, v (and the MLP): one module for each."""
    rest = {name: tensor for name, tensor in module.slots.items() if not name.startswith("blocks")}
    for number in range(4):
        slot = f"blocks_{number}" if number else "blocks"
        if slot in module.slots:
            tensors = {"blocks": module.slots[slot], **rest}
            yield module._replace(
                name=f"{module.name}.{number}",
                path=f"{module.path}.{number}",
                slots=tensors,
                shapes={"blocks": module.shapes[slot], **{name: module.shapes[name] for name in rest}},
            )
            rest = {name: tensor for name, tensor in rest.items() if name in _OF_ALL_SLICES}
            module = module._replace(doubled=())  # they count once, in the first


_OF_ALL_SLICES = ("alpha", "magnitude", "magnitude_vector")
"""Slots that every slice of a fused layer has a part in; a stray tensor of another kind counts once, in the first."""

_MAGNITUDES = ("magnitude", "magnitude_vector", "magnitude_scale", "magnitude_vector_scale")

_DENSE = (slots.DIFF, slots.NORM, slots.REPLACEMENT)
"""Algorithms without an alpha."""
