"""The contact sheet of a batch: what varies becomes its columns, its rows, and blocks of those. Needs Pillow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..analysis.contact import Group, Shot, draw_files, to_png
from ..errors import shortened
from ..limits import Json
from .axes import Axis
from .batch import Batch
from .job import CANCELED, FAILED, SUCCEEDED, Job

METADATA = "lorchestra_batch"
"""Name of the text in the PNG that says what is on it."""
_LONGEST = 300
_MOST_TEXT = 4_000_000
FindFile = Callable[[Job], Path | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """One place of a group: a number for each axis, and the place that it is measured against."""

    indexes: tuple[int, ...]
    against: int | None


def draw_batch(batch: Batch, jobs: Sequence[Job], find_file: FindFile) -> bytes:
    """The sheet as a PNG, of the pictures that there are by now; an empty place says why it is empty."""
    by_indexes = dict(zip(batch.combinations(), jobs, strict=False))
    groups: list[Group] = []
    for columns, rows, title, has_first, places in _groups(batch.axes):
        shots = [_shot(batch.axes, place, by_indexes.get(place.indexes), find_file) for place in places]
        groups.append(Group(shots, columns, rows, title, has_first))
    return to_png(draw_files(groups), {METADATA: _metadata(batch, jobs)})


def find_picture(job: Job) -> str | None:
    """The asset that shows a job: its first picture."""
    return next((output.id for output in job.ranked if output.type == "image"), None)


def _groups(
    axes: Sequence[Axis],
) -> list[tuple[Sequence[str], Sequence[str], str, bool, list[_Place]]]:
    """Columns, rows, title, whether the first place stands by itself, and the places, of each block."""
    table = next((number for number, axis in enumerate(axes) if axis.is_table), None)
    inner = [table] if table is not None else list(range(min(2, len(axes))))
    outer = [number for number in range(len(axes)) if number not in inner]
    found: list[tuple[Sequence[str], Sequence[str], str, bool, list[_Place]]] = []
    for chosen in product(*(range(len(axes[number].values)) for number in outer)):
        at = dict(zip(outer, chosen, strict=True))
        title = " · ".join(axes[number].labels[index] for number, index in at.items())
        if len(inner) == 1:
            axis = axes[inner[0]]
            against = 0 if axis.has_first else None
            places = [_place(axes, at | {inner[0]: index}, against) for index in range(len(axis.values))]
            found.append((axis.columns, axis.rows, title, axis.has_first and axis.is_table, places))
            continue
        across, down = axes[0], axes[1]
        places = [
            _place(axes, at | {0: column, 1: row}, _reference(across, down, column, row))
            for row in range(len(down.values))
            for column in range(len(across.values))
        ]
        found.append((across.labels, down.labels, title, False, places))
    return found


def _reference(across: Axis, down: Axis, column: int, row: int) -> int | None:
    """The place of the same job without LoRAs."""
    if across.has_first:
        return row * len(across.values)
    return column if down.has_first else None


def _place(axes: Sequence[Axis], at: Mapping[int, int], against: int | None) -> _Place:
    return _Place(tuple(at[number] for number in range(len(axes))), against)


def _shot(axes: Sequence[Axis], place: _Place, job: Job | None, find_file: FindFile) -> Shot:
    labels = [axis.labels[index] for axis, index in zip(axes, place.indexes, strict=True)]
    label = " · ".join(labels)
    if job is None:
        return Shot(label, None, "its job is not kept any more", place.against)
    path = find_file(job) if job.status == SUCCEEDED else None
    return Shot(label, path, "" if path else _reason(job), place.against)


def _reason(job: Job) -> str:
    if job.status == FAILED:
        return shortened(" ".join(job.error.message.split()) if job.error else "failed", _LONGEST)
    if job.status == SUCCEEDED:
        gone = find_picture(job) is not None
        return "its picture is not there any more" if gone else "it made no picture"
    return "canceled" if job.status == CANCELED else "not done yet"


def _metadata(batch: Batch, jobs: Sequence[Job]) -> str:
    """What is on the sheet, as JSON."""
    data: dict[str, Json] = {
        "version": 1,
        "id": batch.id,
        "workflow": batch.workflow,
        "inputs": dict(batch.inputs),
        "each": [{"input": axis.name, "values": axis.values, "labels": axis.labels} for axis in batch.axes],
        "jobs": [
            {"id": job.id, "status": job.status, "values": [axis.values[index] for axis, index in pairs]}
            for job, indexes in zip(jobs, batch.combinations(), strict=False)
            for pairs in [list(zip(batch.axes, indexes, strict=True))]
        ],
    }
    text = json.dumps(data, ensure_ascii=False)
    if len(text) > _MOST_TEXT:  # prompts of 400,000 characters, for each of many jobs
        del data["jobs"]
        text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= _MOST_TEXT else json.dumps({"version": 1, "id": batch.id, "workflow": batch.workflow})
