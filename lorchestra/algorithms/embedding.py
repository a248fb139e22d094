"""LoRA of an embedding: ΔW = α/r · (B·A)ᵀ for a table with a row for each token.

Source: PEFT `peft/tuners/lora/layer.py` (`Embedding.get_delta_weight`), which writes `lora_embedding_A` and `_B`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .base import DEFAULTS, Settings, scale_of
from .lora import LoRA


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> LoRA:
    """From `down` `[rank, tokens]` and `up` `[width, rank]`: the same as a LoRA `[tokens, rank] · [rank, width]`."""
    down, up = parts["down"], parts["up"]
    return LoRA(down.T, up.T, None, scale_of(alpha, down.shape[0], settings))
