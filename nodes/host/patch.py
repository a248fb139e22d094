"""The merge path: a plan's changes through `ModelPatcher.add_patches`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import comfy.model_management
import torch
from comfy.weight_adapter.base import WeightAdapterBase

from ...lorchestra.algorithms import pack, unpack
from ...lorchestra.apply.fuse import Parts, Term, add_updates, padded_shape
from ...lorchestra.apply.plan import CLIP, Plan, by_offset
from ...lorchestra.architectures.sites import Offset
from ...lorchestra.lora.cache import OpenLora
from ...lorchestra.spelling.prefixes import MODEL
from . import caches
from .protocols import Clip, Patcher

Packed = tuple[tuple[Offset | None, tuple[tuple[tuple[object, ...], float, bool, bool, int], ...]], ...]
"""What `FusedLoras` holds."""


class FusedLoras(WeightAdapterBase):
    """All LoRAs on one weight or bias, and on parts of it, as one patch.

    ComfyUI's dynamic VRAM mode rebuilds it as `type(v)(v.loaded_keys, v.weights)` with tensors moved, so `weights`
    holds everything as tuples of tensors, numbers and text: for each part of the model's weight, the offset (None for
    the whole) and, for each LoRA in canonical order, the packed adapter, its weight, whether its rows are swapped,
    whether they are columns, and of how many heads they are if they stand head by head.
    """

    name = "lorchestra"

    def __init__(self, loaded_keys: set[str], weights: Packed, files: Sequence[OpenLora] = ()) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights
        self._files = files
        """Of each LoRA in `weights`; held as long as the patch is there, so that the next weight that is tried finds
        their tensors read. Empty in what ComfyUI rebuilt."""

    def calculate_shape(self, key: str) -> tuple[int, ...] | None:
        """The shape that the weight grows to; None if it stays as it is. ComfyUI asks from 0.33 on."""
        return padded_shape(self._parts(1.0))

    def calculate_weight(
        self,
        weight: torch.Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: Offset | None,
        function: Callable[[torch.Tensor], torch.Tensor],
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The weight with all LoRAs added, in fp32 and rounded once; `strength` multiplies them all.

        Products are fp32 for an fp32 weight, too: fp64 would take twice the time, and the error of the sum is below
        that of the chain of loaders that ComfyUI has for it.

        Algorithms that depend on the weight (DoRA, GLoRA, OFT, …) take the one that arrives: with the patches that
        other nodes put before ours, and without those after.

        ComfyUI hands in a temporary, fp32 or (on GPUs, from 0.33 on) fp16. An fp16 temporary is answered with fp32,
        which ComfyUI then rounds to the weight's own dtype; layers that are patched on the fly (there the intermediate
        dtype is the weight's) keep the dtype.
        """
        wide = weight if weight.dtype in (torch.float32, torch.float64) else weight.float()
        try:
            result = add_updates(wide, self._parts(strength), exact=False)
        except ValueError as error:  # a packed weight, whose shape could not be told before
            raise ValueError(f"{', '.join(sorted(self.loaded_keys)[:3])}: {error}") from error
        if wide is weight or (offset is None and intermediate_dtype != weight.dtype):
            return result
        return weight.copy_(result) if result.shape == weight.shape else result.to(weight.dtype)

    def terms(self, strength: float) -> Iterator[tuple[str | None, Offset | None, Term]]:
        """(path of the file, None if it is not known; part of the weight; what is added there) of each LoRA."""
        files = iter(self._files)
        for offset, terms in self._parts(strength):
            for term in terms:
                file = next(files, None)
                yield (file.path if file else None), offset, term

    def _parts(self, strength: float) -> Parts:
        return [
            (
                offset,
                [
                    Term(unpack(packed), factor * strength, swapped, transposed, heads)
                    for packed, factor, swapped, transposed, heads in terms
                ],
            )
            for offset, terms in self.weights
        ]


def _weights(model: Patcher, plan: Plan) -> Mapping[str, torch.Tensor]:
    """The model's own weights. After a run, other packs' layers may stand in their place until it is unloaded."""
    keys = {change.key for change in plan.changes if change.component == MODEL}
    found = model.model_state_dict()
    if not keys <= found.keys():
        comfy.model_management.unload_all_models()
        found = model.model_state_dict()
    return found


def apply(plan: Plan, model: Patcher, clip: Clip | None) -> tuple[Patcher, Clip | None]:
    """Clones of MODEL and CLIP with the plan's changes; what has no changes comes back as it is.

    All tensors are read (and found finite, or `AdapterError` is raised) before a clone is made. The patches of other
    nodes stay as they are, before and after ours.
    """
    if not plan.changes:
        return model, clip
    patches: dict[str, dict[str, FusedLoras]] = {MODEL: {}, CLIP: {}}
    weights = {MODEL: _weights(model, plan), CLIP: {} if clip is None else clip.patcher.model_state_dict()}
    for change, parts in plan.changes.items():
        if change.key not in weights[change.component]:
            logging.warning("LoRA Stack: %s is not there any more; its LoRAs are left out", change.key)
            continue
        grouped = by_offset(parts)
        packed = tuple(
            (
                offset,
                tuple(
                    (pack(term.adapter), term.weight, term.swapped, term.transposed, term.heads)
                    for term in (item.term() for item in items)
                ),
            )
            for offset, items in grouped
        )
        names, files = {part.module.name for part in parts}, [item.file for _, items in grouped for item in items]
        patches[change.component][change.key] = FusedLoras(names, packed, files)
    if patches[MODEL]:
        model = model.clone()
        model.add_patches(patches[MODEL])
        caches.forget_around_runs(model, "lorchestra_merged")
    if clip is not None and patches[CLIP]:
        clip = clip.clone()
        clip.add_patches(patches[CLIP])
    return model, clip
