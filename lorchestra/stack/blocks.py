"""Weights per block: which layers a pattern means. Pure.

A pattern is words with spaces between them; a layer is meant that has all of them: `double_blocks.0-5 attn`. A word is
the name of a block or of a group of them, with numbers or ranges of numbers after a dot: `double_blocks.0-5,9`,
`input.4`, `middle`, `attn`, `mlp`, `audio`, `text_encoder`; `*` means every layer. What layers are called stands in
`architectures/blocks.py`. Where several patterns mean one layer, their factors are multiplied, so that the order in
which they stand says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import StackError, quoted

Labels = Mapping[str, int | None]
"""What one layer is called: names → its number among those of that name, or None."""

DESCRIPTION = (
    "What the weight is multiplied by in parts of the model, such as double_blocks.0-5, input.4, attn, mlp or "
    "text_encoder. Factors of several that mean one layer are multiplied."
)
"""For schemas."""
EVERY = "*"
_WORD = re.compile(
    r"(?P<name>[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)(?:\.(?P<numbers>[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*))?"
)
_MOST_WORDS = 8
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a pattern."""

    name: str
    ranges: tuple[tuple[int, int], ...] = ()
    """First and last number; empty if all are meant."""

    def means(self, labels: Labels) -> bool:
        """True for a layer that is called so."""
        if self.name == EVERY:
            return True
        if self.name not in labels:
            return False
        number = labels[self.name]
        return not self.ranges or (number is not None and any(low <= number <= high for low, high in self.ranges))


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> tuple[Word, ...]:
    """The words of a pattern; raises `ValueError`, in words, for what is none."""
    words = text.casefold().split()
    if not words or len(words) > _MOST_WORDS or len(text) > _LONGEST:
        raise ValueError(f"{quoted(text)} names no blocks; write for example double_blocks.0-5, input.4, attn or mlp")
    return tuple(_word(word, text) for word in words)


def _word(word: str, text: str) -> Word:
    if word == EVERY:
        return Word(EVERY)
    match = _WORD.fullmatch(word)
    if match is None:
        raise ValueError(f"{quoted(text)} names no blocks; write for example double_blocks.0-5, input.4, attn or mlp")
    ranges: list[tuple[int, int]] = []
    for part in (match["numbers"] or "").split(","):
        if part:
            low, _, high = part.partition("-")
            ranges.append((int(low), int(high or low)))
    backwards = next((f"{low}-{high}" for low, high in ranges if low > high), None)
    if backwards:
        raise ValueError(f"{quoted(text)}: the range {backwards} goes backwards")
    return Word(match["name"], tuple(ranges))


def means(pattern: str, labels: Labels) -> bool:
    """True if a pattern means a layer that is called so."""
    return all(word.means(labels) for word in parse_pattern(pattern))


def factor_of(blocks: Mapping[str, float], labels: Labels) -> float:
    """What a row's weight is multiplied by on a layer: the product of the factors of all patterns that mean it."""
    return math.prod(sorted(factor for pattern, factor in blocks.items() if means(pattern, labels)))


def compose(name: str, values: Sequence[float], *, numbered: bool = True) -> dict[str, float]:
    """The fewest patterns that give each block of this name its factor; 1 needs none.

    `compose("input", [0, 0, 1, 0.5])` is `{"input.0-1": 0, "input.3": 0.5}`. Where all have one factor, or they have no
    numbers, the name stands alone.
    """
    if not values or not numbered or len(set(values)) == 1:
        return {name: float(values[0])} if values and values[0] != 1 else {}
    numbers: dict[float, list[int]] = {}
    for number, value in enumerate(values):
        if value != 1:
            numbers.setdefault(float(value), []).append(number)
    return {f"{name}.{_ranges(found)}": value for value, found in numbers.items()}


def _ranges(numbers: Sequence[int]) -> str:
    """`[0, 1, 2, 5]` → `0-2,5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def check_blocks(patterns: Iterable[str], row: int) -> None:
    """Raises `StackError` for a text that is no pattern."""
    for pattern in patterns:
        try:
            parse_pattern(pattern)
        except ValueError as error:
            raise StackError(f"blocks: {error}", row) from error
