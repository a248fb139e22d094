"""What the shapes of one module's tensors say: the weight that it is made for, its rank, and what is wrong with them.

To add an algorithm: a function of its shapes, and its line in `_RULES`. Slots are those of `slots.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt, prod

from . import slots

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Layout:
    """The weight that a module is made for, as far as its shapes tell."""

    out: int | None
    """Rows of the weight; None if the file does not tell: OFT on the input, (IA)³."""
    inner: Shape | None
    """The weight's shape without its rows: `(in,)`, `(in, kernel …)` for a convolution, `()` for a vector; None where
    the file does not tell. LoHa, LoKr and OFT may have a convolution's as one number, `(in · kernel,)`."""
    rank: int | None
    """The width of the bottleneck; None for algorithms without one."""
    problem: str | None
    """What is wrong with the shapes among themselves, in words; None when they are sound."""


def layout(algorithm: str, shapes: Shapes) -> Layout:
    """What the shapes say about a module of this algorithm; an algorithm without a rule has a problem.

    `algorithm` is a name from `slots.py`. A DoRA has its base's, with a slot `magnitude` (LyCORIS') or
    `magnitude_vector` (PEFT's) beside the base's.
    """
    if algorithm == slots.LORA and len(shapes) == 2 + ("alpha" in shapes):
        up, down = shapes.get("up"), shapes.get("down")
        if up and down:
            return _plain_lora(up, down)
    return _layout(algorithm, tuple(shapes.items()))


def is_known(algorithm: str) -> bool:
    """True for the algorithms that are applied; files with others are refused by name."""
    return algorithm in _RULES


@lru_cache(maxsize=1024)
def _plain_lora(up: Shape, down: Shape) -> Layout:
    """Nearly every module of nearly every file; a file has few different shapes, and remembering them is faster."""
    return _lora({"up": up, "down": down})


@lru_cache(maxsize=1024)
def _layout(algorithm: str, items: tuple[tuple[str, Shape], ...]) -> Layout:
    rule, shapes = _RULES.get(algorithm), dict(items)
    if rule is None:
        return _broken(f"{algorithm} is not known")
    empty = next((slot for slot, shape in items if 0 in shape), None)
    if empty is not None and algorithm != slots.LORA:  # whose rule has a sentence of its own
        return _broken(f"the {empty} tensor has shape {list(shapes[empty])}, which holds nothing")
    found = rule(shapes)
    if found.problem is None and ("magnitude" in shapes or "magnitude_vector" in shapes):
        return _with_magnitude(found, shapes)
    return found


def _broken(problem: str) -> Layout:
    return Layout(None, None, None, problem)


def _lora(shapes: Shapes) -> Layout:
    """Up `[out, r, 1 …]`, down `[r, in, kernel …]`; with a core `[r, r, kernel …]` the down half is `[r, in, 1 …]`."""
    up, down, mid = shapes.get("up"), shapes.get("down"), shapes.get("mid")
    if up is None or down is None:
        if up is None and down is None:
            return _broken("a core is there but both halves are missing")
        have, lack = ("down", "up") if up is None else ("up", "down")
        return _broken(f"the {have} half is there but the {lack} half is missing")
    if len(up) < 2 or len(down) < 2:
        return _broken(f"the halves have shapes {list(up)} and {list(down)}; both need two dimensions at least")
    if any(size != 1 for size in up[2:]):
        return _broken(f"the up half has shape {list(up)}; it must be one wide beyond its second dimension")
    if 0 in up or 0 in down:
        return _broken(f"the halves have shapes {list(up)} and {list(down)}, which hold nothing")
    if mid is None:
        if up[1] != down[0]:
            return _broken(f"the up half has rank {up[1]}, the down half has rank {down[0]}")
        inner = down[1:]
    else:
        if len(mid) < 3 or mid[:2] != (up[1], down[0]):
            return _broken(f"the core has shape {list(mid)}; with these halves it must begin with {[up[1], down[0]]}")
        if any(size != 1 for size in down[2:]):
            return _broken(
                f"the down half has shape {list(down)}; with a core it must be one wide beyond its second dimension"
            )
        inner = (down[1], *mid[2:])
    bias = shapes.get("bias")
    if bias is not None and bias != up[:1]:
        return _broken(f"the bias has shape {list(bias)}; with this up half it must have {up[0]} numbers")
    return Layout(up[0], inner, down[0], None)


