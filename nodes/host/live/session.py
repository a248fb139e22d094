"""One stack on one model while it is injected: the hooks on its layers, and the weights of the call that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .. import process
from ..protocols import BaseModel, Layer, Patcher
from .calls import Chain, Forwards, Link, Trace, Weighed, can_weigh
from .factors import LiveLayers
from .layers import Layers, is_unseen
from .regions import Regions
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
    values: Sequence[Sequence[float]]
    """The same weights as numbers, a row or one for each of the batch: nothing waits for the device to read them."""

    def rows(self, count: int, used: frozenset[int], layer: str) -> Tensor:
        """The weights for a layer that sees so many rows, and has LoRAs of the entries `used`. See `rows_of`."""
        return rows_of(self.weights, count, used.isdisjoint(self.mixed), layer)

    def common(self, used: frozenset[int]) -> Tensor | None:
        """The weights `[E]` that all rows of the batch share for these entries; None if they differ."""
        if self.weights.dim() == 1:
            return self.weights
        return self.weights[0] if used.isdisjoint(self.mixed) else None


class Session:
    """One stack on one model, from inject to eject."""

    def __init__(self, factors: Patcher, depth: int, regions: Regions) -> None:
        self.layers = cast("LiveLayers", factors.model)
        self.regions = regions
        self._depth = depth
        """How many live stacks come before this one."""
        self.call: Call | None = None
        """None between calls of the model: then the hooks do nothing."""
        self.ran: set[int] = set()
        """Places of the layers that LoRAs were added to in this run."""
        self.asked: set[int] = set()
        """Places of those that they should have been added to."""
        self.outside: set[int] = set()
        """Places of those that ran between calls of the model, where no LoRAs are added."""
        self.seen = Seen(self.layers.used)
        self.kept: Sequence[Sequence[float]] | None = None
        """The weights of the last call: whatever the model keeps of it has these."""
        self._hooked: list[tuple[Layer, Link]] = []
        self._roots: list[RemovableHandle] = []
        self._has_root = False
        self._weighed: dict[int, Weighed] = {}
        self._active: tuple[bool, ...] = ()
        self._wanted: set[int] = set()
        """Places of the layers that the entries in `_active` are for."""
        self._mixed: set[int] = set()
        self._missed: set[int] = set()
        self._vectors: dict[tuple[int, ...], Tensor] = {}

    def put_on(self, model: BaseModel) -> None:
        """Puts hooks on the layers of a model: on all of them, or on none if one fails.

        Not before a call of it: ComfyUI injects and ejects several times while it prepares a run.
        """
        if self._hooked:
            return
        found, forwards = Layers(model), Forwards(process.live_forwards)
        traces = process.live_traces.setdefault(model, {})
        try:
            for place, (path, layer) in enumerate(self.layers.by_path()):
                module = found.find(path)
                link = Link(self, layer, path, place, traces.setdefault(path, Trace()), self._depth)
                chain = process.live_chains.get(module)
                if chain is None:
                    chain = process.live_chains[module] = Chain(path, forwards.find(module))
                self._hooked.append((module, link))
                chain.add(module, link)
                if (link.trace.is_weighed or is_unseen(module)) and can_weigh(module, link):
                    self._weigh(module, link)
            if self.regions.are_there:
                root = model.diffusion_model
                self._roots.append(root.register_forward_pre_hook(self.see, with_kwargs=True))
        except BaseException:
            self.take_off()
            raise

    def see(self, _: torch.nn.Module, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """A run of the diffusion model begins; a hook before it where there are regions."""
        if self.call is not None:
            self.regions.see(args, kwargs)

    def put_on_root(self, root: torch.nn.Module, before: Callable[..., None]) -> None:
        """`before` is called with the inputs of each run of the diffusion model, in place of the wrappers."""
        if self._has_root:
            return
        self._has_root = True

        def after(
            module: torch.nn.Module, args: Sequence[object], kwargs: Mapping[str, object], output: object
        ) -> object:
            try:
                # No output: the run raised.
                return module.forward(*args, **kwargs) if output is not None and self.repeats() else None
            finally:
                self.end()

        self._roots += [
            root.register_forward_pre_hook(before, with_kwargs=True),
            root.register_forward_hook(after, with_kwargs=True, always_call=True),
        ]

    def take_off(self) -> None:
        """Removes the hooks."""
        self.end()
        self._weighed = {}
        while self._hooked:
            module, link = self._hooked.pop()
            chain = process.live_chains[module]
            chain.remove(link)
            if chain.is_empty:
                del process.live_chains[module]
        self._has_root = False
        while self._roots:
            self._roots.pop().remove()

    @property
    def is_compiled(self) -> bool:
        """True once hooks were part of a compiled graph, which does not say which of them ran."""
        return any(link.trace.is_compiled for _, link in self._hooked)

    def prepare(self, values: Sequence[Sequence[float]], active: tuple[bool, ...], device: torch.device) -> None:
        """What runs until the next call begins runs at these weights: the model is prepared for its first step."""
        self.seen.prepare()
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
        self.call = Call(self._write(values, device), active, (True,) * len(active), not any(active), mixed, values)
        if active != self._active:
            self._active = active
            self._wanted = self.layers.active(active)
            self.asked |= self._wanted
        self._put_on_weights(self.call)

    def _put_on_weights(self, call: Call) -> None:
        for place in self._weighed.keys() & self._wanted:
            weighed = self._weighed[place]
            if call.common(weighed.used) is not None:
                weighed.put_on()
            else:  # one weight of the layer is for all rows of the batch, and these differ
                self._mixed.add(place)
                self.ran.discard(place)

    def end(self) -> None:
        """The call is over."""
        self.call = None
        self.regions.forget()
        self._missed |= self._mixed - self.ran
        self._mixed = set()
        for weighed in self._weighed.values():
            weighed.take_off()

    def repeats(self) -> bool:
        """True if the call has to be made once more, and is ready for it.

        Layers that should have run and did not: the model may use their weights without running them, so LoRAs are
        added to these from now on. None is taken twice, so that layers which the model left out are left alone.
        """
        if self.call is None:
            return False
        absent = self.absent() & self._wanted
        found = [
            (module, link)
            for module, link in (self._hooked if absent else ())
            if link.place in absent and link.place not in self._weighed and can_weigh(module, link)
        ]
        for module, link in found:
            link.trace.is_weighed = True
            self._weigh(module, link)
        if found:
            for weighed in self._weighed.values():
                weighed.take_off()
            self._put_on_weights(self.call)
        return len(found) > 0

    def absent(self) -> set[int]:
        """Places of the layers that LoRAs should have been added to and were not; compiled ones do not tell."""
        compiled = {link.place for _, link in self._hooked if link.trace.is_compiled}
        return (self.asked - self.ran - compiled) | self._missed

    def _weigh(self, module: Layer, link: Link) -> None:
        self._weighed[link.place] = weighed = Weighed(module, link)
        process.live_chains[module].weigh(link, weighed)

    def _write(self, values: Sequence[Sequence[float]], device: torch.device) -> Tensor:
        """The weights on the device, always in the same memory: compiled models and graphs see one tensor."""
        rows = torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float32)
        vector = self._vectors.get(tuple(rows.shape))
        if vector is None or vector.device != device:
            vector = self._vectors[tuple(rows.shape)] = rows.to(device, copy=True)
            return vector
        return vector.copy_(rows)
