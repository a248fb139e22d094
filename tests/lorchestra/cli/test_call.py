"""`lorchestra publish` and `call`, against a service behind a plain HTTP server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.service import Door, working

from lorchestra.cli import main
from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.backend import Failure, Made

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 30


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with Door(tmp_path / "server") as found:
        yield found


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(demo_prompt([])))
    return file


@pytest.fixture
def works(door: Door) -> Iterator[dict[str, Any]]:
    """Runs what is queued; what it has is how it ends."""
    plan: dict[str, Any] = {"files": ["a.png"], "failure": None}
    output = door.backend.folder / "output"
    output.mkdir(parents=True)

    def end(job: str) -> None:
        for name in plan["files"]:
            (output / name).write_bytes(PNG + name.encode())
        door.backend.finish(*(Made("8", "image", name) for name in plan["files"]), failure=plan["failure"])

    with working(door, end):
        yield plan


def run(door: Door, *arguments: str) -> int:
    return main([*arguments, "--url", door.url])


def test_a_workflow_is_published_and_called(
    door: Door, workflow: Path, works: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(door, "publish", str(workflow), "--name", "portrait", "--description", "A portrait.") == 0
    said = capsys.readouterr().out
    assert said.startswith("portrait@1  http://127.0.0.1:") and "  loras: loras" in said and "  seed: integer" in said
    out = tmp_path / "out.png"
    arguments = ["prompt=a = b", "seed=5", "cfg=3.5", "--lora", "warm=0.7", "--lora", "a=b", "--lora", "x=y=-1"]
    assert run(door, "call", "portrait", *arguments, "-o", str(out)) == 0
    assert out.read_bytes() == PNG + b"a.png"
    graph = next(iter(door.backend.graphs.values()))
    assert (graph["3"]["inputs"]["text"], graph["6"]["inputs"]["seed"]) == ("a = b", 5)
    rows = json.loads(graph["2"]["inputs"]["loras"]) if isinstance(graph["2"]["inputs"]["loras"], str) else None
    rows = rows or graph["2"]["inputs"]["loras"]
    assert [(row["lora"], row["model"]) for row in rows["loras"]] == [
        ("warm.safetensors", 0.7), ("a=b.safetensors", 1), ("x=y.safetensors", -1),
    ]  # fmt: skip


def test_several_outputs_are_numbered_and_nothing_is_overwritten(
    door: Door, workflow: Path, works: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    works["files"] = ["a.png", "b.png"]
    run(door, "publish", str(workflow), "--name", "portrait")
    out = tmp_path / "out.jpg"
    assert run(door, "call", "portrait", "-o", str(out)) == 0
    assert (tmp_path / "out-2.png").read_bytes() == PNG + b"b.png"
    assert "a.png is saved as out.jpg" in capsys.readouterr().err
    assert run(door, "call", "portrait", "-o", str(out)) == 2
    assert "--force" in capsys.readouterr().err
    assert len(door.backend.graphs) == 1
    assert run(door, "call", "portrait", "-o", str(out), "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "succeeded"


def test_a_run_that_fails_is_told(
    door: Door, workflow: Path, works: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    works["failure"] = Failure("out of\x1b[2J memory")
    run(door, "publish", str(workflow), "--name", "portrait")
    assert run(door, "call", "portrait") == 1
    assert "the job is failed. out of?[2J memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["portrait", "prompt"], "write name=value"),
        (["portrait", "promt=a"], "has no input 'promt'"),
        (["portrait", "steps=many"], "'many' is not a whole number"),
        (["portrait", "steps=0"], "steps: "),
        (["portrait", "--lora", "gone"], "loras[0].model: gone is not there"),
        (["nobody"], "no published workflow"),
        (["../nobody"], "cannot be the name of a workflow"),
        (["portrait", "prompt=@/no/such/file"], "there is no such file"),
    ],
)
def test_a_call_that_is_refused_says_why(
    door: Door, workflow: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    run(door, "publish", str(workflow), "--name", "portrait")
    assert run(door, "call", *arguments) == 2
    assert said in capsys.readouterr().err
    assert door.backend.waiting == []


def test_who_is_not_there_is_told(tmp_path: Path, workflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    assert main(["call", "portrait", "--url", "http://127.0.0.1:9"]) == 2
    assert "Is ComfyUI running" in capsys.readouterr().err
    assert main(["publish", str(workflow), "--name", "x", "--url", "ftp://a"]) == 2
    assert "is not an address" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "gone.json"), "--name", "x"]) == 2
    assert time.monotonic() - begin < 10


def test_the_token_is_sent_to_the_service_alone(
    tmp_path: Path, workflow: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "a-token-of-sixteen-and-more"
    with Door(tmp_path / "server", {"LORCHESTRA_TOKEN": token}) as door:
        monkeypatch.delenv("LORCHESTRA_TOKEN", raising=False)
        assert run(door, "publish", str(workflow), "--name", "portrait") == 2
        assert "needs the token" in capsys.readouterr().err
        monkeypatch.setenv("LORCHESTRA_TOKEN", token)
        assert run(door, "publish", str(workflow), "--name", "portrait") == 0
