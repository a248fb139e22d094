"""Which architectures have a layer of that name and shape: one lookup a layer, whatever tool wrote the name.

Sets of architectures are bit masks over `Index.ids`. An architecture's names are spread out only when a file first asks
for a name that it may have.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..spelling.prefixes import TEXT_ENCODERS, flatten
from .aliases import TABLES
from .encoders import COMFYUI_WORDS, ENCODERS, find_encoder
from .joined import parts_of
from .names import ARCHITECTURES
from .patterns import Shape
from .signatures import Signature, read_signatures
from .sites import model_sites
from .text_encoders import canonical, split_word

COMMONEST: tuple[str, ...] = (
    "sd15", "sdxl", "flux1_dev", "flux1_schnell", "flux1_fill", "qwen_image", "wan21_t2v_14b", "wan22_i2v_14b",
    "wan21_i2v_14b", "wan21_t2v_1_3b", "wan22_5b", "z_image", "anima", "sd21", "chroma", "hunyuan_video",
    "hunyuan_video_i2v", "ltxv_13b", "sd35_medium", "sd3_medium", "cascade_c", "pixart_sigma", "pixart_alpha",
)  # fmt: skip
"""Which of several architectures that explain a file equally well is the likeliest; the others follow by size."""


class Layer(NamedTuple):
    """What is known about one name."""

    shapes: Mapping[Shape, int]
    """Shape → the architectures where the layer of that name has it; a 1x1 convolution counts as a linear layer."""
    exact: Mapping[Shape, int] | None
    """The same with 1x1 convolutions told from linear layers, where that tells architectures apart."""
    kind: str
    """The name without its block numbers: layers that trainers choose together have it in common."""


def any_of(shapes: Mapping[Shape, int]) -> int:
    """All architectures that have one of these shapes."""
    mask = 0
    for having_it in shapes.values():
        mask |= having_it
    return mask


class Index:
    """All layers of all architectures, by flattened name."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.ids = tuple(signature.id for signature in signatures)
        self.tensors = tuple(signature.tensors for signature in signatures)
        self._signatures = signatures
        self._candidates = _candidates(signatures)
        self._unets = sum(1 << bit for bit, item in enumerate(signatures) if _is_unet(item))
        self._loaded = 0
        self._shapes: dict[str, dict[Shape, int]] = {}
        self._kinds: list[Counter[str]] = [Counter() for _ in signatures]
        self._layers: dict[str, Layer | None] = {}
        self._lock = threading.RLock()

    @property
    def all(self) -> int:
        """The set of all architectures."""
        return (1 << len(self.ids)) - 1

    def names(self, mask: int) -> Iterator[str]:
        """The ids of the architectures in a set."""
        return (name for bit, name in enumerate(self.ids) if mask >> bit & 1)

    def mask(self, ids: Iterable[str]) -> int:
        """The set of these architectures; unknown ids are left out."""
        return sum(1 << self.ids.index(name) for name in set(ids) if name in self.ids)

    def layer(self, name: str) -> Layer | None:
        """What is known about a layer by a name in any spelling, without its prefix; None for unknown names.

        Dotted and underscored names are the same layer's. Biases end in `_bias`.
        """
        try:
            return self._layers[name]
        except KeyError:
            return self._find(name)

    def commonness(self, bit: int) -> tuple[int, int]:
        """Sorts the architectures by their numbers: the commonest first, then the smallest."""
        name = self.ids[bit]
        return (COMMONEST.index(name) if name in COMMONEST else len(COMMONEST), self.tensors[bit])

    def count(self, bit: int, kinds: Iterable[str]) -> int:
        """How many layers of these kinds the architecture with that number has."""
        self._load(1 << bit)
        counts = self._kinds[bit]
        return sum(counts[kind] for kind in kinds)

    def _find(self, name: str) -> Layer | None:
        if len(name) > _LONGEST:
            return None
        flat = flatten(name)
        kind = kind_of(flat)
        with self._lock:
            wanted = self._candidates.get(_ANY_NUMBER.sub("#", flat), 0)
            if flat.startswith(_DIFFUSERS_UNET):
                wanted |= self._unets
            self._load(wanted)
            shapes = self._with_joined(flat, kind, self._shapes.get(flat))
            layer = _layer(shapes, kind) if shapes else None
            if len(self._layers) > _MOST_NAMES:
                self._layers.clear()
            self._layers[name] = layer
            return layer

    def _with_joined(self, flat: str, kind: str, shapes: dict[Shape, int] | None) -> dict[Shape, int] | None:
        """The shapes with those of architectures that have several layers for one of that name, as `find_joined`."""
        for names in parts_of(flat):
            layers = [layer for name in names if (layer := self.layer(name)) is not None]
            if len(layers) < len(names):
                continue
            free = self.all & ~any_of(shapes or {})
            for shape, mask in _stacked(layers, free).items():
                shapes = dict(shapes or {})
                shapes[shape] = shapes.get(shape, 0) | mask
                for bit in range(mask.bit_length()):
                    if mask >> bit & 1:  # there are as many of the whole as of each part
                        self._kinds[bit].setdefault(kind, self._kinds[bit][layers[0].kind])
        return shapes

    def _load(self, wanted: int) -> None:
        """Spreads out the names of the architectures in a set."""
        if not wanted & ~self._loaded:
            return
        with self._lock:
            for bit, signature in enumerate(self._signatures):
                if (wanted & ~self._loaded) >> bit & 1:
                    self._loaded |= 1 << bit
                    for flat, shape in _names(signature):
                        shapes = self._shapes.setdefault(flat, {})
                        shapes[shape] = shapes.get(shape, 0) | 1 << bit
                        self._kinds[bit][kind_of(flat)] += 1


