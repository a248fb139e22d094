"""LoRAs beside a layer against the same LoRAs in its weight, for every algorithm and every kind of layer."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.algorithm_files import CONVOLUTION, KINDS, MATRIX, made
from support.closeness import apart, noise
from support.exact import same_bits
from support.lora_files import factors, weight
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lorchestra.algorithms import BOFT, IA3, OFT, Adapter, DoRA, GLoRA, InputOFT, LoHa, LoKr, LoRA, read
from lorchestra.algorithms.full import Difference
from lorchestra.apply.fuse import Term, add_updates
from lorchestra.apply.live import Geometry, LiveLayer, LiveTerm, supports
from lorchestra.architectures.sites import Offset, Place
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
    return LiveTerm(adapter(kind, shape, entry + 1), entry, Place(offset, swapped))


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
        parts.setdefault(item.place.offset, []).append(Term(item.adapter, strength, item.place.swapped))
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


def _blocks(count: int, width: int, *stages: int) -> Tensor:
    return noise(*stages, count, width, width, seed=5, size=0.1)


def _loha(shape: tuple[int, ...], rank: int, tucker: bool = False) -> LoHa:
    out, inner, *kernel = shape
    if tucker:
        halves = [noise(rank, width, seed=seed, size=0.3) for seed in (1, 2) for width in (out, inner)]
        cores = [noise(rank, rank, *kernel, seed=seed, size=0.3) for seed in (3, 4)]
        return LoHa(*halves, *cores, 0.5)
    halves = [noise(*size, seed=seed, size=0.3) for seed in (1, 2) for size in ((out, rank), (rank, inner, *kernel))]
    return LoHa(*halves, None, None, 0.5)


def _lokr(w1: tuple[int, int], w2: tuple[int, ...], how: str) -> LoKr:
    first, second = noise(*w1, seed=1, size=0.3), noise(*w2, seed=2, size=0.1)
    out, inner, *kernel = w2
    if how == "whole":
        return LoKr(first, None, None, second, None, None, None, 1.0)
    a, b = noise(w1[0], 2, seed=3), noise(2, w1[1], seed=4, size=0.1)
    if how == "halves":
        return LoKr(
            None, a, b, None, noise(out, 3, seed=5), noise(3, inner * prod(kernel), seed=6, size=0.1), None, 0.5
        )
    core = noise(3, 3, *kernel, seed=7, size=0.3)
    return LoKr(None, a, b, None, noise(3, out, seed=5), noise(3, inner, seed=6, size=0.3), core, 0.5)


def _dora(base: Adapter, shape: tuple[int, ...], axis: int) -> DoRA:
    lengths = [length if dim == axis else 1 for dim, length in enumerate(shape)]
    return DoRA(base, 0.5 + noise(*lengths, seed=9, size=0.05).abs(), False, 2.0**-23)


def _glora(shape: tuple[int, ...]) -> GLoRA:
    out, inner, *kernel = shape
    a1, a2, b1 = noise(inner, 3, seed=1, size=0.2), noise(3, inner, seed=2, size=0.2), noise(out, 3, seed=3, size=0.2)
    return GLoRA(a1, a2, b1, noise(3, inner, *kernel, seed=4, size=0.2), 0.5)


@dataclass(frozen=True)
class Unknown:
    """An algorithm that has no path of its own."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`."""
        return weight.flip(0) - weight.tanh()


_MATRIX, _KERNEL = LINEAR.shape, CONV.shape
_TALL = 1 + noise(16, 1, 1, 1, seed=8, size=0.1)

