"""Publications as files: versions, names that lead nowhere else, files that are broken."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.service import Caller, make_service

from lorchestra.service.http import Refusal
from lorchestra.service.publications import Publications, read_name
from lorchestra.service.routes import ROUTES
from lorchestra.workflow.documents import openapi_of
from lorchestra.workflow.publication import Publication

GRAPH = {"1": {"class_type": "KSampler", "inputs": {"seed": 1}}}
STRANGE = [
    "", "..", "../a", "a/b", "a\\b", "/etc/passwd", "a.json", "a@", "a@0", "a@x", "a@1@2", "A",
    "a b", "é", "a\0", "a" * 65, ".a", "-a", "a@99999999", "%2e%2e", "C:a", "~",
]  # fmt: skip


def publication(name: str = "portrait", seed: int = 1) -> Publication:
    return Publication(name, 1, {"1": {"class_type": "KSampler", "inputs": {"seed": seed}}})


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_leads_to_no_other_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal) as raised:
        read_name(name)
    assert (raised.value.status, raised.value.path) == (400, "name")
    store = Publications(tmp_path / "published")
    for use in (store.find_or_raise, store.remove):
        with pytest.raises(Refusal):
            use(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["con", "nul", "com1"])
def test_nothing_is_called_as_windows_calls_a_device(tmp_path: Path, name: str) -> None:
    store = Publications(tmp_path / "published")
    for use, given, status in ((store.add, publication(name), 422), (store.find_or_raise, f"{name}@1", 404)):
        with pytest.raises(Refusal) as raised:
            use(given)  # type: ignore[operator]
        assert raised.value.status == status
    assert list(tmp_path.iterdir()) == []


def test_publishing_again_makes_a_version_and_old_ones_stay(tmp_path: Path) -> None:
    store = Publications(tmp_path)
    assert [store.add(publication(seed=seed)).reference for seed in (1, 2, 3)] == [f"portrait@{n}" for n in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["portrait.json", "portrait@1.json", "portrait@2.json"]

    def seed(name: str) -> Any:
        return store.find_or_raise(name).publication.graph["1"]["inputs"]["seed"]

    assert [seed(name) for name in ("portrait", "portrait@1", "portrait@2", "portrait@3")] == [3, 1, 2, 3]
    assert store.find_versions("portrait") == [1, 2, 3]
    with pytest.raises(Refusal, match="no published workflow"):
        store.find_or_raise("portrait@4")
    assert store.remove("portrait@2") == ["portrait@2"]
    with pytest.raises(Refusal):
        store.find_or_raise("portrait@2")
    assert store.remove("portrait@3") == ["portrait"]
    assert seed("portrait") == 1
    assert store.add(publication(seed=9)).reference == "portrait@2"
    assert store.remove("portrait") == ["portrait", "portrait@1"]
    assert list(tmp_path.iterdir()) == []


def test_two_who_publish_at_once_get_two_versions(tmp_path: Path) -> None:
    store, made = Publications(tmp_path), list[str]()
    threads = [threading.Thread(target=lambda: made.append(store.add(publication()).reference)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"portrait@{n}" for n in range(1, 9)]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    store = Publications(tmp_path)
    store.add(publication(seed=1))
    other = Publications(tmp_path)
    other.add(publication(seed=2))
    assert store.find_or_raise("portrait").reference == "portrait@2"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", "[" * 10_000, json.dumps(publication("other").to_json()), "\0"]
)
def test_a_broken_file_is_told_and_keeps_nothing_else_from_being_called(tmp_path: Path, text: str) -> None:
    store = Publications(tmp_path)
    store.add(publication("good"))
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(Refusal) as raised:
        store.find_or_raise("bad")
    assert (raised.value.status, raised.value.code) == (500, "publication_broken")
    assert [one.publication.name for one in store.newest()] == ["good"]


def test_a_graph_that_somebody_changed_is_not_run(tmp_path: Path) -> None:
    store = Publications(tmp_path)
    store.add(publication())
    file = tmp_path / "portrait.json"
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 7'))
    with pytest.raises(Refusal, match="changed"):
        store.find_or_raise("portrait")


def test_the_routes_of_publications(tmp_path: Path) -> None:
    async def test() -> None:
        service, backend = make_service(tmp_path)
        caller = Caller(service)
        try:
            body = {"publication": publication("x").to_json(), "description": "A portrait."}
            code, made = await caller.ask("PUT", "/workflows/portrait", body)
            assert (code, made["name"], made["version"], made["description"]) == (201, "portrait", 1, "A portrait.")
            assert made["urls"]["jobs"] == "http://127.0.0.1:8188/lorchestra/workflows/portrait/jobs"
            _, listed = await caller.ask("GET", "/workflows")
            assert [(one["name"], one["version"]) for one in listed["workflows"]] == [("portrait", 1)]
            _, one = await caller.ask("GET", "/workflows/portrait")
            assert one["graph"] == GRAPH and one["versions"] == [1]
            _, schema = await caller.ask("GET", "/workflows/portrait/schema.json")
            assert schema["type"] == "object"
            for path in ("/workflows/portrait/openapi.json", "/openapi.json"):
                assert (await caller.ask("GET", path))[1]["openapi"].startswith("3.1")
            code, job = await caller.ask("POST", "/workflows/portrait/jobs", {})
            assert (code, job["status"], job["workflow"]) == (202, "queued", "portrait@1")
            assert backend.graphs[job["id"]] == GRAPH
            for body, path in (
                ({}, None),
                ({"workflow": {}, "publication": {}}, None),
                ({"workflow": {}, "other": 1}, "other"),
                ({"workflow": {}, "description": 1}, "description"),
            ):
                code, answer = await caller.ask("PUT", "/workflows/portrait", body)
                assert (code, (answer["error"]["details"] or {}).get("path")) == (400, path)
            assert (await caller.ask("PUT", "/workflows/portrait@2", {"workflow": GRAPH}))[0] == 400
            assert (await caller.ask("PUT", "/workflows/x", {"publication": {"form": 9}}))[0] == 422
            assert (await caller.ask("GET", "/workflows?other=1"))[0] == 400
            assert (await caller.ask("DELETE", "/workflows/portrait"))[1] == {"removed": ["portrait"]}
            assert (await caller.ask("GET", "/workflows/portrait"))[0] == 404
            assert (await caller.ask("DELETE", "/workflows/portrait"))[0] == 404
            assert (await caller.ask("POST", "/workflows/portrait/jobs", {}))[0] == 404
        finally:
            await service.close()

    asyncio.run(test())


def test_a_dry_run_says_what_would_be_published_and_keeps_nothing(tmp_path: Path) -> None:
    graph: Any = {
        "1": {"class_type": "KSampler", "inputs": {"seed": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    extra = {"lorchestra": {"inputs": [{"node": "1", "widget": "seed", "minimum": -1}]}}
    saved = {"nodes": [], "links": [], "version": 0.4, "extra": extra}

    async def test() -> None:
        service, _ = make_service(tmp_path)
        caller = Caller(service)
        url = "/workflows/portrait?dry_run=true&base_url=https://pictures.example/comfy/lorchestra/"
        try:
            code, draft = await caller.ask("PUT", url, {"workflow": graph})
            assert code == 200
            made = draft["publication"]
            assert (made["version"], [item["place"] for item in made["inputs"]]) == (1, [["1", "seed"]])
            assert "graph" not in made
            assert draft["found"]["inputs"] == made["inputs"]
            assert draft["others"] == [["2", "filename_prefix"]]
            assert draft["schema"]["properties"].keys() == {"seed"}
            assert made["urls"]["jobs"] == "https://pictures.example/comfy/lorchestra/workflows/portrait/jobs"
            assert set(draft["programs"]) == {"curl", "python", "requests", "typescript"}
            assert all("https://pictures.example/comfy/lorchestra" in text for text in draft["programs"].values())
            assert (draft["versions"], draft["is_published"]) == ([], False)
            assert (await caller.ask("GET", "/workflows"))[1] == {"workflows": []}
            assert (await caller.ask("PUT", "/workflows/portrait", {"workflow": graph}))[0] == 201
            draft = (await caller.ask("PUT", url, {"workflow": graph}))[1]
            assert (draft["versions"], draft["is_published"], draft["publication"]["version"]) == ([1], True, 2)
            graph["1"]["inputs"]["seed"] = 2
            draft = (await caller.ask("PUT", url, {"workflow": graph}))[1]
            assert not draft["is_published"]
            given = {"publication": publication("x").to_json(), "description": "A portrait."}
            draft = (await caller.ask("PUT", url, given))[1]
            assert draft["publication"]["description"] == "A portrait."
            assert (await caller.ask("PUT", url, {"workflow": saved}))[0] == 422
            for query, path in (("dry_run=yes", "dry_run"), ("base_url=file:///etc", "base_url"), ("x=1", "x")):
                code, answer = await caller.ask("PUT", f"/workflows/portrait?{query}", {"workflow": graph})
                assert (code, answer["error"]["details"]["path"]) == (400, path)
            assert len((await caller.ask("GET", "/workflows/portrait"))[1]["versions"]) == 1
        finally:
            await service.close()

    asyncio.run(test())


def test_without_what_checks_requests_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        service, _ = make_service(tmp_path)
        try:
            monkeypatch.setitem(sys.modules, "jsonschema", None)  # as if it were not installed
            code, answer = await Caller(service).ask("PUT", "/workflows/portrait?dry_run=true", {"workflow": GRAPH})
            assert (code, answer["error"]["code"]) == (503, "unavailable")
            assert "python -m pip install -r requirements.txt" in answer["error"]["message"]
        finally:
            await service.close()

    asyncio.run(test())


def test_the_document_has_every_operation_and_no_other() -> None:
    def shown(method: str, path: str) -> tuple[str, str]:
        return method.upper(), path.replace("/x/", "/{name}/")

    paths: dict[str, Any] = openapi_of([publication("x")], "http://127.0.0.1:8188/lorchestra")["paths"]
    told = {
        shown(method, path): operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert told.keys() == {(route.method, route.path) for route in ROUTES}
    open_ones = {at for at, operation in told.items() if operation.get("security") == [{}]}
    assert open_ones == {(route.method, route.path) for route in ROUTES if route.is_open}
