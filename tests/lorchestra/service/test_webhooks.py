"""Webhooks, told to a receiver that is there: signed, to listed addresses alone, again until they are taken."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.service import Caller, ListBackend, make_service

from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.addresses import AddressError, read_address, require_listed
from lorchestra.service.backend import Failure, Made

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"
DOCS = Path(__file__).absolute().parents[3] / "docs/api.md"
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 30


def is_ours() -> Callable[[Mapping[str, str], bytes, str], bool]:
    """The check of the documentation."""
    (code,) = re.findall(r"^```python\n(import base64, hashlib.*?)^```$", DOCS.read_text(encoding="utf-8"), re.S | re.M)
    found: dict[str, Any] = {}
    exec(code, found)
    return found["is_ours"]


@dataclass
class Receiver:
    """A server that notes what it is sent, and answers with the next of `answers`, or with 204."""

    url: str
    answers: list[int] = field(default_factory=list[int])
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])

    async def wait(self, count: int) -> None:
        end = time.monotonic() + 10
        while len(self.taken) < count:
            assert time.monotonic() < end, self.taken
            await asyncio.sleep(0.01)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr("lorchestra.service.webhooks.delay_of", lambda attempt: 0.01 * attempt)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.taken.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            self.send_response(found.answers.pop(0) if found.answers else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def run(folder: Path, listed: list[str], test: Callable[[Caller, ListBackend], Awaitable[None]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "service.json").write_text(json.dumps({"webhooks": listed, "webhook_secret": SECRET}))

    async def all_of_it() -> None:
        service, backend = make_service(folder)
        caller = Caller(service)
        try:
            await service.start()
            await caller.ask("PUT", "/workflows/portrait", {"workflow": demo_prompt([])})
            await test(caller, backend)
        finally:
            await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


def path_with(url: str) -> str:
    return f"/workflows/portrait/jobs?webhook_url={quote(url, safe='')}"


def test_the_job_is_told_when_it_has_ended(tmp_path: Path, receiver: Receiver) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        code, job = await caller.ask("POST", path_with(f"{receiver.url}/jobs/done?a=1"), {"steps": 2})
        assert code == 202, job
        backend.run_next()
        await asyncio.sleep(0.05)
        assert receiver.taken == []
        (tmp_path / "output").mkdir()
        (tmp_path / "output/a.png").write_bytes(PNG)
        backend.finish(Made("8", "image", "a.png"))
        await receiver.wait(1)
        ((path, headers, body),) = receiver.taken
        _, shown = await caller.ask("GET", f"/api/v2/jobs/{job['id']}")
        assert (path, json.loads(body), shown["status"]) == ("/jobs/done?a=1", shown, "succeeded")
        assert headers["webhook-id"] == job["id"]
        check = is_ours()
        assert check(headers, body, SECRET)
        assert not check(headers, body + b" ", SECRET)
        assert not check({**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}, body, SECRET)
        assert not check(headers, body, "whsec_" + "A" * 32)

    run(tmp_path, [f"{receiver.url}/jobs/"], test)


def test_a_batch_is_told_once_when_it_has_ended(tmp_path: Path, receiver: Receiver) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        path = path_with(f"{receiver.url}/jobs/done").replace("/jobs?", "/batches?")
        code, batch = await caller.ask("POST", path, {"each": {"seed": [1, 2]}})
        assert code == 202, batch
        for _ in range(2):
            await asyncio.sleep(0.05)
            assert receiver.taken == []
            backend.run_next()
            backend.finish(failure=Failure("out of memory"))
        await receiver.wait(1)
        await asyncio.sleep(0.1)
        ((_, headers, body),) = receiver.taken
        _, shown = await caller.ask("GET", f"/batches/{batch['id']}")
        assert (headers["webhook-id"], json.loads(body)) == (batch["id"], shown)
        assert (shown["status"], shown["sheet"]) == ("failed", None)
        assert shown["sheet_problem"] == "none of the batch's jobs has made a picture."
        refused = path_with("https://elsewhere.example/").replace("/jobs?", "/batches?")
        assert (await caller.ask("POST", refused, {"each": {"seed": [1]}}))[0] == 422

    run(tmp_path, [f"{receiver.url}/jobs/"], test)


def test_it_is_told_again_until_it_is_taken_and_never_elsewhere(tmp_path: Path, receiver: Receiver) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        receiver.answers = [500, 302, 404, 200]
        graph = {"1": {"class_type": "SaveImage", "inputs": {}}}
        address = quote(receiver.url, safe="")
        await caller.ask("POST", f"/api/v2/jobs?webhook_url={address}", {"workflow": graph})
        backend.run_next()
        backend.finish(failure=Failure("out of memory"))
        await receiver.wait(4)
        await asyncio.sleep(0.2)
        assert [path for path, _, _ in receiver.taken] == ["/"] * 4
        assert len({headers["webhook-id"] for _, headers, _ in receiver.taken}) == 1
        assert {json.loads(body)["status"] for _, _, body in receiver.taken} == {"failed"}

    run(tmp_path, [receiver.url], test)


@pytest.mark.parametrize(("answer", "times"), [(500, 8), (410, 1)])
def test_it_ends_some_day(tmp_path: Path, receiver: Receiver, answer: int, times: int) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        receiver.answers = [answer] * 100
        await caller.ask("POST", path_with(receiver.url), {})
        backend.run_next()
        backend.finish()
        await receiver.wait(times)
        await asyncio.sleep(0.3)
        assert len(receiver.taken) == times

    run(tmp_path, [receiver.url], test)


def test_what_was_not_told_is_told_after_the_next_start(tmp_path: Path, receiver: Receiver) -> None:
    """Of a job that had ended, and of one that had not."""
    receiver.answers = [500] * 3

    async def before(caller: Caller, backend: ListBackend) -> None:
        for _ in range(2):
            await caller.ask("POST", path_with(receiver.url), {})
        backend.run_next()
        backend.finish()
        await receiver.wait(1)

    async def after(caller: Caller, backend: ListBackend) -> None:
        end = time.monotonic() + 10
        while len({headers["webhook-id"] for _, headers, _ in receiver.taken if not receiver.answers}) < 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)

    run(tmp_path, [receiver.url], before)
    run(tmp_path, [receiver.url], after)
    ends = {headers["webhook-id"]: json.loads(body)["status"] for _, headers, body in receiver.taken}
    assert sorted(ends.values()) == ["failed", "succeeded"]


def test_a_task_in_runwares_form_is_told_as_it_is_answered(tmp_path: Path, receiver: Receiver) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        own = "a770f077-f413-47de-9dac-be0b26a35da6"
        task = {"taskType": "imageInference", "taskUUID": own, "model": "civitai:1@2", "positivePrompt": "a barn",
                "numberResults": 2, "deliveryMethod": "async", "webhookURL": f"{receiver.url}/r"}  # fmt: skip
        code, _ = await caller.ask("POST", "/v1", [task])
        assert code == 200
        (tmp_path / "output").mkdir()
        (tmp_path / "output/a.png").write_bytes(PNG)
        backend.run_next()
        backend.finish(Made("8", "image", "a.png"))
        await receiver.wait(1)
        told = json.loads(receiver.taken[0][2])
        _, answer = await caller.ask("POST", "/v1", [{"taskType": "getResponse", "taskUUID": own}])
        assert told["data"] == [{key: text for key, text in answer["data"][0].items() if key != "status"}]
        backend.run_next()
        backend.finish(failure=Failure("out of memory"))
        await receiver.wait(2)
        (error,) = json.loads(receiver.taken[1][2])["errors"]
        assert (error["message"], error["taskUUID"]) == ("out of memory", own)

    run(tmp_path, [receiver.url], test)


def test_what_is_not_listed_is_refused_and_nothing_is_queued(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        for url in ("https://hooks.example.evil/comfy/", "https://hooks.example/other", "x", ""):
            code, answer = await caller.ask("POST", path_with(url), {})
            error = answer["error"]
            assert (code, error["code"], error["details"]["path"]) == (422, "invalid_input", "webhook_url")
        assert 'the list "webhooks" in the settings' in error["message"] or "not an address" in error["message"]
        assert backend.waiting == []

    run(tmp_path, ["https://hooks.example/comfy/"], test)

    async def without(caller: Caller, backend: ListBackend) -> None:
        _, answer = await caller.ask("POST", path_with("https://hooks.example/comfy/"), {})
        assert '"webhooks" in the settings (service.json) is empty' in answer["error"]["message"]
        assert backend.waiting == []

    run(tmp_path / "none", [], without)


def test_another_machine_is_told_nothing_in_the_open(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of this machine's may lead elsewhere, by DNS."""

    async def test(caller: Caller, backend: ListBackend) -> None:
        await caller.ask("POST", path_with(receiver.url), {})
        monkeypatch.setattr("lorchestra.service.webhooks.is_own", lambda _: False)
        backend.run_next()
        backend.finish()
        await asyncio.sleep(0.5)
        assert receiver.taken == []

    run(tmp_path, [receiver.url], test)


