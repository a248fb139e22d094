"""What a row shows before any run: whether its LoRA fits the model, in one word and the checker's sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ..architectures.names import family_titles
from ..architectures.sites import Targets, has_text_encoders
from ..choices import Choices
from ..errors import FileProblem, JsonError, NotALora, StackError
from ..exchange import read_stack
from ..exchange.parse import parse_row
from ..files.json_text import read_json
from ..limits import MAX_ROWS
from ..lora.file import LoraFile
from ..models.base import Base, base_by_name
from ..models.placing import place
from ..sentences import any_of, say, together
from ..spelling.prefixes import MODEL
from ..stack import Entry, Schedules, Stack
from .outcome import BROKEN, COMPATIBLE, INCOMPATIBLE, MISSING, NOT_A_LORA, PARTIAL, UNKNOWN, outcome
from .refusals import find_misfit
from .rows import Located, find_rows

FITS = "fits"
PARTLY = "partly"
MISFIT = "misfit"

STATES = (FITS, PARTLY, MISFIT, UNKNOWN, MISSING, BROKEN, NOT_A_LORA)
"""`broken`: the file, or the row itself, cannot be used. `unknown`: it cannot be told before the model is loaded."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What one row shows."""

    state: str
    """One of `STATES`."""
    sentence: str
    """Without the LoRA's name."""
    if_off: str = ""
    """What is said instead of a row that is off already; empty if it is the same."""


def read_rows(value: object) -> list[Entry | StackError]:
    """The rows of a stack, each that cannot be read as its error; raises `StackError` if there are none.

    Of tags those that a LoRA Stack applies; what is lost of a text has no row.
    """
    try:
        return list(read_stack(value).stack.entries)
    except StackError as error:
        if error.row is None:
            raise
        rows = _find_rows(value)
        if rows is None:
            raise
    result: list[Entry | StackError] = []
    schedules = Schedules()
    for row in rows[:MAX_ROWS]:
        try:
            result.append(parse_row(row, 1, schedules))
        except StackError as error:
            result.append(error)
    return result


def _find_rows(value: object) -> list[Any] | None:
    """The rows of our own JSON; None for other forms, whose rows are one text."""
    try:
        data = read_json(value) if isinstance(value, str) else value
    except JsonError:
        return None
    if isinstance(data, Mapping):
        data = cast("Mapping[str, Any]", data).get("loras")
    return cast("list[Any]", data) if isinstance(data, list) else None


def row_problem(entry: Entry, find_base: Callable[[], Base | None], choices: Choices) -> Badge | None:
    """What is to say of a row whatever its file is: that it cannot be applied, or is for the other model of a pair."""
    weighted = replace(entry, on=True, model=entry.model or 1.0)
    found = find_rows(Stack((weighted,)), lambda _, __: Located(""), find_base, choices, has_clip=True)
    if found.refused:
        return Badge(BROKEN, found.refused[0].reason)
    return Badge(PARTLY, found.skipped[1].sentence) if found.skipped else None


def look(
    name: str, path: str, open_file: Callable[[str], LoraFile], base: Base | None, *, has_clip: bool = True
) -> Badge:
    """Whether the LoRA in a file fits a base, at any weight; the base is None if it is not known.

    What is refused when a prompt is queued is refused here, with the same sentence; what is not certain before the
    model is loaded is unknown. `name` is the row's, `open_file` as in `Files`.
    """
    try:
        file = open_file(path)
        file.check_values()
    except FileProblem as error:
        return Badge(NOT_A_LORA if isinstance(error, NotALora) else BROKEN, error.reason)
    if base is None:
        return Badge(UNKNOWN, _made_for(file))
    (weighted,) = Stack((Entry(name, model=1.0),)).combined({1: path}).values()
    misfit = find_misfit(file, weighted, lambda: base)
    if misfit:
        return Badge(MISFIT, misfit.advice, replace(misfit, row=None).advice)
    best: Badge | None = None
    for targets in _all_targets(base, has_clip):
        found = outcome(weighted, place(file.reading.modules, targets), file.examined, base)
        if found.verdict in (COMPATIBLE, PARTIAL):
            state = FITS if found.verdict == COMPATIBLE and found.applied else PARTLY
            best = Badge(state, found.advice)
            break
        sentence = found.advice
        if found.verdict == INCOMPATIBLE:
            fit = say("{count} modules fit by what is known before the model is loaded", count=found.applied)
            sentence = together((fit, _made_for(file)))
        best = best or Badge(UNKNOWN, sentence)
    return best or Badge(UNKNOWN, _made_for(file))


def _all_targets(base: Base, has_clip: bool) -> list[Targets]:
    """The places in the base's own file; then those in the model as it is loaded, where the file has other names.

    A checkpoint's text encoders may not be the ones that are connected, and a diffusion model's file has none: then
    they are those that the architecture is used with.
    """
    loaded = base_by_name(base.architectures[0]) if base.architectures else None
    result: list[Targets] = [base.targets]
    if loaded:
        if has_clip and not has_text_encoders(base.targets):
            result = [{**loaded.targets, **base.targets}]
        result.append(loaded.targets)
    return result if has_clip else [{MODEL: targets[MODEL]} for targets in result if MODEL in targets]


def _made_for(file: LoraFile) -> str:
    titles = family_titles(file.examined.identity.made_for)
    made = say("made for {models}", models=any_of(titles)) if titles else say("made for a model that is not known here")
    return together((made, say("whether it fits is told when the model is loaded")))
