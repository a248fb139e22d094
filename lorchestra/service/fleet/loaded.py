"""What a graph makes a ComfyUI load: its base model, and the stack of LoRAs on it, as keys that can be compared. Pure.

Two graphs with one key leave the same models loaded and patched, so the second needs neither loading nor patching.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ...errors import LorchestraError, shortened
from ...exchange import parse_stack
from ...limits import Json
from ...stack import Entry
from ...workflow.graph import class_of, inputs_of, link_in, links_of
from ...workflow.loras import OURS, PICK_SEED, Use, find_uses
from ..backend import Graph
from .needs import BASE_INPUTS, find_base

_MODELS = re.compile(r"model|clip|unet|vae", re.I)
"""Inputs that take what was loaded or patched, e.g. `model`, `clip`, `refiner_model`."""
_STRENGTHS = ("strength_model", "lora_strength", "strength", "weight")
"""What ComfyUI's and others' loaders call a LoRA's weight; for words only."""
_MOST_WORDS = 60


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models that a graph uses."""

    base: str | None
    """The base model's file; None if it loads none."""
    stack: str | None
    """Key of all that loads and patches models; None if the graph has no model."""
    loaders: frozenset[str] = frozenset()
    """Nodes that load the base model."""
    patched: frozenset[str] = frozenset()
    """Nodes from which others take loaded or patched models."""


def loaded_by(graph: Graph) -> Loaded:
    """What a graph loads; it may have loops, links into nowhere and values of any kind."""
    base = find_base(graph)
    loaders = {node for node in graph if base is not None and _loads(graph, node, base)}
    patched = {
        link[0]
        for node in graph
        for name, link in links_of(graph, node)
        if link[0] in graph and _MODELS.search(name) and not _is_text(graph, link[0])
    }
    ends = sorted(patched | loaders | {use.node for use in _uses(graph) if use.node in graph})
    if not ends:
        return Loaded(base, None)
    keys = _keys(graph, ends)
    stack = _digest(sorted({keys[node] for node in ends}))
    return Loaded(base, stack, frozenset(loaders), frozenset(patched))


def words_of(graph: Graph) -> str:
    """The active LoRAs of a graph in a few words. Example: `warm 0.8, lines -0.4`."""
    words: list[str] = []
    for use in _uses(graph):
        if not use.entry.active:
            continue
        weight: object = use.entry.model
        if use.kind not in OURS:
            inputs = inputs_of(graph, use.node)
            weight = next((inputs[name] for name in _STRENGTHS if name in inputs), None)
        shown = f" {weight:g}" if isinstance(weight, int | float) else ""
        words.append(PurePosixPath(use.entry.lora.replace("\\", "/")).stem + shown)
    return shortened(", ".join(words), _MOST_WORDS)


def _uses(graph: Graph) -> list[Use]:
    try:
        return find_uses(dict(graph))
    except LorchestraError:
        return []


def _loads(graph: Graph, node: str, base: str) -> bool:
    return any(name in BASE_INPUTS and value == base for name, value in inputs_of(graph, node).items())


def _is_text(graph: Graph, node: str) -> bool:
    """Whether a node encodes words, whatever the input is called that takes them."""
    return "encode" in class_of(graph, node).lower()


def _keys(graph: Graph, ends: list[str]) -> dict[str, str]:
    """Key by node, of these and of all that they get something from: where it is counts, not its id."""
    keys: dict[str, str] = {}
    path: list[tuple[str, Iterator[str]]] = []
    on_path: set[str] = set()

    def enter(node: str) -> None:
        path.append((node, iter({link[0]: None for _, link in links_of(graph, node)})))
        on_path.add(node)

    for end in ends:
        if end not in keys:
            enter(end)
        while path:
            node, sources = path[-1]
            source = next((one for one in sources if one not in keys and one not in on_path and one in graph), None)
            if source is not None:
                enter(source)
                continue
            keys[node] = _digest([class_of(graph, node), _inputs(graph, node, keys)])
            on_path.discard(path.pop()[0])
    return keys


def _inputs(graph: Graph, node: str, keys: Mapping[str, str]) -> dict[str, Any]:
    values = dict(inputs_of(graph, node))
    if class_of(graph, node) in OURS:
        values = _stack_inputs(values)
    for name, value in values.items():
        link = link_in(value)
        if link is not None:
            values[name] = ["from", keys.get(link[0], ""), link[1]]  # "" in a loop, which ComfyUI refuses
    return values


def _stack_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """A LoRA Stack's, with the rows that act in one order: the order of its rows never changes the result."""
    if not isinstance(inputs.get("loras"), str | dict):
        return inputs
    try:
        stack = parse_stack(inputs["loras"])
    except LorchestraError:  # which the node says itself
        return inputs
    if stack.picks:
        return inputs
    rows = sorted(json.dumps(_row(entry), sort_keys=True) for entry in stack.entries if entry.active)
    return {name: value for name, value in inputs.items() if name != PICK_SEED} | {"loras": rows}


def _row(entry: Entry) -> dict[str, Json]:
    """A row without what changes no weight."""
    row = entry.to_json() | {"model": float(entry.model), "clip": float(entry.clip_weight)}
    row.pop("triggers", None)
    if not (entry.schedule or "").strip():
        row.pop("schedule", None)
    return row


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
