"""The engine behind the alias tables: from a model's native layers to the names that other tools give them.

A table is data. What it promises is checked against the model's own names and shapes: an alias comes out only when its
layer is there and its rows lie inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import NamedTuple

Shape = tuple[int, ...]

WHOLE = "whole"
SWAPPED = "halves swapped"
"""All rows, the second half first: diffusers' `norm_out.linear` gives scale, shift where others give shift, scale."""

SWAPPED_PAIR = "halves swapped, of two"
"""As `SWAPPED`, only where there are twice as many rows as inputs, so shift and scale without a gate: SD3's last
context block has two parts where the others have six in the same order as diffusers'."""

FIRST_THIRD, SECOND_THIRD, LAST_THIRD = "first third", "second third", "last third"
"""Fused q, k and v of equal size."""

FIRST_HALF, SECOND_HALF = "first half", "second half"

QUERY, KEY, VALUE = "query", "key", "value"
"""Parts of a fused q, k and v where k and v may be smaller: q has as many rows as the layer has inputs, k and v share
the rest. Example: Lumina 2's `attention.qkv [3840, 2304]` is 2304 + 768 + 768."""

LINEAR1_QUERY, LINEAR1_KEY, LINEAR1_VALUE = "linear1 query", "linear1 key", "linear1 value"
LINEAR1_QKV, LINEAR1_MLP = "linear1 qkv", "linear1 mlp"
"""Parts of Flux's `linear1`, with h inputs: q, k and v of h rows each, then the way into the MLP.
Example: `single_blocks.0.linear1 [21504, 3072]` is 3 · 3072 + 12288."""


class Rows(NamedTuple):
    """Rows of a weight (its first dimension), and of its bias."""

    start: int
    length: int
    swapped: bool = False
    """True when the other tool has the second half of these rows first."""


class Alias(NamedTuple):
    """One more name of a layer, or of a part of one."""

    foreign: str
    """Dotted, without prefix and without `.weight`."""
    native: str
    rows: Rows | None
    """None for the whole layer in its own order."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How another tool calls one kind of layer."""

    foreign: str
    """Dotted pattern, `#` for a number: `transformer_blocks.#.attn.to_q`."""
    native: str
    """As `foreign`, the numbers in the same order: `double_blocks.#.img_attn.qkv`."""
    rows: str = WHOLE
    """Which rows of the native weight are meant: one of this module's constants."""


@dataclass(frozen=True, slots=True)
class Table:
    """The names that one tool or library gives to the layers of one family of models."""

    name: str
    needs: tuple[str, ...]
    """Native layers without which the table is not for a model."""
    lacks: tuple[str, ...]
    """Native layers with which the table is not for a model; so Flux.1's table leaves Flux.2 alone."""
    rules: tuple[Rule, ...]

    def fits(self, weights: Mapping[str, Shape | None]) -> bool:
        """True when the table is for the model with these layers."""
        return all(name in weights for name in self.needs) and not any(name in weights for name in self.lacks)


def aliases(tables: Iterable[Table], weights: Mapping[str, Shape | None]) -> Iterator[Alias]:
    """The further names of a model's layers by those tables that are for it; no name twice, the first rule keeps it.

    `weights` is `native name (dotted, without .weight) → shape`, None for a packed weight whose shape is not known: its
    parts have no names then. A layer can have many names.
    """
    rules: dict[str, list[_Compiled]] = {}
    for table in tables:
        if table.fits(weights):
            for rule in table.rules:
                compiled = _compile(rule)
                rules.setdefault(compiled.outline, []).append(compiled)
    if not rules:
        return
    taken: set[str] = set()
    parts: dict[tuple[str, Shape | None], Rows | None] = {}
    for native, shape in weights.items():
        candidates = rules.get(_NUMBER.sub("#", native))
        if not candidates:
            continue
        numbers = tuple(_NUMBER.findall(native))
        for rule in candidates:
            if rule.fixed and any(numbers[index] != number for index, number in rule.fixed):
                continue
            foreign = rule.foreign % rule.free(numbers)
            if foreign in taken:
                continue
            rows = None
            if rule.rows != WHOLE:
                key = (rule.rows, shape)
                if key not in parts:
                    parts[key] = None if shape is None else part(rule.rows, shape)
                rows = parts[key]
                if rows is None:
                    continue
            taken.add(foreign)
            yield Alias(foreign, native, rows)


def part(rows: str, shape: Shape) -> Rows | None:
    """The rows that one of this module's constants means in a weight of this shape; None when they are not inside.

    Example: `KEY` in `(3840, 2304)` → `Rows(2304, 768)`.
    """
    if not shape:
        return None
    out = shape[0]
    if rows == SWAPPED:
        return Rows(0, out, swapped=True) if out % 2 == 0 else None
    if rows in _EQUAL_PARTS:
        index, count = _EQUAL_PARTS[rows]
        return Rows(index * out // count, out // count) if out % count == 0 else None
    if len(shape) < 2:
        return None
    inner = shape[1]
    if rows == SWAPPED_PAIR:
        return Rows(0, out, swapped=True) if out == 2 * inner else None
    if rows in _GROUPED:
        rest = out - inner
        if rest <= 0 or rest % 2:
            return None
        return (Rows(0, inner), Rows(inner, rest // 2), Rows(inner + rest // 2, rest // 2))[_GROUPED.index(rows)]
    if rows in _LINEAR1:
        start, stop = (inner * edge if edge is not None else out for edge in _LINEAR1[rows])
        return Rows(start, stop - start) if start < stop <= out else None
    raise ValueError(f"There is no part of a weight called {rows!r}.")


_NUMBER = re.compile("[0-9]+")
_EQUAL_PARTS = {
    FIRST_THIRD: (0, 3),
    SECOND_THIRD: (1, 3),
    LAST_THIRD: (2, 3),
    FIRST_HALF: (0, 2),
    SECOND_HALF: (1, 2),
}
_GROUPED = (QUERY, KEY, VALUE)
_LINEAR1: Mapping[str, tuple[int, int | None]] = {
    LINEAR1_QUERY: (0, 1),
    LINEAR1_KEY: (1, 2),
    LINEAR1_VALUE: (2, 3),
    LINEAR1_QKV: (0, 3),
    LINEAR1_MLP: (3, None),
}
"""Where a part starts and ends, in multiples of the layer's inputs; None is the end of the weight."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule, taken apart so that a name is matched by its numbers alone."""

    outline: str
    """The native pattern with every number, literal ones too, as `#`."""
    fixed: tuple[tuple[int, str], ...]
    """Numbers of the native pattern that must be there: (which one, its digits)."""
    free: Callable[[tuple[str, ...]], str | tuple[str, ...]]
    """Takes those of the numbers that go into the foreign name, in order."""
    foreign: str
    """The foreign pattern with `%s` for `#`."""
    rows: str


def _no_numbers(_: tuple[str, ...]) -> tuple[str, ...]:
    return ()


@cache
def _compile(rule: Rule) -> _Compiled:
    numbers: list[str] = re.findall("[0-9]+|#", rule.native)
    free = [index for index, number in enumerate(numbers) if number == "#"]
    if len(free) != rule.foreign.count("#"):
        raise ValueError(f"{rule.foreign} and {rule.native} do not have as many numbers as each other.")
    return _Compiled(
        outline=_NUMBER.sub("#", rule.native),
        fixed=tuple((index, number) for index, number in enumerate(numbers) if number != "#"),
        free=itemgetter(*free) if free else _no_numbers,
        foreign=rule.foreign.replace("#", "%s"),
        rows=rule.rows,
    )
