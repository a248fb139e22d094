"""What `/object_info` says of node classes: their inputs, which of these are widgets, their outputs; never raises.

`/object_info` comes from a server or a file, and packs write what they like into it: whatever is odd counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ..limits import Json

COMBO, DYNAMIC, AUTOGROW = "COMBO", "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
INT, FLOAT, STRING, BOOLEAN = "INT", "FLOAT", "STRING", "BOOLEAN"
WIDGETS = frozenset(
    {
        INT, FLOAT, STRING, BOOLEAN, COMBO, DYNAMIC, "MARKDOWN", "COLOR", "IMAGECOMPARE", "BOUNDING_BOX", "CHART",
        "GALLERIA", "PAINTER", "COMPOSITOR", "TEXTAREA", "CURVE", "RANGE", "VIDEO_EDIT", "BOUNDING_BOXES", "COLORS",
        "LOAD_3D", "WEBCAM", "AUDIO_RECORD", "LORCHESTRA_LORAS",
    }
)  # fmt: skip
"""Types whose inputs have a widget in the editor; the types of other packs' widgets are told by the workflow."""
_SEEDS = ("seed", "noise_seed")
_MOST_NESTED = 8
"""Dynamic choices within dynamic choices."""


def _no_options() -> dict[str, Json]:
    return {}


@dataclass(frozen=True, slots=True)
class Spec:
    """One input of a node class."""

    name: str
    """With the choices that it belongs to before it: `format.codec`."""
    type: str
    """`INT`, `COMBO`, `MODEL`; a list of types with commas between."""
    options: Mapping[str, Json] = field(default_factory=_no_options, hash=False)
    choices: tuple[Json, ...] | None = field(default=None, hash=False)
    """Of a `COMBO`; None if they are not known before it is asked."""
    is_required: bool = True

    @property
    def is_widget(self) -> bool:
        """True if the editor has a widget for it."""
        widget = self.options.get("widgetType") or self.type
        return widget in WIDGETS and not self.options.get("forceInput")

    @property
    def controls(self) -> int:
        """How many widgets the editor adds behind it, such as `control_after_generate`."""
        control = self.options.get("control_after_generate")
        if self.type == INT:
            return int(bool(control) if control is not None else self.name in _SEEDS)
        return 2 if self.type == COMBO and control else 0

    @property
    def default(self) -> Json:
        """What its widget holds if nobody has written anything."""
        default = self.options.get("default")
        if default is not None:
            return default
        if self.choices:
            return self.choices[0]
        return {INT: 0, FLOAT: 0.0, STRING: "", BOOLEAN: False}.get(self.type)

    @property
    def tooltip(self) -> str:
        """What the editor tells of it; empty without."""
        tooltip = self.options.get("tooltip")
        return tooltip.strip() if isinstance(tooltip, str) else ""

    def chosen(self, value: Json) -> Iterator[Spec]:
        """The inputs that a dynamic choice adds for this value."""
        for option in _list(self.options.get("options")) if self.type == DYNAMIC else ():
            data = _mapping(option)
            if data.get("key") == value:
                yield from _specs(_mapping(data.get("inputs")), f"{self.name}.")
                return


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One node class."""

    name: str
    specs: tuple[Spec, ...]
    """In the order of the editor."""
    outputs: tuple[str, ...]
    """Types."""
    title: str = ""
    is_output: bool = False
    is_partner: bool = False
    """True for nodes of ComfyUI's partners, which ask a service."""
    description: str = ""

    def find(self, name: str, values: Mapping[str, Json]) -> Spec | None:
        """The spec of an input, also of one that the values of dynamic choices bring; None if it is not known."""
        specs: Iterator[Spec] = iter(self.specs)
        for _ in range(_MOST_NESTED):
            outer = None
            for spec in specs:
                if spec.name == name:
                    return spec
                if name.startswith(f"{spec.name}."):
                    outer = spec
            if outer is None:
                return None
            if outer.type == AUTOGROW:
                return _grown(outer, name)
            specs = outer.chosen(values.get(outer.name))
        return None


