"""What is wanted beside a layer."""

from __future__ import annotations

from dataclasses import dataclass

from ...algorithms.base import Adapter
from ...architectures.sites import WHOLE, Place


@dataclass(frozen=True, slots=True)
class LiveTerm:
    """An adapter at a layer's weight or bias: one summand."""

    adapter: Adapter
    entry: int
    """Which weight of the vector is its own."""
    place: Place = WHOLE
    """All of the weight, or rows of a fused layer."""
