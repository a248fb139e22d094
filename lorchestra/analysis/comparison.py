"""The stacks of a comparison: what a picture looks like without LoRAs, with each of them, at other weights.

Each of them is a plain stack, so that its picture is the one that the same rows make by themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..choices import COMPARISONS, EACH_ALONE, EACH_LEFT_OUT, TWO_ROWS, WEIGHTS_OF_A_ROW
from ..errors import LorchestraError, quoted
from ..exchange.names import stem
from ..limits import WEIGHT_LIMIT
from ..stack import Entry, Stack

KINDS = COMPARISONS
WITHOUT, ALL = "without", "all"
"""Labels of the stack without rows, and of the one with all rows that are on."""
MOST = 100
"""Most variants of a comparison in one run."""
_MOST_TEXT = 2000
_UNCLEAR = re.compile(r"(?<![\d.,])[+-]?\d+,\d+(?![\d.])")


@dataclass(frozen=True, slots=True)
class Variant:
    """One stack of a comparison, and what its picture is called."""

    label: str
    stack: Stack


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared: a stack without LoRAs, then a table of variants, row after row."""

    variants: tuple[Variant, ...]
    """`1 + len(rows) * len(columns)`; the first one is the stack without LoRAs, with which others are compared."""
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """[""] if the table has one row."""


def compare(
    stack: Stack,
    kind: str,
    row: int = 1,
    weights: Sequence[float] = (),
    second_row: int = 2,
    second_weights: Sequence[float] = (),
    most: int = MOST,
) -> Comparison:
    """The variants of a stack: of `KINDS`, with rows by their numbers from 1, and with weights for the model.

    `each alone` takes every row that is on by itself, at its own weight or at each of `weights`, and then all rows
    together. Rows that are off are left out, but for `row` and `second_row`, which are taken as on. A clip weight of a
    row's own is changed in proportion. Raises `LorchestraError` for a row that is not there, weights that lack, and
    more than `most` variants.
    """
    if kind not in KINDS:
        raise LorchestraError(f"the kind of comparison is {quoted(kind)}; expected one of {', '.join(KINDS)}")
    numbers = [number for number, entry in stack.rows if entry.active]
    names = _Names(stack)
    if kind in (WEIGHTS_OF_A_ROW, TWO_ROWS):
        _need_row(stack, row, "row")
        _need_weights(weights, "weights")
    elif not numbers:
        raise LorchestraError("there is no LoRA to compare: the stack is empty, or all its rows are off")
    if kind == EACH_ALONE:
        shape = (len(numbers), len(weights)) if weights else (1, len(numbers) + (len(numbers) > 1))
    elif kind == EACH_LEFT_OUT:
        shape = (1, len(numbers) + 1)
    elif kind == WEIGHTS_OF_A_ROW:
        shape = (1, len(weights))
    else:
        _need_row(stack, second_row, "second_row")
        _need_weights(second_weights, "second_weights")
        if row == second_row:
            raise LorchestraError(f"row and second_row are both {row}; two rows are crossed")
        shape = (len(second_weights), len(weights))
    count = 1 + shape[0] * shape[1]
    if count > most:  # before any is made: there may be millions
        raise LorchestraError(
            f"this would be {count:,} variants, the one without LoRAs included; at most {most:,} are made. "
            "Take fewer rows or weights" + (", or raise the limit" if count <= MOST else "")
        )
    off = tuple(replace(entry, on=False) for entry in stack.entries)
    without = Variant(WITHOUT, replace(stack, entries=()))
    if kind == EACH_ALONE and weights:
        made = [
            Variant(f"{names.of(number)} {weight:g}", _with(stack, off, {number: weight}, [number]))
            for number, weight in product(numbers, weights)
        ]
        columns = tuple(f"{weight:g}" for weight in weights)
        return Comparison((without, *made), columns, tuple(names.of(number) for number in numbers))
    if kind == EACH_ALONE:
        made = [Variant(names.weighted(number), _with(stack, off, {}, [number])) for number in numbers]
        if len(numbers) > 1:
            made.append(Variant(ALL, _with(stack, off, {}, numbers)))
    elif kind == EACH_LEFT_OUT:
        made = [Variant(ALL, _with(stack, off, {}, numbers))]
        made += [
            Variant(f"without {names.of(number)}", _with(stack, off, {}, [one for one in numbers if one != number]))
            for number in numbers
        ]
    elif kind == WEIGHTS_OF_A_ROW:
        made = [
            Variant(f"{names.of(row)} {weight:g}", _with(stack, off, {row: weight}, [*numbers, row]))
            for weight in weights
        ]
    else:
        first, second = names.of(row), names.of(second_row)
        made = [
            Variant(
                f"{first} {one:g}, {second} {two:g}",
                _with(stack, off, {row: one, second_row: two}, [*numbers, row, second_row]),
            )
            for two, one in product(second_weights, weights)
        ]
        return Comparison(
            (without, *made),
            tuple(f"{first} {weight:g}" for weight in weights),
            tuple(f"{second} {weight:g}" for weight in second_weights),
        )
    return Comparison((without, *made), tuple(variant.label for variant in made), ("",))


