"""The routes of the face on ComfyUI's own server, asked over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import json
import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from support.comfyui_server import import_server
from support.models import load_unet
from support.sparse_files import base_shapes, lora_shapes, write_sparse

import nodes
from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.loras import layers, write_lora
from lorchestra.sentences import say, with_parts

pytestmark = pytest.mark.oldest

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SHA = "ab" * 32
STRANGE = '<img src=x onerror=alert(1)> & "q" 🎨'


@pytest.fixture
def ask(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Sends a request to a server of ComfyUI's with our routes; gives (status, headers, body)."""
    comfyui = import_server()
    for node in pack.node_list:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    routes = sys.modules[f"{pack.__name__}.nodes.routes"]
    importlib.import_module(f"{pack.__name__}.nodes.host.process").lora_library.cache_clear()
    loop = asyncio.new_event_loop()
    before = getattr(comfyui.PromptServer, "instance", None)

    async def start() -> Any:
        running = comfyui.PromptServer(asyncio.get_running_loop())
        routes.add_routes()
        routes.add_routes()  # as ComfyUI calls on_load and get_node_list
        running.app.add_routes(running.routes)
        client = TestClient(TestServer(running.app))
        await client.start_server()
        return client

    client = loop.run_until_complete(start())

    def ask(method: str, path: str, data: Any = None, **query: str) -> tuple[int, Any, Any]:
        async def send() -> tuple[int, Any, Any]:
            is_raw = isinstance(data, bytes) or data is None or hasattr(data, "__aiter__")
            body = data if is_raw else json.dumps(data).encode()
            async with client.request(method, f"/lorchestra/{path}", data=body, params=query) as answer:
                content = await answer.read()
                is_json = answer.content_type == "application/json"
                return answer.status, answer.headers, json.loads(content) if is_json else content

        return loop.run_until_complete(send())

    ask.client, ask.loop = client, loop  # type: ignore[attr-defined]
    yield ask
    loop.run_until_complete(client.close())
    loop.close()
    if before is None:
        del comfyui.PromptServer.instance
    else:
        comfyui.PromptServer.instance = before


