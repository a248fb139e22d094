"""What a person says of the inputs and outputs that were found, kept in the workflow's `extra`. Pure.

`extra.lorchestra` is `{"description": text, "inputs": [{"node": "3", "widget": "seed"}], "outputs": [{"node": "9"}]}`,
and may have the `name` under which the editor publishes it. A row is known by the node and the widget in the editor;
the rows' order is the order in which people are shown the inputs, and what has no row comes behind them. See
`INPUT_KEYS` for what a row may say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import WorkflowError, quoted, shortened
from ..limits import Json
from .api_form import ApiForm, Key
from .editor import mapping, sequence
from .inputs import InputMaker
from .interface import CHOICE, INTEGER, LORAS, NUMBER, PERSON, TEXT, Input, Output, Target
from .names import NAME, Names
from .node_classes import NodeClasses
from .validation import find_problem

KEY = "lorchestra"
"""In the workflow's `extra`."""
INPUT_KEYS = (
    "node", "widget", "name", "title", "description", "hidden", "required", "default", "minimum", "maximum", "choices",
    "max_items",
)  # fmt: skip
"""`hidden` takes an input away; a row for a widget that is none yet makes it one; `choices` are some of those that the
node takes; `max_items` is the most rows of a list."""
OUTPUT_KEYS = ("node", "name", "description", "hidden")
_MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be: what it says is left out."""

    path: str
    """Such as `inputs[3]`."""
    error: WorkflowError


@dataclass(frozen=True, slots=True)
class Revised:
    """Inputs and outputs as a person wants them."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    description: str
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    rows: Mapping[Target, int]
    """The first place in the graph that an input goes to → the number of its row."""


@dataclass(frozen=True, slots=True)
class _Row:
    """An input, and what a person says of it."""

    item: Input
    path: str
    is_named: bool


def places_of(form: ApiForm, inputs: Sequence[Input]) -> list[Key]:
    """The node and the widget by which a row in `extra` names each input."""
    ends = {place.targets[0]: key for key, place in reversed([*form.places.items()])}
    return [ends.get(item.targets[0]) or item.targets[0] for item in inputs]


def revise(
    form: ApiForm, classes: NodeClasses, inputs: Sequence[Input], outputs: Sequence[Output], said: Mapping[str, Json]
) -> Revised:
    """What was found, with what a person says of it.

    Rows for widgets that are gone are told in the notes, and those that say what cannot be in the problems. Raises
    `WorkflowError` where there are no rows to be read.
    """
    description = _text(said, "description", "the workflow") or ""
    notes: list[str] = []
    problems: list[Problem] = []
    ordered: list[_Row] = []
    rest = list(inputs)
    rows: dict[Target, int] = {}
    maker: InputMaker | None = None
    for number, row in enumerate(_rows(said, "inputs")):
        where = f"the input {shortened(str(row.get('node')))}.{shortened(str(row.get('widget')))}"
        key = str(row.get("node")), str(row.get("widget"))
        found = next((item for item in rest if _is_at(form, item, key)), None)
        if found is not None:
            rest.remove(found)
        elif row.get("hidden") is not True:
            maker = maker or InputMaker(form, classes)
            found = maker.find(key)
            taken = [*(one.item for one in ordered), *rest]
            if found is None or any(found.targets[0] in item.targets for item in taken):
                notes.append(f"{where}: there is no such widget any more, or it is linked; what was said of it is lost")
                continue
        if found is not None:
            rows[found.targets[0]] = number
        path, is_named = f"inputs[{number}]", row.get("name") is not None
        try:
            _check_keys(row, INPUT_KEYS, where)
            if found is None or row.get("hidden") is True:
                continue
            found = _revised(found, row, where)
        except WorkflowError as error:
            problems.append(Problem(path, error))
            is_named = False
        if found is not None:
            ordered.append(_Row(found, path, is_named))
    return Revised(
        _named(ordered, rest, problems), tuple(_outputs(outputs, said, notes, problems)),
        shortened(description, 5000), tuple(notes), tuple(problems), rows,
    )  # fmt: skip


def _is_at(form: ApiForm, item: Input, key: Key) -> bool:
    place = form.places.get(key)
    if item.kind == LORAS:
        return item.node == key[0] or (place is not None and any(node == item.node for node, _ in place.targets))
    target = place.targets[0] if place is not None else key
    return target in item.targets


def _named(ordered: Sequence[_Row], rest: Sequence[Input], problems: list[Problem]) -> tuple[Input, ...]:
    """Names that a person gave come first; others make room for them."""
    names = Names()
    given: dict[int, str] = {}
    for number, row in enumerate(ordered):
        if row.is_named:
            given[number] = names.take(row.item.name)
            if given[number] != row.item.name:
                said = f"two inputs have the name {quoted(row.item.name)}; give one of them another"
                problems.append(Problem(row.path, WorkflowError(said)))
    inputs = [*(row.item for row in ordered), *rest]
    return tuple(replace(item, name=given.get(number) or names.take(item.name)) for number, item in enumerate(inputs))


