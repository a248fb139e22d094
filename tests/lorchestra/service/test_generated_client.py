"""A client that a public generator makes of the OpenAPI document calls the service, and gets what it asked for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.sdk import GENERATOR, python_with
from support.service import Caller, Door

from lorchestra.demo.prompt import demo_prompt

CALL = """
import json, sys
from client import Client
from client.api.jobs import get_job
from client.api.workflows import list_workflows, run_demo
from client.models import DemoInputs

with Client(base_url=sys.argv[1]) as client:
    (listed,) = list_workflows.sync(client=client).workflows
    inputs = DemoInputs.from_dict(json.loads(sys.argv[2]))
    job = run_demo.sync(client=client, body=inputs, idempotency_key="once")
    again = run_demo.sync(client=client, body=inputs, idempotency_key="once")
    wrong = run_demo.sync(client=client, body=DemoInputs(steps=10**9))
    seen = get_job.sync(job.id, client=client)
    print(json.dumps([listed.name, job.to_dict(), seen.to_dict(), again.to_dict(), wrong.to_dict()]))
"""


@pytest.mark.slow
def test_a_generated_client(tmp_path: Path) -> None:
    python = python_with(GENERATOR)
    with Door(tmp_path / "server") as door:
        published = door.call(_ask(door, "PUT", "/workflows/demo", {"workflow": demo_prompt([])}))
        assert published[0] == 201
        _, document = door.call(_ask(door, "GET", "/workflows/demo/openapi.json"))
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        made = subprocess.run(
            [python, "-m", GENERATOR, "generate", "--path", "openapi.json", "--output-path", "client",
             "--meta", "none"],
            cwd=tmp_path, check=True, timeout=120, capture_output=True, text=True,
        )  # fmt: skip
        assert "will be skipped" not in made.stdout and "Unable to" not in made.stdout, made.stdout
        inputs = {"prompt": "a barn", "steps": 3, "loras": [{"model": "a", "weight": 0.5}, {"model": "b"}]}
        command = [python, "-c", CALL, f"{door.url}/lorchestra", json.dumps(inputs)]
        done = subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        name, job, seen, again, wrong = json.loads(done.stdout)
        assert (name, job["status"], seen["id"], seen["status"]) == ("demo", "queued", job["id"], "queued")
        assert again["error"]["code"] == "idempotency_key_reuse"
        assert wrong["error"]["details"]["path"] == "steps"
        (graph,) = door.backend.graphs.values()
        assert json.dumps("a barn") in json.dumps(graph)
        stack = next(node for node in graph.values() if node["class_type"] == "LorchestraLoraStack")
        rows = json.loads(stack["inputs"]["loras"])["loras"]
        assert [(row["lora"], row["model"]) for row in rows] == [("a.safetensors", 0.5), ("b.safetensors", 1)]


async def _ask(door: Door, method: str, path: str, body: Any = b"") -> tuple[int, Any]:
    return await Caller(door.service, host=door.url.removeprefix("http://")).ask(method, path, body)
