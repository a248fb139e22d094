"""Translates stacks to and from the requests of other programs, and says what is lost on the way."""

from __future__ import annotations

from .dialect import Dialect, Loss, Reading, Writing
from .parse import parse_stack, read_any
from .registry import DIALECTS, find_dialect, find_dialect_or_raise
from .write import FORMS, suffix, write_any

__all__ = [
    "DIALECTS", "FORMS", "Dialect", "Loss", "Reading", "Writing", "find_dialect", "find_dialect_or_raise",
    "parse_stack", "read_any", "suffix", "write_any",
]  # fmt: skip
