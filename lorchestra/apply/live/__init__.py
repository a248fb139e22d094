"""LoRAs beside a layer, not in its weight: y += Σ wₑ·Δₑ·x, for linear layers and convolutions, at weights that change.

The layer's weight is never touched, so it may be quantized, and a new weight of a LoRA is a new number in a small
vector. The halves of plain LoRAs are concatenated as in `lorchestra/fuse.py`: one thin product down, its columns times
their weights, one product up. The caller brings the terms in canonical order; the result is independent, to the bit, of
the order in which a person lists them.

| algorithm | what is added, with y₀ = W·x | costs |
| --- | --- | --- |
| LoRA, LoCon | up·(down·x) | two thin products, all of them in one; a whole one where ranks are high |
| Tucker | up·(mid·(down·x)) | three |
| LoHa | Khatri-Rao factors of rank r₁·r₂, or the whole Δ where these would be larger | two thin ones, or one whole |
| LoKr | w₁·X·w₂ᵀ, with x as a matrix X | two small products |
| GLoRA | W·(a₁·a₂·x) + b₁·b₂·x | a second run of the layer |
| DoRA by row | (r − 1)⊙y₀ + r⊙(Δ·x) with r = m/‖W + Δ‖ | elementwise |
| DoRA by column | W·((r − 1)⊙x) + Δ·(r⊙x) | a second run |
| OFT, BOFT of rows | (R − I)·y₀ | small products |
| OFT, BOFT of columns | W·((R − I)·x) | a second run |
| (IA)³ | v⊙y₀, or W·(v⊙x) | elementwise, or a second run |
| differences, replacements | D·x, or V·x − y₀ | one whole product |
| others; those of columns where there is a kernel; all where there are groups | Δ, kept whole | one whole product |

To add an algorithm nothing is needed here; for a path that is cheaper than its whole Δ, a case in `pieces.py`.
"""

from .geometry import Geometry
from .layer import Cost, LiveLayer, is_plain, supports
from .terms import LiveTerm

__all__ = ["Cost", "Geometry", "LiveLayer", "LiveTerm", "is_plain", "supports"]