SPELLINGS: dict[str, tuple[str, Adapter]] = {
    "LoHa of high rank": ("linear", _loha(_MATRIX, 16)),
    "LoHa of a kernel": ("3x3 with strides", _loha(_KERNEL, 2)),
    "LoHa with cores": ("3x3 with strides", _loha(_KERNEL, 4, tucker=True)),
    "LoKr, both whole": ("linear", _lokr((6, 4), (8, 10), "whole")),
    "LoKr, the first one larger": ("linear", _lokr((24, 20), (2, 2), "whole")),
    "LoKr, both in halves": ("linear", _lokr((6, 4), (8, 10), "halves")),
    "LoKr with a whole kernel": ("3x3 with strides", _lokr((4, 3), (4, 4, 3, 3), "whole")),
    "LoKr with halves and a kernel": ("3x3 with strides", _lokr((4, 3), (4, 4, 3, 3), "halves")),
    "LoKr with a core": ("3x3 with strides", _lokr((4, 3), (4, 4, 3, 3), "core")),
    "LoKr across channels": ("3x3 with strides", _lokr((4, 9), (4, 12), "whole")),
    "GLoRA of a kernel": ("3x3 with strides", _glora(_KERNEL)),
    "DoRA by row of LoHa": ("linear", _dora(_loha(_MATRIX, 2), _MATRIX, 0)),
    "DoRA by column of LoHa": ("linear", _dora(_loha(_MATRIX, 2), _MATRIX, 1)),
    "DoRA by row of LoHa with cores": ("3x3", _dora(_loha(_KERNEL, 4, tucker=True), _KERNEL, 0)),
    "DoRA by column of LoHa with cores": ("3x3", _dora(_loha(_KERNEL, 4, tucker=True), _KERNEL, 1)),
    "DoRA by column of a kernel's LoHa": ("3x3", _dora(_loha(_KERNEL, 4), _KERNEL, 1)),
    "DoRA by row of LoKr": ("3x3", _dora(_lokr((4, 3), (4, 4, 3, 3), "halves"), _KERNEL, 0)),
    "DoRA by column of LoKr": ("3x3", _dora(_lokr((4, 3), (4, 4, 3, 3), "core"), _KERNEL, 1)),
    "DoRA by row of LoKr across channels": ("3x3", _dora(_lokr((4, 9), (4, 12), "whole"), _KERNEL, 0)),
    "DoRA by column of LoKr across channels": ("3x3", _dora(_lokr((4, 9), (4, 12), "whole"), _KERNEL, 1)),
    "DoRA by row of GLoRA": ("linear", _dora(_glora(_MATRIX), _MATRIX, 0)),
    "DoRA by column of GLoRA": ("3x3", _dora(_glora(_KERNEL), _KERNEL, 1)),
    "DoRA by row of Tucker": ("3x3", _dora(adapter("Tucker", _KERNEL), _KERNEL, 0)),
    "DoRA by column of Tucker": ("3x3", _dora(adapter("Tucker", _KERNEL), _KERNEL, 1)),
    "DoRA by column of a difference": ("linear", _dora(adapter("diff", _MATRIX), _MATRIX, 1)),
    "DoRA of OFT": ("linear", _dora(adapter("OFT", _MATRIX), _MATRIX, 0)),
    "OFT with a constraint and a rescale": ("3x3", OFT(_blocks(4, 4), _TALL, 0.1, False, False)),
    "OFT of rotations": ("1x1", OFT(torch.linalg.qr(_blocks(4, 4)).Q, None, 0.0, True, False)),
    "OFT of PEFT, a block for all": ("linear", OFT(_blocks(1, 32), None, 0.0, False, True)),
    "OFT of PEFT, beyond the last row": ("3x3 with strides", OFT(_blocks(4, 5), None, 0.0, False, True)),
    "OFT of columns": ("linear", InputOFT(noise(5, 28, size=0.1), None, 1.0, 5, True)),
    "OFT of columns, rescaled": ("linear", InputOFT(_blocks(1, 8), 1 + noise(48, 1, size=0.1), 1.0, 0, True)),
    "OFT of columns, scaled": ("linear", InputOFT(noise(5, 28, size=0.1), None, 5.0, 0, False)),
    "OFT of columns of PEFT, 1x1": ("1x1 with strides", InputOFT(noise(3, 6, size=0.1), None, 1.0, 5, True)),
    "OFT of columns, 1x1": ("1x1 with strides", InputOFT(noise(3, 6, size=0.1), None, 1.0, 5, False)),
    "OFT of columns and kernel": ("3x3 with strides", InputOFT(noise(18, 15, size=0.1), None, 1.0, 5, False)),
    "BOFT of three stages": ("3x3", BOFT(_blocks(4, 4, 3), _TALL, 0.5, False)),
    "BOFT of columns": ("linear", BOFT(_blocks(10, 4, 2), 1 + noise(1, 48, size=0.1), 0.0, True)),
    "BOFT of columns, 1x1": ("1x1 with strides", BOFT(_blocks(3, 4, 1), None, 0.0, True)),
    "BOFT of columns and kernel": ("3x3", BOFT(_blocks(27, 4, 1), None, 0.0, True)),
    "(IA)³ of PEFT on the input": ("linear", IA3(1 + noise(1, 40, size=0.1), None, True)),
    "(IA)³ of PEFT in a convolution": ("3x3", IA3(1 + noise(1, 16, 1, 1, size=0.1), None, True)),
    "(IA)³, one number": ("linear", IA3(torch.full((48,), 0.1), False, False)),
    "a linear LoRA of a convolution": ("1x1", LoRA(noise(16, 2), noise(2, 12, size=0.1), None, 0.5)),
    "a convolution's LoRA of a linear layer": ("linear", LoRA(noise(48, 2, 1, 1), noise(2, 40, 1, 1), None, 0.01)),
    "a core that is no saving": ("3x3", LoRA(noise(16, 14), noise(14, 12, 1, 1), noise(14, 14, 3, 3), 0.01)),
    "a LoRA of full rank": ("linear", LoRA(noise(48, 64), noise(64, 40), None, 0.01)),
    "one that is not known": ("linear", Unknown()),
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling(name: str, swapped: bool) -> None:
    at, spelled = SPELLINGS[name]
    for dtype in (torch.float32, torch.float64):
        layer, terms = Layer(GEOMETRIES[at], dtype), [LiveTerm(spelled, 0, Place(None, swapped))]
        check(layer, terms, numbers(0.6, dtype=dtype))
        check(layer, terms, numbers(0.6, dtype=dtype, rows=True))
        assert apart(layer.live(terms, (), numbers(0.6)), layer.base(layer.x)) > 1e-2


PARTS = (None, (0, 0, 16), (0, 16, 16), (0, 32, 16), (0, 8, 16))


@st.composite
def mixes(draw: st.DrawFn, geometry: Geometry) -> list[LiveTerm]:
    parts = PARTS if geometry.is_linear else (None, (0, 0, 8), (0, 8, 8))
    item = st.tuples(st.sampled_from(kinds(geometry)), st.integers(0, 3), st.sampled_from(parts), st.booleans())
    mix = draw(st.lists(item, max_size=6))
    return [term(kind, entry, geometry, offset, swapped) for kind, entry, offset, swapped in mix]


@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_mix_on_the_whole_and_on_parts(rows: bool, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["linear", "linear without a bias", "3x3 with strides", "1x1", "1d"]))
    geometry = GEOMETRIES[name]
    terms = data.draw(mixes(geometry))
    active = data.draw(st.lists(st.booleans(), min_size=4, max_size=4))
    weights = numbers(0.9, -1.3, 0.2, 2.0, rows=rows) * torch.tensor(active)
    layer = Layer(geometry)
    bias_terms = [LiveTerm(read("bias difference", {"diff_b": noise(geometry.shape[0])}, None), 1)]
    if geometry.has_bias:
        check(layer, terms, weights, bias_terms)
    result = layer.live(terms, (), weights, active)
    assert apart(result, layer.merged(terms, (), weights)) <= 1e-5
    if not any(active[item.entry] for item in terms):
        assert same_bits(result, layer.base(layer.x))


