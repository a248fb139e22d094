"""What is wanted beside a layer."""

from __future__ import annotations

from dataclasses import dataclass

from ...algorithms.base import Adapter
from ...architectures.sites import Offset


@dataclass(frozen=True, slots=True)
class LiveTerm:
    """An adapter at a layer's weight or bias: one summand."""

    adapter: Adapter
    entry: int
    """Which weight of the vector is its own."""
    offset: Offset | None = None
    """Rows of a fused layer, (0, start, length); None for all of it."""
    swapped: bool = False
    """True if the file has the second half of the rows first."""
