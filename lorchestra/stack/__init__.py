"""The Stack: a list of LoRAs with weights, as frozen values; validated, added up, serialised."""

from __future__ import annotations

from .entry import BOTH, CONDITIONINGS, DEFAULT_WEIGHT, EXPERTS, HIGH, LOW, NEGATIVE, POSITIVE, Entry
from .groups import PICKS, Group, Grouping
from .rows import check_row, read_row
from .schedules import Schedules
from .stack import VERSION, Stack
from .weights import Share, Weighted

__all__ = [
    "BOTH", "CONDITIONINGS", "DEFAULT_WEIGHT", "EXPERTS", "HIGH", "LOW", "NEGATIVE", "PICKS", "POSITIVE", "VERSION",
    "Entry", "Group", "Grouping", "Schedules", "Share", "Stack", "Weighted", "check_row", "read_row",
]  # fmt: skip
