"""Published workflows and their jobs on a ComfyUI that runs: called by hand, and by the official Python SDK."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.live_service import ARGUMENTS, EMPTY, ROWS, Service, comfyui, fill, pixels
from support.sdk import ROOT, run_with_sdk, sdk_python

from lorchestra.demo.comfyui import Server, pack_root
from lorchestra.demo.prompt import CHECKPOINT, demo_prompt
from lorchestra.service.service import MAX_STREAMS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ComfyUI's base folder: a small model, LoRAs for it and for another one."""
    folder = tmp_path_factory.mktemp("service")
    fill(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def service(base: Path) -> Iterator[Service]:
    """The service of the one ComfyUI, with what the tests call published in it."""
    with Server(comfyui(), base, pack=pack_root(), arguments=ARGUMENTS) as server:
        found = Service(server)
        graph = demo_prompt([], steps=2, width=64, height=64)
        graph["5"]["inputs"]["batch_size"] = 1
        for name, workflow in (("portrait", graph), ("empty", EMPTY)):
            made = found.ask("PUT", f"/workflows/{name}", {"workflow": workflow})
            assert made.status == 201, made.content
        yield found


SDK = """
import sys, json
from comfy_sdk import Comfy
from comfy_sdk.events import OutputReady, Progress, StatusChange
graph, other, published = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
with Comfy() as client:
    job = client.jobs.get(published)  # a job of a published workflow
    later = client.submit(client.workflows.from_json(other))
    canceled = later.cancel().wait(300).status
    kinds = [(type(event).__name__, getattr(event, "status", "")) for event in job.events()]
    result = job.result()
    content = result.outputs[0].to_bytes()
    part = result.outputs[0].to_bytes(range=(1, 3))
    link = result.outputs[0].get_download_url().url
    asset = client.assets.from_bytes(content, filename="again.png")
    graph["1"]["inputs"]["image"] = asset
    second = client.run(client.workflows.from_json(graph), timeout=300)
    again = client.assets.from_bytes(content, filename="again.png")
    again.commit()
    listed = [one.id for one in client.list_jobs(limit=2)]
    workflow = second.get_workflow()
    print(json.dumps({
        "canceled": canceled, "kinds": kinds, "status": result.status, "size": len(content),
        "declared": result.outputs[0].size_bytes, "part": part.decode("latin-1"), "link": link,
        "second": [second.status, [output.type for output in second.outputs]], "is_new": again.created_new,
        "listed": listed, "expected": [second.id, later.id, job.id], "format": workflow.format,
    }))
"""


def test_the_official_sdk_runs_watches_cancels_and_downloads(service: Service) -> None:
    inputs = {"prompt": "a lighthouse", "loras": ROWS, "seed": 11}
    job = service.ask("POST", "/workflows/portrait/jobs", inputs).json
    load = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "is put here"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "loaded"}},
    }
    found = json.loads(run_with_sdk(SDK, service.url, json.dumps(load), json.dumps(EMPTY), job["id"]))
    assert found["canceled"] == "canceled"
    kinds = [kind for kind, _ in found["kinds"]]
    assert "Progress" in kinds and kinds.index("OutputReady") < len(kinds) - 1
    assert found["kinds"][-1] == ["StatusChange", "succeeded"]
    assert (found["status"], found["size"], found["part"]) == ("succeeded", found["declared"], "PNG")
    assert found["link"].startswith(f"{service.url}/api/v2/assets/")
    assert found["second"] == ["succeeded", ["image"]]
    assert found["is_new"] is False
    assert found["format"] == "api"
    assert found["listed"] == found["expected"]


def test_a_call_gives_the_picture_of_the_same_run_by_hand(service: Service) -> None:
    inputs = {"prompt": "a red barn", "loras": ROWS, "seed": 3, "steps": 2, "cfg": 5.0}
    answer = service.ask("POST", "/workflows/portrait/jobs?wait=300&outputs=base64", inputs)
    assert answer.status == 200, answer.content
    (output,) = answer.json["outputs"]
    rows = [{"lora": "warm.safetensors", "model": 0.8}, {"lora": "styles/lines.safetensors", "model": -0.4}]
    graph = demo_prompt(rows, positive="a red barn", seed=3, steps=2, cfg=5.0, width=64, height=64, prefix="by-hand")
    (image,) = service.server.run(graph)["8"]["images"]
    assert pixels(base64.b64decode(output["data_base64"])) == pixels(service.server.view(image))
    without = service.ask("POST", "/workflows/portrait/jobs?wait=300&outputs=data_uri", {**inputs, "loras": []}).json
    head, _, text = without["outputs"][0]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert pixels(base64.b64decode(text)) != pixels(service.server.view(image))


