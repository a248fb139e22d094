"""LoRAs beside a layer against the same LoRAs in its weight, for every algorithm and every kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from algorithm_files import CONVOLUTION, KINDS, MATRIX, made
from closeness import apart, noise
from exact import same_bits
from lora_files import weight
from torch import Tensor

from lorchestra.algorithms import Adapter, read
from lorchestra.fuse import Term, add_updates
from lorchestra.live import Geometry, LiveLayer, LiveTerm
from lorchestra.placing import Offset
from lorchestra.spelling import slots

LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}

LINEAR = Geometry((48, 40), has_bias=True)
CONV = Geometry((16, 12, 3, 3), stride=(2, 2), padding=(1, 1), has_bias=True)
GEOMETRIES = {
    "linear": LINEAR,
    "linear without a bias": replace(LINEAR, has_bias=False),
    "1x1": Geometry((16, 12, 1, 1), has_bias=True),
    "1x1 with strides": Geometry((16, 12, 1, 1), stride=(2, 2), padding=(1, 0), has_bias=True),
    "3x3": replace(CONV, stride=1),
    "3x3 with strides": CONV,
    "3x3 dilated": Geometry((16, 12, 3, 3), stride=(1, 2), padding=(2, 0), dilation=(2, 1), has_bias=True),
    "same": Geometry((16, 12, 3, 3), padding="same", has_bias=False),
    "1d": Geometry((16, 12, 3), padding=(1,), has_bias=True),
    "3d": Geometry((16, 12, 3, 1, 3), stride=(1, 2, 1), padding=(1, 0, 1), has_bias=True),
}


def kinds(geometry: Geometry) -> tuple[str, ...]:
    """What goes with a layer of this shape."""
    return MATRIX if geometry.is_linear else CONVOLUTION


def adapter(kind: str, shape: tuple[int, ...], seed: int = 0) -> Adapter:
    """As it is read from a file."""
    parts: dict[str, Tensor] = {}
    for end, tensor in made(kind, shape, seed).items():
        found = slots.split(f"x{end}")
        parts[found[2] if found else end.removeprefix(".")] = tensor
    alpha = parts.pop("alpha", None)
    return read(KINDS[kind].algorithm, parts, None if alpha is None else float(alpha))


def term(kind: str, entry: int, geometry: Geometry, offset: Offset | None = None, swapped: bool = False) -> LiveTerm:
    shape = geometry.shape if offset is None else (offset[2], *geometry.shape[1:])
    return LiveTerm(adapter(kind, shape, entry + 1), entry, offset, swapped)


class Layer:
    """A layer with a weight, its inputs, and what LoRAs make of it; everything is worked out again in fp64."""

    def __init__(self, geometry: Geometry, dtype: torch.dtype = torch.float32, batch: int = 2) -> None:
        self.geometry = geometry
        self.dtype = dtype
        self.weight = weight(geometry.shape).to(dtype)
        self.bias = noise(geometry.shape[0], seed=1, size=0.1).to(dtype) if geometry.has_bias else None
        channels = geometry.shape[1] * geometry.groups
        size = (9, 8, 5)[: len(geometry.shape) - 2]
        places = (7, channels) if geometry.is_linear else (channels, *size)
        self.x = noise(batch, *places, seed=2).to(dtype)
        self.runs = 0

    def base(self, x: Tensor) -> Tensor:
        """The layer itself; counts its runs."""
        self.runs += 1
        return self.product(x, self.weight, self.bias)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = self.geometry.product(x, weight)
        if bias is None:
            return y
        return y + (bias if self.geometry.is_linear else bias.reshape(-1, *[1] * (y.dim() - 2)))

    def merged(self, terms: Sequence[LiveTerm], bias_terms: Sequence[LiveTerm], weights: Tensor) -> Tensor:
        """What the layer gives with everything merged, row by row of the batch, in fp64."""
        outputs: list[Tensor] = []
        for row, x in enumerate(self.x):
            at = weights[row] if weights.dim() == 2 else weights
            whole = _merged(self.weight, terms, at)
            bias = None if self.bias is None else _merged(self.bias, bias_terms, at)
            outputs.append(self.product(x[None].double(), whole, bias))
        return torch.cat(outputs)

    def live(
        self,
        terms: Sequence[LiveTerm],
        bias_terms: Sequence[LiveTerm],
        weights: Tensor,
        active: Sequence[bool] | None = None,
    ) -> Tensor:
        """What the layer gives with everything beside it."""
        layer = LiveLayer(terms, bias_terms, self.geometry, self.dtype)
        if layer.needs_base():
            layer.prepare(self.weight, self.bias)
        y = self.base(self.x)
        self.runs = 0
        result = layer(self.x, y, self.base, weights, [True] * weights.shape[-1] if active is None else active)
        assert result.dtype == self.dtype
        return result


def _merged(start: Tensor, terms: Sequence[LiveTerm], weights: Tensor) -> Tensor:
    parts: dict[Offset | None, list[Term]] = {}
    for item in terms:
        strength = float(weights[item.entry])
        parts.setdefault(item.offset, []).append(Term(item.adapter, strength, item.swapped))
    return add_updates(start.double().clone(), list(parts.items()))


def numbers(*values: float, dtype: torch.dtype = torch.float32, rows: bool = False) -> Tensor:
    """Weights of entries, the same or others for each row of a batch of two."""
    one = torch.tensor(values, dtype=torch.promote_types(dtype, torch.float32))
    return torch.stack([one, -0.5 * one.flip(0)]) if rows else one


def check(layer: Layer, terms: Sequence[LiveTerm], weights: Tensor, bias_terms: Sequence[LiveTerm] = ()) -> None:
    before = layer.x.clone(), layer.weight.clone()
    error = apart(layer.live(terms, bias_terms, weights), layer.merged(terms, bias_terms, weights))
    assert error <= LIMITS[layer.dtype]
    assert same_bits(layer.x, before[0])
    assert same_bits(layer.weight, before[1])


EVERYTHING = [(name, kind) for name, geometry in GEOMETRIES.items() for kind in kinds(geometry)]


@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "kind"), EVERYTHING)
def test_every_algorithm_beside_every_layer(name: str, kind: str, dtype: torch.dtype, rows: bool) -> None:
    geometry = GEOMETRIES[name]
    layer = Layer(geometry, dtype)
    terms = [term(kind, 0, geometry)]
    check(layer, terms, numbers(-0.7, dtype=dtype, rows=rows))
    plain = layer.base(layer.x)
    assert apart(layer.live(terms, (), numbers(-0.7, dtype=dtype)), plain) > 1e-2
