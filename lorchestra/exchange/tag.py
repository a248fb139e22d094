"""One `<lora:name:0.7>` tag of a prompt, taken apart: name, weights, weights over the steps, and what else is in it.

Sources: AUTOMATIC1111/stable-diffusion-webui `extensions-builtin/Lora/extra_networks_lora.py` (te, unet, dyn);
cheald/sd-webui-loractl `loractl/lib/utils.py` (`1@0,0.5@0.5`); hako-mikan/sd-webui-lora-block-weight
`scripts/lora_block_weight.py` (`start=`, `stop=`, `step=5-15`; of `lbw=` see `block_vectors.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ScheduleError, StackError, quoted
from ..limits import MAX_NAME, WEIGHT_LIMIT
from ..schedule import Curve, Keyframe
from ..schedule.easing import HOLD
from ..schedule.loractl import read as read_loractl
from ..schedule.steps import MAX_STEPS
from ..sentences import say
from .block_vectors import Vector, is_vector, read_vector

ORDERS = ("te-first", "model-first")
"""What the first of two numbers is: the text encoder's weight (AUTOMATIC1111, Forge), or the model's (SwarmUI)."""
DEFAULT_WEIGHT = 1.0
"""Weight of a tag that names none."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
"""Example: `-0.75`, `.5`, `1e-3`; not `nan`, `inf` or `1_000`, which `float` would take."""
_RANKS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_STEP = re.compile(r"\s*(\d{1,5})\s*", re.ASCII)
_FROM_TO = re.compile(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", re.ASCII)  # 5-15
_AIR = ("urn:air:", "air:", "civitai:", "runware:")
"""How names begin that have colons in them."""
_MOST_ITEMS = 64
UNKNOWN_OPTION = "has an option that is not known"
NO_KINDS = "has weights for kinds of layers, which are left out; write them as weights per block into the row"


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag says."""

    name: str
    model: float
    """Weight of the diffusion model; the factor on `curve` if that is there."""
    te: float
    """Weight of the text encoders, at the start of the run: a prompt is encoded once, before the first step."""
    curve: Curve | None
    """The model's weights over the steps."""
    steps: tuple[int, int] | None
    """The first step at which it acts, from 1, and the first one at which it does so no more."""
    dyn: int | None
    """The rank that it cuts the LoRA down to."""
    in_order: bool
    """True if it has two different numbers whose order decides what they mean."""
    unknown: tuple[tuple[str, str], ...]
    """(option, what is to be said of it) of what is not understood, or is and has no place in a row."""
    blocks: Mapping[str, float] = field(default_factory=dict[str, float])
    """Weights per block, as a row has them."""


def read_tag(tag: str, inside: str, order: str, row: int, *, wide: bool = False) -> Tag:
    """What a tag says; `inside` is what stands in it after `<lora:`.

    `wide` takes full-width colons as colons. Raises `StackError` with the row's number and the tag, quoted, for one
    whose name or weights cannot be read.
    """
    name, *items = _split(inside, wide)
    if not name.strip():
        raise StackError(say("the tag {tag} names no LoRA", tag=quoted(tag)), row)
    if len(name) > MAX_NAME:
        raise StackError(
            say("the tag {tag} has a name of more than {most} characters", tag=quoted(tag), most=f"{MAX_NAME:,}"),
            row,
        )
    unknown: list[tuple[str, str]] = []
    if len(items) > _MOST_ITEMS:
        raise StackError(
            say("the tag {tag} has {count} numbers; at most te:unet:dyn are known", tag=quoted(tag), count=len(items)),
            row,
        )
    positional = [item for item in items if "=" not in item]
    named = {key.strip(): value for key, _, value in (item.partition("=") for item in items if "=" in item)}
    while len(positional) > 1 and not positional[-1].strip():
        positional.pop()
        unknown.append(("weight", "has an empty part, which is left out"))
    if positional and not positional[0].strip() and len(positional) == 1:
        positional.pop()
        unknown.append(("weight", "has an empty weight, so it counts as 1"))
    vector, inherited = _take_vector(positional, named)
    keys = ("te", "unet", "dyn") if order == "te-first" else ("unet", "te", "dyn")
    weights = list(positional)
    for index, item in enumerate(positional):
        if index == len(keys) or (index and not _is_number(item) and "@" not in item):
            unknown += ((part.strip(), "has a part that is not known") for part in positional[index:])
            del weights[index:]
            break
    parts = {**dict(zip(keys, weights, strict=False)), **named}
    first, second = keys[0], keys[1]
    found: dict[str, float | Curve] = {}
    found[first] = _weight(tag, parts.pop(first), row) if first in parts else DEFAULT_WEIGHT
    found[second] = _weight(tag, parts.pop(second), row) if second in parts else found[first]
    dyn = parts.pop("dyn", None)
    if dyn is not None and not _RANKS.fullmatch(dyn.strip()):
        unknown.append(("dyn", f"has the dyn {quoted(dyn)}; expected a whole number of ranks"))
        dyn = None
    steps = _steps(parts)
    blocks = _blocks(vector, inherited, unknown)
    unknown += ((key, _said(key)) for key in parts)
    te, model = found["te"], found["unet"]
    return Tag(
        name,
        1.0 if isinstance(model, Curve) else model,
        te.keyframes[0].weight if isinstance(te, Curve) else te,
        model if isinstance(model, Curve) else None,
        steps,
        None if dyn is None else int(dyn),
        "te" not in named and "unet" not in named and len(weights) > 1 and te != model,
        tuple(unknown),
        blocks.blocks,
    )


def _take_vector(positional: list[str], named: dict[str, str]) -> tuple[tuple[str, str] | None, str | None]:
    """Takes the weights per block out of a tag's parts: (option, text), and what `X` in it stands for."""
    inherited = named.pop("x", None)
    for key in ("lbw", "w"):
        if key in named:
            return (key, named.pop(key)), inherited
    found = next((index for index, item in enumerate(positional) if index and is_vector(item)), None)
    if found is None:
        return None, inherited
    text = positional.pop(found)
    if inherited is None and "X" in text and found < len(positional):
        inherited = positional.pop(found)
    return (text.strip()[:60], text), inherited


def _blocks(found: tuple[str, str] | None, inherited: str | None, unknown: list[tuple[str, str]]) -> Vector:
    """The weights per block; what cannot be read of them is told, and the tag's weight is used for all blocks."""
    if found is None:
        if inherited is not None:
            unknown.append(("x", UNKNOWN_OPTION))
        return Vector({})
    key, text = found
    try:
        vector = read_vector(text, inherited)
    except ValueError as error:
        unknown.append((key, f"{error}; the tag's weight is used for all blocks"))
        return Vector({})
    if vector.random:
        unknown.append((key, f"has random weights for {', '.join(vector.random)}; 1 is used for them"))
    return vector


def acting(steps: tuple[int, int]) -> Curve:
    """1 at the steps from the first to before the second, and 0 at all others."""
    first, end = steps
    keyframes = [Keyframe(1, 0.0, HOLD)] if first > 1 else []
    keyframes.append(Keyframe(first, 1.0, HOLD))
    if end <= MAX_STEPS:
        keyframes.append(Keyframe(end, 0.0))
    return Curve(tuple(keyframes), "step")


def _split(inside: str, wide: bool) -> Sequence[str]:
    """The name and the other parts; an AIR is one name."""
    parts = re.split("[:：]", inside) if wide else inside.split(":")
    lower = inside.strip().lower()
    if lower.startswith(_AIR):
        for count in range(min(len(parts), 8), 1, -1):
            last = parts[count - 1]
            if "@" in last or (last.strip().isdigit() and count > 2 and not _is_number(parts[count - 2])):
                return [":".join(parts[:count]).strip(), *parts[count:]]
    return parts


def _weight(tag: str, text: str, row: int) -> float | Curve:
    if "@" in text:
        try:
            curve = read_loractl(text)
        except ScheduleError as error:
            sentence = f"the tag {quoted(tag)} has weights over the steps that cannot be read: {error}"
            raise StackError(sentence, row) from error
        return curve.keyframes[0].weight if curve.is_constant else curve
    if not _is_number(text):
        raise StackError(
            say("the tag {tag} has the weight {text}; expected a number", tag=quoted(tag), text=quoted(text)), row
        )
    value = float(_narrow(text))
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:
        raise StackError(
            say(
                "the tag {tag} has the weight {text}; it must lie in -{limit} … {limit}",
                tag=quoted(tag),
                text=quoted(text),
                limit=f"{WEIGHT_LIMIT:g}",
            ),
            row,
        )
    return value


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(_narrow(text)) is not None


def _narrow(text: str) -> str:
    """Without space around it; with full-width digits, signs and letters as plain ones."""
    stripped = text.strip()
    return stripped if stripped.isascii() or len(stripped) > 100 else unicodedata.normalize("NFKC", stripped)


def _steps(parts: dict[str, str]) -> tuple[int, int] | None:
    """Takes the steps of the block weights' extension out of the options; None without, or if they are no numbers."""
    first, end = 1, MAX_STEPS + 1
    both = _FROM_TO.fullmatch(parts.get("step", ""))
    start, stop = _STEP.fullmatch(parts.get("start", "")), _STEP.fullmatch(parts.get("stop", ""))
    if both:
        first, end = int(both[1]), int(both[2])
    elif start or stop:
        first, end = int(start[1]) if start else first, int(stop[1]) if stop else end
    else:
        return None
    first = max(first, 1)
    if not first < end <= MAX_STEPS + 1:
        return None
    for key, found in (("step", both), ("start", start or both), ("stop", stop or both)):
        if found:
            parts.pop(key, None)
    return first, end


def _said(key: str) -> str:
    if key == "lbwe":
        return NO_KINDS
    if key in ("hr", "hrte", "hrunet"):
        return "has weights for a second pass; a row's weight is the same in all passes"
    return UNKNOWN_OPTION
