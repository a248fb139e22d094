"""Conditionings that have weights of their own: one at a time, where ComfyUI or a layer would take them together."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from torch import Tensor

from ..protocols import BaseModel, Patcher
from .rows import MixedRows
from .session import Session

Prepare = Callable[[BaseModel, Mapping[str, object]], Session | None]
"""Writes the weights for the arguments of a model's `extra_conds`."""


class Conditionings:
    """A wrapper of one step's calls: as few as ComfyUI likes, until a layer mixes rows that have different weights.

    The call that finds this out is lost. From then on each conditioning has a call of its own.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._is_apart = False

    def __call__(
        self, executor: Callable[..., Sequence[Tensor]], model: BaseModel, conds: Sequence[object], *args: object
    ) -> Sequence[Tensor]:
        """The model's answer for each conditioning; what is None has none."""
        if not self._is_apart:
            try:
                return executor(model, conds, *args)
            except MixedRows as error:
                if sum(cond is not None for cond in conds) < 2:
                    raise
                self._is_apart = True
                self._tell(f"{error.layer} {error.finding}: each conditioning has a call of its own now.")
        results: list[Tensor] = []
        for place in range(len(conds)):
            alone = [cond if index == place else None for index, cond in enumerate(conds)]
            results.append(executor(model, alone, *args)[place])
        return results


def around_preparation(patcher: Patcher, prepare: Prepare) -> Callable[..., object]:
    """What stands in place of a model's `extra_conds`, which ComfyUI asks for one conditioning at a time.

    `prepare` is a method. Its stack and the model are known only while they are there: this may stay for longer.
    """
    before = cast("Callable[..., object]", patcher.get_model_object("extra_conds"))
    of, method = weakref.ref(patcher.model), weakref.WeakMethod(prepare)

    def extra_conds(**kwargs: object) -> object:
        model, write = of(), method()
        session = None if model is None or write is None else write(model, kwargs)
        try:
            return before(**kwargs)
        finally:
            if session is not None:
                session.end()

    return extra_conds
