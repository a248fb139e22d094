"""A published workflow: its graph, what it takes and what it gives; and how a workflow becomes one. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from ..errors import InputError, WorkflowError, quoted
from ..limits import Json
from . import overrides
from .api_form import ApiForm, Key, of_graph, to_api
from .editor import is_saved, mapping
from .graph_check import MOST_VALUES, check_graph, check_links
from .inputs import find_inputs
from .interface import LORAS, Input, Output
from .node_classes import NodeClasses
from .outputs import find_outputs
from .overrides import Problem
from .validation import find_oddity

__all__ = ["Draft", "Input", "Output", "Publication", "check_name", "draft", "publish", "read_workflow"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
"""Example: `portrait-2`. A name is a part of addresses and of file names."""
FORM = 1
"""Version of the JSON form."""
MOST_OTHERS = 2000
"""Widgets that a draft names beside the inputs."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A workflow that is called by name, with named inputs."""

    name: str
    version: int
    """From 1; publishing again makes the next one."""
    graph: Mapping[str, Json] = field(hash=False)
    """In API form: node id → `{"class_type", "inputs"}`."""
    inputs: tuple[Input, ...] = ()
    """In the order in which people are shown them."""
    outputs: tuple[Output, ...] = ()
    description: str = ""
    notes: tuple[str, ...] = ()
    """What could not be taken as the workflow says it, a sentence each."""

    @property
    def graph_hash(self) -> str:
        """SHA-256 of the graph, 64 hex digits; the order of its keys does not matter."""
        return hashlib.sha256(_canonical(self.graph)).hexdigest()

    def find_input(self, name: str) -> Input | None:
        """The input of that name, or None."""
        return next((item for item in self.inputs if item.name == name), None)

    def to_json(self) -> dict[str, Json]:
        """All of it as JSON data."""
        return {
            "form": FORM,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "graph_hash": self.graph_hash,
            "inputs": [item.to_json() for item in self.inputs],
            "outputs": [item.to_json() for item in self.outputs],
            "notes": list(self.notes),
            "graph": dict(self.graph),
        }

    @staticmethod
    def from_json(data: Json) -> Publication:
        """What `to_json` wrote; raises `WorkflowError` for anything else, also for a graph that was changed."""
        if not isinstance(data, dict):
            raise WorkflowError(f"the publication is {quoted(data)}; expected an object")
        values = cast("dict[str, Any]", data)
        name, version, graph = values.get("name"), values.get("version"), values.get("graph")
        if values.get("form") != FORM:
            raise WorkflowError(f'"form" is {quoted(values.get("form"))}; expected {FORM}')
        if type(version) is not int or version < 1:
            raise WorkflowError(f'"version" is {quoted(version)}; expected a number from 1')
        if not isinstance(graph, dict):
            raise WorkflowError('"graph" is missing')
        lists = {key: values.get(key, []) for key in ("inputs", "outputs", "notes")}
        for key, items in lists.items():
            if not isinstance(items, list):
                raise WorkflowError(f'"{key}" is {quoted(items)}; expected a list')
        made = Publication(
            check_name(name), version, cast("dict[str, Json]", graph), tuple(map(Input.from_json, lists["inputs"])),
            tuple(map(Output.from_json, lists["outputs"])), str(values.get("description", "")),
            tuple(map(str, lists["notes"])),
        )  # fmt: skip
        if values.get("graph_hash") not in (None, made.graph_hash):
            raise WorkflowError("the graph was changed after it was published: its hash is another. Publish it again")
        return made


