"""A picture of schedules over one run, as SVG text or PNG bytes; the steps of the sampler are marked.

`analysis/plot.py` draws with the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from ..errors import LorchestraError, ScheduleError, shortened
from .curve import number
from .product import Schedule
from .steps import Steps

if TYPE_CHECKING:
    from PIL import Image

WIDTH, HEIGHT = 480, 220
"""Size of a picture in pixels, where none is said."""
SMALLEST, LARGEST = 120, 4096
MOST_LINES = 20
MOST_MARKS = 150
"""With more steps than this the marks would be a band."""
COLOURS = ("#4f9cf0", "#f0894f", "#57bd6b", "#c678dd", "#e0b83c", "#e8637a")

_SAMPLES = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 28, 34
PAPER, GRID, ZERO, INK = "#1e1f24", "#34363d", "#7a7d87", "#c9ccd4"
_FONT = 11
_JUST_BEFORE = 1e-9
"""Of progress: how far before a jump its other side is drawn."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """Points that are joined."""

    points: tuple[Point, ...]
    colour: str
    width: float


@dataclass(frozen=True, slots=True)
class Dot:
    centre: Point
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Label:
    """Text; `anchor` says what of it is at the point: start, middle or end. Vertically it is the middle."""

    at: Point
    text: str
    anchor: str
    colour: str


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `corner` is the upper left one."""

    corner: Point
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, in pixels from the upper left corner: boxes at the back, then lines, dots and labels."""

    width: int
    height: int
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    boxes: tuple[Box, ...] = ()


def draw(
    lines: Schedule | Sequence[tuple[str, Schedule]],
    steps: Steps,
    title: str = "",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Picture:
    """The picture of one schedule, or of several with names.

    The horizontal axis is the run, step by step; a dot is the start of a step, where a sampler asks the model. `title`
    is a word on the run, such as `euler, karras`. Raises `ScheduleError` for sizes that are no pictures, and for
    schedules by sigma where the steps have no sigmas.
    """
    named = [("", lines)] if isinstance(lines, Schedule) else list(lines)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise ScheduleError(f"a plot is {SMALLEST} to {LARGEST} pixels wide and high, not {width} × {height}")
    if not 1 <= len(named) <= MOST_LINES:
        raise ScheduleError(f"a plot shows 1 to {MOST_LINES} schedules, not {len(named)}")
    curves = [list(_samples(schedule, steps)) for _, schedule in named]
    low, high, unit = _range([weight for curve in curves for _, weight in curve])

    def place(progress: float, weight: float) -> Point:
        x = _LEFT + progress * (width - _LEFT - _RIGHT)
        y = height - _BOTTOM - (weight - low) / (high - low) * (height - _TOP - _BOTTOM)
        return round(x, 2), round(y, 2)

    drawn: list[Line] = []
    dots: list[Dot] = []
    labels: list[Label] = []
    for index in range(round((high - low) / unit) + 1):
        weight = round(low + index * unit, 10)
        y = place(0, weight)[1]
        drawn.append(Line((place(0, weight), place(1, weight)), GRID if weight else ZERO, 1))
        labels.append(Label((_LEFT - 6, y), number(weight), "end", INK))
    for step, every in _ticks(steps.count):
        x = place((step - 1) / steps.count, low)[0]
        drawn.append(Line(((x, height - _BOTTOM), (x, height - _BOTTOM + 4)), ZERO, 1))
        if every:
            labels.append(Label((x, height - _BOTTOM + 12), str(step), "middle", INK))
            sigma = steps.at_step(step).sigma
            if sigma is not None:
                labels.append(Label((x, height - _BOTTOM + 25), f"{sigma:.3g}", "middle", ZERO))
    labels.append(Label((_LEFT - 14, height - _BOTTOM + 12), "step", "end", INK))
    if steps.sigmas:
        labels.append(Label((_LEFT - 18, height - _BOTTOM + 25), "sigma", "end", ZERO))
    for index, ((name, schedule), curve) in enumerate(zip(named, curves, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        drawn.append(Line(tuple(place(*point) for point in curve), colour, 2))
        if steps.count <= MOST_MARKS:
            dots += [Dot(place(m.progress, schedule.at(m)), 3, colour) for m in steps.moments]
        if name:
            labels.append(Label((width - _RIGHT, _TOP + 10 + 14 * index), shortened(name, 40), "end", colour))
    labels.append(Label((_LEFT, 14), shortened(title or _title(named, steps), max(width // 7, 10)), "start", INK))
    return Picture(width, height, tuple(drawn), tuple(dots), tuple(labels))


def svg(picture: Picture) -> str:
    """The picture as an SVG document; names are escaped, nothing is loaded from anywhere."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" height="{picture.height}" '
        f'viewBox="0 0 {picture.width} {picture.height}" font-family="sans-serif" font-size="{_FONT}">',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
    ]
    for box in picture.boxes:
        (x, y), size = box.corner, f'width="{box.width:g}" height="{box.height:g}"'
        parts.append(f'<rect x="{x:g}" y="{y:g}" {size} fill="{box.colour}"/>')
    for line in picture.lines:
        points = " ".join(f"{x:g},{y:g}" for x, y in line.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"/>')
    for dot in picture.dots:
        x, y = dot.centre
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{dot.radius:g}" fill="{dot.colour}"/>')
    for label in picture.labels:
        (x, y), text = label.at, escape("".join(c if c.isprintable() else "?" for c in label.text))
        parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{label.anchor}" dominant-baseline="central" '
            f'fill="{label.colour}">{text}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def png(picture: Picture) -> bytes:
    """The picture as a PNG file; errors as `drawn`."""
    data = BytesIO()
    drawn(picture).save(data, "PNG")
    return data.getvalue()


def drawn(picture: Picture) -> Image.Image:
    """The picture's pixels, RGB, by Pillow, which ComfyUI has. Raises `LorchestraError` if it is missing."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise LorchestraError(f"PNG needs Pillow ({error}): pip install pillow; or write an .svg") from error

    fine = 2 if max(picture.width, picture.height) <= LARGEST // 2 else 1  # drawn larger, for smooth edges
    image = Image.new("RGB", (picture.width * fine, picture.height * fine), PAPER)
    pen = ImageDraw.Draw(image)
    for box in picture.boxes:
        (x, y), right, bottom = box.corner, box.corner[0] + box.width, box.corner[1] + box.height
        pen.rectangle((x * fine, y * fine, right * fine - 1, bottom * fine - 1), fill=box.colour)
    for line in picture.lines:
        points = [(x * fine, y * fine) for x, y in line.points]
        pen.line(points, fill=line.colour, width=round(line.width * fine), joint="curve")
    for dot in picture.dots:
        x, y, radius = dot.centre[0] * fine, dot.centre[1] * fine, dot.radius * fine
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dot.colour)
    font = ImageFont.load_default(_FONT * fine)
    for label in picture.labels:
        anchor = {"start": "lm", "middle": "mm", "end": "rm"}[label.anchor]
        x, y = label.at
        pen.text((x * fine, y * fine), _plain(label.text), fill=label.colour, font=font, anchor=anchor)
    return image.resize((picture.width, picture.height), Image.Resampling.LANCZOS)


def _plain(text: str) -> str:
    """In one line, of the letters that Pillow's built-in font has."""
    return "".join(c if c.isprintable() and ord(c) < 256 else "?" for c in text.replace("…", "..."))


def _title(named: Sequence[tuple[str, Schedule]], steps: Steps) -> str:
    text = named[0][1].to_text() if len(named) == 1 else f"{len(named)} schedules"
    return f"{text} · {steps.count} {'step' if steps.count == 1 else 'steps'}"


def _samples(schedule: Schedule, steps: Steps) -> Iterator[Point]:
    """(progress, weight) from 0 to 1, with both sides of every jump."""
    places = {index / _SAMPLES for index in range(_SAMPLES + 1)} | {m.progress for m in steps.moments}
    for curve in schedule.curves:
        for keyframe in curve.keyframes:
            if curve.by == "progress":
                places.add(keyframe.position)
            elif curve.by == "step":
                places.add(steps.at_step(keyframe.position).progress)
            elif steps.sigmas:
                places.add(steps.at_sigma(keyframe.position).progress)
    places |= {place - _JUST_BEFORE for place in places if place > _JUST_BEFORE}
    for place in sorted(places):
        yield place, schedule.at(steps.at_progress(place))


def _range(weights: Sequence[float]) -> tuple[float, float, float]:
    """Lowest and highest weight of the axis and the distance of its lines, in numbers that read well."""
    low, high = min(0.0, *weights), max(0.0, *weights)
    if high - low < 1e-6:
        return 0, 1, 0.5
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    unit = next(power * factor for factor in (1, 2, 2.5, 5, 10) if rough <= power * factor * 1.0001)
    return math.floor(low / unit + 1e-6) * unit, math.ceil(high / unit - 1e-6) * unit, unit


def _ticks(count: int) -> Iterator[tuple[int, bool]]:
    """The steps that get a tick, and whether that gets a number."""
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if count <= size * 12)
    for step in range(1, count + 1):
        if count <= MOST_MARKS or (step - 1) % every == 0:
            yield step, (step - 1) % every == 0
