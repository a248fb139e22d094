"""From adapters to the pieces of a side path: the same ones whether the layer's weight is known yet or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from ...algorithms import ADDITIVE
from ...algorithms.base import Adapter, wide
from ...algorithms.boft import BOFT, cayley_step, limited, rescaled
from ...algorithms.dora import DoRA
from ...algorithms.full import Difference
from ...algorithms.glora import GLoRA
from ...algorithms.ia3 import IA3
from ...algorithms.loha import LoHa, product
from ...algorithms.lokr import LoKr
from ...algorithms.lora import LoRA, down_matrix, up_matrix
from ...algorithms.oft import OFT, InputOFT
from ...algorithms.replacement import Replacement
from ...algorithms.row_order import to_file, to_model
from ...spelling.layouts import triangle_width
from .geometry import Geometry
from .low_rank import Thin
from .paths import Dense, Hadamard, Kronecker, Path, ThinHadamard, Tucker
from .terms import LiveTerm
from .turns import Blocks, Butterfly, Diagonal, Factored, Reordered, Turned


@dataclass(frozen=True, slots=True)
class Values:
    """A number per output, `[out]`: a factor of W·x, or a summand."""

    entry: int
    values: Tensor


@dataclass(frozen=True, slots=True)
class _Spot:
    """A term's place in the layer."""

    entry: int
    start: int
    shape: tuple[int, ...]
    """Of the part of the weight."""
    weight: Tensor | None
    """That part, its rows as the file has them, fp32 or fp64; None while the weight is not known."""
    swapped: bool
    heads: int

    @property
    def rows(self) -> int:
        return self.shape[0]

    def back(self, values: Tensor, dim: int = 0) -> Tensor:
        """Rows of the file to rows of the model."""
        return to_model(values, self.swapped, self.heads, dim)


