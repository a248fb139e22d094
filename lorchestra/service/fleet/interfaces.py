"""What nodes take and give, by a ComfyUI's `/object_info`: compared between ComfyUIs, and with a graph. Pure.

Of an input its group, name and type count, and no choices: these are often the files of a machine. Bounds, defaults and
words do not count either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from ...limits import Json
from ..backend import Graph

COMFYUI = "ComfyUI"
"""The pack of nodes that come with ComfyUI."""
_MOST_NAMES = 5
_MOST_PACKS = 10
_TAKEN = ("required", "optional")
"""Groups of inputs that a graph gives; the others are filled in by ComfyUI."""


class Interfaces:
    """The nodes of one ComfyUI."""

    def __init__(self, info: Mapping[str, Json]) -> None:
        self._info = info

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Class → its interface, as text to compare."""
        return {kind: _interface(node) for kind, node in self._info.items()}

    @cached_property
    def key(self) -> str:
        """Equal for ComfyUIs with the same nodes."""
        return hashlib.sha256(json.dumps(sorted(self.kinds.items())).encode("utf-8", "surrogatepass")).hexdigest()

    def pack_of(self, kind: str) -> str:
        """The pack that a class is from: the name of its folder."""
        module = _mapping(self._info.get(kind)).get("python_module")
        parts = module.split(".") if isinstance(module, str) else []
        return parts[1] if len(parts) > 1 and parts[0] == "custom_nodes" else COMFYUI

    def strangeness(self, graph: Graph) -> int:
        """How many inputs of a graph the nodes do not know, or require and do not get."""
        count = 0
        for node in graph.values():
            data = _mapping(node)
            known = _mapping(_mapping(self._info.get(str(data.get("class_type")))).get("input"))
            given = _mapping(data.get("inputs")).keys()
            required, optional = (_mapping(known.get(group)).keys() for group in _TAKEN)
            count += len(required - given) + len(given - required - optional)
        return count


@dataclass(frozen=True, slots=True)
class Difference:
    """How the nodes of one ComfyUI differ from those of another; (pack, classes) each."""

    missing: Sequence[tuple[str, Sequence[str]]]
    more: Sequence[tuple[str, Sequence[str]]]
    otherwise: Sequence[tuple[str, Sequence[str]]]
    """Classes that both have, with other inputs or outputs."""

    def __str__(self) -> str:
        """Example: `missing: 2 of ComfyUI-Foo (FooLoad, FooSave); otherwise defined: 1 of ComfyUI (KSampler)`."""
        named = (("missing", self.missing), ("more", self.more), ("otherwise defined", self.otherwise))
        return "; ".join(f"{word}: {_said(packs)}" for word, packs in named if packs)


def find_difference(own: Interfaces, others: Interfaces) -> Difference | None:
    """How the own nodes differ from the others'; None if they are the same."""
    if own.key == others.key:
        return None
    here, there = own.kinds, others.kinds
    changed = [kind for kind in here.keys() & there.keys() if here[kind] != there[kind]]
    return Difference(
        _by_pack(there.keys() - here.keys(), others), _by_pack(here.keys() - there.keys(), own), _by_pack(changed, own)
    )


def find_matching(graph: Graph, able: Mapping[str, Interfaces], regular: Iterable[str]) -> list[str]:
    """Of the workers that have a graph's nodes, those that define them in one and the same way.

    That is the way that knows most of what the graph gives its nodes and requires nothing that it does not give, then
    the way of `regular` workers, and then that of most. A node of two versions of a pack is so never any of the two.
    """
    used = {str(_mapping(node).get("class_type")) for node in graph.values()}
    ways: dict[tuple[str | None, ...], list[str]] = {}
    by_key: dict[str, tuple[str | None, ...]] = {}
    for worker, nodes in able.items():
        if nodes.key not in by_key:
            by_key[nodes.key] = tuple(nodes.kinds.get(kind) for kind in sorted(used))
        ways.setdefault(by_key[nodes.key], []).append(worker)
    if len(ways) <= 1:
        return list(able)
    first = set(regular)

    def rank(workers: list[str]) -> tuple[int, int, int]:
        return able[workers[0]].strangeness(graph), -len(first.intersection(workers)), -len(workers)

    return min(ways.values(), key=rank)


def _interface(node: Json) -> str:
    data = _mapping(node)
    inputs = _mapping(data.get("input"))
    taken = [[group, sorted([name, _type(spec)] for name, spec in _mapping(inputs.get(group)).items())]
             for group in _TAKEN]  # fmt: skip
    outputs, lists = data.get("output"), data.get("output_is_list")
    given = [_type([one]) for one in cast("list[Json]", outputs)] if isinstance(outputs, list) else []
    return json.dumps([taken, given, lists, bool(data.get("output_node"))])


def _type(spec: Json) -> str:
    """The type of an input or output; a list of choices is `COMBO`, as newer nodes write it."""
    first = cast("list[Json]", spec)[0] if isinstance(spec, list) and spec else cast("object", spec)
    return "COMBO" if isinstance(first, list) else str(first)


def _by_pack(kinds: Iterable[str], nodes: Interfaces) -> list[tuple[str, Sequence[str]]]:
    found: dict[str, list[str]] = {}
    for kind in sorted(kinds):
        found.setdefault(nodes.pack_of(kind), []).append(kind)
    return sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))


def _said(packs: Sequence[tuple[str, Sequence[str]]]) -> str:
    said = [f"{len(kinds)} of {_short(pack)} ({_listed(kinds)})" for pack, kinds in packs[:_MOST_PACKS]]
    rest = packs[_MOST_PACKS:]
    return ", ".join(said + ([f"{sum(len(kinds) for _, kinds in rest)} of {len(rest)} more packs"] if rest else []))


def _listed(kinds: Sequence[str]) -> str:
    more = len(kinds) - _MOST_NAMES
    return ", ".join(map(_short, kinds[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    return name if len(name) <= 80 and name.isprintable() else repr(name[:80])


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}
