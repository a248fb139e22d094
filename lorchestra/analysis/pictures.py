"""How far pictures are from another one: as numbers, and as pictures of the differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ..errors import LorchestraError

if TYPE_CHECKING:
    import torch

_WINDOW = 11
"""Side of the window in which structures are compared, in pixels; as in the paper of SSIM."""


@dataclass(frozen=True, slots=True)
class Difference:
    """From one picture to another, over all pictures of their batches."""

    mean: float
    """Mean absolute difference of the colours, 0 … 1 of their range."""
    perceptual: float | None
    """1 - SSIM (Wang et al., 2004), by kornia: 0 for the same structures, about 1 for unrelated ones; None if it cannot
    be measured: kornia is not there, or the picture is smaller than its window."""


def differ(picture: torch.Tensor, first: torch.Tensor) -> Difference | None:
    """How far a batch of pictures is from another; None if they differ in size or number.

    Both are of shape [pictures, height, width, channels], with values 0 … 1; of the channels the first three count.
    """
    one, other = picture[..., :3].float(), first[..., :3].float()
    if one.shape != other.shape or not one.numel():
        return None
    return Difference(float((one - other).abs().mean()), _perceptual(one, other))


def _perceptual(one: torch.Tensor, other: torch.Tensor) -> float | None:
    if min(one.shape[1:3]) < _WINDOW:
        return None
    try:
        metrics = import_module("kornia.metrics")  # large: loaded when it is needed
    except ImportError:
        return None
    ssim = cast("Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]", metrics.ssim)
    return 1 - float(ssim(one.movedim(-1, 1), other.movedim(-1, 1), _WINDOW).mean())


def to_bytes(picture: torch.Tensor) -> bytes:
    """A picture of shape [height, width, channels], 0 … 1, as RGB bytes; grey becomes RGB, NaN black."""
    if picture.ndim != 3 or not picture.numel():
        raise LorchestraError(f"a picture has the shape {list(picture.shape)}; expected [height, width, channels]")
    channels = picture[..., :1].expand(-1, -1, 3) if picture.shape[-1] < 3 else picture[..., :3]
    return bytes((channels.float().nan_to_num(0) * 255).round().clamp(0, 255).byte().cpu().contiguous().numpy())


def difference_maps(pictures: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], float]:
    """For each picture, where it differs from the first one, as a picture in grey: white is the largest difference of
    all; and that difference, 0 … 1. One of another size than the first is black."""
    import torch

    first = pictures[0][..., :3].float()
    maps = [
        (one[..., :3].float() - first).abs().mean(-1, keepdim=True) if one.shape[:2] == first.shape[:2]
        else torch.zeros(*one.shape[:2], 1)
        for one in pictures
    ]  # fmt: skip
    most = max(float(one.nan_to_num(0).max()) for one in maps)
    return [(one / most if most else one).expand(-1, -1, 3) for one in maps], most
