"""Jobs that are too large, and clocks that differ, on real ComfyUIs: each has its sentence, and the rest goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.fleet import Fleet, two_comfyuis
from support.live_service import EMPTY

from lorchestra.demo.comfyui import Server

pytestmark = pytest.mark.slow

HUGE = {
    "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 16384, "height": 16384, "batch_size": 4096}},
    "2": {"class_type": "SaveLatent", "inputs": {"samples": ["1", 0], "filename_prefix": "huge"}},
}
"""A tensor of 275 GB."""
KILLER = """
import os, signal

class Killer:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"number": ("INT", {"default": 0})}})
    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "kill", True, "tests"

    def kill(self, number):
        os.kill(os.getpid(), signal.SIGKILL)

NODE_CLASS_MAPPINGS = {"Killer": Killer}
"""
"""A node that does to its ComfyUI what the system does when memory runs out."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two ComfyUIs, which somebody starts again when they end."""
    is_over = threading.Event()

    def prepare(folder: Path) -> None:
        (folder / "custom_nodes").mkdir(parents=True)
        (folder / "custom_nodes/killer.py").write_text(KILLER)

    with two_comfyuis(tmp_path_factory.mktemp("limits"), prepare) as opened:

        def supervise() -> None:
            while not is_over.wait(0.5):
                for server in opened:
                    if server.pid and not Path(f"/proc/{server.pid}/cmdline").read_bytes():  # it has ended
                        server.stop()
                        server.__enter__()

        thread = threading.Thread(target=supervise, daemon=True)
        thread.start()
        try:
            yield opened
        finally:
            is_over.set()
            thread.join(180)


def test_jobs_that_are_larger_than_the_memory(servers: list[Server], tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.begin(servers)
        huge = fleet.service.wait(fleet.submit(HUGE))
        assert huge["status"] == "failed" and "memory" in huge["error"]["message"], huge["error"]
        assert fleet.service.wait(fleet.submit(EMPTY))["status"] == "succeeded"

        killer = fleet.service.wait(fleet.submit({"1": {"class_type": "Killer", "inputs": {"number": 1}}}))
        assert killer["status"] == "failed", killer
        said = killer["error"]["message"]
        assert said.endswith(
            "It was tried 2 times. If this happens again, the job may need more memory than there is."
        ), said
        fleet.until(lambda: [one["state"] for one in fleet.status()["workers"]] == ["ready"] * 2, 180)
        after = [fleet.submit(EMPTY | {"3": EMPTY["2"]}) for _ in range(4)]
        assert [fleet.service.wait(job)["status"] for job in after] == ["succeeded"] * 4


def test_workers_whose_clocks_are_an_hour_apart(servers: list[Server], tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed: on Debian, apt-get install faketime")
    with Fleet(tmp_path) as fleet:
        fleet.start_door()
        names: list[str] = []
        for server, shift in zip(servers, ("+1h", "+2h"), strict=True):
            fleet.environ = {"LD_PRELOAD": str(library), "FAKETIME": shift}
            fleet.start_worker(server.url)
            names.append(f"worker-{server.url.rpartition(':')[2]}")
        fleet.environ = {}
        for name, shift in zip(names, (3600, 7200), strict=True):
            line = next(one for one in fleet.log(name).splitlines() if "listens" in one)
            said = datetime.fromisoformat(line.partition('"time": "')[2].partition('"')[0])
            assert abs(said.timestamp() - time.time() - shift) < 300, "the worker's clock is shifted"
        jobs = [fleet.submit(EMPTY | {"3": EMPTY["2"]}) for _ in range(6)]
        for job in jobs:
            ended = fleet.service.wait(job)
            assert ended["status"] == "succeeded"
            for moment in ("started_at", "completed_at"):
                past = datetime.now(timezone.utc) - datetime.fromisoformat(ended[moment])
                assert -5 < past.total_seconds() < 300, (moment, ended)
            assert fleet.ask("GET", ended["outputs"][0]["url"]).status == 200
        broker = fleet.folder / "broker/messages"
        broker.rename(broker.with_name("gone"))  # a broker that cannot be used for a while ends no worker
        fleet.until(
            lambda: all("the broker could not be used, and is asked again" in fleet.log(name) for name in names)
        )
        broker.with_name("gone").rename(broker)
        assert fleet.service.wait(fleet.submit(EMPTY | {"4": EMPTY["2"]}))["status"] == "succeeded"
        fleet.kill(names[0])
        killed = time.monotonic()
        fleet.until(lambda: sorted(one["state"] for one in fleet.status()["workers"]) == ["lost", "ready"], 20)
        assert time.monotonic() - killed < 15
        assert fleet.service.wait(fleet.submit(EMPTY))["status"] == "succeeded"
