"""Suggested weights for a measured stack, each by one rule that can be said in a sentence.

Signs stay. Rows that do nothing keep their weight; so do all where there is nothing to suggest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .balance import Balance

EQUAL, TOTAL, INTERFERENCE = "equal", "total", "interference"

USUAL_WEIGHT = 0.75
"""What one LoRA is mostly used at."""
_MOST_LOWERED, _MOST_RAISED = 0.25, 2.0
"""Of a row's weight: at least so much stays where others do its work, and so much is given where they undo it."""
_UNDONE = 0.02
"""Of √Σ‖sᵢΔᵢ‖²: LoRAs that are together weaker than that undo each other, and "together as strong as" says nothing."""
HIGHEST = 2.0
"""No weight is suggested above it that is not above it already: pictures break."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule for weights."""

    id: str
    rule: str
    """What it does, in a sentence for people."""
    find: Callable[[Balance], Tensor]
    """`[count]`: what each row's weights are multiplied by."""


def suggested(balance: Balance, suggestion: Suggestion) -> Tensor:
    """`[count, 2]`: the weights for the diffusion model and the text encoders; what is before the rows stays."""
    own, rows = balance.weights(), balance.rows()
    if not rows:
        return own
    factors = torch.ones_like(own[:, 0])
    factors[rows] = suggestion.find(balance)[rows]
    most = own.abs().clamp_min(HIGHEST)
    return (own * factors[:, None]).clamp(-most, most)


def _equal(balance: Balance) -> Tensor:
    """All as strong as each other, and all together as strong as they are."""
    return _of_rows(balance, _equal_rows)


def _equal_rows(balance: Balance) -> Tensor:
    strengths = balance.strengths()
    counted = strengths > 0
    factors = torch.where(counted, strengths.mean() / strengths, 1)
    total = _total(balance, factors)
    if _is_undone(balance, factors):
        return factors
    if _is_undone(balance, torch.ones_like(factors)):
        return torch.ones_like(factors)
    return torch.where(counted, factors * (_total(balance, torch.ones_like(factors)) / total), 1)


def _keep_total(balance: Balance) -> Tensor:
    """All together as strong as one of them is at the usual weight: of each as much as it has of the strength now."""
    return _of_rows(balance, _keep_total_of_rows)


def _keep_total_of_rows(balance: Balance) -> Tensor:
    strengths = balance.strengths()
    signs = balance.weights().sign()
    alone = balance.strengths(torch.where(signs == 0, 1, signs) * USUAL_WEIGHT)
    own = _total(balance, torch.ones_like(alone))
    if _is_undone(balance, torch.ones_like(alone)):
        return torch.ones_like(alone)
    return torch.where(strengths > 0, (strengths * alone).sum() / strengths.sum() / own, 1)


def _less_interference(balance: Balance) -> Tensor:
    """What the others add in a row's direction is taken off it, what they undo is given back, within bounds.

    With factors f, the part of Σ fⱼ·sⱼΔⱼ along each sᵢΔᵢ is as large as of sᵢΔᵢ alone: Σⱼ ⟨sᵢΔᵢ, sⱼΔⱼ⟩ fⱼ = ‖sᵢΔᵢ‖²,
    the minimum of ½·fᵀGf − fᵀdiag(G), which is found by projected gradients from f = 1: rows alike stay alike.
    """
    strengths, cosines = balance.strengths(), balance.cosines()
    is_row = torch.tensor([not item.is_before for item in balance.loras])
    least = torch.where(is_row, strengths * _MOST_LOWERED, strengths)
    most = torch.where(is_row, strengths * _MOST_RAISED, strengths)
    step = 1 / cosines.abs().sum(1).max().clamp_min(1)
    lengths = strengths
    for _ in range(_STEPS):
        lengths = lengths - step * (cosines @ lengths - strengths)
        lengths = torch.minimum(torch.maximum(lengths, least), most)
    return torch.where(strengths > 0, lengths / strengths, 1)


_STEPS = 500


def _of_rows(balance: Balance, find: Callable[[Balance], Tensor]) -> Tensor:
    """What a rule finds for the rows, as if nothing had come before them."""
    rows, factors = balance.rows(), torch.ones(len(balance.loras), dtype=torch.float64)
    factors[rows] = find(balance.only(rows))
    return factors


def _total(balance: Balance, factors: Tensor) -> float:
    """‖Σ fᵢ·sᵢΔᵢ‖."""
    return math.sqrt(max(float(factors @ balance.gram() @ factors), 0.0))


def _is_undone(balance: Balance, factors: Tensor) -> bool:
    """Whether the rows undo each other with these factors; also where none does anything."""
    return _total(balance, factors) <= _UNDONE * math.sqrt(float((factors * balance.strengths()).square().sum()))


SUGGESTIONS: tuple[Suggestion, ...] = (
    Suggestion(EQUAL, "All LoRAs as strong as each other; together as strong as now.", _equal),
    Suggestion(TOTAL, f"Together as strong as one of them at {USUAL_WEIGHT:g}; their proportions stay.", _keep_total),
    Suggestion(
        INTERFERENCE, "Where LoRAs do the same, each is lowered by what the others add to it.", _less_interference
    ),
)
"""To add one: a row here, and its words where the face shows it."""
