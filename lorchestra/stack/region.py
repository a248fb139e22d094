"""Where in a picture a row acts: a mask, and what happens in layers that see no picture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import StackError, quoted
from ..sentences import say

if TYPE_CHECKING:
    from torch import Tensor

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
    mask: Tensor
    """`[frames, height, width]`, fp32 on the CPU, 0 … 1; in pixels of any size."""

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


def read_region(mask: object, text: str) -> tuple[Region, bool]:
    """(the region of a mask, True if numbers beyond 0 … 1 were cut off).

    The mask is a tensor `[frames, height, width]` or `[height, width]`. Raises `StackError` for anything else, for one
    without a pixel, and for one with NaN or infinity.
    """
    import torch

    if text not in TEXTS:
        raise StackError(f"text is {quoted(text)}; expected one of {', '.join(TEXTS)}")
    if not isinstance(mask, torch.Tensor) or mask.dim() not in (2, 3) or mask.is_complex():
        what = list(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise StackError(
            say("The mask is {what}; expected a MASK of [frames, height, width]. Connect the output of a mask node.",
                what=what)
        )  # fmt: skip
    pixels = mask.detach().to("cpu", torch.float32)
    pixels = pixels[None] if pixels.dim() == 2 else pixels
    if pixels.numel() == 0:
        raise StackError(say("The mask has no pixels, its shape is {shape}. Make another one.", shape=list(mask.shape)))
    if not bool(torch.isfinite(pixels).all()):
        raise StackError(say("The mask has NaN or infinity in it. Make it anew: a mask is numbers from 0 to 1."))
    kept = pixels.clamp(0, 1).contiguous()
    digest = hashlib.sha256(f"{list(kept.shape)}".encode() + kept.numpy().tobytes()).hexdigest()
    return Region(digest, text, float(kept.double().mean()), kept), not torch.equal(kept, pixels)
