"""One published workflow on two ComfyUIs: a door and workers as processes, with files alone and with Redis."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from support import both_doors
from support.fleet import Fleet, two_comfyuis
from support.kills import Redis, Siege
from support.live_service import EMPTY, ROWS, Service, pixels
from support.sdk import run_with_sdk, run_with_typescript_sdk

from lorchestra.demo.comfyui import Server
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import demo_prompt

LONG = demo_prompt([], steps=4000, width=64, height=64)
"""A graph that runs until it is interrupted."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two ComfyUIs with the same model; only the second has the LoRA `second`."""

    def prepare(folder: Path) -> None:
        if folder.name == "b":
            write_lora(folder / "models/loras/second.safetensors", layers("*attn1.to_*"), seed=3)

    with two_comfyuis(tmp_path_factory.mktemp("fleet"), prepare) as opened:
        yield opened


@pytest.fixture(scope="module")
def fleet(servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A door and two workers, without a broker of their own."""
    with Fleet(tmp_path_factory.mktemp("door")) as made:
        made.begin(servers)
        graph = demo_prompt([], steps=2, width=64, height=64)
        for name, workflow in (("portrait", graph), ("empty", EMPTY)):
            answer = made.ask("PUT", f"/workflows/{name}", {"workflow": workflow})
            assert answer.status == 201, answer.content
        yield made


def test_a_published_workflow_makes_the_picture_that_one_comfyui_makes(fleet: Fleet, servers: list[Server]) -> None:
    inputs = {"loras": ROWS, "seed": 7}
    answer = fleet.ask("POST", "/workflows/portrait/jobs?wait=120", inputs)
    assert (answer.status, answer.json["status"]) == (200, "succeeded"), answer.content
    picture = fleet.ask("GET", answer.json["outputs"][0]["url"])
    assert picture.headers["Content-Type"] == "image/png"
    prompt = demo_prompt(
        [{"lora": row["model"], "model": row["weight"], "clip": row["weight"]} for row in ROWS], steps=2, width=64,
        height=64, seed=7,
    )  # fmt: skip
    (alone,) = servers[0].run(prompt)["8"]["images"]
    assert pixels(picture.content) == pixels(servers[0].view(alone))


def test_the_official_sdk_watches_and_cancels(fleet: Fleet) -> None:
    code = (
        "import sys, json\nfrom comfy_sdk import Comfy\n"
        "with Comfy() as client:\n"
        "    job = client.submit(client.workflows.from_json(json.loads(sys.argv[1])))\n"
        "    kinds = [type(event).__name__ for event in job.events()]\n"
        "    result = job.result()\n"
        "    print(json.dumps([result.status, kinds, len(result.outputs[0].to_bytes())]))\n"
    )
    import json

    graph = demo_prompt([], steps=20, width=64, height=64, seed=11)
    status, kinds, size = json.loads(run_with_sdk(code, fleet.service.url, json.dumps(graph)))
    assert status == "succeeded" and size > 100
    assert {"StatusChange", "Progress", "OutputReady"} <= set(kinds), kinds


@pytest.mark.slow
def test_the_official_typescript_sdk(fleet: Fleet, tmp_path: Path) -> None:
    said = run_with_typescript_sdk(fleet.service.url, demo_prompt([], steps=2, width=64, height=64), tmp_path / "a.png")
    assert said["status"] == "succeeded" and pixels((tmp_path / "a.png").read_bytes())


def test_running_and_waiting_jobs_are_canceled_and_priorities_hold(fleet: Fleet) -> None:
    running = [fleet.submit(LONG | {"9": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}}) for _ in "ab"]
    assert {fleet.worker_of(job) for job in running} == {one["id"] for one in fleet.status()["workers"]}
    low, high, gone = (
        fleet.submit(EMPTY, priority=priority, metadata={"name": str(priority)}) for priority in (0, 5, -1)
    )
    fleet.until(lambda: fleet.job(high)["queue_position"] == 1 and fleet.job(low)["queue_position"] == 2)
    assert fleet.ask("POST", f"/api/v2/jobs/{gone}/cancel").json["status"] == "canceled"
    assert fleet.ask("POST", f"/api/v2/jobs/{running[0]}/cancel").json["status"] == "canceling"
    assert fleet.service.wait(running[0])["status"] == "canceled"
    ended = [fleet.service.wait(job) for job in (high, low)]
    assert [job["status"] for job in ended] == ["succeeded", "succeeded"]
    assert ended[0]["completed_at"] <= ended[1]["completed_at"]
    assert fleet.job(running[1])["status"] == "running"
    assert fleet.ask("POST", f"/api/v2/jobs/{running[1]}/cancel").json["status"] == "canceling"
    assert fleet.service.wait(running[1])["status"] == "canceled"


def test_jobs_of_one_stack_run_one_after_another(fleet: Fleet, servers: list[Server]) -> None:
    running = [fleet.submit(LONG | {"9": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}}) for _ in "ab"]
    assert len({fleet.worker_of(job) for job in running}) == 2
    jobs: list[tuple[str, str]] = []
    for seed in range(3):  # they come in turn
        for lora in ("warm", "lines"):
            graph = demo_prompt([{"lora": lora, "model": 0.5}], steps=1, width=64, height=64, seed=40 + seed)
            jobs.append((lora, fleet.submit(graph)))
    for job in running:
        fleet.ask("POST", f"/api/v2/jobs/{job}/cancel")
    ended = {job: fleet.service.wait(job) for _, job in jobs}
    assert {one["status"] for one in ended.values()} == {"succeeded"}
    for server in servers:
        ran = [lora for lora, job in sorted(jobs, key=lambda one: ended[one[1]]["completed_at"])
               if server.get(f"/history/{job}")]  # fmt: skip
        assert ran == sorted(ran, key=ran.index), "a stack comes back after another one"
    workers = fleet.status()["workers"]
    assert sum(one["by_warm"]["stack"] for one in workers) >= 2
    assert {one["warm_loras"] for one in workers} <= {"warm 0.5", "lines 0.5"} and all(one["warm"] for one in workers)
    shown = fleet.run("status", "--url", fleet.service.url).stdout
    assert "v1-5-pruned-emaonly-fp16 + " in shown and max(map(len, shown.splitlines())) <= 100


def test_what_only_one_worker_has_goes_there_and_what_none_has_is_refused(fleet: Fleet, servers: list[Server]) -> None:
    for seed in (21, 22):
        job = fleet.submit(demo_prompt([{"lora": "second", "model": 0.5}], steps=1, width=64, height=64, seed=seed))
        assert fleet.service.wait(job)["status"] == "succeeded"
        assert servers[1].get(f"/history/{job}")
    refused = fleet.ask("POST", "/api/v2/jobs", {"workflow": demo_prompt([{"lora": "third.safetensors", "model": 1}])})
    assert (refused.status, refused.json["error"]["code"]) == (422, "invalid_workflow")
    assert refused.json["error"]["message"] == (
        "no worker has 'third.safetensors'. Put it on one of them, or correct the name."
    )
    refused = fleet.ask("POST", "/api/v2/jobs", {"workflow": {"1": {"class_type": "Nowhere", "inputs": {}}}})
    assert "no worker has the node 'Nowhere'" in refused.json["error"]["message"]


@pytest.mark.parametrize("with_long", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_both_doors_answer_alike(fleet: Fleet, servers: list[Server], with_long: bool) -> None:
    fleet.until(lambda: all(one["is_read"] for one in fleet.status()["workers"]))
    one, many = both_doors.Door(Service(servers[0])), both_doors.Door(fleet.service)
    for asked in both_doors.requests():
        if with_long or not asked.is_long:
            found = [both_doors.told(door, door.ask(asked), asked.ignores) for door in (one, many)]
            assert found[0] == found[1], asked


def test_a_job_that_comfyui_refuses_fails_with_its_sentence(fleet: Fleet) -> None:
    job = fleet.submit(demo_prompt([{"lora": "flux", "model": 1.0}], steps=1))
    error = fleet.service.wait(job)["error"]
    assert "row 1: flux: made for FLUX.1" in error["message"]


def test_a_batch_is_shared_by_the_workers_and_survives_the_door(fleet: Fleet, servers: list[Server]) -> None:
    """One LoRA is on the second ComfyUI alone, and one does not fit, which is found where it runs."""
    rows = [{"model": "warm"}, {"model": "second"}, {"model": "flux"}]
    body = {"inputs": {"steps": 1}, "each": {"loras": {"rows": rows, "weights": [0.5]}}}
    batch = fleet.ask("POST", "/workflows/portrait/batches", body)
    assert batch.status == 202, batch.content
    fleet.kill("door")
    fleet.start_door(port=int(fleet.service.url.rpartition(":")[2].partition("/")[0]))
    own = batch.json["urls"]["self"]
    fleet.until(lambda: fleet.ask("GET", own).json["completed_at"] is not None, 60)
    found = fleet.ask("GET", own).json
    assert (found["status"], found["counts"]) == ("failed", {"succeeded": 3, "failed": 1})
    assert [job["status"] for job in found["jobs"]] == ["succeeded"] * 3 + ["failed"]
    assert servers[1].get(f"/history/{found['jobs'][2]['id']}")
    sheet = fleet.ask("GET", found["urls"]["sheet"])
    assert sheet.headers["Content-Type"] == "image/png"
    picture = pixels(fleet.ask("GET", found["jobs"][1]["outputs"][0]["url"]).content)
    with Image.open(io.BytesIO(sheet.content)) as shown:
        left = next(x for x in range(shown.width) if shown.getpixel((x, 10)) != shown.getpixel((0, 0)))
        assert shown.crop((left, 144, left + 64, 208)).tobytes() == picture
    folder = {"each": {"loras": {"folder": "styles", "weights": [0, 1]}, "seed": [1, 2]}}
    labels = fleet.ask("POST", "/workflows/portrait/batches", folder).json
    assert labels["each"][0]["labels"] == ["without", "lines 0", "lines 1"]
    canceled = fleet.ask("POST", labels["urls"]["cancel"])
    assert canceled.json["status"] == "canceling"
    fleet.until(lambda: fleet.ask("GET", labels["urls"]["self"]).json["completed_at"] is not None, 60)


def test_the_job_of_a_killed_worker_is_finished_where_it_was_begun_and_the_door_finds_its_jobs(
    fleet: Fleet, servers: list[Server]
) -> None:
    job = fleet.submit(demo_prompt([], steps=30, width=64, height=64, seed=31, prefix="begun"))
    lost = fleet.worker_of(job)
    at, other = sorted(servers, key=lambda one: not lost.endswith(one.url.rpartition(":")[2]))
    fleet.until(lambda: at.get("/queue")["queue_running"])
    second = fleet.run("worker", "--comfyui", at.url.replace("127.0.0.1", "localhost"), "--folder", str(fleet.folder))
    assert second.returncode == 2 and "has a worker already" in second.stderr
    fleet.kill(f"worker-{lost.rpartition('-')[2]}")
    fleet.kill("door")
    port = int(fleet.service.url.rpartition(":")[2].partition("/")[0])
    started = time.monotonic()
    fleet.start_door(port=port)
    assert time.monotonic() - started < 15
    ended = fleet.service.wait(job, 120)
    assert ended["status"] == "succeeded" and len(ended["outputs"]) == 1
    assert [len(list((one.base / "output").glob("begun*"))) for one in (at, other)] == [1, 0], "it was not drawn again"
    assert fleet.start_worker(at.url) == lost


def test_status_metrics_logs_and_draining(fleet: Fleet, servers: list[Server]) -> None:
    run = fleet.submit(demo_prompt([], steps=1, width=64, height=64, seed=41))
    assert fleet.service.wait(run)["status"] == "succeeded"
    shown = fleet.run("status", "--url", fleet.service.url).stdout
    assert shown.startswith("WORKER") and "portrait@1" in shown, shown
    metrics = read_metrics(fleet)
    assert 'lorchestra_workers{state="ready"} 2.0' in metrics
    assert 'lorchestra_jobs{status="succeeded"}' in metrics
    families = {one.name: one for one in text_string_to_metric_families(metrics)}
    ended = {one.labels["status"]: one.value for one in families["lorchestra_jobs_ended"].samples if one.labels}
    runs = families["lorchestra_workflow_seconds"].samples
    assert ended["succeeded"] >= 1
    assert any(one.name.endswith("_count") and one.labels["workflow"] == "(graphs)" and one.value for one in runs)
    assert '"job": "' in fleet.log(f"worker-{servers[0].url.rpartition(':')[2]}")
    drained = fleet.run("worker", "--drain", "--comfyui", servers[0].url, "--folder", str(fleet.folder))
    assert drained.returncode == 0, drained.stderr
    assert fleet.processes.pop(f"worker-{servers[0].url.rpartition(':')[2]}").wait(20) == 0
    fleet.until(lambda: len(fleet.status()["workers"]) == 1)
    unknown = fleet.run("worker", "--drain", "--comfyui", "http://nowhere:1", "--folder", str(fleet.folder))
    assert unknown.returncode == 2 and "there is no worker" in unknown.stderr


def read_metrics(fleet: Fleet) -> str:
    url = fleet.service.url.removesuffix("/lorchestra")
    return fleet.ask("GET", f"{url}/metrics").content.decode()


def test_with_redis(servers: list[Server], tmp_path: Path) -> None:
    """A worker, a ComfyUI, the door and Redis are killed under load; test_fleet_kills.py does so for long."""
    with Redis(tmp_path) as redis, Fleet(tmp_path, redis.options) as fleet:
        fleet.begin(servers)
        siege = Siege(fleet, servers, redis, seed=time.time_ns() % 2**31, delays=(0.5,))
        with siege.load():
            for what in ("worker", "redis", "door", "comfyui"):
                siege.kill(what, 1, (0.2, 1.0))
        print(siege.check(drawn=1))
        fleet.kill("door")
        fleet.start_door("--limit", "3")
        late = fleet.service.wait(fleet.submit(LONG))
        assert late["status"] == "failed" and "longer than 3 seconds" in late["error"]["message"]
