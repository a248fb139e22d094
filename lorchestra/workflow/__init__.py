"""JSON Schemas of the values that leave Lorchestra; every number in them comes from the code that checks it."""

from __future__ import annotations

from .stack_schema import stack_schema

__all__ = ["stack_schema"]
