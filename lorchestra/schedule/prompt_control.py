"""prompt-control's schedules, `[<lora:a:1>:0.2,0.6]` (asagi4/comfyui-prompt-control, `doc/schedules.md`, parser).

| text | means |
| --- | --- |
| `[after:0.3]` | from 0.3 on |
| `[before:after:0.3]` | a switch at 0.3 |
| `[during:0.2,0.6]`, `[during:after:0.2,0.6]`, `[before:during:after:0.2,0.6]` | ranges |
| `[SEQ:a:0.2:b:0.6]` | a until 0.2, b until 0.6, then nothing |
| `[a\\|b:0.1]` | a and b in turns of a tenth (0.1 where nothing is said) |

In them stand prompts with `<lora:name:model>` or `<lora:name:model:clip>` tags, and brackets again. Tags of one LoRA
that overlap in time add up. Weights jump; prompt-control knows nothing in between. Its positions are shares of the
model's noise range and ours are shares of the run's steps, which is what people mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import ScheduleError, quoted
from ..limits import WEIGHT_LIMIT
from .curve import Curve, Keyframe
from .easing import HOLD

MAX_DEPTH = 20
"""How deep brackets may be nested."""
MAX_SPANS = 2_000
"""How many spans of time there may be."""
MAX_SIGNS = 10_000
"""How many brackets, colons, tags and the like there may be."""
_LONGEST = 200
FINEST = 0.01
"""Shortest turn of `[a|b:0.01]`, as in prompt-control."""

_NUM = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_SIGN = re.compile(r"[\[\]<#:|()\\]")
_NUMBER = re.compile(rf"\s*{_NUM}\s*", re.ASCII)
_LORA = re.compile(rf"<lora:([^:<>]+):\s*({_NUM})\s*(?::\s*({_NUM})\s*)?>", re.ASCII)  # <lora:pixel:0.7:0.5>
_WHEN = re.compile(rf"\s*({_NUM})\s*(?:,\s*({_NUM})\s*)?", re.ASCII)  # 0.2,0.6
_TAG = re.compile(r"\s*[A-Z_]+\s*")  # SECOND_PASS


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One LoRA of a prompt."""

    name: str
    """As the tag says it."""
    model: Curve
    """The weight itself, not a factor: put it on a row of weight 1."""
    clip: Curve


@dataclass(frozen=True, slots=True)
class _Lora:
    name: str
    model: float
    clip: float
    column: int


@dataclass(frozen=True, slots=True)
class Part:
    """What stands between two signs of a bracket."""

    text: str
    """Its first characters, see `beginning`."""
    column: int
    nodes: tuple[_Lora | Bracket, ...] = ()
    """The LoRAs in it, and the brackets that have LoRAs in them."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """What stands between `[` and `]`."""

    parts: tuple[Part, ...]
    signs: str
    """The `:` and `|` between the parts."""
    column: int


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something holds, in shares of the run."""

    start: float
    end: float

    def inside(self, other: Span) -> Span:
        return Span(max(self.start, other.start), min(self.end, other.end))

    def __bool__(self) -> bool:
        return self.start < self.end


def read(text: str, steps: int | None = None) -> tuple[Scheduled, ...]:
    """The LoRAs of a prompt, each with its weights over the run; the prompt's words are passed over.

    `steps` is prompt-control's `num_steps`: then positions without a point count steps. Raises `ScheduleError` with the
    column for positions beyond the run or backwards, tags that are no times (`[a:b:HR]`), and brackets left open.
    """
    part, _ = _Parser(text, bare=False).part(0, 0)
    return _scheduled(part, steps)


def read_one(text: str) -> Curve:
    """The model's weights of the one LoRA that the text names; text encoders take the row's own weight.

    Bare numbers serve as well: `[0.5:1:0.3]`. Raises `ScheduleError` with the column, also for two LoRAs and for none.
    """
    part, _ = _Parser(text, bare="<lora:" not in text).part(0, 0)
    found = list(_scheduled(part, None))
    if not found:
        raise ScheduleError("there is no weight in the brackets; write for example [<lora:name:1>:0.2,0.6]", 1)
    if len(found) > 1:
        names = quoted(", ".join(scheduled.name for scheduled in found))
        raise ScheduleError(f"a row's schedule is about one LoRA, and this names {len(found)}: {names}", 1)
    return found[0].model