def _loha(shapes: Shapes) -> Layout:
    """`w1_a` `[out, r]`, `w1_b` `[r, in, kernel …]`; with cores `t1` `[r, r, kernel …]` `w1_a` is `[r, out]`.

    OneTrainer's convolutions have `w1_a` as `[out, r, 1, 1]`.
    """
    missing = _missing(shapes, ("w1_a", "w1_b", "w2_a", "w2_b"))
    if missing:
        return missing
    cores = [slot for slot in ("t1", "t2") if slot in shapes]
    if len(cores) == 1:
        return _broken(f"the core {cores[0]} is there but the other one is missing")
    sides: list[tuple[int, Shape]] = []
    for side in ("1", "2"):
        a, b, core = shapes[f"w{side}_a"], shapes[f"w{side}_b"], shapes.get(f"t{side}")
        product = _core_product(a, b, core) if core is not None else _product(a, b)
        if isinstance(product, str):
            return _broken(f"the {side}. factor: {product}")
        sides.append(product)
    if sides[0] != sides[1]:
        first, second = ([out, *inner] for out, inner in sides)
        return _broken(f"the factors are made for weights of shapes {first} and {second}; both must be the same")
    return Layout(*sides[0], shapes["w1_b"][0], None)


def _lokr(shapes: Shapes) -> Layout:
    """The Kronecker product of `w1` and `w2`, each whole or as `_a @ _b`; `w2` also with a core `t2`."""
    factors: list[tuple[int, Shape]] = []
    rank = None
    for name in ("w1", "w2"):
        whole, a, b = shapes.get(name), shapes.get(name + "_a"), shapes.get(name + "_b")
        core = shapes.get("t2") if name == "w2" else None
        if whole is not None:
            if a is not None or b is not None:
                return _broken(f"{name} is there both whole and as two factors")
            if len(whole) < 2:
                return _broken(f"{name} has shape {list(whole)}; it needs two dimensions at least")
            factors.append((whole[0], whole[1:]))
            continue
        if a is None or b is None:
            if a is None and b is None:
                return _broken(f"{name} is missing")
            have, lack = ("b", "a") if a is None else ("a", "b")
            return _broken(f"{name}_{have} is there but {name}_{lack} is missing")
        product = _core_product(a, b, core) if core is not None else _product(a, b)
        if isinstance(product, str):
            return _broken(f"{name}: {product}")
        factors.append(product)
        rank = b[0]
    if "t2" in shapes and "w2" in shapes:
        return _broken("w2 is there both whole and with a core")
    (out1, inner1), (out2, inner2) = factors
    if len(inner1) != 1 and any(size != 1 for size in inner1[1:]):
        return _broken(f"w1 is made for a kernel of {list(inner1[1:])}; it must be a matrix")
    return Layout(out1 * out2, (inner1[0] * inner2[0], *inner2[1:]), rank, None)


def _glora(shapes: Shapes) -> Layout:
    """New: a1 `[in, r]`, a2 `[r, in]`, b1 `[out, r]`, b2 `[r, in, kernel …]`; old: the ones and twos exchanged."""
    missing = _missing(shapes, ("a1", "a2", "b1", "b2"))
    if missing:
        return missing
    a1, a2, b1, b2 = shapes["a1"], shapes["a2"], shapes["b1"], shapes["b2"]
    if min(len(a1), len(a2), len(b1), len(b2)) < 2:
        return _broken("the tensors a1, a2, b1 and b2 need two dimensions at least")
    old = is_old_glora(a1, a2, b1, b2)
    if old is None:
        return _broken(f"a1, a2, b1 and b2 have shapes {[list(shape) for shape in (a1, a2, b1, b2)]}, which do not fit")
    up, down = (b2, b1) if old else (b1, b2)
    return Layout(up[0], down[1:], down[0], None)


