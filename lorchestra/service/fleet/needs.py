"""What a graph needs of a ComfyUI: nodes, and the files that its inputs name. And whether one has it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import cast

from ...choices import ERROR, REFUSE, Choices
from ...errors import LorchestraError, quoted
from ...library.identities import Identities
from ...library.listing import Listing
from ...library.resolve import resolve
from ...limits import Json
from ...stack import Entry
from ...stack.air import find_air
from ...stack.wanted import Wanted, wanted_of
from ...workflow.loras import OURS, find_uses
from ..backend import Graph
from .interfaces import Interfaces

UNKNOWN = "?"
"""A file that may be there; no file of a LoRA is called so."""
ANY = "any"
"""The queue of graphs that load no base model."""
_BASES = (("CheckpointLoaderSimple", "ckpt_name"), ("UNETLoader", "unet_name"), ("UnetLoaderGGUF", "unet_name"))
"""Nodes and inputs that load base models; the first ones are where a ComfyUI lists what it has."""
BASE_INPUTS = frozenset(widget for _, widget in _BASES)
"""Inputs that name a base model."""
_LORAS = ("LoraLoader", "lora_name")
_FILES = re.compile(r".{1,500}\.(?:safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)", re.I | re.S)
"""Texts that name a model's file; other choices, such as samplers, are left to ComfyUI."""


class Inventory:
    """What a ComfyUI has, by its `/object_info`."""

    def __init__(self, info: Mapping[str, Json], files: Mapping[str, Json] | None = None) -> None:
        """`files` is what is known of its files, by ComfyUI's word for the kind: see `library.identities`."""
        self.info = info
        self.files = files or {}

    @cached_property
    def lora_identities(self) -> Identities:
        """By what its LoRAs are known."""
        return Identities(_mapping(self.files.get("loras")))

    @cached_property
    def checkpoint_identities(self) -> Identities:
        """By what its checkpoints are known."""
        return Identities(_mapping(self.files.get("checkpoints")))

    @cached_property
    def checkpoints(self) -> Listing:
        """The checkpoints."""
        return Listing(self.choices(*_BASES[0]) or ())

    def find_lora(self, entry: Entry) -> str | None:
        """The file that a row means, as the LoRA Stack of this ComfyUI finds it.

        `UNKNOWN` where it may be there all the same: several may be meant, or not all files are known by now.
        """
        wanted = wanted_of(entry)
        try:
            found = resolve(wanted, self.lora_identities, self.loras)
        except LorchestraError:
            return UNKNOWN
        if found is not None:
            return found.name
        return UNKNOWN if wanted.is_identified and not self.lora_identities.is_complete else None

    def find_checkpoint(self, air_or_name: str) -> str | None:
        """The checkpoint that a request means, or None."""
        wanted = Wanted(air_or_name, None, find_air(air_or_name))
        try:
            found = resolve(wanted, self.checkpoint_identities, self.checkpoints)
        except LorchestraError:
            return None
        return None if found is None else found.name

    @cached_property
    def nodes(self) -> Interfaces:
        """What its nodes take and give."""
        return Interfaces(self.info)

    @cached_property
    def bases(self) -> Sequence[str]:
        """The base models."""
        found = {name for kind, widget in _BASES for name in self.choices(kind, widget) or ()}
        return sorted(found)

    @cached_property
    def loras(self) -> Listing:
        """The LoRAs."""
        return Listing(self.lora_names)

    @property
    def lora_names(self) -> Sequence[str]:
        """Their names, as ComfyUI lists them."""
        return self.choices(*_LORAS) or ()

    def choices(self, kind: str, widget: str) -> Sequence[str] | None:
        """What an input of a node may be; None if it is no choice."""
        spec = self._inputs(kind).get(widget)
        items = cast("list[Json]", spec) if isinstance(spec, list) else []
        first = items[0] if items else None
        if first == "COMBO" and len(items) > 1 and isinstance(items[1], dict):
            first = cast("dict[str, Json]", items[1]).get("options")
        return [one for one in cast("list[Json]", first) if isinstance(one, str)] if isinstance(first, list) else None

    def misplaced(self, graph: Graph) -> list[tuple[str, str, str]]:
        """(node, input, name) of the files that inputs name and that are not there."""
        found: list[tuple[str, str, str]] = []
        for node, kind, widget, text in _texts(graph):
            choices = self.choices(kind, widget) if _FILES.fullmatch(text) else None
            if choices is not None and text not in choices:
                found.append((node, widget, text))
        return found

    def missing(self, graph: Graph) -> list[str]:
        """What of a graph's nodes and files is not there, each in a few words."""
        found = [f"the node {quoted(kind)}" for kind in sorted(_kinds(graph)) if kind not in self.info]
        found += [quoted(text) for _, _, text in self.misplaced(graph)]
        found += [quoted(entry.lora) for entry in _stack_rows(graph) if self.find_lora(entry) is None]
        return list(dict.fromkeys(found))

    def _inputs(self, kind: str) -> dict[str, Json]:
        node = self.info.get(kind)
        groups = cast("dict[str, Json]", node).get("input") if isinstance(node, dict) else None
        found: dict[str, Json] = {}
        for group in cast("dict[str, Json]", groups).values() if isinstance(groups, dict) else ():
            if isinstance(group, dict):
                found |= cast("dict[str, Json]", group)
        return found


def find_base(graph: Graph) -> str | None:
    """The base model of a graph: the first by name, if it loads several; None if it loads none."""
    return min((text for _, _, widget, text in _texts(graph) if widget in BASE_INPUTS), default=None)


def queue_of(base: str | None) -> str:
    """The queue of a base model's jobs. Example: `base.v1-5-pruned-1f0e3dad`."""
    if base is None:
        return ANY
    digest = hashlib.sha256(base.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"base.{re.sub(r'[^A-Za-z0-9_-]+', '-', base)[:40]}-{digest}"


def own_queue(worker: str) -> str:
    """The queue of what only some workers can run, and this one shall."""
    return f"worker.{worker}"


def _kinds(graph: Graph) -> set[str]:
    return {str(cast("dict[str, Json]", node).get("class_type")) for node in graph.values() if isinstance(node, dict)}


def _texts(graph: Graph) -> Iterator[tuple[str, str, str, str]]:
    """(node, class, input, value) of all inputs that are text."""
    for number, node in graph.items():
        data = cast("dict[str, Json]", node) if isinstance(node, dict) else {}
        inputs = data.get("inputs")
        for widget, value in cast("dict[str, Json]", inputs).items() if isinstance(inputs, dict) else ():
            if isinstance(value, str):
                yield number, str(data.get("class_type")), widget, value


def _stack_rows(graph: Graph) -> list[Entry]:
    """The rows of our stacks that are on and whose file must be there."""
    try:
        uses = find_uses(dict(graph))
    except LorchestraError:
        return []
    return [use.entry for use in uses if use.kind in OURS and use.entry.active and not _skips_missing(graph[use.node])]


def _skips_missing(node: Json) -> bool:
    """Whether a stack goes on without a row's file."""
    inputs = _mapping(_mapping(node).get("inputs"))
    return Choices(str(inputs.get("missing", ERROR)), str(inputs.get("policy", REFUSE))).skips_missing


def find_checkpoint(graph: Graph) -> str | None:
    """The one checkpoint of a graph; None if it loads none or several."""
    names = {text for _, _, widget, text in _texts(graph) if widget == "ckpt_name"}
    return names.pop() if len(names) == 1 else None


def _mapping(value: Json) -> dict[str, Json]:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}
