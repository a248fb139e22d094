"""From a mask to a region."""

from __future__ import annotations

import hashlib

import torch

from ...errors import StackError, quoted
from ...sentences import say
from ...stack.region import TEXTS, Region


def read_region(mask: object, text: str) -> tuple[Region, bool]:
    """(the region of a mask, True if numbers beyond 0 … 1 were cut off).

    The mask is a tensor `[frames, height, width]` or `[height, width]`. Raises `StackError` for anything else, for one
    without a pixel, and for one with NaN or infinity.
    """
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
