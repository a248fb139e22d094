"""Where in a picture a row acts: a mask, and what happens in layers that see no picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WHOLE, NOT_AT_ALL, BY_AREA = "whole", "not at all", "by area"
TEXTS = (WHOLE, NOT_AT_ALL, BY_AREA)
"""What a row does in the text encoders, and in layers whose tokens are not the picture: all, nothing, or as much as the
mask covers of the picture."""


@dataclass(frozen=True, slots=True)
class Region:
    """A mask over the picture; equal for equal masks and the same choice."""

    digest: str
    """SHA-256 of the mask's numbers and its shape."""
    text: str
    """Of `TEXTS`."""
    area: float
    """The mean of the mask, 0 … 1."""
    mask: Any
    """A tensor `[frames, height, width]`, fp32 on the CPU, 0 … 1; in pixels of any size."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Region) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> str:
        """Tells regions apart."""
        return f"{self.digest} {self.text}"

    @property
    def is_empty(self) -> bool:
        """True if the mask is 0 everywhere: the row is off."""
        return self.area == 0

    @property
    def elsewhere(self) -> float:
        """The factor of the row's weight where there is no picture."""
        return {WHOLE: 1.0, NOT_AT_ALL: 0.0}.get(self.text, self.area)
