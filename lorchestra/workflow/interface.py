"""What a published workflow takes and gives, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import WorkflowError, quoted
from ..limits import Json

TEXT, INTEGER, NUMBER, BOOLEAN, CHOICE, FILE = "text", "integer", "number", "boolean", "choice", "file"
IMAGE, MASK, VIDEO, AUDIO, LORAS, VALUE = "image", "mask", "video", "audio", "loras", "value"
KINDS = (TEXT, INTEGER, NUMBER, BOOLEAN, CHOICE, FILE, IMAGE, MASK, VIDEO, AUDIO, LORAS, VALUE)
"""`file` is the name of a model's file; an image, a mask, a video and sound are sent or named; `value` is any JSON."""
MEDIA = (IMAGE, MASK, VIDEO, AUDIO)

APP, TITLE, USUAL, SUBGRAPH, PERSON = "app", "title", "usual", "subgraph", "person"
SOURCES = (APP, TITLE, USUAL, SUBGRAPH, PERSON)
"""What made an input public: App mode, a title with `$`, its name and place, a subgraph's own node, a person."""

Target = tuple[str, str]
"""(node id in the graph, name of its input)"""


def _no_schema() -> dict[str, Json]:
    return {}


def _no_brings() -> dict[str, dict[str, Json]]:
    return {}


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a caller may choose."""

    name: str
    kind: str
    """Of `KINDS`."""
    node: str
    """Id of the node in the graph."""
    widget: str
    """Name of the node's input."""
    schema: Mapping[str, Json] = field(default_factory=_no_schema, hash=False)
    """JSON Schema of the value, without its default and description."""
    default: Json = field(default=None, hash=False)
    """The value that the workflow has; None if it has none that the schema allows."""
    description: str = ""
    source: str = USUAL
    """Of `SOURCES`."""
    role: str = ""
    """What it is in every workflow that has it, such as `prompt` or `seed`, whatever its name; empty if it is none."""
    also: tuple[Target, ...] = ()
    """Other inputs in the graph that get the same value."""
    title: str = ""
    """What people call it."""
    is_required: bool = False
    is_random: bool = False
    """True for a seed that the editor draws anew for each run."""
    brings: Mapping[str, Mapping[str, Json]] = field(default_factory=_no_brings, hash=False)
    """Of a choice that other inputs of the node depend on: those of each, with their defaults."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every place in the graph that the value goes to."""
        return ((self.node, self.widget), *self.also)

    def to_json(self) -> dict[str, Json]:
        """The input as JSON data."""
        data: dict[str, Json] = {"name": self.name, "kind": self.kind, "node": self.node, "widget": self.widget}
        data |= {"schema": dict(self.schema), "default": self.default, "description": self.description}
        data |= {"source": self.source, "role": self.role, "also": [list(target) for target in self.also]}
        data |= {"title": self.title, "required": self.is_required, "random": self.is_random}
        return data | {"brings": {key: dict(values) for key, values in self.brings.items()}} if self.brings else data

    @staticmethod
    def from_json(data: Json) -> Input:
        """The input that `to_json` wrote; raises `WorkflowError`."""
        values = _object(data, "an input")
        kind, schema, default = _text(values, "kind"), values.get("schema"), values.get("default")
        if kind not in KINDS or not isinstance(schema, dict):
            raise WorkflowError(f"{quoted(values.get('name'))} is no input: its kind or its schema is missing")
        also = tuple(_target(item) for item in _items(values, "also"))
        brings = {key: dict(_object(item, '"brings"')) for key, item in _object(values.get("brings", {}), "it").items()}
        return Input(
            _text(values, "name"), kind, _text(values, "node"), _text(values, "widget"),
            cast("dict[str, Json]", schema), default, _text(values, "description"), _text(values, "source"),
            _text(values, "role"), also, _text(values, "title"), values.get("required") is True,
            values.get("random") is True, brings,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a run gives."""

    name: str
    kind: str
    """Of `OUTPUT_KINDS`."""
    node: str
    """Id of the node in the graph that saves or shows it."""
    description: str = ""

    def to_json(self) -> dict[str, Json]:
        """The output as JSON data."""
        return {"name": self.name, "kind": self.kind, "node": self.node, "description": self.description}

    @staticmethod
    def from_json(data: Json) -> Output:
        """The output that `to_json` wrote; raises `WorkflowError`."""
        values = _object(data, "an output")
        name, kind, node = (_text(values, key) for key in ("name", "kind", "node"))
        return Output(name, kind, node, _text(values, "description"))


OUTPUT_KINDS = ("image", "video", "audio", "text", "file", "latent")
"""The official API's words for what a node saves."""


def _object(data: Json, what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise WorkflowError(f"{what} is {quoted(data)}; expected an object")
    return cast("dict[str, Any]", data)


def _text(values: Mapping[str, Json], key: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise WorkflowError(f'"{key}" is {quoted(value)}; expected text')
    return value


def _items(values: Mapping[str, Json], key: str) -> list[Json]:
    value = values.get(key, [])
    if not isinstance(value, list):
        raise WorkflowError(f'"{key}" is {quoted(value)}; expected a list')
    return cast("list[Json]", value)


def _target(data: Json) -> Target:
    match data:
        case [str() as node, str() as widget]:
            return node, widget
        case _:
            raise WorkflowError(f'"also" has {quoted(data)}; expected [node id, input]')
