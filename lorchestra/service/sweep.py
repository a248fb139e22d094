"""From the request of a batch to the graphs of its jobs: all are checked before any is queued."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import cast

from ..errors import InputError, UnusableInput, quoted, shortened
from ..limits import Json
from ..workflow.batch_schema import EACH, INPUTS, fixed_of
from ..workflow.create import create
from ..workflow.interface import FILE, LORAS, MEDIA, Input
from ..workflow.validation import Path, check, find_oddity
from .axes import Axis, Loras, read_axis, require_few
from .backend import Graph, GraphRefused, Row
from .batches import Plan
from .callers import OWNER, Caller
from .calls import CHECKS_ITSELF, check_loras, draw, explained
from .http import Refusal
from .jobs import Order
from .media import load
from .publications import Published
from .service import Service


def make_plan(service: Service, find: Callable[[], Published], body: Json, caller: Caller = OWNER) -> Plan:
    """The jobs that a request asks for. Raises `InputError` and `Refusal`, and has kept nothing then.

    Not on the event loop.
    """
    return _Planner(service, find(), body, caller).plan()


def explain(service: Service, plan: Plan, number: int, message: str, node_errors: Mapping[str, Json]) -> Refusal:
    """Why the graph of a job was refused, said of what was sent. Not on the event loop."""
    publication, graph = plan.published.publication, plan.orders[number].graph
    values, indexes = _values(plan, number)
    for item in publication.inputs:
        try:
            check_loras(service.backend, graph, item, values)
        except Refusal as error:
            return _all_misfits(service, plan, item, graph) or _placed_refusal(error, plan.axes, indexes)
    return _placed_refusal(explained(publication, GraphRefused(message, node_errors)), plan.axes, indexes)


class _Planner:
    """One request; not on the event loop."""

    def __init__(self, service: Service, published: Published, body: Json, caller: Caller) -> None:
        self._service, self._caller = service, caller
        self._published = published
        self._publication = published.publication
        self._most = service.settings.most_in_batch
        self._resolve = service.backend.resolver()
        problem = find_oddity(body)
        if problem is not None:
            raise InputError(problem.reason, problem.path)
        data = _object(body, (INPUTS, EACH), ())
        if EACH not in data:
            raise InputError(f'it is missing; send what varies, such as {{"{self._example()}": [1, 2]}}', (EACH,))
        self._fixed = _object(data.get(INPUTS, {}), self._names(), (INPUTS,))
        self._each = _object(data[EACH], self._names(), (EACH,))
        if not self._each:
            raise InputError("it is empty; send the inputs that vary, with a list of values each", (EACH,))

    def plan(self) -> Plan:
        """The plan; raises `InputError` and `Refusal`."""
        publication = self._publication
        self._check_fixed()
        drawn = draw(publication, self._fixed | self._each)
        fixed = self._fixed | drawn
        axes = tuple(
            read_axis(self._input(name), sent, self._most, self._loras(self._input(name), fixed))
            for name, sent in self._each.items()
        )
        require_few(math.prod(len(axis.values) for axis in axes), self._most, (EACH,))
        media = [item for item in publication.inputs if item.kind in MEDIA]
        if media:  # all else is looked at first: nothing is kept for a request that is refused
            self._graphs(*_standing_in(media, fixed, axes))
            fixed, axes = self._loaded(media, fixed, axes)
        graphs = self._graphs(fixed, axes)
        reference = self._published.reference
        return Plan(self._published, axes, fixed, drawn, tuple(Order(graph, reference, drawn) for graph in graphs))

    def _names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self._publication.inputs)

    def _example(self) -> str:
        return next((item.name for item in self._publication.inputs if item.kind == "integer"), "seed")

    def _input(self, name: str) -> Input:
        found = self._publication.find_input(name)
        assert found is not None
        return found

    def _check_fixed(self) -> None:
        _check(fixed_of(self._publication), self._fixed)
        twice = next((name for name in self._fixed if name in self._each), None)
        if twice is not None:
            raise UnusableInput("it is in inputs, too. Say it once: what varies stands in each alone", (EACH, twice))
        for item in self._publication.inputs:
            if item.is_required and item.name not in self._fixed and item.name not in self._each:
                raise UnusableInput("it is missing; send it here, or several values of it in each", (INPUTS, item.name))

    def _loras(self, item: Input, fixed: Mapping[str, Json]) -> Loras:
        def misfits(rows: Sequence[Json]) -> Sequence[Row]:
            known = {name: value for name, value in fixed.items() if self._input(name).kind not in MEDIA}
            first = {
                name: cast("list[Json]", sent)[0]
                for name, sent in self._each.items()
                if isinstance(sent, list) and sent and self._input(name).kind == FILE
            }
            try:
                graph = create(self._publication, self._required(known | first), resolve=self._resolve)
            except InputError:
                return ()  # is told of the combination that has it
            return self._service.backend.check(graph, item.node, rows)

        return Loras(self._service.backend.loras, self._resolve, misfits)

    def _required(self, values: dict[str, Json]) -> dict[str, Json]:
        """The same with something for what is required and varies."""
        lacks = [item for item in self._publication.inputs if item.is_required and item.name not in values]
        return {item.name: item.default for item in lacks} | values

    def _graphs(self, fixed: Mapping[str, Json], axes: Sequence[Axis]) -> list[Graph]:
        publication, backend = self._publication, self._service.backend
        lists = [item for item in publication.inputs if item.kind == LORAS]
        graphs: list[Graph] = []
        for indexes in product(*(range(len(axis.values)) for axis in axes)):
            values = dict(fixed) | {axis.name: axis.values[n] for axis, n in zip(axes, indexes, strict=True)}
            try:
                graph = create(publication, values, resolve=self._resolve)
            except InputError as error:
                raise _placed(error, axes, indexes) from error
            for item in lists:
                if graph[item.node].get("class_type") != CHECKS_ITSELF:
                    try:
                        check_loras(backend, graph, item, values)
                    except Refusal as error:
                        raise _placed_refusal(error, axes, indexes) from error
            graphs.append(graph)
        return graphs

    def _loaded(
        self, media: Sequence[Input], fixed: Mapping[str, Json], axes: Sequence[Axis]
    ) -> tuple[dict[str, Json], tuple[Axis, ...]]:
        """The same with the names of files where pictures were sent, each of which is kept once."""
        kinds = {item.name: item for item in media}

        def name_of(item: Input, value: Json, path: str) -> Json:
            return value if value == item.default else load(value, item.kind, path, self._service.assets, self._caller)

        loaded = {
            name: name_of(kinds[name], value, f"{INPUTS}.{name}") if name in kinds else value
            for name, value in fixed.items()
        }
        moved = tuple(
            replace(
                axis,
                values=tuple(
                    name_of(kinds[axis.name], value, f"{EACH}.{axis.name}[{number}]")
                    for number, value in enumerate(axis.values)
                ),
            )
            if axis.name in kinds
            else axis
            for axis in axes
        )
        return loaded, moved


def _object(value: Json, known: tuple[str, ...], path: Path) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InputError(f"it is {quoted(value)}; expected an object", path)
    data = cast("dict[str, Json]", value)
    unknown = next((key for key in data if key not in known), None)
    if unknown is not None:
        said = shortened(", ".join(known), 300) or "none"
        raise InputError(f"there is no such field here; known are {said}", (*path, unknown))
    return data


def _check(schema: Mapping[str, Json], value: Json) -> None:
    try:
        check(schema, value)
    except InputError as error:
        raise InputError(error.reason, (INPUTS, *error.parts)) from error


def _standing_in(
    media: Sequence[Input], fixed: Mapping[str, Json], axes: Sequence[Axis]
) -> tuple[dict[str, Json], list[Axis]]:
    """The same with names of files that need not be there for pictures."""
    names = {item.name: item.default if isinstance(item.default, str) else "-" for item in media}
    return (
        {name: names.get(name, value) for name, value in fixed.items()},
        [replace(axis, values=(names[axis.name],)) if axis.name in names else axis for axis in axes],
    )


def _values(plan: Plan, number: int) -> tuple[dict[str, Json], tuple[int, ...]]:
    """The inputs of a job, and which value it has of each axis."""
    indexes = indexes_of(plan.axes, number)
    return dict(plan.inputs) | {
        axis.name: axis.values[index] for axis, index in zip(plan.axes, indexes, strict=True)
    }, indexes


def indexes_of(axes: Sequence[Axis], number: int) -> tuple[int, ...]:
    """Which value of each axis the job of this number has."""
    found: list[int] = []
    for axis in reversed(axes):
        number, index = divmod(number, len(axis.values))
        found.append(index)
    return tuple(reversed(found))


def _placed(error: InputError, axes: Sequence[Axis], indexes: Sequence[int]) -> InputError:
    """An error of one job's inputs, said of what was sent."""
    name = error.parts[0] if error.parts else ""
    for axis, index in zip(axes, indexes, strict=True):
        if axis.name == name:
            rest = error.parts[1:] if axis.is_listed else ()
            reason = error.reason if axis.is_listed else f"{axis.labels[index]}: {error.reason}"
            return type(error)(reason, (*axis.path(index), *rest))
    return type(error)(error.reason, (INPUTS, *error.parts))


