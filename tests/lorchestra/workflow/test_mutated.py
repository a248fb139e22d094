"""Workflows in which something else stands in some places: published and called, or refused in words."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.workflows import OBJECT_INFO, node, text_to_image, with_subgraph

from lorchestra.errors import InputError, LorchestraError, WorkflowError
from lorchestra.workflow.create import create
from lorchestra.workflow.documents import DOCUMENTS, document_of, example_of, schema_of
from lorchestra.workflow.publication import Publication, publish

Json = Any

EXTRA = {
    "lorchestra": {
        "inputs": [
            {"node": "3", "widget": "steps", "minimum": 2, "name": "q"},
            {"node": "9", "widget": "filename_prefix"},
        ],
        "outputs": [{"node": "9", "name": "picture"}],
    },
    "linearData": {"inputs": [["6", "text"], ["20", "radius"], [1, "blur_radius"]], "outputs": ["9"]},
}
OTHERS = (
    None, True, False, 0, 1, -1, 3, 4, 8, 9, 20, 30, -10, -20, 0.5, 2**64, 10**30, 1e308, "", "1", "9", "x", "KSampler",
    "Reroute", "PrimitiveNode", "GetNode", "SetNode", "inner-0", "COMBO", "$a", "#b", "$a(steps)", [], {}, [1],
    ["3", 0], {"a": 1}, [[]], {"__value__": [1]}, "\0", "ä", "../x.png", "https://x/y.png",
)  # fmt: skip


def with_stack() -> Json:
    workflow = text_to_image(extra=EXTRA)
    workflow["nodes"].append(
        node(30, "LorchestraLoraStack", ['{"version": 1, "loras": [{"lora": "a"}]}'], {"model": 3})
    )
    workflow["nodes"][4]["inputs"][0]["link"] = 99
    return workflow | {"links": [*workflow["links"], [99, 30, 0, 3, 0, "MODEL"]]}


BASES: list[Json] = [
    text_to_image(extra=EXTRA),
    with_subgraph([7], [["1", "blur_radius"]]) | {"extra": EXTRA},
    with_subgraph([7], depth=3) | {"extra": EXTRA},
    with_stack(),
    dict(publish(with_stack(), OBJECT_INFO, "base").graph),
]


def places(value: Json) -> Iterator[tuple[Json, Json]]:
    """Every place in the value: (what it is in, its key there)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def mutate(value: Json, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 6)):
        every = list(places(value))
        if every:
            box, key = chance.choice(every)
            other, at = chance.choice(every)
            box[key] = copy.deepcopy(chance.choice((chance.choice(OTHERS), chance.choice(OTHERS), other[at])))


def try_one(chance: random.Random) -> bool:
    """Whether what came of it could be published."""
    workflow, info = copy.deepcopy(chance.choice(BASES)), OBJECT_INFO
    mutate(workflow, chance)
    if chance.random() < 0.2:
        info = copy.deepcopy(OBJECT_INFO)
        mutate(info, chance)
    try:
        made = publish(workflow, info, "mutated")
    except WorkflowError:
        return False
    again = Publication.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    schema, example = schema_of(made), example_of(made)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(example)
    try:
        create(made, example, resolve=lambda model: model)
    except InputError as error:  # a name that leads out of its folder
        assert made.find_input(error.path) is not None
    for document in DOCUMENTS:
        try:
            document_of(made, document.id, "http://127.0.0.1:8188/lorchestra")
        except LorchestraError as error:
            assert document.id == "runware", error
    return True


@pytest.mark.parametrize("seed", range(4))
def test_mutated_workflows(seed: int) -> None:
    published = [try_one(random.Random(f"{seed}/{number}")) for number in range(25)]
    assert 3 <= sum(published) < len(published)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_mutated_workflows(seed: int) -> None:
    published = [try_one(random.Random(f"{seed}/{number}")) for number in range(500)]
    assert 100 <= sum(published) < len(published)
