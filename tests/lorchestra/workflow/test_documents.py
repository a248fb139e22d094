"""The documents of a published workflow: valid, with examples that validate, and the same every time."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from support.workflows import OBJECT_INFO, text_to_image, with_subgraph

from lorchestra.demo.prompt import demo_prompt
from lorchestra.errors import WorkflowError
from lorchestra.workflow.api_shapes import job_example
from lorchestra.workflow.documents import DOCUMENTS, document_of, example_of, openapi_of, schema_of
from lorchestra.workflow.publication import Publication, publish

Json = Any
URL = "http://127.0.0.1:8188/lorchestra"
ROWS = {"version": 1, "loras": [{"lora": "a.safetensors", "model": 0.5}]}
PUBLICATIONS = [
    publish(demo_prompt(ROWS), None, "demo"),
    publish(demo_prompt({"version": 1, "loras": []}), None, "demo-2", 3),
    publish(text_to_image(), OBJECT_INFO, "text_to_image"),
    publish(with_subgraph([7]), OBJECT_INFO, "2blur"),
    publish(
        text_to_image(extra={"lorchestra": {"inputs": [{"node": "6", "widget": "text", "required": True}]}}),
        OBJECT_INFO, "required",
    ),
]  # fmt: skip


@pytest.fixture(params=PUBLICATIONS, ids=lambda made: made.name)
def made(request: pytest.FixtureRequest) -> Publication:
    return request.param


def test_the_schema_is_one_and_its_example_and_defaults_are_valid(made: Publication) -> None:
    schema = schema_of(made)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(example_of(made))
    for field in schema["properties"].values():
        if "default" in field:
            Draft202012Validator(field).validate(field["default"])
    assert not Draft202012Validator(schema).is_valid({"unknown": 1})
    assert schema["additionalProperties"] is False


def test_an_input_without_a_default_that_must_be_sent_has_an_example() -> None:
    rows = [{"node": "3", "widget": name, "required": True, "maximum": 8} for name in ("steps", "cfg")]
    made = publish(text_to_image(extra={"lorchestra": {"inputs": rows}}), OBJECT_INFO, "t")
    assert made.inputs[0].default is None
    Draft202012Validator(schema_of(made)).validate(example_of(made))


def test_openapi_of_one_is_valid() -> None:
    check_openapi(openapi_of([PUBLICATIONS[2]], URL))


def test_openapi_of_several_is_valid_and_has_names_of_their_own() -> None:
    """All of them in one document: checking one takes seconds."""
    document = openapi_of(PUBLICATIONS, URL)
    check_openapi(document)
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "put", "head", "delete")
    ]
    assert len(ids) == len(set(ids))
    assert {"DemoInputs", "Demo2Inputs", "Workflow2blurInputs"} <= document["components"]["schemas"].keys()
    check_openapi(openapi_of([], URL))


def check_openapi(document: Json) -> None:
    OpenAPIV31SpecValidator(document).validate()
    registry = Registry().with_resource("urn:doc", Resource(document, DRAFT202012))
    checked = 0
    for where, content in media(document):
        if "example" in content:
            reference = {"$ref": f"urn:doc#{where}/schema"}
            Draft202012Validator(reference, registry=registry).validate(content["example"])
            checked += 1
    assert checked >= 10 or not [path for path in document["paths"] if path.endswith("/jobs")][1:]


def media(value: Json, where: str = "") -> Json:
    """Every content with a schema, with its JSON Pointer."""
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{where}/{key.replace('~', '~0').replace('/', '~1')}"
            if isinstance(inner, dict) and "schema" in inner and "/content/" in at:
                yield at, inner
            yield from media(inner, at)


def test_the_jobs_shape_is_the_official_one() -> None:
    from comfy_low.models import Asset, ErrorEnvelope, Job, Output, Progress

    Job.model_validate(job_example("a", 1))
    schemas = openapi_of([], URL)["components"]["schemas"]
    for name, model in (
        ("Job", Job),
        ("Output", Output),
        ("Progress", Progress),
        ("Asset", Asset),
        ("Error", ErrorEnvelope),
    ):
        official = model.model_json_schema()
        assert official["properties"].keys() <= schemas[name]["properties"].keys(), name
        assert set(official.get("required", [])) <= set(schemas[name]["required"]), name


def test_documents_are_the_same_every_time(made: Publication) -> None:
    again = Publication.from_json(json.loads(json.dumps(made.to_json())))
    for document in DOCUMENTS:
        if document.id != "runware":
            assert document_of(made, document.id, URL) == document_of(again, document.id, URL)


@pytest.mark.parametrize("id_", ["python", "requests"])
def test_the_python_clients_are_python_with_the_example_in_them(made: Publication, id_: str) -> None:
    tree = ast.parse(document_of(made, id_, URL))
    assigned = [one for one in ast.walk(tree) if isinstance(one, ast.Assign)]
    values = [one.value for one in assigned if ast.unparse(one.targets[0]) == "inputs"]
    assert ast.literal_eval(values[0]) == example_of(made)


def test_the_typescript_client_is_read_by_node(made: Publication, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node")
    path = tmp_path / "client.mjs"  # it has no types of its own in it
    path.write_text(document_of(made, "typescript", URL), encoding="utf-8")
    subprocess.run([node, "--check", path], check=True, timeout=60)


def test_the_curl_client_sends_the_example(tmp_path: Path) -> None:
    """With a curl that only shows what it is given; the prompt has every sign that a shell knows."""
    nasty = "'\"$HOME `id` \\ %s\nJSON\n€"
    graph = demo_prompt(ROWS, positive=nasty)
    made = publish(graph, None, "demo")
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nprintf "%s|" "$@" >&2\ncat\n')
    fake.chmod(0o755)
    script = tmp_path / "client.sh"
    script.write_text(document_of(made, "curl", URL), encoding="utf-8")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LORCHESTRA_TOKEN": "to ken"}
    done = subprocess.run(["sh", script], env=env, check=True, capture_output=True, timeout=60)
    assert json.loads(done.stdout) == example_of(made)
    assert example_of(made)["prompt"] == nasty
    arguments = done.stderr.decode().split("|")
    assert f"{URL}/workflows/demo/jobs?wait=60" in arguments
    assert "Authorization: Bearer to ken" in arguments


def test_runwares_form() -> None:
    (task,) = json.loads(document_of(PUBLICATIONS[0], "runware", URL))
    assert task | {
        "taskType": "imageInference", "model": "v1-5-pruned-emaonly-fp16.safetensors", "steps": 8, "CFGScale": 7.0,
        "positivePrompt": "a lighthouse by the sea, evening light", "lora": [{"model": "a.safetensors", "weight": 0.5}],
    } == task  # fmt: skip


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (PUBLICATIONS[3], "has no prompt among its inputs"),
        (
            publish(demo_prompt({"version": 1, "loras": [{"lora": "a", "model": 5}]}), None, "d"),
            "Runware takes -4 to 4",
        ),
        (
            publish(demo_prompt({"version": 1, "loras": [{"lora": "a", "model": 1, "clip": 0}]}), None, "d"),
            "has clip_weight, which Runware's form cannot say",
        ),
    ],
)
def test_what_runwares_form_cannot_say(made: Publication, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        document_of(made, "runware", URL)


def test_a_document_that_there_is_not() -> None:
    with pytest.raises(WorkflowError, match="choose one of schema, openapi"):
        document_of(PUBLICATIONS[0], "yaml", URL)
