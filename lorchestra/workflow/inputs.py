"""What a caller may choose in a workflow: App mode's declaration, titles with `$`, the usual suspects. Pure.

Everything is found in the graph in API form. What the editor knows beyond that (which widget a person sees, what App
mode shows) comes with the form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import quoted, shortened
from ..limits import Json
from .api_form import ApiForm, Key, Place, in_order
from .editor import mapping, sequence
from .graph import class_of, inputs_of, link_in, links_of
from .idle import Idle, is_controlnet
from .interface import (
    APP,
    BOOLEAN,
    FILE,
    IMAGE,
    INTEGER,
    LORAS,
    MASK,
    MEDIA,
    NUMBER,
    PERSON,
    SUBGRAPH,
    TITLE,
    USUAL,
    VALUE,
    Input,
    Target,
)
from .lora_lists import find_lora_list, is_core, rows_equal
from .loras import OURS, PICK_SEED, picks
from .names import Names, slug
from .node_classes import NodeClass, NodeClasses, Spec
from .roles import (
    BY_NAME,
    CONTROLNET_STRENGTH,
    LOADERS,
    LORA_STRENGTH,
    MEASURES,
    ORDER,
    PRIMITIVES,
    SEED,
    SIDES,
    UPLOADS,
    Role,
    find_role,
)
from .text_roles import TextRoles
from .value_schema import describe, intersected

_TITLE = re.compile(r"\$([A-Za-z][\w-]{0,63})(?:\(([^()]{0,500})\))?")
"""Example: `$portrait`, `$sampler(seed, steps)`."""
_TEXTS = ("text", "prompt", "value", "string", "caption", "positive", "negative", "clip_l", "clip_g", "t5xxl")
_GENERIC = re.compile(
    r"value|text|string(?:_[a-z])?|switch|choice|on_(?:true|false)|input\w*|any|a|b|x|number|int|float|boolean"
    r"|string|file|model|image"
)
"""Names of widgets that say nothing of what they are for."""
_PLAIN_TITLE = re.compile(
    r"(?:load|save|clip|primitive|text|string|int|float|boolean|bool|number|note|new|k?sampler|multiline|switch|input)\b.*",
    re.IGNORECASE,
)
"""Titles that are those of a class, or as good as."""

MAX_INPUTS = 1000
"""Most inputs of each kind of source."""
_PLAIN_USE = re.compile(
    r"(?:images?|img|pixels|input|value|source|video|audio|any|on_true|on_false|a|b|file|mask)_?\d*"
)
"""Inputs that do not say what an image is for. Example: `image1`."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a caller may choose, and what could not be taken as the workflow says it."""

    inputs: tuple[Input, ...]
    notes: tuple[str, ...]


