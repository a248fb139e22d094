"""What runs the jobs: the interface of a backend, and what it tells while jobs run.

`nodes/host/queue.py` is the backend "this ComfyUI", `fleet/backend.py` "many of them". A backend is told from threads
of the service's own and from the event loop: each method says from where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..limits import Json

Graph = Mapping[str, Json]
"""In API form."""


@dataclass(frozen=True, slots=True)
class Started:
    """A job runs now."""

    job: str


@dataclass(frozen=True, slots=True)
class Cached:
    """Nodes that need not run again."""

    job: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeState:
    """How far a node is."""

    value: float
    most: float
    is_done: bool


@dataclass(frozen=True, slots=True)
class Stepped:
    """How far all nodes are that have begun, by id."""

    job: str
    nodes: Mapping[str, NodeState]


@dataclass(frozen=True, slots=True)
class Previewed:
    """A picture of what is not finished yet."""

    job: str
    node: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Produced:
    """Files that a node has made."""

    job: str
    files: tuple[Made, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """One file that a node has made, or a text, which is in no file."""

    node: str
    type: str
    """Of the official words for outputs."""
    name: str
    subfolder: str = ""
    folder: str = "output"
    """ComfyUI's word: `output`, `temp` or `input`."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ended badly."""

    message: str
    node: str | None = None
    class_type: str | None = None
    traceback: str | None = None


STACK, BASE, NOTHING = "stack", "base", "nothing"
WARMTHS = (STACK, BASE, NOTHING)
"""What a ComfyUI still had loaded when a job began: its base model with its LoRAs, the base model alone, neither."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run took."""

    seconds: float
    """From where a worker took it to its end, with what it has made."""
    nodes: int
    """Of its graph."""
    cached: int
    """Nodes that ComfyUI need not run."""
    warm: str | None
    """Of `WARMTHS`; None if it loads no model."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended: well if it is neither canceled nor failed. `files` are all of it."""

    job: str
    files: tuple[Made, ...]
    was_canceled: bool = False
    failure: Failure | None = None
    ran: Ran | None = None
    """None where that is not known."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The queue is another one than before: jobs may be gone from it that nobody ran."""


Signal = Started | Cached | Stepped | Previewed | Produced | Ended | Changed


@dataclass(frozen=True, slots=True)
class Row:
    """What is wrong with one row of a list of LoRAs, in the checker's words."""

    number: int
    """From 0."""
    sentence: str


class GraphRefused(Exception):
    """A graph that the backend does not run: `message`, and by node what is wrong with its inputs, ComfyUI's shape.

    `job` is its job where several were to be queued.
    """

    def __init__(self, message: str, node_errors: Mapping[str, Json], job: str = "") -> None:
        self.message = message
        self.node_errors = node_errors
        self.job = job
        super().__init__(message)


class Backend(Protocol):
    """What runs jobs."""

    outlives_server: bool
    """Whether jobs go on while the server is not there, so that it finds them again when it is."""

    async def submit(
        self, job: str, graph: Graph, secrets: Mapping[str, str], priority: int = 0, caller: str | None = None
    ) -> None:
        """Queues a graph under the id of its job; raises `GraphRefused`, and has queued nothing then.

        `secrets` go to the nodes that call paid services, and nowhere else. Of jobs that wait, those of a higher
        `priority` come first, and of these those of several callers in turn, where the queue knows turns. On the event
        loop.
        """
        ...

    async def submit_all(self, graphs: Mapping[str, Graph], priority: int = 0, caller: str | None = None) -> None:
        """Queues graphs under the ids of their jobs, in this order, all or none; as `submit`.

        `GraphRefused` names the first job that is to blame. On the event loop.
        """
        ...

    def cancel(self, job: str) -> str:
        """Takes a job from the queue (`canceled`), or asks it to end (`canceling`); `gone` if it is in neither.

        From any thread.
        """
        ...

    def positions(self) -> Mapping[str, int]:
        """Place in the queue by job, from 1, and 0 for one that runs. From any thread."""
        ...

    def find_end(self, job: str) -> Ended | None:
        """How a job ended; None if that is not known (any more). From any thread."""
        ...

    def listen(self, tell: Callable[[Signal], object]) -> None:
        """Lets a function know all signals of jobs from now on. On the event loop; `tell` must not wait."""
        ...

    def find_file(self, made: Made) -> Path | None:
        """Where a file that a node made is; None if it is not where such files are. From any thread."""
        ...

    def input_folder(self) -> Path:
        """Where nodes look for pictures that they load. From any thread."""
        ...

    def describe(self, kinds: Iterable[str]) -> Mapping[str, Json]:
        """The nodes' inputs and outputs as `/object_info` has them, without kinds that are not there.

        From any thread.
        """
        ...

    def resolver(self) -> Callable[[str], str]:
        """For one request: the file that a LoRA's AIR, hash or name means; that raises `LorchestraError`.

        From any thread.
        """
        ...

    def loras(self) -> Sequence[str]:
        """The LoRAs that are there, as ComfyUI lists them. From any thread."""
        ...

    def check(self, graph: Graph, node: str, loras: Sequence[Json]) -> Sequence[Row]:
        """The rows of a list at a node that cannot be used with the model there. From any thread."""
        ...

    def find_model(self, air_or_name: str) -> tuple[str | None, Sequence[str]]:
        """The checkpoint that a request means, as ComfyUI lists it, and the architectures that it may be of.

        None and nothing for what is not known. From any thread.
        """
        ...

    def model_of(self, graph: Graph) -> tuple[str | None, Sequence[str]]:
        """The one checkpoint of a graph, and the architectures that it may be of; as `find_model`."""
        ...