def everything(geometry: Geometry, entries: Sequence[int] | None = None) -> list[LiveTerm]:
    """A term of each algorithm, all with entries of their own."""
    order = range(len(kinds(geometry))) if entries is None else entries
    return [
        LiveTerm(adapter(kind, geometry.shape, seed), entry)
        for seed, (kind, entry) in enumerate(zip(kinds(geometry), order, strict=True))
    ]


def spread(count: int, dtype: torch.dtype = torch.float32, rows: bool = False) -> Tensor:
    return numbers(*(0.4 - 0.07 * n for n in range(count)), dtype=dtype, rows=rows)


@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("name", ["linear", "3x3 with strides"])
def test_all_algorithms_at_once(name: str, dtype: torch.dtype, rows: bool) -> None:
    geometry = GEOMETRIES[name]
    terms = everything(geometry)
    check(Layer(geometry, dtype), terms, spread(len(terms), dtype, rows))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["LoRA", "LoHa", "LoKr", "DoRA by row"])
def test_what_is_added_has_all_the_digits_that_half_precision_has(kind: str, dtype: torch.dtype) -> None:
    """Against what is added, not against the output. fp16 has few digits for as small a half as this LoRA's."""
    parts = factors((48, 40), 8)
    lora = LoRA(parts["up"] * 1e-3, parts["down"] * 1e3, None, 1 / 32)
    item = LiveTerm(lora, 0) if kind == "LoRA" else term(kind, 0, LINEAR)
    layer = Layer(replace(LINEAR, has_bias=False), dtype)
    change = layer.merged([item], (), numbers(0.7)) - layer.merged([], (), numbers(0.7))
    live = LiveLayer([item], (), layer.geometry, dtype)
    if live.needs_base():
        live.prepare(layer.weight)
    start = torch.zeros_like(layer.base(layer.x)) if kind != "DoRA by row" else layer.base(layer.x)
    result = live(layer.x, start.clone(), layer.base, numbers(0.7), [True]).double() - start.double()
    assert apart(result, change) <= (2e-3 if dtype == torch.float16 else 1.6e-2)


