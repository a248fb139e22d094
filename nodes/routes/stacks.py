"""Routes about stacks and schedules: badges of rows, rows from and to text, the curve of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ...lorchestra.errors import LorchestraError, ScheduleError, StackError, quoted
from ...lorchestra.sentences import with_parts
from .http import Body, read_text
from .jobs import IsWanted

if TYPE_CHECKING:
    from ...lorchestra.schedule import Steps
    from ...lorchestra.stack import Stack

MAX_STACKS = 5000
MAX_SAMPLES = 400
MAX_SIGMAS = 20_000
"""The rest is not read; a schedule has no use for more."""
DEFAULT_STEPS = 20


def check(body: Body) -> dict[str, object]:
    """A badge for each row of each stack, against the model that the prompt connects it to.

    With `only_found` it says no more than which files are there, and opens none.
    """
    from ..host import badges

    queued, stacks = body.get("prompt"), body.get("stacks")
    if queued is not None and not isinstance(queued, dict):
        raise LorchestraError(f'"prompt" is {quoted(queued)}; expected a prompt in API format, or null')
    if not isinstance(stacks, list) or len(cast("list[object]", stacks)) > MAX_STACKS:
        raise LorchestraError(f'"stacks" is {quoted(stacks)}; expected a list of at most {MAX_STACKS:,}')
    pairs: list[tuple[str, object]] = []
    for stack in cast("list[object]", stacks):
        if not isinstance(stack, dict) or "node" not in stack:
            raise LorchestraError(f'{quoted(stack)} is not a stack; expected {{"node": "12", "loras": …}}')
        data = cast("Mapping[str, object]", stack)
        pairs.append((str(data["node"]), data.get("loras")))
    only_found = body.get("only_found") is True
    return {"stacks": badges.check(cast("Mapping[str, object] | None", queued), pairs, only_found=only_found)}


def is_measuring(body: Body) -> bool:
    """Whether `strengths` may take minutes."""
    return body.get("measure") is True


def strengths(body: Body, is_wanted: IsWanted) -> dict[str, object]:
    """For each row of `loras`, ‖Δ‖ at weight 1 in the diffusion model and in the text encoders, or why it is not known.

    What was not measured yet is null; with `measure` true it is measured, once nothing runs.
    """
    from ..host.strengths import strengths_of

    return {"rows": strengths_of(body.get("loras"), is_wanted if is_measuring(body) else None)}


def blocks(body: Body) -> dict[str, object]:
    """The blocks of the model that the prompt connects to a node, and which of them the LoRA of a row changes."""
    from ..host import block_layout

    queued, node = body.get("prompt"), body.get("node")
    if queued is not None and not isinstance(queued, dict):
        raise LorchestraError(f'"prompt" is {quoted(queued)}; expected a prompt in API format, or null')
    if not isinstance(node, str):
        raise LorchestraError(f'"node" is {quoted(node)}; expected the number of a node as text')
    return block_layout.find(cast("Mapping[str, object]", queued or {}), node, body.get("row"))


def read(body: Body) -> dict[str, object]:
    """Rows from text of any dialect; with `as_value`, just the rows that a LoRA Stack with this value has.

    `order` says what the first of two weights in a tag is. Without it, `ordered` is the first row, from 1, that would
    have other weights in the other order; null if there is none.
    """
    from ...lorchestra.exchange import read_any, read_stack

    text = read_text(body, "text") or ""
    order = body.get("order")
    if body.get("as_value") is True:
        own = read_stack(text)
        return {**own.stack.to_json(), "notes": [str(loss) for loss in own.losses]}
    reading = read_any(text, order=order) if isinstance(order, str) else read_any(text)
    ordered = None if isinstance(order, str) else _find_ordered(text, reading.stack)
    return {**reading.stack.to_json(), "notes": [str(loss) for loss in reading.losses], "ordered": ordered}


def _find_ordered(text: str, stack: Stack) -> int | None:
    """The first row whose weights depend on what the first of two weights in a tag is."""
    from ...lorchestra.exchange import read_any
    from ...lorchestra.exchange.tag import ORDERS

    if all(entry.clip is None for entry in stack.entries):
        return None  # no tag has two weights
    other = read_any(text, order=ORDERS[1]).stack
    for row, (one, two) in enumerate(zip(stack.entries, other.entries, strict=False), 1):
        if one.model != two.model:
            return row
    return None


def write(body: Body) -> dict[str, object]:
    """Text in a dialect from rows.

    With `asks`, no text but the numbers of the rows whose file the program cannot know, if there are any: the caller
    decides whether they go by their names (`allow_names`), or not at all.
    """
    from ...lorchestra.exchange import find_unnamed, parse_stack, write_any
    from ..host import files

    rows, name = body.get("loras"), body.get("as")
    if not isinstance(rows, list | dict | str):
        raise StackError(f'"loras" is {quoted(rows)}; expected rows')
    form = name if isinstance(name, str) else ""
    options = {key: body.get(key) is True for key in ("allow_names", "clamp", "paths")}
    known = files.identified(parse_stack(rows))
    unnamed = find_unnamed(known.stack, form) if body.get("asks") is True and not options["allow_names"] else ()
    if unnamed:
        return {"unnamed": list(unnamed)}
    writing = write_any(known.stack, form, options)
    return {"text": writing.text, "losses": [str(loss) for loss in known.without_added(writing.losses)]}


def schedule(body: Body) -> dict[str, object]:
    """A schedule's text as the canonical one, its keyframes, and points of its curve over the run."""
    from ...lorchestra.schedule import Schedule
    from ...lorchestra.schedule.sampling import can_sample, sample

    text = body.get("text")
    if not isinstance(text, str):
        raise LorchestraError(f'"text" is {quoted(text)}; expected text')
    try:
        found = Schedule.parse(text)
        run = _read_steps(body)
        samples = sample(found, run, MAX_SAMPLES)
    except ScheduleError as error:
        return with_parts({"error": error.reason, "column": error.column, "keyframe": error.keyframe})
    keyframes = [
        {"at": key.position, "unit": curve.by, "weight": key.weight, "easing": key.easing, "curve": number}
        for number, curve in enumerate(found.curves)
        for key in curve.keyframes
    ]
    return {
        "text": found.to_text(),
        "keyframes": keyframes,
        "samples": samples,
        "steps": [moment.progress for moment in run.moments],
        "notes": list(found.unreached(run))
        if can_sample(found, run)
        else ["The schedule goes by sigma; its curve needs a run's sigmas."],
    }


def _read_steps(body: Body) -> Steps:
    """The run: `sigmas` if there are at least two, else `steps`."""
    from ...lorchestra.schedule import Steps

    sigmas, count = body.get("sigmas"), body.get("steps")
    levels = [_finite(item) for item in cast("list[object]", sigmas)[:MAX_SIGMAS]] if isinstance(sigmas, list) else []
    if len(levels) > 1:
        return Steps.of(levels)
    return Steps(count if isinstance(count, int) and not isinstance(count, bool) else DEFAULT_STEPS)


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        raise ScheduleError(f"the sigma {quoted(value)} is not a number")
    return float(value)
