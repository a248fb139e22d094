"""What lives as long as the process: all caches of `nodes/`, and what changes while ComfyUI runs. Nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from .protocols import Patcher

live_factors: WeakValueDictionary[object, Patcher] = WeakValueDictionary()
"""What the factors of a live stack were made of → their patcher, as long as ComfyUI keeps a model that uses it."""
