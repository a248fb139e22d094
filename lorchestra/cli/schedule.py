"""`lorchestra schedule`: the weight at each step of a run, as a table or a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from ..errors import ScheduleError
from ..schedule import Schedule, Steps
from ..schedule.presets import PRESET_NAMES
from ..schedule.steps import MAX_STEPS
from .export import Subparsers
from .terminal import printable

DEFAULT_STEPS = 20

_BAR = 30


def add_schedule(subparsers: Subparsers) -> None:
    """Adds `lorchestra schedule`."""
    parser = subparsers.add_parser(
        "schedule",
        help="show a schedule's weight at each step",
        description="Shows what a schedule makes of a row's weight at each step: keyframes (0:0, 0.3:1 ease, 1:0.2), "
        "steps (step 1-2:1), sigmas (sigma 14.6:0, 7:1), loractl's 0.2@0.2,1@0.5, prompt-control's "
        f"[<lora:a:1>:0.2,0.6], or a name: {', '.join(PRESET_NAMES).replace('%', '%%')}.",
    )
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("--steps", type=int, metavar="N", help=f"steps of the run; {DEFAULT_STEPS} where nothing says")
    parser.add_argument("--sigmas", metavar="LIST", help="the sampler's own sigmas, one more than steps: 14.6,7,2,0")
    parser.add_argument("--weight", type=float, default=1.0, metavar="W", help="the row's weight; 1 if not given")
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.add_argument("--plot", metavar="OUT", help="draw it, into an .svg or a .png file")
    parser.add_argument("--title", default="", help="of the picture: euler, karras")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=run_schedule)


def run_schedule(args: argparse.Namespace) -> int:
    """Prints a line a step; raises `LorchestraError` for text that means no schedule and files that cannot be."""
    schedule = Schedule.parse(args.text).scaled(args.weight)
    steps = _steps(args)
    if schedule.needs_sigmas and not steps.sigmas:
        raise ScheduleError("the schedule goes by sigma; say the run's: --sigmas 14.6,7,2,0")
    weights = schedule.weights(steps)
    if args.plot is not None:
        _plot(schedule, steps, args)
    if args.json:
        print(json.dumps(_data(schedule, steps, weights), indent=2, allow_nan=False))
        return 0
    print(printable(schedule.to_text()))
    print("\n".join(_table(steps, weights)))
    for sentence in schedule.unreached(steps):
        print(printable(f"lorchestra: {sentence}"), file=sys.stderr)
    return 0


def _steps(args: argparse.Namespace) -> Steps:
    if args.sigmas is None:
        return Steps(DEFAULT_STEPS if args.steps is None else args.steps)
    try:
        sigmas = [float(part) for part in args.sigmas.split(",", MAX_STEPS + 1)]
    except ValueError as error:
        raise ScheduleError(f"--sigmas takes numbers with commas between them ({error})") from error
    steps = Steps.of(sigmas)
    if args.steps not in (None, steps.count):
        raise ScheduleError(f"{len(sigmas)} sigmas are {steps.count} steps, not {args.steps}")
    return steps


def _data(schedule: Schedule, steps: Steps, weights: Sequence[float]) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for number, (moment, weight) in enumerate(zip(steps.moments, weights, strict=True), 1):
        sigma = {} if moment.sigma is None else {"sigma": moment.sigma}
        rows.append({"step": number, "progress": moment.progress, **sigma, "weight": weight})
    return {
        "text": schedule.to_text(),
        "schedule": schedule.to_json(),
        "changes": list(schedule.changes(steps)),
        "steps": rows,
        "warnings": list(schedule.unreached(steps)),
    }


def _table(steps: Steps, weights: Sequence[float]) -> Sequence[str]:
    with_sigma = bool(steps.sigmas)
    highest = max(abs(weight) for weight in weights) or 1
    lines = [f"{'STEP':>5}  {'PROGRESS':>8}  {'SIGMA':>9}  {'WEIGHT':>9}" if with_sigma else "STEP".rjust(5)
             + f"  {'PROGRESS':>8}  {'WEIGHT':>9}"]  # fmt: skip
    for number, (moment, weight) in enumerate(zip(steps.moments, weights, strict=True), 1):
        sigma = "" if moment.sigma is None else f"  {moment.sigma:>9.4g}"
        bar = ("-" if weight < 0 else "#") * round(abs(weight) / highest * _BAR)
        lines.append(f"{number:>5}  {moment.progress:>8.3f}{sigma}  {weight:>9.4g}  {bar}".rstrip())
    return lines


def _plot(schedule: Schedule, steps: Steps, args: argparse.Namespace) -> None:
    from ..schedule.plot import draw
    from .plot import plot_file, write_plot

    output = plot_file(args.plot, args.force)
    write_plot(output, draw(schedule, steps, args.title), args.force)
