"""Many names of tensors as few patterns, and back, for data files that people can read and compare.

A pattern is a name with numbers in brackets and words in braces:
`double_blocks.[0-18].{img_attn,txt_attn}.qkv.weight` stands for 38 names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, product

Shape = tuple[int, ...]

_CHOICE = re.compile(r"\{([^}]*)\}|\[([^\]]*)\]")
_RESERVED = re.compile(r"[][{},]")

_Part = tuple[str, ...]
"""What may stand at one place of a name."""
_Row = tuple[_Part, ...]
"""Two places for each segment between dots, its word and the number at its end: `block12` is (`block`, `12`), `to_q` is
(`to_q`, no number)."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names of tensors that have one shape."""

    text: str
    shape: Shape

    def names(self) -> Iterator[str]:
        """All names, the last choice changing fastest."""
        return expand(self.text)

    def items(self) -> Iterator[tuple[str, Shape]]:
        """All names, each with the shape."""
        return ((name, self.shape) for name in expand(self.text))


def expand(text: str) -> Iterator[str]:
    """All names that a pattern stands for, the last choice changing fastest.

    Example: `a.[0-1].{q,k}` → `a.0.q`, `a.0.k`, `a.1.q`, `a.1.k`.
    """
    choices: list[Iterable[str]] = []
    start = 0
    for match in _CHOICE.finditer(text):
        words, numbers = match.groups()
        choices.append((text[start : match.start()],))
        choices.append(words.split(",") if words is not None else _count(numbers))
        start = match.end()
    if not choices:
        return iter((text,))
    choices.append((text[start:],))
    return map("".join, product(*choices))


def _count(text: str) -> Iterator[str]:
    for run in text.split(","):
        first, _, last = run.partition("-")
        yield from map(str, range(int(first), int(last or first) + 1))


def compact(shapes: Mapping[str, Shape]) -> tuple[Pattern, ...]:
    """Patterns that stand for exactly these names, each once; sorted by text and independent of the mapping's order.

    Raises ValueError for names with brackets, braces or commas, which a pattern cannot say.
    """
    by_shape: dict[Shape, list[str]] = {}
    for name, shape in shapes.items():
        by_shape.setdefault(shape, []).append(name)
    patterns = (Pattern(text, shape) for shape, names in by_shape.items() for text in compact_names(names))
    return tuple(sorted(patterns, key=lambda pattern: (pattern.text, pattern.shape)))


def compact_names(names: Iterable[str]) -> tuple[str, ...]:
    """Patterns that stand for exactly these names, each once; sorted; ValueError as in `compact`."""
    rows: list[_Row] = []
    for name in sorted(set(names)):
        if _RESERVED.search(name):
            raise ValueError(f"{name!r} cannot be written as a pattern: it has brackets, braces or commas.")
        rows.append(tuple((part,) for segment in name.split(".") for part in _parts(segment)))
    # neither direction is the shorter one for all models
    both = (_merge(rows, backward=True), _merge(rows, backward=False))
    return tuple(sorted(map(_text, min(both, key=len))))


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as a pattern writes them: 0, 1, 2, 5 → `[0-2,5]`; one alone → `5`."""
    ordered = sorted(set(numbers))
    if len(ordered) == 1:
        return str(ordered[0])
    runs: list[str] = []
    for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return "[" + ",".join(runs) + "]"


def _parts(segment: str) -> tuple[str, str]:
    word = segment.rstrip("0123456789")
    number = segment[len(word) :]
    # `007` would not come back from a range as it was
    return (segment, "") if len(number) > 1 and number[0] == "0" else (word, number)


def _merge(rows: list[_Row], *, backward: bool) -> list[_Row]:
    """Joins rows that differ at one place only, place by place, until nothing joins any more."""
    before = -1
    while len(rows) != before:
        before = len(rows)
        places = range(max(map(len, rows), default=0))
        for place in reversed(places) if backward else places:
            groups: dict[tuple[_Row, _Row], set[str]] = {}
            joined: list[_Row] = []
            for row in rows:
                if place >= len(row) or row[place] == ("",):  # an empty word or number is no choice
                    joined.append(row)
                else:
                    groups.setdefault((row[:place], row[place + 1 :]), set()).update(row[place])
            for (head, tail), options in groups.items():
                joined.append((*head, tuple(sorted(options, key=lambda text: (len(text), text))), *tail))
            rows = joined
    return rows


def _text(row: _Row) -> str:
    return ".".join(_words(words) + _numbers(numbers) for words, numbers in zip(row[::2], row[1::2], strict=True))


def _words(words: _Part) -> str:
    return words[0] if len(words) == 1 else "{" + ",".join(sorted(words)) + "}"


def _numbers(numbers: _Part) -> str:
    return "" if numbers == ("",) else ranges(map(int, numbers))