def test_a_batch_shows_what_lora_variants_and_contact_sheet_show(service: Service) -> None:
    """Its cells are the pictures of its jobs, and it looks as the sheet of the nodes; both within a rounding."""
    rows = [{"model": "warm", "weight": 0.8}, {"model": "styles/lines.safetensors", "weight": 0.5}]
    body = {"inputs": {"seed": 5, "steps": 1}, "each": {"loras": {"rows": rows, "weights": [0.5, 1]}}}
    batch = service.ask("POST", "/workflows/portrait/batches", body).json
    while batch["completed_at"] is None:
        time.sleep(0.1)
        batch = service.ask("GET", batch["urls"]["self"]).json
    assert (batch["status"], batch["progress"]["jobs_ended"]) == ("succeeded", 5), batch
    graph = demo_prompt([], seed=5, steps=1, width=64, height=64)
    loras = [{"lora": row["model"], "model": row["weight"]} for row in rows]
    graph["2"] = {
        "class_type": "LorchestraLoraVariants",
        "inputs": {
            "model": ["1", 0], "clip": ["1", 1], "lora_stack": ["9", 2], "variants": "each alone", "weights": "0.5 1",
            "mode": "merge",
        },
    }  # fmt: skip
    stack = {"model": ["1", 0], "clip": ["1", 1], "loras": json.dumps({"version": 1, "loras": loras})}
    graph["9"] = {"class_type": "LorchestraLoraStack", "inputs": stack}
    graph["8"] = {
        "class_type": "LorchestraContactSheet", "inputs": {"images": ["7", 0], "labels": ["2", 2], "axes": ["2", 3]}
    }  # fmt: skip
    (image,) = service.server.run(graph)["8"]["images"]
    sheet = Image.open(io.BytesIO(service.ask("GET", batch["urls"]["sheet"]).content))
    nodes = Image.open(io.BytesIO(service.server.view(image))).convert("RGB")
    assert sheet.size == nodes.size
    left = next(x for x in range(sheet.width) if sheet.getpixel((x, 10)) != sheet.getpixel((0, 0)))
    places = [(left, 10), *((left + 120 * column, 144 + 114 * row) for row in (0, 1) for column in (0, 1))]
    for (x, y), job in zip(places, batch["jobs"], strict=True):
        cell = sheet.crop((x, y, x + 64, y + 64))
        assert cell.tobytes() == pixels(service.ask("GET", job["outputs"][0]["url"]).content)
        of_nodes = nodes.crop((x, y, x + 64, y + 64)).tobytes()
        assert max(abs(one - other) for one, other in zip(cell.tobytes(), of_nodes, strict=True)) <= 1


def test_waiting_is_asked_for_and_ends(service: Service) -> None:
    answer = service.ask("POST", "/workflows/empty/jobs", {})
    assert (answer.status, answer.json["status"]) == (202, "queued")
    assert answer.headers["Location"] == answer.json["urls"]["self"]
    assert service.ask("POST", "/workflows/empty/jobs", {}, Prefer="wait=30").status == 200
    answer = service.ask("POST", "/workflows/empty@1/jobs?wait=30", {}, Prefer="respond-async")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "respond-async")
    for query in ("wait=-1", "wait=x", "wait=3001", "wait=nan", "outputs=x", "other=1"):
        assert service.ask("POST", f"/workflows/empty/jobs?{query}", {}).status == 400, query


