"""What a measured balance says, as data; sentences are made from it at the edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .balance import Balance, Group

DOMINATES = 2.0
"""A LoRA dominates that is so many times as strong as the next one."""
HARDLY = 0.05
"""A LoRA hardly does anything that has less than this share of the strongest one's strength."""
COMPETES = 0.2
"""Cosine from which on two LoRAs do the same work. Those of unrelated LoRAs lie near 0."""
OPPOSES = -0.1
"""Cosine from which down two LoRAs undo each other's work."""
_MOST_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Dominating:
    """One LoRA is much stronger than all others."""

    lora: int
    times: float
    """As strong as the next one."""

    def sentence(self, balance: Balance) -> str:
        """For people."""
        where = " where it is loaded" if balance.loras[self.lora].is_before else ""
        return (
            f"{named(balance, self.lora)} dominates: it is {self.times:.1f} times as strong as the next one. Lower its "
            f"weight{where}, or raise the others'."
        )


@dataclass(frozen=True, slots=True)
class Weak:
    """A LoRA that hardly does anything."""

    lora: int
    share: float
    """Of the strongest one's strength."""
    weight: float
    """The larger of its two weights."""
    unit: float
    """The strength of its update at weight 1, against the strongest one's."""

    def sentence(self, balance: Balance) -> str:
        """For people."""
        what = (
            f"{named(balance, self.lora)} hardly does anything: it has {self.share:.1%} of the strongest one's strength"
        )
        if self.unit >= HARDLY:
            return f"{what}, because its weight is {self.weight:g}. Raise it, or {_off(balance, self.lora)}."
        return (
            f"{what}; at weight 1 its update is still small. It was trained little, or its alpha was lost; "
            "`lorchestra inspect` shows its scale."
        )


@dataclass(frozen=True, slots=True)
class Unchanging:
    """A LoRA whose update is 0 in all layers that are counted."""

    lora: int

    def sentence(self, balance: Balance) -> str:
        """For people."""
        off = _off(balance, self.lora)
        return f"{named(balance, self.lora)} changes nothing: its update is 0 everywhere. {off[0].upper()}{off[1:]}."


@dataclass(frozen=True, slots=True)
class Competing:
    """Two LoRAs whose updates point the same way, or against each other."""

    first: int
    second: int
    cosine: float
    blocks: tuple[str, ...]
    """Where it is most so, strongest first."""

    def sentence(self, balance: Balance) -> str:
        """For people."""
        both = f"{named(balance, self.first)} and {named(balance, self.second)}"
        where = f", most of all in {' and '.join(_listed(self.blocks))}" if self.blocks else ""
        if self.cosine > 0:
            return (
                f"{both} do the same work (cosine {self.cosine:.2f}){where}. Together they are stronger than they look."
            )
        return f"{both} undo each other's work (cosine {self.cosine:.2f}){where}."


Finding = Dominating | Weak | Unchanging | Competing


def find(balance: Balance, weights: Tensor | None = None) -> list[Finding]:
    """What is worth saying, at the rows' weights or at others (`[count, 2]`)."""
    if not balance.loras:
        return []
    weights = balance.weights() if weights is None else weights
    strengths = [float(strength) for strength in balance.strengths(weights)]
    units = [float(unit) for unit in balance.strengths(torch.ones_like(weights))]
    result: list[Finding] = [Unchanging(lora) for lora, unit in enumerate(units) if unit == 0]
    top, most = max(strengths), max(units)
    first = strengths.index(top)
    second = max((strength for lora, strength in enumerate(strengths) if lora != first), default=0.0)
    if second > 0 and top >= DOMINATES * second:
        result.append(Dominating(first, top / second))
    for lora, (strength, unit) in enumerate(zip(strengths, units, strict=True)):
        if unit > 0 and strength < HARDLY * top:
            result.append(Weak(lora, strength / top, float(weights[lora].abs().max()), unit / most))
    return [*result, *_competing(balance, weights)]


def _competing(balance: Balance, weights: Tensor) -> list[Competing]:
    cosines = balance.cosines(weights=weights)
    found = [
        Competing(i, j, float(cosines[i, j]), _where(balance, weights, i, j))
        for i in range(len(cosines))
        for j in range(i + 1, len(cosines))
        if cosines[i, j] >= COMPETES or cosines[i, j] <= OPPOSES
    ]
    return sorted(found, key=lambda pair: -abs(pair.cosine))


def _where(balance: Balance, weights: Tensor, i: int, j: int) -> tuple[str, ...]:
    """The blocks with the largest part of the product of both, if they do not all have about the same."""

    def product(groups: Sequence[Group]) -> float:
        return abs(float(balance.gram(weights, groups)[i, j]))

    parts = {block: product(groups) for block, groups in balance.blocks().items()}
    total = sum(parts.values())
    most = sorted(parts, key=lambda block: -parts[block])[:_MOST_BLOCKS]
    return tuple(block for block in most if len(parts) > 1 and parts[block] > 2 * total / len(parts))


def named(balance: Balance, lora: int) -> str:
    """A LoRA as it is called: the file's name without its folder and ending."""
    item = balance.loras[lora]
    name = item.name.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors")
    return f"{name} (before this node)" if item.is_before else name


def _off(balance: Balance, lora: int) -> str:
    """What to do about one that is not wanted."""
    return "take it out where it is loaded" if balance.loras[lora].is_before else "switch the row off"


def _listed(blocks: Sequence[str]) -> list[str]:
    return [", ".join(blocks[:-1]), blocks[-1]] if len(blocks) > 1 else list(blocks)
