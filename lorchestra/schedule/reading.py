"""Reads the text forms of a schedule.

| text | means |
| --- | --- |
| `0.8` | 0.8 at every moment |
| `0:0, 0.3:1 ease, 1:0.2` | 0 at the start, 1 at 30 %, from there smoothly to 0.2 at the end |
| `0%:0, 30%:1`, `1/3:1` | positions as percentages and fractions |
| `step 3:1 hold, 5:0` | 1 up to step 3 and at 3 and 4, 0 from step 5 on; steps count from 1 |
| `sigma 14.6:0, 7:1` | by noise level, from high to low |
| `0.2-0.6:1` | 1 from 0.2 until 0.6, and 0 outside; several ranges may follow each other |
| `step 1-2:1` | 1 at the steps 1 and 2, and 0 at all others |
| `0.5:0.2, 0.5:1` | a jump: two keyframes at one position |
| `fade-in`, `fade in over 30 %` | a preset |
| `fade-in * step 1:0 hold, 2:1` | the product of two schedules |

A word after the weight says how the weight goes on to the *next* keyframe: hold, ease-in, ease-out, ease (or
ease-in-out), cosine, cubic; without one, linear. Text with an `@` is read as loractl's, text that begins with `[` as
prompt-control's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from ..errors import ScheduleError, quoted
from ..limits import WEIGHT_LIMIT
from ..sentences import say
from .curve import ADDRESSINGS, MAX_CURVES, MAX_KEYFRAMES, By, Curve, Keyframe, number
from .easing import EASINGS, HOLD, LINEAR, find_easing_typed
from .presets import PRESET_NAMES, find_preset
from .writing import TIMES

MAX_TEXT = 100_000
"""Longest text that is read, in characters."""
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[A-Za-z](?:[A-Za-z _-]*[A-Za-z])?")  # ease-in
_UNIT = re.compile(r"(progress|steps?|sigmas?)(?![A-Za-z])", re.IGNORECASE)  # step
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)  # -0.5, .3, 1e-07
_PLAIN = re.compile(
    r"\s*(\d{1,15}(?:\.\d{0,15})?)\s*:\s*([+-]?\d{1,15}(?:\.\d{0,15})?)(?:\s*(hold|cosine|cubic)\b)?\s*(?=[,*]|$)",
    re.ASCII,
)
"""Nearly all keyframes, such as `0.3:1 hold`; any other goes the long way, which knows what is wrong with it."""
_LONGEST_NUMBER = 400
_BY = {addressing.by: addressing for addressing in ADDRESSINGS}


def read(text: str) -> tuple[Curve, ...]:
    """The curves of the schedule in a text. Raises `ScheduleError` with the column, from 1, if there is none."""
    if len(text) > MAX_TEXT:
        raise ScheduleError(
            say(
                "the text has {count} characters; at most {most} are read",
                count=f"{len(text):,}",
                most=f"{MAX_TEXT:,}",
            ),
            MAX_TEXT + 1,
        )
    if not text.strip():
        raise ScheduleError(say("the schedule is empty; write for example 0:0, 1:1"), 1)
    if text.lstrip().startswith("["):
        from .prompt_control import read_one  # a third of this room's code, which few texts need

        return (read_one(text),)
    if "@" in text:
        from .loractl import read as read_loractl

        return (read_loractl(text),)
    reader = _Reader(text)
    curves: list[Curve] = []
    room = MAX_KEYFRAMES
    while True:
        column = reader.column
        factor = reader.factor(room)
        curves += factor
        room -= sum(len(curve.keyframes) for curve in factor)
        if room < 0:
            raise ScheduleError(
                say(
                    "a schedule has at most {most} keyframes in all its curves",
                    most=f"{MAX_KEYFRAMES:,}",
                ),
                column,
            )
        if not reader.take(TIMES):
            return tuple(curves)
        if len(curves) >= MAX_CURVES:
            raise ScheduleError(
                say("a schedule is the product of at most {most} curves", most=MAX_CURVES), reader.column
            )


@dataclass(frozen=True, slots=True)
class _Item:
    """A keyframe, or a range where `until` is there, with the columns of its parts."""

    column: int
    position: float
    until: float | None
    until_column: int
    weight: float
    easing: str
    easing_column: int


class _Reader:
    """Goes through one text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.skip()

    @property
    def column(self) -> int:
        return self.at + 1

    def skip(self) -> None:
        self.at = cast("re.Match[str]", _SPACE.match(self.text, self.at)).end()

    def take(self, sign: str) -> bool:
        """Goes past the sign, where it is the next, and the space around it."""
        if not self.text.startswith(sign, self.at):
            return False
        self.at += len(sign)
        self.skip()
        return True

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        self.skip()
        return found.group()

    def number(self) -> str:
        column = self.column
        text = self.match(_NUMBER)
        if len(text) > _LONGEST_NUMBER:
            raise ScheduleError(say("a number has at most {most} characters", most=_LONGEST_NUMBER), column)
        return text

    def factor(self, room: int) -> Sequence[Curve]:
        """One factor of the product: a preset (of one curve or more), a number, or keyframes."""
        start, stop = self.at, self.text.find(TIMES, self.at)
        name = self.text[start : stop if stop >= 0 else len(self.text)].rstrip()
        preset = find_preset(name)
        if preset:
            self.at += len(name)
            self.skip()
            return read(preset.text)
        by = self.unit()
        if by is None:
            constant = self.constant()
            if constant is not None:
                return [constant]
            if not self.text[start : start + 1] or self.text[start] in ",*:":
                raise ScheduleError(
                    say("expected a keyframe such as 0.5:1, found {found}", found=self.found()), self.column
                )
            word = self.match(_WORD)
            if word:
                names = ", ".join(PRESET_NAMES)
                raise ScheduleError(
                    say(
                        "{name} is not a schedule; write keyframes such as 0:0, 1:1, or one of: {names}",
                        name=quoted(name),
                        names=names,
                    ),
                    start + 1,
                )
        return [self.keyframes(by or "progress", room)]

    def unit(self) -> By | None:
        word = self.match(_UNIT).lower()
        return next((addressing.by for addressing in ADDRESSINGS if word in (addressing.by, addressing.by + "s")), None)

    def constant(self) -> Curve | None:
        """A number that stands alone."""
        start = self.at
        text = self.number()
        if text and self.text.startswith(",", self.at):
            raise ScheduleError(
                say("{text} has no position; write position:weight, such as 0.5:{text}", text=text), start + 1
            )
        if text and self.text[self.at : self.at + 1] in ("", TIMES):
            return Curve((Keyframe(0, _weight(text, start + 1)),))
        self.at = start
        return None

    def keyframes(self, by: By, room: int) -> Curve:
        plain = self.plain_keyframes(by, room)
        if plain is not None:
            return plain
        items = [self.item(by)]
        while self.take(","):
            if len(items) >= room:
                raise ScheduleError(
                    say(
                        "a schedule has at most {most} keyframes; this is one more",
                        most=f"{MAX_KEYFRAMES:,}",
                    ),
                    self.column,
                )
            column = self.column
            again = self.unit()
            if again not in (None, by):
                raise ScheduleError(
                    say(
                        "keyframes of one curve are all placed by the same thing; this one is by {again}, the "
                        "first by {by}",
                        again=again,
                        by=by,
                    ),
                    column,
                )
            items.append(self.item(by))
        if self.at < len(self.text) and self.text[self.at] != TIMES:
            raise ScheduleError(say("expected a comma, found {found}", found=self.found()), self.column)
        return _ranges(items, by) if any(item.until is not None for item in items) else _checked(items, by)

    def plain_keyframes(self, by: By, room: int) -> Curve | None:
        """The quick way; None, and nothing has been passed, if a keyframe is not plain or something is wrong."""
        text, at = self.text, self.at
        keyframes: list[Keyframe] = []
        while found := _PLAIN.match(text, at):
            position, weight, easing = found.groups()
            keyframes.append(Keyframe(float(position), float(weight), easing or LINEAR))
            at = found.end()
            if text[at : at + 1] != ",":
                try:
                    curve = Curve(tuple(keyframes), by)
                except ScheduleError:  # the long way knows the column
                    return None
                self.at = at
                return curve
            if len(keyframes) >= room:
                return None
            at += 1
        return None

    def item(self, by: By) -> _Item:
        column = self.column
        position = self.position(by)
        until, until_column = None, 0
        if self.take("-"):
            until_column = self.column
            until = self.position(by)
        if not self.take(":"):
            raise ScheduleError(
                say("expected : and a weight after the position, found {found}", found=self.found()), self.column
            )
        weight_column = self.column
        weight = self.number()
        if not weight:
            raise ScheduleError(say("expected a weight such as 0.7, found {found}", found=self.found()), weight_column)
        if self.take("%"):
            raise ScheduleError(
                say("weights are not percentages; write {number}", number=number(float(weight) / 100)), weight_column
            )
        value = _weight(weight, weight_column)
        easing_column = self.column
        word = self.match(_WORD)
        easing = find_easing_typed(word) if word else None
        if word and not easing:
            words = ", ".join(easing.short or easing.word for easing in EASINGS)
            raise ScheduleError(
                say("{word} is not an easing; there are {words}", word=quoted(word), words=words), easing_column
            )
        return _Item(column, position, until, until_column, value, easing.word if easing else LINEAR, easing_column)

    def position(self, by: By) -> float:
        column = self.column
        if self.text.startswith(("-", "+"), self.at):
            raise ScheduleError(say("positions have no sign"), column)
        text = self.number()
        if not text:
            raise ScheduleError(say("expected a position such as 0.5, found {found}", found=self.found()), column)
        value = _fraction(text)
        if self.take("/"):
            below_column = self.column
            below = _fraction(self.number() or "0")
            if below <= 0:
                raise ScheduleError(say("expected a number above 0 after the /"), below_column)
            value /= below
        elif self.take("%"):
            value /= 100
            if by != "progress":
                raise ScheduleError(
                    say("percentages are positions of progress; this curve goes by {by}", by=by), column
                )
        addressing = _BY[by]
        if not addressing.lowest <= value <= addressing.highest:
            raise ScheduleError(
                say("{text} is not a position: {hint}", text=quoted(text), hint=_hint(by, addressing.sentence)), column
            )
        return float(value)

    def found(self) -> str:
        return quoted(self.text[self.at : self.at + 20].split("\n")[0]) if self.at < len(self.text) else say("the end")


