"""The door on a disk that fills: it says so, shows what it has, and goes on when there is space."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.impostor import Impostor
from support.live_service import Answer

from lorchestra.service.fleet import broker
from lorchestra.service.fleet.kept import Kept
from lorchestra.service.fleet.table import Table
from lorchestra.service.fleet.worker import Worker

pytestmark = pytest.mark.slow
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"text": "x" * 3000}}}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_fills(disk: Path, tmp_path: Path) -> None:
    with Impostor(info={"EmptyImage": {}}) as impostor, Fleet(disk) as fleet:
        fleet.logs = tmp_path
        fleet.start_door()
        table = Table(f"sqlite:///{disk / 'fleet.sqlite'}")
        app = broker.make_app(None, disk / "broker")
        worker = Worker(table, Kept(str(disk / "files"), disk), app, impostor.url)
        worker.join()
        fleet.until(lambda: len(fleet.status()["workers"]) == 1)
        first = fleet.submit(GRAPH)
        worker.take("any")
        assert fleet.service.wait(first)["status"] == "succeeded"

        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        refused = [answer for _ in range(40) if (answer := post(fleet)).status != 201]
        assert refused, "the disk is full"
        for answer in refused:
            assert answer.status == 503, answer.content
            assert "full" in answer.json["error"]["message"], answer.content
        assert fleet.job(first)["status"] == "succeeded"

        filler.unlink()
        fleet.until(lambda: post(fleet).status == 201)
        while table.open_orders():
            worker.take("any")
        fleet.until(lambda: all_ended(fleet))


def post(fleet: Fleet) -> Answer:
    return fleet.ask("POST", "/api/v2/jobs", {"workflow": GRAPH})


def all_ended(fleet: Fleet) -> bool:
    jobs = fleet.ask("GET", "/api/v2/jobs?limit=100").json["jobs"]
    return all(job["status"] in ("succeeded", "failed") for job in jobs)
