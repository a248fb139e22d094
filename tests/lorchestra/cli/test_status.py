"""`lorchestra status` as a person reads it: lines of at most 100 characters, whatever the names."""

from __future__ import annotations

from typing import Any

from lorchestra.cli.status import lines_of


def worker(**fields: Any) -> dict[str, Any]:
    return {
        "id": "gpu1-127.0.0.1-8188", "state": "ready", "job": None, "silent_seconds": 0.4, "warm": None,
        "warm_loras": "", "free_memory": None, "done": 0, "last_minute": 0, "nodes": 0, "nodes_cached": 0,
        "by_warm": {"stack": 0, "base": 0, "nothing": 0},
    } | fields  # fmt: skip


EMPTY = {"by_status": {}, "by_workflow": {}, "last_minute": 0, "oldest_seconds": 0.0}


def test_a_fleet_at_work() -> None:
    busy = worker(
        job="1f2e3d4c-0000", warm="sd\\v1-5.safetensors", warm_loras="warm 0.8", free_memory=8 * 2**30,
        done=1200, last_minute=14, nodes=80, nodes_cached=40, by_warm={"stack": 6, "base": 3, "nothing": 1},
    )  # fmt: skip
    lost = worker(id="a" * 150, state="lost", silent_seconds=200.0, warm="b" * 300 + ".safetensors")
    ended = EMPTY | {"by_workflow": {"portrait@1": (12, 2.34), "": (3, None)}, "oldest_seconds": 130.0}
    waiting = {"base.v1-5-1f0e": 80, "any": 2, "worker.gpu2": 1, "base.gone": 1}
    status = {"workers": [busy, lost], "waiting": waiting, "running": 1, "ended": ended}
    lines = list(lines_of(status | {"bases": {"base.v1-5-1f0e": "v1-5.safetensors"}}))
    assert max(map(len, lines)) == 100
    assert lines[0].split() == ["WORKER", "STATE", "JOB", "DONE", "/MIN", "FREE", "LOADED"]
    assert lines[1].split(maxsplit=6)[2:] == ["1f2e3d4c", "1,200", "14", "8.0", "GiB  v1-5 + warm 0.8"]
    assert "lost 3 min" in lines[2]
    assert lines[4] == "queued 84, the oldest for 2 min; running 1; ended in the last minute 0"
    assert lines[5] == (
        "loaded already: base model and LoRAs for 60 % of jobs, the base model for 30 %; nodes cached 50 %"
    )
    assert lines[7:12] == [
        "QUEUED  BASE MODEL", "    80  v1-5.safetensors", "     2  (none)", "     1  (only gpu2)", "     1  gone",
    ]  # fmt: skip
    assert lines[13:] == ["DONE   EACH  WORKFLOW", "  12  2.3 s  portrait@1", "   3  0.0 s  graphs"]


def test_a_fleet_that_has_done_nothing() -> None:
    many = {f"base.{number}": 1 for number in range(30)}
    assert len(list(lines_of({"workers": [], "waiting": {}, "running": 0, "ended": EMPTY}))) == 3
    lines = list(lines_of({"workers": [worker()], "waiting": many, "running": 0, "ended": EMPTY}))
    assert lines[-1].endswith("… 10 more") and len(lines) == 27