def find_inputs(form: ApiForm, classes: NodeClasses, *, with_files: bool = False) -> Found:
    """The inputs, in the order in which people are shown them; the same workflow always gives the same.

    `with_files` lists the files that this machine has as the choices of an input that takes one.
    """
    return _Finder(form, classes, with_files).find()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A widget that may be an input."""

    place: Place
    spec: Spec | None
    kind: NodeClass | None
    class_type: str
    """Of the node that its first target is in."""

    @property
    def target(self) -> Target:
        return self.place.targets[0]

    @property
    def widget(self) -> str:
        return self.target[1].rpartition(".")[2]


class _Finder:
    def __init__(self, form: ApiForm, classes: NodeClasses, with_files: bool) -> None:
        self._form = form
        self._graph = form.graph
        self._classes = classes
        self._with_files = with_files
        self._texts = TextRoles(form.graph, classes)
        self._makes = self._makers()
        self._idle = Idle(form.graph, classes, self._texts)
        self._names = Names()
        self._notes: list[str] = []
        self._taken: dict[Target, None] = {}
        """Places in the graph that an input of before goes to."""
        self._inputs: list[Input] = []
        self._useful = _upstream(form.graph, classes)
        self._lists = self._find_lists()
        self._ends: dict[Target, dict[Key, None]] = {}
        """(id inside a subgraph alone, widget) → the widgets in the editor whose value goes there."""
        for key, place in form.places.items():
            for node, widget in place.targets:
                self._ends.setdefault((node.rpartition(":")[2], widget), {})[key] = None

    def find(self) -> Found:
        candidates = [
            self._candidate(place)
            for place in sorted(self._form.places.values(), key=lambda place: in_order(place.targets[0][0]))
            if place.targets[0][0] in self._useful
        ]
        declared = self._declared(candidates)
        titled = self._titled(candidates)
        found = [*declared, *titled]
        known = {item.node for item in found if item.kind == LORAS}
        found += [item for item in self._lists if item.node not in known]
        self._inputs = found
        usual = self._usual(candidates)
        if declared:  # its author has chosen; without a seed, nobody would get another picture
            has_seed = any(item.role == SEED for item in found)
            usual = [] if has_seed else [item for item in usual if item.role == SEED]
        else:
            self._inputs = [*found, *usual]
            usual = [*_by_use(usual, self._texts), *self._promoted(candidates)]
        self._inputs = (
            [*found, *_sorted(usual)] if declared else [*_sorted(titled), *_sorted([*found[len(titled) :], *usual])]
        )
        # What somebody has called so keeps its name: a measure's own is for what has none.
        order = sorted(range(len(self._inputs)), key=lambda number: self._inputs[number].role in MEASURES)
        names = {number: self._names.take(self._inputs[number].name) for number in order}
        named = [replace(item, name=names[number]) for number, item in enumerate(self._inputs)]
        return Found(tuple(named), tuple(dict.fromkeys(self._notes)))

    def make(self, place: Place) -> Input | None:
        """The input of one widget, that a person asks for."""
        listed = self._list_at(place.key)
        if listed is not None:
            return replace(listed, source=PERSON)
        one = self._candidate(place)
        role = self._role(one)
        return self._make(one, PERSON, role.name if role is not None else "")

    def _is_full(self, found: Sequence[Input]) -> bool:
        if len(found) < MAX_INPUTS:
            return False
        self._notes.append(f"there are more than {MAX_INPUTS:,} inputs; the rest is left out")
        return True

    # What there is

    def _candidate(self, place: Place) -> _Candidate:
        node, widget = place.targets[0]
        class_type = class_of(self._graph, node)
        kind = self._classes.find(class_type)
        spec = kind.find(widget, inputs_of(self._graph, node)) if kind is not None else None
        return _Candidate(place, spec, kind, class_type)

    def _makers(self) -> dict[str, bool]:
        """Class → whether it makes something of a text itself and hands on no conditioning."""
        makes: dict[str, bool] = {}
        for node in self._graph:
            name = class_of(self._graph, node)
            kind = self._classes.find(name)
            makes[name] = kind is not None and kind.is_partner and "CONDITIONING" not in kind.outputs
        return makes

    def _media(self, one: _Candidate) -> str:
        """Kind of what a widget loads; empty if it loads nothing that a caller may send."""
        node, widget = one.target
        kind = next((item.kind for item in LOADERS if (item.class_type, item.widget) == (one.class_type, widget)), "")
        if not kind and one.spec is not None:
            options = one.spec.options
            kind = next((kind for flag, kind in UPLOADS if options.get(flag)), "")
        if kind == IMAGE:
            used = {link[1] for taker, _ in self._texts.takers(node) for _, link in links_of(self._graph, taker)
                    if link[0] == node}  # fmt: skip
            if used == {1} and one.class_type == "LoadImage":
                return MASK
        return kind

    def _make(self, one: _Candidate, source: str, role: str = "", name: str = "") -> Input | None:
        """The input of a widget; None for one that was taken before."""
        if one.target in self._taken:
            return None
        media = self._media(one)
        described = describe(one.spec, one.place.value, role, media, self._with_files)
        if described.default is None and one.place.value not in (None, "") and described.kind != VALUE and not media:
            self._notes.append(
                f"node {one.target[0]}: its {one.target[1]} is {quoted(one.place.value)}, which is not among what the "
                "node takes here; the request has to say another one"
            )
        self._taken |= dict.fromkeys(one.place.targets)
        known = BY_NAME.get(role or media)
        title = known.title if known is not None else self._title(one)
        tooltip = one.spec.tooltip if one.spec is not None else ""
        description = tooltip or (known.description if known is not None else "")
        file = inputs_of(self._graph, one.target[0]).get("lora_name")
        if role == LORA_STRENGTH and isinstance(file, str):
            description = f"Weight of the LoRA {shortened(file)}."
        return Input(
            name or role or media or slug(title) or "input", described.kind, *one.target, described.schema,
            described.default, shortened(description, 500), source, role or media, one.place.targets[1:], title,
            is_random=one.place.control == "randomize", brings=described.brings,
        )  # fmt: skip

    def _title(self, one: _Candidate) -> str:
        """What people call a widget that is none of the usual suspects."""
        place = one.place
        label = place.label or ""
        own = place.key[1].rpartition(".")[2]
        if label and not _GENERIC.fullmatch(label.lower()):
            return shortened(label, 100)
        title = place.title if place.title and not place.title.startswith("$") else ""
        if one.class_type in PRIMITIVES or _GENERIC.fullmatch(own):
            inner = title if not place.is_host else self._inner_title(one)
            if inner and not _PLAIN_TITLE.fullmatch(inner):
                return shortened(inner, 100)
        return shortened(label or own, 100)

    def _inner_title(self, one: _Candidate) -> str:
        meta = mapping(mapping(self._graph.get(one.target[0])).get("_meta")).get("title")
        kind = one.kind.title if one.kind is not None else ""
        return meta if isinstance(meta, str) and meta not in (kind, one.class_type) else ""

    # Lists of LoRAs

    def _find_lists(self) -> list[Input]:
        found: list[Input] = []
        for node in sorted(self._graph, key=in_order):
            class_type = class_of(self._graph, node)
            if len(found) >= MAX_INPUTS:
                break
            known = find_lora_list(class_type)
            inputs = inputs_of(self._graph, node)
            if known is None or node not in self._useful or link_in(inputs.get(known.widget)) is not None:
                continue
            rows = known.rows(inputs)
            partner = next(
                (
                    item
                    for item in found
                    if is_core(known)
                    and class_of(self._graph, item.node) in known.classes
                    and class_of(self._graph, item.node) != class_type
                    and rows_equal(item.default, rows)
                ),
                None,
            )
            if partner is not None:  # one list in two nodes: the model's and the text encoders'
                found[found.index(partner)] = replace(partner, also=(*partner.also, (node, known.widget)))
                continue
            role = BY_NAME[LORAS]
            found.append(
                Input(
                    LORAS, LORAS, node, known.widget, known.schema(), rows, role.description, USUAL, LORAS, (),
                    role.title,
                )
            )  # fmt: skip
        return found

    def _is_of_list(self, one: _Candidate) -> bool:
        """True for what a node with a list has besides it, but not for a seed that the list's groups pick by."""
        is_seed = one.class_type in OURS and one.widget == PICK_SEED and picks(inputs_of(self._graph, one.target[0]))
        return find_lora_list(one.class_type) is not None and not is_seed

    def _list_at(self, key: Key) -> Input | None:
        """The list of LoRAs that a widget in the editor is of."""
        place = self._form.places.get(key)
        nodes = {target[0] for target in place.targets} if place is not None else {key[0]}
        for item in self._lists:
            if item.node in nodes and (place is None or self._is_of_list(self._candidate(place))):
                return item
        return None

    # App mode

    def _declared(self, candidates: Sequence[_Candidate]) -> list[Input]:
        data = mapping(self._form.extra.get("linearData"))
        by_key = {one.place.key: one for one in candidates}
        found: list[Input] = []
        for number, item in enumerate(sequence(data.get("inputs"))[:1000], 1):
            parts = sequence(item)
            if len(parts) < 2 or not isinstance(parts[1], str):
                self._notes.append(
                    f"App mode's input {number} is {quoted(item)}, which names no widget; it is left out"
                )
                continue
            where, widget = str(parts[0]), parts[1]
            keys = self._keys(where, widget)
            listed = next((one for key in keys if (one := self._list_at(key)) is not None), None) if keys else None
            if listed is not None:
                found.append(replace(listed, source=APP))
                continue
            one = by_key.get(keys[0]) if len(keys) == 1 else None
            if one is None:
                why = "may be any of several" if len(keys) > 1 else "is not there, or has no effect"
                self._notes.append(f"App mode's input {number} ({shortened(where)}, {widget}) {why}; it is left out")
                continue
            role = self._role(one)
            made = self._make(one, APP, role.name if role is not None else "")
            if made is not None:
                found.append(made)
        return found

    def _keys(self, where: str, widget: str) -> list[Key]:
        """The widgets that App mode's `[id, widget]` may mean."""
        places = self._form.places
        match where.split(":"):
            case [_, node, name] if (node, name) in places and not where.startswith(f"{node}:"):
                return [(node, name)]  # id of the graph: node: widget
            case _:
                pass
        if (where, widget) in places or find_lora_list(class_of(self._graph, where)) is not None:
            return [(where, widget)]
        if (where, "value") in places and self._is_primitive(places[where, "value"]):
            return [(where, "value")]  # a primitive's widget had the name of the one that it goes to
        # An id inside a subgraph, without that of the subgraph's own node
        return list(self._ends.get((where.rpartition(":")[2], widget), ()))

    @staticmethod
    def _is_primitive(place: Place) -> bool:
        return all(node != place.key[0] for node, _ in place.targets)

    # Titles

    def _titled(self, candidates: Sequence[_Candidate]) -> list[Input]:
        """`$name` is the node's one widget, or `name_widget` for each; `$name(a, b)` is these."""
        by_node: dict[str, list[_Candidate]] = {}
        for one in candidates:
            if _TITLE.search(one.place.title):
                by_node.setdefault(one.place.key[0], []).append(one)
        found: list[Input] = []
        listed = {item.node: item for item in self._lists}
        for node in sorted(self._graph, key=in_order):
            match = _TITLE.search(self._title_of(node))
            if match is not None and node in listed:
                found.append(replace(listed[node], name=slug(match[1]), source=TITLE, title=match[1]))
        for node, ones in by_node.items():
            if self._is_full(found):
                break
            match = _TITLE.search(ones[0].place.title)
            if match is None or node in listed:
                continue
            name = slug(match[1])
            if match[2] is not None:
                wanted = [part.strip() for part in match[2].split(",") if part.strip()]
                ones = [one for part in wanted for one in ones if one.place.key[1] == part]
                if len(ones) < len(wanted):
                    self._notes.append(
                        f"node {node}: its title names widgets that it does not have, or that are linked"
                    )
            for one in ones:
                role = self._role(one)
                own = name if len(ones) == 1 else f"{name}_{slug(one.place.key[1])}"
                made = self._make(one, TITLE, role.name if role is not None else "", own)
                if made is not None:
                    found.append(replace(made, title=match[1] if len(ones) == 1 else made.title))
        return found

    def _title_of(self, node: str) -> str:
        title = mapping(mapping(self._graph.get(node)).get("_meta")).get("title")
        return title if isinstance(title, str) else ""

    def _free(self, candidates: Sequence[_Candidate], found: Sequence[Input]) -> Iterator[_Candidate]:
        """Those that no input goes to by now, as long as `found` may become longer."""
        for one in candidates:
            if self._is_full(found):
                return
            if one.target not in self._taken and not self._is_of_list(one):
                yield one

    # The usual suspects

    def _usual(self, candidates: Sequence[_Candidate]) -> list[Input]:
        found: list[Input] = []
        for one in self._free(candidates, found):
            media = self._media(one)
            role = None if media else self._role(one) or self._measure(one)
            if not media and (role is None or self._idle.is_idle(role.name, *one.target)):
                continue
            name = ""
            if media and one.place.title and not _PLAIN_TITLE.fullmatch(one.place.title):
                name = slug(one.place.title)
            made = self._make(one, USUAL, role.name if role is not None else "", name)
            if made is not None and not _joined(found, made):
                found.append(made)
        return found

    def _role(self, one: _Candidate) -> Role | None:
        """What a widget is in any workflow; None if it is none of the usual suspects."""
        node, widget = one.target
        value = one.place.value
        if one.class_type in PRIMITIVES or (one.class_type == "" and widget == "value"):
            return self._role_of_primitive(one)
        if isinstance(value, str) and self._is_text(one):
            role = find_role(one.widget)
            if role is not None:
                return role
            return BY_NAME.get(self._texts.find(node, widget, self._makes))
        if one.widget == "noise_seed" and inputs_of(self._graph, node).get("add_noise") == "disable":
            return None
        role = find_role(one.widget)
        return role if role is not None and self._fits(role, one.spec, one.kind, widget) else None

    def _measure(self, one: _Candidate) -> Role | None:
        """What a number is by its node; on a subgraph's own node it has the name that somebody gave it."""
        inputs = inputs_of(self._graph, one.target[0])
        if one.place.is_host or isinstance(one.place.value, str | bool):
            return None
        if one.widget in ("strength_model", "strength_clip") and isinstance(inputs.get("lora_name"), str):
            return BY_NAME[LORA_STRENGTH]
        if one.widget == "strength" and is_controlnet(one.class_type, inputs):
            return BY_NAME[CONTROLNET_STRENGTH]
        return BY_NAME[one.widget] if one.widget in SIDES and inputs.keys() >= set(SIDES) else None

    def _fits(self, role: Role, spec: Spec | None, kind: NodeClass | None, widget: str) -> bool:
        if kind is None or spec is None:
            return not role.is_partner and "." not in widget
        if role.types and spec.type not in role.types:
            return False
        if kind.is_partner:
            return True
        if role.is_partner:
            return False
        return "." not in widget and (not role.outputs or any(output in role.outputs for output in kind.outputs))

    def _is_text(self, one: _Candidate) -> bool:
        if one.spec is None:
            return one.widget in _TEXTS or "prompt" in one.widget
        named = one.widget in _TEXTS or "prompt" in one.widget or one.widget in ("lyrics", "tags")
        return one.spec.type == "STRING" and named

    def _role_of_primitive(self, one: _Candidate) -> Role | None:
        """That of the input that it goes to; of a text, by where it leads to."""
        node, _ = one.target
        if isinstance(one.place.value, str) and one.class_type != "CustomCombo":
            return BY_NAME.get(self._texts.find(node, "value", self._makes))
        roles: dict[str, Role] = {}
        for taker, key in self._texts.takers(node)[:100]:
            role = find_role(key.rpartition(".")[2])
            kind = self._classes.find(class_of(self._graph, taker))
            spec = kind.find(key, inputs_of(self._graph, taker)) if kind is not None else None
            if role is not None and self._fits(role, spec, kind, key):
                roles[role.name] = role
        return next(iter(roles.values())) if len(roles) == 1 else None

    # What a subgraph shows, and what has a title

    def _promoted(self, candidates: Sequence[_Candidate]) -> list[Input]:
        """Widgets that somebody has put on a subgraph's own node, and primitives with a title of their own."""
        found: list[Input] = []
        for one in self._free(candidates, found):
            own = one.place.title if not one.place.is_host else ""
            is_named = one.class_type in PRIMITIVES and own and not _PLAIN_TITLE.fullmatch(own)
            if not one.place.is_host and not is_named:
                continue
            described = describe(one.spec, one.place.value)
            if described.kind in (FILE, VALUE):  # whoever promotes a model's file sets the workflow up
                continue
            taken = {item.role for item in [*self._inputs, *found]}
            role = self._role_by_name(one, described.kind)
            is_first = role is not None and role.name not in taken
            made = self._make(one, SUBGRAPH if one.place.is_host else USUAL, role.name if role and is_first else "")
            if made is not None:
                found.append(made)
        return found

    def _role_by_name(self, one: _Candidate, kind: str) -> Role | None:
        """What a number is that somebody put on a subgraph's own node: by its widget's name, or what they call it."""
        if kind not in (INTEGER, NUMBER):
            return None
        own = one.place.key[1].rpartition(".")[2]
        name = own if not _GENERIC.fullmatch(own) and find_role(own) is not None else slug(self._title(one))
        role = find_role(name)
        return role if role is not None and (not role.types or {"INT", "FLOAT"} & set(role.types)) else None


