"""The OpenAPI document of a ComfyUI that runs: it is so for makers of clients, and for anything that is sent."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.fleet import Fleet
from support.live_service import ARGUMENTS, EMPTY, ROWS, Service, comfyui, fill, pixels
from support.sdk import GENERATOR, ROOT, SCHEMATHESIS, python_with

from lorchestra.demo.comfyui import Server, pack_root
from lorchestra.demo.prompt import demo_prompt

CASES = 2000
SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()
HOOK = "http://127.0.0.1:9/none"
OWNER = json.dumps({"webhooks": [HOOK], "webhook_secret": SECRET, "most_in_batch": 3})
SETTINGS = f"""
[parameters]
"query.webhook_url" = "{HOOK}"

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

# A part of a file that there is not; the document says so.
[[operations]]
include-name = "GET /api/v2/assets/{{id}}/content"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "416"]

# A form has bytes alone: null in it is a file with the text null.
[[operations]]
include-name = "POST /api/v2/assets"
checks.negative_data_rejection.expected-statuses = ["200", "201", "400", "401", "403", "409", "413", "422"]

# Every task is answered for itself: see schemathesis_checks.py, which checks that none is done that fails validation.
[[operations]]
include-name = "POST /v1"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "429"]
checks.negative_data_rejection.expected-statuses = ["200", "400", "401", "403", "413"]
"""


def bounded(service: Service, name: str, graph: Any, **most: int) -> None:
    """Publishes a graph whose inputs have these bounds, so that no request that is drawn takes long."""
    published = service.ask("PUT", f"/workflows/{name}", {"workflow": graph}).json
    for item in published["inputs"]:
        if item["name"] in most:
            item["schema"]["maximum"] = most[item["name"]]
    own = {key: value for key, value in published.items() if key not in ("urls", "versions")}
    answer = service.ask("PUT", f"/workflows/{name}", {"publication": own})
    assert answer.status == 201, answer.content


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI from which may be told where a job's end is posted."""
    base = tmp_path_factory.mktemp("document")
    fill(base)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    (base / "input").mkdir()
    (base / "input/example.png").write_bytes(picture.getvalue())
    own = base / "user/__lorchestra"
    own.mkdir(parents=True)
    (own / "service.json").write_text(OWNER)
    with Server(comfyui(), base, pack=pack_root(), arguments=ARGUMENTS) as found:
        yield found


@pytest.fixture(scope="module", params=["comfyui", "door"])
def service(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with three workflows: one takes no time, one has LoRAs, one takes a picture.

    It is that of a ComfyUI, and that of the door in front of one with a worker.
    """
    copy = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sent"}},
    }
    with contextlib.ExitStack() as opened:
        found = Service(server)
        if request.param == "door":
            folder = tmp_path_factory.mktemp("door")
            (folder / "service.json").write_text(OWNER)
            fleet = opened.enter_context(Fleet(folder))
            fleet.start_door()
            fleet.start_worker(server.url)
            found = fleet.service
        bounded(found, "empty", EMPTY, width=64, height=64, batch_size=2)
        bounded(found, "copy", copy)
        graph = demo_prompt([], steps=2, width=64, height=64)
        bounded(found, "portrait", graph, width=64, height=64, batch_size=1, steps=2)
        yield found


@pytest.mark.slow
def test_schemathesis_finds_nothing(service: Service, tmp_path: Path) -> None:
    """No 5xx, nothing that validates is refused but for reasons that the document names, nothing that does not runs."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        python_with(SCHEMATHESIS), "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run",
        f"{service.url}/openapi.json", "--checks", "all", "--continue-on-failure", "--no-color", "--max-examples", "60",
        "--request-timeout", "120", "--max-response-time", "120", "--generation-database", "none",
    ]  # fmt: skip
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_checks", "NO_PROXY": "*"}
    env["PYTHONPATH"] = str(ROOT / "tests/support")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    found = re.search(r"([0-9]+) generated", done.stdout)
    assert found is not None and int(found[1]) >= CASES, done.stdout[-2000:]
    assert service.ask("GET", "/api/v2/health").status == 200
    print(f"schemathesis: {found[1]} cases")


CALL = """
import base64, json, sys
from client import Client
from client.api.workflows import run_picture
from client.models import PictureInputs, RunPictureOutputs

with Client(base_url=sys.argv[1], timeout=400) as client:
    inputs = PictureInputs.from_dict(json.loads(sys.argv[2]))
    job = run_picture.sync(client=client, body=inputs, wait=300, outputs=RunPictureOutputs.BASE64)
    print(job.outputs[0].data_base64)
"""


@pytest.mark.slow
def test_a_generated_client_gets_the_picture_of_the_same_run_by_hand(
    service: Service, server: Server, tmp_path: Path
) -> None:
    python = python_with(GENERATOR)
    bounded(service, "picture", demo_prompt([], steps=2, width=64, height=64))  # others may be gone by now
    document = service.ask("GET", "/workflows/picture/openapi.json").content
    (tmp_path / "openapi.json").write_bytes(document)
    make = [python, "-m", GENERATOR, "generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none"]
    made = subprocess.run(make, cwd=tmp_path, check=True, timeout=120, capture_output=True, text=True)
    assert "will be skipped" not in made.stdout and "Unable to" not in made.stdout, made.stdout
    inputs = {"prompt": "a red barn", "loras": ROWS, "seed": 3, "steps": 2, "cfg": 5.0}
    command = [python, "-c", CALL, service.url, json.dumps(inputs)]
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | {"NO_PROXY": "*"}
    done = subprocess.run(command, cwd=tmp_path, env=env, timeout=500, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [{"lora": "warm.safetensors", "model": 0.8}, {"lora": "styles/lines.safetensors", "model": -0.4}]
    graph = demo_prompt(rows, positive="a red barn", seed=3, steps=2, cfg=5.0, width=64, height=64, prefix="by-hand")
    (image,) = server.run(graph)["8"]["images"]
    assert pixels(base64.b64decode(done.stdout)) == pixels(server.view(image))