@pytest.mark.parametrize("name", ["linear", "3x3 with strides"])
def test_the_numbers_of_the_entries_do_not_matter_to_the_bit(name: str) -> None:
    """The order in which a person lists LoRAs gives them their numbers; the terms stand in canonical order."""
    geometry = GEOMETRIES[name]
    layer, count = Layer(geometry), len(kinds(geometry))
    weights = spread(count)
    order = [(5 * n + 3) % count for n in range(count)] if count % 5 else [(7 * n + 3) % count for n in range(count)]
    assert sorted(order) == list(range(count)) != order
    other = weights.clone()
    other[order] = weights
    first = layer.live(everything(geometry), (), weights)
    assert same_bits(first, layer.live(everything(geometry, order), (), other))


def _in_place(out: Sequence[int], one: Sequence[int], other: Sequence[int], *_: object, **__: object) -> int:
    return 2 * prod(one) * other[-1]


IN_PLACE = {torch.ops.aten.addmm_: _in_place, torch.ops.aten.baddbmm_: _in_place}
"""What torch's own counter leaves out."""


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
@pytest.mark.parametrize("name", ["linear", "3x3 with strides"])
def test_entries_at_0_cost_nothing_and_are_not_even_read(name: str, rows: bool) -> None:
    geometry = GEOMETRIES[name]
    layer, terms = Layer(geometry), everything(geometry)
    count = len(terms)
    live = LiveLayer(terms, (), geometry, torch.float32)
    live.prepare(layer.weight, layer.bias)
    y = layer.base(layer.x)
    for chosen in [(), (0,), (1, 3), tuple(range(4, count)), tuple(range(count))]:
        weights = spread(count, rows=rows)
        others = [n for n in range(count) if n not in chosen]
        weights[..., others] = torch.nan
        active = [n in chosen for n in range(count)]
        alone = LiveLayer([terms[n] for n in chosen], (), geometry, torch.float32)
        alone.prepare(layer.weight, layer.bias)
        layer.runs = 0
        cost = flops(lambda: live(layer.x, y.clone(), layer.base, weights, active))  # noqa: B023
        runs, layer.runs = layer.runs, 0
        assert cost == flops(lambda: alone(layer.x, y.clone(), layer.base, weights, active))  # noqa: B023
        assert runs == layer.runs
        result = live(layer.x, y.clone(), layer.base, weights, active)
        assert apart(result, layer.merged([terms[n] for n in chosen], (), weights)) <= 1e-5
    assert live(layer.x, y, layer.base, spread(count), [False] * count) is y
    assert flops(lambda: live(layer.x, y, layer.base, spread(count), [False] * count)) == 0


