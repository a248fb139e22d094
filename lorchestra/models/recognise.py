"""Which architecture a base model is, from the names and shapes of its diffusion model's tensors."""

from __future__ import annotations

from collections.abc import Mapping

from ..architectures.index import Layer, any_of, index
from ..architectures.patterns import Shape


def identify_base(shapes: Mapping[str, Shape | None]) -> tuple[str, ...]:
    """Which architectures a base model is, from its diffusion model's tensors by native name; best first, or none.

    Every tensor that has a name and a shape of an architecture speaks for it; what a model has and what it lacks
    decide. Packed tensors (None) count by their names.
    """
    found = index()
    counts: dict[int, int] = {}
    total = 0
    for name, shape in shapes.items():
        layer = found.layer(name.removesuffix(".weight"))
        total += layer is not None or name.endswith((".weight", ".bias"))  # not the scales of quantized weights
        if layer:
            mask = _packed_mask(layer) if shape is None else (layer.exact or layer.shapes).get(shape, 0)
            counts[mask] = counts.get(mask, 0) + 1
    likeness: dict[int, float] = {}
    for bit in range(len(found.ids)):
        common = sum(count for mask, count in counts.items() if mask >> bit & 1)
        if common:
            likeness[bit] = common / max(total, found.tensors[bit])
    best = max(likeness.values(), default=0.0)
    if best < _LEAST_LIKENESS:
        return ()
    close = [bit for bit, value in likeness.items() if value >= best - 0.002]
    return tuple(found.ids[bit] for bit in sorted(close, key=lambda bit: (-likeness[bit], found.commonness(bit))))


_LEAST_LIKENESS = 0.8


def _packed_mask(layer: Layer) -> int:
    """The architectures whose layer of that name may be packed: linear layers are, convolutions hardly ever."""
    shapes = layer.exact or layer.shapes
    return any_of({shape: mask for shape, mask in shapes.items() if len(shape) == 2}) or any_of(shapes)