def is_old_glora(a1: Shape, a2: Shape, b1: Shape, b2: Shape) -> bool | None:
    """Which of LyCORIS' two layouts GLoRA's tensors have: True for the old one, None if neither fits.

    Both fit where the layer has as many rows as columns. Then the smaller width is taken for the rank, and the old
    layout where both widths are the same, as in ComfyUI.
    """
    old = b2[1] == b1[0] == a1[0] == a2[1] and a1[1] == a2[0] == b1[1]
    new = b2[0] == b1[1] == a1[1] == a2[0] and a1[0] == a2[1] == b2[1]
    if old and new:
        return a1[0] <= a1[1]
    return old if old or new else None


def _oft(shapes: Shapes) -> Layout:
    """Rows: `blocks` or `diag` `[k, n, n]`; columns: PEFT's `rotation` `[k, n(n−1)/2]`, before 0.15 `[k, n, n]`.

    Four dimensions make `blocks` those of BOFT. One block of PEFT's may stand for all.
    """
    blocks, rotation = shapes.get("blocks", shapes.get("diag")), shapes.get("rotation")
    if blocks is not None:
        if len(blocks) == 4:
            return _boft(shapes)
        if len(blocks) != 3 or blocks[1] != blocks[2]:
            return _broken(f"the blocks have shape {list(blocks)}; they must be square")
        return _with_rescale(Layout(blocks[0] * blocks[1], None, None, None), shapes.get("rescale"))
    if rotation is None:
        return _broken("the blocks are missing")
    scale = shapes.get("scale")
    if len(rotation) == 3:
        if rotation[1] != rotation[2]:
            return _broken(f"the blocks have shape {list(rotation)}; they must be square")
        if scale is None:  # PEFT up to 0.13 turns rows, and its last block may reach beyond the weight
            return Layout(None, None, None, None)
        inner = (rotation[0] * rotation[1],) if rotation[0] > 1 else None
        return Layout(scale[0] if scale else None, inner, None, None)
    if len(rotation) != 2:
        return _broken(f"the blocks have shape {list(rotation)}; they must have two or three dimensions")
    width = triangle_width(rotation[1])
    if width is None:
        return _broken(f"the blocks have {rotation[1]} numbers each, which is not a triangle without its diagonal")
    return Layout(None, (rotation[0] * width,) if rotation[0] > 1 else None, None, None)


def triangle_width(numbers: int) -> int | None:
    """The width n of the square matrix that has so many numbers, n(n−1)/2, above its diagonal; None if none has."""
    width = (1 + isqrt(1 + 8 * numbers)) // 2
    return width if width * (width - 1) // 2 == numbers else None


def _boft(shapes: Shapes) -> Layout:
    """LyCORIS' `blocks` `[m, k, n, n]` turn rows, PEFT's `rotation` `[m, k, n, n]` columns."""
    blocks = shapes.get("blocks")
    turned = blocks if blocks is not None else shapes.get("rotation")
    if turned is None:
        return _broken("the blocks are missing")
    if len(turned) != 4 or turned[2] != turned[3]:
        return _broken(f"the blocks have shape {list(turned)}; they must be four-dimensional and square")
    stages, count, width = turned[:3]
    # The first condition keeps the power of the second small.
    if (blocks is not None or stages > 1) and (stages > count.bit_length() or width % 2 or count % 2 ** (stages - 1)):
        return _broken(f"{count} blocks that are {width} wide cannot be exchanged in {stages} stages")
    if blocks is not None:
        return _with_rescale(Layout(count * width, None, None, None), shapes.get("rescale"))
    scale = shapes.get("scale")
    return Layout(max(scale) if scale else None, (count * width,), None, None)


def _ia3(shapes: Shapes) -> Layout:
    """LyCORIS: `weight` `[n]` or `[1, n, 1 …]`, for rows or columns as `on_input` says; PEFT: `vector`.

    PEFT's is `[out, 1]` or `[1, in]` for a matrix and `[1, n, 1, 1]` for a convolution.
    """
    vector = shapes.get("vector")
    if vector is None:
        if "weight" not in shapes:
            return _broken("the vector is missing")
        if "on_input" not in shapes:
            return _broken("it is not said whether the vector is for the input")
        vector = shapes["weight"]
        if prod(vector) != max(vector, default=1):
            return _broken(f"the vector has shape {list(vector)}; it must be wide in one dimension only")
        return Layout(None, None, None, None)
    if prod(vector) != max(vector, default=1):
        return _broken(f"the vector has shape {list(vector)}; it must be wide in one dimension only")
    if len(vector) == 2 and vector[0] != 1:
        return Layout(vector[0], None, None, None)
    if len(vector) == 2 and vector[1] != 1:
        return Layout(None, (vector[1],), None, None)
    return Layout(None, None, None, None)


