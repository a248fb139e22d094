"""Workers, ComfyUIs, the door and Redis are killed twenty times each at random moments, under load: nothing is lost.

It takes a quarter of an hour. `SEED=…` repeats a run that was printed, `KILLS=3` or `KILLS_COMFYUI=3` makes it short.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.kills import Redis, Siege
from support.live_service import ARGUMENTS, comfyui, fill

from lorchestra.demo.comfyui import Server, pack_root
from lorchestra.demo.prompt import demo_prompt

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "20"))
"""Of each."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two ComfyUIs with the same model."""
    folder = tmp_path_factory.mktemp("kills")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    opened: list[Server] = []
    try:
        for name in ("a", "b"):
            fill(folder / name)
            opened.append(Server(comfyui(), folder / name, pack=pack_root(), arguments=ARGUMENTS).__enter__())
        yield opened
    finally:
        for server in opened:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def besiege(fleet: Fleet, servers: list[Server], redis: Redis | None) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(2**31))
    print(f"\nSEED={seed} KILLS={KILLS}", flush=True)
    fleet.start_door()
    for server in servers:
        fleet.start_worker(server.url)
    siege = Siege(fleet, servers, redis, seed)
    with siege.load():
        for what in ("worker", "door", "comfyui", *(("redis",) if redis else ())):
            siege.kill(what, int(os.environ.get(f"KILLS_{what.upper()}", KILLS)))
    told = siege.check(drawn=10)
    print(json.dumps(told), flush=True)
    assert told["door_back"]["most"] < 15
    assert told["hit_twice"] <= told["accepted"] // 20, "a few jobs may be hit twice, and not more"


def test_with_redis(servers: list[Server], tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        options = ("--broker", redis.url, "--database", f"sqlite:///{tmp_path / 'shared.sqlite'}")
        with Fleet(tmp_path, options) as fleet:
            besiege(fleet, servers, redis)


def test_with_nothing_but_files(servers: list[Server], tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        besiege(fleet, servers, None)


def test_a_broker_that_is_away_when_tickets_are_acknowledged(servers: list[Server], tmp_path: Path) -> None:
    """Celery alone would wait for ever, and hear of no other ticket."""
    with Redis(tmp_path) as redis:
        options = ("--broker", redis.url, "--database", f"sqlite:///{tmp_path / 'shared.sqlite'}")
        with Fleet(tmp_path, options) as fleet:
            fleet.start_door()
            for server in servers:
                fleet.start_worker(server.url)
            slow = [fleet.submit(demo_prompt([], steps=30, width=64, height=64, seed=seed)) for seed in (51, 52)]
            fleet.until(lambda: sum(one["job"] in slow for one in fleet.status()["workers"]) == 2)
            redis.kill()
            assert [fleet.service.wait(job)["status"] for job in slow] == ["succeeded"] * 2
            redis.start()
            for seed in (53, 54):
                job = fleet.submit(demo_prompt([], steps=1, width=64, height=64, seed=seed))
                assert fleet.service.wait(job, 60)["status"] == "succeeded"
