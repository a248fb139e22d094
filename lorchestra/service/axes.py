"""What varies in a batch: a list of values, a range, or a comparison of LoRAs; from what was sent to values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, cast

from ..analysis.comparison import Comparison, compare
from ..choices import COMPARISONS, SKIP, STOP
from ..errors import InputError, LorchestraError, UnusableInput, quoted, shortened
from ..exchange.names import stem
from ..limits import Json
from ..stack import BOTH, Entry, Stack
from ..workflow import batch_schema as words
from ..workflow.interface import INTEGER, LORAS, MEDIA, NUMBER, TEXT, Input
from ..workflow.lora_lists import BLOCKS, CLIP, CONDITIONING, DEFAULT_WEIGHT, MODEL, SCHEDULE, WEIGHT
from ..workflow.validation import Path, check
from .backend import Row

_LONGEST = 60
"""Characters of a label."""
_MOST_FOLDERS = 12
_RANGE = ', or {"from": …, "to": …}'
_OTHERWISE = {LORAS: ', or {"folder": …}', INTEGER: _RANGE, NUMBER: _RANGE}
Resolve = Callable[[str], str]
FindMisfits = Callable[[Sequence[Json]], Sequence[Row]]
"""Rows of LoRAs → those that cannot be used with the workflow's model, and why."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One input that varies."""

    name: str
    values: tuple[Json, ...]
    labels: tuple[str, ...]
    """What each value is called on the sheet."""
    columns: tuple[str, ...] = ()
    """Of a comparison that is a table of its own: the heads; its values stand row after row."""
    rows: tuple[str, ...] = ()
    has_first: bool = False
    """Whether the first value is a comparison's stack without LoRAs, from which others are measured."""
    is_listed: bool = True
    """Whether the values are those that were sent, one by one."""
    left_out: tuple[tuple[str, str], ...] = ()
    """LoRAs that cannot be used with the model, and why."""

    @property
    def is_table(self) -> bool:
        """Whether it has two directions of its own."""
        return len(self.rows) > 1

    def path(self, number: int) -> Path:
        """Where in the request a value is."""
        return (words.EACH, self.name, number) if self.is_listed else (words.EACH, self.name)

    def to_row(self) -> dict[str, Json]:
        """All of it as JSON data."""
        return asdict(self)

    @staticmethod
    def from_row(data: Mapping[str, Any]) -> Axis:
        """What `to_row` gave."""
        return Axis(
            data["name"], tuple(data["values"]), tuple(data["labels"]), tuple(data["columns"]), tuple(data["rows"]),
            data["has_first"], data["is_listed"], tuple((one, why) for one, why in data["left_out"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loras:
    """What is known of the LoRAs that are there, for comparisons."""

    names: Callable[[], Sequence[str]]
    """All of them, as ComfyUI lists them."""
    resolve: Resolve
    find_misfits: FindMisfits


def read_axis(item: Input, sent: Json, most: int, loras: Loras) -> Axis:
    """What varies of an input; raises `InputError` with the path of what is to blame.

    No more than `most` values are made.
    """
    path: Path = (words.EACH, item.name)
    if isinstance(sent, dict) and item.kind == LORAS:
        return _compared(item, cast("dict[str, Json]", sent), path, most, loras)
    if isinstance(sent, dict) and item.kind in (INTEGER, NUMBER):
        return _range(item, cast("dict[str, Json]", sent), path, most)
    if not isinstance(sent, list):
        said = _OTHERWISE.get(item.kind, "")
        raise InputError(f"it is {quoted(cast('object', sent))}; expected a list of its values{said}", path)
    values = cast("list[Json]", sent)
    require_few(len(values), most, path)
    _check(words.values_of(item), values, path)
    return Axis(item.name, tuple(values), _labels(item, values))


def _check(schema: Mapping[str, Json], value: Json, path: Path) -> None:
    try:
        check(schema, value)
    except InputError as error:
        raise InputError(error.reason, (*path, *error.parts)) from error


def _range(item: Input, sent: dict[str, Json], path: Path, most: int) -> Axis:
    _check(words.range_of(item), sent, path)
    least, last = Decimal(str(sent[words.FROM])), Decimal(str(sent[words.TO]))
    step = Decimal(str(sent.get(words.STEP, 1)))
    if least > last:
        raise UnusableInput(f"it goes from {least} to {last}; write the smaller one first", path)
    count = int((last - least) // step) + 1
    require_few(count, most, path)
    kind = int if item.kind == INTEGER else float
    values: list[Json] = [kind(least + step * number) for number in range(count)]
    try:
        check(words.values_of(item), values)
    except InputError as error:  # between its ends: no multiple of what it has to be
        raise UnusableInput(error.reason, path) from error
    return Axis(item.name, tuple(values), _labels(item, values), is_listed=False)


def require_few(count: int, most: int, path: Path) -> None:
    """Raises `UnusableInput` for more jobs than a batch may have; `path` is what makes them so many."""
    if count > most:
        raise UnusableInput(
            f"this would be {count:,} jobs; a batch has at most {most:,} here. Send fewer values, or raise "
            "most_in_batch in the server's settings",
            path,
        )


def _labels(item: Input, values: Sequence[Json]) -> tuple[str, ...]:
    made = [_label(item, value, number) for number, value in enumerate(values, 1)]
    return tuple(f"{text} ({number})" if made.count(text) > 1 else text for number, text in enumerate(made, 1))


def _label(item: Input, value: Json, number: int) -> str:
    if item.kind in MEDIA:
        return f"{item.name} {number}"
    if item.kind == LORAS:
        rows = cast("list[dict[str, Json]]", value)
        names = ", ".join(f"{_stem(row[MODEL])} {row.get(WEIGHT, DEFAULT_WEIGHT):g}" for row in rows)
        return shortened(names or "no LoRA", _LONGEST)
    if isinstance(value, str):
        said = " ".join(value.split()) or "(empty)"
        return shortened(said if item.kind == TEXT else f"{item.name} {said}", _LONGEST)
    shown = f"{value:g}" if isinstance(value, float) else json.dumps(value)
    return shortened(f"{item.name} {shown}", _LONGEST)


def _stem(name: str) -> str:
    return stem(name) or name


# Comparisons of LoRAs.


def _compared(item: Input, sent: dict[str, Json], path: Path, most: int, loras: Loras) -> Axis:
    schema = words.comparison_of(item)
    _check({key: value for key, value in schema.items() if key != "oneOf"}, sent, path)
    if (words.FOLDER in sent) == (words.ROWS in sent):
        raise InputError("expected either folder or rows", path)
    beside = _entries(sent.get(words.BESIDE, []), (*path, words.BESIDE), loras.resolve)
    if words.ROWS in sent:
        entries = _entries(sent[words.ROWS], (*path, words.ROWS), loras.resolve)
    else:
        names = _in_folder(sent[words.FOLDER], loras.names(), (*path, words.FOLDER))
        entries = [Entry(name, model=DEFAULT_WEIGHT) for name in names]
    left_out: list[tuple[str, str]] = []
    if sent.get(words.UNFIT_ROWS, STOP) == SKIP:
        entries, left_out = _without_misfits(entries, loras.find_misfits)
        if not any(entry.on for entry in entries):
            first, why = left_out[0]
            raise UnusableInput(f"none of these LoRAs can be used with the model. {first}: {why}", path)
    try:
        made = compare(
            Stack(tuple(entries)), sent.get(words.COMPARE, COMPARISONS[0]), int(sent.get(words.ROW, 1)),
            sent.get(words.WEIGHTS, ()), int(sent.get(words.SECOND_ROW, 2)), sent.get(words.SECOND_WEIGHTS, ()), most,
        )  # fmt: skip
    except LorchestraError as error:
        raise UnusableInput(str(error), path) from error
    return _axis(item.name, made, beside, sent.get(words.WITHOUT, True), left_out)


def _axis(
    name: str, made: Comparison, beside: Sequence[Entry], has_first: bool, left_out: Sequence[tuple[str, str]]
) -> Axis:
    variants = made.variants if has_first else made.variants[1:]
    values = [[_row(entry) for entry in (*beside, *one.stack.entries) if entry.on] for one in variants]
    is_table = len(made.rows) > 1
    return Axis(
        name, tuple(values), tuple(one.label for one in variants), made.columns if is_table else (),
        made.rows if is_table else (), has_first, False, tuple(left_out),
    )  # fmt: skip


def _entries(rows: Sequence[Json], path: Path, resolve: Resolve) -> list[Entry]:
    """The rows of a request, each of which is there; raises `UnusableInput` with the path of one that is not."""
    found: list[Entry] = []
    for number, row in enumerate(cast("Sequence[dict[str, Json]]", rows)):
        try:
            resolve(row[MODEL])
        except LorchestraError as error:
            raise UnusableInput(getattr(error, "reason", str(error)), (*path, number, MODEL)) from error
        found.append(
            Entry(
                row[MODEL], model=row.get(WEIGHT, DEFAULT_WEIGHT), clip=row.get(CLIP), blocks=row.get(BLOCKS, {}),
                schedule=row.get(SCHEDULE), conditioning=row.get(CONDITIONING, BOTH),
            )
        )  # fmt: skip
    return found


def _row(entry: Entry) -> dict[str, Json]:
    row: dict[str, Json] = {MODEL: entry.lora, WEIGHT: entry.model}
    if entry.clip is not None:
        row[CLIP] = entry.clip
    if entry.schedule is not None:
        row[SCHEDULE] = entry.schedule
    if entry.blocks:
        row[BLOCKS] = dict(entry.blocks)
    return row if entry.conditioning == BOTH else row | {CONDITIONING: entry.conditioning}


def _in_folder(folder: str, names: Sequence[str], path: Path) -> list[str]:
    """The listed LoRAs in a folder and below it; raises `UnusableInput` if there is none. Never looks at a disk."""
    wanted = folder.replace("\\", "/").strip("/")
    found = sorted(name for name in names if not wanted or name.replace("\\", "/").startswith(f"{wanted}/"))
    if found:
        return found
    if not names:
        raise UnusableInput("there is no LoRA here at all", path)
    folders = sorted({name.replace("\\", "/").rpartition("/")[0] for name in names} - {""})
    more = f", and {len(folders) - _MOST_FOLDERS} more" if len(folders) > _MOST_FOLDERS else ""
    known = f"there are LoRAs in {', '.join(folders[:_MOST_FOLDERS])}{more}" if folders else "no LoRA is in a folder"
    raise UnusableInput(f"no LoRA is in the folder {quoted(folder)}; {known}", path)


def _without_misfits(entries: Sequence[Entry], find: FindMisfits) -> tuple[list[Entry], list[tuple[str, str]]]:
    """The rows with those off that cannot be used, which are told with the reason."""
    rows: list[Json] = [{"lora": entry.lora, "model": entry.model, "clip": entry.clip_weight} for entry in entries]
    wrong = {one.number: one.sentence for one in find(rows)}
    kept = [
        Entry(entry.lora, on=False, model=entry.model) if number in wrong else entry
        for number, entry in enumerate(entries)
    ]
    return kept, [(entries[number].lora, sentence) for number, sentence in sorted(wrong.items())]
