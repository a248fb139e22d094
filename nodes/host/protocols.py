"""What we use of ComfyUI's models, as types. Its own classes are there only where ComfyUI is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypedDict, TypeVar

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

WeightFunction = Callable[[Tensor], Tensor]


class Layer(Protocol):
    """A layer with a weight: of torch, of ComfyUI, or of another pack."""

    weight: Tensor
    bias: Tensor | None
    weight_function: list[WeightFunction]
    """What ComfyUI lets the weight go through before each use; not every layer has it."""
    bias_function: list[WeightFunction]
    """The same for the bias."""

    def forward(self, x: Tensor, /) -> Tensor:
        """What the layer makes of its input."""
        ...

    def register_forward_hook(
        self, hook: Callable[..., object], *, prepend: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Called after the layer."""
        ...

    def register_forward_pre_hook(self, hook: Callable[..., object], *, with_kwargs: bool = False) -> RemovableHandle:
        """Called before the layer."""
        ...


class Sampling(Protocol):
    """The range of noise that a model knows."""

    sigma_max: float | Tensor

    def percent_to_sigma(self, percent: float) -> float | Tensor:
        """0 is the start of a run, 1 is its end."""
        ...


class BaseModel(Protocol):
    """The model inside a patcher: a diffusion model and how it is called."""

    diffusion_model: torch.nn.Module
    model_sampling: Sampling
    manual_cast_dtype: torch.dtype | None
    current_weight_patches_uuid: object
    """Another one whenever the weights are patched anew."""

    def get_dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        ...

    def named_modules(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """All layers by path."""
        ...


class ModelOptions(TypedDict):
    """The part of a patcher's options that we write to; a clone has its own."""

    transformer_options: dict[str, object]


class Backup(Protocol):
    """A weight as it was before it was patched."""

    weight: Tensor


class Patcher(Protocol):
    """A MODEL, and what a CLIP holds: a model and what is changed of it."""

    model: BaseModel
    load_device: torch.device
    offload_device: torch.device
    patches: Mapping[str, Sequence[Sequence[object]]]
    """Key of the state dict → (strength, what is added, strength of the weight, offset, function)."""
    backup: Mapping[str, Backup]
    """The weights of before that patches have replaced, as long as the model is loaded with them; clones share it."""
    hook_backup: Mapping[str, tuple[Tensor, torch.device]]
    """The same for ComfyUI's hooks."""
    object_patches: Mapping[str, object]
    object_patches_backup: Mapping[str, object]
    model_options: ModelOptions
    additional_models: Mapping[str, object]
    """By key, in the order in which they were registered."""
    attachments: Mapping[str, object]
    """Whatever packs leave there, by key; clones have the same."""
    callbacks: dict[str, dict[str, list[Callable[..., object]]]]
    """`CallbacksMP`, by type and key, in the order in which they are called."""
    cached_patcher_init: object
    """How its loader is called again, since ComfyUI 0.33."""

    def clone(self) -> Patcher:
        """Shares the model; its patches are its own."""
        ...

    def patch_weight_to_device(self, key: str) -> object:
        """Puts the patches into a weight; other packs' patchers do it in ways of their own."""
        ...

    def add_object_patch(self, name: str, obj: object) -> None:
        """Anything of the model by its path, for as long as this patcher's patches are in."""
        ...

    def add_patches(self, patches: Mapping[str, object]) -> object:
        """By keys of the state dict."""
        ...

    def model_state_dict(self) -> dict[str, Tensor]:
        """The weights as they are now: with their patches, if the model is loaded."""
        ...

    def get_model_object(self, name: str) -> Layer:
        """A layer by its path, as it will be when the patches are in."""
        ...

    def eject_model(self) -> None:
        """Takes off what injections put on."""
        ...

    def set_injections(self, key: str, injections: Sequence[object]) -> None:
        """`PatcherInjection`s."""
        ...

    def set_additional_models(self, key: str, models: Sequence[Patcher]) -> None:
        """Models that are loaded and freed with this one."""
        ...

    def set_attachments(self, key: str, attachment: object) -> None:
        """Leaves something there."""
        ...

    def get_additional_models_with_key(self, key: str) -> Sequence[Patcher]:
        """Those that are there under a key."""
        ...

    def add_wrapper_with_key(self, wrapper_type: str, key: str, wrapper: Callable[..., object]) -> None:
        """`WrappersMP`."""
        ...

    def add_callback_with_key(self, call_type: str, key: str, callback: Callable[..., object]) -> None:
        """`CallbacksMP`."""
        ...


class Clip(Protocol):
    """A CLIP: text encoders and their patcher."""

    patcher: Patcher
    cond_stage_model: torch.nn.Module

    def clone(self) -> Clip:
        """Shares the text encoders; its patches are its own."""
        ...

    def add_patches(self, patches: Mapping[str, object]) -> object:
        """By keys of the state dict."""
        ...


class Guider(Protocol):
    """One run of a sampler."""

    model_patcher: Patcher
    conds: Mapping[str, Sequence[Mapping[str, object]] | None]
    """Conditionings by name; not every guider has them."""


class Emptied(Protocol):
    """Wan Animate 2's cache."""

    def free(self) -> None:
        """Forgets everything."""
        ...


class Skipping(Protocol):
    """What ComfyUI's EasyCache and LazyCache know of a run."""

    name: str


class RunOptions(TypedDict, total=False):
    """The part of `transformer_options` that says where a run is."""

    sigmas: Tensor
    """Of this call."""
    sample_sigmas: Tensor
    """Of the run's steps; not every sampler says them."""
    cond_or_uncond: Sequence[int]
    """For each part of the batch, its place among the guider's conditionings of this call."""
    uuids: Sequence[object]
    """For each part of the batch, its conditioning."""
    ar_state: Mapping[str, object]
    """Of ComfyUI's sampler for causal video models."""
    animate2_cache: Emptied
    easycache: Skipping


Owner = TypeVar("Owner", covariant=True)


class Executor(Protocol[Owner]):
    """What a wrapper wraps."""

    @property
    def class_obj(self) -> Owner:
        """Whose method it is."""
        ...

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Runs the rest."""
        ...
