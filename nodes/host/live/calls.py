"""Calls of layers that LoRAs work beside: one pair of hooks on each layer, shared by all stacks on it.

The hooks are the innermost ones: those of other packs see a layer called and answering as ComfyUI has it. Before the
layer, the call is taken apart (`lorchestra.apply.live.calls`); after it, each stack adds its LoRAs, the first one
first, and what was folded into the call is added last. While no LoRA is active, calls stay as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

import comfy.ops
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ....lorchestra.apply.live import LiveLayer
from ....lorchestra.apply.live.calls import (
    Activation,
    Parameters,
    Residual,
    is_folded,
    parameters,
    unfold,
)
from ..protocols import Layer, WeightFunction
from .rows import mixed_weight
from .seen import Seen


class Trace:
    """What is known of a layer of a model beyond a single run."""

    def __init__(self) -> None:
        self.is_compiled = False
        """True once its hooks became part of a compiled graph, which does not say whether they run."""
        self.is_weighed = False
        """True once its weight was used without the layer being run: LoRAs are added to the weight, too."""


KnownForwards = MutableMapping[type[object], tuple[Sequence[weakref.ref[object]], Parameters]]
"""Classes of layers → their forwards, and what these take."""


class Forwards:
    """What the forwards of a model's layers take, looked up once for each kind: a model has hundreds of few kinds.

    Those that a class has, and not a layer of its own, are kept in `of_classes` from run to run.
    """

    def __init__(self, of_classes: KnownForwards) -> None:
        self._of_classes = of_classes
        self._known: dict[object, Parameters] = {}

    def find(self, module: Layer) -> Parameters:
        """What a layer's forward takes; ComfyUI's hand all that they are given on to a function that names it."""
        kind = (type(module), getattr(module.forward, "__func__", module.forward))
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = self._read(module)
        return found

    def _read(self, module: Layer) -> Parameters:
        forwards = [forward for name in _FORWARDS if (forward := getattr(module, name, None)) is not None]
        functions = [getattr(forward, "__func__", None) for forward in forwards]
        if any(name in vars(module) for name in _FORWARDS) or None in functions:
            return parameters(*forwards)
        known = self._of_classes.get(type(module))
        if known is None or [one() for one in known[0]] != functions:  # another pack may have put others in their place
            found = parameters(*forwards)
            known = self._of_classes[type(module)] = [weakref.ref(one) for one in functions], found
        return known[1]


_FORWARDS = ("forward", "forward_comfy_cast_weights")


class CallWeights(Protocol):
    """The weights of one call of the model."""

    @property
    def weights(self) -> Tensor:
        """`[E]`, or `[B, E]` if the rows of the batch differ."""
        ...

    @property
    def active(self) -> Sequence[bool]:
        """Which of them are not 0."""
        ...

    @property
    def all(self) -> Sequence[bool]:
        """As if none were 0."""
        ...

    @property
    def is_idle(self) -> bool:
        """True if all of them are 0."""
        ...

    @property
    def values(self) -> Sequence[Sequence[float]]:
        """The same weights as numbers; nothing waits for the device to read them."""
        ...

    def rows(self, count: int, used: frozenset[int], layer: str) -> Tensor:
        """The weights for a layer that sees so many rows, and has LoRAs of the entries `used`."""
        ...

    def common(self, used: frozenset[int]) -> Tensor | None:
        """The weights `[E]` that all rows of the batch share for these entries; None if they differ."""
        ...


class InRegions(Protocol):
    """The parts of the picture that a stack's LoRAs are for."""

    def concern(self, used: frozenset[int]) -> bool:
        """True if one of these entries has a region."""
        ...

    def added(
        self,
        layer: LiveLayer,
        path: str,
        x: Tensor,
        y: Tensor,
        base: Callable[[Tensor], Tensor],
        weights: Tensor,
        active: Sequence[bool],
    ) -> Tensor:
        """The output of a layer with its LoRAs."""
        ...


class Run(Protocol):
    """One stack on one model while it runs."""

    ran: set[int]
    """Places of the layers that LoRAs were added to."""
    outside: set[int]
    """Places of those that ran between calls of the model."""
    seen: Seen
    """Places of the layers that ran, with LoRAs or without."""

    @property
    def regions(self) -> InRegions:
        """Where in the picture they act."""
        ...

    @property
    def call(self) -> CallWeights | None:
        """The call that runs now."""
        ...


