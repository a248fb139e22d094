"""What of a module can stand alone for some rows of its weight: told from shapes, before a tensor is read.

A file may have one layer where the model has several, one below the other: its module is cut into one for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from . import slots
from .layouts import Layout, Shape, layout


class Rows(NamedTuple):
    """Some rows of the weight that a module is made for."""

    start: int
    length: int
    total: int
    """Of the whole weight; a file does not always tell."""


def parted(algorithm: str, shapes: Mapping[str, Shape], counts: Sequence[int]) -> list[list[Rows]] | str:
    """The rows for each of several layers, of `counts` rows each; or in words why the module cannot be cut exactly.

    A layer may get several pieces: LoKr's rows come in blocks, and a block that is cut stands alone.
    """
    found = layout(algorithm, shapes)
    reason = _whole(algorithm, shapes, found)
    if reason:
        return f"{reason}, and the model has {len(counts)} layers for it"
    edges = [0]
    for count in counts:
        edges.append(edges[-1] + count)
    turned = _turned_block(algorithm, shapes)
    if turned and any(edge % turned for edge in edges[:-1]):
        return f"its blocks turn {turned} rows at a time, which are rows of two of the model's layers"
    block = _block(shapes) if algorithm == slots.LOKR else 0
    return [_pieces(start, stop, block, edges[-1]) for start, stop in pairwise(edges)]


def _whole(algorithm: str, shapes: Mapping[str, Shape], found: Layout) -> str | None:
    """Why all rows hang together, in words."""
    if algorithm not in _BY_ROW:
        return f"{algorithm} is for a whole layer"
    if "shape" in shapes:
        return "it makes the layer larger"
    if algorithm == slots.BOFT and "blocks" in shapes:
        return "BOFT exchanges the rows of the whole layer"
    magnitude = shapes.get("magnitude")
    if magnitude is not None and not is_per_row(magnitude, found):
        return "its DoRA has a norm per column, which is taken over all rows"
    return None


_BY_ROW = frozenset({
    slots.LORA, slots.LOHA, slots.LOKR, slots.GLORA, slots.OFT, slots.BOFT, slots.IA3, slots.DIFF, slots.NORM,
    slots.REPLACEMENT, *slots.BIASES,
})  # fmt: skip


def is_per_row(magnitude: Shape, found: Layout) -> bool:
    """True for LyCORIS' DoRA with a norm per row, `[out, 1, …]`; False for one per column, `[1, in, …]`."""
    if len(magnitude) > 1 and magnitude[0] == 1 and found.inner:
        return magnitude[1] != found.inner[0]
    return True


def _turned_block(algorithm: str, shapes: Mapping[str, Shape]) -> int:
    """Rows that an orthogonal block turns among themselves; 0 where columns are turned."""
    if algorithm != slots.OFT:
        return 0
    blocks = shapes.get("blocks", shapes.get("diag"))
    if blocks is None and "scale" not in shapes and len(shapes["rotation"]) == 3:
        blocks = shapes["rotation"]
    return blocks[-1] if blocks else 0


def _block(shapes: Mapping[str, Shape]) -> int:
    """Rows of LoKr's second factor: row i of the product is row i // n of the first times row i % n of the second."""
    whole = shapes.get("w2")
    if whole is not None:
        return whole[0]
    return shapes["w2_a"][1 if "t2" in shapes else 0]


def _pieces(start: int, stop: int, block: int, total: int) -> list[Rows]:
    """The rows from `start` to `stop` as parts of one block, whole blocks, and parts of one block."""
    if not block or (start % block == 0 and stop % block == 0):
        return [Rows(start, stop - start, total)]
    first, last = -(-start // block) * block, stop // block * block
    edges = [start, first, last, stop] if first <= last else [start, stop]
    return [Rows(low, high - low, total) for low, high in pairwise(edges) if low < high]