class NodeClasses:
    """The classes that a ComfyUI has, read when they are asked for."""

    def __init__(self, object_info: Json) -> None:
        self._data = _mapping(object_info)
        self._read: dict[str, NodeClass | None] = {}

    @property
    def is_known(self) -> bool:
        """False if there is no `/object_info`: then no class is known, and none is missing."""
        return bool(self._data)

    def find(self, name: str) -> NodeClass | None:
        """The class of that name, or None."""
        if name not in self._read:
            data = self._data.get(name)
            self._read[name] = _read_class(name, cast("dict[str, Json]", data)) if isinstance(data, dict) else None
        return self._read[name]

    def kind(self, name: str, output: int) -> str | None:
        """The type of a class's output, as `graph.Kind`."""
        found = self.find(name)
        return found.outputs[output] if found is not None and 0 <= output < len(found.outputs) else None

    def accepts(self, name: str, key: str) -> str | None:
        """The type of a class's input, as `graph.Accepts`."""
        found = self.find(name)
        spec = found.find(key, {}) if found is not None else None
        return None if spec is None else spec.type


def find_kinds(workflow: Json) -> set[str]:
    """Every text in a workflow that may be the class of a node: of API form, of UI form, and in its subgraphs."""
    found: set[str] = set()
    left = [workflow]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            data = cast("dict[str, Json]", value)
            found.update(kind for key in ("class_type", "type") if isinstance(kind := data.get(key), str))
            left += data.values()
        elif isinstance(value, list):
            left += cast("list[Json]", value)
    return found


def _read_class(name: str, data: Mapping[str, Json]) -> NodeClass:
    inputs, order = _mapping(data.get("input")), _mapping(data.get("input_order"))
    types = [item if isinstance(item, str) else COMBO for item in _list(data.get("output"))]
    title, description = data.get("display_name"), data.get("description")
    return NodeClass(
        name,
        tuple(_specs(inputs, "", order)),
        tuple(types),
        title if isinstance(title, str) else name,
        data.get("output_node") is True,
        data.get("api_node") is True,
        description.strip() if isinstance(description, str) else "",
    )


def _specs(inputs: Mapping[str, Json], start: str, order: Mapping[str, Json] | None = None) -> Iterator[Spec]:
    for section in ("required", "optional"):
        specs = _mapping(inputs.get(section))
        ordered = _list(order.get(section)) if order else ()
        names = [key for key in ordered if isinstance(key, str) and key in specs]
        for key in dict.fromkeys([*names, *specs]):
            spec = _spec(f"{start}{key}", specs[key], section == "required")
            if spec is not None:
                yield spec


def _spec(name: str, data: Json, is_required: bool) -> Spec | None:
    """`["INT", {"default": 20}]`, `[["a", "b"], {}]` or `["COMBO", {"options": ["a", "b"]}]`."""
    if not isinstance(data, list | tuple) or not data:
        return None
    items = cast("list[Json]", data)
    options = _mapping(items[1] if len(items) > 1 else None)
    match items[0]:
        case list():
            return Spec(name, COMBO, options, tuple(_list(items[0])), is_required)
        case "COMBO":
            given = options.get("options")
            return Spec(name, COMBO, options, tuple(_list(given)) if isinstance(given, list) else None, is_required)
        case "COMFY_DYNAMICCOMBO_V3":
            keys = tuple(_mapping(item).get("key") for item in _list(options.get("options")))
            return Spec(name, DYNAMIC, options, keys, is_required)
        case str() as kind:
            return Spec(name, kind, options, None, is_required)
        case _:
            return None


def _grown(spec: Spec, name: str) -> Spec | None:
    """The spec of one of a growing group, such as `images.image2`."""
    template = _mapping(spec.options.get("template"))
    inner = next(_specs(_mapping(template.get("input")), ""), None)
    return None if inner is None else Spec(name, inner.type, inner.options, inner.choices, False)


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else _no_options()


def _list(value: Json) -> Sequence[Json]:
    return cast("list[Json]", value) if isinstance(value, list) else ()
