"""A fleet on PostgreSQL, on RabbitMQ and on S3: what workers do there, and what is left when one of them breaks."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from support.fleet import Fleet, two_comfyuis
from support.live_service import EMPTY, pixels
from support.production import Running, make_bucket, postgresql, rabbitmq, s3

from lorchestra.demo.comfyui import Server
from lorchestra.demo.prompt import demo_prompt

pytestmark = pytest.mark.slow
LOAD = {
    "1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": {"id": "is put here"}}}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "loaded"}},
}


def picture(seed: int, steps: int = 2) -> Any:
    return demo_prompt([], steps=steps, width=64, height=64, seed=seed)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two ComfyUIs with the same model."""
    with two_comfyuis(tmp_path_factory.mktemp("fleet")) as opened:
        yield opened


def upload(fleet: Fleet, data: bytes) -> str:
    """Sends a picture in; gives its id."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="in.png"\r\n'
    body = head.encode() + b"Content-Type: image/png\r\n\r\n" + data + f"\r\n--{boundary}--\r\n".encode()
    form = f"multipart/form-data; boundary={boundary}"
    answer = fleet.ask("POST", "/api/v2/assets", body, **{"Content-Type": form})
    assert answer.status in (200, 201), answer.content
    return answer.json["id"]


def output(fleet: Fleet, job: Any) -> bytes:
    assert job["status"] == "succeeded", job
    answer = fleet.ask("GET", job["outputs"][0]["url"])
    assert answer.status == 200, answer.content
    return answer.content


def check_work(fleet: Fleet, servers: list[Server]) -> None:
    """Jobs, cancels, uploads, and a killed worker."""
    jobs = [fleet.submit(picture(seed)) for seed in range(6)]
    ended = [fleet.service.wait(job) for job in jobs]
    assert len({pixels(output(fleet, job)) for job in ended}) == 6

    long = [fleet.submit(picture(9, 4000)) for _ in "ab"]
    for job in long:
        fleet.process_of(job)
    waits = fleet.submit(EMPTY)
    for job in (waits, *long):
        assert fleet.ask("POST", f"/api/v2/jobs/{job}/cancel").status == 200
    assert {fleet.service.wait(job, 30)["status"] for job in (waits, *long)} == {"canceled"}

    made = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 90)).save(made, "PNG")
    graph = LOAD | {"1": {"class_type": "LoadImage", "inputs": {"image": asset(upload(fleet, made.getvalue()))}}}
    loaded = [fleet.submit(graph) for _ in "abc"]  # on both workers, most likely
    assert {pixels(output(fleet, fleet.service.wait(job))) for job in loaded} == {pixels(made.getvalue())}
    again = {"1": {"class_type": "LoadImage", "inputs": {"image": asset(ended[3]["outputs"][0]["id"])}}}
    assert pixels(output(fleet, fleet.service.wait(fleet.submit(LOAD | again)))) == pixels(output(fleet, ended[3]))

    job = fleet.submit(picture(20, 60))
    killed = fleet.process_of(job)
    fleet.kill(killed)
    output(fleet, fleet.service.wait(job, 90))
    fleet.start_worker(next(server.url for server in servers if server.url.endswith(killed.rpartition("-")[2])))


def with_variables(broker: str, database: str, files: str) -> Callable[[Fleet], dict[str, str]]:
    """The environment of a container, as deploy/ has it, in place of options."""
    plain = Fleet._env  # pyright: ignore[reportPrivateUsage]
    variables = {"LORCHESTRA_BROKER": broker, "LORCHESTRA_DATABASE": database, "LORCHESTRA_FILES": files}
    return lambda fleet: plain(fleet) | variables


def asset(own: str) -> Any:
    return {"__type": "core/ASSET", "info": {"id": own}}


def check_restart(fleet: Fleet, server: Running, away: float = 3) -> None:
    """Jobs that run and wait while a server is killed and started again end all the same, and so does a new one."""
    jobs = [fleet.submit(picture(seed, 40)) for seed in range(30, 33)]
    fleet.process_of(jobs[0])
    server.kill()
    time.sleep(away)
    server.start()
    for job in jobs:
        output(fleet, fleet.service.wait(job, 90))
    started = time.monotonic()
    output(fleet, fleet.service.wait(fleet.submit(EMPTY), 60))
    assert time.monotonic() - started < 20


def check_leave(fleet: Fleet) -> None:
    """SIGTERM, as Docker and Kubernetes send it: the job is finished, then the worker leaves."""
    job = fleet.submit(picture(40, 60))
    process = fleet.processes.pop(fleet.process_of(job))
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 0
    assert output(fleet, fleet.service.wait(job, 5))


def test_postgresql(servers: list[Server], tmp_path: Path) -> None:
    with postgresql() as server, Fleet(tmp_path, ("--database", server.url)) as fleet:
        fleet.begin(servers)
        check_work(fleet, servers)
        check_restart(fleet, server)
        check_leave(fleet)


def test_rabbitmq(servers: list[Server], tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    with (
        rabbitmq() as server,
        Fleet(tmp_path, ("--broker", server.url, "--database", database)) as fleet,
    ):
        fleet.begin(servers)
        check_work(fleet, servers)
        check_restart(fleet, server)
        check_leave(fleet)


def test_a_job_longer_than_rabbitmq_waits(servers: list[Server], tmp_path: Path) -> None:
    """RabbitMQ closes the channel of a worker that does not acknowledge in time; its job goes on, and so does it."""
    database = ("--database", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    with rabbitmq(consumer_seconds=3) as server, Fleet(tmp_path, ("--broker", server.url, *database)) as fleet:
        fleet.start_door()
        own = fleet.start_worker(servers[0].url)
        for seed in range(2):
            output(fleet, fleet.service.wait(fleet.submit(picture(seed, 60)), 120))
        assert "PRECONDITION_FAILED" in fleet.log(f"worker-{own.rpartition('-')[2]}")
        output(fleet, fleet.service.wait(fleet.submit(EMPTY), 60))
        assert [one["state"] for one in fleet.status()["workers"]] == ["ready"]


def test_s3(servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3() as server:
        for name, text in server.environment.items():
            monkeypatch.setenv(name, text)
        with Fleet(tmp_path, ("--files", server.url)) as fleet:
            fleet.begin(servers)
            check_work(fleet, servers)
            check_leave(fleet)
            server.kill()
            failed = fleet.service.wait(fleet.submit(EMPTY), 120)
            assert failed["status"] == "failed", failed
            assert "what was made cannot be kept at s3://pictures/lorchestra" in failed["error"]["message"]
            server.start()
            make_bucket(server)  # moto keeps all in its memory
            output(fleet, fleet.service.wait(fleet.submit(EMPTY), 60))


def test_all_three(servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgresql() as database, rabbitmq() as broker, s3() as files:
        for name, text in files.environment.items():
            monkeypatch.setenv(name, text)
        monkeypatch.setattr(Fleet, "_env", with_variables(broker.url, database.url, files.url))
        with Fleet(tmp_path) as fleet:
            fleet.begin(servers)
            jobs = [fleet.submit(picture(seed, 20)) for seed in range(4)]
            fleet.process_of(jobs[0])
            for server in (broker, database):
                server.kill()
            time.sleep(3)
            for server in (database, broker):
                server.start()
            assert len({output(fleet, fleet.service.wait(job, 120)) for job in jobs}) == 4
            check_leave(fleet)


def test_ten_thousand_jobs_in_postgresql(servers: list[Server], tmp_path: Path) -> None:
    (tmp_path / "service.json").write_text(json.dumps({"most_queued": 20_000}))
    with postgresql() as server, Fleet(tmp_path, ("--database", server.url)) as fleet:
        fleet.start_door()
        fleet.start_worker(servers[0].url)
        assert fleet.ask("PUT", "/workflows/empty", {"workflow": EMPTY}).status == 201
        fleet.worker_of(fleet.submit(picture(1, 4000)))
        address = urlsplit(fleet.service.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)

        def timed(method: str, path: str, body: Any = None) -> tuple[float, Any]:
            started = time.perf_counter()
            data = None if body is None else json.dumps(body)
            connection.request(method, address.path + path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, content
            return 1000 * (time.perf_counter() - started), json.loads(content)

        taken = [timed("POST", "/workflows/empty/jobs", {})[0] for _ in range(10_000)]
        listed = [timed("GET", "/api/v2/jobs?limit=50")[0] for _ in range(50)]
        _, shown = timed("GET", "/fleet")
        submitting, listing = statistics.median(taken[-500:]), statistics.median(listed)
        status = Path(f"/proc/{fleet.processes['door'].pid}/status")
        memory = int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) // 1024 if status.exists() else 0
        print(f"10,000 jobs: submitting {submitting:.1f} ms, listing {listing:.1f} ms (medians), the door {memory} MB")
        assert submitting < 30 and listing < 50 and memory < 300
        fleet.until(lambda: fleet.status()["queued"] == 10_000)
        assert shown["open"] >= 9_990