class Pieces:
    """All terms of one layer, taken apart.

    Without the weight and the bias, what depends on them has the right shape, but not the right numbers.
    """

    def __init__(
        self, geometry: Geometry, dtype: torch.dtype, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> None:
        self.geometry = geometry
        self.dtype = dtype
        self.thin: list[Thin] = []
        self.paths: list[Path] = []
        self.factors: list[Values] = []
        self.shifts: list[Values] = []
        self.turned: list[Turned] = []
        self.needs_weight = False
        self.needs_bias = False
        self._device = torch.device("cpu") if weight is None else weight.device
        self._wide = torch.promote_types(dtype, torch.float32)
        self._weight = None if weight is None else weight.to(self._wide)
        self._bias = None if bias is None else bias.to(self._device, self._wide)

    @property
    def uses_outputs(self) -> bool:
        """True if W·x itself is needed, without the bias."""
        return bool(self.factors or self.turned)

    def bias(self) -> Tensor:
        """The layer's bias, to be taken off its outputs."""
        return self._out(torch.zeros(self.geometry.shape[0]) if self._bias is None else self._bias)

    def add(self, term: LiveTerm) -> None:
        """Takes a term of the weight apart; raises `ValueError`, in words, where it does not fit."""
        start, rows = term.place.offset[1:] if term.place.offset else (0, self.geometry.shape[0])
        shape = (rows, *self.geometry.shape[1:])
        weight = None if self._weight is None else self._weight.narrow(0, start, rows)
        if weight is not None:
            weight = to_file(weight, term.place.swapped, term.place.heads)
        spot = _Spot(term.entry, start, shape, weight, term.place.swapped, term.place.heads)
        if self.geometry.groups == 1:
            self._add(term.adapter, spot, None, None)
        else:
            self._dense(term.adapter, spot)

    def add_bias(self, term: LiveTerm) -> None:
        """Takes a term of the bias."""
        start, rows = term.place.offset[1:] if term.place.offset else (0, self.geometry.shape[0])
        bias = torch.zeros(rows, dtype=self._wide) if self._bias is None else self._bias.narrow(0, start, rows)
        self.needs_bias = self.needs_bias or not isinstance(term.adapter, Difference)
        spot = _Spot(term.entry, start, (rows,), None, term.place.swapped, term.place.heads)
        update = term.adapter.update(to_file(bias, term.place.swapped, term.place.heads))
        self.shifts.append(Values(term.entry, self._out(self._whole(spot.back(update), start))))

    def _add(self, adapter: Adapter, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        """Δ with its rows and columns scaled, `[rows]` and `[in]`; that is for what a DoRA can stand on."""
        if isinstance(adapter, LoRA):
            self._lora(adapter, spot, factors, columns)
        elif isinstance(adapter, LoHa):
            self._loha(adapter, spot, factors, columns)
        elif isinstance(adapter, LoKr):
            self._lokr(adapter, spot, factors, columns)
        elif isinstance(adapter, GLoRA):
            self._glora(adapter, spot, factors, columns)
        elif isinstance(adapter, Difference):
            self._difference(adapter, spot, factors, columns)
        elif isinstance(adapter, Replacement):
            self._replacement(adapter, spot)
        elif isinstance(adapter, IA3):
            self._ia3(adapter, spot)
        elif isinstance(adapter, DoRA):
            self._dora(adapter, spot)
        elif isinstance(adapter, OFT):
            self._oft(adapter, spot)
        elif isinstance(adapter, InputOFT):
            self._input_oft(adapter, spot)
        elif isinstance(adapter, BOFT):
            self._boft(adapter, spot)
        else:
            self._dense(adapter, spot)

    def _lora(self, lora: LoRA, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        up = _times(self._here(up_matrix(lora)) * lora.scale, factors, 0)
        if lora.mid is not None and self._keeps_core(lora, spot):
            mid, down = self._here(lora.mid), _times(self._here(lora.down.flatten(1)), columns, 1)
            self._check("LoRA", (len(up), down.shape[1], *mid.shape[2:]), spot)
            up = spot.back(up).T
            up, down = self._balanced(up, down)
            self.paths.append(
                Tucker(spot.entry, spot.start, self._out(up), self._out(mid), self._out(down), self.geometry)
            )
            return
        here = LoRA(lora.up, self._here(lora.down), None if lora.mid is None else self._here(lora.mid), 1.0)
        self._thin(up, down_matrix(here, self._wide), spot, columns, "LoRA")

    def _keeps_core(self, lora: LoRA, spot: _Spot) -> bool:
        """True if a kernel on few channels is less work than one on all of them."""
        width, inner, kernel = lora.down.shape[0], spot.shape[1], prod(spot.shape[2:])
        return inner + width * kernel < inner * kernel

    def _thin(self, up: Tensor, down: Tensor, spot: _Spot, columns: Tensor | None, name: str) -> None:
        """Two halves `[rows, rank]` and `[rank, in · kernel]`."""
        self._check(name, (len(up), down.shape[1]), spot)
        down = _times(down.reshape(-1, *spot.shape[1:]), columns, 1)
        up, down = self._balanced(spot.back(up).T, down)
        self.thin.append(Thin(spot.entry, spot.start, self._out(up), self._out(down)))

    def _loha(self, loha: LoHa, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        a1, b1, a2, b2 = (self._here(half) for half in (loha.w1_a, loha.w1_b, loha.w2_a, loha.w2_b))
        cores = None if loha.t1 is None or loha.t2 is None else (self._here(loha.t1), self._here(loha.t2))
        side = 1 if cores else 0  # where the rows are
        if not cores:
            a1, b1, a2, b2 = (half.flatten(1) for half in (a1, b1, a2, b2))
        kernel = prod(cores[0].shape[2:]) if cores else 1
        self._check("LoHa", (a1.shape[side], b1.shape[1] * kernel), spot)
        a1 = spot.back(_times(a1 * loha.scale, factors, side), side)
        a2 = spot.back(a2, side)
        b1 = b1 if columns is None else _times(b1.reshape(len(b1), len(columns), -1), columns, 1).flatten(1)
        rank = len(b1) * len(b2)
        is_thin = not cores and rank * (len(a1) + b1.shape[1]) < len(a1) * b1.shape[1]
        (a1, b1), (a2, b2) = self._balanced(a1, b1), self._balanced(a2, b2)
        halves = (self._out(a1), self._out(b1), self._out(a2), self._out(b2))
        if is_thin:
            a1, b1, a2, b2 = halves
            halves = (a1.T.contiguous(), b1, a2.T.contiguous(), b2)
            self.paths.append(ThinHadamard(spot.entry, spot.start, halves, self.geometry))
        else:
            kept = None if cores is None else (self._out(cores[0]), self._out(cores[1]))
            self.paths.append(Hadamard(spot.entry, spot.start, halves, kept, self.geometry))

    def _lokr(self, lokr: LoKr, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        w1 = self._here(lokr.w1) if lokr.w1 is not None else self._product(lokr.w1_a, lokr.w1_b)
        w1, kernel, w2_up = w1.flatten(1) * lokr.scale, spot.shape[2:], None
        if lokr.w2 is not None:
            w2 = self._here(lokr.w2).flatten(1)
        elif lokr.t2 is None and lokr.w2_a is not None and lokr.w2_b is not None:
            w2, w2_up = self._here(lokr.w2_b).flatten(1), self._here(lokr.w2_a).flatten(1)
        else:
            w2 = self._product(lokr.w2_a, lokr.w2_b, lokr.t2)
        rows = len(w1) * len(w2 if w2_up is None else w2_up)
        self._check("LoKr", (rows, w1.shape[1] * w2.shape[1]), spot)
        if spot.shape[1] % w1.shape[1]:  # w₁'s columns are no whole channels
            zeros = torch.zeros(spot.shape, dtype=self._wide, device=self._device)
            delta = _times(_times(lokr.update(zeros), factors, 0), columns, 1)
            self.paths.append(Dense(spot.entry, spot.start, self._out(spot.back(delta)), self.geometry))
            return
        w2 = w2.reshape(len(w2), -1, *kernel)
        w1, w2 = self._balanced(w1, w2)
        self.paths.append(
            Kronecker(
                spot.entry, spot.start, self._out(w1), self._out(w2),
                None if w2_up is None else self._out(w2_up), self.geometry,
                factors=None if factors is None else self._out(factors),
                columns=None if columns is None else self._out(columns),
                swapped=spot.swapped, heads=spot.heads,
            )
        )  # fmt: skip

    def _product(self, a: Tensor | None, b: Tensor | None, core: Tensor | None = None) -> Tensor:
        if a is None or b is None:
            raise ValueError("a factor of LoKr is missing")
        return product(a, b, core, self._here(b))

    def _glora(self, glora: GLoRA, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        a1, a2, b1, b2 = (self._here(half.flatten(1)) for half in (glora.a1, glora.a2, glora.b1, glora.b2))
        if (len(a1), a2.shape[1]) != (spot.shape[1], spot.shape[1]):
            raise ValueError(f"GLoRA made for {len(a1)} columns cannot change a weight of {list(spot.shape)}")
        self._thin(_times(b1 * glora.scale, factors, 0), b2, spot, columns, "GLoRA")
        first, second = self._balanced(a1 * glora.scale, _times(a2, columns, 1))
        self._before(Factored(self._out(first), self._out(second), self.geometry), spot, factors)

    def _difference(self, full: Difference, spot: _Spot, factors: Tensor | None, columns: Tensor | None) -> None:
        delta = self._here(full.diff) * full.scale
        self._check("the difference", (len(delta), delta.numel() // len(delta)), spot)
        delta = _times(_times(delta.reshape(spot.shape), factors, 0), columns, 1)
        self.paths.append(Dense(spot.entry, spot.start, self._out(spot.back(delta)), self.geometry))

    def _replacement(self, other: Replacement, spot: _Spot) -> None:
        self._difference(Difference(other.value, 1.0), spot, None, None)
        self._scale(torch.full((spot.rows,), -1.0, device=self._device), spot)

    def _ia3(self, ia3: IA3, spot: _Spot) -> None:
        ones = torch.ones(*spot.shape[:2], *[1] * len(spot.shape[2:]), dtype=self._wide, device=self._device)
        shares = ia3.update(ones).flatten(1)
        if torch.equal(shares, shares[:, :1].expand_as(shares)):
            self._scale(shares[:, 0], spot)
        else:
            self._before(Diagonal(self._out(shares[0]), self.geometry), spot, None)

    def _dora(self, dora: DoRA, spot: _Spot) -> None:
        if not isinstance(dora.base, (LoRA, LoHa, LoKr, GLoRA, Difference)):
            self._dense(dora, spot)
            return
        self.needs_weight = True
        # Without the weight only the shape is told.
        weight = torch.empty(spot.shape, device="meta") if spot.weight is None else spot.weight
        ratio = dora.ratio(weight, dora.base.update(weight))
        is_rows = len(ratio) == ratio.numel() == spot.rows
        ratio = torch.zeros(ratio.shape) if ratio.is_meta else ratio
        excess, ratio = (ratio - 1).flatten(), ratio.flatten().to(self._wide)
        if is_rows:
            self._scale(excess, spot)
            self._add(dora.base, spot, ratio, None)
        else:
            self._before(Diagonal(self._out(excess), self.geometry), spot, None)
            self._add(dora.base, spot, None, ratio)

    def _oft(self, oft: OFT, spot: _Spot) -> None:
        width = oft.blocks.shape[1]
        count = -(-spot.rows // width)
        # What it does to identities is its blocks.
        steps = oft.update(self._identities(width, count)[: spot.rows])
        steps = torch.nn.functional.pad(steps, (0, 0, 0, count * width - spot.rows))
        self._after(Blocks(self._out(steps.reshape(count, width, width)), self.geometry), spot, None)

    def _input_oft(self, oft: InputOFT, spot: _Spot) -> None:
        if not self.geometry.is_pointwise:
            self._dense(oft, spot)
            return
        width = oft.rotation.shape[-1] if oft.rotation.dim() == 3 else triangle_width(oft.rotation.shape[1]) or 1
        inner = spot.shape[1]
        identities = self._identities(width, -(-inner // width)).T[:, :inner]
        steps = replace(oft, rescale=None).update(identities.reshape(width, inner, *spot.shape[2:]))
        steps = steps.reshape(width, inner // width, width).transpose(0, 1)
        self._rescaled(oft.rescale, Blocks(self._out(steps), self.geometry), spot, self._before)

    def _boft(self, boft: BOFT, spot: _Spot) -> None:
        if boft.on_input and not self.geometry.is_pointwise:
            self._dense(boft, spot)
            return
        blocks = boft.blocks.to(self._device, wide(torch.empty(0, device=self._device)))
        stages, count, width = blocks.shape[:3]
        channels = spot.shape[1] if boft.on_input else spot.rows
        if count * width != channels:
            raise ValueError(
                f"BOFT's blocks of shape {list(blocks.shape)} cannot turn a weight of shape {list(spot.shape)}"
            )
        skew = (blocks.mT - blocks) / 2 if boft.on_input else limited(blocks - blocks.mT, boft.constraint)
        steps = cayley_step(skew)
        orders = torch.stack([_order(channels, width, stage, boft.on_input) for stage in range(stages)])
        if boft.on_input:  # x sees R transposed: the last stage first
            steps, orders = steps.mT.flip(0), orders.flip(0)
        turn = Butterfly(self._out(steps), orders.to(self._device), self.geometry)
        self._rescaled(boft.rescale, turn, spot, self._before if boft.on_input else self._after)

    def _rescaled(
        self, rescale: Tensor | None, turn: torch.nn.Module, spot: _Spot,
        add: Callable[[torch.nn.Module, _Spot, Tensor | None], None],
    ) -> None:  # fmt: skip
        """f ⊙ (y₀ + turned) − y₀ = f ⊙ turned + (f − 1) ⊙ y₀."""
        if rescale is None:
            add(turn, spot, None)
            return
        zeros = torch.zeros(spot.rows, 1, dtype=wide(torch.empty(0, device=self._device)), device=self._device)
        excess = rescaled(zeros, rescale, zeros + 1).flatten()
        add(turn, spot, excess + 1)
        self._scale(excess, spot)

    def _identities(self, width: int, count: int) -> Tensor:
        """`[count · width, width]`."""
        return torch.eye(width, dtype=self._wide, device=self._device).repeat(count, 1)

    def _dense(self, adapter: Adapter, spot: _Spot) -> None:
        """Keeps the Δ as it is."""
        self.needs_weight = self.needs_weight or not isinstance(adapter, ADDITIVE)
        if spot.weight is not None:
            delta = adapter.update(spot.weight)
        elif isinstance(adapter, ADDITIVE):
            delta = adapter.update(torch.zeros(spot.shape, dtype=self._wide, device=self._device))
        else:
            delta = torch.zeros(spot.shape)
        self.paths.append(Dense(spot.entry, spot.start, self._out(spot.back(delta)), self.geometry))

    def _scale(self, excess: Tensor, spot: _Spot) -> None:
        """Scales the rows by 1 + excess."""
        self.factors.append(Values(spot.entry, self._out(self._whole(spot.back(excess), spot.start))))

    def _before(self, turn: torch.nn.Module, spot: _Spot, factors: Tensor | None) -> None:
        """A map of the inputs."""
        factors = None if factors is None else self._out(spot.back(factors))
        self.turned.append(Turned(spot.entry, spot.start, spot.rows, turn, factors, on_input=True))

    def _after(self, turn: torch.nn.Module, spot: _Spot, factors: Tensor | None) -> None:
        """A map of the outputs."""
        factors = None if factors is None else self._out(spot.back(factors))
        if spot.swapped or spot.heads:
            turn = Reordered(turn, self.geometry, spot.swapped, spot.heads)
        self.turned.append(Turned(spot.entry, spot.start, spot.rows, turn, factors, on_input=False))

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device).to(self._wide)

    def _out(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype).contiguous()

    def _whole(self, values: Tensor, start: int) -> Tensor:
        """`[out]` from some rows, with zeros around them."""
        return torch.nn.functional.pad(values, (start, self.geometry.shape[0] - start - len(values)))

    def _balanced(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The same product of factors that are about as large as each other, for fp16, whose small numbers are few."""
        if self.dtype != torch.float16:
            return first, second
        sizes = first.abs().max(), second.abs().max()
        shift = torch.exp2(torch.round(torch.log2(sizes[1] / sizes[0]) / 2)) if min(sizes) > 0 else 1.0
        return first * shift, second / shift

    def _check(self, name: str, shape: tuple[int, ...], spot: _Spot) -> None:
        if shape[0] != spot.rows or prod(shape[1:]) != prod(spot.shape[1:]):
            raise ValueError(f"{name} made for shape {list(shape)} cannot change a weight of {list(spot.shape)}")


def _times(values: Tensor, factors: Tensor | None, dim: int) -> Tensor:
    """Scaled along one dimension."""
    if factors is None:
        return values
    return values * factors.reshape([-1 if other == dim else 1 for other in range(values.dim())])


def _order(channels: int, width: int, stage: int, on_input: bool) -> Tensor:
    """Where the stage of a BOFT takes each channel from; as `BOFT.update` has it."""
    chunk, inner = (width // 2, 2**stage) if on_input else (1, 2**stage * (width // 2))
    order = torch.arange(channels)
    return order if inner == 1 else order.reshape(-1, 2, inner, chunk).transpose(1, 2).flatten()
