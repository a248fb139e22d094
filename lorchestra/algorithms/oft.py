"""OFT: the weight turned by a block-diagonal orthogonal matrix R, W' = Rᵀ·W (rows) or W·Rᵀ (columns).

R is the Cayley transform of a skew matrix, R = (I + Q)(I − Q)⁻¹ (Qiu et al. 2023, https://arxiv.org/abs/2306.07280).

- Rows: kohya `networks/oft.py` and LyCORIS `lycoris/modules/diag_oft.py` store B with Q = B − Bᵀ (`oft_blocks`);
  LyCORIS 2.0 stored R itself (`oft_diag`), PEFT up to 0.13 X with Q = (Xᵀ − X)/2 (`oft_r`). Alpha is no scale here:
  ‖Q‖ is limited to alpha · rows. ComfyUI 0.33 limits it to alpha, and ignores `rescale`.
- Columns: PEFT `peft/tuners/oft/layer.py`, OneTrainer `modules/module/oft_utils.py` and kohya `networks/oft_v2.py`
  store Q above its diagonal (`oft_R`) and take the first terms of the Neumann series for the inverse. ComfyUI 0.33
  reads none of them.

Δ is linear in the strength, as in LyCORIS: R₍s₎ = I + s(R − I). ComfyUI 0.33 multiplies by the strength twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..spelling.layouts import triangle_width
from .base import DEFAULTS, Adapter, Settings, brought, wide
from .boft import cayley_step, limited, rescaled
from .boft import read as read_boft


@dataclass(frozen=True, slots=True)
class OFT:
    """Blocks that turn rows."""

    blocks: Tensor
    """`[count, n, n]`; one block stands for all where `is_padded`."""
    rescale: Tensor | None
    """Factors of the turned rows, `[out, 1, …]` (LyCORIS), or None."""
    constraint: float
    """‖Q‖ of all blocks together is at most this; 0 for no limit."""
    is_rotation: bool
    """True if the blocks are R itself, False if Q is made of them."""
    is_padded: bool
    """True for PEFT up to 0.13: Q = (Xᵀ − X)/2, and the blocks may reach beyond the last row."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`. R − I is made in fp64, products are taken in the weight's dtype. Not additive."""
        blocks = brought(self.blocks, weight, wide(weight))
        count, width = blocks.shape[:2]
        if self.is_rotation:
            step = blocks - torch.eye(width, dtype=blocks.dtype, device=blocks.device)
        elif self.is_padded:
            step = cayley_step((blocks.mT - blocks) / 2)
        else:
            step = cayley_step(limited(blocks - blocks.mT, self.constraint))
        rows = weight.flatten(1)
        if self.is_padded:
            count = -(-rows.shape[0] // width)
            if self.blocks.shape[0] not in (1, count):
                raise _misfit(self.blocks, weight)
            step = step.expand(count, width, width)
            rows = torch.nn.functional.pad(rows, (0, 0, 0, count * width - rows.shape[0]))
        elif count * width != rows.shape[0]:
            raise _misfit(self.blocks, weight)
        turned = torch.bmm(step.mT.to(weight.dtype), rows.reshape(count, width, -1)).flatten(0, 1)
        return rescaled(turned[: weight.shape[0]].reshape(weight.shape), self.rescale, weight)


@dataclass(frozen=True, slots=True)
class InputOFT:
    """Blocks that turn columns; those of a convolution's kernel are columns too."""

    rotation: Tensor
    """`[count, n(n−1)/2]`: Q above its diagonal, row by row; or PEFT 0.14's X `[count, n, n]`. One stands for all."""
    rescale: Tensor | None
    """Factors of the rows, `[out, 1]` (PEFT 0.14), or None."""
    divisor: float
    """What Q is divided by: 2·√(n − 1) in OneTrainer's scaled OFT, else 1."""
    terms: int
    """Terms of the Neumann series; 0 for the inverse itself, for which PEFT takes −Q instead of Q."""
    is_peft: bool
    """True for W·Rᵀ in convolutions too; OneTrainer and kohya multiply these by R."""

    def update(self, weight: Tensor) -> Tensor:
        """See `Adapter.update`. R − I is made in fp64, products are taken in the weight's dtype. Not additive."""
        values = brought(self.rotation, weight, wide(weight))
        if values.dim() == 3:
            step = cayley_step((values.mT - values) / 2)
        else:
            q = _skew(values / self.divisor)
            step = neumann_step(q, self.terms) if self.terms else cayley_step(-q)
        width = step.shape[1]
        columns = weight.flatten(1)
        count = columns.shape[1] // width
        if columns.shape[1] % width or step.shape[0] not in (1, count):
            raise _misfit(self.rotation, weight)
        if self.is_peft or weight.dim() == 2:
            step = step.mT
        parts = columns.reshape(-1, count, width).transpose(0, 1)
        turned = torch.bmm(parts, step.to(weight.dtype).expand(count, width, width))
        return rescaled(turned.transpose(0, 1).reshape(weight.shape), self.rescale, weight)


def neumann_step(q: Tensor, terms: int) -> Tensor:
    """R − I with a Neumann series: 2Q + 2Q² + … + Qᵐ, as PEFT since 0.18 and OneTrainer have it; m = 4 for 5 terms.

    PEFT 0.15 to 0.17 doubled the last power too; their files do not say so.
    """
    if terms < 2:
        return torch.zeros_like(q)
    if terms == 2:
        return 2 * q
    power, step = q, 2 * q
    last = max(3, terms - 1)
    for exponent in range(2, last + 1):
        power = power @ q
        step = step + (power if exponent == last else 2 * power)
    return step


def _skew(values: Tensor) -> Tensor:
    """`[count, n, n]` from the numbers above the diagonals."""
    width = triangle_width(values.shape[1])
    if width is None:
        raise ValueError(
            f"OFT's blocks have {values.shape[1]} numbers each, which is not a triangle without its diagonal"
        )
    q = values.new_zeros(values.shape[0], width, width)
    row, column = torch.triu_indices(width, width, 1, device=values.device)
    q[:, row, column] = values
    return q - q.mT


def _misfit(blocks: Tensor, weight: Tensor) -> ValueError:
    return ValueError(f"OFT's blocks of shape {list(blocks.shape)} cannot turn a weight of shape {list(weight.shape)}")


def read(parts: Mapping[str, Tensor], alpha: float | None, settings: Settings = DEFAULTS) -> Adapter:
    """From a sound module's tensors by slot. `oft_blocks` of four dimensions are BOFT's."""
    blocks = parts.get("blocks")
    if blocks is not None and blocks.dim() == 4:
        return read_boft(parts, alpha, settings)
    if blocks is not None:
        return OFT(blocks, parts.get("rescale"), (alpha or 0.0) * blocks.shape[0] * blocks.shape[1], False, False)
    if "diag" in parts:
        return OFT(parts["diag"], None, 0.0, True, False)
    rotation, scale = parts["rotation"], parts.get("scale")
    if rotation.dim() == 3:
        return OFT(rotation, None, 0.0, False, True) if scale is None else InputOFT(rotation, scale, 1.0, 0, True)
    width = triangle_width(rotation.shape[1]) or 2
    divisor = 2.0 * (width - 1) ** 0.5 if "scaled" in parts else 1.0
    return InputOFT(rotation, scale, divisor, settings.neumann_terms, settings.is_peft)