def test_a_plain_lora_costs_its_two_thin_products() -> None:
    layer = Layer(LINEAR)
    live = LiveLayer([term("LoRA", 0, LINEAR), term("LoRA", 1, LINEAR, (0, 16, 16))], (), LINEAR, torch.float32)
    assert not live.needs_base()
    y, tokens = layer.base(layer.x), layer.x[..., 0].numel()
    cost = flops(lambda: live(layer.x, y, layer.base, numbers(0.5, 0.6), [True, True]))
    assert cost == 2 * tokens * 4 * (40 + 48 + 40 + 16) == 2 * (live.cost(tokens).beside or 0)


def test_all_that_turn_the_inputs_run_the_layer_once() -> None:
    """Parts of the rows and scaled rows need runs of their own."""
    layer = Layer(LINEAR)
    terms = [term(kind, n, LINEAR) for n, kind in enumerate(["GLoRA", "DoRA by column", "(IA)³ on the input"])]
    layer.live(terms, (), spread(3))
    assert layer.runs == 1
    layer.live([*terms, term("GLoRA", 3, LINEAR, (0, 16, 16))], (), spread(4))
    assert layer.runs == 2


RANKS = {"below": 4, "beyond": 64}


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("name", ["linear", "3x3 with strides"])
def test_the_cheaper_side_is_taken(name: str, rank: str) -> None:
    geometry = GEOMETRIES[name]
    layer = Layer(geometry, batch=32)
    terms = [
        LiveTerm(LoRA(parts["up"], parts["down"], None, 1.0), entry, Place(offset))
        for entry, offset in enumerate([None, (0, 8, 8), (0, 8, 8)])
        for parts in [factors(((offset or (0, 0, geometry.shape[0]))[2], *geometry.shape[1:]), RANKS[rank], seed=entry)]
    ]
    weights, active = spread(3), [True] * 3
    live = LiveLayer(terms, (), geometry, torch.float32)
    y = layer.base(layer.x)
    tokens = y.numel() // geometry.shape[0]
    cost = live.cost(tokens)
    assert flops(lambda: live(layer.x, y.clone(), layer.base, weights, active)) == 2 * (cost.beside or 0)
    assert flops(lambda: live.merged(layer.weight, weights, active)) == 2 * (cost.merging or 0)
    thin = tokens * sum(RANKS[rank] * (prod(geometry.shape[1:]) + rows) for rows in (geometry.shape[0], 8, 8))
    assert (cost.beside == thin) == (rank == "below")
    for one in (weights, weights * torch.tensor([1.0, 0.0, 1.0])):
        on = [bool(value) for value in one]
        expected = layer.merged(terms, (), one)
        assert apart(live(layer.x, y.clone(), layer.base, one, on), expected) <= 1e-5
        merged = live.merged(layer.weight, one, on)
        assert apart(layer.product(layer.x, merged, layer.bias), expected) <= 1e-5
        if not geometry.is_linear:
            turned = live.merged(layer.weight.to(memory_format=torch.channels_last), one, on)
            assert same_bits(turned.contiguous(), merged)
    assert same_bits(layer.weight, weight(geometry.shape))


