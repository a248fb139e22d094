"""What models keep from one call to the next. It has the weights of the call that made it, so it is forgotten in time.

ComfyUI does not forget it when weights change: where LoRAs work live they change from one step to the next, and
HiDream-O1 keeps its cache for the next run with the same prompt, whatever is merged there.

To add a cache, write a function that empties it if it is there, and put it into `_FORGET`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from comfy.patcher_extension import CallbacksMP

from .callbacks import add_cleanup
from .protocols import BaseModel, Patcher, RunOptions


def forget(model: BaseModel, options: RunOptions) -> None:
    """Empties the caches that we know, before a call at other weights than those that they were made at."""
    for empty in _FORGET:
        empty(model.diffusion_model, options)


def turn_off(patcher: Patcher) -> None:
    """Turns off, in a clone of ours, what can only be turned off for a whole run: for weights that change in a run.

    Qwen-Image-2.1 keeps the keys and values of the prompt; other models do not read this option.
    """
    patcher.model_options["transformer_options"]["qwen_image21_cache"] = {"device": "off", "dtype": "default"}


def forget_around_runs(patcher: Patcher, key: str) -> None:
    """For merged LoRAs: nothing of a run without them reaches a run with them, and the other way round."""
    if not hasattr(patcher.model.diffusion_model, "clear_kv_cache"):
        return

    def empty(of: Patcher) -> None:
        forget(of.model, {})

    patcher.add_callback_with_key(CallbacksMP.ON_PRE_RUN, key, empty)
    add_cleanup(patcher, key, empty)


def _hidream_o1(net: torch.nn.Module, _: RunOptions) -> None:
    """Keys and values of the prompt, and what the vision tower made of reference images."""
    clear = getattr(net, "clear_kv_cache", None)
    if clear is not None:
        cast("Callable[[], None]", clear)()


def _causal_wan(net: torch.nn.Module, options: RunOptions) -> None:
    """Keys and values of the prompt. Those of earlier frames stay: the sampler has them made once."""
    reset, state = getattr(net, "reset_crossattn_caches", None), options.get("ar_state")
    if reset is not None and state:
        cast("Callable[[object], None]", reset)(state["crossattn_caches"])


def _wan_animate2(_: torch.nn.Module, options: RunOptions) -> None:
    """What the blocks of the pose branch are given."""
    cache = options.get("animate2_cache")
    if cache is not None:
        cache.free()


_FORGET: tuple[Callable[[torch.nn.Module, RunOptions], None], ...] = (_hidream_o1, _causal_wan, _wan_animate2)