def _embedding(shapes: Shapes) -> Layout:
    """PEFT's `down` `[r, tokens]` and `up` `[width, r]` of a table `[tokens, width]`."""
    missing = _missing(shapes, ("up", "down"))
    if missing:
        return missing
    product = _product(shapes["up"], shapes["down"])
    if isinstance(product, str):
        return _broken(product)
    width, inner = product
    return Layout(inner[0], (width,), shapes["down"][0], None)


def _whole(slot: str) -> Callable[[Shapes], Layout]:
    """The rule of an algorithm whose only tensor has the weight's own shape."""

    def rule(shapes: Shapes) -> Layout:
        shape = shapes.get(slot)
        if shape is None:
            return _broken(f"the {slot} tensor is missing")
        if not shape:
            return _broken(f"the {slot} tensor is a single number, which no weight is")
        return Layout(shape[0], shape[1:], None, None)

    return rule


def _missing(shapes: Shapes, names: tuple[str, ...]) -> Layout | None:
    lack = [name for name in names if name not in shapes]
    return _broken(f"{' and '.join(lack)} {'is' if len(lack) == 1 else 'are'} missing") if lack else None


def _product(a: Shape, b: Shape) -> tuple[int, Shape] | str:
    """Rows and inner shape of `a @ b`, a `[out, r, 1 …]` and b `[r, in, kernel …]`; or what is wrong."""
    if len(a) < 2 or len(b) < 2 or any(size != 1 for size in a[2:]):
        return f"the halves have shapes {list(a)} and {list(b)}, which cannot be multiplied"
    if a[1] != b[0]:
        return f"the halves have ranks {a[1]} and {b[0]}"
    return a[0], b[1:]


def _core_product(a: Shape, b: Shape, core: Shape) -> tuple[int, Shape] | str:
    """The same with a core `[p, q, kernel …]` between a `[p, out]` and b `[q, in]`."""
    if len(a) != 2 or len(b) != 2 or len(core) < 3:
        return f"the halves have shapes {list(a)} and {list(b)}, the core {list(core)}; they cannot be multiplied"
    if core[:2] != (a[0], b[0]):
        return f"the core has shape {list(core)}; with these halves it must begin with {[a[0], b[0]]}"
    return a[1], (b[1], *core[2:])


def _with_rescale(found: Layout, rescale: Shape | None) -> Layout:
    if rescale is None or found.problem or prod(rescale) == found.out == max(rescale, default=1):
        return found
    return _broken(f"the rescale tensor has shape {list(rescale)}; with these blocks it must have {found.out} numbers")


def _with_magnitude(found: Layout, shapes: Shapes) -> Layout:
    """LyCORIS' `magnitude` is `[out, 1 …]` or `[1, in, 1 …]`; PEFT's `magnitude_vector` `[out]` or `[1, out, 1 …]`."""
    columns = found.inner[0] if found.inner else None
    if "magnitude_vector" in shapes:
        magnitude, widths, words = shapes["magnitude_vector"], (found.out,), f"{found.out} numbers, one per row"
    else:
        magnitude, widths = shapes["magnitude"], (found.out, columns)
        words = f"{found.out} numbers, one per row, or {columns}, one per column"
    width = max(magnitude, default=1)
    if prod(magnitude) == width and width in widths:
        return found
    return _broken(f"the magnitude has shape {list(magnitude)}; it must have {words}")


_RULES: Mapping[str, Callable[[Shapes], Layout]] = {
    slots.LORA: _lora,
    slots.LOHA: _loha,
    slots.LOKR: _lokr,
    slots.GLORA: _glora,
    slots.OFT: _oft,
    slots.BOFT: _boft,
    slots.IA3: _ia3,
    slots.LORA_BIAS: _whole("bias"),
    slots.DIFF: _whole("diff"),
    slots.DIFF_BIAS: _whole("diff_b"),
    slots.NORM: _whole("w_norm"),
    slots.NORM_BIAS: _whole("b_norm"),
    slots.REPLACEMENT: _whole("value"),
    slots.EMBEDDING: _embedding,
}
