"""The live path: LoRAs beside the layers of a MODEL, with weights that may change at every step.

Three of ComfyUI's own mechanisms carry it. A `PatcherInjection` puts forward hooks on the layers of whatever model it
is handed, so that clones and copies on other GPUs work. Wrappers write the current weights before each call of the
model, and take the hooks off when a run ends, however it ends. The factors are a model of their own, registered with
`set_additional_models`, so that ComfyUI's memory manager loads, counts and frees them. The model's weights are never
touched.

Where ComfyUI uses a layer's weight without running the layer, the LoRAs are added to what it makes of the weight for
that one use, by ComfyUI's `weight_function`.
"""

from __future__ import annotations

import copy
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import CallbacksMP, PatcherInjection, WrappersMP
from torch import Tensor

from ....lorchestra.apply.live import Geometry, LiveLayer, LiveTerm, is_plain, supports
from ....lorchestra.apply.plan import Change, Part, Plan
from ....lorchestra.schedule import Moment, Steps
from ....lorchestra.spelling.prefixes import MODEL
from ....lorchestra.stack import NEGATIVE, POSITIVE, Weighted
from .. import patch

_MODEL_PREFIX = "diffusion_model."
_PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_ROWS = 1024
"""Rows of a weight that are asked for at a time, where a layer alone knows how it is packed."""
_RANGE = 100
"""Steps that a model's range of sigmas is taken as, where a sampler does not say its own."""
_UNSEEN = "TensorWiseINT8Layout"
"""How weights are packed that ComfyUI uses without running their layer, where an activation comes before it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a plan made of a MODEL and a CLIP."""

    model: Any
    clip: Any | None
    notes: tuple[str, ...]
    """Sentences about what the live path cannot do and was merged instead."""


def apply(plan: Plan, model: Any, clip: Any | None) -> Applied:
    """Clones of MODEL and CLIP with the plan's changes: the diffusion model's beside its layers, the rest merged.

    All tensors are read (and found finite, or `AdapterError` is raised) before a clone is made.
    """
    is_split = any(share.conditioning in (POSITIVE, NEGATIVE) for e in plan.entries for share in e.shares)
    layers: dict[str, _Layer] = {}
    merged: dict[Change, tuple[Part, ...]] = {}
    reasons: dict[Change, str] = {}
    for change, parts in plan.changes.items():
        reason = _place(model, change, parts, layers, is_split) if change.component == MODEL else ""
        if reason is not None:
            merged[change], reasons[change] = parts, reason
    dtype = _dtype(model)
    factors = _factors(model, plan, layers, dtype) if layers else None
    model, clip = patch.apply(replace(plan, changes=merged), model, clip)
    if factors is not None:
        model = model.clone()
        LiveLoras(plan.entries, factors).attach(model)
    return Applied(model, clip, tuple(_notes(plan, merged, reasons)))


def is_quantized(plan: Plan, model: Any) -> bool:
    """True where the plan changes layers whose weights are packed: merging would round what it adds."""
    paths = {change.key.rpartition(".")[0] for change in plan.changes if change.component == MODEL}
    weights = (getattr(_layer(model, path), "weight", None) for path in paths)
    return any(weight is not None and not _is_plain(weight) for weight in weights)


def _is_plain(weight: Tensor) -> bool:
    """True for a weight that is what it says: no subclass with a scale, no packed bytes."""
    is_packed = hasattr(weight, "tensor_shape") or getattr(weight, "quant_state", None) is not None
    return type(weight) in (Tensor, torch.nn.Parameter) and weight.dtype in _PLAIN and not is_packed


