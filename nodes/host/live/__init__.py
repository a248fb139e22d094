"""The live path: LoRAs beside the layers of a MODEL, with weights that may change at every step."""

from __future__ import annotations

from .runs import Applied, apply, is_quantized

__all__ = ["Applied", "apply", "is_quantized"]
