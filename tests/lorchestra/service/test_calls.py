"""Calls of published workflows: typed inputs, LoRAs that are checked, Runware's tasks."""

from __future__ import annotations

import asyncio
import base64
import io
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.service import Caller, ListBackend, make_service

from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.backend import Failure, Made
from lorchestra.service.calls import draw
from lorchestra.workflow.publication import Input, Publication

TASK = "imageInference"


def run(folder: Path, test: Callable[[Caller, ListBackend], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        service, backend = make_service(folder)
        caller = Caller(service)
        try:
            made = await caller.ask("PUT", "/workflows/portrait", {"workflow": demo_prompt([])})
            assert made[0] == 201, made
            await test(caller, backend)
        finally:
            await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


async def work(folder: Path, backend: ListBackend) -> None:
    """Runs what is queued, as it comes."""
    (folder / "output").mkdir(exist_ok=True)
    number = 0
    while True:
        await asyncio.sleep(0.005)
        if backend.running is None and backend.waiting:
            job = backend.run_next()
            inputs = backend.graphs[job]["6"]["inputs"]
            number += 1
            picture = Image.new("RGB", (8, 8), (inputs["seed"] % 256, 0, 0))
            picture.save(folder / "output" / f"{number}.png")
            backend.finish(Made("8", "image", f"{number}.png"))


def task(**fields: Any) -> dict[str, Any]:
    return {
        "taskType": TASK, "taskUUID": str(uuid.uuid4()), "model": "civitai:1@2", "positivePrompt": "a barn", **fields,
    }  # fmt: skip


def test_inputs_go_to_their_nodes(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        inputs = {
            "prompt": "a", "negative_prompt": "b", "seed": 3, "steps": 4, "cfg": 5.5, "width": 512, "height": 256,
            "loras": [{"model": "warm", "weight": 0.5}, {"model": "lines"}],
        }  # fmt: skip
        code, job = await caller.ask("POST", "/workflows/portrait/jobs", inputs)
        assert code == 202, job
        graph = backend.graphs[job["id"]]
        assert graph["3"]["inputs"]["text"] == "a" and graph["4"]["inputs"]["text"] == "b"
        sampler = graph["6"]["inputs"]
        assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (3, 4, 5.5)
        rows = graph["2"]["inputs"]["loras"]
        assert "warm.safetensors" in str(rows) and "lines.safetensors" in str(rows)
        body = await caller.send("POST", "/workflows/portrait/jobs")  # no body: all as it is
        assert body.status == 202

    run(tmp_path, test)


def test_a_seed_that_the_editor_randomizes_is_drawn_for_each_call(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        _, shown = await caller.ask("GET", "/workflows/portrait")
        own = {key: value for key, value in shown.items() if key not in ("urls", "versions")}
        for item in own["inputs"]:
            item["random"] = item["name"] == "seed"
        code, _ = await caller.ask("PUT", "/workflows/drawn", {"publication": own})
        assert code == 201
        _, schema = await caller.ask("GET", "/workflows/drawn/schema.json")
        assert "default" not in schema["properties"]["seed"]

        async def graph_of(**inputs: Any) -> tuple[Any, Any]:
            code, job = await caller.ask("POST", "/workflows/drawn/jobs", inputs)
            assert code == 202, job
            _, again = await caller.ask("GET", f"/api/v2/jobs/{job['id']}")
            assert again.get("drawn") == job.get("drawn")
            return backend.graphs[job["id"]], job.get("drawn")

        first, drawn = await graph_of(steps=2)
        second, other = await graph_of(steps=2)
        assert first["6"]["inputs"]["seed"] == drawn["seed"] != other["seed"] == second["6"]["inputs"]["seed"]
        assert await graph_of(steps=2, **drawn) == (first, None)
        code, _ = await caller.ask("POST", "/v1", [task(seed=7, deliveryMethod="async")])
        graph = list(backend.graphs.values())[-1]
        assert code == 200 and graph["6"]["inputs"]["seed"] == 7

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("schema", "least", "most"),
    [
        ({"minimum": 0, "maximum": 2**64 - 1}, 0, 2**50), ({"minimum": -5, "maximum": -3}, -5, -3), ({}, 0, 2**50),
        ({"minimum": 3, "maximum": 9, "multipleOf": 4}, 4, 8), ({"minimum": 2**60, "maximum": 2**62}, 2**60, 2**60),
    ],
)  # fmt: skip
def test_what_is_drawn_is_what_the_schema_allows(schema: dict[str, Any], least: int, most: int) -> None:
    publication = Publication("x", 1, {}, (Input("seed", "integer", "1", "seed", schema, is_random=True),))
    found = {draw(publication, {})["seed"] for _ in range(100)}
    assert all(least <= seed <= most and seed % schema.get("multipleOf", 1) == 0 for seed in found)
    assert draw(publication, {"seed": 1}) == {}


def test_a_lora_that_does_not_fit_is_told_with_its_row(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        backend.misfits["flux"] = "made for FLUX.1"
        rows = [{"model": "warm"}, {"model": "flux", "weight": 0}, {"model": "flux"}]
        code, answer = await caller.ask("POST", "/workflows/portrait/jobs", {"loras": rows})
        details = answer["error"]["details"]
        assert (code, answer["error"]["code"], details["path"]) == (422, "invalid_lora", "loras[2].model")
        assert details["problems"] == [{"path": "loras[2]", "message": "made for FLUX.1"}]
        code, answer = await caller.ask("POST", "/workflows/portrait/jobs", {"loras": [{"model": "gone"}]})
        error = answer["error"]
        assert (code, error["code"], error["details"]["pointer"]) == (422, "invalid_input", "/loras/0/model")
        assert backend.waiting == []

    run(tmp_path, test)


def test_waiting_ends_with_the_job_or_with_the_time(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        code, job = await caller.ask("POST", "/workflows/portrait/jobs?wait=0.05", {})
        assert (code, job["status"]) == (202, "queued")
        backend.waiting.clear()
        working = asyncio.create_task(work(tmp_path, backend))
        code, job = await caller.ask("POST", "/workflows/portrait/jobs?wait=10&outputs=base64", {"seed": 9})
        assert (code, job["status"]) == (200, "succeeded")
        with Image.open(io.BytesIO(base64.b64decode(job["outputs"][0]["data_base64"]))) as picture:
            assert picture.getpixel((0, 0)) == (9, 0, 0)
        working.cancel()

    run(tmp_path, test)


def test_runware_tasks_give_pictures_in_each_form(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        working = asyncio.create_task(work(tmp_path, backend))
        tasks = [
            task(seed=7, numberResults=2, outputType="base64Data"),
            task(seed=50, outputType="dataURI", outputFormat="WEBP"),
            task(outputType="URL", outputFormat="JPG", outputQuality=90),
            task(),
        ]
        code, body = await caller.ask("POST", "/v1", tasks)
        assert code == 200 and "errors" not in body, body
        first, second, webp, jpg, png = body["data"]
        assert [first["seed"], second["seed"]] == [7, 8]
        for one, red in ((first, 7), (second, 8)):
            with Image.open(io.BytesIO(base64.b64decode(one["imageBase64Data"]))) as picture:
                assert picture.getpixel((0, 0)) == (red, 0, 0)
        assert webp["imageDataURI"].startswith("data:image/webp;base64,UklGR")
        for one, kind in ((jpg, "image/jpeg"), (png, "image/png")):
            path = one["imageURL"].removeprefix("http://127.0.0.1:8188/lorchestra")
            response = await caller.send("GET", path)
            assert response.body.content_type == kind  # type: ignore[union-attr]
            assert one["imageUUID"] in path
        working.cancel()

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("change", "code", "parameter"),
    [
        ({"positivePrompt": None}, "missingPositivePrompt", "positivePrompt"),
        ({"model": None}, "invalidModel", "model"),
        ({"model": "x" * 2000}, "invalidModel", "model"),
        ({"width": "wide"}, "invalidWidth", "width"),
        ({"steps": True}, "invalidSteps", "steps"),
        ({"CFGScale": -1}, "invalidCFGScale", "CFGScale"),
        ({"seed": -1}, "invalidSeed", "seed"),
        ({"seed": 1.5}, "invalidSeed", "seed"),
        ({"numberResults": 21}, "invalidNumberResults", "numberResults"),
        ({"outputType": "FTP"}, "unsupportedOutputType", "outputType"),
        ({"outputFormat": "TIFF"}, "unsupportedOutputFormat", "outputFormat"),
        ({"deliveryMethod": "later"}, "unsupportedDeliveryMethod", "deliveryMethod"),
        ({"scheduler": "Karras"}, "unsupportedScheduler", "scheduler"),
        ({"scheduler": 5}, "unsupportedScheduler", "scheduler"),
        ({"lora": {}}, "invalidLora", "lora"),
        ({"lora": [5]}, "invalidLora", "lora[0]"),
        ({"lora": [{"weight": 1}]}, "invalidLora", "lora[0].model"),
        ({"lora": [{"model": "a", "weight": "1"}]}, "invalidLora", "lora[0].weight"),
        ({"lora": [{"model": "a", "transformer": "high"}]}, "unsupportedParameter", "lora[0].transformer"),
        ({"lora": [{"model": "gone"}]}, "invalidValue", "lora[0].model"),
        ({"seedImage": "http://a/b.png"}, "unsupportedParameter", "seedImage"),
        ({"webhookURL": "https://a/b"}, "invalidValue", "webhookURL"),
        ({"webhookURL": 5}, "invalidWebhookURL", "webhookURL"),
        ({"includeCost": True}, "unsupportedParameter", "includeCost"),
        ({"taskUUID": 5}, "invalidTaskUUID", "taskUUID"),
        ({"taskType": ["x"]}, "unsupportedTaskType", "taskType"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named(
    tmp_path: Path, change: dict[str, Any], code: str, parameter: str
) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        status, body = await caller.ask("POST", "/v1", [task(**change)])
        assert (status, body["data"]) == (400, [])
        (error,) = body["errors"]
        assert (error["code"], error["parameter"]) == (code, parameter)
        assert backend.waiting == []

    run(tmp_path, test)


def test_what_is_no_list_of_tasks_is_refused(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        for body in ({}, [], "x", None, [{}] * 101):
            status, answer = await caller.ask("POST", "/v1", body)
            assert status == 400 and answer["data"] == [] and len(answer["errors"]) == 1
        twice = task()
        working = asyncio.create_task(work(tmp_path, backend))
        _, answer = await caller.ask("POST", "/v1", [twice, twice, {"taskType": "authentication"}])
        assert len(answer["data"]) == 2 and answer["errors"][0]["code"] == "conflictTaskUUID"
        _, answer = await caller.ask("POST", "/v1", [twice])
        assert answer["errors"][0]["code"] == "conflictTaskUUID"
        _, answer = await caller.ask("POST", "/v1", [{"taskType": "getResponse", "taskUUID": twice["taskUUID"]}])
        assert answer["data"][0]["status"] == "success"
        working.cancel()

    run(tmp_path, test)


def test_a_task_whose_run_fails_is_told(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        async def fail() -> None:
            while not backend.waiting:
                await asyncio.sleep(0.005)
            backend.run_next()
            backend.finish(failure=Failure("out of memory"))

        failing = asyncio.create_task(fail())
        status, answer = await caller.ask("POST", "/v1", [task()])
        assert (status, answer["errors"][0]["code"]) == (400, "inferenceError")
        assert answer["errors"][0]["message"] == "out of memory"
        await failing

    run(tmp_path, test)