def read_weights(text: str, what: str) -> tuple[float, ...]:
    """Weights in -100 … 100 as somebody wrote them, with commas, semicolons or spaces between.

    Raises `LorchestraError`, which says `what` they are for; also for `0,5`, which may be one weight or two.
    """
    if len(text) > _MOST_TEXT:
        raise LorchestraError(f"{what} has more than {_MOST_TEXT:,} characters")
    unclear = _UNCLEAR.search(text)
    if unclear:
        both = unclear[0]
        one, two = both.replace(",", "."), both.replace(",", ", ")
        raise LorchestraError(f"{what}: {both} may be {one}, or {two}; write a point, or a space after the comma")
    found: list[float] = []
    for word in re.split(r"[\s,;]+", text.strip()):
        if not word:
            continue
        try:
            weight = float(word)
        except ValueError:
            raise LorchestraError(f"{what}: {quoted(word)} is not a number; write them as 0.5, 0.75, 1") from None
        if not math.isfinite(weight) or abs(weight) > WEIGHT_LIMIT:
            raise LorchestraError(f"{what}: {word} is not a weight; they lie in -100 to 100")
        found.append(weight)
    return tuple(found)


class _Names:
    """What rows are called: the file without folder and ending, and its number where two are called so."""

    def __init__(self, stack: Stack) -> None:
        self._entries = stack.entries
        self._names = [stem(entry.lora) or entry.lora for entry in self._entries]

    def of(self, number: int) -> str:
        name = self._names[number - 1]
        return f"{name} (row {number})" if self._names.count(name) > 1 else name

    def weighted(self, number: int) -> str:
        entry = self._entries[number - 1]
        return f"{self.of(number)} {entry.model:g}"


def _need_row(stack: Stack, number: int, what: str) -> None:
    if not 1 <= number <= len(stack.entries):
        rows = f"the stack has {len(stack.entries)} rows" if len(stack.entries) != 1 else "the stack has 1 row"
        raise LorchestraError(f"{what} is {number}; {rows}")


def _need_weights(weights: Sequence[float], what: str) -> None:
    if not weights:
        raise LorchestraError(f"{what} is empty; write the weights to compare, such as 0.5, 0.75, 1")


def _with(stack: Stack, off: Sequence[Entry], weights: dict[int, float], numbers: Sequence[int]) -> Stack:
    """The stack with these rows alone on, at these weights; `off` are all of its rows as they are when they are off.

    All rows stay, so that errors count them as people do.
    """
    entries = list(off)
    for number in numbers:
        entries[number - 1] = _weighted(stack.entries[number - 1], weights.get(number))
    return replace(stack, entries=tuple(entries))


def _weighted(entry: Entry, weight: float | None) -> Entry:
    if weight is None:
        return entry
    clip = entry.clip
    if clip is not None and entry.model:
        clip = max(min(clip * weight / entry.model, WEIGHT_LIMIT), -WEIGHT_LIMIT)
    return replace(entry, on=True, model=weight, clip=clip)
