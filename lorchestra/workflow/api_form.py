"""A workflow as the editor saves it → the graph that ComfyUI runs (API form), as the editor itself makes it.

Subgraphs are opened, what their own node says goes into them, muted nodes are left out, bypassed ones bridged, and
what exists in the editor alone (reroutes, primitives, notes, Set and Get) is gone. Source of the rules: what
comfyui-frontend-package 1.49.6 does in `utils/executionUtil.ts` and `subgraph/ExecutableNodeDTO.ts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ..errors import WorkflowError, quoted, shortened
from ..limits import MAX_DEPTH, Json
from .editor import BYPASSED, INPUT_NODE, MUTED, Graph, Node, Saved, Slot, mapping, read_saved, sequence
from .graph import class_of, inputs_of, link_in
from .interface import Target
from .loras import MOST_NODES
from .node_classes import NodeClass, NodeClasses
from .widget_values import Widgets, read_widgets

PRIMITIVE = "PrimitiveNode"
_REROUTES = ("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss")
_SETTERS = ("SetNode", "easy setNode")
_GETTERS = ("GetNode", "easy getNode")
"""KJNodes and Easy-Use: a link without a line, by the name in their widget."""
_NOTES = ("Note", "MarkdownNote", "Label (rgthree)", "Bookmark (rgthree)", "Note Plus (mtb)")
_SWITCHBOARDS = (
    "Fast Muter (rgthree)", "Fast Bypasser (rgthree)", "Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)",
    "Fast Actions Button (rgthree)", "Mute / Bypass Relay (rgthree)", "Mute / Bypass Repeater (rgthree)",
)  # fmt: skip
"""What they do is in the modes of the other nodes by now."""
VIRTUAL = frozenset({PRIMITIVE, *_REROUTES, *_SETTERS, *_GETTERS, *_NOTES, *_SWITCHBOARDS})
"""Nodes that exist in the editor alone."""
_MOST_HOPS = 10_000
"""Nodes that one link leads through."""
_MOST_HOPS_IN_ALL = 3_000_000
_MOST_PROMOTED = 1000
"""Widgets of older editors on one subgraph's own node."""

Key = tuple[str, str]
"""(node's id, with those of the subgraphs' own nodes before it; its widget or input)."""


@dataclass(frozen=True, slots=True)
class Place:
    """A widget that a person sees, and where its value goes."""

    key: Key
    value: Json = field(hash=False)
    label: str = ""
    """What stands before it, where that is another word than its name."""
    title: str = ""
    """The node's, if a person wrote one."""
    control: str = ""
    """What the editor does with it after each run: `fixed`, `randomize` …; empty if nothing."""
    is_host: bool = False
    """True if it is on a subgraph's own node, where somebody has put it for others to use."""
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiForm:
    """The graph, and what is known of its origin."""

    graph: dict[str, Json]
    places: Mapping[Key, Place]
    """Every widget that a person sees in the editor and that has an effect."""
    extra: Mapping[str, Json]
    root_id: str = ""


@dataclass(eq=False)
class _Scope:
    """A graph where it is used: the root, or one subgraph's node."""

    path: str
    """Ids of the nodes around it, with `:` behind each."""
    graph: Graph
    parent: _Scope | None = None
    host: Node | None = None
    depth: int = 0
    slots: tuple[Slot, ...] = ()
    """The host's inputs, in the order of the subgraph's."""
    values: dict[int, Json] = field(default_factory=dict[int, Json])
    """Number of an input of the subgraph → the value in the host's widget."""
    own: dict[Key, tuple[str, Json]] = field(default_factory=dict[Key, tuple[str, Json]])
    """(id of a node inside, widget) → name and value of the host's widget that stands for it without a link."""

    def id_of(self, node: Node) -> str:
        return f"{self.path}{node.id}"


@dataclass(frozen=True, slots=True)
class _Given:
    """What comes in through a link: another node's output, or the value of a widget."""

    output: tuple[str, int] | None = None
    place: Place | None = None