def test_what_is_not_a_plain_lora_has_no_cost_and_is_not_merged() -> None:
    live = LiveLayer([term("LoRA", 0, LINEAR), term("LoHa", 1, LINEAR)], (), LINEAR, torch.float32)
    assert (live.cost(10).beside, live.cost(10).merging) == (None, None)
    with pytest.raises(ValueError, match="only plain LoRAs"):
        live.merged(weight(LINEAR.shape), numbers(1, 1), [True, True])


@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("offset", [None, (0, 16, 16)])
@pytest.mark.parametrize("name", ["linear", "linear without a bias"])
def test_biases(name: str, offset: Offset | None, swapped: bool, rows: bool) -> None:
    geometry = GEOMETRIES[name]
    count = geometry.shape[0] if offset is None else offset[2]
    changes = [
        read("bias difference", {"diff_b": noise(count, seed=3)}, None),
        read("LoRA bias", {"bias": noise(count, seed=4)}, None),
        read("weight replacement", {"value": noise(count, seed=5)}, None),
        IA3(1 + noise(count, 1, seed=6), None, True),
    ]
    layer = Layer(geometry)
    if not geometry.has_bias:  # differences from nothing
        layer.bias = torch.zeros(geometry.shape[0])
        changes = changes[:2]
    terms = [LiveTerm(change, entry, Place(offset, swapped)) for entry, change in enumerate(changes)]
    check(layer, [term("OFT", 0, geometry), term("LoRA", 1, geometry)], spread(len(changes), rows=rows), terms)
    check(layer, [], spread(len(changes), rows=rows), terms)


@pytest.mark.parametrize("name", ["channels last", "transposed", "frames"])
@pytest.mark.parametrize("rows", [False, True], ids=["one weight", "a weight per row"])
def test_inputs_that_lie_otherwise_in_memory(name: str, rows: bool) -> None:
    geometry = GEOMETRIES["3x3"]
    layer, terms = Layer(geometry, batch=2), everything(geometry)
    weights = spread(len(terms), rows=rows)
    expected = layer.merged(terms, (), weights)
    live = LiveLayer(terms, (), geometry, torch.float32)
    live.prepare(layer.weight, layer.bias)
    x, y, active = layer.x, layer.base(layer.x), [True] * len(terms)
    if name == "channels last":
        x, y = (tensor.to(memory_format=torch.channels_last) for tensor in (x, y))
    elif name == "transposed":
        x, y = (tensor.transpose(2, 3).contiguous().transpose(2, 3) for tensor in (x, y))
    else:  # each row of the batch is there several times
        x, y, expected = (tensor.repeat_interleave(3, 0) for tensor in (x, y, expected))
    assert apart(live(x, y, layer.base, weights, active), expected) <= 1e-5


def test_a_vector_without_a_batch() -> None:
    layer, terms = Layer(LINEAR), everything(LINEAR)
    weights = spread(len(terms))
    expected = layer.merged(terms, (), weights)[0, 0]
    layer.x = layer.x[0, 0]
    assert apart(layer.live(terms, (), weights), expected) <= 1e-5


def test_rows_that_cannot_be_told_apart_are_refused_in_words() -> None:
    layer = Layer(LINEAR, batch=3)
    with pytest.raises(ValueError, match="weights for 2 rows of a batch cannot be told apart in a layer that sees 3"):
        layer.live([term("LoRA", 0, LINEAR)], (), numbers(0.5, rows=True))


@pytest.mark.parametrize("kind", CONVOLUTION)
def test_groups(kind: str) -> None:
    geometry = Geometry((16, 4, 3, 3), padding=(1, 1), groups=4, has_bias=True)
    for rows in (False, True):
        check(Layer(geometry), [term(kind, 0, geometry)], numbers(0.8, rows=rows))


