"""When the tags of a prompt act: prompt-control's `[<lora:a:0.9>:<lora:a:1>:0.2]` and SwarmUI's `<fromto[2]:…>`.

Sources: asagi4/comfyui-prompt-control `doc/schedules.md`; SwarmUI `docs/Features/Prompt Syntax.md`,
`src/Text2Image/T2IPromptHandling.cs` (how a group is parted) and `SwarmTextHandling.py` (below 1 a share of the steps,
else their number). Positions above 1 in brackets count steps, as `num_steps` and AUTOMATIC1111 have it.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import ScheduleError, quoted
from ..schedule import Curve, Keyframe
from ..schedule.curve import By
from ..schedule.easing import HOLD
from ..schedule.prompt_control import Bracket, Part, beginning, times
from ..schedule.steps import MAX_STEPS
from .prompt import Group

Interval = tuple[float, float]
"""Where it begins, and where the next thing begins; `FOREVER` for never."""
FOREVER = math.inf
MAX_SPANS = 5_000
"""How often all brackets of a prompt may switch."""

_STEPS = re.compile(r"\s*(?:[2-9]|[1-9]\d{1,4})(?:\.0*)?\s*(?:,\s*[1-9]\d{0,4}(?:\.0*)?\s*)?", re.ASCII)  # 10 and 2,5
_WHEN = re.compile(r"\s*(\d{1,6}(?:\.\d{0,20})?|\.\d{1,20})\s*", re.ASCII)
_TIME = re.compile(r"[\s\d.,+-]+|\s*[A-Z_]+\s*", re.ASCII)
"""What may be meant as a time, or as a tag of prompt-control's filters."""
_SWITCH = "fromto"


@dataclass(frozen=True, slots=True)
class Times:
    """When something acts: at all of these times at once. Positions of steps count from 1."""

    progress: tuple[Interval, ...] = ((0.0, FOREVER),)
    step: tuple[Interval, ...] = ((1.0, FOREVER),)

    @property
    def is_always(self) -> bool:
        """True when it acts during the whole run."""
        return self == ALWAYS

    @property
    def is_never(self) -> bool:
        """True when it acts at no moment."""
        return not self.progress or not self.step

    def both(self, other: Times) -> Times:
        """When both act."""
        return Times(_overlap(self.progress, other.progress), _overlap(self.step, other.step))


ALWAYS = Times()