def _revised(item: Input, row: Mapping[str, Json], where: str) -> Input:
    name = row.get("name")
    if name is not None:
        item = replace(item, name=_name(name, where), source=PERSON)
    title, description = _text(row, "title", where), _text(row, "description", where)
    required = row.get("required", item.is_required)
    if not isinstance(required, bool):
        raise WorkflowError(f'"required" is {quoted(required)}; expected true or false', where)
    schema = dict(item.schema)
    for key, is_lower in (("minimum", True), ("maximum", False)):
        if key in row:
            schema[key] = _bound(item, row[key], key, is_lower, where)
    if schema.get("minimum", 0) > schema.get("maximum", float("inf")):
        raise WorkflowError("its minimum is above its maximum", where)
    if "choices" in row:
        schema["enum"] = _choices(item, row["choices"], where)
    if "max_items" in row:
        most = row["max_items"]
        if item.kind != LORAS or type(most) is not int or not 0 <= most <= schema["maxItems"]:
            raise WorkflowError(
                f'"max_items" is {quoted(most)}; it is for lists of LoRAs alone, and at most theirs', where
            )
        schema["maxItems"] = most
    item = replace(
        item,
        title=item.title if title is None else shortened(title),
        description=item.description if description is None else shortened(description, 2000),
        is_required=required,
        schema=schema,
        is_random=item.is_random and "default" not in row,
    )
    default = row.get("default", item.default)
    problem = None if default is None else find_problem(schema, default)
    if problem is not None and "default" in row:
        raise WorkflowError(f"its default is not valid: {problem.reason}", where)
    return replace(item, default=None if problem is not None else default)


def _bound(item: Input, value: Json, key: str, is_lower: bool, where: str) -> Json:
    """A bound that is within the node's own."""
    if item.kind not in (INTEGER, NUMBER):
        raise WorkflowError(f'"{key}" is for numbers alone', where)
    whole = item.kind == INTEGER
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value != value:
        raise WorkflowError(f'"{key}" is {quoted(value)}; expected a {"whole " * whole}number', where)
    own = item.schema.get(key)
    if own is not None and (value < own if is_lower else value > own):
        raise WorkflowError(
            f'"{key}" is {quoted(value)}, but the node takes {own} at the {"least" if is_lower else "most"}', where
        )
    return value


def _choices(item: Input, value: Json, where: str) -> list[Json]:
    plain = [choice for choice in sequence(value) if isinstance(choice, str | int | float)]
    choices: list[Json] = list(dict.fromkeys(plain))
    known = item.schema.get("enum")
    if not choices or len(choices) != len(sequence(value)):
        raise WorkflowError(f'"choices" is {quoted(value)}; expected a list of different values', where)
    if known is not None and (unknown := [choice for choice in choices if choice not in known]):
        raise WorkflowError(f"the node has no choice {quoted(unknown[0])}", where)
    if known is None and item.kind not in (TEXT, CHOICE, "file"):
        raise WorkflowError('"choices" are for texts alone', where)
    return choices


def _outputs(
    outputs: Sequence[Output], said: Mapping[str, Json], notes: list[str], problems: list[Problem]
) -> list[Output]:
    rest, ordered, names = list(outputs), list[Output](), Names()
    for number, row in enumerate(_rows(said, "outputs")):
        where = f"the output of node {shortened(str(row.get('node')))}"
        found = next((item for item in rest if item.node == str(row.get("node"))), None)
        if found is None:
            notes.append(f"{where}: it is none any more; what was said of it is lost")
            continue
        rest.remove(found)
        try:
            _check_keys(row, OUTPUT_KEYS, where)
            found = _revised_output(found, row, where)
        except WorkflowError as error:
            problems.append(Problem(f"outputs[{number}]", error))
        if row.get("hidden") is not True:
            ordered.append(found)
    return [replace(item, name=names.take(item.name)) for item in [*ordered, *rest]]


def _revised_output(item: Output, row: Mapping[str, Json], where: str) -> Output:
    name, description = row.get("name", item.name), _text(row, "description", where)
    return replace(item, name=_name(name, where), description=item.description if description is None else description)


def _name(name: Json, where: str) -> str:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise WorkflowError(f"{quoted(name)} cannot be a name: use letters, digits and _, a letter first", where)
    return name


def _rows(said: Mapping[str, Json], key: str) -> list[Mapping[str, Json]]:
    rows = sequence(said.get(key))
    if len(rows) > _MOST_ROWS or said.get(key, rows) != rows:
        raise WorkflowError(f'"{key}" in what is said of the workflow is {quoted(said[key])}; expected a list of rows')
    if any(not isinstance(row, dict) for row in rows):
        raise WorkflowError(f'"{key}" in what is said of the workflow has something else than objects in it')
    return [mapping(row) for row in rows]


def _check_keys(row: Mapping[str, Json], known: Sequence[str], where: str) -> None:
    unknown = next((key for key in row if key not in known), None)
    if unknown is not None:
        raise WorkflowError(f"it says {quoted(unknown)}, which is not known; known are {', '.join(known)}", where)


def _text(row: Mapping[str, Json], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise WorkflowError(f'"{key}" is {quoted(value)}; expected text', where)
    return value
