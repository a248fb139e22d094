"""Runs of a model with live LoRAs: their weights are written before each call, and all is taken off at the end.

Three of ComfyUI's own mechanisms carry it. A `PatcherInjection` puts forward hooks on the layers of whatever model it
is handed, so that clones and copies on other GPUs work. Wrappers write the current weights before each call of the
model, and take the hooks off when a run ends, however it ends. The factors are a model of their own, registered with
`set_additional_models`, so that ComfyUI's memory manager loads, counts and frees them. The model's weights are never
touched.

Some models run layers before their first step, while a run is prepared: the weights of the first step are written for
these. Some keep what they made in an earlier call: they are made to forget it when a weight changes. If rows of a layer
cannot be told apart that have different weights, ComfyUI is asked for a call for each conditioning.

If a model uses a layer's weight without running the layer, the LoRAs are added to the weight for that one use, by
ComfyUI's `weight_function`. Which layers these are, the first call with LoRAs tells: it is made once more then. What
has no effect in spite of all that is told as a warning.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import cast
from uuid import uuid4
from weakref import WeakKeyDictionary

import torch
from comfy.patcher_extension import CallbacksMP, PatcherInjection, WrappersMP
from torch import Tensor

from ....lorchestra.errors import ScheduleError
from ....lorchestra.schedule import Moment, Steps
from ....lorchestra.stack import NEGATIVE, POSITIVE, Weighted
from .. import caches
from ..callbacks import add_cleanup
from ..protocols import BaseModel, Executor, Guider, Patcher, RunOptions
from .conditionings import Conditionings, around_preparation
from .layers import some_of
from .regions import Regions
from .seen import Weights
from .session import Session
from .split import varies_in_batch
from .weights import bring

_KEY = "lorchestra_live_"
"""Start of the keys under which stacks register with a ModelPatcher."""
_RANGE = 100
"""Steps into which a model's range of sigmas is divided if a sampler does not say its own."""


