"""A stack on a MODEL and a CLIP: its files found and checked, its LoRAs merged or live."""

from __future__ import annotations

from dataclasses import dataclass

from ...lorchestra.apply.plan import Plan, make_plan
from ...lorchestra.choices import AUTO, LIVE, Choices
from ...lorchestra.sentences import say
from ...lorchestra.stack import Stack
from . import experts, files, live
from .model import live_base
from .protocols import Clip, Patcher


@dataclass(frozen=True, slots=True)
class AppliedStack:
    """What a stack made of a MODEL and a CLIP."""

    plan: Plan
    model: Patcher
    clip: Clip | None
    notes: tuple[str, ...]
    """Sentences about how it was applied."""


def plan_stack(stack: Stack, model: Patcher, clip: Clip | None, choices: Choices) -> Plan:
    """Finds and checks the files; raises `LorchestraError` for what the choices refuse."""
    base = live_base(model, clip, lambda: experts.find_listed_name(model))
    return make_plan(stack, files.row_files(files.SECONDS), base, choices)


def apply_plan(plan: Plan, model: Patcher, clip: Clip | None, mode: str) -> AppliedStack:
    """Merges the LoRAs, or lets them work beside the model's layers, as the mode says."""
    notes: list[str] = []
    reason = "" if plan.is_constant else say("a weight changes")
    if plan.is_regional:
        reason = reason or say("a row has a region")
    if mode == AUTO and not reason and live.is_quantized(plan, model):
        reason = say("the model's weights are quantized")
    if mode == AUTO and reason and plan.changes:
        notes.append(say("Live, because {reason}: the LoRAs work beside the model's layers.", reason=reason))
    is_live = mode == LIVE or (mode == AUTO and bool(reason))
    applied = live.apply(plan, model, clip, merges=not is_live)
    return AppliedStack(plan, applied.model, applied.clip, (*notes, *applied.notes))
