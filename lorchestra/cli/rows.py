"""LoRAs with weights as a command is given them: `FILE=0.7`, `FILE=0.7:0.3`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..errors import StackError
from ..stack import Entry, Stack
from ..stack.rows import check_row

FORM = "FILE=WEIGHT[:CLIP]"


def read_rows(texts: Sequence[str], option: str) -> Stack:
    """A row for each text, named as `option` in errors; raises `StackError`, which names the row."""
    return Stack(tuple(_entry(text, row, f"{option}{text!r}") for row, text in enumerate(texts, 1)))


def _entry(text: str, row: int, said: str) -> Entry:
    file, equals, weights = text.rpartition("=")
    if not equals or not file:
        raise StackError(f"{said} has no weight; write FILE=0.7 or FILE=0.7:0.3", row)
    model, colon, clip = weights.partition(":")
    entry = Entry(file, model=_number(model, said, row), clip=_number(clip, said, row) if colon else None)
    check_row(replace(entry, lora="a file"), row)  # any name that a file has will do
    return entry


def _number(text: str, said: str, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise StackError(f"{said}: {text!r} is not a number", row) from None
    if math.isnan(value):
        raise StackError(f"{said}: the weight is not a number", row)
    return value
