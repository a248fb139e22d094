"""A weight in place of another: the scales of norms in control LoRAs, Δ = value − W.

Source: ComfyUI's `set_weight`, whose strength does not count there; at strength s we go s of the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .base import DEFAULTS, Settings, brought, shaped


@dataclass(frozen=True, slots=True)
class Replacement:
    """The weight that another one gives way to."""

    value: Tensor

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`."""
        return shaped(brought(self.value, weight), weight, "the replacement") - weight


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> Replacement:
    """From a sound module's tensors by slot; it has no alpha."""
    return Replacement(parts["value"])
