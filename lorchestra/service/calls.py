"""A call of a published workflow: from what was sent to a graph that is checked, and to its job."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import cast

from ..errors import quoted
from ..limits import Json
from ..workflow.create import create
from ..workflow.interface import INTEGER, LORAS, MEDIA, Input
from ..workflow.publication import Publication
from ..workflow.schema import schema_of
from ..workflow.validation import check
from .backend import Backend, Graph, GraphRefused
from .callers import OWNER, Caller
from .http import Refusal, invalid
from .job import Job
from .jobs import Order
from .media import load
from .publications import Published
from .service import Service
from .store import Callback

_MOST_DRAWN = 2**50
"""As the editor has it."""
CHECKS_ITSELF = "LorchestraLoraStack"
"""The node that says by itself which rows cannot be used, when its prompt is queued, as far as its policy wants it."""


async def call(
    service: Service,
    find: Callable[[], Published],
    read: Callable[[], Json],
    *,
    key: str | None = None,
    metadata: Mapping[str, str] | None = None,
    callback: Callback | None = None,
    draws: bool = True,
    priority: int | None = None,
    caller: Caller = OWNER,
) -> Job:
    """Queues a published workflow with the inputs that `read` gives; both are found in a thread.

    With `draws`, seeds that the editor draws anew for each run are drawn here for a call that does not send them.
    Raises `Refusal` and `InputError` with the path of the field that is to blame; nothing is queued then.
    """
    calling = _Call(service, find, read, draws, caller)
    try:
        return await service.jobs.submit(
            calling.make, key=key, metadata=metadata, priority=priority, callback=callback, caller=caller
        )
    except GraphRefused as error:
        await service.threads.run(calling.check)
        raise explained(calling.published.publication, error) from error


class _Call:
    """One call; what is found for it in a thread stays, for the case that the graph is refused."""

    published: Published
    inputs: dict[str, Json]
    graph: Graph

    def __init__(
        self,
        service: Service,
        find: Callable[[], Published],
        read: Callable[[], Json],
        draws: bool,
        caller: Caller,
    ) -> None:
        self._service = service
        self._find = find
        self._read = read
        self._draws = draws
        self._caller = caller

    def make(self) -> Order:
        """What is to be run."""
        self.published = self._find()
        publication, sent = self.published.publication, _object(self._read())
        drawn = draw(publication, sent) if self._draws else {}
        self.inputs = sent | drawn
        self.graph = prepare(self._service, publication, self.inputs, self._caller)
        return Order(self.graph, self.published.reference, drawn)

    def check(self) -> None:
        """Raises `Refusal` for the row that a graph was refused for, if it was one."""
        for item in self.published.publication.inputs:
            check_loras(self._service.backend, self.graph, item, self.inputs)


def _object(inputs: Json) -> dict[str, Json]:
    if not isinstance(inputs, dict):
        raise invalid(f"the inputs are {quoted(cast('object', inputs))}; expected an object.")
    return cast("dict[str, Json]", inputs)


def draw(publication: Publication, sent: Mapping[str, Json]) -> dict[str, Json]:
    """A value for each input that the editor draws anew for each run, and that was not sent."""
    return {
        item.name: _drawn(item.schema)
        for item in publication.inputs
        if item.is_random and not item.is_required and item.kind == INTEGER and item.name not in sent
    }


def _drawn(schema: Mapping[str, Json]) -> int:
    """A whole number that the schema allows, and that JavaScript writes as it is."""
    step = schema.get("multipleOf", 1)
    least = -(-max(schema.get("minimum", 0), -_MOST_DRAWN) // step)
    most = min(schema.get("maximum", _MOST_DRAWN), _MOST_DRAWN) // step
    return step * (least + secrets.randbelow(max(1, most - least + 1)))


def prepare(service: Service, publication: Publication, inputs: Mapping[str, Json], caller: Caller = OWNER) -> Graph:
    """The graph of a call, as far as it can be checked before it is queued. Not on the event loop."""
    values = dict(inputs)
    resolve = service.backend.resolver()
    media = [item for item in publication.inputs if item.kind in MEDIA and item.name in values]
    if media:
        check(schema_of(publication), values)
        # All else is looked at first: nothing is kept for a request that is refused.
        standing_in = {item.name: item.default if isinstance(item.default, str) else "-" for item in media}
        create(publication, values | standing_in, resolve=resolve)
    for item in media:
        if values[item.name] != item.default:
            values[item.name] = load(values[item.name], item.kind, item.name, service.assets, caller)
    graph = create(publication, values, resolve=resolve)
    for item in publication.inputs:
        if item.kind == LORAS and graph[item.node].get("class_type") != CHECKS_ITSELF:
            check_loras(service.backend, graph, item, values)
    return graph


def check_loras(backend: Backend, graph: Graph, item: Input, inputs: Mapping[str, Json]) -> None:
    """Raises `Refusal` with the checker's sentence for the first row that cannot be used with the model."""
    sent = inputs.get(item.name)
    if item.kind != LORAS or not isinstance(sent, list):
        return
    rows = [_row(cast("dict[str, Json]", row)) for row in cast("list[Json]", sent)]
    numbers = [number for number, row in enumerate(rows) if row["model"] or row.get("clip")]
    wrong = backend.check(graph, item.node, [rows[number] for number in numbers])
    if wrong:
        first = wrong[0]
        problems = [{"path": f"{item.name}[{numbers[one.number]}]", "message": one.sentence} for one in wrong]
        raise Refusal(
            422, "invalid_lora", first.sentence, f"{item.name}[{numbers[first.number]}].model",
            details={"problems": problems[:100]},
        )  # fmt: skip


def _row(sent: dict[str, Json]) -> dict[str, Json]:
    weight = sent.get("weight", 1.0)
    return {"lora": sent.get("model", ""), "model": weight, "clip": sent.get("clip_weight", weight)}


def explained(publication: Publication, error: GraphRefused) -> Refusal:
    """What ComfyUI says of nodes, said of the input that it is about, if it is about one."""
    details: dict[str, Json] = {"node_errors": dict(error.node_errors)}
    places = {place: item.name for item in publication.inputs for place in item.targets}
    for node, found in error.node_errors.items():
        for one in cast("list[dict[str, Json]]", found.get("errors", [])):
            widget = cast("dict[str, Json]", one.get("extra_info") or {}).get("input_name")
            name = places.get((node, str(widget)))
            if name is not None:
                said = [str(one.get(part) or "").rstrip(".") for part in ("message", "details")]
                return Refusal(422, "invalid_workflow", ": ".join(filter(None, said)), name, details=details)
    return Refusal(422, "invalid_workflow", error.message, details=details)