def _hint(by: By, sentence: str) -> str:
    return f"{sentence}; for step numbers write step 3:1" if by == "progress" else sentence


def _fraction(text: str) -> Fraction:
    """Exact, so that 30% is the same float as 0.3."""
    exponent = re.search(r"[eE]([+-]?\d+)", text)
    # Python would write the number out.
    return Fraction(10) ** 400 if exponent and abs(int(exponent[1])) > 400 else Fraction(text)


def _ranges(items: Sequence[_Item], by: By) -> Curve:
    """Keyframes for weights that hold in ranges and are 0 outside."""
    result: list[Keyframe] = []
    addressing = _BY[by]
    start = addressing.lowest if addressing.forward > 0 else None
    end = start
    for item in items:
        if item.until is None:
            raise ScheduleError(say("keyframes and ranges cannot be mixed; write this one as a range too"), item.column)
        if item.easing != LINEAR:
            raise ScheduleError(say("a range keeps its weight; it takes no easing"), item.easing_column)
        until = min(item.until + 1, addressing.highest) if by == "step" else item.until
        if addressing.forward * (until - item.position) <= 0:
            raise ScheduleError(
                say("the range ends where or before it begins ({order})", order=_order(by)), item.until_column
            )
        if end is not None and addressing.forward * (item.position - end) < 0:
            raise ScheduleError(say("the range begins before the one in front of it ends"), item.column)
        if item.position == end and result:
            result.pop()  # the 0 after the range in front
        elif item.position != end:
            result.append(Keyframe(item.position, 0))
        result += [Keyframe(item.position, item.weight, HOLD), Keyframe(until, 0)]
        end = until
        if len(result) > MAX_KEYFRAMES:
            raise ScheduleError(
                say(
                    "a schedule has at most {most} keyframes; this is one more",
                    most=f"{MAX_KEYFRAMES:,}",
                ),
                item.column,
            )
    if end == {"progress": 1, "sigma": 0}.get(by):  # up to the end of the run means with its end
        last = result[-2]
        result[-2:] = [Keyframe(last.position, last.weight)]
    return Curve(tuple(result), by)


def _weight(text: str, column: int) -> float:
    value = float(text)
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:
        raise ScheduleError(
            say(
                "the weight {text} must lie in -{limit} … {limit}",
                text=text,
                limit=f"{WEIGHT_LIMIT:g}",
            ),
            column,
        )
    return value


def _order(by: By) -> str:
    return say("sigmas fall during a run") if by == "sigma" else say("positions grow")


def _checked(items: Sequence[_Item], by: By) -> Curve:
    try:
        return Curve(tuple(Keyframe(item.position, item.weight, item.easing) for item in items), by)
    except ScheduleError as error:
        raise ScheduleError(error.reason, items[(error.keyframe or 1) - 1].column) from error
