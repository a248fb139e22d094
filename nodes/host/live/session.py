"""One stack on one model while it is injected: the hooks on its layers, and the weights of the call that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ....lorchestra.apply.live import LiveLayer
from ..protocols import BaseModel, Layer, Patcher, WeightFunction
from .factors import LiveLayers
from .layers import find_layer, is_unseen
from .rows import rows_of
from .seen import Seen, Weights


@dataclass(slots=True)
class Call:
    """The weights of one call of the model."""

    weights: Tensor
    """`[E]`, or `[B, E]` if the rows of the batch differ."""
    active: tuple[bool, ...]
    """Which of them are not 0."""
    all: tuple[bool, ...]
    """`True` for each, as if none were 0. A field, since a property would tie compiled graphs to what it reads."""
    is_idle: bool
    """True if all of them are 0."""
    mixed: frozenset[int]
    """Those that differ within the batch."""

    def rows(self, count: int, used: frozenset[int], layer: str) -> Tensor:
        """The weights for a layer that sees so many rows, and has LoRAs of the entries `used`. See `rows_of`."""
        return rows_of(self.weights, count, used.isdisjoint(self.mixed), layer)


class Session:
    """One stack on one model, from inject to eject."""

    def __init__(self, factors: Patcher) -> None:
        self.layers = cast("LiveLayers", factors.model)
        self.call: Call | None = None
        """None between calls of the model: then the hooks do nothing."""
        self.ran: set[int] = set()
        """Places of the layers that LoRAs were added to in this run."""
        self.seen = Seen({place: layer.parts.used for place, (_, layer) in enumerate(self.layers.by_path())})
        self.kept: Sequence[Sequence[float]] | None = None
        """The weights of the last call: whatever the model keeps of it has these."""
        self.is_compiled = False
        """True once the hooks were part of a compiled graph, which does not say which of them ran."""
        self._is_on = False
        self._handles: list[RemovableHandle] = []
        self._roots: list[RemovableHandle] = []
        self._unseen: list[tuple[Layer, WeightFunction]] = []
        self._vectors: dict[tuple[int, ...], Tensor] = {}

    def put_on(self, model: BaseModel) -> None:
        """Puts hooks on the layers of a model: on all of them, or on none if one fails.

        Not before a call of it: ComfyUI injects and ejects several times while it prepares a run.
        """
        if self._is_on:
            return
        self._is_on = True
        try:
            for place, (path, layer) in enumerate(self.layers.by_path()):
                module = find_layer(model, path)
                if is_unseen(module):
                    self._add_unseen(module, layer, place)
                else:
                    self._handles.append(module.register_forward_hook(self._hook(layer, place)))
        except BaseException:
            self.take_off()
            raise

    def put_on_root(self, root: torch.nn.Module, before: Callable[..., None]) -> None:
        """`before` is called with the inputs of each run of the diffusion model, in place of the wrappers."""
        if self._roots:
            return
        self._roots = [
            root.register_forward_pre_hook(before, with_kwargs=True),
            root.register_forward_hook(lambda *_: self.end(), always_call=True),
        ]
        self._handles += self._roots

    def take_off(self) -> None:
        """Removes the hooks."""
        self.end()
        self._is_on = False
        self._roots, self._unseen = [], []
        while self._handles:
            self._handles.pop().remove()

    def open(self, values: Sequence[Sequence[float]], active: tuple[bool, ...], device: torch.device) -> None:
        """What runs until the next call begins runs at these weights: the model is prepared for its first step."""
        self.seen.open()
        self._set(values, active, device)

    def begin(
        self, values: Sequence[Sequence[float]], active: tuple[bool, ...], device: torch.device, weights: Weights = ()
    ) -> None:
        """A call of the model at these weights; `weights` are those of the moment, empty if they never change."""
        self.seen.turn(weights)
        self._set(values, active, device)

    def _set(self, values: Sequence[Sequence[float]], active: tuple[bool, ...], device: torch.device) -> None:
        self.end()  # the model may have been prepared for this call: nothing is added twice
        mixed = frozenset(
            entry for entry in range(len(active)) if any(row[entry] != values[0][entry] for row in values)
        )
        self.call = Call(self._write(values, device), active, (True,) * len(active), not any(active), mixed)
        for module, merge in () if self.call.is_idle else self._unseen:
            module.weight_function = [*module.weight_function, merge]

    def end(self) -> None:
        """The call is over."""
        self.call = None
        for module, merge in self._unseen:
            module.weight_function = [other for other in module.weight_function if other is not merge]

    def _write(self, values: Sequence[Sequence[float]], device: torch.device) -> Tensor:
        """The weights on the device, always in the same memory: compiled models and graphs see one tensor."""
        rows = torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float32)
        vector = self._vectors.get(tuple(rows.shape))
        if vector is None or vector.device != device:
            vector = self._vectors[tuple(rows.shape)] = rows.to(device, copy=True)
            return vector
        return vector.copy_(rows)

    def _hook(self, layer: LiveLayer, place: int) -> Callable[[Layer, tuple[Tensor, ...], Tensor], Tensor | None]:
        path, used = self.layers.paths[place], layer.parts.used

        def add(module: Layer, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            call = self.call
            if call is None:
                return None
            x = args[0]
            if torch.compiler.is_compiling():
                # A weight that becomes 0 must not be another graph.
                self.is_compiled = True
                return layer(
                    x,
                    output,
                    module.forward,
                    call.rows(x.shape[0], used, path),
                    call.all,
                )
            self.seen.now.add(place)
            if call.is_idle:
                return None
            self.ran.add(place)
            return layer(
                x,
                output,
                module.forward,
                call.rows(x.shape[0], used, path),
                call.active,
            )

        return add

    def _add_unseen(self, module: Layer, layer: LiveLayer, place: int) -> None:
        """The LoRAs are added to the weight, and to the output in its place whenever the layer itself runs."""
        add = self._hook(layer, place)

        def merge(weight: Tensor) -> Tensor:
            call = self.call
            if call is None:
                return weight
            self.seen.now.add(place)
            self.ran.add(place)
            return layer.merged(weight, call.weights, call.active)

        def before(module: Layer, _: object) -> None:
            module.weight_function = [other for other in module.weight_function if other is not merge]

        def after(module: Layer, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if self.call is not None and not self.call.is_idle:
                module.weight_function = [*module.weight_function, merge]
            return add(module, args, output)

        self._handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        self._unseen.append((module, merge))
