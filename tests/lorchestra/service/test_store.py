"""The file of jobs: what is kept, what goes, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.service import Caller, make_service

from lorchestra.service.job import Job
from lorchestra.service.store import Asset, KeyUsed, Store, StoreError


def job(number: int, status: str = "succeeded", expires: float = 1e10) -> Job:
    return Job(f"{number:036}", status, 1000.0 + number, expires, 2)


def test_jobs_are_kept_with_their_graphs(tmp_path: Path) -> None:
    store = Store(tmp_path / "a/jobs.sqlite")
    for number in range(5):
        store.add(job(number, "queued"), {"1": {"class_type": "ü", "inputs": {}}})
    store.save([replace(job(2), error=None)])
    again = Store(store.path)
    assert [one.id for one in again.newest(2)] == [job(4).id, job(3).id]
    assert [one.id for one in again.newest(9, (1002.0, job(2).id))] == [job(1).id, job(0).id]
    assert again.find(job(2).id) == job(2)
    assert again.find_graph(job(2).id) == {"1": {"class_type": "ü", "inputs": {}}}
    assert [one.id for one in again.open_jobs()] == [job(n).id for n in (0, 1, 3, 4)]
    assert again.find("none") is None and again.find_graph("none") is None


def test_what_is_kept_no_longer_goes_but_never_what_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.add(job(1, "running", expires=1.0), {})
    store.add(job(2, "failed", expires=1.0), {})
    store.add_assets([Asset("a", "/a", "a", "x/y", 1, None, 1.0, job(2).id)])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    store.add(job(3), {})
    assert store.find(job(1).id) and store.find(job(3).id)
    assert store.find(job(2).id) is None and store.find_asset("a") is None


def test_old_keys_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorchestra.service.store._MOST_KEYS", 3)
    store = Store(tmp_path / "jobs.sqlite")
    now = time.time()
    for number in range(5):
        monkeypatch.setattr(time, "time", lambda number=number: now + number)
        store.add(job(10 + number), {}, f"k{number}")
    monkeypatch.setattr(time, "time", lambda: now + 100)
    store.add(job(1), {})
    with pytest.raises(KeyUsed, match=job(14).id):
        store.add(job(2), {}, "k4")
    assert store.find(job(2).id) is None
    assert [store.find_key(f"k{number}") for number in range(5)] == [None, None, job(12).id, job(13).id, job(14).id]


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be looked at" * 100, b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_damaged_file_is_told_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "jobs.sqlite"
    file.write_bytes(content)
    with pytest.raises(StoreError, match="move it away"):
        Store(file).find("a")
    assert file.read_bytes() == content

    async def ask() -> tuple[int, str]:
        service, _ = make_service(tmp_path)
        try:
            code, body = await Caller(service).ask("GET", "/workflows")
            return code, body["error"]["code"]
        finally:
            await service.close()

    assert asyncio.run(ask()) == (503, "unavailable")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer Lorchestra"):
        Store(file).find("a")


def test_several_begin_the_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = [Store(tmp_path / "jobs.sqlite") for _ in range(8)]
        assert list(pool.map(lambda store: store.newest(1), stores)) == [[]] * 8
    for store in stores:
        store.close()