def _placed_refusal(error: Refusal, axes: Sequence[Axis], indexes: Sequence[int]) -> Refusal:
    """The same of an answer that says no."""
    path = error.path or ""
    name = path.partition("[")[0].partition(".")[0]
    details = {key: value for key, value in error.details.items() if key not in ("path", "pointer", "problems")}
    message, place = error.message, f"{INPUTS}.{path}" if path else None
    for axis, index in zip(axes, indexes, strict=True):
        if axis.name == name:
            place = f"{EACH}.{name}"
            if axis.is_listed:
                place += f"[{index}]{path[len(name) :]}"
            else:
                message = f"{axis.labels[index]}: {message}"
    if place is not None:
        details["pointer"] = "/" + re.sub(r"[.\[]", "/", place.replace("]", ""))
    return Refusal(error.status, error.code, message, place, details=details, headers=error.headers)


def _all_misfits(service: Service, plan: Plan, item: Input, graph: Graph) -> Refusal | None:
    """All LoRAs of a comparison that cannot be used with the model, at once; None if it is none."""
    axis = next((one for one in plan.axes if one.name == item.name and not one.is_listed), None)
    if axis is None:
        return None
    rows = {
        str(row["model"]): row for value in axis.values for row in cast("list[dict[str, Json]]", value) if row["weight"]
    }
    asked: list[Json] = [
        {"lora": name, "model": row["weight"], "clip": row.get("clip_weight", row["weight"])}
        for name, row in rows.items()
    ]
    wrong = service.backend.check(graph, item.node, asked)
    if not wrong:
        return None
    names = list(rows)
    problems = [{"path": f"{EACH}.{item.name}", "model": names[one.number], "message": one.sentence} for one in wrong]
    first = f"{names[wrong[0].number]}: {wrong[0].sentence}"
    more = f" {len(wrong) - 1} more cannot be used either; details.problems has them." if len(wrong) > 1 else ""
    advice = ' Choose others, or leave out what doesn\'t fit with "unfit": "skip".'
    details: dict[str, Json] = {"problems": problems[:100], "pointer": f"/{EACH}/{item.name}"}
    return Refusal(422, "invalid_lora", f"{first}{more}{advice}", f"{EACH}.{item.name}", details=details)