@functools.cache
def index() -> Index:
    """The index of the package's signatures."""
    return Index(read_signatures())


_LONGEST = 300
"""Characters; no layer has a longer name in any spelling."""

_MOST_NAMES = 1 << 17
"""Names that are remembered; there are some 100,000 in all spellings, and files can have nonsense."""

_DIFFUSERS_UNET = ("down_blocks_", "up_blocks_", "mid_block_", "conv_", "time_embedding_", "add_embedding_")
_NUMBER = re.compile(r"(?<=_)[0-9]+(?=_)")
_ANY_NUMBER = re.compile("[0-9]+")
_PLACE = re.compile(r"\[[^]]*\]")
_CHOICE = re.compile(r"\{([^}]*)\}")


def kind_of(flat: str) -> str:
    """A flattened name without its block numbers. Example: `blocks_3_attn1_to_out_0` → `blocks_#_attn1_to_out_0`."""
    return _NUMBER.sub("#", flat)


def squeezed(shape: Shape) -> Shape:
    """The shape of a 1x1 convolution's weight as that of a linear layer's."""
    end = len(shape)
    while end > 2 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]


def _layer(shapes: Mapping[Shape, int], kind: str) -> Layer:
    loose: dict[Shape, int] = {}
    for shape, mask in shapes.items():
        loose[squeezed(shape)] = loose.get(squeezed(shape), 0) | mask
    return Layer(loose, dict(shapes) if len(loose) < len(shapes) else None, kind)


def _stacked(layers: Sequence[Layer], within: int) -> dict[Shape, int]:
    """Shape of layers with the same inputs, one below the other → the architectures that have all of them."""
    found: dict[Shape, int] = {}
    for number, layer in enumerate(layers):
        longer: dict[Shape, int] = {}
        for (rows, *inner), mask in layer.shapes.items():
            if number == 0:
                longer[(rows, *inner)] = mask & within
                continue
            for (before, *others), others_mask in found.items():
                if others == inner and (both := mask & others_mask):
                    shape = (before + rows, *inner)
                    longer[shape] = longer.get(shape, 0) | both
        found = longer
    return {shape: mask for shape, mask in found.items() if mask}


def _names(signature: Signature) -> Iterator[tuple[str, Shape]]:
    sites = model_sites({name: (name, shape) for name, shape in signature.shapes.items()})
    for flat, site in sites.items():
        if site.shape is not None:
            yield flat, site.shape
    for alias in signature.aliases:
        for foreign, native in alias.pairs():
            site = sites.get(flatten(native))
            if site and site.shape and flatten(foreign) not in sites:
                length = alias.offset[2] if alias.offset else site.shape[0]
                yield flatten(foreign), (length, *site.shape[1:])


