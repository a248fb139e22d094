"""How several updates of one weight become one: added up, or by a method that lets them disturb each other less.

- TIES (Yadav et al. 2023, https://arxiv.org/abs/2306.01708): of each update only the largest numbers are kept; for each
  number the sign is chosen that has the larger sum; the mean is taken of those that have this sign.
- DARE (Yu et al. 2023, https://arxiv.org/abs/2311.03099): numbers of each update are dropped at random, the others
  divided by the share that is kept, and all added up; or brought together as in TIES (`dare-ties`).

The definitions are those of `ties`, `dare_linear` and `dare_ties` in PEFT's `peft/utils/merge_utils.py`, to which the
tests compare: signs are elected before the weights count, and all counted numbers have the same say in the mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .choices import DARE, DARE_TIES, DEFAULT_DENSITY, SUM, TIES


@dataclass(frozen=True, slots=True)
class Method:
    """A method with its settings."""

    name: str = SUM
    """Of `METHODS`."""
    density: float = DEFAULT_DENSITY
    """Share of the numbers of each update that is kept, above 0 and at most 1; not for `SUM`."""
    seed: int = 0
    """For DARE: the same seed drops the same numbers, whatever the order of the LoRAs."""

    @property
    def is_random(self) -> bool:
        """True if the seed counts."""
        return self.name in (DARE, DARE_TIES)


def joined(deltas: Sequence[Tensor], weights: Sequence[float], method: Method, layer: str) -> Tensor:
    """One update from several of the same shape at weight 1, in fp32 or fp64; they are changed.

    `layer` goes into the seed, so that layers drop different numbers.
    """
    if method.name in (DARE, DARE_TIES) and method.density < 1:
        generator = torch.Generator().manual_seed(_seed(method.seed, layer))
        for delta in deltas:
            mask = torch.bernoulli(torch.full_like(delta, method.density), generator=generator)
            delta.mul_(mask).div_(method.density)
    elif method.name == TIES and method.density < 1:
        for delta in deltas:
            _keep_largest(delta, method.density)
    if method.name in (SUM, DARE):
        return _sum(deltas, weights)
    sign = _sum(deltas, [1.0] * len(deltas))
    sign = torch.where(sign >= 0, 1, -1).to(sign.dtype)
    total, counts = torch.zeros_like(sign), torch.zeros_like(sign)
    for delta, weight in zip(deltas, weights, strict=True):
        has_it = delta.sign() == sign
        counts += has_it
        total += torch.where(has_it, delta, 0) * weight
    return total.div_(counts.clamp_min_(1))


def _sum(deltas: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = torch.zeros_like(deltas[0])
    for delta, weight in zip(deltas, weights, strict=True):
        total.add_(delta, alpha=weight)
    return total


def _keep_largest(delta: Tensor, density: float) -> None:
    sizes = delta.abs().flatten()
    count = int(density * sizes.numel())
    if count == 0:
        delta.zero_()
        return
    least = sizes.kthvalue(sizes.numel() - count + 1).values
    delta.mul_(delta.abs() >= least)


def _seed(seed: int, layer: str) -> int:
    digest = hashlib.sha256(f"{seed}:{layer}".encode()).digest()
    return int.from_bytes(digest[:7], "little")
