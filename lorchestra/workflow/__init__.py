"""Workflows of ComfyUI: walked to find models and words, and made APIs; the JSON Schemas of what leaves Lorchestra.

Every number in a schema comes from the code that checks it.
"""

from __future__ import annotations

from .stack_schema import stack_schema

__all__ = ["stack_schema"]