@pytest.fixture
def files(loras: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LoRAs for three models, a base, sidecars, and what is no LoRA."""
    write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    write_sparse(loras / "styles/sdxl.safetensors", lora_shapes("sdxl", "*attn?.to_*"), {"modelspec.title": "Nice"})
    write_sparse(loras / f"{STRANGE}.safetensors", lora_shapes("sdxl", "*attn1.to_q*"))
    write_sparse(loras / "base.safetensors", base_shapes("sd15"))
    (loras / "empty.safetensors").touch()
    (loras / "styles/sdxl.preview.png").write_bytes(PNG)
    info = {"modelId": 1, "id": 2, "files": [{"hashes": {"SHA256": SHA}}], "trainedWords": ["<script>x</script>"]}
    (loras / "styles/sdxl.civitai.info").write_text(json.dumps({**info, "description": "<p>a</p><script>x</script>"}))
    place = loras.parent / "checkpoints"
    write_sparse(place / "sdxl.safetensors", base_shapes("sdxl"))
    write_sparse(loras.parent / "secret.safetensors", lora_shapes("sdxl", "*attn1.to_q*"))
    (loras.parent / "secret.png").write_bytes(PNG)
    extensions = folder_paths.supported_pt_extensions
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(place)], extensions))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return loras


def prompt(rows: Any, loader: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    return {
        "1": loader or {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
        "9": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["1", 0], "loras": rows, **inputs}},
    }


def listed(ask: Callable[..., Any]) -> dict[str, Any]:
    """The list when all is known."""
    for _ in range(500):
        status, _, body = ask("GET", "loras")
        assert status == 200
        if body["pending"] == 0:
            return {row["name"]: row for row in body["loras"]}
        time.sleep(0.02)
    raise AssertionError("the background never came to an end")


def test_the_list_comes_at_once_and_fills_itself(files: Path, ask: Callable[..., Any]) -> None:
    first = ask("GET", "loras")[2]
    assert len(first["loras"]) == 5
    assert first["pending"] > 0
    rows = listed(ask)
    assert rows["styles/sdxl.safetensors"] | {"size": 0, "modified": 0} == {
        "name": "styles/sdxl.safetensors",
        "size": 0,
        "modified": 0,
        "title": "Nice",
        "triggers": ["<script>x</script>"],
        "stated": True,
        "architectures": ["sdxl"],
        "family": ["SDXL"],
        "kind": "lora",
        "algorithm": "LoRA",
        "preview": True,
        "images": 1,
        "videos": 0,
        "known": True,
    }
    assert rows["base.safetensors"]["kind"] == "checkpoint"
    assert rows["empty.safetensors"]["kind"] == "unreadable"
    assert rows[f"{STRANGE}.safetensors"]["family"] == ["SDXL"]
    assert {"flux1_dev", "flux1_schnell"} <= set(rows["flux.safetensors"]["architectures"])


def test_each_row_gets_its_badge(files: Path, ask: Callable[..., Any]) -> None:
    listed(ask)
    rows = [
        {"lora": "styles/sdxl.safetensors"},
        {"lora": "flux", "on": False},
        {"lora": "old/SDXL.safetensors", "sha256": SHA, "air": "civitai:1@2"},
        {"lora": "base.safetensors"},
        {"lora": "empty"},
        {"lora": "sdxl", "model": "much"},
        {"lora": "civitai:1@2"},
        {"lora": "../secret.safetensors"},
    ]
    text = json.dumps({"version": 1, "loras": rows})
    stacks = [{"node": "9", "loras": text}, {"node": 7, "loras": {"loras": rows[:1]}}, {"node": "8", "loras": "what"}]
    status, _, body = ask("POST", "check", {"prompt": prompt(text, clip=["1", 1]), "stacks": stacks})
    assert status == 200
    connected, alone, unreadable = body["stacks"]
    assert connected["model"] == {"title": "SDXL", "architectures": ["sdxl"]}
    assert connected["has_clip"] is True
    states = ["fits", "misfit", "fits", "not-a-lora", "broken", "broken", "fits", "missing"]
    assert [row["state"] for row in connected["rows"]] == states
    sentences = [row["sentence"] for row in connected["rows"]]
    assert sentences[0].startswith("all ") and sentences[0].endswith(" modules fit")
    # The row is off, so that nobody is told to switch it off.
    assert sentences[1] == "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA."
    by_hash = "used styles/sdxl.safetensors, found by the hash in its sidecar, which was not compared with the file"
    assert sentences[2] == f"{sentences[0]}; {by_hash}"
    assert sentences[6] == f"{sentences[0]}; used styles/sdxl.safetensors, found by its AIR civitai:1@2"
    assert 'the weight "model" is' in sentences[5]
    assert [row["file"] for row in connected["rows"]][1:3] == ["flux.safetensors", "styles/sdxl.safetensors"]
    assert connected["rows"][7]["candidates"] == []
    known = {"sha256": SHA, "air": "civitai:1@2"}
    assert [row["known"] for row in connected["rows"]][:3] == [known, {"sha256": None, "air": None}, known]
    assert [bool(row["how"]) for row in connected["rows"]] == [False, False, True, False, False, False, True, False]
    assert (connected["rows"][0]["sha256"], connected["rows"][0]["air"]) == (SHA, "civitai:1@2")
    assert (alone["node"], alone["model"], alone["rows"][0]["state"]) == ("7", None, "unknown")
    assert unreadable["rows"] == [] and "neither JSON" in unreadable["error"]


def test_the_files_that_a_row_may_mean_say_whether_they_fit(files: Path, ask: Callable[..., Any]) -> None:
    """Those that fit come first; and the first answer has the AIR of a sidecar, though nothing was read before."""
    (files / "a").mkdir()
    shutil.copy(files / "flux.safetensors", files / "a/mark.safetensors")
    (files / "b").mkdir()
    shutil.copy(files / "styles/sdxl.safetensors", files / "b/mark.safetensors")
    rows = [{"lora": "mark"}, {"lora": "gone/mark.safetensors"}, {"lora": "styles/sdxl.safetensors"}, {"lora": "gone"}]
    text = json.dumps({"version": 1, "loras": rows})

    def check(**inputs: Any) -> list[dict[str, Any]]:
        body = {"prompt": prompt(text, **inputs), "stacks": [{"node": "9", "loras": text}]}
        return ask("POST", "check", body)[2]["stacks"][0]["rows"]

    found = check()
    assert [row["state"] for row in found] == ["missing", "missing", "fits", "missing"]
    assert [row["ambiguous"] for row in found] == [True, True, False, False]
    for row in found[:2]:
        states = [(one["name"], one["state"]) for one in row["candidates"]]
        assert states == [("b/mark.safetensors", "fits"), ("a/mark.safetensors", "misfit")]
    assert found[2]["known"] == {"sha256": SHA, "air": "civitai:1@2"}
    assert found[3]["sentence"].endswith("switch the row off, or let the node skip it.")
    for inputs in ({"missing": "skip"}, {"policy": "warn"}):
        (sentence,) = [row["sentence"] for row in check(**inputs)][3:]
        assert "gone was not found; the row is skipped" in sentence and "set missing" not in sentence


def test_a_tag_with_two_weights_is_asked_about(ask: Callable[..., Any]) -> None:
    def read(text: str, **more: Any) -> dict[str, Any]:
        return ask("POST", "read", {"text": text, **more})[2]

    assert read("<lora:a:1> <lora:b:0.5:0.25>")["ordered"] == 2
    split = '{"loras": [{"lora": "a", "model": 1, "clip": 0.5}]}'
    for text in ("<lora:b:0.5:0.5>", "<lora:a:te=0.5:unet=0.25>", split):
        assert read(text)["ordered"] is None
    first = read("<lora:b:0.5:0.25>", order="model-first")
    assert (first["ordered"], first["loras"][0]["model"], first["loras"][0]["clip"]) == (None, 0.5, 0.25)


def test_what_is_missing_is_told_without_opening_a_file(
    files: Path, ask: Callable[..., Any], pack: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ask)
    monkeypatch.setattr(importlib.import_module(f"{pack.__name__}.lorchestra.fit.badge"), "look", None)
    rows = [
        {"lora": "flux"},
        {"lora": "gone", "air": "urn:air:sdxl:lora:civitai:7@8"},
        {"lora": "also gone", "hash": SHA[:10]},
    ]
    body = {"prompt": None, "only_found": True, "stacks": [{"node": "9", "loras": {"loras": rows}}]}
    (stack,) = ask("POST", "check", body)[2]["stacks"]
    assert [row["state"] for row in stack["rows"]] == ["unknown", "missing", "unknown"]
    assert [row["page"] for row in stack["rows"]] == [None, "https://civitai.com/models/7?modelVersionId=8", None]
    assert [row["made_for"] for row in stack["rows"]] == [[], ["SDXL", "SSD-1B", "Segmind Vega"], []]
    assert stack["rows"][2]["file"] == "styles/sdxl.safetensors"


def test_a_catalog_that_cannot_be_kept_is_told_and_logged_once(
    loras: Path,
    ask: Callable[..., Any],
    pack: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = importlib.import_module(f"{pack.__name__}.lorchestra.library.catalog")
    monkeypatch.setattr(catalog.Library, "problem", "the catalog cannot be used here")
    for _ in range(3):
        assert ask("GET", "loras")[2]["problem"] == "the catalog cannot be used here"
    assert caplog.text.count("the catalog cannot be used here") == 1


@pytest.mark.parametrize("missing", ["gone.safetensors", "../checkpoints/sdxl.safetensors"])
def test_without_a_known_model_nothing_is_claimed(files: Path, ask: Callable[..., Any], missing: str) -> None:
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": missing}}
    body = {"prompt": prompt("", loader), "stacks": [{"node": "9", "loras": "<lora:flux:1>"}]}
    (stack,) = ask("POST", "check", body)[2]["stacks"]
    assert stack["model"] is None
    assert stack["rows"][0]["state"] == "unknown"
    assert stack["rows"][0]["sentence"].startswith("made for FLUX.1; whether it fits is told")


def test_badges_follow_the_model_s_file_and_the_mode(files: Path, ask: Callable[..., Any]) -> None:
    row = json.dumps([{"lora": "styles/sdxl", "schedule": "fade-in", "model": 1}])

    def state(**inputs: Any) -> list[str]:
        body = {"prompt": prompt(row, **inputs), "stacks": [{"node": "9", "loras": row}]}
        (found,) = ask("POST", "check", body)[2]["stacks"][0]["rows"]
        return [found["state"], found["sentence"]]

    assert state()[0] == "fits"
    assert "has a schedule" in state(mode="merge")[1]
    write_sparse(files.parent / "checkpoints/sdxl.safetensors", base_shapes("sd15"))
    assert state()[0] == "misfit"


def test_a_card_s_data(files: Path, ask: Callable[..., Any]) -> None:
    status, _, body = ask("GET", "info", lora="styles/sdxl.safetensors")
    assert status == 200
    assert (body["lora"], body["family"], body["sha256"], body["air"]) == (
        "styles/sdxl.safetensors", ["SDXL"], SHA, "civitai:1@2",
    )  # fmt: skip
    assert body["notes"] == [{"kind": "description", "text": "a"}]
    assert body["path"] == f"{files.name}/styles/sdxl.safetensors"
    hashed = ask("GET", "info", lora="empty.safetensors", hash="1")[2]
    assert hashed["kind"] == "unreadable"
    assert hashed["sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


NOWHERE = ["../secret.safetensors", "..\\secret.safetensors", "/etc/passwd", "", "styles", "x\0y", "styles/../flux"]


@pytest.mark.parametrize("name", NOWHERE)
def test_names_that_are_not_listed_lead_nowhere(files: Path, ask: Callable[..., Any], name: str) -> None:
    for route in ("info", "preview", "thumbnail"):
        status, _, body = ask("GET", route, lora=name)
        assert status == 400
        assert body["error"].startswith("there is no LoRA")


def test_previews_are_images_and_nothing_else(files: Path, ask: Callable[..., Any]) -> None:
    status, headers, body = ask("GET", "preview", lora="styles/sdxl.safetensors")
    assert (status, headers["Content-Type"], body) == (200, "image/png", PNG)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask("GET", "preview", lora="flux.safetensors")[0] == 404
    for data in (b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", b"<html><script>x</script>"):
        (files / "flux.png").write_bytes(data)
        status, headers, body = ask("GET", "preview", lora="flux.safetensors")
        assert (status, headers["Content-Type"].split(";")[0]) == (404, "application/json")


def test_all_previews_are_listed_and_videos_too(files: Path, ask: Callable[..., Any]) -> None:
    video = b"\0\0\0\x18ftypmp42" + b"\0" * 20
    (files / "styles/sdxl.mp4").write_bytes(video)
    (files / "flux.webm").write_bytes(b"<html><script>x</script>")
    assert ask("GET", "info", lora="styles/sdxl.safetensors")[2]["previews"] == ["image", "video"]
    for number, expected in (("0", (200, "image/png")), ("1", (200, "video/mp4"))):
        status, headers, _ = ask("GET", "preview", lora="styles/sdxl.safetensors", number=number)
        assert (status, headers["Content-Type"]) == expected
    for number in ("2", "-1", "x", "99999999999999999999"):
        assert ask("GET", "preview", lora="styles/sdxl.safetensors", number=number)[0] == 404
    assert ask("GET", "preview", lora="flux.safetensors", number="0")[0] == 404


def test_thumbnails_are_small_kept_and_never_of_what_is_no_picture(
    pack: ModuleType, files: Path, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path))
    process = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    process.thumbnails.cache_clear()
    Image.new("RGB", (3000, 2000), "red").save(files / "styles/sdxl.jpg")
    (files / "styles/sdxl.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    sdxl = {"lora": "styles/sdxl.safetensors"}
    status, headers, body = ask("GET", "thumbnail", **sdxl, number="1")
    assert (status, headers["Content-Type"], headers["X-Content-Type-Options"]) == (200, "image/webp", "nosniff")
    assert Image.open(io.BytesIO(body)).size == (384, 256)
    (place,) = (tmp_path / "__lorchestra/thumbnails").rglob("*.webp")
    assert place.read_bytes() == body == ask("GET", "thumbnail", **sdxl, number="1")[2]
    for number in ("2", "3", "x"):  # the video, and what is not there
        assert ask("GET", "thumbnail", **sdxl, number=number)[0] == 404
    assert ask("GET", "thumbnail", lora="flux.safetensors")[0] == 404
    (files / "flux.png").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>")
    status, _, body = ask("GET", "thumbnail", lora="flux.safetensors")
    assert status == 415
    assert body["error"].startswith("flux.png: this is SVG")
    process.thumbnails.cache_clear()


def test_what_people_say_is_written_into_our_own_sidecars(files: Path, ask: Callable[..., Any]) -> None:
    listed(ask)
    before = (files / "styles/sdxl.civitai.info").read_bytes()
    changes = {"trigger_words": ["mine"], "weight": 0.6, "favourite": True}
    names = ["styles/sdxl.safetensors", "flux.safetensors", "../secret.safetensors", 3]
    status, _, body = ask("POST", "edit", {"loras": names, "changes": changes})
    assert status == 200
    assert body["written"] == ["sdxl.lorchestra.json", "flux.lorchestra.json"]
    assert [one["error"].startswith("there is no LoRA") for one in body["problems"]] == [True, True]
    assert not (files.parent / "secret.lorchestra.json").exists()
    assert (files / "styles/sdxl.civitai.info").read_bytes() == before
    row = {one["name"]: one for one in ask("GET", "loras")[2]["loras"]}["styles/sdxl.safetensors"]
    assert (row["triggers"], row["favourite"], row["known"], row["title"]) == (["mine"], True, True, "Nice")
    assert ask("GET", "info", lora="styles/sdxl.safetensors")[2]["weight"] == 0.6
    for bad in ({"loras": [], "changes": changes}, {"loras": names, "changes": {"path": "x"}}, {"loras": names}):
        assert ask("POST", "edit", bad)[0] == 400


def test_finding_reads_what_it_needs(files: Path, ask: Callable[..., Any]) -> None:
    by_air = ask("POST", "find", {"lora": "gone.safetensors", "air": "urn:air:sdxl:lora:civitai:1@2"})[2]
    sdxl = {"name": "styles/sdxl.safetensors", "sha256": SHA, "air": "civitai:1@2"}
    assert by_air == {"candidates": [with_parts({**sdxl, "why": say("the same AIR"), "by": "air"})], "left": 0}
    by_name = ask("POST", "find", {"lora": "old\\Flux.safetensors"})[2]["candidates"]
    flux = {"name": "flux.safetensors", "sha256": None, "air": None}
    assert by_name == [with_parts({**flux, "why": say("the same file name"), "by": "name"})]
    assert ask("POST", "find", {"lora": "flu"})[2]["candidates"] == []
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert ask("POST", "find", {"lora": "x", "sha256": empty})[2]["candidates"] == []
    deep = ask("POST", "find", {"lora": "x", "sha256": empty, "size": 0, "deep": True})[2]
    assert [item["name"] for item in deep["candidates"]] == ["empty.safetensors"]


def test_blocks_of_the_model_and_of_a_row(files: Path, ask: Callable[..., Any]) -> None:
    row = {"lora": "styles/sdxl.safetensors"}
    body = ask("POST", "blocks", {"prompt": prompt("[]"), "node": "9", "row": row})[2]
    assert (body["title"], body["is_model"], body["lacking"], body["note"]) == ("SDXL", True, 0, "")
    touched = {(one["name"], one["number"]): sum(kind["on"] for kind in one["kinds"]) for one in body["blocks"]}
    assert touched["input", 4] > 0 and touched["input", 0] == 0 and touched["middle", None] > 0
    assert {one["encoder"] for one in body["blocks"]} == {"", "clip_l", "clip_g"}
    without = ask("POST", "blocks", {"prompt": {}, "node": "9", "row": {"lora": "flux"}})[2]
    assert without["is_model"] is False and without["title"].startswith("FLUX")
    other = ask("POST", "blocks", {"prompt": prompt("[]"), "node": "9", "row": {"lora": "gone"}})[2]
    assert other["lacking"] is None and "not on this machine" in other["note"] and other["blocks"]
    for bad in ({"lora": "gone"}, {"lora": "../secret.safetensors"}, {"lora": "empty"}, {"lora": 7}, None, "what"):
        told = ask("POST", "blocks", {"prompt": None, "node": "9", "row": bad})[2]
        assert "neither the model" in told["error"] and told["note"], bad
    for bad in ({"node": 9}, {"node": "9", "prompt": []}):
        assert ask("POST", "blocks", bad)[0] == 400


def test_schedules(ask: Callable[..., Any]) -> None:
    body = ask("POST", "schedule", {"text": "0:0, 30%:1 ease, 1:0.2", "steps": 4})[2]
    assert body["text"] == "0:0, 0.3:1 ease, 1:0.2"
    assert body["keyframes"][1] == {
        "at": 0.3, "unit": "progress", "weight": 1.0, "easing": "ease-in-out", "curve": 0,
    }  # fmt: skip
    assert body["steps"] == [0, 0.25, 0.5, 0.75]
    samples = dict(map(tuple, body["samples"]))
    assert (samples[0], samples[1], samples[0.5] > 0.2) == (0, 0.2, True)
    by_sigma = {"text": "sigma 10:1, 5:0"}
    assert ask("POST", "schedule", by_sigma)[2]["samples"] == []
    assert ask("POST", "schedule", {**by_sigma, "sigmas": [10, 5, 0]})[2]["steps"] == [0, 0.5]
    error = ask("POST", "schedule", {"text": "0:0, x"})[2]
    assert error["column"] == 6 and error["error"]
    assert ask("POST", "schedule", {"text": "fade-in"})[2]["text"] == "0:0, 1:1"


def test_stacks_from_and_to_text(ask: Callable[..., Any]) -> None:
    rows = [{"lora": "a", "model": 0.5}]
    for text in ("<lora:a:0.5>", json.dumps(rows), '[{"on": true, "lora": "a", "strength": 0.5}]',
                 '{"__value__": [{"name": "a", "strength": "0.5", "active": true}]}'):  # fmt: skip
        body = ask("POST", "read", {"text": text})[2]
        assert (body["loras"], body["notes"]) == (rows, [])
    assert ask("POST", "read", {"text": "a cat <lora:a:0.5>"})[2]["notes"]
    written = ask("POST", "write", {"loras": [{"lora": "d/a", "model": 0.5}], "as": "a1111"})[2]
    assert written["text"] == "<lora:a:0.5>" and len(written["losses"]) == 1
    for name in ("rgthree", "lora-manager", "json"):
        text = ask("POST", "write", {"loras": rows, "as": name})[2]["text"]
        assert ask("POST", "read", {"text": text})[2]["loras"] == rows
    runware = {"loras": rows, "as": "runware"}
    assert ask("POST", "write", runware)[0] == 400
    assert json.loads(ask("POST", "write", {**runware, "allow_names": True})[2]["text"]) == [
        {"model": "a", "weight": 0.5}
    ]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("check", b"{"), ("check", b"[" * 100_000), ("check", b"\xff"), ("check", []), ("check", {}),
        ("check", {"stacks": [1]}), ("check", {"stacks": [], "prompt": []}), ("find", {"lora": 1}),
        ("schedule", {}), ("read", {"text": 1}), ("read", {"text": "nonsense"}), ("read", {"text": "a", "order": "x"}),
        ("write", {"loras": 1}), ("write", {"loras": [], "as": "nobody"}), ("write", {"loras": [1], "as": "json"}),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(loras: Path, ask: Callable[..., Any], route: str, body: Any) -> None:
    status, _, answer = ask("POST", route, body)
    assert status == 400
    assert answer.keys() <= {"error", "said"} and answer["error"]


def test_a_prompt_of_any_shape_is_no_failure(files: Path, ask: Callable[..., Any]) -> None:
    for strange in ({"9": 1}, {"9": {"inputs": []}}, {"9": {"inputs": {"model": ["9", 0]}}}, {}, None):
        body = {"prompt": strange, "stacks": [{"node": "9", "loras": "<lora:flux:1>"}]}
        status, _, answer = ask("POST", "check", body)
        assert (status, answer["stacks"][0]["rows"][0]["state"]) == (200, "unknown")


def test_ten_thousand_files_and_four_thousand_rows(loras: Path, files: Path, ask: Callable[..., Any]) -> None:
    """Bounds that noise does not reach; the list takes 0.2 s of a processor, and 4,000 rows of 20 files as long."""
    for number in range(10_000):
        path = loras / f"many-{number % 40}" / f"style-{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    folder_paths.filename_list_cache.clear()
    took = {}
    for when in ("the first time, with nothing read", "while the background reads"):
        started = time.monotonic()
        status, _, body = ask("GET", "loras")
        took[when] = time.monotonic() - started
        assert (status, len(body["loras"])) == (200, 10_005)
    print(took)
    assert max(took.values()) < 20
    names = [f"many-{number}/style-{number}.safetensors" for number in range(18)]
    rows = [{"lora": name} for name in ("styles/sdxl.safetensors", "flux.safetensors", *names)]
    stacks = [{"node": "9", "loras": json.dumps({"version": 1, "loras": rows})} for _ in range(200)]
    request = {"prompt": prompt(""), "stacks": stacks}
    ask("POST", "check", request)
    started = time.monotonic()
    answer = ask("POST", "check", request)[2]
    print(f"check: {time.monotonic() - started:.3f} s")
    assert time.monotonic() - started < 30
    assert [row["state"] for row in answer["stacks"][199]["rows"]][:3] == ["fits", "misfit", "broken"]
    missing = [{"lora": f"gone-{number}", "sha256": f"{number:064x}"} for number in range(500)]
    started = time.monotonic()
    answer = ask("POST", "check", {"prompt": None, "stacks": [{"node": "9", "loras": {"loras": missing}}]})[2]
    print(f"missing: {time.monotonic() - started:.3f} s")
    assert {row["state"] for row in answer["stacks"][0]["rows"]} == {"missing"}
    assert time.monotonic() - started < 30


def test_the_badge_says_what_lora_check_says(files: Path, ask: Callable[..., Any], check_node: Any) -> None:
    write_checkpoint(files.parent / "checkpoints/small.safetensors", clip=False, vae=False)
    write_lora(files / "fits.safetensors", layers("*.attn?.to_*"), rank=2)
    write_lora(files / "encoder.safetensors", layers("*.attn1.to_*") | layers("text_model.*.q_proj"), rank=2)
    folder_paths.filename_list_cache.clear()
    names = ("fits", "encoder", "styles/sdxl", "flux")
    rows = [(f"{name}.safetensors", 1.0, 1.0) for name in names]
    data = json.loads(check_node.execute(load_unet(torch.float16), rows).result[2])
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "small.safetensors"}}
    body = {"prompt": prompt("", loader), "stacks": [{"node": "9", "loras": [{"lora": row[0]} for row in rows]}]}
    badges = ask("POST", "check", body)[2]["stacks"][0]["rows"]
    states = {"compatible": "fits", "partial": "partly", "incompatible": "misfit"}
    for badge, row in zip(badges, data["rows"], strict=True):
        assert badge["state"] == states[row["verdict"]], (badge, row)
        assert badge["sentence"] == row["sentence"].removeprefix("weight 1, ")
    assert [badge["state"] for badge in badges[:2]] == ["fits", "fits"]


def test_files_that_are_no_files_are_never_opened(
    loras: Path, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe waits for its writer, and `/dev/zero` never ends; `ask` is one thread, so that all would stand still."""
    os.mkfifo(loras / "pipe.safetensors")
    os.mkfifo(loras / "flux.json")
    os.mkfifo(loras / "flux.preview.png")
    (loras / "zero.safetensors").symlink_to("/dev/zero")
    (loras / "loop.safetensors").symlink_to("loop.safetensors")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(loras)  # the path of a socket may have a hundred characters
        listening.bind("socket.safetensors")
        write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
        folder_paths.filename_list_cache.clear()
        listed(ask)
        for name in ("pipe", "zero", "socket", "loop"):
            status, _, body = ask("GET", "info", lora=f"{name}.safetensors", hash="1")
            assert status in (200, 400)
            assert body.get("sha256") is None and body.get("problem", body.get("error"))
            assert ask("GET", "preview", lora=f"{name}.safetensors")[0] in (404, 400)
            assert ask("GET", "thumbnail", lora=f"{name}.safetensors")[0] in (404, 400)
        assert ask("GET", "info", lora="flux.safetensors")[2]["family"] == ["FLUX.1"]
        assert ask("GET", "preview", lora="flux.safetensors")[0] == 404
        sought = {"lora": "x", "sha256": SHA, "deep": True}
        assert ask("POST", "find", sought)[2] == {"candidates": [], "left": 0}
        rows = [{"lora": f"{name}.safetensors"} for name in ("pipe", "zero", "socket")]
        (stack,) = ask("POST", "check", {"stacks": [{"node": "9", "loras": rows}]})[2]["stacks"]
        assert {row["state"] for row in stack["rows"]} == {"broken"}


@pytest.mark.parametrize("length", [231, 232, 240, 243, 244])
def test_the_longest_names(loras: Path, ask: Callable[..., Any], length: int) -> None:
    """A preview's name would be longer than a name may be, so that there is none."""
    name = f"{'x' * (length - 1)}y.safetensors"[-255:]
    write_sparse(loras / name, lora_shapes("sdxl", "*attn1.to_q*"))
    assert ask("GET", "info", lora=name, hash="1")[2]["family"] == ["SDXL"]
    status, _, body = ask("GET", "preview", lora=name)
    assert (status, body) == (404, {"error": "there is no preview image beside this LoRA"})
    (stack,) = ask("POST", "check", {"stacks": [{"node": "9", "loras": [{"lora": name}]}]})[2]["stacks"]
    assert stack["rows"][0]["state"] == "unknown"


def test_no_answer_tells_where_the_files_are(files: Path, ask: Callable[..., Any]) -> None:
    """What is above ComfyUI's folders of models is nobody's business but the server's."""
    (files / "long.safetensors").write_bytes(b"x")
    (files / "old.safetensors").write_bytes(b"\x80\x02cposix\nsystem")
    folder_paths.filename_list_cache.clear()
    rows = [{"lora": name} for name in (*listed(ask), "gone.safetensors")]
    stacks = [{"node": "9", "loras": rows}]
    answers: list[Any] = [ask("GET", "loras"), ask("POST", "check", {"prompt": prompt(""), "stacks": stacks})]
    answers += [ask("GET", "info", lora="gone"), ask("POST", "find", {"lora": "gone"})]
    answers += [ask("GET", "info", lora=row["lora"]) for row in rows]
    for _, _, body in answers:
        assert str(files.parent) not in json.dumps(body)


def test_names_that_no_row_can_hold_are_told_apart(loras: Path, ask: Callable[..., Any]) -> None:
    for name in (b"a\nb.safetensors", b"\xe9.safetensors", b"good.safetensors"):
        (loras / os.fsdecode(name)).touch()
    folder_paths.filename_list_cache.clear()
    body = ask("GET", "loras")[2]
    assert [row["name"] for row in body["loras"]] == ["good.safetensors"]
    why = "its name has a line break or bytes that are no text; rename the file"
    assert sorted(body["unusable"], key=lambda item: item["name"]) == [
        {"name": "'\\udce9.safetensors'", "problem": "characters", "why": why},
        {"name": "'a\\nb.safetensors'", "problem": "characters", "why": why},
    ]


LIMITS = {"check": 32_000_000, "find": 100_000, "schedule": 5_000_000, "read": 5_000_000, "write": 5_000_000}


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("route", LIMITS)
def test_long_bodies_are_refused(ask: Callable[..., Any], route: str, is_chunked: bool) -> None:
    """Also from who does not say beforehand how long it is."""
    text = b'{"text": "' + b"x" * LIMITS[route] + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(text), 50_000):
            yield text[start : start + 50_000]

    status, _, body = ask("POST", route, pieces() if is_chunked else text)
    assert (status, body) == (400, {"error": f"the request has more than {LIMITS[route]:,} bytes"})


