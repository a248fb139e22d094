"""A workflow as the editor saves it, taken apart: graphs, nodes, slots, links.

What is odd is an error that says where, or counts as absent where the editor drops it, too.
Source of the form: https://docs.comfy.org/specs/workflow_json - version 0.4 with links as lists, 1 with links as
objects, and subgraphs under `definitions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from ..errors import WorkflowError, quoted
from ..limits import Json
from .loras import MOST_NODES

ALWAYS, MUTED, BYPASSED = 0, 2, 4
"""Modes of nodes."""
INPUT_NODE, OUTPUT_NODE = "-10", "-20"
"""Where the links of a subgraph's own inputs begin, and those of its outputs end."""


class Link(NamedTuple):
    """One link of a graph."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, slots=True)
class Slot:
    """An input of a node."""

    name: str
    type: str
    link: str | None
    widget: str | None
    """The widget that it stands for; None for a socket alone."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph."""

    id: str
    type: str
    """Its class, or the id of a subgraph."""
    title: str
    """What a person has written over it; empty if it is called as its class."""
    mode: int
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    """Types."""
    values: Sequence[Json]
    """Of its widgets, in the order of the editor."""
    named: Mapping[str, Json]
    """The same by name, as far as the file has it."""
    properties: Mapping[str, Json] = field(hash=False)

    @property
    def is_unused(self) -> bool:
        """True for a node that does not run."""
        return self.mode in (MUTED, BYPASSED)


@dataclass(frozen=True, slots=True)
class SubgraphInput:
    """An input of a subgraph."""

    name: str
    type: str
    label: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The workflow's own graph, or that of a subgraph."""

    id: str
    name: str
    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    inputs: tuple[SubgraphInput, ...] = ()
    outputs: tuple[tuple[str, ...], ...] = ()
    """The links that end in each output."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved workflow."""

    root: Graph
    subgraphs: Mapping[str, Graph]
    extra: Mapping[str, Json]


def is_saved(workflow: Json) -> bool:
    """True for a workflow in the editor's form."""
    return isinstance(workflow, dict) and isinstance(cast("dict[str, Json]", workflow).get("nodes"), list)


def read_saved(workflow: Mapping[str, Json]) -> Saved:
    """The workflow taken apart; raises `WorkflowError` that says where for what has another form."""
    root = _graph(workflow, "")
    subgraphs: dict[str, Graph] = {}
    count = len(root.nodes)
    for item in sequence(mapping(workflow.get("definitions")).get("subgraphs")):
        graph = _graph(mapping(item), "subgraph ")
        count += len(graph.nodes)
        if count > MOST_NODES:
            raise WorkflowError(f"the workflow has more than {MOST_NODES:,} nodes")
        subgraphs[graph.id] = graph
    return Saved(root, subgraphs, mapping(workflow.get("extra")))


def _graph(data: Mapping[str, Json], start: str) -> Graph:
    name, id_ = data.get("name"), data.get("id")
    where = f"{start}{quoted(name)}" if start else ""
    nodes: dict[str, Node] = {}
    items = sequence(data.get("nodes"))
    if len(items) > MOST_NODES:
        raise WorkflowError(f"the workflow has {len(items):,} nodes; at most {MOST_NODES:,} are read", where)
    for number, item in enumerate(items, 1):
        node = _node(item, number, where)
        if node.id in nodes:
            raise WorkflowError(f"two nodes have the id {quoted(node.id)}", where)
        nodes[node.id] = node
    links: dict[str, Link] = {}
    for item in sequence(data.get("links")):
        found = _link(item)
        if found is not None:  # the editor drops what is no link, too
            links[found[0]] = found[1]
    inputs = tuple(_subgraph_input(mapping(item)) for item in sequence(data.get("inputs"))) if start else ()
    outputs = tuple(_link_ids(mapping(item)) for item in sequence(data.get("outputs"))) if start else ()
    return Graph(_id(id_) or "", name if isinstance(name, str) else "", nodes, links, inputs, outputs)


def _node(item: Json, number: int, where: str) -> Node:
    if not isinstance(item, dict):
        raise WorkflowError(f"the {number}. node is {quoted(item)}; expected an object", where)
    data = cast("dict[str, Json]", item)
    id_, kind, title, mode = (data.get(key) for key in ("id", "type", "title", "mode"))
    own = _id(id_)
    if own is None or not isinstance(kind, str):
        raise WorkflowError(f"the {number}. node has no id or no type", where)
    values, named = data.get("widgets_values"), mapping(data.get("widgets_values_named"))
    if isinstance(values, dict):  # VideoHelperSuite saves an object
        named, values = cast("dict[str, Json]", values), []
    inputs = tuple(_slot(mapping(slot)) for slot in sequence(data.get("inputs")))
    outputs = tuple(_type(mapping(slot).get("type")) for slot in sequence(data.get("outputs")))
    return Node(
        own, kind, title if isinstance(title, str) else "", mode if type(mode) is int else ALWAYS, inputs, outputs,
        sequence(values), named, mapping(data.get("properties")),
    )  # fmt: skip


def _slot(data: Mapping[str, Json]) -> Slot:
    name, label, widget = data.get("name"), data.get("label"), data.get("widget")
    inner = mapping(widget).get("name")
    return Slot(
        name if isinstance(name, str) else "",
        _type(data.get("type")),
        _id(data.get("link")),
        (inner if isinstance(inner, str) else "") if isinstance(widget, dict) else None,
        label if isinstance(label, str) else "",
    )


def _subgraph_input(data: Mapping[str, Json]) -> SubgraphInput:
    name, label = data.get("name"), data.get("label")
    return SubgraphInput(
        name if isinstance(name, str) else "",
        _type(data.get("type")),
        label if isinstance(label, str) else "",
        _link_ids(data),
    )


def _link_ids(data: Mapping[str, Json]) -> tuple[str, ...]:
    return tuple(found for item in sequence(data.get("linkIds")) if (found := _id(item)) is not None)


def _link(item: Json) -> tuple[str, Link] | None:
    if isinstance(item, dict):
        data = cast("dict[str, Json]", item)
        parts = [data.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    else:
        parts = list(sequence(item)[:5])
    match [_id(part) for part in parts]:
        case [str() as id_, str() as origin, str() as origin_slot, str() as target, str() as target_slot]:
            if origin_slot.isdecimal() and target_slot.lstrip("-").isdecimal():
                return id_, Link(origin, int(origin_slot[:9]), target, int(target_slot[:9]))
        case _:
            pass
    return None


def _id(value: Json) -> str | None:
    """Ids are numbers or text, and written both ways for one thing."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return value[:200] if isinstance(value, str) else str(value) if abs(value) < 10**18 else None


def _type(value: Json) -> str:
    return value if isinstance(value, str) else "*" if value == 0 else "COMBO" if isinstance(value, list) else ""


def mapping(value: Json) -> Mapping[str, Json]:
    """The value, if it is an object; else an empty one."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def sequence(value: Json) -> Sequence[Json]:
    """The value, if it is a list; else an empty one."""
    return cast("list[Json]", value) if isinstance(value, list) else []