class InputMaker:
    """Makes inputs of what was found to be none."""

    def __init__(self, form: ApiForm, classes: NodeClasses) -> None:
        self._form = form
        self._finder = _Finder(form, classes, with_files=False)

    def find(self, key: Key) -> Input | None:
        """The input that a person asks for by its place in the editor; None if there is no such widget, or no more."""
        place = self._form.places.get(key)
        return None if place is None else self._finder.make(place)


def _joined(found: list[Input], made: Input) -> bool:
    """Joins an input with one of the same role and value, such as the steps of two samplers that share the work."""
    if made.kind in MEDIA or made.kind in (LORAS, BOOLEAN):
        return False
    for number, item in enumerate(found):
        if made.role in MEASURES and item.node != made.node:
            continue  # each LoRA has a weight of its own
        if item.role != made.role or item.kind != made.kind or item.default != made.default or item.default is None:
            continue
        both = intersected(item.schema, made.schema)
        if both is not None and not item.brings and not made.brings:
            also = tuple(dict.fromkeys((*item.also, *made.targets)))
            found[number] = replace(item, schema=both, also=also, is_random=item.is_random or made.is_random)
            return True
    return False


def _by_use(inputs: Sequence[Input], texts: TextRoles) -> list[Input]:
    """Several images are called by what they are for, `first_frame` and `last_frame`, where a node says that."""
    counts: dict[str, int] = {}
    for item in inputs:
        counts[item.role] = counts.get(item.role, 0) + 1
    found: list[Input] = []
    for item in inputs:
        uses = {key.rpartition(".")[2] for _, key in texts.takers(item.node)}
        use = slug(uses.pop()) if len(uses) == 1 else ""
        is_plain = item.name != item.role or _PLAIN_USE.fullmatch(use) is not None
        if item.kind not in MEDIA or counts[item.role] < 2 or is_plain or not use:
            found.append(item)
        else:
            found.append(replace(item, name=use, title=use.replace("_", " ").capitalize()))
    return found


def _sorted(inputs: Sequence[Input]) -> list[Input]:
    """In the order of the roles; what has none comes last, in the order of the graph."""
    return sorted(inputs, key=lambda item: (ORDER.get(item.role, len(ORDER)), in_order(item.node), item.widget))


def _upstream(graph: Mapping[str, Json], classes: NodeClasses) -> set[str]:
    """The nodes that something is saved or shown of; all, if no class is known to save anything."""
    ends = [
        node for node in graph if (kind := classes.find(class_of(graph, node))) is not None and kind.is_output
    ]  # fmt: skip
    if not ends:
        return set(graph)
    waiting, seen = list(ends), set(ends)
    while waiting:
        for _, link in links_of(graph, waiting.pop()):
            if link[0] not in seen and link[0] in graph:
                seen.add(link[0])
                waiting.append(link[0])
    return seen
