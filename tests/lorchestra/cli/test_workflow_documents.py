"""`lorchestra export` of whole workflows."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.workflows import OBJECT_INFO, text_to_image

from lorchestra.cli.export import add_export
from lorchestra.cli.workflow_documents import FORMS, SHARED
from lorchestra.demo.prompt import demo_prompt
from lorchestra.errors import FileProblem, JsonError, LorchestraError, StackError, WorkflowError
from lorchestra.workflow import stack_schema

Json = Any


def run(*args: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_export(parser.add_subparsers())
    namespace = parser.parse_args(["export", *(str(arg) for arg in args)])
    return namespace.run(namespace)


def written(path: Path, value: Json) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return written(tmp_path / "My Workflow.json", text_to_image())


@pytest.fixture
def info(tmp_path: Path) -> Path:
    return written(tmp_path / "object_info.json", OBJECT_INFO)


@pytest.fixture
def address() -> Iterator[str]:
    """A server that answers as ComfyUI does, over a real connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(OBJECT_INFO if self.path == "/object_info" else {}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("form", [*FORMS, *SHARED])
def test_every_form_of_a_saved_workflow(form: str, saved: Path, info: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--to", form, "--object-info", info) == 0
    out, err = capsys.readouterr()
    assert ("my_workflow" in out) == (form not in ("request", "runware"))
    assert "a lighthouse" in out
    assert err == ""


def test_object_info_from_an_address(saved: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for source in (address, f"{address}/object_info"):
        assert run(saved, "--to", "schema", "--object-info", source, "--files") == 0
        schema = json.loads(capsys.readouterr().out)
        assert schema["properties"]["checkpoint"]["enum"] == ["a.safetensors", "b.safetensors"]
    with pytest.raises(LorchestraError, match="does not answer"):
        run(saved, "--to", "schema", "--object-info", "http://127.0.0.1:9")


def test_a_prompt_needs_no_object_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "p.json", {"prompt": demo_prompt('{"version": 1, "loras": []}')})
    assert run(path, "--to", "openapi", "--name", "lighthouse", "--url", "https://example.com/lorchestra") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["servers"] == [{"url": "https://example.com/lorchestra"}]
    assert "/workflows/lighthouse/jobs" in document["paths"]


def test_the_document_goes_into_a_file_and_notes_to_stderr(
    tmp_path: Path, info: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {"linearData": {"inputs": [["99", "gone"], ["6", "text"]]}}
    path = written(tmp_path / "w.json", text_to_image(extra=extra))
    out = tmp_path / "w.schema.json"
    assert run(path, "--to", "schema", "--object-info", info, "-o", out) == 0
    assert list(json.loads(out.read_text())["properties"]) == ["prompt", "seed"]
    assert capsys.readouterr().err == (
        "note: App mode's input 1 (99, gone) is not there, or has no effect; it is left out\n"
    )


def test_stacks_are_exported_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--to", "schema") == 0
    assert json.loads(capsys.readouterr().out) == stack_schema()
    stack = written(
        tmp_path / "stack.json", {"version": 1, "loras": [{"lora": "a", "air": "civitai:1@2", "model": 0.5}]}
    )
    assert run(stack, "--to", "schema") == 0
    assert json.loads(capsys.readouterr().out) == stack_schema()
    assert run(stack, "--to", "runware") == 0
    assert json.loads(capsys.readouterr().out) == [{"model": "civitai:1@2", "weight": 0.5}]


def test_a_prompt_becomes_a_whole_task_of_runwares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"loras.0.lora_name": "a.safetensors", "loras.0.strength": 0.5}
    graph = demo_prompt('{"version": 1, "loras": []}')
    graph["2"] = {"class_type": "LoadLoraModel", "inputs": {"model": ["1", 0], **rows}}
    assert run(written(tmp_path / "p.json", graph), "--to", "runware") == 0
    (task,) = json.loads(capsys.readouterr().out)
    assert task["lora"] == [{"model": "a.safetensors", "weight": 0.5}]


@pytest.mark.parametrize(
    ("value", "form", "error", "message"),
    [
        (text_to_image(), "openapi", WorkflowError, "its widgets have no names"),
        ({"version": 1, "loras": []}, "openapi", WorkflowError, "this is not a workflow in the form of ComfyUI's API"),
        ([], "curl", WorkflowError, "which is no workflow"),
        ({"1": {"class_type": "A", "inputs": {}}}, "schema", WorkflowError, "nothing in the workflow saves"),
        (5, "schema", StackError, "neither JSON nor"),
    ],
)
def test_what_is_no_workflow(value: Json, form: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        run(written(tmp_path / "w.json", value), "--to", form)


def test_what_is_no_object_info(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="is not what ComfyUI answers at /object_info"):
        run(saved, "--to", "schema", "--object-info", saved)
    with pytest.raises(FileProblem):
        run(saved, "--to", "schema", "--object-info", tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(JsonError):
        run(saved, "--to", "schema", "--object-info", tmp_path / "bad.json")


def test_no_file_and_a_bad_name(saved: Path, info: Path) -> None:
    with pytest.raises(LorchestraError, match="export --to openapi needs the file of a workflow"):
        run("--to", "openapi")
    with pytest.raises(WorkflowError, match="cannot be the name"):
        run(saved, "--to", "openapi", "--object-info", info, "--name", "../x")
