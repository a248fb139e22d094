"""The vectors of weights per block that A1111's extension puts into tags, and a row's `blocks`, both ways. Pure.

`lbw=1,0,0.5,…` has one number for each block of a list; which list, its length says. Blocks of a UNet that a shorter
list does not have are 0. Source: hako-mikan/sd-webui-lora-block-weight `scripts/lora_block_weight.py`, with the names
of its own presets. BASE are all text encoders; what stands outside of the blocks that a vector knows keeps 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..architectures.blocks import PARTS, TEXT_ENCODER, names_of_part
from ..limits import WEIGHT_LIMIT
from ..stack.blocks import EVERY, Labels, compose, factor_of, parse_pattern

BASE = "BASE"
_INPUT, _OUTPUT = tuple(f"IN{n:02}" for n in range(12)), tuple(f"OUT{n:02}" for n in range(12))
_UNET = (BASE, *_INPUT, "M00", *_OUTPUT)
_DOUBLE, _SINGLE = tuple(f"D{n:02}" for n in range(19)), tuple(f"S{n:02}" for n in range(38))
_FLUX = ("CLIP", "T5", "IN", *_DOUBLE, *_SINGLE, "OUT")
LAYOUTS: Mapping[int, tuple[str, ...]] = {
    26: _UNET,
    17: (BASE, *(_INPUT[n] for n in (1, 2, 4, 5, 7, 8)), "M00", *_OUTPUT[3:]),
    12: (BASE, *(_INPUT[n] for n in (4, 5, 7, 8)), "M00", *_OUTPUT[:6]),
    20: (BASE, *_INPUT[:9], "M00", *_OUTPUT[:9]),
    61: _FLUX,
}
"""Length of a vector → the blocks that its numbers are for: LoRAs and LyCORIS of SD 1.5 and SDXL, and FLUX.1."""
_FLUX_OUTSIDE = {"IN": ("img_in", "time_in", "txt_in", "vector_in", "guidance_in"), "OUT": ("final_layer",)}
PRESETS: Mapping[str, str] = {
    "NONE": ",".join("0" * 17),
    "ALL": ",".join("1" * 17),
    "INS": ",".join("11110000000000000"),
    "IND": ",".join("10001110000000000"),
    "INALL": ",".join("11111110000000000"),
    "MIDD": ",".join("10001111111100000"),
    "OUTD": ",".join("10000000111100000"),
    "OUTS": ",".join("10000000000011111"),
    "OUTALL": ",".join("10000000111111111"),
    "ALL0.5": ",".join(["0.5"] * 17),
    "FLUXALL": ",".join("1" * 61),
}
"""The extension's own names; people add theirs on their machines. Case matters."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:e[+-]?[0-9]{1,3})?", re.I)
_INHERITED = re.compile(r"X(?:([+-])([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}))?")  # X, X+0.2
_RANDOM = ("R", "U")


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector that was read."""

    blocks: Mapping[str, float]
    """As a row has them; empty if all is 1."""
    random: tuple[str, ...] = ()
    """Blocks that get a random number there, and 1 here."""


def is_vector(text: str) -> bool:
    """True for a name of the extension's own, and for as many numbers as a list has blocks."""
    stripped = text.strip()
    return stripped in PRESETS or ("@" not in text and stripped.count(",") + 1 in LAYOUTS)


def read_vector(text: str, inherited: str | None = None) -> Vector:
    """The weights of a vector or of a preset's name; `inherited` is what `X` in it stands for, 1 without.

    Raises `ValueError`, in words, for what is neither.
    """
    numbers = PRESETS.get(text.strip(), text)
    count = numbers.count(",") + 1
    if count == 1:
        raise ValueError("has weights per block under a name that is its writer's own; write the numbers themselves")
    if count not in LAYOUTS:
        known = ", ".join(map(str, sorted(LAYOUTS)))
        raise ValueError(f"has weights for {count:,} blocks; there are vectors of {known}")
    names, parts = LAYOUTS[count], [part.strip() for part in numbers.split(",")]
    values = {name: _value(part, name, inherited) for name, part in zip(names, parts, strict=True)}
    randomly = tuple(name for name, part in zip(names, parts, strict=True) if part in _RANDOM)
    if names is _FLUX:
        return Vector(_flux_blocks(values), randomly)
    return Vector(_unet_blocks({name: values.get(name, 0.0) for name in _UNET}), randomly)


def write_vector(blocks: Mapping[str, float]) -> str | None:
    """The vector that means just what these `blocks` mean; None if none does."""
    words = {word.name for pattern in blocks for word in parse_pattern(pattern)}
    for layout, own, shared, labels in _FORMS:
        if words <= own | shared and words & own:
            return _written(blocks, layout, labels)
    return None


def split_shared(blocks: Mapping[str, float]) -> tuple[float, float, Mapping[str, float]]:
    """(factor on the model, factor on the text encoders, the other patterns).

    Taken out is what means all of the model or all text encoders, which a tag says by its two weights.
    """
    model = clip = 1.0
    others: dict[str, float] = {}
    for pattern, factor in sorted(blocks.items()):
        names = {word.name for word in parse_pattern(pattern)}
        if names == {EVERY}:
            model, clip = model * factor, clip * factor
        elif names <= {EVERY, TEXT_ENCODER} and not any(word.ranges for word in parse_pattern(pattern)):
            clip *= factor
        else:
            others[pattern] = factor
    return model, clip, others