LISTED = [read_address(text) for text in ("https://hooks.example/comfy", "http://127.0.0.1:9000/", "https://b.example")]


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.example/comfy", "https://HOOKS.example:443/comfy/a?b=c", "http://127.0.0.1:9000/x",
        "https://b.example", "https://b.example/any/where",
    ],
)  # fmt: skip
def test_addresses_below_listed_ones(text: str) -> None:
    assert require_listed(text, LISTED).target.startswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "http://hooks.example/comfy", "https://hooks.example:8443/comfy", "https://hooks.example/comfyx",
        "https://hooks.example/", "https://hooks.example/comfy/../admin", "https://hooks.example/comfy/%2e%2e/admin",
        "https://hooks.example/comfy/%252e%252e/a", "https://hooks.example/comfy%2f..%2fa", "https://hooks.example./comfy",
        "https://user@hooks.example/comfy", "https://hooks.example@evil.example/comfy", "https://hooks.example/comfy#a",
        "https://hooks.example\\@evil.example/comfy", "https://evil.example/https://hooks.example/comfy",
        "//hooks.example/comfy", "hooks.example/comfy", "ftp://hooks.example/comfy", "file:///etc/passwd",
        "https://hooks.example/comfy\r\nX: 1", "https://hooks.example/comfy x", "https://höoks.example/comfy",
        "http://127.0.0.1:9001/", "http://localhost:9000/", "http://127.0.0.2:9000/", "http://[::1]:9000/",
        "http://2130706433:9000/", "https://hooks.example:x/comfy", "https://[/comfy", "https:///comfy", "",
        "https://b.example/" + "x" * 2000, "http://b.example/", "https://b.example:0/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_on_the_list(text: str) -> None:
    with pytest.raises(AddressError):
        require_listed(text, LISTED)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webhooks": ["https://a.example"]}, "webhook_secret"),
        ({"webhooks": ["http://a.example"], "webhook_secret": SECRET}, "not encrypted"),
        ({"webhooks": ["https://a.example/?x"], "webhook_secret": SECRET}, "leave it out"),
        ({"webhooks": "https://a.example", "webhook_secret": SECRET}, "webhooks"),
        ({"webhook_secret": "secret-of-mine"}, "24 to 64 bytes"),
        ({"webhook_secret": 5}, "of another type"),
    ],
)
def test_settings_of_webhooks_that_cannot_be(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    (tmp_path / "service.json").write_text(json.dumps(settings))

    async def ask() -> str:
        service, _ = make_service(tmp_path)
        try:
            return (await Caller(service).ask("GET", "/workflows"))[1]["error"]["message"]
        finally:
            await service.close()

    message = asyncio.run(ask())
    assert said in message and "secret-of-mine" not in message