@pytest.mark.parametrize("part", [b"[],", b"{},", b"1,", b'"",', b"null,"])
@pytest.mark.parametrize("route", ["check", "read"])
def test_bodies_of_many_objects_are_refused_before_they_are_made(
    ask: Callable[..., Any], route: str, part: bytes
) -> None:
    """Ten million empty lists are 30 MB, and would take 700 MB and seven seconds of all threads."""
    count = min(LIMITS[route] - 100, 30_000_000) // len(part)
    text = b'{"stacks": [' + part * count + b'1], "text": 1, "lora": "x"}'
    started = time.thread_time()
    status, _, body = ask("POST", route, text)
    assert (status, body["error"]) == (400, "the request has more than 500,000 values")
    assert time.thread_time() - started < 2


def test_an_upload_that_breaks_off_is_no_news(
    loras: Path, ask: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def break_off() -> None:
        host, port = ask.client.server.host, ask.client.server.port
        for start in (b'{"text":', b""):
            _, writer = await asyncio.open_connection(host, port)
            head = b"POST /lorchestra/read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            writer.write(head + start)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await asyncio.sleep(0.1)

    ask.loop.run_until_complete(break_off())
    assert ask("POST", "read", {"text": "<lora:a:0.5>"})[0] == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_hashing_gets_into_nobody_s_way_and_ends_with_who_asked(loras: Path, ask: Callable[..., Any]) -> None:
    """Twelve searches through 40 GB that take no room on the disk: others are answered at once."""
    for number in range(4):
        with (loras / f"large{number}.safetensors").open("wb") as file:
            file.truncate(10_000_000_000)
    process = sys.modules[next(name for name in sys.modules if name.endswith("nodes.host.process"))]
    before = threading.active_count()

    async def search() -> tuple[float, int, int]:
        async def one(number: int) -> None:
            body = {"lora": "x", "sha256": f"{number % 2:064x}", "deep": True}
            await ask.client.post("/lorchestra/find", data=json.dumps(body).encode())

        asked = [asyncio.ensure_future(one(number)) for number in range(12)]
        for _ in range(200):
            if len(process.long_jobs()._jobs) >= 2:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # the others join them, or would not
        jobs = len(process.long_jobs()._jobs)
        started = time.monotonic()
        async with ask.client.get("/lorchestra/info", params={"lora": "large0.safetensors"}) as answer:
            assert answer.status == 200
        await asyncio.to_thread(int)  # ComfyUI's own threads are free
        took = time.monotonic() - started
        for one_asked in asked:
            one_asked.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        for _ in range(200):
            if not process.long_jobs()._jobs:
                break
            await asyncio.sleep(0.05)
        return took, jobs, len(process.long_jobs()._jobs)

    took, jobs, left = ask.loop.run_until_complete(search())
    assert jobs == 2  # equal ones are joined
    assert left == 0
    assert took < 3
    assert threading.active_count() <= before + 4


def test_all_files_are_hashed_when_that_is_asked_for(loras: Path, ask: Callable[..., Any]) -> None:
    """Then rows are found by them, and the next start knows them."""
    files = write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "double_blocks.0.img_attn.*")).parent
    assert ask("POST", "index", {})[2]["hashing"] == {"done": 0, "total": 0}
    assert ask("POST", "index", {"hash": "yes"})[0] == 400
    sha256 = hashlib.sha256((files / "flux.safetensors").read_bytes()).hexdigest()
    for _ in range(200):
        ask("POST", "index", {"hash": True})
        found = ask("POST", "find", {"lora": "gone", "sha256": sha256})[2]["candidates"]
        if found:
            break
        time.sleep(0.02)
    why = {"why": say("the same content, by its hash"), "by": "content"}
    assert found == [with_parts({"name": "flux.safetensors", "sha256": sha256, "air": None, **why})]
    nothing = {"done": 0, "total": 0}
    assert ask("POST", "index", {"hash": False})[2] == {"hashing": nothing, "searching": nothing}
    assert ask("GET", "loras")[2]["problem"] is None


