"""Several callers: each has its token, its limit and its own jobs and files; the owner sees all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.service import Caller, FormPart, ListBackend, make_service

from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.http import Response
from lorchestra.service.settings import SettingsError, read_settings

OWNER, ANNA, BERT = "owner-token-0123456789", "anna-token-0123456789", "bert-token-0123456789"
SETTINGS: dict[str, Any] = {
    "token": OWNER,
    "callers": {"anna": {"token": ANNA, "most_queued": 2, "priority": 3}, "bert": {"token": BERT}},
}
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}


class Calls:
    """Requests to one service with one token or another."""

    def __init__(self, caller: Caller, backend: ListBackend) -> None:
        self.caller, self.backend = caller, backend

    async def ask(self, token: str, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, Any]:
        return await self.caller.ask(method, path, body, Authorization=f"Bearer {token}", **headers)

    async def send(self, token: str, *arguments: Any, **named: Any) -> Response:
        return await self.caller.send(*arguments, headers={"Authorization": f"Bearer {token}"}, **named)

    async def submit(self, token: str, **fields: Any) -> tuple[int, Any]:
        return await self.ask(token, "POST", "/api/v2/jobs", {"workflow": GRAPH, **fields})


def run(folder: Path, work: Callable[[Calls], Awaitable[None]], settings: Any = SETTINGS) -> None:
    (folder / "service.json").write_text(json.dumps(settings))

    async def go() -> None:
        service, backend = make_service(folder)
        try:
            await work(Calls(Caller(service, "8.8.8.8"), backend))
        finally:
            await service.close()

    asyncio.run(go())


def test_a_caller_over_its_limit_waits_and_others_go_on(tmp_path: Path) -> None:
    async def work(calls: Calls) -> None:
        assert [(await calls.submit(ANNA))[0] for _ in range(2)] == [201, 201]
        response = await calls.send(ANNA, "POST", "/api/v2/jobs", {"workflow": GRAPH})
        assert (response.status, response.headers["Retry-After"]) == (429, "5")
        error = json.loads(response.body)["error"]  # type: ignore[arg-type]
        assert error["code"] == "queue_full"
        assert error["message"] == (
            "anna has 2 jobs under way; it may have 2 at one time. Try again when some have ended."
        )
        at_once = await asyncio.gather(*(calls.submit(BERT) for _ in range(20)))
        assert {status for status, _ in at_once} == {201}
        calls.backend.run_next()
        calls.backend.finish()
        for _ in range(100):
            if (await calls.submit(ANNA))[0] == 201:
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("one has ended, and another may come")
        # At the same moment, too, no more than may be.
        at_once = await asyncio.gather(*(calls.submit(ANNA) for _ in range(20)))
        assert {status for status, _ in at_once} == {429}

    run(tmp_path, work)


def test_what_is_anothers_is_not_there(tmp_path: Path) -> None:
    async def work(calls: Calls) -> None:
        _, job = await calls.submit(ANNA)
        assert job["caller"] == "anna"
        uploads = [FormPart("file", b"a picture", "a.png", "image/png")]
        asset = json.loads((await calls.send(ANNA, "POST", "/api/v2/assets", parts=uploads)).body)  # type: ignore[arg-type]
        own = f"/api/v2/jobs/{job['id']}"
        paths = (
            ("GET", own), ("GET", f"{own}/workflow"), ("POST", f"{own}/cancel"), ("GET", f"{own}/events"),
            ("GET", f"/api/v2/assets/{asset['id']}"), ("GET", f"/api/v2/assets/{asset['id']}/content"),
            ("HEAD", f"/api/v2/assets/by-hash/{asset['hash']}"), ("DELETE", f"/api/v2/assets/{asset['id']}"),
        )  # fmt: skip
        for method, path in paths:
            assert (await calls.send(BERT, method, path)).status == 404, path
        load = {"1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": asset}}}}
        status, answer = await calls.ask(BERT, "POST", "/api/v2/jobs", {"workflow": load})
        assert (status, answer["error"]["code"]) == (422, "missing_asset")
        # Equal bytes are each caller's own, and so are keys.
        again = json.loads((await calls.send(BERT, "POST", "/api/v2/assets", parts=uploads)).body)  # type: ignore[arg-type]
        assert again["created_new"] and again["id"] != asset["id"]
        for token in (ANNA, BERT):
            assert (await calls.ask(token, "POST", "/api/v2/jobs", {"workflow": GRAPH}, Idempotency_Key="one"))[
                0
            ] == 201
        listed = {}
        for token in (ANNA, BERT, OWNER):
            listed[token] = [one["caller"] for one in (await calls.ask(token, "GET", "/api/v2/jobs"))[1]["jobs"]]
        assert listed == {ANNA: ["anna", "anna"], BERT: ["bert"], OWNER: ["bert", "anna", "anna"]}
        for token in (ANNA, OWNER):
            for method, path in paths[:2] + paths[4:6]:
                assert (await calls.send(token, method, path)).status == 200, path
        assert (await calls.ask(OWNER, "POST", f"{own}/cancel"))[1]["status"] == "canceled"

    run(tmp_path, work)


def test_only_the_owner_publishes_and_priorities_have_a_bound(tmp_path: Path) -> None:
    async def work(calls: Calls) -> None:
        body = {"workflow": demo_prompt([])}
        assert (await calls.ask(ANNA, "PUT", "/workflows/portrait", body))[0] == 403
        assert (await calls.ask(OWNER, "PUT", "/workflows/portrait", body))[0] == 201
        assert (await calls.ask(ANNA, "DELETE", "/workflows/portrait"))[0] == 403
        path = "/workflows/portrait/jobs"
        assert (await calls.ask(ANNA, "POST", path, {}))[1]["priority"] == 3
        status, answer = await calls.ask(ANNA, "POST", f"{path}?priority=4", {})
        assert (status, answer["error"]["details"]["path"]) == (403, "priority")
        assert answer["error"]["message"] == (
            "priority: jobs of anna have the priority 3 at most, and 4 was asked for."
        )
        assert (await calls.ask(ANNA, "POST", f"{path}?priority=-4", {}))[1]["priority"] == -4
        assert (await calls.ask(OWNER, "POST", f"{path}?priority=1000000", {}))[1]["priority"] == 1_000_000
        for wrong in ("1000001", "-1000001", "1.5", "x", "", "1e3", "9" * 5000):
            assert (await calls.ask(OWNER, "POST", f"{path}?priority={wrong}", {}))[0] == 400, wrong
        ping = [{"taskType": "authentication", "apiKey": BERT}]
        assert (await calls.ask(BERT, "POST", "/v1", ping))[0] == 200
        assert (await calls.ask(ANNA, "POST", "/v1", ping))[0] == 400
        assert (await calls.ask("nobody-token-0123456789", "GET", path))[0] == 401

    run(tmp_path, work)


def test_batches_count_as_their_jobs_and_are_their_callers(tmp_path: Path) -> None:
    async def work(calls: Calls) -> None:
        assert (await calls.ask(OWNER, "PUT", "/workflows/portrait", {"workflow": demo_prompt([])}))[0] == 201
        path = "/workflows/portrait/batches"
        assert (await calls.ask(ANNA, "POST", path, {"each": {"seed": [1, 2, 3]}}))[0] == 422
        status, batch = await calls.ask(ANNA, "POST", path, {"each": {"seed": [1, 2]}}, Idempotency_Key="one")
        assert status == 202, batch
        assert (await calls.ask(ANNA, "POST", path, {"each": {"seed": [1, 2]}}))[0] == 429
        assert (await calls.submit(ANNA))[0] == 429
        own = f"/batches/{batch['id']}"
        for method, place in (("GET", own), ("POST", f"{own}/cancel"), ("GET", f"{own}/events")):
            assert (await calls.send(BERT, method, place)).status == 404, place
        listed = {}
        for token in (ANNA, BERT, OWNER):
            listed[token] = len((await calls.ask(token, "GET", "/batches"))[1]["batches"])
        assert listed == {ANNA: 1, BERT: 0, OWNER: 1}
        jobs = (await calls.ask(ANNA, "GET", "/api/v2/jobs"))[1]["jobs"]
        assert [(job["caller"], job["priority"]) for job in jobs] == [("anna", 3)] * 2
        assert (await calls.ask(ANNA, "POST", f"{own}/cancel"))[0] == 200

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        ([], "another type"),
        ({"a b": {"token": ANNA}}, "no name of a caller"),
        ({"anna": ANNA}, "the caller anna is not an object"),
        ({"anna": {"token": ANNA, "limit": 3}}, "the caller anna is not an object"),
        ({"anna": {"token": "short"}}, '"token" of 16 characters or more'),
        ({"anna": {}}, '"token" of 16 characters or more'),
        ({"anna": {"token": ANNA, "most_queued": 0}}, '"most_queued" of the caller anna is 0'),
        ({"anna": {"token": ANNA, "priority": 1.5}}, '"priority" of the caller anna is 1.5'),
        ({"anna": {"token": OWNER}}, "each needs its own"),
        ({"anna": {"token": ANNA}, "bert": {"token": ANNA}}, "each needs its own"),
    ],
)
def test_settings_that_cannot_be_so_are_told_without_a_token(tmp_path: Path, callers: Any, said: str) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps({"token": OWNER, "callers": callers}))
    with pytest.raises(SettingsError) as caught:
        read_settings(path, {})
    assert said in str(caught.value) and ANNA not in str(caught.value) and OWNER not in str(caught.value)


def test_callers_need_an_owner_and_show_no_token(tmp_path: Path) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps({"callers": SETTINGS["callers"]}))
    with pytest.raises(SettingsError, match='need a "token" beside theirs'):
        read_settings(path, {})
    assert ANNA not in repr(read_settings(path, {"LORCHESTRA_TOKEN": OWNER}).callers)