def _value(text: str, name: str, inherited: str | None) -> float:
    if text in _RANDOM:
        return 1.0
    offset = _INHERITED.fullmatch(text)
    if offset:
        value = float(inherited) if inherited is not None and _NUMBER.fullmatch(inherited.strip()) else 1.0
        value += float(f"{offset[1] or ''}{offset[2] or 0}")
    elif _NUMBER.fullmatch(text):
        value = float(text)
    else:
        raise ValueError(f"has the weight {text[:20]!r} for the block {name}; expected a number")
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:
        raise ValueError(f"has the weight {text[:20]!r} for the block {name}; it must lie in ±{WEIGHT_LIMIT:g}")
    return value


def _unet_blocks(values: Mapping[str, float]) -> dict[str, float]:
    return {
        **compose(TEXT_ENCODER, [values[BASE]], numbered=False),
        **compose("input", [values[name] for name in _INPUT]),
        **compose("middle", [values["M00"]], numbered=False),
        **compose("output", [values[name] for name in _OUTPUT]),
    }


def _flux_blocks(values: Mapping[str, float]) -> dict[str, float]:
    encoders = {"clip_l": values["CLIP"], "t5xxl": values["T5"]}
    result: dict[str, float] = {}
    if len(set(encoders.values())) == 1:
        encoders = {TEXT_ENCODER: values["CLIP"]}
    for name, value in encoders.items():
        result |= compose(name, [value], numbered=False)
    for block, names in _FLUX_OUTSIDE.items():
        for name in names:
            result |= compose(name, [values[block]], numbered=False)
    result |= compose("double_blocks", [values[name] for name in _DOUBLE])
    return result | compose("single_blocks", [values[name] for name in _SINGLE])


def _labels_of_unet(block: str) -> Iterator[Labels]:
    if block == BASE:
        for encoder in ("clip_l", "clip_g", "another"):
            yield from _in_parts({TEXT_ENCODER: None, encoder: None})
    elif block == "M00":
        yield from _in_parts({"middle": None, "mid": None})
    elif block in _INPUT:
        yield from _in_parts({"input": _INPUT.index(block), "early": None})
    else:
        yield from _in_parts({"output": _OUTPUT.index(block), "late": None})


def _labels_of_flux(block: str) -> Iterator[Labels]:
    thirds = ("early", "mid", "late")
    if block in _DOUBLE:
        number = _DOUBLE.index(block)
        yield from _in_parts({"double_blocks": number, "double": number, thirds[number * 3 // len(_DOUBLE)]: None})
    elif block in _SINGLE:
        number = _SINGLE.index(block)
        yield from _in_parts({"single_blocks": number, "single": number, thirds[number * 3 // len(_SINGLE)]: None})
    elif block in _FLUX_OUTSIDE:
        for name in _FLUX_OUTSIDE[block]:
            yield from _in_parts({name: None})
    else:
        yield from _in_parts({TEXT_ENCODER: None, "clip_l" if block == "CLIP" else "t5xxl": None})


def _in_parts(labels: Labels) -> Iterator[Labels]:
    for part in PARTS:
        yield {**labels, **dict.fromkeys(names_of_part(part))}


_SHARED = frozenset(
    {EVERY, TEXT_ENCODER, "early", "mid", "late", *(name for part in PARTS for name in names_of_part(part))}
)
_Form = tuple[tuple[str, ...], frozenset[str], frozenset[str], Callable[[str], Iterator[Labels]]]
_FORMS: tuple[_Form, ...] = (
    (_UNET, frozenset({"input", "middle", "output"}), _SHARED, _labels_of_unet),
    (
        _FLUX,
        frozenset(
            {"double_blocks", "double", "single_blocks", "single", "clip_l", "t5xxl"}
            | {name for names in _FLUX_OUTSIDE.values() for name in names}
        ),
        _SHARED,
        _labels_of_flux,
    ),
)
"""The blocks of a vector, the words of patterns that only its models have, those that all have, and its layers."""


def _written(
    blocks: Mapping[str, float], layout: Sequence[str], labels: Callable[[str], Iterator[Labels]]
) -> str | None:
    if any(factor_of(blocks, outside) != 1 for outside in _in_parts({})) or _is_beyond(blocks):
        return None
    values: list[float] = []
    for block in layout:
        factors = {factor_of(blocks, one) for one in labels(block)}
        if len(factors) > 1 or not all(-WEIGHT_LIMIT <= factor <= WEIGHT_LIMIT for factor in factors):
            return None
        values += factors
    return ",".join(repr(value + 0.0).removesuffix(".0") for value in values)


_COUNTS = {"input": 12, "output": 12, "double_blocks": 19, "double": 19, "single_blocks": 38, "single": 38}


def _is_beyond(blocks: Mapping[str, float]) -> bool:
    """True if a pattern names a block that the vectors' models do not have: it is meant for another model."""
    return any(
        high >= _COUNTS.get(word.name, 0)
        for pattern in blocks
        for word in parse_pattern(pattern)
        for _, high in word.ranges
    )
