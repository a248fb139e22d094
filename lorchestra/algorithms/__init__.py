"""The adapter algorithms, one file each.

To add one: a file with a frozen dataclass of its tensors, a `check` of its shapes and a `read`, its suffixes in
`lorchestra/spelling/slots.py`, and its name in `SUPPORTED`.
"""

from __future__ import annotations

from ..spelling import slots

SUPPORTED: tuple[str, ...] = (slots.LORA,)
"""Algorithms that are applied; files with others are refused by name."""
