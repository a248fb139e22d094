"""Whether a graph in API form can run at all: its form, its classes, its links; every refusal says where. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..errors import WorkflowError, quoted, shortened
from ..limits import Json
from .graph import class_of, inputs_of, link_in, links_of
from .loras import MOST_NODES
from .node_classes import AUTOGROW, NodeClass, NodeClasses

MOST_VALUES = 5_000_000
"""Values in a workflow's JSON."""
_MOST_NOTES = 20


def check_graph(graph: Mapping[str, Json], classes: NodeClasses) -> dict[str, Json]:
    """A copy of the graph with nothing in it but nodes; raises `WorkflowError` for what is none."""
    if not graph:
        raise WorkflowError("there are no nodes in it")
    if len(graph) > MOST_NODES:
        raise WorkflowError(f"the workflow has {len(graph):,} nodes; at most {MOST_NODES:,} are read")
    nodes: dict[str, Json] = {}
    for id_, node in graph.items():
        where = f"node {shortened(str(id_), 60)}"
        if not isinstance(node, dict):
            raise WorkflowError(f"it is {quoted(node)}; this is not a workflow in the form of ComfyUI's API", where)
        data = cast("dict[str, Json]", node)
        kind, inputs, meta = data.get("class_type"), data.get("inputs"), data.get("_meta")
        if not isinstance(kind, str) or not isinstance(inputs, dict):
            raise WorkflowError("it has no class_type or no inputs, as nodes in the form of ComfyUI's API have", where)
        if classes.is_known and classes.find(kind) is None:
            raise WorkflowError(
                "this ComfyUI has no such node. Install the pack that has it, or delete the node", place_of(graph, id_)
            )
        nodes[id_] = {"class_type": kind, "inputs": dict(cast("dict[str, Json]", inputs))}
        if isinstance(meta, dict):
            nodes[id_]["_meta"] = dict(cast("dict[str, Json]", meta))
    for id_ in nodes:
        for name, link in links_of(nodes, id_):
            if link[0] not in nodes:
                raise WorkflowError(
                    f"its {quoted(name)} is linked to node {shortened(link[0], 60)}, which is not there",
                    place_of(nodes, id_),
                )
    return nodes


def check_links(graph: Mapping[str, Json], classes: NodeClasses) -> tuple[str, ...]:
    """What keeps a part of the graph from running, a sentence each.

    Raises `WorkflowError` for links in a circle, and if no part of it can run.
    """
    _check_circles(graph)
    ends = [node for node in graph if (kind := classes.find(class_of(graph, node))) is not None and kind.is_output]
    missing = {node: names for node in graph if (names := _missing(graph, node, classes.find(class_of(graph, node))))}
    if not missing or not ends:
        return ()
    reasons = {
        node: WorkflowError(f"nothing is connected to its {quoted(', '.join(names))[1:-1]}", place_of(graph, node))
        for node, names in missing.items()
    }
    broken = _downstream(graph, missing)
    if all(end in broken for end in ends):
        raise next(iter(reasons.values()))
    needed = [reasons[node] for node in missing if any(end in _downstream(graph, [node]) for end in ends)] if len(
        missing
    ) <= _MOST_NOTES else list(reasons.values())  # fmt: skip
    return tuple(f"{error}, so a part of the workflow does not run" for error in needed[:_MOST_NOTES])


def place_of(graph: Mapping[str, Json], node: str) -> str:
    """The node as sentences call it."""
    return f"node {shortened(node, 60)} ({shortened(class_of(graph, node), 60)})"


def _missing(graph: Mapping[str, Json], node: str, kind: NodeClass | None) -> list[str]:
    """Sockets that the node needs and that nothing is linked to."""
    if kind is None:
        return []
    inputs = inputs_of(graph, node)
    return [
        spec.name
        for spec in kind.specs
        if spec.is_required and not spec.is_widget and spec.type != AUTOGROW and inputs.get(spec.name) is None
    ]


def _downstream(graph: Mapping[str, Json], starts: object) -> set[str]:
    takers: dict[str, list[str]] = {}
    for node in graph:
        for _, link in links_of(graph, node):
            takers.setdefault(link[0], []).append(node)
    waiting = list(cast("list[str]", starts))
    seen = set(waiting)
    while waiting:
        for taker in takers.get(waiting.pop(), ()):
            if taker not in seen:
                seen.add(taker)
                waiting.append(taker)
    return seen


def _check_circles(graph: Mapping[str, Json]) -> None:
    """Takes away what needs nothing that is left, again and again; what stays leads in a circle."""
    needs = {
        node: [link[0] for value in inputs_of(graph, node).values() if (link := link_in(value)) and link[0] in graph]
        for node in graph
    }
    counts = {node: len(set(links)) for node, links in needs.items()}
    takers: dict[str, list[str]] = {}
    for node, links in needs.items():
        for origin in set(links):
            takers.setdefault(origin, []).append(node)
    waiting = [node for node, count in counts.items() if not count]
    done = 0
    while waiting:
        node = waiting.pop()
        done += 1
        for taker in takers.get(node, ()):
            counts[taker] -= 1
            if not counts[taker]:
                waiting.append(taker)
    if done < len(graph):
        left = next(node for node, count in counts.items() if count)
        for _ in range(len(graph)):  # upstream, until it is in the circle for sure
            left = next(origin for origin in needs[left] if counts[origin])
        raise WorkflowError("links lead in a circle from this node back to it", place_of(graph, left))
