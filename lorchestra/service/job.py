"""One run of a workflow as a value, and the official job resource of the Comfy API v2 that it is shown as.

The shapes are those of `comfy-api-proxy` 0.1.6 and `comfy-sdk` 0.5.0, `comfy_low.models`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..limits import Json

QUEUED, RUNNING, CANCELING = "queued", "running", "canceling"
SUCCEEDED, CANCELED, FAILED, EXPIRED = "succeeded", "canceled", "failed", "expired"
STATUSES = (QUEUED, RUNNING, SUCCEEDED, CANCELING, CANCELED, FAILED, EXPIRED)
_ORDER = ("image", "video", "audio", "file", "latent", "text")
"""In which outputs are shown: who asks for a picture takes the first."""
ENDED = frozenset({SUCCEEDED, CANCELED, FAILED, EXPIRED})
"""What no job leaves."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; complete in itself."""

    value: float
    """0 … 1, of all nodes; a node that tells its steps counts in parts."""
    nodes_done: int
    nodes_total: int
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a run has made."""

    id: str
    """Of the asset, a UUID."""
    node_id: str
    name: str
    type: str
    """`image`, `video`, `audio`, `text`, `file` or `latent`."""
    content_type: str
    size_bytes: int

    def to_json(self, job: Job, base: str) -> dict[str, Json]:
        """The official output, at `base`."""
        return {
            "node_id": self.node_id,
            "name": self.name,
            "type": self.type,
            "content_type": self.content_type,
            "size_bytes": self.size_bytes,
            "id": self.id,
            "hash": None,
            "url": asset_url(base, self.id),
            "url_expires_at": iso(job.expires),
            "job_id": job.id,
        }


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a run failed."""

    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None
    traceback: str | None = None


RESTARTED = JobError("server_restarted", "ComfyUI ended before this job did. Send it again.")


@dataclass(frozen=True, slots=True)
class Job:
    """One run; moments are seconds since 1970."""

    id: str
    """A UUID, and ComfyUI's `prompt_id`."""
    status: str
    created: float
    expires: float
    """Until when it is kept once it has ended."""
    nodes: int
    """Nodes in its graph."""
    started: float | None = None
    completed: float | None = None
    progress: Progress | None = None
    outputs: tuple[Output, ...] = ()
    """In the order in which they were made."""
    error: JobError | None = None
    workflow: str | None = None
    """The publication that it is of, `name@version`; None for a graph that was sent."""
    metadata: Mapping[str, str] | str | None = field(default=None, hash=False)
    """Labels that the caller gave it."""
    priority: int | None = None
    """Higher ones first; 0 if it is None, as what the editor sends."""
    drawn: Mapping[str, Json] = field(default_factory=dict[str, Json], hash=False)
    """Inputs that the caller did not send and that were drawn for this run, by name."""
    batch: str | None = None
    """Id of the batch that it is of."""
    caller: str | None = None
    """Whose it is, by the name in the settings; None for the owner's."""

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED

    @property
    def ranked(self) -> list[Output]:
        """The outputs as they are shown: pictures first."""
        return sorted(self.outputs, key=_rank)

    def to_json(self, base: str, position: int | None = None) -> dict[str, Json]:
        """The official job, at `base`; `position` in the queue counts from 1."""
        own = job_url(base, self.id)
        shown: dict[str, Json] = {
            "id": self.id,
            "status": self.status,
            "created_at": iso(self.created),
            "started_at": _iso_or_none(self.started),
            "completed_at": _iso_or_none(self.completed),
            "expires_at": iso(self.expires),
            "queue_position": position if self.status == QUEUED else None,
            "progress": asdict(self.progress) if self.progress else None,
            "outputs": [output.to_json(self, base) for output in self.ranked],
            "error": asdict(self.error) if self.error else None,
            "metrics": {
                "queue_ms": _between(self.created, self.started),
                "execution_ms": _between(self.started, self.completed),
            },
            "urls": {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"},
        }
        for name in ("workflow", "metadata", "priority", "batch", "caller"):
            if (value := getattr(self, name)) is not None:
                shown[name] = value
        return shown | ({"drawn": dict(self.drawn)} if self.drawn else {})

    def to_row(self) -> dict[str, Json]:
        """All of it as JSON data, to be kept."""
        return asdict(self)

    @staticmethod
    def from_row(data: dict[str, Any]) -> Job:
        """What `to_row` gave."""
        progress, error = data["progress"], data["error"]
        values: dict[str, Any] = {
            "progress": Progress(**progress) if progress else None,
            "outputs": tuple(Output(**output) for output in data["outputs"]),
            "error": JobError(**error) if error else None,
        }
        return Job(**{**data, **values})


def _rank(output: Output) -> int:
    return _ORDER.index(output.type)


def job_url(base: str, job: str) -> str:
    """Where a job is."""
    return f"{base}/api/v2/jobs/{job}"


def batch_url(base: str, batch: str) -> str:
    """Where a batch is."""
    return f"{base}/batches/{batch}"


def asset_url(base: str, asset: str) -> str:
    """Where the bytes of an asset are."""
    return f"{base}/api/v2/assets/{asset}/content"


def iso(moment: float) -> str:
    """A moment as the official API writes it: ISO 8601, UTC."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def _iso_or_none(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)


def _between(start: float | None, end: float | None) -> int | None:
    return None if start is None or end is None else max(0, round((end - start) * 1000))