def check_name(name: Json) -> str:
    """This name, if a publication may have it; raises `WorkflowError`."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise WorkflowError(
            f"{quoted(name)} cannot be the name of a published workflow. "
            "Use up to 64 small letters, digits, - and _, with a letter or a digit first"
        )
    return name


def _canonical(value: Json) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode()


@dataclass(frozen=True, slots=True)
class Placed:
    """An input, and where a person finds it."""

    item: Input
    place: Key
    """Its node and its widget in the editor."""
    row: int | None = None
    """Number of the row in the workflow's `extra` that says something of it; None if none does."""

    def to_json(self) -> dict[str, Json]:
        """The input as JSON data, with where it is."""
        return self.item.to_json() | {"place": list(self.place), "row": self.row}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a workflow would be published as, and what of it a person may say otherwise."""

    publication: Publication
    """Without what the rows in `problems` say."""
    problems: tuple[Problem, ...] = ()
    """Any of them keeps it from being published."""
    inputs: tuple[Placed, ...] = ()
    """Those of the publication."""
    found: tuple[Placed, ...] = ()
    """The inputs as they are found, before a person says anything."""
    outputs: tuple[Output, ...] = ()
    """The outputs as they are found."""
    others: tuple[Key, ...] = ()
    """Widgets in the editor that are no inputs and may become some."""


def publish(
    workflow: Json,
    object_info: Json | None,
    name: str,
    version: int = 1,
    *,
    said: Mapping[str, Json] | None = None,
    with_files: bool = False,
) -> Publication:
    """A workflow as a publication; `workflow` in API form, or in UI form with `object_info`.

    `said` is what a person says of the inputs and outputs, see `overrides.py`; None takes what the workflow has in its
    `extra`. `with_files` lists the files that this machine has as choices. Raises `WorkflowError` that says where for
    what is no workflow or cannot run.
    """
    made = draft(workflow, object_info, name, version, said=said, with_files=with_files)
    if made.problems:
        raise made.problems[0].error
    return made.publication


def draft(
    workflow: Json,
    object_info: Json | None,
    name: str,
    version: int = 1,
    *,
    said: Mapping[str, Json] | None = None,
    with_files: bool = False,
) -> Draft:
    """The same with all that `publish` would refuse of what a person says, and with what they may say it of."""
    check_name(name)
    form, classes = read_workflow(workflow, object_info)
    found, outputs = find_inputs(form, classes, with_files=with_files), find_outputs(form, classes)
    if not outputs:
        raise WorkflowError("nothing in the workflow saves or shows a result")
    own = mapping(form.extra.get(overrides.KEY)) if said is None else said
    revised = overrides.revise(form, classes, found.inputs, outputs, own)
    notes = (*check_links(form.graph, classes), *found.notes, *revised.notes)
    made = Publication(
        name, version, form.graph, revised.inputs, revised.outputs, revised.description, tuple(dict.fromkeys(notes))
    )
    taken = {target for item in (*found.inputs, *revised.inputs) for target in item.targets}
    lists = {item.node for item in found.inputs if item.kind == LORAS}  # whose other widgets are the list's
    others = (
        key for key, place in form.places.items() if place.targets[0] not in taken and place.targets[0][0] not in lists
    )

    def placed(inputs: Sequence[Input]) -> tuple[Placed, ...]:
        places = overrides.places_of(form, inputs)
        return tuple(
            Placed(item, place, revised.rows.get(item.targets[0])) for item, place in zip(inputs, places, strict=True)
        )

    return Draft(
        made,
        revised.problems,
        placed(revised.inputs),
        placed(found.inputs),
        outputs,
        tuple(islice(others, MOST_OTHERS)),
    )


def read_workflow(workflow: Json, object_info: Json | None) -> tuple[ApiForm, NodeClasses]:
    """A workflow of either form in API form, and the classes of its nodes; raises `WorkflowError`."""
    if not isinstance(workflow, dict):
        raise WorkflowError(f"this is {quoted(workflow)}, which is no workflow")
    problem = find_oddity(workflow, MOST_VALUES)
    if problem is not None:
        raise WorkflowError(problem.reason, InputError("", problem.path).path)
    data = cast("dict[str, Json]", workflow)
    classes = NodeClasses(object_info)
    if is_saved(data):
        return to_api(data, object_info), classes
    inner = data.get("prompt")
    graph = cast("dict[str, Json]", inner) if isinstance(inner, dict) and "class_type" not in inner else data
    return of_graph(check_graph(graph, classes), classes), classes
