"""Who may call, and who may not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support.service import Caller, make_service

from lorchestra.service.http import Refusal
from lorchestra.service.routes import find_route
from lorchestra.service.settings import SettingsError, read_settings

TOKEN = "a-token-of-sixteen-and-more"


def status(folder: Path, path: str = "/workflows", *, token: str = "", peer: Any = "127.0.0.1", **headers: str) -> int:
    async def ask() -> int:
        service, _ = make_service(folder, {"LORCHESTRA_TOKEN": token} if token else {})
        caller = Caller(service, peer, headers.pop("host", "127.0.0.1:8188"))
        try:
            return (await caller.ask("GET", path, **headers))[0]
        finally:
            await service.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "127.5.5.5", "::ffff:127.0.0.1"])
def test_this_machine_may_call_without_a_token(tmp_path: Path, peer: str) -> None:
    assert status(tmp_path, peer=peer) == 200


@pytest.mark.parametrize("peer", ["192.168.1.2", "::ffff:192.168.1.2", "8.8.8.8", None, "", "localhost.evil.com"])
def test_others_may_not(tmp_path: Path, peer: str | None) -> None:
    assert status(tmp_path, peer=peer) == 403
    assert status(tmp_path, "/api/v2/health", peer=peer) == 200


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
def test_a_proxy_on_this_machine_makes_nobody_local(tmp_path: Path, header: str) -> None:
    assert status(tmp_path, **{header: "1.2.3.4"}) == 403
    assert status(tmp_path, token=TOKEN, Authorization=f"Bearer {TOKEN}", **{header: "1.2.3.4"}) == 200


@pytest.mark.parametrize("host", ["evil.example:8188", "127.0.0.1.evil.example", "", "[", "192.168.1.5:8188"])
def test_a_name_of_somebody_elses_that_leads_here_is_refused(tmp_path: Path, host: str) -> None:
    assert status(tmp_path, host=host) == 403


def test_localhost_is_a_name_of_our_own(tmp_path: Path) -> None:
    assert status(tmp_path, host="localhost:8188") == 200
    assert status(tmp_path, host="[::1]:8188") == 200


@pytest.mark.parametrize(
    "said", ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer ünïcode", "Bearer \udcff"]
)
def test_the_token_must_be_said(tmp_path: Path, said: str) -> None:
    assert status(tmp_path, token=TOKEN, Authorization=said) == 401
    assert status(tmp_path, "/api/v2/health", token=TOKEN, Authorization=said) == 200


def test_with_the_token_one_may_call_from_anywhere(tmp_path: Path) -> None:
    assert (
        status(tmp_path, token=TOKEN, Authorization=f"bearer {TOKEN}", peer="8.8.8.8", host="pictures.example") == 200
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_call(tmp_path: Path, headers: dict[str, str]) -> None:
    assert status(tmp_path, **headers) == 403
    assert status(tmp_path, token=TOKEN, Authorization=f"Bearer {TOKEN}", **headers) == 403


def test_pages_of_our_own_and_of_listed_sites_may(tmp_path: Path) -> None:
    assert status(tmp_path, Origin="http://127.0.0.1:8188", Sec_Fetch_Site="same-origin") == 200
    (tmp_path / "service.json").write_text(json.dumps({"origins": ["https://app.example"]}))
    assert status(tmp_path, Origin="https://app.example", Sec_Fetch_Site="cross-site") == 200


def test_runware_is_told_in_its_own_words(tmp_path: Path) -> None:
    async def ask() -> tuple[int, Any]:
        service, _ = make_service(tmp_path, {"LORCHESTRA_TOKEN": TOKEN})
        try:
            return await Caller(service).ask("POST", "/v1", [{"taskType": "ping"}])
        finally:
            await service.close()

    code, body = asyncio.run(ask())
    assert code == 401
    assert body["errors"][0]["code"] == "invalidApiKey"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "expected a JSON object"),
        ('{"tokem": "x"}', "tokem"),
        ('{"token": "short"}', "16 or more"),
        ('{"graphs": "no"}', "graphs"),
        ('{"origins": "https://a"}', "origins"),
        ('{"retention_hours": 0}', "retention_hours"),
        ('{"most_queued": true}', "most_queued"),
        ('{"public_url": "pictures.example"}', "public_url"),
        ('{"defaults": {"sdxl": 1}}', "defaults"),
    ],
)
def test_settings_that_cannot_be_read_open_nothing(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "service.json").write_text(text)
    with pytest.raises(Exception, match=said):
        read_settings(tmp_path / "service.json", {})
    assert status(tmp_path) == 503
    assert status(tmp_path, "/api/v2/health") == 200


def test_the_environments_token_counts_more(tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    file.write_text(json.dumps({"token": "the-token-of-the-file", "graphs": False}))
    assert read_settings(file, {"LORCHESTRA_TOKEN": TOKEN}).token == TOKEN
    assert read_settings(file, {}).token == "the-token-of-the-file"
    assert not read_settings(file, {}).graphs
    with pytest.raises(SettingsError):
        read_settings(tmp_path / "none.json", {"LORCHESTRA_TOKEN": "short"})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/api/v2/assets/from-hash", "POST"), ("/api/v2/assets/x", "GET, DELETE"), ("/workflows/x", "GET, PUT, DELETE")],
)
def test_a_path_allows_what_it_is_itself_for(path: str, allowed: str) -> None:
    with pytest.raises(Refusal) as caught:
        find_route("OPTIONS", path)
    assert (caught.value.status, caught.value.headers) == (405, {"Allow": allowed})
