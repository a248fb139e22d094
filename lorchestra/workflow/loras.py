"""The LoRAs that a workflow names, in API form or in UI form, whatever nodes hold them.

Stacks of ours and of the packs that `exchange` reads are read as these packs do. Of every other node whose class has
"lora" in its name, each text that is the name of a model file is a LoRA: other packs' widgets have no names in files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..errors import LorchestraError, StackError
from ..exchange import parse_stack
from ..exchange.lora_manager import find_rows as find_manager_rows
from ..exchange.lora_manager import read as read_manager
from ..exchange.rgthree import find_rows as find_rgthree_rows
from ..exchange.rgthree import read as read_rgthree
from ..limits import Json
from ..stack import Entry

OURS = ("LorchestraLoraStack",)
PICK_SEED = "pick_seed"
"""The input of ours by which groups pick rows."""
MOST_NODES = 100_000
_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
_MOST_NAME = 1000
_UNUSED = (2, 4)
"""Modes of nodes in UI form that do not run: muted, bypassed."""


@dataclass(frozen=True, slots=True)
class Use:
    """One LoRA in a workflow."""

    node: str
    """The node's id; inside a subgraph the definition's name and the id in it: `Styles/12`."""
    kind: str
    """The node's class."""
    row: int
    """From 1, within the node."""
    entry: Entry


def find_uses(workflow: Json) -> list[Use]:
    """All LoRAs of the nodes that run, in the order of the file; those that are off or at weight 0 too.

    Raises `StackError` if this is not a workflow, or has too many nodes.
    """
    if not isinstance(workflow, Mapping):
        raise StackError("this is not a workflow: it is not a JSON object")
    data = cast("Mapping[str, Json]", workflow)
    if isinstance(data.get("nodes"), list):
        nodes = list(_ui_nodes(data))
    else:
        prompt = data.get("prompt", data)  # as it is posted to ComfyUI
        nodes = list(_api_nodes(cast("Mapping[str, Json]", prompt))) if isinstance(prompt, Mapping) else []
        if not nodes:
            raise StackError("this is not a workflow: there are neither nodes of the editor nor of a prompt in it")
    if len(nodes) > MOST_NODES:
        raise StackError(f"the workflow has {len(nodes):,} nodes; at most {MOST_NODES:,} are read")
    return [use for node in nodes for use in _uses(node)]


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    kind: str
    values: Sequence[Json]
    """Of its widgets, without links."""


def _api_nodes(prompt: Mapping[str, Json]) -> Iterator[_Node]:
    for id_, node in prompt.items():
        if not isinstance(node, Mapping):
            continue
        data = cast("Mapping[str, Json]", node)
        kind, inputs = data.get("class_type"), data.get("inputs")
        if isinstance(kind, str) and isinstance(inputs, Mapping):
            values = [value for value in cast("Mapping[str, Json]", inputs).values() if not _is_link(value)]
            yield _Node(str(id_), kind, values)


def _ui_nodes(workflow: Mapping[str, Json]) -> Iterator[_Node]:
    yield from _nodes_of(workflow, "")
    definitions = workflow.get("definitions")
    graphs = cast("Mapping[str, Json]", definitions).get("subgraphs") if isinstance(definitions, Mapping) else None
    for graph in cast("Sequence[Json]", graphs) if isinstance(graphs, list) else ():
        if isinstance(graph, Mapping):
            data = cast("Mapping[str, Json]", graph)
            yield from _nodes_of(data, f"{data.get('name') or data.get('id')}/")


def _nodes_of(graph: Mapping[str, Json], start: str) -> Iterator[_Node]:
    nodes = graph.get("nodes")
    for node in cast("Sequence[Json]", nodes) if isinstance(nodes, list) else ():
        if not isinstance(node, Mapping):
            continue
        data = cast("Mapping[str, Json]", node)
        kind, values = data.get("type"), data.get("widgets_values")
        if not isinstance(kind, str) or data.get("mode") in _UNUSED:
            continue
        if isinstance(values, Mapping):
            values = list(cast("Mapping[str, Json]", values).values())
        if isinstance(values, list):
            yield _Node(f"{start}{data.get('id')}", kind, cast("Sequence[Json]", values))


def picks(inputs: Mapping[str, Json]) -> bool:
    """True if a group of a LoRA Stack picks rows by the node's seed; its other inputs say nothing of it."""
    try:
        return parse_stack(inputs.get("loras")).picks
    except LorchestraError:
        return False


def _is_link(value: Json) -> bool:
    items = cast("Sequence[Json]", value) if isinstance(value, list) else ()
    return len(items) == 2 and isinstance(items[0], str) and type(items[1]) is int


def _uses(node: _Node) -> Iterator[Use]:
    if "lora" not in node.kind.lower():
        return
    for row, entry in enumerate(_entries(node), 1):
        yield Use(node.id, node.kind, row, entry)


def _entries(node: _Node) -> Sequence[Entry]:
    values = list(node.values)
    if node.kind in OURS:
        for value in values:
            if not value or not isinstance(value, str | list | dict):
                continue
            try:
                return parse_stack(cast("Json", value)).unpicked().entries
            except LorchestraError:
                continue
        return ()
    try:
        if find_rgthree_rows(values):
            return read_rgthree(values).stack.entries
        if find_manager_rows(values):
            return read_manager(values).stack.entries
    except (LorchestraError, RecursionError):
        pass  # then its names are read one by one
    return [Entry(value) for value in values if isinstance(value, str) and _is_file(value)]


def _is_file(text: str) -> bool:
    return len(text) <= _MOST_NAME and "\n" not in text and text.lower().endswith(_ENDINGS)