class LiveLoras:
    """One stack on the live path: what its injection and its wrappers share.

    It knows no model: each is handed in, so that clones and copies on other GPUs have sessions of their own.
    """

    def __init__(self, entries: Sequence[Weighted], factors: Patcher) -> None:
        self.key = f"{_KEY}{uuid4().hex}"
        """A key of its own: several stacks one after the other add up."""
        self._depth = 0
        self._entries = tuple(entries)
        self._factors = factors
        self._is_split = varies_in_batch(self._entries)
        self._sessions: WeakKeyDictionary[BaseModel, Session] = WeakKeyDictionary()
        self._seconds: WeakKeyDictionary[BaseModel, None] = WeakKeyDictionary()
        """Models in a run that no wrapper is called for. Sessions come and go meanwhile: ComfyUI ejects and injects."""
        self._guiders: list[Guider] = []
        self._sigmas: list[Tensor | None] = []
        """Of the runs of these guiders."""
        self._latents: list[Sequence[int] | None] = []
        """The shapes of theirs."""
        self._steps: tuple[Tensor | None, Steps] | None = None
        self._told: set[str] = set()

    def attach(self, patcher: Patcher) -> None:
        """Registers everything with a ModelPatcher."""
        self._depth = sum(key.startswith(_KEY) for key in patcher.additional_models)
        patcher.set_additional_models(self.key, [self._factors])
        patcher.set_injections(self.key, [PatcherInjection(inject=self._inject, eject=self._eject)])
        patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, self.key, self._around_run)
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, self.key, self._around_call)
        if self._is_split:
            patcher.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, self.key, Conditionings(self._tell))
            patcher.add_object_patch("extra_conds", around_preparation(patcher, self._prepare))
        patcher.add_callback_with_key(CallbacksMP.ON_PRE_RUN, self.key, self._before_run)
        add_cleanup(patcher, self.key, self._after_run)

    def _inject(self, patcher: Patcher) -> None:
        self._eject(patcher)  # a clone may have been injected under a patcher that was never ejected
        factors = patcher.get_additional_models_with_key(self.key)
        if factors:
            regions = Regions(self._entries, patcher.model.diffusion_model, self._find_latent)
            session = self._sessions[patcher.model] = Session(factors[0], self._depth, regions)
            if patcher.model in self._seconds:
                self._put_on_root(patcher.model, session)

    def _find_latent(self) -> Sequence[int] | None:
        return self._latents[-1] if self._latents else None

    def _eject(self, patcher: Patcher) -> None:
        session = self._sessions.pop(patcher.model, None)
        if session is not None:
            self._tell_idle(session)
            session.take_off()

    def _eject_all(self, *patchers: Patcher) -> None:
        """Takes off what injections put on, ours first: another pack's may raise."""
        with ExitStack() as ejections:
            for patcher in patchers:
                # All injections, not ours alone: a patcher that counts as injected makes its clones count so, and
                # these put their hooks on a model that they do not run. The next run injects again.
                ejections.callback(patcher.eject_model)
            for patcher in patchers:
                ejections.callback(self._eject, patcher)

    def _around_run(self, executor: Executor[Guider], *args: object, **kwargs: object) -> object:
        """One run of a sampler. ComfyUI ejects only when it unloads a model; we are off as soon as the run ends."""
        guider = executor.class_obj
        self._guiders.append(guider)
        self._sigmas.append(cast("Tensor | None", kwargs.get("sigmas", args[3] if len(args) > 3 else None)))
        noise = kwargs.get("noise", args[0] if args else None)
        self._latents.append(noise.shape if isinstance(noise, Tensor) else None)
        try:
            return executor(*args, **kwargs)
        finally:
            self._guiders.pop()
            self._sigmas.pop()
            self._latents.pop()
            self._steps = None
            caches.forget(guider.model_patcher.model, {})
            if not any(other.model_patcher is guider.model_patcher for other in self._guiders):
                self._eject_all(guider.model_patcher, *_copies(guider.model_patcher))

    def _around_call(
        self, executor: Executor[BaseModel], x: Tensor, t: Tensor, *args: object, **kwargs: object
    ) -> object:
        """One call of the model: the weights are written, and nothing outside of it sees them."""
        model = executor.class_obj
        session = self._find_session(model)
        if session is None:  # a second model of the same run, which is not ours
            return executor(x, t, *args, **kwargs)
        given = kwargs["transformer_options"] if "transformer_options" in kwargs else args[3] if len(args) > 3 else {}
        options = cast("RunOptions", given)
        values = self._values(model, options, t, t.shape[0], self._negatives(options))
        self._begin(session, model, options, t, values, x.device)
        try:
            spare = _with_own_control(args)
            answer = executor(x, t, *args, **kwargs)
            if session.repeats():
                answer = executor(x, t, *spare, **kwargs)
            return answer
        finally:
            session.end()

    def _before_run(self, patcher: Patcher) -> None:
        """A run begins. If no wrapper is called for this model, hooks on the diffusion model tell when it is called."""
        guided = [guider.model_patcher for guider in self._guiders]
        if any(other.model is patcher.model for main in guided for other in (main, *_copies(main))):
            if patcher.model is guided[-1].model:
                self._open(patcher)
            return
        self._seconds[patcher.model] = None
        session = self._sessions.get(patcher.model)
        if session is None:
            self._inject(patcher)
        else:
            self._put_on_root(patcher.model, session)
        self._open(patcher)

    def _open(self, patcher: Patcher) -> None:
        """The model is prepared for a run: layers that run meanwhile have the weights of the first step.

        A second model of a guider has its own conditioning only, which is what is not wanted. Elsewhere the weights
        are written for each conditioning, if it matters, by `_prepare`.
        """
        session = self._find_session(patcher.model)
        is_second = patcher.model in self._seconds
        if session is not None and (is_second or not self._is_split):
            self._open_for(session, patcher.model, patcher.load_device, is_negative=is_second)

    def _open_for(self, session: Session, model: BaseModel, device: torch.device, *, is_negative: bool) -> None:
        sigmas = self._sigmas[-1] if self._sigmas else None
        if sigmas is not None and sigmas.numel() > 0:
            options = RunOptions(sigmas=sigmas[:1], sample_sigmas=sigmas)
            values = self._values(model, options, sigmas[:1], 1, [is_negative])
        else:
            try:
                conditioning = NEGATIVE if is_negative and self._is_split else POSITIVE
                values = [[entry.at(Moment(0.0, 1.0), conditioning) for entry in self._entries]]
            except ScheduleError:  # it goes by sigmas, and nobody says them yet
                self._tell(
                    "A second model of a run does not say its sigmas before its first step; LoRAs with schedules by "
                    "sigma are left out of what it prepares there."
                )
                return
        session.put_on(model)
        self._bring(session, model, device)
        session.prepare(values, self._active(values), device)

    def _prepare(self, model: BaseModel, arguments: Mapping[str, object]) -> Session | None:
        """The model is asked for what it makes of one conditioning; the session whose weights are written for that."""
        session = self._sessions.get(model) if self._guiders else None
        if session is not None:
            is_negative = "negative" in str(arguments.get("prompt_type", ""))
            self._open_for(session, model, cast("torch.device", arguments["device"]), is_negative=is_negative)
        return session

    def _begin(
        self,
        session: Session,
        model: BaseModel,
        options: RunOptions,
        t: Tensor,
        values: Sequence[Sequence[float]],
        device: torch.device,
    ) -> None:
        """A call of the model: the hooks are on, the weights written, and nothing is kept of other weights."""
        session.put_on(model)
        self._bring(session, model, device)
        if session.kept != values:
            caches.forget(model, options)
            session.kept = values
        session.begin(values, self._active(values), device, self._weights(model, options, t))
        skips = options.get("easycache")
        if skips is not None and not all(entry.is_constant for entry in self._entries):
            self._tell(
                f"{getattr(skips, 'name', 'EasyCache')} skips steps and repeats what the model said before. A weight "
                "that changes over the steps does not change what is repeated.",
                logging.WARNING,
            )

    def _bring(self, session: Session, model: BaseModel, device: torch.device) -> None:
        missing = bring(session.layers, model, device)
        if missing:
            self._tell(
                f"LoRAs on {len(missing)} of {len(session.layers.paths)} layers depend on the layer's weight, and take "
                "it without those of an earlier LoRA Stack, which have regions, or cannot be added to the weight of a "
                f"convolution while they are live: {some_of(sorted(missing))}. Set the earlier LoRA Stack to merge, or "
                "put all rows into one.",
                logging.WARNING,
            )

    def _put_on_root(self, of: BaseModel, session: Session) -> None:
        model = weakref.ref(of)

        def before(
            _: torch.nn.Module, args: tuple[Tensor | Sequence[Tensor], ...], kwargs: Mapping[str, object]
        ) -> None:
            options = cast("RunOptions", kwargs.get("transformer_options") or {})
            now = options.get("sigmas")
            found = model()
            if found is None or now is None:
                self._tell("A second model of a run does not say which step it is at; its LoRAs are left out.")
                return
            # Guiders have a second model for what is not wanted.
            negatives = [True] * max(len(options.get("cond_or_uncond", ())), 1)
            x = args[0] if isinstance(args[0], Tensor) else args[0][0]  # of video with sound a latent each
            values = self._values(found, options, now, x.shape[0], negatives)
            self._begin(session, found, options, now, values, x.device)
            session.regions.see(args, kwargs)

        session.put_on_root(of.diffusion_model, before)

    def _after_run(self, patcher: Patcher) -> None:
        """A run ends. What the wrappers see is taken off by these."""
        if patcher.model in self._seconds:
            del self._seconds[patcher.model]
            caches.forget(patcher.model, {})
            self._eject_all(patcher)

    def _find_session(self, model: BaseModel) -> Session | None:
        session = self._sessions.get(model)
        patcher = cast("Patcher | None", getattr(model, "current_patcher", None))
        if session is None and patcher is not None and patcher.get_additional_models_with_key(self.key):
            self._inject(patcher)  # a run inside of this one took them off
            session = self._sessions.get(model)
        return session

    def _active(self, values: Sequence[Sequence[float]]) -> tuple[bool, ...]:
        return tuple(any(row[index] != 0 for row in values) for index in range(len(self._entries)))

    def _values(
        self, model: BaseModel, options: RunOptions, t: Tensor, batch: int, negatives: Sequence[bool]
    ) -> list[list[float]]:
        """The weight of each entry now: one row, or one per row of the batch if these differ.

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

    def _weights(self, model: BaseModel, options: RunOptions, t: Tensor) -> Weights:
        """The weights of each entry at this moment; empty if they never change."""
        if all(entry.is_constant for entry in self._entries):
            return ()
        moment = self._moment(model, options, t)
        return [(entry.at(moment, POSITIVE), entry.at(moment, NEGATIVE)) for entry in self._entries]

    def _moment(self, model: BaseModel, options: RunOptions, t: Tensor) -> Moment:
        if all(entry.is_constant for entry in self._entries):
            return Moment(0.0)
        sigmas = options.get("sample_sigmas")
        if self._steps is None or self._steps[0] is not sigmas:
            self._steps = (sigmas, self._read_steps(model, sigmas))
        now = options.get("sigmas")
        return self._steps[1].at_sigma(float((t if now is None else now).max()))

    def _read_steps(self, model: BaseModel, sigmas: Tensor | None) -> Steps:
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

    def _tell_idle(self, session: Session) -> None:
        """Tells on which layers a run's LoRAs had no effect: the model has neither run them nor taken their weights."""
        paths = session.layers.paths
        if session.asked:
            session.layers.idle = frozenset(paths[place] for place in session.absent())
            if session.ran and not session.absent():
                self._tell(f"{len(paths)} layers live, 0 without effect")
        for places, what in (
            (session.absent(), "did not run, and their LoRAs had no effect"),
            (session.outside, "ran outside of a call of the model, and their LoRAs had no effect there"),
        ):
            if places:
                some = some_of([paths[place] for place in sorted(places)])
                self._tell(f"{len(places)} of {len(paths)} layers with LoRAs {what}: {some}", logging.WARNING)
        self._tell_kept(session)

    def _tell_kept(self, session: Session) -> None:
        """Tells which layers did not see all weights of a schedule."""
        if session.is_compiled or all(entry.is_constant for entry in self._entries):
            return
        stale, once = (
            [session.layers.paths[place] for place in places] for places in (session.seen.stale(), session.seen.once())
        )
        if stale:
            self._tell(
                f"{len(stale)} of {len(session.layers.paths)} layers with LoRAs did not run in steps in which a weight "
                f"was another one than before: {some_of(stale)}. If the model, or another node, kept what they had "
                "made, the schedule did not reach it.",
                logging.WARNING,
            )
        if once:
            self._tell(
                f"{len(once)} of {len(session.layers.paths)} layers with LoRAs run once, before the first step, and "
                f"have its weights: {some_of(once)}"
            )

    def _tell(self, sentence: str, level: int = logging.INFO) -> None:
        """Logs each sentence once."""
        if sentence not in self._told:
            self._told.add(sentence)
            logging.log(level, "LoRA Stack: %s", sentence)

    def _negatives(self, options: RunOptions) -> list[bool]:
        """For each part of the batch, whether it is the negative conditioning's.

        Guiders give their conditionings names, and some call the model for the negative one alone, or first. The
        numbers in `cond_or_uncond` are only places in such a call; they count if the names do not tell.
        """
        conds = self._guiders[-1].conds if self._guiders and hasattr(self._guiders[-1], "conds") else {}
        places = options.get("cond_or_uncond", ())
        uuids = options.get("uuids", (None,) * len(places))
        result: list[bool] = []
        for place, uuid in zip(places, uuids, strict=True):
            names = [name for name, conds_ in conds.items() if any(item.get("uuid") == uuid for item in conds_ or ())]
            result.append("negative" in names[0] if len(names) == 1 else place != 0)
        return result


def _with_own_control(args: tuple[object, ...]) -> tuple[object, ...]:
    """The same arguments of a call for once more: models take what ControlNets give out of its lists."""
    control = args[2] if len(args) > 2 else None
    if not isinstance(control, dict):
        return args
    lists = cast("dict[str, object]", control).items()
    own = {name: cast("list[object]", given)[:] if isinstance(given, list) else given for name, given in lists}
    return (*args[:2], own, *args[3:])


def _copies(patcher: Patcher) -> Sequence[Patcher]:
    """The patchers of the same model on other GPUs."""
    return patcher.get_additional_models_with_key("multigpu")
