"""Translates stacks to and from the requests of other programs, and says what is lost on the way."""

from __future__ import annotations

from .dialect import Dialect, Loss, Place, Reading, Writing
from .parse import parse_stack, read_any, read_stack
from .registry import DIALECTS, find_dialect, find_dialect_or_raise
from .write import FORMS, find_unnamed, suffix, write_any

__all__ = [
    "DIALECTS", "FORMS", "Dialect", "Loss", "Place", "Reading", "Writing", "find_dialect", "find_dialect_or_raise",
    "find_unnamed", "parse_stack", "read_any", "read_stack", "suffix", "write_any",
]  # fmt: skip
