"""The official TypeScript SDK, unchanged, against the service: it submits, polls to the end and downloads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sdk import run_with_typescript_sdk
from support.service import Door, working

from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.backend import Failure, Made

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 30


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A service that works: a text of the prompt says how a job ends."""
    with Door(tmp_path / "server") as found:
        output = found.backend.folder / "output"
        output.mkdir(parents=True)

        def end(job: str) -> None:
            time.sleep(0.2)  # it is seen running
            if "fails" in json.dumps(found.backend.graphs[job]):
                found.backend.finish(failure=Failure("the node has failed", "8"))
            else:
                (output / "a.png").write_bytes(PNG)
                found.backend.finish(Made("8", "image", "a.png"))

        with working(found, end):
            yield found


def run(door: Door, folder: Path, prompt: str) -> dict[str, str]:
    """What the script says."""
    graph = demo_prompt([])
    next(node for node in graph.values() if "text" in node["inputs"])["inputs"]["text"] = prompt
    return run_with_typescript_sdk(f"{door.url}/lorchestra", graph, folder / "out.png")


def test_a_job_is_submitted_polled_and_downloaded(door: Door, tmp_path: Path) -> None:
    said = run(door, tmp_path, "a barn")
    assert said == {"id": next(iter(door.backend.graphs)), "status": "succeeded"}
    assert (tmp_path / "out.png").read_bytes() == PNG


def test_a_job_that_fails_is_told_in_its_words(door: Door, tmp_path: Path) -> None:
    said = run(door, tmp_path, "this fails")
    assert said["error"] == "JobFailed" and "the node has failed" in json.dumps(said), said