class _Parser:
    """Finds tags and brackets in one text."""

    def __init__(self, text: str, bare: bool) -> None:
        self.text = text
        self.bare = bare
        """Whether numbers between the signs of a bracket are weights."""
        self.signs = 0

    def part(self, start: int, depth: int) -> tuple[Part, int]:
        """What stands from `start` up to the sign that ends it, and that sign's place."""
        text, at, parentheses = self.text, start, 0
        nodes: list[_Lora | Bracket] = []
        while sign_at := _SIGN.search(text, at):
            at = sign_at.start()
            sign = text[at]
            self.signs += 1
            if self.signs > MAX_SIGNS:
                raise ScheduleError(f"there are more than {MAX_SIGNS:,} brackets, colons and tags", at + 1)
            if sign == "[":
                bracket, at = self.bracket(at, depth + 1)
                if any(part.nodes for part in bracket.parts):
                    nodes.append(bracket)
                continue
            if sign == "<" and text.startswith(("<lora:", "<loractl:"), at):
                lora, at = self.lora(at)
                nodes.append(lora)
                continue
            if sign == "#":
                at = text.find("\n", at) if text.find("\n", at) >= 0 else len(text)
                continue
            if depth and (sign == "]" or (sign in ":|" and not parentheses)):
                break
            parentheses += {"(": 1, ")": -1 if parentheses else 0}.get(sign, 0)
            at += 2 if sign == "\\" else 1
        else:
            at = len(text)
        if depth and parentheses:
            raise ScheduleError("a ( in this bracket is never closed", start + 1)
        inner = beginning(text, start, min(at, len(text)))
        if self.bare and depth and not nodes and _NUMBER.fullmatch(inner):
            nodes.append(_Lora("", float(inner), float(inner), start + 1))
        return Part(inner, start + 1, tuple(nodes)), at

    def bracket(self, start: int, depth: int) -> tuple[Bracket, int]:
        if depth > MAX_DEPTH:
            raise ScheduleError(f"brackets are nested more than {MAX_DEPTH} deep", start + 1)
        parts: list[Part] = []
        signs = ""
        at = start + 1
        while True:
            part, end = self.part(at, depth)
            parts.append(part)
            if end >= len(self.text):
                raise ScheduleError("this bracket is never closed", start + 1)
            if self.text[end] == "]":
                return Bracket(tuple(parts), signs, start + 1), end + 1
            signs += self.text[end]
            at = end + 1

    def lora(self, start: int) -> tuple[_Lora, int]:
        found = _LORA.match(self.text, start)
        if not found:
            raise ScheduleError("expected <lora:name:weight> or <lora:name:model:clip>", start + 1)
        model, clip = float(found[2]), float(found[3] or found[2])
        for weight, group in ((model, 2), (clip, 3)):
            if not -WEIGHT_LIMIT <= weight <= WEIGHT_LIMIT:
                column = max(found.start(group), found.start(2)) + 1
                raise ScheduleError(f"the weight {weight:g} must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}", column)
        return _Lora(found[1], model, clip, start + 1), found.end()