def to_api(workflow: Mapping[str, Json], object_info: Json | None) -> ApiForm:
    """The workflow in API form.

    Without `object_info`, every node must name its widgets' values, as newer editors save them. Raises `WorkflowError`
    that says where: nodes that this ComfyUI does not have, subgraphs in themselves, links in a circle.
    """
    return _Converter(read_saved(workflow), NodeClasses(object_info)).convert()


class _Converter:
    def __init__(self, saved: Saved, classes: NodeClasses) -> None:
        self._saved = saved
        self._classes = classes
        self._places: dict[Key, Place] = {}
        self._targets: dict[Key, list[Target]] = {}
        self._widgets: dict[int, Widgets] = {}
        self._scopes: dict[str, _Scope] = {}
        """Path of the host → the scope inside it."""
        self._insides: dict[tuple[int, int], tuple[str, str, Json] | None] = {}
        self._count = 0
        self._hops = 0

    def convert(self) -> ApiForm:
        root = _Scope("", self._saved.root)
        found = list(self._expand(root))
        self._check_classes(found)
        graph: dict[str, Json] = {}
        for scope, node in sorted(found, key=lambda pair: in_order(pair[0].id_of(pair[1]))):
            graph[scope.id_of(node)] = self._written(scope, node)
        for data in graph.values():
            inputs = cast("dict[str, Json]", data["inputs"])
            for name in [name for name, value in inputs.items() if isinstance(value, list) and value[0] not in graph]:
                del inputs[name]
        places = {
            key: _with_targets(place, self._targets[key]) for key, place in self._places.items() if key in self._targets
        }
        return ApiForm(graph, places, self._saved.extra, self._saved.root.id)

    # Which nodes there are

    def _expand(self, scope: _Scope) -> Iterator[tuple[_Scope, Node]]:
        """Every node that runs, with the scope that it is in."""
        waiting = [scope]
        while waiting:
            scope = waiting.pop()
            for node in scope.graph.nodes.values():
                self._count += 1
                if self._count > MOST_NODES:
                    raise WorkflowError(f"the workflow has more than {MOST_NODES:,} nodes, subgraphs opened")
                inner = self._saved.subgraphs.get(node.type)
                if inner is not None:
                    opened = self._open(scope, node, inner)  # also of one that does not run: links lead through it
                    if not node.is_unused:
                        waiting.append(opened)
                elif not node.is_unused and node.type not in VIRTUAL:
                    yield scope, node

    def _open(self, scope: _Scope, host: Node, graph: Graph) -> _Scope:
        around: _Scope | None = scope
        while around is not None:
            if around.graph is graph:
                raise WorkflowError(f"the subgraph {quoted(graph.name)} has itself in it", _where(scope, host))
            around = around.parent
        if scope.depth >= MAX_DEPTH:
            raise WorkflowError(f"subgraphs are nested more than {MAX_DEPTH} levels deep", _where(scope, host))
        by_name: dict[str, Slot] = {slot.name: slot for slot in reversed(host.inputs)}
        slots = tuple(by_name.get(item.name) or Slot(item.name, item.type, None, None) for item in graph.inputs)
        opened = _Scope(f"{scope.path}{host.id}:", graph, scope, host, scope.depth + 1, slots)
        self._fill(opened, scope, host)
        self._scopes[opened.path] = opened
        return opened

    def _fill(self, opened: _Scope, scope: _Scope, host: Node) -> None:
        """The values of the host's own widgets: what is inside, then what the host says, then what is said of it."""
        graph = opened.graph
        numbers = {item.name: number for number, item in enumerate(graph.inputs)}
        for number in range(len(graph.inputs)):
            found = self._inside(graph, number)
            if found is not None:
                opened.values[number] = found[2]
        for number, value in zip(list(opened.values), host.values, strict=False):
            if value is not None:
                opened.values[number] = value
        if not host.values:
            for name, value in host.named.items():
                if name in numbers and numbers[name] in opened.values and value is not None:
                    opened.values[numbers[name]] = value
        self._fill_promoted(opened, host, numbers)
        for name, number in numbers.items():
            said = scope.own.get((host.id, name))
            if said is not None and number in opened.values:
                opened.values[number] = said[1]

    def _fill_promoted(self, opened: _Scope, host: Node, numbers: Mapping[str, int]) -> None:
        """`proxyWidgets` of older editors: `[id of a node inside, widget, id of a node further inside]`, in a row."""
        graph = opened.graph
        by_inside: dict[Key, int] = {}
        for number in range(len(graph.inputs)):
            found = self._inside(graph, number)
            if found is not None:
                by_inside.setdefault(found[:2], number)
        for place, item in enumerate(sequence(host.properties.get("proxyWidgets"))[:_MOST_PROMOTED]):
            match [str(part) for part in sequence(item)[:2]]:
                case [inner, name]:
                    pass
                case _:
                    continue
            value = host.values[place] if place < len(host.values) else None
            if inner == "-1":
                number = numbers.get(name)
            else:
                number = by_inside.get((inner, name))
            if number is not None:
                if value is not None and number in opened.values:
                    opened.values[number] = value
                continue
            node = graph.nodes.get(inner)
            if node is None or name.startswith("$$"):
                continue
            name = self._promoted_name(node, name)
            own = self._own_value(node, name)
            if own is not None or value is not None:
                opened.own[inner, name] = (name, own if value is None else value)

    def _promoted_name(self, node: Node, name: str) -> str:
        """The input of a subgraph's own node that stands for a widget further inside; for other nodes the widget."""
        inner = self._saved.subgraphs.get(node.type)
        if inner is None or any(item.name == name for item in inner.inputs):
            return "value" if node.type == PRIMITIVE else name
        for number, item in enumerate(inner.inputs):
            found = self._inside(inner, number)
            if found is not None and found[1] == name:
                return item.name
        return name

    def _own_value(self, node: Node, name: str) -> Json:
        inner = self._saved.subgraphs.get(node.type)
        if inner is None:
            return self._widgets_of(node).values.get(name)
        for number, item in enumerate(inner.inputs):
            if item.name == name:
                found = self._inside(inner, number)
                return None if found is None else found[2]
        return None

    def _inside(self, graph: Graph, number: int) -> tuple[str, str, Json] | None:
        """(node, widget or input, value) that an input of a subgraph leads to first, if that has a widget."""
        key = id(graph), number
        if key not in self._insides:
            self._insides[key] = None  # while it is looked for: a subgraph may have itself in it
            self._insides[key] = self._look_inside(graph, number)
        return self._insides[key]

    def _look_inside(self, graph: Graph, number: int) -> tuple[str, str, Json] | None:
        first: tuple[str, str] | None = None
        for _ in range(MAX_DEPTH):
            found = self._inside_once(graph, number)
            if found is None:
                return None
            node, name, inner = found
            first = first or (node.id, name)
            if inner is None:
                return (*first, self._widgets_of(node).values.get(name))
            graph, number = inner
        return None

    def _inside_once(self, graph: Graph, number: int) -> tuple[Node, str, tuple[Graph, int] | None] | None:
        for id_ in graph.inputs[number].links:
            link = graph.links.get(id_)
            node = graph.nodes.get(link.target) if link is not None else None
            slot = next((slot for slot in node.inputs if slot.link == id_), None) if node is not None else None
            if node is None or slot is None:
                continue
            inner = self._saved.subgraphs.get(node.type)
            if inner is not None:
                deeper = next((at for at, item in enumerate(inner.inputs) if item.name == slot.name), None)
                if deeper is not None and self._inside(inner, deeper) is not None:
                    return node, slot.name, (inner, deeper)
            elif slot.name in self._widgets_of(node).values:
                return node, slot.name, None
        return None

    def _widgets_of(self, node: Node) -> Widgets:
        known = self._widgets.get(id(node))
        if known is None:
            known = self._widgets[id(node)] = read_widgets(node, self._classes.find(node.type))
        return known

    # What a node gets

    def _written(self, scope: _Scope, node: Node) -> dict[str, Json]:
        own = scope.id_of(node)
        widgets = self._widgets_of(node)
        inputs: dict[str, Json] = {}
        for name, value in widgets.values.items():
            said = scope.own.get((node.id, name))
            if said is not None:
                place = self._host_place(scope, (node.id, name), said[0], said[1])
            else:
                title, control = node.title, widgets.controls.get(name, "")
                label = next((slot.label for slot in node.inputs if slot.name == name), "")
                place = self._place(Place((own, name), value, label, title, control))
            inputs[name] = _literal(place.value)
            self._targets.setdefault(place.key, []).append((own, name))
        for number, slot in enumerate(node.inputs):
            if slot.link is None or not slot.name:
                continue
            given = self._resolve(scope, node, number)
            if given is None:  # its widget counts, if it has one
                continue
            if given.place is not None:
                self._forget((own, slot.name))
                inputs[slot.name] = _literal(given.place.value)
                self._targets.setdefault(given.place.key, []).append((own, slot.name))
            elif given.output is not None:
                self._forget((own, slot.name))
                inputs[slot.name] = [given.output[0], given.output[1]]
        kind = self._classes.find(node.type)
        return {
            "class_type": node.type,
            "inputs": inputs,
            "_meta": {"title": shortened(node.title or (kind.title if kind is not None else "") or node.type)},
        }

    def _place(self, place: Place) -> Place:
        return self._places.setdefault(place.key, place)

    def _forget(self, target: Target) -> None:
        """A widget that is linked has no effect."""
        for targets in (self._targets.get(target),):
            if targets is not None and target in targets:
                targets.remove(target)
                if not targets:
                    del self._targets[target]

    # Where a link leads to

    def _resolve(self, scope: _Scope, node: Node, number: int) -> _Given | None:
        """What comes in at an input; None if nothing does."""
        start, asked = node, node.inputs[number].type
        seen: set[tuple[str, str, int]] = set()
        slot: Slot | None = node.inputs[number]
        for _ in range(_MOST_HOPS):
            self._hops += 1
            if self._hops > _MOST_HOPS_IN_ALL:
                raise WorkflowError("links lead through too many reroutes, bypassed nodes and subgraphs")
            # From an input upstream to the output that it is linked to
            if slot is None or slot.link is None:
                return None
            link = scope.graph.links.get(slot.link)
            if link is None:
                return None
            if link.origin == INPUT_NODE:
                host, outer = scope.host, scope.parent
                if host is None or outer is None or link.origin_slot >= len(scope.slots):
                    return None
                slot = scope.slots[link.origin_slot]
                if slot.link is None or slot.link not in outer.graph.links:
                    return self._host_value(scope, link.origin_slot)
                node, scope = host, outer
                continue
            found = scope.graph.nodes.get(link.origin)
            if found is None:
                return None
            node, output = found, link.origin_slot
            # From an output to what gives it
            while True:
                step = (scope.path, node.id, output)
                if step in seen:
                    raise WorkflowError("links lead in a circle", _where(scope, start))
                seen.add(step)
                if node.mode == MUTED:
                    return None
                inner = self._saved.subgraphs.get(node.type)
                if node.mode == BYPASSED:
                    slot = self._bypass(scope, node, output, asked)
                    break
                if inner is None:
                    if node.type not in VIRTUAL:
                        return _Given((scope.id_of(node), output))
                    if node.type == PRIMITIVE:
                        return self._primitive(scope, node)
                    node, slot = self._through(scope, node)
                    break
                opened = self._scopes.get(f"{scope.path}{node.id}:")
                ends = inner.outputs[output] if output < len(inner.outputs) else ()
                id_ = next((id_ for id_ in ends if id_ in inner.links), None)
                if opened is None or id_ is None:
                    return None
                scope, end = opened, inner.links[id_]
                if end.origin == INPUT_NODE:
                    slot = Slot("", asked, id_, None)
                    break
                found = inner.nodes.get(end.origin)
                if found is None:
                    return None
                node, output = found, end.origin_slot
        raise WorkflowError(f"a link leads through more than {_MOST_HOPS:,} nodes", _where(scope, start))

    def _bypass(self, scope: _Scope, node: Node, output: int, asked: str) -> Slot | None:
        """The input of a bypassed node that stands for one of its outputs."""
        slots = self._ordered(scope, node)
        given = node.outputs[output] if output < len(node.outputs) else "*"
        if asked in ("*", ""):
            return slots[output] if output < len(slots) else slots[0] if slots else None
        if output < len(slots) and _fits(slots[output].type, given) and _fits(slots[output].type, asked):
            return slots[output]
        exact = next((slot for slot in slots if slot.type == asked), None)
        return exact or next((slot for slot in slots if _fits(slot.type, given) and _fits(slot.type, asked)), None)

    def _ordered(self, scope: _Scope, node: Node) -> Sequence[Slot]:
        """The node's inputs in the order that the editor gives them when it opens the file."""
        opened = self._scopes.get(f"{scope.path}{node.id}:")
        if opened is not None:
            return opened.slots
        kind = self._classes.find(node.type)
        if kind is None:
            return node.inputs
        by_name = {slot.name: slot for slot in node.inputs}
        first = [by_name.pop(spec.name, None) or Slot(spec.name, spec.type, None, None) for spec in kind.specs]
        return [*first, *by_name.values()]

    def _through(self, scope: _Scope, node: Node) -> tuple[Node, Slot | None]:
        """The input behind a node that exists in the editor alone."""
        if node.type in _GETTERS:
            name = node.values[0] if node.values else None
            around: _Scope | None = scope
            while around is not None:
                for other in around.graph.nodes.values():
                    if other.type in _SETTERS and other.values and other.values[0] == name:
                        if around is not scope:
                            raise WorkflowError(
                                f"it gets {quoted(name)} from outside its subgraph, which only the editor can follow",
                                _where(scope, node),
                            )
                        return other, other.inputs[0] if other.inputs else None
                around = around.parent
            return node, None
        return node, node.inputs[0] if node.inputs else None

    def _primitive(self, scope: _Scope, node: Node) -> _Given | None:
        """The value that a primitive shows. The editor forgets it where the link enters a subgraph."""
        if not node.values and not node.named:
            return None
        value = node.values[0] if node.values else next(iter(node.named.values()))
        said = scope.own.get((node.id, "value"))
        if said is not None:
            return _Given(place=self._host_place(scope, (node.id, "value"), said[0], said[1]))
        control = node.values[1] if len(node.values) > 1 else ""
        place = Place((scope.id_of(node), "value"), value, "", node.title, control if isinstance(control, str) else "")
        return _Given(place=self._place(place))

    def _host_value(self, scope: _Scope, number: int) -> _Given | None:
        """The value in a subgraph's own widget."""
        if number not in scope.values or scope.host is None or scope.parent is None:
            return None
        item, slot = scope.graph.inputs[number], scope.slots[number]
        said = scope.parent.own.get((scope.host.id, item.name))
        if said is not None:
            return _Given(place=self._host_place(scope.parent, (scope.host.id, item.name), said[0], said[1]))
        key = (scope.parent.id_of(scope.host), item.name)
        label = slot.label or item.label
        control = self._control_inside(scope.graph, number)
        place = Place(key, scope.values[number], label, scope.host.title, control, scope.parent.parent is None)
        return _Given(place=self._place(place))

    def _host_place(self, scope: _Scope, inner: Key, name: str, value: Json) -> Place:
        """The widget on a subgraph's own node that stands for one inside without a link."""
        assert_host = scope.host
        if assert_host is None:
            return self._place(Place((f"{scope.path}{inner[0]}", inner[1]), value))
        key = (f"{scope.path}{inner[0]}", inner[1])
        node = scope.graph.nodes.get(inner[0])
        control = self._widgets_of(node).controls.get(inner[1], "") if node is not None else ""
        is_outer = scope.parent is not None and scope.parent.parent is None
        return self._place(Place(key, value, "", assert_host.title, control, is_outer))

    def _control_inside(self, graph: Graph, number: int) -> str:
        for _ in range(MAX_DEPTH):
            found = self._inside_once(graph, number)
            if found is None:
                return ""
            node, name, inner = found
            if inner is None:
                return self._widgets_of(node).controls.get(name, "")
            graph, number = inner
        return ""

    def _check_classes(self, found: Sequence[tuple[_Scope, Node]]) -> None:
        if not self._classes.is_known:
            unnamed = next(((scope, node) for scope, node in found if node.values and not node.named), None)
            if unnamed is not None:
                raise WorkflowError(
                    "its widgets have no names in the file. Give what ComfyUI answers at /object_info, too",
                    _where(*unnamed),
                )
            return
        missing = [(scope, node) for scope, node in found if self._classes.find(node.type) is None]
        if missing:
            kinds = list(dict.fromkeys(node.type for _, node in missing))
            rest = f", nor {quoted(', '.join(kinds[1:6]))}" if len(kinds) > 1 else ""
            raise WorkflowError(
                f"this ComfyUI has no such node{rest}. Install the pack that has it, or delete the node",
                _where(*missing[0]),
            )