class Timing:
    """What the groups of one prompt say; each is looked at once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = 0
        self._groups: dict[int, tuple[list[int], dict[int, Times] | None] | ScheduleError] = {}

    def switches(self, group: Group) -> bool:
        """True for a group that switches what is in it on and off, or would if it could be read."""
        if group.word not in ("[", _SWITCH):
            return False
        try:
            return self._find(group)[1] is not None
        except ScheduleError:
            return True

    def of(self, groups: Iterable[Group], place: int) -> Times:
        """When the tag at a place acts, which is in these groups.

        Raises `ScheduleError` for a group that switches it in a way that no schedule can say.
        """
        result = ALWAYS
        for group in groups:
            signs, branches = self._find(group)
            if branches is not None:
                result = result.both(branches.get(bisect_left(signs, place), Times((), ())))
        return result

    def _find(self, group: Group) -> tuple[list[int], dict[int, Times] | None]:
        found = self._groups.get(group.start)
        if found is None:
            try:
                found = self._read(group)
            except ScheduleError as error:
                found = error
            self._groups[group.start] = found
        if isinstance(found, ScheduleError):
            raise found
        return found

    def _read(self, group: Group) -> tuple[list[int], dict[int, Times] | None]:
        """Where the parts of a group end, and when each acts; None if all do always."""
        if group.word == "[":
            return self._bracket(group)
        if group.word != _SWITCH:
            raise ScheduleError(f"it stands in <{group.word}:…>, which no schedule can say")
        when = _WHEN.fullmatch(group.pre)
        signs = _separators(group, self._text)
        if when is None or len(signs) != 1 or group.is_broken:
            raise ScheduleError(f"it stands in {self._shown(group)}, which is not <fromto[step]:before,after>")
        value = float(when[1])
        if value < 1:
            branches = {0: Times(_until(0, value)), 1: Times(((value, FOREVER),))}
        else:
            switch = float(math.ceil(value) + 1)
            branches = {0: Times(step=_until(1, switch)), 1: Times(step=((switch, FOREVER),))}
        return signs, branches

    def _bracket(self, group: Group) -> tuple[list[int], dict[int, Times] | None]:
        if not group.signs:
            return [], None
        if group.is_broken:
            raise ScheduleError(f"it stands in {self._shown(group)}, in which something is never closed")
        signs = [at for at, _ in group.signs]
        begins, ends = [group.body, *(at + 1 for at in signs)], [*signs, group.end]
        texts = [Part(beginning(self._text, a, b), a + 1) for a, b in zip(begins, ends, strict=True)]
        bracket = Bracket(tuple(texts), "".join(sign for _, sign in group.signs), group.start + 1)
        last = texts[-1].text
        in_steps = _STEPS.fullmatch(last) is not None
        if "|" not in bracket.signs and texts[0].text.strip() != "SEQ" and not _TIME.fullmatch(last):
            return [], None  # the programs take the bracket for words
        branches: dict[int, list[Interval]] = {}
        spans = times(bracket, MAX_STEPS if in_steps else None)
        self._spans += len(spans)
        if self._spans > MAX_SPANS:
            raise ScheduleError(f"the brackets up to it have more than {MAX_SPANS:,} switches")
        for number, span in spans:
            start, end = span.start, span.end
            if in_steps:
                start, end = round(start * MAX_STEPS) + 1.0, round(end * MAX_STEPS) + 1.0
            at_end = end >= (MAX_STEPS + 1 if in_steps else 1)
            if start < end:
                branches.setdefault(number, []).append((start, FOREVER if at_end else end))
        return signs, {
            number: Times(step=tuple(found)) if in_steps else Times(tuple(found)) for number, found in branches.items()
        }

    def _shown(self, group: Group) -> str:
        return quoted(self._text[group.start : group.end + 1])


def _separators(group: Group, text: str) -> list[int]:
    """Where SwarmUI parts a group: at `||` if there is one, else at `|`, else at commas. The places of their ends."""
    bars = [at for at, sign in group.signs if sign == "|"]
    doubled = [at + 1 for at in bars if text[at + 1 : at + 2] == "|"]
    return doubled or bars or [at for at, sign in group.signs if sign == ","]


def _until(start: float, end: float) -> tuple[Interval, ...]:
    return ((start, end),) if start < end else ()


def _overlap(one: Sequence[Interval], other: Sequence[Interval]) -> tuple[Interval, ...]:
    """Where both are; each is in order, and its intervals do not touch each other's insides."""
    result: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            result.append((start, end))
        if one[i][1] <= other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)


def curve_of(weighted: Sequence[tuple[float, Sequence[Interval]]], by: By) -> Curve:
    """Weights that hold at their times and add up where these overlap; sums are exact, then rounded once.

    Raises `ScheduleError` for more keyframes than a curve has, and for sums outside -100 … 100.
    """
    begin = 1.0 if by == "step" else 0.0
    if len(weighted) == 1:  # no sums
        (weight, intervals), held = weighted[0], {begin: 0.0}
        for start, end in intervals:
            held[start] = weight
            if end != FOREVER:
                held.setdefault(end, 0.0)
        return _curve([(place, held[place]) for place in sorted(held)], by)
    changes: dict[float, Fraction] = {begin: Fraction(0)}
    for weight, intervals in weighted:
        for start, end in intervals:
            changes[start] = changes.get(start, Fraction(0)) + Fraction(weight)
            if end != FOREVER:
                changes[end] = changes.get(end, Fraction(0)) - Fraction(weight)
    total = Fraction(0)
    sums: list[tuple[float, float]] = []
    for place in sorted(changes):
        total += changes[place]
        sums.append((place, float(total)))
    return _curve(sums, by)


def _curve(weights: Iterable[tuple[float, float]], by: By) -> Curve:
    """Weights that hold from these places on."""
    keyframes: list[Keyframe] = []
    for place, weight in weights:
        if not keyframes or keyframes[-1].weight != weight:
            keyframes.append(Keyframe(place, weight, HOLD))
    return Curve((*keyframes[:-1], Keyframe(keyframes[-1].position, keyframes[-1].weight)), by)


def longest(curve: Curve) -> float:
    """The weight, other than 0, that holds for the longest part of a run; of steps, the first; 0 if there is none."""
    held: dict[float, float] = {}
    ends = [*(keyframe.position for keyframe in curve.keyframes[1:]), 1.0]
    for keyframe, end in zip(curve.keyframes, ends, strict=True):
        if keyframe.weight:
            share = end - keyframe.position if curve.by == "progress" else 0.0
            held[keyframe.weight] = held.get(keyframe.weight, 0.0) + share
    return max(held, key=held.__getitem__, default=0.0)