def _candidates(signatures: Sequence[Signature]) -> dict[str, int]:
    """Name with all numbers as `#` → architectures that may have it, from the patterns and rules alone."""
    foreign: dict[str, set[str]] = {}
    for table in TABLES:
        for rule in table.rules:
            foreign.setdefault(_coarse(rule.native), set()).add(_coarse(rule.foreign))
    result: dict[str, int] = {}

    def add(name: str, mask: int) -> None:
        result[name] = result.get(name, 0) | mask

    for bit, signature in enumerate(signatures):
        for pattern in signature.patterns:
            for words in _spread(pattern.text):
                layer = _coarse(words.removesuffix(".weight"))
                add(layer, 1 << bit)
                end = "_bias" if words.endswith(".bias") else ""
                for other in foreign.get(layer.removesuffix(end), ()):
                    add(other + end, 1 << bit)
        for alias in signature.aliases:
            for words in _spread(alias.foreign):
                add(_coarse(words), 1 << bit)
    return result


def _spread(text: str) -> Iterator[str]:
    """A pattern's words spread out, its numbers left as they are."""
    match = _CHOICE.search(text)
    if not match:
        yield text
        return
    for word in match[1].split(","):
        yield from _spread(text[: match.start()] + word + text[match.end() :])


def _coarse(text: str) -> str:
    """A pattern's flattened name with every number as `#`."""
    return _ANY_NUMBER.sub("#", flatten(_PLACE.sub("#", text)))


def _is_unet(signature: Signature) -> bool:
    return any(pattern.text.startswith("input_blocks.") for pattern in signature.patterns)


class EncoderIndex:
    """All layers of all text encoders, by flattened name."""

    def __init__(self) -> None:
        self._layers: dict[str, dict[Shape, frozenset[str]]] = {}
        for encoder in ENCODERS:
            for name, shape in encoder.shapes():
                shapes = self._layers.setdefault(canonical(flatten(name)), {})
                shapes[shape] = shapes.get(shape, frozenset()) | {encoder.id}

    def encoders(self, path: str) -> Mapping[Shape, frozenset[str]]:
        """Shape → the encoders with a layer of that name and shape; names as after a trainer's prefix."""
        return self._layers.get(canonical(flatten(path)), {})

    def known(self, component: str, path: str) -> Mapping[Shape, frozenset[str]]:
        """The same for the path of a module of some component: a bare text encoder's may say which one."""
        return self.named(path) if component == TEXT_ENCODERS else self.encoders(path)

    def named(self, path: str) -> Mapping[Shape, frozenset[str]]:
        """The same for a path of ComfyUI's, which may say the encoder: `clip_l.transformer.text_model.…`."""
        word, layer = split_word(flatten(path), COMFYUI_WORDS)
        known = self._layers.get(layer, {})
        if word is None:
            return known
        here = {shape: frozenset(name for name in names if _comfyui(name) == word) for shape, names in known.items()}
        return {shape: names for shape, names in here.items() if names}


def _comfyui(encoder: str) -> str | None:
    row = find_encoder(encoder)
    return row and row.comfyui


@functools.cache
def encoder_index() -> EncoderIndex:
    """The index of the package's text encoders."""
    return EncoderIndex()


@functools.cache
def with_one_encoder() -> int:
    """The architectures with a single text encoder, which kohya calls `lora_te_`; those of several are numbered."""
    rows = ((row.id, {encoder for ids in row.encoders.values() for encoder in ids}) for row in ARCHITECTURES)
    return index().mask(name for name, encoders in rows if len(encoders) == 1)


@functools.cache
def having(component: str, encoders: frozenset[str]) -> int:
    """The architectures whose LoRAs mean one of these encoders by this component.

    By `text_encoders` they mean whichever they have.
    """
    return index().mask(
        row.id
        for row in ARCHITECTURES
        if not encoders.isdisjoint(row.encoders.get(component, ()))
        or (component == "text_encoders" and any(not encoders.isdisjoint(ids) for ids in row.encoders.values()))
    )