def test_another_dtype_than_the_layer_was_made_for() -> None:
    layer, terms = Layer(LINEAR), everything(LINEAR)
    live = LiveLayer(terms, (), LINEAR, torch.float32)
    live.prepare(layer.weight, layer.bias)
    weights = spread(len(terms))
    x, y = layer.x.bfloat16(), layer.base(layer.x).bfloat16()
    result = live(x, y, lambda x: layer.base(x.float()), weights, [True] * len(terms))
    assert result.dtype == torch.bfloat16
    assert apart(result, layer.merged(terms, (), weights)) <= LIMITS[torch.bfloat16]


NEEDS: dict[str, tuple[str, bool]] = {
    "LoRA": ("linear", False), "LoHa": ("linear", False), "LoKr": ("linear", False), "Tucker": ("3x3", False),
    "diff": ("linear", False), "GLoRA": ("linear without a bias", True), "DoRA by row": ("linear", True),
    "DoRA by column": ("linear without a bias", True), "OFT": ("linear", True), "set": ("linear", True),
    "BOFT": ("linear without a bias", False), "(IA)³ of PEFT": ("linear without a bias", False),
    "(IA)³ on the input": ("linear", True),
}  # fmt: skip


@pytest.mark.parametrize("kind", NEEDS)
def test_who_needs_the_layer_itself(kind: str) -> None:
    name, needs = NEEDS[kind]
    geometry = GEOMETRIES[name]
    live = LiveLayer([term(kind, 0, geometry)], (), geometry, torch.float32)
    assert live.needs_base() == needs
    layer = Layer(geometry)
    if kind in ("DoRA by row", "OFT"):
        with pytest.raises(RuntimeError, match="call prepare"):
            live(layer.x, layer.base(layer.x), layer.base, numbers(1), [True])


def test_everything_is_a_buffer_and_moves() -> None:
    """ComfyUI's memory manager counts state dicts, and copies models for other GPUs."""
    layer, terms = Layer(LINEAR), everything(LINEAR)
    live = LiveLayer(terms, (), LINEAR, torch.float32)
    live.prepare(layer.weight, layer.bias)
    assert not list(live.parameters())
    assert len(live.state_dict()) == len(list(live.buffers())) > len(terms)
    weights, active = spread(len(terms)), [True] * len(terms)
    expected = live(layer.x, layer.base(layer.x), layer.base, weights, active)
    copied = copy.deepcopy(live)
    live.to("meta")
    assert all(buffer.is_meta for buffer in live.buffers())
    assert same_bits(copied(layer.x, layer.base(layer.x), layer.base, weights, active), expected)


def test_a_plain_lora_takes_no_more_memory_than_its_file() -> None:
    kept = LiveLayer([term("LoRA", 0, LINEAR), term("LoHa", 1, LINEAR)], (), LINEAR, torch.float32)
    tensors = [tensor for kind in ("LoRA", "LoHa") for tensor in made(kind, LINEAR.shape).values() if tensor.dim()]
    numbers_kept = sum(buffer.numel() for buffer in kept.buffers() if buffer.is_floating_point())
    assert numbers_kept == sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize("name", ["linear", "3x3"])
def test_a_weight_that_changes_compiles_nothing_anew(name: str) -> None:
    from torch._dynamo.testing import CompileCounter

    geometry = GEOMETRIES[name]
    layer, terms = Layer(geometry), everything(geometry)
    live = LiveLayer(terms, (), geometry, torch.float32)
    live.prepare(layer.weight, layer.bias)
    counter = CompileCounter()
    active = [True] * len(terms)

    @torch.compile(backend=counter, fullgraph=True)
    def run(x: Tensor, weights: Tensor) -> Tensor:
        y = layer.product(x, layer.weight, layer.bias)
        return live(x, y, lambda x: layer.product(x, layer.weight, layer.bias), weights, active)

    for strength in (1.0, 0.3, -2.0):
        weights = spread(len(terms)) * strength
        assert apart(run(layer.x, weights), layer.merged(terms, (), weights)) <= 1e-5
    assert counter.frame_count == 1


