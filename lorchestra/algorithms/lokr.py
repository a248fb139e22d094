"""LoKr: ΔW = α/r · w1 ⊗ w2, a Kronecker product whose factors are whole or low-rank themselves.

Sources: Edalati et al. 2022 (KronA), https://arxiv.org/abs/2212.10650; LyCORIS `lycoris/functional/lokr.py` and
`lycoris/modules/lokr.py`, from which the scale of whole factors is: 1, whatever alpha says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .base import DEFAULTS, Settings, brought, scale_of, shaped
from .loha import product


@dataclass(frozen=True, slots=True)
class LoKr:
    """The tensors of one module, as they lie in the file; of each factor either the whole or the two halves."""

    w1: Tensor | None
    """`[out₁, in₁]`."""
    w1_a: Tensor | None
    """`[out₁, rank]`."""
    w1_b: Tensor | None
    """`[rank, in₁]`."""
    w2: Tensor | None
    """`[out₂, in₂]` or `[out₂, in₂, kernel …]`."""
    w2_a: Tensor | None
    """`[out₂, rank]`; with a core `[rank, out₂]`."""
    w2_b: Tensor | None
    """`[rank, in₂ · kernel]` or `[rank, in₂, kernel …]`; with a core `[rank, in₂]`."""
    t2: Tensor | None
    """Tucker core `[rank, rank, kernel …]` of the second factor, or None."""
    scale: float
    """α / rank; 1 where the file has no alpha and where both factors are whole."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`; products are taken in the weight's dtype."""
        first = _factor(self.w1, self.w1_a, self.w1_b, None, weight) * self.scale
        second = _factor(self.w2, self.w2_a, self.w2_b, self.t2, weight)
        # The Kronecker product by broadcasting: a kernel stays behind its column, which is where it belongs.
        rows, columns = first.shape[0] * second.shape[0], first.shape[1] * second.shape[1]
        update = (first[:, None, :, None] * second[None, :, None, :]).reshape(rows, columns)
        return shaped(update, weight, "LoKr")


def _factor(whole: Tensor | None, a: Tensor | None, b: Tensor | None, core: Tensor | None, like: Tensor) -> Tensor:
    """`[out, in · kernel]` on the device and in the dtype of `like`."""
    if whole is not None:
        return brought(whole, like).flatten(1)
    if a is None or b is None:
        raise ValueError("a factor of LoKr is missing")
    return product(a, b, core, like)


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> LoKr:
    """From a sound module's tensors by slot."""
    half = parts.get("w2_b", parts.get("w1_b"))
    # PEFT scales whole factors too; its scale comes with the settings.
    scale = scale_of(alpha, half.shape[0], settings) if half is not None else scale_of(None, 1, settings)
    names = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")
    w1, w1_a, w1_b, w2, w2_a, w2_b, t2 = (parts.get(name) for name in names)
    return LoKr(w1, w1_a, w1_b, w2, w2_a, w2_b, t2, scale)