class _Layer:
    """What happens at one layer, while it is collected."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.weights: list[tuple[Part, LiveTerm]] = []
        self.biases: list[tuple[Part, LiveTerm]] = []


def _place(model: Any, change: Change, parts: Sequence[Part], layers: dict[str, _Layer], is_split: bool) -> str | None:
    """Adds the parts to the layer of this weight or bias; gives the reason where the live path cannot do them all."""
    path, _, name = change.key.rpartition(".")
    module = _layer(model, path)
    geometry = _geometry(module) if name in ("weight", "bias") else None
    if geometry is None:
        return "it is no linear layer and no convolution"
    terms: list[tuple[Part, LiveTerm]] = []
    for part in parts:
        term = part.term()
        live = LiveTerm(term.adapter, _entry(part), part.offset, part.swapped)
        reason = supports(live, geometry)
        if reason:
            return reason
        if _is_unseen(module) and (is_split or name != "weight" or not is_plain(live)):
            return "ComfyUI may use this INT8 weight without running its layer"
        terms.append((part, live))
    layer = layers.setdefault(path, _Layer(geometry))
    (layer.weights if name == "weight" else layer.biases).extend(terms)
    return None


def _is_unseen(module: Any) -> bool:
    """True where ComfyUI may use the weight without running the layer, so that no hook is called."""
    weight = getattr(module, "weight", None)  # a layer of another pack's may have none
    return hasattr(comfy.ops, "linear_input_act") and getattr(weight, "_layout_cls", "") == _UNSEEN


def _entry(part: Part) -> int:
    if part.entry is None:
        raise ValueError(f"{part.module.name} is part of a diffusion model and has no entry in the plan")
    return part.entry


def _geometry(module: Any) -> Geometry | None:
    """What the layer is; None for anything but linear layers and convolutions. Packed weights say nothing of shapes."""
    has_bias = getattr(module, "bias", None) is not None
    for convolution in (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d):
        if isinstance(module, convolution):
            padding = module.padding
            if isinstance(padding, str) or module.padding_mode != "zeros":
                return None
            return Geometry(
                (module.out_channels, module.in_channels // module.groups, *module.kernel_size),
                stride=tuple(module.stride),
                padding=tuple(padding),
                dilation=tuple(module.dilation),
                groups=module.groups,
                has_bias=has_bias,
            )
    width_in, width_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(width_in, int) and isinstance(width_out, int):  # also layers that are no nn.Linear: quantized ones
        return Geometry((width_out, width_in), has_bias=has_bias)
    return None


def _dtype(model: Any) -> torch.dtype:
    """What the model computes in."""
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return dtype if dtype in _PLAIN else torch.float32


def _notes(plan: Plan, merged: Mapping[Change, Sequence[Part]], reasons: Mapping[Change, str]) -> Iterator[str]:
    """What was merged of the diffusion model, by file and reason."""
    for index, weighted in enumerate(plan.entries):
        found: dict[str, int] = {}
        for change, parts in merged.items():
            count = sum(1 for part in parts if change.component == MODEL and part.entry == index)
            if count:
                found[reasons[change]] = found.get(reasons[change], 0) + count
        for reason, count in found.items():
            what = f"{count} module is" if count == 1 else f"{count} modules are"
            still = "" if weighted.is_constant else "; the schedule does not reach there"
            yield f"{weighted.entry.lora}: {what} merged at weight {weighted.model:g}, because {reason}{still}"


class LiveLayers(torch.nn.Module):
    """The factors of all layers that one stack changes: buffers and nothing else."""

    def __init__(self, layers: Mapping[str, LiveLayer]) -> None:
        super().__init__()
        self.paths = tuple(layers)
        """Of the layers in the model, `diffusion_model.…`."""
        self.layers = torch.nn.ModuleList(layers.values())
        self.prepared_for: object = None
        """The weights that norms were taken of, by ComfyUI's number for a set of patches."""
        self._held = tuple(inner._buffers for inner in self.modules() if inner._buffers)

    def are_on(self, device: torch.device) -> bool:
        """Whether all factors are on the device. Asked at every call of the model; `buffers()` takes its time."""
        return all(one is None or one.device == device for held in self._held for one in held.values())


_factors_in_use: WeakValueDictionary[object, Any] = WeakValueDictionary()
"""What the factors were made of → their patcher, as long as ComfyUI keeps a model that uses it: changing a weight and
running again makes and loads nothing."""