def test_strengths_are_measured_once_and_told_by_row(ask: Callable[..., Any], loras: Path) -> None:
    write_lora(loras / "a.safetensors", layers("input_blocks.1.*attn1.to_[qk]"), seed=1)
    rows = [
        {"lora": "a.safetensors"},
        {"lora": "a.safetensors", "blocks": {"attn": 0.5}},
        {"lora": "a.safetensors", "blocks": {"mlp": 0.5}},
        {"lora": "not there.safetensors"},
    ]
    _, _, before = ask("POST", "strengths", {"loras": rows})
    assert before["rows"][:3] == [None, None, None]
    assert before["rows"][3]["why"] == "its file is not on this machine"
    _, _, measured = ask("POST", "strengths", {"loras": rows, "measure": True})
    whole, half, same, _ = measured["rows"]
    assert whole["model"] > 0 and whole["clip"] == 0
    assert half["model"] == pytest.approx(whole["model"] / 2) and same == whole
    assert ask("POST", "strengths", {"loras": rows})[2] == measured
    write_lora(loras / "a.safetensors", layers("input_blocks.1.*attn1.to_[qk]"), seed=1, alpha=64)
    assert ask("POST", "strengths", {"loras": rows[:1]})[2] == {"rows": [None]}
    assert ask("POST", "strengths", {"loras": 3})[0] == 400
