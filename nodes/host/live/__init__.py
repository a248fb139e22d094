"""The live path: LoRAs beside the layers of a MODEL, with weights that may change at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from ....lorchestra.apply.plan import Plan
from .. import caches, patch
from ..protocols import Clip, Patcher
from . import said
from .factors import LiveLayers, make_factors
from .packing import find_one_way, refuse_one_way_encoders
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


def apply(plan: Plan, model: Patcher, clip: Clip | None, *, merges: bool = False) -> Applied:
    """Clones of MODEL and CLIP with the plan's changes: the diffusion model's beside its layers, the rest merged.

    With `merges` all is merged, but for weights that cannot be packed again: there the LoRAs work beside the layers all
    the same. All tensors are read (and found finite, or `AdapterError` is raised) before a clone is made. Raises
    `StackError` where a packed weight can be changed in neither way.
    """
    if clip is not None:
        refuse_one_way_encoders(plan, clip.patcher)
    one_way = find_one_way(plan, model)
    if merges and not one_way:
        return Applied(*patch.apply(plan, model, clip), ())
    split = split_plan(plan, model, one_way, merges=merges)
    factors = make_factors(model, plan, split.live) if split.live else None
    model, clip = patch.apply(replace(plan, changes=split.merged), model, clip)
    if factors is not None:
        model = model.clone()
        if not all(entry.is_constant for entry in plan.entries):
            caches.turn_off(model)
        loras = LiveLoras(plan.entries, factors)
        loras.attach(model)
        said.say(model, loras.key, plan, split.live)
    if not split.live and not split.reasons:
        return Applied(model, clip, ())
    idle = () if factors is None else cast("LiveLayers", factors.model).idle
    return Applied(model, clip, (split.summary(idle), *split.notes))