class Link:
    """One stack on one layer."""

    def __init__(self, run: Run, layer: LiveLayer, path: str, place: int, trace: Trace, depth: int) -> None:
        self.run = run
        self.depth = depth
        """How many stacks come before this one."""
        self.layer = layer
        self.path = path
        self.place = place
        self.trace = trace
        self.has_regions = run.regions.concern(layer.parts.used)

    def acts(self) -> bool:
        """Whether anything is added to the layer in the call of the model that runs now."""
        call = self.run.call
        if torch.compiler.is_compiling():
            # Before anything else: a weight that becomes 0 must not be another graph.
            self.trace.is_compiled = True
            return call is not None
        if call is None:
            self.run.outside.add(self.place)
            return False
        self.run.seen.now.add(self.place)
        return not call.is_idle and self.layer.is_active(call.active)

    def added(self, x: Tensor, y: Tensor, base: Callable[[Tensor], Tensor]) -> Tensor:
        """The layer's output with this stack's LoRAs; `base` is the layer with those of earlier stacks."""
        call = self.run.call
        if call is None:
            return y
        if torch.compiler.is_compiling():
            if self.has_regions:
                return self.run.regions.added(self.layer, self.path, x, y, base, self._rows(call, x), call.all)
            return self.layer(x, y, base, self._rows(call, x), call.all)
        self.run.ran.add(self.place)
        if self.has_regions:
            return self.run.regions.added(self.layer, self.path, x, y, base, self._rows(call, x), call.active)
        return self.layer(x, y, base, self._rows(call, x), call.active)

    def is_addable(self) -> bool:
        """Whether the LoRAs can be added to the layer's weight, which is for the whole picture."""
        return not self.has_regions and self.layer.is_addable()

    def _rows(self, call: CallWeights, x: Tensor) -> Tensor:
        return call.rows(x.shape[0], self.layer.parts.used, self.path)

    def weight(self, weight: Tensor) -> Tensor:
        """A `weight_function`: the weight with this stack's LoRAs."""
        call = self.run.call
        weights = call.common(self.layer.parts.used) if call else None
        if call is None or weights is None:
            return weight
        if torch.compiler.is_compiling():
            self.trace.is_compiled = True
            return self.layer.new_weight(weight, weights, call.all)
        self.run.seen.now.add(self.place)
        self.run.ran.add(self.place)
        return self.layer.new_weight(weight, weights, call.active)

    def bias(self, bias: Tensor) -> Tensor:
        """A `bias_function`, which goes with `weight`."""
        call = self.run.call
        weights = call.common(self.layer.parts.used) if call else None
        if call is None or weights is None:
            return bias
        active = call.all if torch.compiler.is_compiling() else call.active
        return self.layer.new_bias(bias, weights, active)


class Weighed:
    """A layer whose weight is used without the layer being run: LoRAs are added to it for the length of a call.

    Where the layer runs after all, they are added beside it, and its weight is left alone meanwhile.
    """

    def __init__(self, module: Layer, link: Link) -> None:
        self.module = module
        self.used = link.layer.parts.used
        """The entries that change the layer."""
        self._weight: WeightFunction = link.weight
        self._bias: WeightFunction | None = link.bias if link.layer.has_shifts() else None

    @property
    def is_on(self) -> bool:
        """Whether LoRAs are added to the weight now."""
        return any(one is self._weight for one in self.module.weight_function)

    def put_on(self) -> None:
        """ComfyUI calls the functions whenever it takes the layer's weight and bias."""
        self.module.weight_function = [*self.module.weight_function, self._weight]
        if self._bias is not None:
            self.module.bias_function = [*self.module.bias_function, self._bias]

    def take_off(self) -> None:
        """May be called when they are not on."""
        self.module.weight_function = [one for one in self.module.weight_function if one is not self._weight]
        if self._bias is not None:
            self.module.bias_function = [one for one in self.module.bias_function if one is not self._bias]


def can_weigh(module: Layer, link: Link) -> bool:
    """Whether LoRAs can be added to a layer's weight for the length of a call."""
    return hasattr(module, "weight_function") and link.is_addable()


