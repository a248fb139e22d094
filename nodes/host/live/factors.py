"""The factors of a stack's LoRAs: a model of their own, so that ComfyUI's memory manager loads and frees them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import comfy.model_patcher
import torch

from ....lorchestra.apply.live import LiveLayer
from ....lorchestra.apply.plan import Plan
from ....lorchestra.files.key import find_key
from .. import process
from ..protocols import Patcher
from .layers import compute_dtype
from .split import LayerTerms


class LiveLayers(torch.nn.Module):
    """The factors of all layers that one stack changes: buffers and nothing else."""

    def __init__(self, layers: Mapping[str, LiveLayer]) -> None:
        super().__init__()
        self.paths = tuple(layers)
        """Of the layers in the model, `diffusion_model.…`."""
        self.layers = torch.nn.ModuleList(layers.values())
        self.prepared_for: dict[str, object] = {}
        """For which weights those layers are prepared that need it, by path."""
        self.idle: frozenset[str] = frozenset()
        """Paths of the layers on which nothing had an effect in the last run that asked for them."""
        self.used = {place: layer.parts.used for place, layer in self.by_place()}
        """Place → the entries that change the layer."""
        self._places: dict[frozenset[int], set[int]] = {}
        for place, used in self.used.items():
            self._places.setdefault(used, set()).add(place)
        self._based = tuple((path, layer) for path, layer in self.by_path() if layer.needs_base())
        self._held = tuple(inner._buffers for inner in self.modules() if inner._buffers)

    def by_path(self) -> Iterator[tuple[str, LiveLayer]]:
        """Each with the path of its layer in the model."""
        return zip(self.paths, cast("Iterable[LiveLayer]", self.layers), strict=True)

    def needing_base(self) -> Iterator[tuple[str, LiveLayer]]:
        """Those that depend on the layer's weight."""
        return (item for item in self._based)

    def by_place(self) -> Iterator[tuple[int, LiveLayer]]:
        """Each with its number."""
        return enumerate(cast("Iterable[LiveLayer]", self.layers))

    def active(self, active: Sequence[bool]) -> set[int]:
        """The places of the layers to which something is added while these entries are not 0."""
        return {
            place for used, places in self._places.items() if any(active[entry] for entry in used) for place in places
        }

    def are_on(self, device: torch.device) -> bool:
        """Whether all factors are on the device. Asked at every call of the model; `buffers()` takes its time."""
        return all(one is None or one.device == device for held in self._held for one in held.values())


def make_factors(model: Patcher, plan: Plan, layers: Mapping[str, LayerTerms]) -> Patcher:
    """A patcher of `LiveLayers` with all terms in them; a clone of one that is already there if it holds the same.

    Changing a weight and running again makes and loads nothing.
    """
    dtype = compute_dtype(model)
    key = (
        str(model.load_device),
        str(model.offload_device),
        dtype,
        # Contents are told apart within a plan only: those of another one may have the same names and shapes.
        tuple((item.content, find_key(item.file.path)) for item in plan.chosen),
        tuple(
            (
                path,
                layer.geometry,
                tuple(
                    (part.module.name, part.module.target, part.module.algorithm, term.entry, term.place)
                    for part, term in (*layer.weights, *layer.biases)
                ),
            )
            for path, layer in layers.items()
        ),
    )
    found = process.live_factors.get(key)
    if found is not None:
        return found.clone()
    made = LiveLayers(
        {
            path: LiveLayer(
                [term for _, term in layer.weights], [term for _, term in layer.biases], layer.geometry, dtype
            )
            for path, layer in layers.items()
        }
    )
    patcher = _patcher(made, model.load_device, model.offload_device)
    process.live_factors[key] = patcher
    return patcher


def _patcher(layers: LiveLayers, load_device: torch.device, offload_device: torch.device) -> Patcher:
    patcher: Patcher = comfy.model_patcher.ModelPatcher(layers, load_device=load_device, offload_device=offload_device)
    patcher.cached_patcher_init = (_copied, (layers, load_device, offload_device))  # asked for a copy on another GPU
    return patcher


def _copied(layers: LiveLayers, load_device: torch.device, offload_device: torch.device, **_: object) -> Patcher:
    return _patcher(copy.deepcopy(layers), load_device, offload_device)