FITS_ALL = ("one that is not known", "OFT of PEFT, a block for all")

REFUSED = [
    (LiveTerm(read("norm difference", {"w_norm": noise(48)}, None), 0), Geometry((48,)), "the scale of a norm"),
    (LiveTerm(adapter("LoRA", (48, 8)), 0, Place((1, 0, 8))), LINEAR, "some columns"),
    (LiveTerm(adapter("LoRA", (4, 4, 3, 3)), 0, Place((0, 0, 4))), Geometry((16, 4, 3, 3), groups=4), "has groups"),
    (LiveTerm(LoRA(noise(48, 2), noise(2, 50), None, 1.0, (48, 50)), 0), LINEAR, r"larger, \[48, 50\]"),
    (LiveTerm(adapter("diff", (4, 4, 1, 1, 1, 1)), 0), Geometry((4, 4, 1, 1, 1, 1)), "no layer has a weight of shape"),
]


@pytest.mark.parametrize(("item", "geometry", "words"), REFUSED)
def test_what_has_to_be_merged(item: LiveTerm, geometry: Geometry, words: str) -> None:
    assert re.search(words, supports(item, geometry) or "")
    with pytest.raises(ValueError, match=words):
        LiveLayer([item], (), geometry, torch.float32)


@pytest.mark.parametrize("name", [name for name in SPELLINGS if name not in FITS_ALL])
def test_what_does_not_fit_is_refused_in_words(name: str) -> None:
    at, spelled = SPELLINGS[name]
    shape = (50, 44, *GEOMETRIES[at].shape[2:])
    with pytest.raises(ValueError, match=r"\d"):
        live = LiveLayer([LiveTerm(spelled, 0)], (), replace(GEOMETRIES[at], shape=shape), torch.float32)
        live.prepare(weight(shape), noise(shape[0]))


@pytest.mark.parametrize("kind", MATRIX)
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_weight_with_all_that_is_added(kind: str, has_bias: bool) -> None:
    """For every algorithm, on a layer and on a part of it, weight and bias give what merging gives."""
    geometry = Geometry((24, 16), has_bias=has_bias)
    layer = Layer(geometry)
    terms = [term(kind, 0, geometry), term(kind, 1, geometry, (0, 8, 8))]
    shift = [LiveTerm(Difference(noise(24, seed=6), 1.0), 2)] if has_bias else []
    live = LiveLayer(terms, shift, geometry, torch.float32)
    live.prepare(layer.weight, layer.bias)
    assert live.is_addable() and live.has_shifts() == has_bias
    weights, before = numbers(0.7, -0.4, 0.5), layer.weight.clone()
    for active in ([True, True, True], [True, False, True]):
        chosen = [item for item in terms if active[item.entry]]
        result = live.new_weight(layer.weight, weights, active)
        assert apart(result, _merged(layer.weight, chosen, weights)) <= 1e-6
        if layer.bias is not None:
            bias = live.new_bias(layer.bias, weights, active)
            assert apart(bias, _merged(layer.bias, shift, weights)) <= 1e-6
    assert torch.equal(live.new_weight(layer.weight, weights, [False] * 3), layer.weight)
    assert torch.equal(layer.weight, before)


def test_only_plain_loras_are_added_to_the_weight_of_a_convolution() -> None:
    geometry = Geometry((8, 8, 3, 3), padding=1)
    live = LiveLayer([term("LoHa", 0, geometry)], (), geometry, torch.float32)
    assert not live.is_addable()
    with pytest.raises(ValueError, match="only plain LoRAs can be added to the weight of a convolution"):
        live.new_weight(weight(geometry.shape), numbers(1), [True])
    assert LiveLayer([term("LoRA", 0, geometry)], (), geometry, torch.float32).is_addable()
