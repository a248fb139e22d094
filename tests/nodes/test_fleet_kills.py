"""Workers, ComfyUIs, the door and Redis are killed twenty times each at random moments, under load: nothing is lost.

It takes a quarter of an hour. `SEED=…` repeats a run that was printed, `KILLS=3` or `KILLS_COMFYUI=3` makes it short.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet, two_comfyuis
from support.kills import Redis, Siege

from lorchestra.demo.comfyui import Server
from lorchestra.demo.prompt import demo_prompt

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "20"))
"""Of each."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two ComfyUIs with the same model."""
    with two_comfyuis(tmp_path_factory.mktemp("kills")) as opened:
        yield opened


def besiege(fleet: Fleet, servers: list[Server], redis: Redis | None) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(2**31))
    print(f"\nSEED={seed} KILLS={KILLS}", flush=True)
    fleet.begin(servers)
    siege = Siege(fleet, servers, redis, seed)
    with siege.load():
        for what in ("worker", "door", "comfyui", *(("redis",) if redis else ())):
            siege.kill(what, int(os.environ.get(f"KILLS_{what.upper()}", KILLS)))
    told = siege.check(drawn=10)
    print(json.dumps(told), flush=True)
    assert told["door_back"]["most"] < 15
    assert told["hit_twice"] <= told["accepted"] // 20, "a few jobs may be hit twice, and not more"


def test_with_redis(servers: list[Server], tmp_path: Path) -> None:
    with Redis(tmp_path) as redis, Fleet(tmp_path, redis.options) as fleet:
        besiege(fleet, servers, redis)


def test_with_nothing_but_files(servers: list[Server], tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        besiege(fleet, servers, None)


def test_a_broker_that_is_away_when_tickets_are_acknowledged(servers: list[Server], tmp_path: Path) -> None:
    """Celery alone would wait for ever, and hear of no other ticket."""
    with Redis(tmp_path) as redis, Fleet(tmp_path, redis.options) as fleet:
        fleet.begin(servers)
        slow = [fleet.submit(demo_prompt([], steps=30, width=64, height=64, seed=seed)) for seed in (51, 52)]
        fleet.until(lambda: sum(one["job"] in slow for one in fleet.status()["workers"]) == 2)
        redis.kill()
        assert [fleet.service.wait(job)["status"] for job in slow] == ["succeeded"] * 2
        redis.start()
        for seed in (53, 54):
            job = fleet.submit(demo_prompt([], steps=1, width=64, height=64, seed=seed))
            assert fleet.service.wait(job, 60)["status"] == "succeeded"
