"""Callbacks of ours on a model's patcher."""

from __future__ import annotations

from collections.abc import Callable

from comfy.patcher_extension import CallbacksMP

from .protocols import Patcher


def add_cleanup(patcher: Patcher, key: str, callback: Callable[[Patcher], None]) -> None:
    """`callback` is called when a run of this patcher, or of a clone, ends: before those of others, which may raise."""
    patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, key, callback)
    callbacks = patcher.callbacks[CallbacksMP.ON_CLEANUP]
    patcher.callbacks[CallbacksMP.ON_CLEANUP] = {key: callbacks[key], **callbacks}