def of_graph(graph: dict[str, Json], classes: NodeClasses) -> ApiForm:
    """A graph that is in API form already: what is no link is what a person sees."""
    places: dict[Key, Place] = {}
    for id_ in graph:
        kind = find_kind(classes, graph, id_)
        title = mapping(mapping(graph[id_]).get("_meta")).get("title")
        is_own = isinstance(title, str) and title not in (class_of(graph, id_), kind.title if kind is not None else "")
        for name, value in inputs_of(graph, id_).items():
            if link_in(value) is None:
                key = id_, name
                places[key] = Place(key, value, "", title if is_own and isinstance(title, str) else "", targets=(key,))
    return ApiForm(graph, places, {})


def find_kind(classes: NodeClasses, graph: Mapping[str, Json], node: str) -> NodeClass | None:
    """The class of a node of a graph in API form, if it is known."""
    data = graph.get(node)
    kind = cast("dict[str, Json]", data).get("class_type") if isinstance(data, dict) else None
    return classes.find(kind) if isinstance(kind, str) else None


def _with_targets(place: Place, targets: Sequence[Target]) -> Place:
    kept = tuple(dict.fromkeys(targets))
    return Place(place.key, place.value, place.label, place.title, place.control, place.is_host, kept)


def _where(scope: _Scope, node: Node) -> str:
    return f"node {scope.id_of(node)} ({shortened(node.title or node.type, 60)})"


def _literal(value: Json) -> Json:
    """A value as it stands in a prompt, where a list is a link unless it is wrapped."""
    return {"__value__": cast("Json", value)} if isinstance(value, list) else value


def _fits(one: str, other: str) -> bool:
    """Whether two types may be linked: equal, a wildcard, or one of several in common."""
    if one in ("*", "") or other in ("*", "") or one.lower() == other.lower():
        return True
    ones = {part.strip().lower() for part in one.split(",")}
    return not ones.isdisjoint(part.strip().lower() for part in other.split(","))


def in_order(id_: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts ids by their numbers: 2 before 10, 10 before 10:1."""
    return tuple((0, int(part), "") if part.isdecimal() and len(part) < 19 else (1, 0, part) for part in id_.split(":"))