def _factors(model: Any, plan: Plan, layers: Mapping[str, _Layer], dtype: torch.dtype) -> Any:
    """A patcher of `LiveLayers` with all terms in them; the one that is there already, where it has the same."""
    key = (
        str(model.load_device),
        str(model.offload_device),
        dtype,
        tuple(item.content for item in plan.chosen),
        tuple(
            (
                path,
                layer.geometry,
                tuple(
                    (part.module.name, part.module.target, part.module.algorithm, term.entry, term.offset, term.swapped)
                    for part, term in (*layer.weights, *layer.biases)
                ),
            )
            for path, layer in layers.items()
        ),
    )
    found = _factors_in_use.get(key)
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
    _factors_in_use[key] = patcher
    return patcher


def _patcher(layers: LiveLayers, load_device: torch.device, offload_device: torch.device) -> Any:
    patcher = comfy.model_patcher.ModelPatcher(layers, load_device=load_device, offload_device=offload_device)
    patcher.cached_patcher_init = (_copied, (layers, load_device, offload_device))  # asked for a copy on another GPU
    return patcher


def _copied(layers: LiveLayers, load_device: torch.device, offload_device: torch.device, **_: Any) -> Any:
    return _patcher(copy.deepcopy(layers), load_device, offload_device)


@dataclass(slots=True)
class _Call:
    """The weights of one call of the model."""

    weights: Tensor
    """`[E]`, or `[B, E]` where the rows of the batch differ."""
    active: tuple[bool, ...]
    """Which of them are not 0."""
    all: tuple[bool, ...]
    """As if none of them were 0; no property, since compiled graphs are for what was read on the way to it."""
    is_idle: bool
    """True where all of them are."""

    def rows(self, count: int) -> Tensor:
        """The weights for a layer that sees so many rows: video models fold frames into them, some share one row."""
        weights = self.weights
        if weights.dim() == 1 or weights.shape[0] == count:
            return weights
        if count % weights.shape[0] == 0:
            return weights.repeat_interleave(count // weights.shape[0], 0)
        return weights.mean(0)


class _Session:
    """One stack on one model, from inject to eject."""

    def __init__(self, factors: Any) -> None:
        self.layers: LiveLayers = factors.model
        self.call: _Call | None = None
        """None between calls of the model: then the hooks do nothing."""
        self.ran: set[int] = set()
        """Places of the layers that LoRAs were added to in this run."""
        self.is_compiled = False
        """True once the hooks were part of a compiled graph, which does not say which of them ran."""
        self._is_on = False
        self._handles: list[Any] = []
        self._roots: list[Any] = []
        self._unseen: list[tuple[Any, Callable[[Tensor], Tensor]]] = []
        self._vectors: dict[tuple[int, ...], Tensor] = {}

    def put_on(self, model: Any) -> None:
        """Hooks on the layers of a BaseModel; all of them, or none when that fails.

        Not before a call of it: ComfyUI injects and ejects several times while it prepares a run.
        """
        if self._is_on:
            return
        self._is_on = True
        try:
            for place, (path, layer) in enumerate(zip(self.layers.paths, self.layers.layers, strict=True)):
                module = _find(model, path)
                if _is_unseen(module):
                    self._add_unseen(module, layer, place)
                else:
                    self._handles.append(module.register_forward_hook(self._hook(layer, place)))
        except BaseException:
            self.take_off()
            raise

    def put_on_root(self, root: Any, before: Callable[..., None]) -> None:
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

    def begin(self, values: Sequence[Sequence[float]], active: tuple[bool, ...], device: torch.device) -> None:
        """A call of the model at these weights."""
        self.call = _Call(self._write(values, device), active, (True,) * len(active), not any(active))
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

    def _hook(self, layer: Any, place: int) -> Callable[[Any, Any, Any], Tensor | None]:
        def add(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            call = self.call
            if call is None:
                return None
            x = args[0]
            if torch.compiler.is_compiling():
                # A weight that becomes 0 must not be another graph.
                self.is_compiled = True
                return layer(x, output, module.forward, call.rows(x.shape[0]), call.all)
            if call.is_idle:
                return None
            self.ran.add(place)
            return layer(x, output, module.forward, call.rows(x.shape[0]), call.active)

        return add

    def _add_unseen(self, module: Any, layer: Any, place: int) -> None:
        """The LoRAs are added to the weight, and to the output in its place whenever the layer itself runs."""
        add = self._hook(layer, place)

        def merge(weight: Tensor) -> Tensor:
            call = self.call
            if call is None:
                return weight
            self.ran.add(place)
            return layer.merged(weight, call.weights, call.active)

        def before(module: Any, _: Any) -> None:
            module.weight_function = [other for other in module.weight_function if other is not merge]

        def after(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if self.call is not None and not self.call.is_idle:
                module.weight_function = [*module.weight_function, merge]
            return add(module, args, output)

        self._handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        self._unseen.append((module, merge))


class LiveLoras:
    """One stack on the live path: what its injection and its wrappers share.

    It knows no model: each is handed in, so that clones and copies on other GPUs have sessions of their own.
    """

    def __init__(self, entries: Sequence[Weighted], factors: Any) -> None:
        self.key = f"lorchestra_live_{uuid4().hex}"
        """A key of its own: several stacks one after the other add up."""
        self._entries = tuple(entries)
        self._factors = factors
        self._is_split = any(share.conditioning in (POSITIVE, NEGATIVE) for e in self._entries for share in e.shares)
        self._sessions: WeakKeyDictionary[Any, _Session] = WeakKeyDictionary()
        self._seconds: WeakKeyDictionary[Any, None] = WeakKeyDictionary()
        """Models in a run that no wrapper is called for. Sessions come and go meanwhile: ComfyUI ejects and injects."""
        self._guiders: list[Any] = []
        self._steps: tuple[Any, Steps] | None = None
        self._told: set[str] = set()

    def attach(self, patcher: Any) -> None:
        """Registers everything with a ModelPatcher."""
        patcher.set_additional_models(self.key, [self._factors])
        patcher.set_injections(self.key, [PatcherInjection(inject=self._inject, eject=self._eject)])
        patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, self.key, self._around_run)
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, self.key, self._around_call)
        patcher.add_callback_with_key(CallbacksMP.ON_PRE_RUN, self.key, self._before_run)
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, self.key, self._after_run)

    def _inject(self, patcher: Any) -> None:
        self._eject(patcher)  # a clone may have been injected under a patcher that was never ejected
        factors = patcher.get_additional_models_with_key(self.key)
        if factors:
            session = self._sessions[patcher.model] = _Session(factors[0])
            if patcher.model in self._seconds:
                self._put_on_root(patcher.model, session)

    def _eject(self, patcher: Any) -> None:
        session = self._sessions.pop(patcher.model, None)
        if session is not None:
            self._tell_idle(session)
            session.take_off()

    def _around_run(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """One run of a sampler. ComfyUI ejects only when it unloads a model; we are off as soon as the run ends."""
        guider = executor.class_obj
        self._guiders.append(guider)
        try:
            return executor(*args, **kwargs)
        finally:
            self._guiders.pop()
            self._steps = None
            if not any(other.model_patcher is guider.model_patcher for other in self._guiders):
                for patcher in (guider.model_patcher, *_copies(guider.model_patcher)):
                    # All injections, not ours alone: a patcher that counts as injected makes its clones count so, and
                    # these put their hooks on a model that they do not run. The next run injects again.
                    patcher.eject_model()
                    self._eject(patcher)

    def _around_call(self, executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Any:
        """One call of the model: the weights are written, and nothing outside of it sees them."""
        model = executor.class_obj
        session = self._find_session(model)
        if session is None:  # a second model of the same run, which is not ours
            return executor(x, t, *args, **kwargs)
        options = kwargs["transformer_options"] if "transformer_options" in kwargs else args[3] if len(args) > 3 else {}
        values = self._values(model, options, t, t.shape[0], self._negatives(options))
        active = self._active(values)
        _bring(session.layers, model, x.device)
        session.put_on(model)
        session.begin(values, active, x.device)
        try:
            return executor(x, t, *args, **kwargs)
        finally:
            session.end()

    def _before_run(self, patcher: Any) -> None:
        """A run begins. Where no wrapper is called for this model, the diffusion model itself says when it is."""
        guided = [guider.model_patcher for guider in self._guiders]
        if any(other.model is patcher.model for main in guided for other in (main, *_copies(main))):
            return
        self._seconds[patcher.model] = None
        session = self._sessions.get(patcher.model)
        if session is None:
            self._inject(patcher)
        else:
            self._put_on_root(patcher.model, session)

    def _put_on_root(self, of: Any, session: _Session) -> None:
        model = weakref.ref(of)

        def before(root: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            options = kwargs.get("transformer_options") or {}
            now = options.get("sigmas")
            found = model()
            if found is None or now is None:
                self._tell("A second model of a run does not say where the run is: its LoRAs are left out.")
                return
            # Guiders have a second model for what is not wanted.
            negatives = [True] * max(len(options.get("cond_or_uncond", ())), 1)
            values = self._values(found, options, now, args[0].shape[0], negatives)
            _bring(session.layers, found, args[0].device)
            session.put_on(found)
            session.begin(values, self._active(values), args[0].device)

        session.put_on_root(of.diffusion_model, before)

    def _after_run(self, patcher: Any) -> None:
        """A run ends. What the wrappers see is taken off by these."""
        if patcher.model in self._seconds:
            del self._seconds[patcher.model]
            patcher.eject_model()
            self._eject(patcher)

    def _find_session(self, model: Any) -> _Session | None:
        session = self._sessions.get(model)
        patcher = getattr(model, "current_patcher", None)
        if session is None and patcher is not None and patcher.get_additional_models_with_key(self.key):
            self._inject(patcher)  # a run inside of this one took them off
            session = self._sessions.get(model)
        return session

    def _active(self, values: Sequence[Sequence[float]]) -> tuple[bool, ...]:
        return tuple(any(row[index] != 0 for row in values) for index in range(len(self._entries)))

    def _values(
        self, model: Any, options: Mapping[str, Any], t: Tensor, batch: int, negatives: Sequence[bool]
    ) -> list[list[float]]:
        """The weight of each entry now: one row, or one per row of the batch where these differ.

        `negatives` says for each part of the batch whether it is the negative conditioning's.
        """
        moment = self._moment(model, options, t)
        positive = [entry.at(moment, POSITIVE) for entry in self._entries]
        if not self._is_split:
            return [positive]
        negative = [entry.at(moment, NEGATIVE) for entry in self._entries]
        chunks = [negative if is_negative else positive for is_negative in negatives]
        if not chunks or all(chunk == chunks[0] for chunk in chunks):
            return [chunks[0] if chunks else positive]
        count = batch // len(chunks)
        return [chunk for chunk in chunks for _ in range(count)]

    def _moment(self, model: Any, options: Mapping[str, Any], t: Tensor) -> Moment:
        if all(entry.is_constant for entry in self._entries):
            return Moment(0.0)
        sigmas = options.get("sample_sigmas")
        if self._steps is None or self._steps[0] is not sigmas:
            self._steps = (sigmas, self._read_steps(model, sigmas))
        now = options.get("sigmas")
        return self._steps[1].at_sigma(float((t if now is None else now).max()))

    def _read_steps(self, model: Any, sigmas: Tensor | None) -> Steps:
        if sigmas is not None and sigmas.numel() > 1:
            steps = Steps.of(sigmas.flatten().tolist())
        else:
            self._tell("The sampler does not say its sigmas: schedules follow the range of the model's own.")
            sampling = model.model_sampling
            inner = (float(sampling.percent_to_sigma(index / _RANGE)) for index in range(1, _RANGE))
            steps = Steps.of([float(sampling.sigma_max), *inner, 0.0], counted=False)
        for entry in self._entries:
            for share in entry.shares:
                for sentence in share.schedule.unreached(steps) if share.schedule else ():
                    self._tell(f"{entry.entry.lora}: {sentence}")
        return steps

    def _tell_idle(self, session: _Session) -> None:
        """Says so where layers did not run in a run in which others did: their LoRAs changed nothing."""
        if session.ran and not session.is_compiled:
            idle = [path for place, path in enumerate(session.layers.paths) if place not in session.ran]
            if idle:
                some = ", ".join(idle[:3]) + (" …" if len(idle) > 3 else "")
                self._tell(f"{len(idle)} of {len(session.layers.paths)} layers with LoRAs did not run: {some}")

    def _tell(self, sentence: str) -> None:
        """Once for each sentence."""
        if sentence not in self._told:
            self._told.add(sentence)
            logging.info("LoRA Stack: %s", sentence)

    def _negatives(self, options: Mapping[str, Any]) -> list[bool]:
        """For each part of the batch, whether it is the negative conditioning's.

        Guiders give their conditionings names, and some call the model for the negative one alone, or first. The
        numbers in `cond_or_uncond` are only places in such a call; they count where the names do not tell.
        """
        conds: Mapping[str, Any] = getattr(self._guiders[-1], "conds", {}) if self._guiders else {}
        places: Sequence[int] = options.get("cond_or_uncond", ())
        uuids: Sequence[Any] = options.get("uuids", (None,) * len(places))
        result: list[bool] = []
        for place, uuid in zip(places, uuids, strict=True):
            names = [name for name, conds_ in conds.items() if any(item.get("uuid") == uuid for item in conds_ or ())]
            result.append("negative" in names[0] if len(names) == 1 else place != 0)
        return result


def _copies(patcher: Any) -> Sequence[Any]:
    """The patchers of the same model on other GPUs."""
    return patcher.get_additional_models_with_key("multigpu")


def _bring(layers: LiveLayers, model: Any, device: torch.device) -> None:
    """Sees to it that the factors are where the model computes, with the norms of the weights that it has now.

    ComfyUI loads them with the model; where memory is short it leaves a module that has no layers of its own behind.
    """
    if not layers.are_on(device):
        layers.to(device)
    patches = model.current_weight_patches_uuid
    if layers.prepared_for != (id(model), patches):
        for path, layer in zip(layers.paths, layers.layers, strict=True):
            if layer.needs_base():
                layer.prepare(*_parameters(_find(model, path), device))
        layers.prepared_for = (id(model), patches)


def _layer(patcher: Any, path: str) -> Any:
    """A layer as the patcher will have it."""
    if path in patcher.object_patches or path in patcher.object_patches_backup:
        return patcher.get_model_object(path)
    return _find(patcher.model, path)


def _find(model: Any, path: str) -> Any:
    """A layer; hundreds are looked up before the first step, and `get_submodule` takes its time."""
    found = model
    for name in path.split("."):
        inner = found._modules.get(name)
        found = getattr(found, name) if inner is None else inner
    return found


def _parameters(module: Any, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer as it computes with them, merged patches and scales included; fp32."""
    width_in = getattr(module, "in_features", None)
    if width_in is None:
        weight, bias = comfy.ops.cast_bias_weight(module, dtype=torch.float32, device=device, bias_dtype=torch.float32)
        return weight, bias
    has_functions = getattr(module, "weight_function", None) or getattr(module, "bias_function", None)
    if _is_plain(module.weight) and module.weight.device == device and not has_functions:
        return module.weight.detach().float(), None if module.bias is None else module.bias.detach().float()
    # Asked for what it makes of single inputs, a layer says its weight whatever way it is packed. While there is a
    # function of its weight it does not round these inputs, for which the file may have a scale that fits others.
    functions = getattr(module, "weight_function", None)
    if functions is not None:
        module.weight_function = [*functions, _unchanged]
    try:
        return _asked(module, width_in, device)
    finally:
        if functions is not None:
            module.weight_function = functions


def _unchanged(weight: Tensor) -> Tensor:
    return weight


def _asked(module: Any, width_in: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer, by what it makes of single inputs; fp32."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    bias = module.forward(torch.zeros(1, width_in, dtype=dtype, device=device)).float()[0]
    columns: list[Tensor] = []
    for start in range(0, width_in, _ROWS):
        inputs = torch.zeros(min(_ROWS, width_in - start), width_in, dtype=dtype, device=device)
        inputs[:, start : start + _ROWS].fill_diagonal_(1)
        columns.append((module.forward(inputs).float() - bias).mT)
    return torch.cat(columns, 1), None if getattr(module, "bias", None) is None else bias