@pytest.mark.parametrize(
    ("inputs", "status", "path", "said"),
    [
        ({"loras": [ROWS[0], {"model": "flux"}]}, 422, "loras[1].model", "made for FLUX.1"),
        ({"loras": [{"model": "gone"}]}, 422, "loras[0].model", "gone"),
        ({"loras": [{"model": "civitai:1@2"}]}, 422, "loras[0].model", "civitai:1@2"),
        ({"loras": [{"model": "../secret"}]}, 422, "loras[0].model", "secret"),
        ({"loras": [{"model": "warm", "weight": 1000}]}, 400, "loras[0].weight", "1000"),
        ({"loras": [{"model": "warm", "wieght": 1}]}, 400, "loras[0].wieght", ""),
        ({"loras": [{"model": "warm"}] * 1001}, 400, "loras", ""),
        ({"loras": "warm"}, 400, "loras", ""),
        ({"steps": 0}, 400, "steps", "0"),
        ({"steps": "many"}, 400, "steps", "many"),
        ({"sampler": "none"}, 400, "sampler", "none"),
        ({"stepz": 3}, 400, "stepz", ""),
        ([], 400, None, ""),
        (None, 400, None, ""),
        (b'{"seed": NaN}', 400, "seed", ""),
        (b'{"loras": [{"model": "warm", "weight": NaN}]}', 400, "loras[0].weight", ""),
        (b'{"loras": [{"model": "warm", "weight": 1e999}]}', 400, "loras[0].weight", ""),
        ({"loras": [{"model": "civitai:abc@def"}]}, 422, "loras[0].model", "civitai:abc@def"),
        ({"loras": [{"model": "urn:air:sd1:lora:civitai:1@x"}]}, 422, "loras[0].model", ""),
        ({"loras": [{"model": ["warm"]}]}, 400, "loras[0].model", "warm"),
        ({"loras": [{"model": "warm", "schedule": "0:x"}]}, 422, "loras[0].schedule", ""),
        ({"checkpoint": "../broken.safetensors"}, 422, "checkpoint", "broken"),
        ({"checkpoint": "none.safetensors"}, 422, "checkpoint", "none"),
        ({"prompt": "x" * 400_001}, 400, "prompt", "400,001"),
        (b"[" * 10_000 + b"]" * 10_000, 400, None, "nested"),
        (b'{"prompt": "' + b"x" * 50_000_000 + b'"}', 413, "body", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_queued(
    service: Service, inputs: Any, status: int, path: str | None, said: str
) -> None:
    before = service.ask("GET", "/api/v2/jobs?limit=1").json["jobs"]
    body = b"null" if inputs is None else inputs
    answer = service.ask("POST", "/workflows/portrait/jobs", body)
    error = answer.json["error"]
    assert (answer.status, (error["details"] or {}).get("path")) == (status, path), error
    assert said in error["message"]
    assert service.ask("GET", "/api/v2/jobs?limit=1").json["jobs"] == before
    assert service.ask("GET", "/api/v2/health").status == 200


def test_a_batch_with_a_lora_that_does_not_fit_is_refused_whole(service: Service) -> None:
    before = service.ask("GET", "/api/v2/jobs?limit=1").json["jobs"]
    answer = service.ask("POST", "/workflows/portrait/batches", {"each": {"loras": {"folder": ""}}})
    error = answer.json["error"]
    assert (answer.status, error["code"], error["details"]["pointer"]) == (422, "invalid_lora", "/each/loras")
    assert "flux.safetensors: made for FLUX.1" in error["message"]
    wrong = {"each": {"seed": [1, 2], "checkpoint": [CHECKPOINT, "none.safetensors"]}}
    answer = service.ask("POST", "/workflows/portrait/batches", wrong)
    assert (answer.status, answer.json["error"]["details"]["path"]) == (422, "each.checkpoint[1]"), answer.content
    assert service.ask("GET", "/api/v2/jobs?limit=1").json["jobs"] == before


def test_what_has_a_higher_priority_comes_first(service: Service) -> None:
    graph = demo_prompt([], steps=5000, width=64, height=64)
    first = service.ask("POST", "/api/v2/jobs", {"workflow": graph}).json["id"]
    low, high = (
        service.ask("POST", f"/workflows/empty/jobs{query}", {}).json for query in ("?priority=0", "?priority=2")
    )
    editor = service.server.post("/prompt", {"prompt": {**EMPTY, "3": {**EMPTY["2"]}}})["prompt_id"]
    positions = [service.ask("GET", job["urls"]["self"]).json["queue_position"] for job in (low, high)]
    assert positions in ([2, 1], [3, 2])  # the first may not run yet
    service.ask("POST", f"/api/v2/jobs/{first}/cancel")
    assert [service.wait(job["id"])["status"] for job in (high, low)] == ["succeeded", "succeeded"]
    ran = list(service.server.get("/history"))  # in its order; the service may hear of both at once
    assert ran.index(high["id"]) < ran.index(low["id"]) and high["priority"] == 2
    end = time.monotonic() + 30
    while editor not in service.server.get(f"/history/{editor}"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_key_is_good_for_one_call(service: Service) -> None:
    first = service.ask("POST", "/workflows/empty/jobs", {}, Idempotency_Key="once")
    again = service.ask("POST", "/workflows/empty/jobs", {"width": 16}, Idempotency_Key="once")
    assert (first.status, again.status, again.json["error"]["code"]) == (202, 422, "idempotency_key_reuse")
    assert again.json["error"]["details"]["job_id"] == first.json["id"]
    assert service.ask("GET", "/api/v2/jobs?limit=1").json["jobs"][0]["id"] == first.json["id"]


@pytest.mark.parametrize("count", [MAX_STREAMS + 50, pytest.param(10_000, marks=pytest.mark.slow)])
def test_too_many_event_streams(service: Service, count: int) -> None:
    """As many as may be are open; all others are told to come back, and the server answers others meanwhile."""
    slow = demo_prompt([], steps=5000, width=64, height=64)
    job = service.ask("POST", "/api/v2/jobs", {"workflow": slow}).json
    path = job["urls"]["events"].removeprefix(service.server.url)
    host = service.server.url.removeprefix("http://")
    answers: Counter[int] = Counter()
    open_ones: list[http.client.HTTPConnection] = []
    refused = http.client.HTTPConnection(host, timeout=60)
    while answers.total() < count:
        connection = http.client.HTTPConnection(host, timeout=60) if answers[200] < MAX_STREAMS else refused
        connection.request("GET", path)
        answer = connection.getresponse()
        answers[answer.status] += 1
        if answer.status == 200:
            open_ones.append(connection)
        else:
            assert answer.headers["Retry-After"]
            answer.read()
    assert answers == {200: MAX_STREAMS, 429: count - MAX_STREAMS}
    assert service.ask("GET", "/workflows").status == 200
    for connection in open_ones:
        connection.close()
    assert service.ask("POST", f"/api/v2/jobs/{job['id']}/cancel").status == 200
    assert service.wait(job["id"])["status"] == "canceled"


def test_a_lora_is_found_by_its_air(service: Service) -> None:
    answer = service.ask("POST", "/workflows/portrait/jobs?wait=300", {"loras": [{"model": "civitai:120096@135931"}]})
    assert (answer.status, answer.json["status"]) == (200, "succeeded"), answer.content


def test_comfyuis_own_complaints_are_told(service: Service) -> None:
    for graph, said in (
        ({"1": {"class_type": "NoSuchNode", "inputs": {}}}, "NoSuchNode"),
        ({"1": EMPTY["1"]}, "no outputs"),
        ({"1": {"class_type": "NoSuchNode", "inputs": {}, "_meta": 5}}, "cannot read the graph"),
        ({**EMPTY, "2": {"class_type": "SaveImage", "inputs": {"images": ["7", 0]}}}, "node 2 (SaveImage)"),
        ({**EMPTY, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", "x"]}}}, ""),
        (
            {**EMPTY, "1": {"class_type": "EmptyImage", "inputs": {**EMPTY["1"]["inputs"], "width": 0}}},
            "smaller than min",
        ),
    ):
        answer = service.ask("POST", "/api/v2/jobs", {"workflow": graph})
        assert (answer.status, answer.json["error"]["code"]) == (422, "invalid_workflow")
        assert said in answer.json["error"]["message"]


def test_a_node_that_fails_is_told(service: Service) -> None:
    graph = demo_prompt(checkpoint="broken.safetensors", steps=1, width=64, height=64)
    answer = service.ask("POST", "/api/v2/jobs", {"workflow": graph})
    assert answer.status == 201, answer.content
    found = service.wait(answer.json["id"])
    assert found["status"] == "failed"
    assert found["error"]["code"] == "node_execution_error"
    assert (found["error"]["node_id"], found["error"]["class_type"]) == ("1", "CheckpointLoaderSimple")
    assert found["error"]["message"] and "Traceback" not in found["error"]["message"]


def test_pictures_are_sent_in_and_urls_are_not_fetched(service: Service) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sent"}},
    }
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "PNG")
    (service.server.base / "input/example.png").write_bytes(data.getvalue())
    assert service.ask("PUT", "/workflows/copy", {"workflow": graph}).status == 201
    text = base64.b64encode(data.getvalue()).decode()
    for sent in (text, f"data:image/png;base64,{text}"):
        answer = service.ask("POST", "/workflows/copy/jobs?wait=30&outputs=base64", {"image": sent})
        assert answer.status == 200, answer.content
        assert pixels(base64.b64decode(answer.json["outputs"][0]["data_base64"])) == pixels(data.getvalue())
    wrong = {service.server.url: 422, "file:///etc/passwd": 422, "not base64!": 422, "": 400}
    for sent, status in wrong.items():
        answer = service.ask("POST", "/workflows/copy/jobs", {"image": sent})
        assert (answer.status, answer.json["error"]["details"]["path"]) == (status, "image")


def task(**fields: Any) -> dict[str, Any]:
    return {
        "taskType": "imageInference", "taskUUID": str(uuid.uuid4()), "model": CHECKPOINT, "positivePrompt": "a barn",
        "width": 64, "height": 64, "steps": 1, "seed": 5, **fields,
    }  # fmt: skip


def test_a_runware_request_gives_pictures_and_every_task_is_answered(service: Service) -> None:
    rows = [{"model": "civitai:120096@135931", "weight": 0.7}, {"model": "lines", "weight": 0.5}]
    good = task(
        lora=rows, scheduler="DPM++ 2M Karras", CFGScale=7, numberResults=2, outputType="dataURI", outputFormat="JPG"
    )
    tasks = [
        {"taskType": "ping"},
        good,
        {**good},
        task(lora=[{"model": "flux", "weight": 1}]),
        task(lora=[{"model": "warm", "weight": 5}]),
        task(steps="many"),
        task(clipSkip=2),
        task(model="civitai:9@9"),
        task(scheduler="Nonsense"),
        task(taskUUID="x"),
        {"taskType": "imageUpscale", "taskUUID": str(uuid.uuid4())},
        "no task",
    ]
    answer = service.ask("POST", "/v1", tasks)
    assert answer.status == 200, answer.content
    body = answer.json
    assert body["data"][0] == {"taskType": "ping", "pong": True}
    first, second = body["data"][1:]
    assert [one["seed"] for one in (first, second)] == [5, 6]
    assert {one["taskUUID"] for one in (first, second)} == {good["taskUUID"]}
    assert first["imageDataURI"].startswith("data:image/jpeg;base64,")
    assert first["imageDataURI"] != second["imageDataURI"]
    errors = [(error["code"], error.get("parameter")) for error in body["errors"]]
    assert errors == [
        ("conflictTaskUUID", "taskUUID"),
        ("incompatibleLora", "lora[0].model"),
        ("invalidLora", "lora[0].weight"),
        ("invalidSteps", "steps"),
        ("unsupportedParameter", "clipSkip"),
        ("invalidModel", "model"),
        ("unsupportedScheduler", "scheduler"),
        ("invalidTaskUUID", "taskUUID"),
        ("unsupportedTaskType", "taskType"),
        ("invalidTask", None),
    ]
    again = service.ask("POST", "/v1", [good])
    assert (again.status, again.json["errors"][0]["code"]) == (400, "conflictTaskUUID")


GUIDE = """[
  {
    "lora": [
      { "model": "civitai:120096@135931", "weight": 0.7 },
      { "model": "civitai:245889@277389", "weight": 0.5 }
    ]
  }
]"""
"""Of Runware's guide to LoRAs; `// other parameters...` stands before `lora` there."""


def test_the_request_of_the_guide_gives_its_picture(service: Service) -> None:
    (guide,) = json.loads(GUIDE)
    answer = service.ask("POST", "/v1", [task(**guide, outputType="base64Data", CFGScale=7)])
    assert answer.status == 200 and "errors" not in answer.json, answer.content
    (picture,) = answer.json["data"]
    rows = [{"lora": "warm.safetensors", "model": 0.7}, {"lora": "styles/lines.safetensors", "model": 0.5}]
    graph = demo_prompt(rows, positive="a barn", seed=5, steps=1, width=64, height=64, prefix="guide")
    (image,) = service.server.run(graph)["8"]["images"]
    assert pixels(base64.b64decode(picture["imageBase64Data"])) == pixels(service.server.view(image))


def test_a_runware_task_is_asked_for_later(service: Service) -> None:
    later = task(deliveryMethod="async", outputType="URL")
    answer = service.ask("POST", "/v1", [later])
    assert answer.json["data"] == [{"taskType": "imageInference", "taskUUID": later["taskUUID"]}], answer.content
    ask = [{"taskType": "getResponse", "taskUUID": later["taskUUID"]}]
    for _ in range(600):
        (found,) = service.ask("POST", "/v1", ask).json["data"]
        if found["status"] == "success":
            break
        assert found["status"] == "processing"
        time.sleep(0.1)
    assert service.ask("GET", found["imageURL"]).content.startswith(b"\x89PNG")
    unknown = [{"taskType": "getResponse", "taskUUID": str(uuid.uuid4())}]
    assert service.ask("POST", "/v1", unknown).json["errors"][0]["code"] == "taskNotFound"


def test_the_snippets_of_the_documentation_run(service: Service, tmp_path: Path) -> None:
    """In their order, in one folder, in one shell; Python in one that has the SDK."""
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "example_workflows", tmp_path / "example_workflows")
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.S | re.M)
    assert Counter(kind for kind, _ in blocks) == {"sh": 11, "python": 2}
    lines = ["set -eu", f'lorchestra() {{ "{sys.executable}" -m lorchestra "$@"; }}']
    for number, (kind, block) in enumerate(blocks):
        if kind == "python":
            (tmp_path / f"{number}.py").write_text(block)
            lines.append(f'env -u PYTHONPATH "{sdk_python()}" {number}.py')
        else:
            lines.append(block.replace("http://127.0.0.1:8188", service.server.url))
    env = {**os.environ, "NO_PROXY": "*", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("lighthouse.png", "noon.png", "dawn.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (64, 64)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert "lorchestra_batch" in picture.info
    assert '"path":"loras[0].model"' in done.stdout  # the LoRA that is not there
    assert '"imageURL"' in done.stdout


def test_pages_of_other_sites_and_other_hosts_are_refused(service: Service) -> None:
    assert service.ask("GET", "/workflows", Origin="https://evil.example").status == 403
    assert service.ask("GET", "/workflows", Sec_Fetch_Site="cross-site").status == 403
    assert service.ask("GET", "/workflows", Host="evil.example").status == 403
    assert service.ask("GET", "/workflows", X_Forwarded_For="1.2.3.4").status == 403


def test_it_is_there_under_api_too(service: Service) -> None:
    url = f"{service.server.url}/api/lorchestra"
    answer = service.ask("POST", f"{url}/workflows/empty/jobs?wait=30", {})
    assert answer.status == 200
    assert service.ask("GET", answer.json["urls"]["self"]).json["id"] == answer.json["id"]
    assert answer.json["urls"]["self"].startswith(url)


def test_jobs_of_a_comfyui_that_was_killed_have_failed(tmp_path: Path) -> None:
    arguments: Any = {"pack": pack_root(), "arguments": ARGUMENTS}
    with Server(comfyui(), tmp_path, **arguments) as server:
        first = Service(server)
        slow = {
            **EMPTY,
            "1": {"class_type": "EmptyImage", "inputs": {**EMPTY["1"]["inputs"], "width": 8192, "height": 8192}},
        }
        jobs = [first.ask("POST", "/api/v2/jobs", {"workflow": slow}).json["id"] for _ in range(5)]
        process = server._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    again = Server(comfyui(), tmp_path, **arguments)
    again.url = server.url
    with again:
        found = [Service(again).ask("GET", f"/api/v2/jobs/{job}").json for job in jobs]
        assert {job["status"] for job in found} <= {"succeeded", "failed"}
        assert found[-1]["status"] == "failed"
        assert found[-1]["error"]["code"] == "server_restarted"


@pytest.mark.slow
def test_five_hundred_requests_fifty_at_a_time(service: Service) -> None:
    """None is lost, none is doubled, every one is answered; the server answers others meanwhile."""

    def call(number: int) -> Any:
        inputs = {"width": 16 + number % 8} if number % 2 else {}
        answer = service.ask("POST", "/workflows/empty/jobs?wait=120", inputs, Idempotency_Key=f"load-{number}")
        assert answer.status in (200, 202), answer.content
        job = answer.json
        return job if job["status"] == "succeeded" else service.wait(job["id"], 300)

    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(call, number) for number in range(500)]
        beats: list[float] = []
        while not all(one.done() for one in calls):
            begin = time.perf_counter()
            assert service.ask("GET", "/api/v2/health").status == 200
            beats.append(time.perf_counter() - begin)
            time.sleep(0.05)
        jobs = [one.result() for one in calls]
    assert Counter(job["status"] for job in jobs) == {"succeeded": 500}
    assert len({job["id"] for job in jobs}) == 500
    assert all(len(job["outputs"]) == 1 for job in jobs)
    assert service.is_idle()
    assert service.ask("POST", "/workflows/empty/jobs", {}, Idempotency_Key="load-7").status == 422
    print(f"health: median {statistics.median(beats) * 1000:.0f} ms, longest {max(beats) * 1000:.0f} ms")
