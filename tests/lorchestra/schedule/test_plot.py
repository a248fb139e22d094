"""The picture: its points are the schedule's, its steps the sampler's; SVG that parses, PNG that opens."""

from __future__ import annotations

import builtins
import io
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from PIL import Image
from support.schedules import STEPS, schedules

from lorchestra.errors import LorchestraError, ScheduleError
from lorchestra.schedule import Schedule, Steps
from lorchestra.schedule.plot import COLOURS, MOST_LINES, MOST_MARKS, Picture, draw, png, svg

SVG = "{http://www.w3.org/2000/svg}"


def curve_of(picture: Picture) -> list[tuple[float, float]]:
    return list(next(line for line in picture.lines if line.colour == COLOURS[0]).points)


def test_dots_are_the_steps() -> None:
    picture = draw(Schedule.parse("0:0, 1:1"), Steps(4))
    points = [dot.centre for dot in picture.dots]
    assert len(points) == 4
    gaps = {round(b[0] - a[0], 1) for a, b in pairwise(points)}
    assert len(gaps) == 1
    assert set(points) <= set(curve_of(picture))
    assert [a[1] > b[1] for a, b in pairwise(points)] == [True] * 3


def test_a_jump_is_upright() -> None:
    points = curve_of(draw(Schedule.parse("first half"), STEPS))
    jumps = [(a, b) for a, b in pairwise(points) if abs(a[1] - b[1]) > 50]
    assert len(jumps) == 1
    assert jumps[0][0][0] == jumps[0][1][0]


def test_labels_say_steps_and_sigmas() -> None:
    texts = [label.text for label in draw(Schedule.parse("fade-in"), STEPS).labels]
    assert {"1", "10", "14.6", "9.72", "0:0, 1:1 · 10 steps", "step", "sigma"} <= set(texts)
    assert "sigma" not in [label.text for label in draw(Schedule.parse("fade-in"), Steps(10)).labels]


def test_several_schedules_have_names() -> None:
    fade = Schedule.parse("fade-in")
    picture = draw([("in", fade), ("out", fade.inverted())], STEPS, "euler, karras")
    colours = {label.text: label.colour for label in picture.labels}
    assert (colours["in"], colours["out"]) == COLOURS[:2]
    assert "euler, karras" in colours
    assert len(picture.dots) == 2 * STEPS.count


@settings(max_examples=30, deadline=None)
@given(schedules())
def test_any_schedule_stays_on_the_paper(schedule: Schedule) -> None:
    picture = draw(schedule, STEPS)
    for line in picture.lines:
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points)
    ElementTree.fromstring(svg(picture))


@pytest.mark.parametrize("count", [1, 2, 13, 150, 151, 10_000])
def test_any_run(count: int) -> None:
    picture = draw(Schedule.parse("bell"), Steps(count))
    assert len(picture.dots) == (count if count <= MOST_MARKS else 0)
    assert 5 < len(picture.labels) < 40


def test_names_are_text() -> None:
    name = '<script>&"]]>\x1b\n'
    document = ElementTree.fromstring(svg(draw([(name, Schedule.constant(1))], STEPS, name)))
    texts = [element.text for element in document.iter(f"{SVG}text")]
    assert texts.count('<script>&"]]>??') == 2
    assert {element.tag for element in document.iter()} == {
        f"{SVG}{tag}" for tag in ("svg", "rect", "polyline", "circle", "text")
    }


def test_png() -> None:
    opened = Image.open(io.BytesIO(png(draw([("ä 日", Schedule.parse("bell"))], STEPS, width=640, height=300))))
    assert (opened.format, opened.size) == ("PNG", (640, 300))
    assert len(opened.getcolors(200_000) or ()) > 20
    assert png(draw(Schedule.parse("bell"), STEPS, width=4096, height=200))


def test_png_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("PIL"):
            raise ImportError("No module named 'PIL'")
        return original(name, *rest)

    picture = draw(Schedule.parse("bell"), STEPS)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LorchestraError, match=r"pip install pillow; or write an \.svg"):
        png(picture)


@pytest.mark.parametrize(("width", "height"), [(0, 100), (100_000, 200), (200, 1)])
def test_no_size(width: int, height: int) -> None:
    with pytest.raises(ScheduleError, match="120 to 4096 pixels"):
        draw(Schedule.constant(1), STEPS, width=width, height=height)


def test_no_lines() -> None:
    for lines in ([], [("a", Schedule.constant(1))] * (MOST_LINES + 1)):
        with pytest.raises(ScheduleError, match="1 to 20 schedules"):
            draw(lines, STEPS)


def test_sigmas_that_nobody_knows() -> None:
    with pytest.raises(ScheduleError, match="the sigmas of this run are not known"):
        draw(Schedule.parse("sigma 7:1"), Steps(10))
