"""What a layer does with its weight, and products over the channels of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch.nn.functional as F
from torch import Tensor

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
"""By the dimensions of the weight."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A linear layer, or a convolution with zeros around its input."""

    shape: tuple[int, ...]
    """Of the weight: `[out, in]` or `[out, in / groups, kernel …]`."""
    stride: tuple[int, ...] | int = 1
    padding: tuple[int, ...] | int | str = 0
    dilation: tuple[int, ...] | int = 1
    groups: int = 1
    has_bias: bool = False

    @property
    def is_linear(self) -> bool:
        """True for `[out, in]`, whose channels stand last; those of convolutions stand second."""
        return len(self.shape) == 2

    @property
    def channel(self) -> int:
        """The dimension of inputs and outputs that has the channels."""
        return -1 if self.is_linear else 1

    @property
    def is_pointwise(self) -> bool:
        """True if an output sees one position of the input only."""
        return prod(self.shape[2:]) == 1

    @property
    def columns(self) -> int:
        """Numbers in a row of the weight."""
        return prod(self.shape[1:])

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """What the layer would make of `x` with another weight, of any number of rows, and no bias."""
        if self.is_linear:
            return F.linear(x, weight)
        convolve = CONVOLUTIONS[len(self.shape)]
        return convolve(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def mixed(self, x: Tensor, matrix: Tensor) -> Tensor:
        """The channels of `x` times `matrix`, `[out, channels]`, at every position."""
        if self.is_linear:
            return F.linear(x, matrix)
        return CONVOLUTIONS[len(self.shape)](x, matrix.reshape(*matrix.shape, *[1] * (len(self.shape) - 2)))

    def along(self, values: Tensor, dims: int) -> Tensor:
        """A number per channel, `[n]`, or also per row of the batch, `[batch, n]`, for a product with `dims` dims."""
        if self.is_linear:
            return values if values.dim() == 1 else values.reshape(len(values), *[1] * (dims - 2), -1)
        return values.reshape(*values.shape, *[1] * (dims - 2))

    def scaled(self, fresh: Tensor, factors: Tensor) -> Tensor:
        """The channels of `fresh`, which is lost, times `[n]` or `[batch, n]`; all digits of the factors are used."""
        if factors.dim() == 2:
            factors = by_row(factors, fresh.shape[0])
        factors = self.along(factors, fresh.dim())
        return fresh.mul_(factors) if factors.dtype == fresh.dtype else (fresh * factors).to(fresh.dtype)

    def add_whole(self, view: Tensor, x: Tensor, weight: Tensor, start: int) -> None:
        """Adds the product of `x` with a weight of some rows to a `view` of the layer's output, in place."""
        part = view.narrow(1, start, len(weight))
        if self.is_linear:
            part.addmm_(self.view(x, 2), weight.T)
        else:
            part.add_(self.view(self.product(x, weight), view.dim()))

    def view(self, y: Tensor, dims: int) -> Tensor:
        """`[tokens, channels]` for 2 dims, `[batch, channels, positions]` for 3; a copy where that is no view."""
        if dims == 3:
            return y.flatten(2)
        return (y if self.is_linear else y.movedim(1, -1)).reshape(-1, y.shape[self.channel])

    def writable(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(a `view` of `y`, `y`), which share memory; of a copy where it lies otherwise in memory."""
        if not self.is_linear and not y.is_contiguous() and y.movedim(1, -1).is_contiguous():
            return self.view(y, 2), y
        y = y.contiguous()
        return self.view(y, 2 if self.is_linear else 3), y


def by_row(factors: Tensor, count: int) -> Tensor:
    """`[batch, n]` for a layer that sees `count` rows, several for each of the batch where frames are rows."""
    batch = factors.shape[0]
    if count == batch:
        return factors
    if count % batch:
        raise ValueError(f"weights for {batch} rows of a batch cannot be told apart in a layer that sees {count}")
    return factors.repeat_interleave(count // batch, 0)


def add_product(part: Tensor, columns: Tensor, up: Tensor) -> None:
    """part += columns · up in place, rounded once; `up` is `[rank, rows]`, the others are views of `Geometry.view`."""
    if part.dim() == 2:
        part.addmm_(columns, up)
    else:
        part.baddbmm_(up.T.expand(len(part), -1, -1), columns)