class _Times:
    """Lists when each tag holds."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps
        self.visited = 0

    def of(self, nodes: Sequence[_Lora | Bracket], span: Span) -> Iterator[tuple[_Lora, Span]]:
        for node in nodes:
            if isinstance(node, _Lora):
                self.visit(node)
                yield node, span
                continue
            for number, when in times(node, self.steps) or [(len(node.parts) - 1, Span(0, 1))]:
                self.visit(node)
                within = when.inside(span)
                if within and node.parts[number].nodes:
                    yield from self.of(node.parts[number].nodes, within)

    def visit(self, node: _Lora | Bracket) -> None:
        self.visited += 1
        if self.visited > MAX_SPANS:
            raise ScheduleError(f"there are more than {MAX_SPANS:,} switches", node.column)


def times(bracket: Bracket, steps: int | None = None) -> Sequence[tuple[int, Span]]:
    """(number of the part, from 0; when it holds) for all parts of a bracket that hold at some time.

    Empty for a bracket with nothing but a text in it. `steps` as for `read`. Raises `ScheduleError` with the column for
    what is no bracket of prompt-control's.
    """
    parts, last = bracket.parts, bracket.parts[-1]
    if len(parts) == 1:
        return ()
    if "|" in bracket.signs and bracket.signs.rstrip(":").strip("|") == "":
        return _turns(bracket, steps)
    if parts[0].text.strip() == "SEQ" and len(parts) > 2:
        return _sequence(bracket, steps)
    if _WHEN.fullmatch(last.text):
        return _switches(bracket, steps)
    if _TAG.fullmatch(last.text):
        raise ScheduleError(f"{last.text.strip()} is a tag of prompt-control's filters and no time", last.column)
    raise ScheduleError(f"expected a position such as 0.5, found {quoted(last.text)}", last.column)


def _switches(bracket: Bracket, steps: int | None) -> Sequence[tuple[int, Span]]:
    *prompts, last = bracket.parts
    when = _WHEN.fullmatch(last.text)
    if when is None or len(prompts) > 3:
        raise ScheduleError("a bracket has at most three prompts", bracket.column)
    start = _position(when[1], last.column + when.start(1), steps)
    if when[2] is None:  # [after], [before:after]; of [before:after:x] prompt-control ignores the third
        order = {1: (None, 0, 0), 2: (0, 1, 1), 3: (0, 1, 1)}
        end = 1.0
    else:
        order = {1: (None, 0, None), 2: (None, 0, 1), 3: (0, 1, 2)}
        end = _position(when[2], last.column + when.start(2), steps)
    if end < start:
        raise ScheduleError(f"the range {last.text.strip()} goes backwards", last.column)
    spans = (Span(0, start), Span(start, end), Span(end, 1))
    return [(number, span) for number, span in zip(order[len(prompts)], spans, strict=True) if number is not None]


def _sequence(bracket: Bracket, steps: int | None) -> Sequence[tuple[int, Span]]:
    rest = bracket.parts[1:]
    if len(rest) % 2:
        raise ScheduleError("in a [SEQ:…] each prompt is followed by its end", rest[-1].column)
    result: list[tuple[int, Span]] = []
    before = 0.0
    for number in range(1, len(bracket.parts), 2):
        until = bracket.parts[number + 1]
        if not _NUMBER.fullmatch(until.text):
            raise ScheduleError(f"expected a position such as 0.5, found {quoted(until.text)}", until.column)
        end = _position(until.text, until.column, steps)
        if end < before:
            raise ScheduleError(f"{until.text.strip()} goes backwards", until.column)
        result.append((number, Span(before, end)))
        before = end
    return result


def _turns(bracket: Bracket, steps: int | None) -> Sequence[tuple[int, Span]]:
    count, turn = len(bracket.parts), 0.1
    if bracket.signs.endswith(":"):
        count, last = count - 1, bracket.parts[-1]
        if not _NUMBER.fullmatch(last.text):
            raise ScheduleError(f"expected the length of a turn such as 0.1, found {quoted(last.text)}", last.column)
        turn = _position(last.text, last.column, steps)
        if turn < FINEST:
            raise ScheduleError(f"a turn lasts at least {FINEST:g}", last.column)
    exact = Fraction(repr(turn))  # so that the third turn of 0.3 ends at 0.9
    above, below = exact.numerator, exact.denominator
    return [
        (number % count, Span(number * above / below, min((number + 1) * above, below) / below))
        for number in range(math.ceil(1 / exact))
    ]


def _position(text: str, column: int, steps: int | None) -> float:
    value = float(text)
    if steps and ("." not in text or value > 1):
        value /= steps
    if not 0 <= value <= 1:
        hint = "" if steps else "; its step numbers need prompt-control's num_steps"
        raise ScheduleError(f"{text.strip()} is not a position, 0 … 1{hint}", column)
    return value


def beginning(text: str, start: int, end: int) -> str:
    """A part of a text as `Part.text` has it: where it is too long for a number or a word, it ends with an ellipsis."""
    return text[start:end] if end - start <= _LONGEST else text[start : start + _LONGEST] + "…"


def _scheduled(part: Part, steps: int | None) -> tuple[Scheduled, ...]:
    found: dict[str, list[tuple[_Lora, Span]]] = {}
    for lora, span in _Times(steps).of(part.nodes, Span(0, 1)):
        found.setdefault(lora.name, []).append((lora, span))
    return tuple(
        Scheduled(
            name,
            added_up([(lora.model, span) for lora, span in times]),
            added_up([(lora.clip, span) for lora, span in times]),
        )
        for name, times in found.items()
    )


def added_up(times: Sequence[tuple[float, Span]]) -> Curve:
    """Weights that hold for a while and add up where they overlap; sums are exact, then rounded once."""
    changes: dict[float, Fraction] = {0.0: Fraction(0)}
    for weight, span in times:
        changes[span.start] = changes.get(span.start, Fraction(0)) + Fraction(weight)
        if span.end < 1:
            changes[span.end] = changes.get(span.end, Fraction(0)) - Fraction(weight)
    keyframes: list[Keyframe] = []
    total = Fraction(0)
    for place in sorted(changes):
        total += changes[place]
        weight = float(total)
        if not keyframes or keyframes[-1].weight != weight:
            keyframes.append(Keyframe(place, weight, HOLD))
    return Curve((*keyframes[:-1], Keyframe(keyframes[-1].position, keyframes[-1].weight)))
