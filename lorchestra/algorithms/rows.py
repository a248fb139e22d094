"""Some rows of a module as a module of their own: for layers that a file has as one and the model as several."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..spelling import slots
from ..spelling.layouts import is_old_glora, layout
from ..spelling.rows import Rows, is_per_row
from .boft import limited

Cut = tuple[dict[str, Tensor], float | None]
"""The tensors by slot, and the alpha."""


def cut(algorithm: str, parts: Mapping[str, Tensor], alpha: float | None, rows: Rows) -> Cut:
    """The tensors by slot, and the alpha, of the module that is the same for these rows alone.

    `rows` are those of `spelling.rows.parted`, so that the result is exact: the same numbers in fewer rows. Tensors
    are views of the given ones where they can be.
    """
    start, count, total = rows
    result = dict(parts)
    shapes = {slot: tuple(tensor.shape) for slot, tensor in parts.items()}

    def keep(slot: str, first: int = start, number: int = count, dim: int = 0) -> None:
        if slot in result:
            result[slot] = result[slot].narrow(dim, first, number)

    if algorithm in (slots.LORA, slots.LORA_BIAS):
        keep("up")
        keep("bias")
    elif algorithm == slots.LOHA:
        keep("w1_a", dim=1 if "t1" in parts else 0)
        keep("w2_a", dim=1 if "t2" in parts else 0)
    elif algorithm == slots.LOKR:
        inner = "w2" if "w2" in parts else "w2_a"
        dim = 1 if "t2" in parts else 0
        block = shapes[inner][dim]
        outer = "w1" if "w1" in parts else "w1_a"
        keep(outer, start // block, -(-count // block))
        if count % block or start % block:
            keep(inner, start % block, count, dim)
    elif algorithm == slots.GLORA:
        a1, a2, b1, b2 = (shapes[name] for name in ("a1", "a2", "b1", "b2"))
        keep("b2" if is_old_glora(a1, a2, b1, b2) else "b1")
    elif algorithm == slots.OFT:
        alpha = _cut_blocks(result, alpha, rows)
    elif algorithm == slots.IA3:
        if "vector" in parts:
            shape = shapes["vector"]
            is_output = shape[0] == total if len(shape) != 4 else shape[1] == total
            if is_output:
                keep("vector", dim=1 if len(shape) == 4 else 0)
        elif not bool(parts["on_input"].item()):
            weight = parts["weight"]
            keep("weight", dim=next((dim for dim, length in enumerate(weight.shape) if length == total), 0))
    elif algorithm in _DENSE:
        for slot in parts:
            keep(slot)
    if "magnitude_vector" in parts:
        vector = parts["magnitude_vector"]
        keep("magnitude_vector", dim=0 if vector.dim() == 1 or vector.shape[0] == total else 1)
    if "magnitude" in parts and is_per_row(shapes["magnitude"], layout(algorithm, shapes)):
        keep("magnitude", dim=0 if shapes["magnitude"][0] == total else 1)
    for slot in ("rescale", "scale"):  # a number per row, `[out, 1, …]`, or `[1, out]` from PEFT's convolutions
        if slot in parts and parts[slot].numel() == total:
            keep(slot, dim=0 if shapes[slot][0] == total else 1)
    return result, alpha


_DENSE = (slots.DIFF, slots.DIFF_BIAS, slots.NORM, slots.NORM_BIAS, slots.REPLACEMENT)


def _cut_blocks(parts: dict[str, Tensor], alpha: float | None, rows: Rows) -> float | None:
    """OFT's blocks for these rows in place of all; the alpha that they have then.

    Alpha limits Q of all blocks together: where it does, the blocks are shrunk here, in fp64.
    """
    start, count, _ = rows
    slot = next((slot for slot in ("blocks", "diag") if slot in parts), "rotation")
    blocks = parts[slot]
    if slot == "rotation" and (blocks.dim() != 3 or "scale" in parts):
        return alpha  # columns
    width = blocks.shape[-1]
    if slot == "blocks" and alpha:
        wide = blocks.double()
        skew = wide - wide.mT
        limit = alpha * blocks.shape[0] * width
        if float(skew.square().sum()) > limit * limit:
            # Q is linear in the blocks: half of the skew matrix has just this Q
            blocks = limited(skew, limit) / 2
        alpha = None
    if blocks.shape[0] > 1 or slot != "rotation":
        blocks = blocks[start // width : -(-(start + count) // width)]
    parts[slot] = blocks
    return alpha
