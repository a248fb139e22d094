"""Many jobs of one published workflow as one value, and the resource that it is shown as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

from ..limits import Json
from .axes import Axis
from .job import (
    CANCELED,
    CANCELING,
    ENDED,
    FAILED,
    QUEUED,
    RUNNING,
    STATUSES,
    SUCCEEDED,
    Job,
    asset_url,
    batch_url,
    iso,
    job_url,
)

PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were asked for with one request; moments are seconds since 1970."""

    id: str
    """A UUID."""
    status: str
    """As it is kept: `queued` or `canceling` until it ends; `status_of` tells more."""
    created: float
    expires: float
    """Until when it and its jobs are kept once it has ended."""
    workflow: str
    """`name@version`."""
    axes: tuple[Axis, ...]
    """There is a job for each combination, the last one changing first."""
    inputs: Mapping[str, Json] = field(default_factory=dict[str, Json], hash=False)
    """What is the same in all jobs."""
    drawn: Mapping[str, Json] = field(default_factory=dict[str, Json], hash=False)
    """Of these, what was drawn."""
    completed: float | None = None
    sheet: str | None = None
    """Id of the asset; None until it is made, and if it could not be."""
    sheet_size: int = 0
    sheet_problem: str | None = None
    """Why there is none."""
    caller: str | None = None
    """Whose it is, by the name in the settings; None for the owner's."""

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED

    def combinations(self) -> list[tuple[int, ...]]:
        """Of each job, which value it has of each axis."""
        return list(product(*(range(len(axis.values)) for axis in self.axes)))

    def to_row(self) -> dict[str, Json]:
        """All of it as JSON data, to be kept."""
        return asdict(self)

    @staticmethod
    def from_row(data: dict[str, Any]) -> Batch:
        """What `to_row` gave."""
        axes: tuple[Axis, ...] = tuple(map(Axis.from_row, data["axes"]))
        values: dict[str, Any] = {**data, "axes": axes}
        return Batch(**values)

    def to_json(self, base: str, counts: Mapping[str, int], value: float) -> dict[str, Json]:
        """The batch at `base` without its jobs, of which so many are in each status; `value` is its progress."""
        own = batch_url(base, self.id)
        sheet: Json = None
        if self.sheet is not None:
            sheet = {
                "id": self.sheet, "url": asset_url(base, self.sheet), "content_type": PNG,
                "size_bytes": self.sheet_size,
            }  # fmt: skip
        total = sum(counts.values())
        return {
            "id": self.id,
            "status": status_of(self, counts),
            "created_at": iso(self.created),
            "completed_at": None if self.completed is None else iso(self.completed),
            "expires_at": iso(self.expires),
            "workflow": self.workflow,
            "progress": {"value": value, "jobs_ended": ended_of(counts), "jobs_total": total},
            "counts": {status: counts[status] for status in STATUSES if counts.get(status)},
            "inputs": dict(self.inputs),
            "drawn": dict(self.drawn),
            "each": [
                {"input": axis.name, "values": list(axis.values), "labels": list(axis.labels)} for axis in self.axes
            ],
            "left_out": [{"model": lora, "message": why} for axis in self.axes for lora, why in axis.left_out],
            "sheet": sheet,
            "sheet_problem": self.sheet_problem,
            "urls": {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel", "sheet": f"{own}/sheet"},
        }

    def show_jobs(self, base: str, jobs: Sequence[Job]) -> list[dict[str, Json]]:
        """All its jobs in their order, each with the values that it has of what varies."""
        return [
            {
                "id": job.id,
                "status": job.status,
                "values": {
                    axis.name: axis.values[number] for axis, number in zip(self.axes, indexes, strict=True)
                },
                "labels": [axis.labels[number] for axis, number in zip(self.axes, indexes, strict=True)],
                "outputs": [output.to_json(job, base) for output in job.ranked],
                "error": asdict(job.error) if job.error else None,
                "url": job_url(base, job.id),
            }
            for job, indexes in zip(jobs, self.combinations(), strict=False)
        ]  # fmt: skip


def counts_of(jobs: Iterable[Job]) -> Counter[str]:
    """How many jobs are in each status."""
    return Counter(job.status for job in jobs)


def ended_of(counts: Mapping[str, int]) -> int:
    """How many jobs have ended."""
    return sum(count for status, count in counts.items() if status in ENDED)


def progress_of(jobs: Sequence[Job]) -> float:
    """How far they are altogether, 0 … 1: one that has ended counts whole, one that runs as far as it is."""
    done = sum(1.0 if job.has_ended else job.progress.value if job.progress else 0.0 for job in jobs)
    return done / len(jobs) if jobs else 0.0


def status_of(batch: Batch, counts: Mapping[str, int]) -> str:
    """Its status in the words of jobs. It has ended when its sheet is made, too."""
    if batch.has_ended or batch.status == CANCELING:
        return batch.status
    return QUEUED if set(counts) <= {QUEUED} else RUNNING


def end_of(batch: Batch, counts: Mapping[str, int]) -> str:
    """How a batch ended all of whose jobs have: well if all did; canceled if somebody did so; else it has failed."""
    if set(counts) <= {SUCCEEDED}:
        return SUCCEEDED
    if batch.status == CANCELING or not counts.get(FAILED):
        return CANCELED
    return FAILED
