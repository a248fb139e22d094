"""Writes a schedule in our own text form: always keyframes, so that `1-2:1` comes back as `1:1 hold, 3:0`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .curve import Curve, Keyframe, number
from .easing import find_easing

TIMES = "*"
"""Between the factors of a product."""

_LARGEST_BELOW = 12
_SHORT = 8


def write(curves: Sequence[Curve]) -> str:
    """The product of these curves as text; `reading.read` gives the same ones back, to the bit."""
    return f" {TIMES} ".join(map(_curve, curves))


def _curve(curve: Curve) -> str:
    first = curve.keyframes[0]
    if curve.by == "progress" and curve.keyframes == (Keyframe(0, first.weight),):
        return number(first.weight)
    unit = "" if curve.by == "progress" else f"{curve.by} "
    return unit + ", ".join(_keyframe(keyframe) for keyframe in curve.keyframes)


def _keyframe(keyframe: Keyframe) -> str:
    easing = find_easing(keyframe.easing)
    word = f" {easing.short}" if easing and easing.short else ""
    return f"{_position(keyframe.position)}:{number(keyframe.weight)}{word}"


def _position(position: float) -> str:
    """As a fraction where that is the same float and reads better: 2/3."""
    short = number(position)
    if position >= 1 or len(short) <= _SHORT:
        return short
    near = Fraction(position).limit_denominator(_LARGEST_BELOW)
    return str(near) if float(near) == position else short
