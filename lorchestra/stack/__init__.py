"""The Stack: a list of LoRAs with weights, as frozen values; validated, added up, serialised."""

from __future__ import annotations

from .stack import (
    BOTH,
    CONDITIONINGS,
    DEFAULT_WEIGHT,
    EXPERTS,
    HIGH,
    LOW,
    MAX_DEPTH,
    MAX_NAME,
    MAX_ROWS,
    MAX_TEXT,
    NEGATIVE,
    POSITIVE,
    VERSION,
    WEIGHT_LIMIT,
    Entry,
    Json,
    Stack,
    Weighted,
)

__all__ = [
    "BOTH", "CONDITIONINGS", "DEFAULT_WEIGHT", "EXPERTS", "HIGH", "LOW", "MAX_DEPTH", "MAX_NAME", "MAX_ROWS",
    "MAX_TEXT", "NEGATIVE", "POSITIVE", "VERSION", "WEIGHT_LIMIT", "Entry", "Json", "Stack", "Weighted",
]  # fmt: skip
