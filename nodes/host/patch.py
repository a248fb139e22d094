"""The merge path: a plan's changes through `ModelPatcher.add_patches`."""

from __future__ import annotations

from typing import Any

import torch
from comfy.weight_adapter.base import WeightAdapterBase

from ...lorchestra.algorithms.lora import LoRA, Term
from ...lorchestra.fuse import add_low_rank
from ...lorchestra.plan import CLIP, Plan
from ...lorchestra.spelling.prefixes import MODEL


class FusedLoras(WeightAdapterBase):
    """All LoRAs on one weight, as one patch.

    ComfyUI's dynamic VRAM mode rebuilds it as `type(v)(v.loaded_keys, v.weights)` with tensors moved, so `weights`
    holds everything: whether the model's weight is fp32, which needs exact sums, and then, for each LoRA in canonical
    order, `(up, down, mid or None, α/rank, weight)`.
    """

    name = "lorchestra"

    def __init__(self, loaded_keys: set[str], weights: tuple[bool, tuple[tuple[Any, ...], ...]]) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    def calculate_weight(
        self,
        weight: torch.Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: Any,
        function: Any,
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: Any = None,
    ) -> torch.Tensor:
        """The weight with all LoRAs added, in fp32 and rounded once.

        ComfyUI hands in a temporary, fp32 or (on GPUs, from 0.33 on) fp16. An fp16 temporary of a whole weight is
        answered with fp32, which ComfyUI then rounds to the weight's own dtype; a part of a weight (`offset`) and
        layers that are patched on the fly (there the intermediate dtype is the weight's) keep the dtype.
        """
        exact, loras = self.weights
        terms = [Term(LoRA(up, down, mid, scale), factor * strength) for up, down, mid, scale, factor in loras]
        wide = weight if weight.dtype in (torch.float32, torch.float64) else weight.float()
        add_low_rank(wide, terms, exact=exact)
        if wide is weight:
            return weight
        if offset is None and intermediate_dtype != weight.dtype:
            return wide
        return weight.copy_(wide)


def apply(plan: Plan, model: Any, clip: Any | None) -> tuple[Any, Any | None]:
    """Clones of MODEL and CLIP with the plan's changes; what has no changes comes back as it is.

    All tensors are read (and found finite, or `AdapterError` is raised) before a clone is made. The patches of other
    nodes stay as they are, before and after ours.
    """
    if not plan.changes:
        return model, clip
    patches: dict[str, dict[Any, FusedLoras]] = {MODEL: {}, CLIP: {}}
    weights = {MODEL: model.model_state_dict(), CLIP: {} if clip is None else clip.patcher.model_state_dict()}
    for change, parts in plan.changes.items():
        terms = [part.term() for part in parts]
        loras = tuple((t.lora.up, t.lora.down, t.lora.mid, t.lora.scale, t.weight) for t in terms)
        exact = weights[change.component][change.key].dtype in (torch.float32, torch.float64)
        target = change.key if change.offset is None else (change.key, change.offset)
        patches[change.component][target] = FusedLoras({part.module.name for part in parts}, (exact, loras))
    if patches[MODEL]:
        model = model.clone()
        model.add_patches(patches[MODEL])
    if clip is not None and patches[CLIP]:
        clip = clip.clone()
        clip.add_patches(patches[CLIP])
    return model, clip
