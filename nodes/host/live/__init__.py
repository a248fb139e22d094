"""The live path: LoRAs beside the layers of a MODEL, with weights that may change at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from ....lorchestra.apply.plan import Plan
from .. import patch
from ..protocols import Clip, Patcher
from .factors import LiveLayers, make_factors
from .runs import LiveLoras
from .split import is_quantized, split_plan

__all__ = ["Applied", "apply", "is_quantized"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a plan made of a MODEL and a CLIP."""

    model: Patcher
    clip: Clip | None
    notes: tuple[str, ...]
    """What became of the model's layers, and sentences about what the live path cannot do and was merged instead."""


def apply(plan: Plan, model: Patcher, clip: Clip | None) -> Applied:
    """Clones of MODEL and CLIP with the plan's changes: the diffusion model's beside its layers, the rest merged.

    All tensors are read (and found finite, or `AdapterError` is raised) before a clone is made.
    """
    split = split_plan(plan, model)
    factors = make_factors(model, plan, split.live) if split.live else None
    model, clip = patch.apply(replace(plan, changes=split.merged), model, clip)
    if factors is not None:
        model = model.clone()
        LiveLoras(plan.entries, factors).attach(model)
    if not split.live and not split.reasons:
        return Applied(model, clip, ())
    idle = () if factors is None else cast("LiveLayers", factors.model).idle
    return Applied(model, clip, (split.summary(idle), *split.notes))