class Chain:
    """All stacks on one layer, in the order of their nodes."""

    def __init__(self, path: str, takes: Parameters) -> None:
        self._path = path
        self._takes = takes
        self._links: list[Link] = []
        self._weighed: dict[Link, Weighed] = {}
        self._residual: Residual | None = None
        """Of the call that runs now."""
        self._handles: list[RemovableHandle] = []

    def add(self, module: Layer, link: Link) -> None:
        """Another stack, at its place: they are put on in any order, as ComfyUI prepares a run."""
        self._links = sorted([*self._links, link], key=lambda one: one.depth)
        if not self._handles:
            self._handles = [
                module.register_forward_pre_hook(self._before, with_kwargs=True),
                module.register_forward_hook(self._after, prepend=True),
            ]

    def remove(self, link: Link) -> None:
        """The hooks go with the last stack."""
        self._links = [one for one in self._links if one is not link]
        self._weighed = {one: weighed for one, weighed in self._weighed.items() if one is not link}
        while self._handles and not self._links:
            self._handles.pop().remove()

    def before(self, layer: LiveLayer, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with what earlier stacks than the layer's add in this call, as if they were merged.

        Raises `MixedRows` where that differs within the batch.
        """
        for link, call, weights in self._earlier(layer):
            weight = link.layer.new_weight(weight, weights, call.active)
            bias = None if bias is None else link.layer.new_bias(bias, weights, call.active)
        return weight, bias

    def state(self, layer: LiveLayer) -> tuple[object, ...]:
        """What the result of `before` depends on; equal states give the same result."""
        return tuple((weakref.ref(link.layer), *call.values[0]) for link, call, _ in self._earlier(layer))

    def misses(self, layer: LiveLayer) -> bool:
        """Whether an earlier stack than the layer's acts in this call that `before` has to leave out."""
        return any(not link.is_addable() for link, _ in self._acting_before(layer))

    def _earlier(self, layer: LiveLayer) -> Iterator[tuple[Link, CallWeights, Tensor]]:
        """The stacks before the layer's that can be added to the weight; `MixedRows` if they differ within a batch."""
        for link, call in self._acting_before(layer):
            if link.is_addable():
                weights = call.common(link.layer.parts.used)
                if weights is None:
                    raise mixed_weight(self._path)
                yield link, call, weights

    def _acting_before(self, layer: LiveLayer) -> Iterator[tuple[Link, CallWeights]]:
        for link in self._links:
            if link.layer is layer:
                return
            call = link.run.call
            if call is not None and link.layer.is_active(call.active):
                yield link, call

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Meanwhile nothing is added to the weight."""
        on = [weighed for weighed in self._weighed.values() if weighed.is_on]
        for weighed in on:
            weighed.take_off()
        try:
            yield
        finally:
            for weighed in on:
                weighed.put_on()

    @property
    def is_empty(self) -> bool:
        """True if no stack is left."""
        return not self._links

    def weigh(self, link: Link, weighed: Weighed) -> None:
        """The weight is used without the layer being run."""
        self._weighed = {**self._weighed, link: weighed}

    def _before(
        self, _: Layer, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, None]] | None:
        self._residual = None
        acting = [link for link in self._links if link.acts()]
        for weighed in self._weighed.values():
            weighed.take_off()
        if not acting or not is_folded(args, kwargs):
            return None
        call = unfold(self._path, self._takes, args, kwargs, _activations())
        self._residual = call.residual
        return (call.x,), dict(call.rest)

    def _after(self, module: Layer, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        residual, self._residual = self._residual, None
        acting = [link for link in self._links if link.acts()]
        for link in acting:
            if link in self._weighed:
                self._weighed[link].put_on()
        if not acting:
            return None
        y = _through(module, args[0], output, acting)
        return y if residual is None else residual.added(y)


def _through(module: Layer, x: Tensor, y: Tensor, links: list[Link]) -> Tensor:
    """The layer's output `y` through all stacks: each sees the layer with what the earlier ones added."""
    for count, link in enumerate(links):
        y = link.added(x, y, partial(_run, module, links[:count]) if count else module.forward)
    return y


def _run(module: Layer, links: list[Link], x: Tensor) -> Tensor:
    return _through(module, x, module.forward(x), links)


def _activations() -> Mapping[str, Activation]:
    """ComfyUI's own, by name; it has none before 0.33."""
    return cast("Mapping[str, Activation]", getattr(comfy.ops, "INPUT_ACT_EAGER", {}))
