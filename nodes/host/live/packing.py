"""Whether a packed weight can be packed again after something was added to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from comfy.model_patcher import ModelPatcher

from ....lorchestra.apply.plan import CLIP, Change, Part, Plan
from ....lorchestra.errors import StackError
from ....lorchestra.sentences import say
from ....lorchestra.spelling.prefixes import MODEL
from ..protocols import Patcher
from .layers import PatchedLayers, is_plain_weight

_PROBE = (256, 256)
"""The shape of what is packed to find out: a multiple of all group sizes."""


class Packing:
    """The formats of one model's weights. Each format is tried once."""

    def __init__(self, patcher: Patcher) -> None:
        self._patcher = patcher
        self._layers = PatchedLayers(patcher)
        self._refused: dict[str, bool] = {}

    def one_way(self, change: Change) -> str | None:
        """What the weight of a change is packed as, if it cannot be packed again; None if merging can change it.

        AWQ and NF4 are made once, with data that are not in the file.
        """
        path, _, name = change.key.rpartition(".")
        if name != "weight":
            return None
        weight = getattr(self._layers.find(path), "weight", None)
        if not isinstance(weight, torch.Tensor) or is_plain_weight(weight):
            return None
        return self._one_way_layout(weight) or self._one_way_bytes(weight, path)

    def _one_way_layout(self, weight: torch.Tensor) -> str | None:
        """Of the formats that ComfyUI keeps in tensors of its own: packing a few zeros tells."""
        layout, pack = getattr(weight, "_layout_cls", None), getattr(type(weight), "from_float", None)
        if not isinstance(layout, str) or pack is None:
            return None
        if layout not in self._refused:
            try:
                pack(torch.zeros(_PROBE), layout)
                self._refused[layout] = False
            except NotImplementedError:
                self._refused[layout] = True
            except Exception:  # it may want more than zeros; then it is not known, and ComfyUI's own way is taken
                self._refused[layout] = False
        return layout.removeprefix("TensorCore").removesuffix("Layout") if self._refused[layout] else None

    def _one_way_bytes(self, weight: torch.Tensor, path: str) -> str | None:
        """Of other packs' formats: their numbers stand for others, and ComfyUI's own patcher takes them as they are."""
        is_packed = hasattr(weight, "tensor_shape") or getattr(weight, "quant_state", None) is not None
        if not is_packed or weight.is_floating_point():
            return None
        own = type(self._patcher).patch_weight_to_device is not ModelPatcher.patch_weight_to_device
        if own or hasattr(self._layers.find(path), "set_weight"):
            return None
        return type(weight).__name__


def find_one_way(plan: Plan, model: Patcher) -> dict[Change, str]:
    """The changes of the diffusion model that cannot be merged, each with its weight's format."""
    packing = Packing(model)
    found = ((change, packing.one_way(change)) for change in plan.changes if change.component == MODEL)
    return {change: name for change, name in found if name}


def refuse_one_way_encoders(plan: Plan, encoders: Patcher) -> None:
    """Raises `StackError`, before the run, if a text encoder's weight would have to be merged and cannot be."""
    packing = Packing(encoders)
    for change, parts in plan.changes.items():
        name = packing.one_way(change) if change.component == CLIP else None
        if name:
            raise StackError(
                say(
                    "{files} changes a text encoder whose weights are packed as {format}. They cannot be packed again. "
                    "Set its CLIP weight to 0, or load a text encoder in another format.",
                    files=_files(parts),
                    format=name,
                )
            )


def refusal(parts: Iterable[Part], name: str, reason: str) -> StackError:
    """For a change that can neither be merged nor work live."""
    parts = tuple(parts)
    return StackError(
        say(
            "{files}: {module} changes a weight that is packed as {format}. It cannot be packed again, and live it "
            "does not work, because {reason}. Switch this row off, or load the model in another format.",
            files=_files(parts),
            module=parts[0].module.name,
            format=name,
            reason=reason,
        )
    )


def _files(parts: Iterable[Part]) -> str:
    return ", ".join(dict.fromkeys(Path(part.file.header.path).name for part in parts))
