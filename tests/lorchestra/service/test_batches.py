"""Batches: one request becomes many jobs, with one progress and one sheet, or nothing and a sentence."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from support.service import Caller, ListBackend, make_service

from lorchestra.analysis.contact import in_words
from lorchestra.analysis.pictures import differ
from lorchestra.analysis.sheet import Cell, draw_sheet
from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.backend import Failure, Made
from lorchestra.service.service import Service
from lorchestra.workflow.lora_lists import find_lora_list

SIDE = 24
LIST = find_lora_list("LorchestraLoraStack")
assert LIST
LORAS = ["styles/lines.safetensors", "styles/warm.safetensors", "styles/old/grain.safetensors", "flux.safetensors"]
BATCHES = "/workflows/portrait/batches"


def run(
    folder: Path, test: Callable[[Caller, ListBackend], Awaitable[None]], workflow: Any = None, **settings: Any
) -> None:
    (folder / "service.json").write_text(json.dumps(settings))

    async def all_of_it() -> None:
        service, backend = make_service(folder)
        backend.names = LORAS
        caller = Caller(service)
        try:
            made = await caller.ask("PUT", "/workflows/portrait", {"workflow": workflow or demo_prompt([])})
            assert made[0] == 201, made
            await test(caller, backend)
        finally:
            await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


def colour(graph: Any) -> tuple[int, int, int]:
    """Of the picture that a job of a graph makes here."""
    red = round(40 * sum(row.model for row in LIST.read(graph["2"]["inputs"]).entries))
    return red % 256, 10 * graph["6"]["inputs"]["seed"] % 256, graph["6"]["inputs"]["steps"]


def work_one(folder: Path, backend: ListBackend) -> None:
    """Runs the job that is the next one."""
    (folder / "output").mkdir(exist_ok=True)
    job = backend.run_next()
    Image.new("RGB", (SIDE, SIDE), colour(backend.graphs[job])).save(folder / "output" / f"{job}.png")
    backend.finish(Made("8", "image", f"{job}.png"))


async def ended(caller: Caller, batch: str) -> Any:
    while True:
        _, found = await caller.ask("GET", f"/batches/{batch}")
        if found["completed_at"]:
            return found
        await asyncio.sleep(0.01)


async def sheet_of(caller: Caller, batch: str) -> Image.Image:
    response = await caller.send("GET", f"/batches/{batch}/sheet")
    data = response.body.path.read_bytes() if response.status == 200 else b""  # type: ignore[union-attr]
    return Image.open(io.BytesIO(data))


def test_every_combination_is_a_job_and_the_sheet_shows_them(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        body = {"inputs": {"prompt": "a barn"}, "each": {"seed": {"from": 1, "to": 3}, "steps": [4, 8]}}
        code, batch = await caller.ask("POST", BATCHES, body)
        assert (code, batch["status"], batch["progress"]["jobs_total"]) == (202, "queued", 6), batch
        graphs = [backend.graphs[job] for job in backend.waiting]
        pairs = [(graph["6"]["inputs"]["seed"], graph["6"]["inputs"]["steps"]) for graph in graphs]
        assert pairs == [(1, 4), (1, 8), (2, 4), (2, 8), (3, 4), (3, 8)]
        assert {graph["3"]["inputs"]["text"] for graph in graphs} == {"a barn"}
        assert [job["values"] for job in batch["jobs"][:2]] == [{"seed": 1, "steps": 4}, {"seed": 1, "steps": 8}]
        _, job = await caller.ask("GET", f"/api/v2/jobs/{batch['jobs'][0]['id']}")
        assert job["batch"] == batch["id"]
        while backend.waiting:
            work_one(tmp_path, backend)
        found = await ended(caller, batch["id"])
        assert (found["status"], found["counts"], found["progress"]["value"]) == ("succeeded", {"succeeded": 6}, 1)
        picture = await sheet_of(caller, batch["id"])
        # Seeds go across and steps down, 110 pixels apart and with two lines below each picture, as the sheet has it.
        left = next(x for x in range(picture.width) if picture.getpixel((x, 32)) == (0, 10, 4))
        seen = [[picture.getpixel((left + 5 + 120 * column, 35 + 74 * row)) for column in range(3)] for row in range(2)]
        assert seen == [[(0, 10 * seed, steps) for seed in (1, 2, 3)] for steps in (4, 8)]
        told = json.loads(picture.info["lorchestra_batch"])
        assert told["workflow"] == "portrait@1" and told["inputs"] == {"prompt": "a barn"}
        assert [one["values"] for one in told["jobs"]] == [[seed, steps] for seed, steps in pairs]
        _, asset = await caller.ask("GET", f"/api/v2/assets/{found['sheet']['id']}")
        assert asset["job_id"] == batch["id"] and asset["size_bytes"] == found["sheet"]["size_bytes"]

    run(tmp_path, test)


def test_every_lora_of_a_folder_at_these_weights_is_the_contact_sheet_of_lora_variants(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        loras = {"folder": "styles/", "weights": [0.5, 1.0], "beside": [{"model": "base", "weight": 0.25}]}
        code, batch = await caller.ask("POST", BATCHES, {"each": {"loras": loras}})
        assert code == 202, batch
        (axis,) = batch["each"]
        beside = {"model": "base", "weight": 0.25}
        assert axis["labels"] == ["without", "lines 0.5", "lines 1", "grain 0.5", "grain 1", "warm 0.5", "warm 1"]
        assert axis["values"][:2] == [[beside], [beside, {"model": "styles/lines.safetensors", "weight": 0.5}]]
        while backend.waiting:
            work_one(tmp_path, backend)
        await ended(caller, batch["id"])
        cells: list[Cell] = []
        first = colour(backend.graphs[batch["jobs"][0]["id"]])
        for job, label in zip(batch["jobs"], axis["labels"], strict=True):
            one = colour(backend.graphs[job["id"]])
            pictures = [Image.new("RGB", (SIDE, SIDE), some) for some in (one, first)]
            both = [
                torch.frombuffer(bytearray(some.tobytes()), dtype=torch.uint8).view(1, SIDE, SIDE, 3) / 255
                for some in pictures
            ]
            note = in_words(differ(*both)) if cells else ""
            cells.append(Cell(label, note, SIDE, SIDE, pictures[0].tobytes()))
        expected = draw_sheet(cells, ["0.5", "1"], ["lines", "grain", "warm"])
        assert (await sheet_of(caller, batch["id"])).tobytes() == expected.tobytes()

    run(tmp_path, test)


COMPARED: tuple[tuple[Any, list[str]], ...] = (
    ({"rows": [{"model": "a"}, {"model": "b", "weight": 0.5}], "compare": "each left out"},
     ["without", "all", "without a", "without b"]),
    ({"rows": [{"model": "a"}], "compare": "weights of a row", "weights": [0, 1]}, ["without", "a 0", "a 1"]),
    ({"rows": [{"model": "a"}, {"model": "b"}], "compare": "two rows crossed", "weights": [1],
      "second_weights": [0.5, 1], "without": False}, ["a 1, b 0.5", "a 1, b 1"]),
    ({"folder": "", "unfit": "skip"}, ["without", "lines 1", "grain 1", "warm 1", "all"]),
    ([[], [{"model": "a", "weight": 0.5}, {"model": "x/b"}]], ["no LoRA", "a 0.5, b 1"]),
)  # fmt: skip


def test_what_loras_may_be_compared(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        backend.misfits["flux.safetensors"] = "made for FLUX.1"
        for sent, labels in COMPARED:
            code, batch = await caller.ask("POST", BATCHES, {"each": {"loras": sent}})
            assert code == 202, batch
            assert batch["each"][0]["labels"] == labels
            left_out = [{"model": "flux.safetensors", "message": "made for FLUX.1"}] if "unfit" in sent else []
            assert batch["left_out"] == left_out

    run(tmp_path, test)


WRONG: tuple[tuple[Any, int, str, str], ...] = (
    ({}, 400, "/each", "it is missing"),
    ([], 400, "", "expected an object"),
    ({"each": {}}, 400, "/each", "it is empty"),
    ({"each": {"seed": [1]}, "most": 5}, 400, "/most", "no such field"),
    ({"each": {"sed": [1]}}, 400, "/each/sed", "no such field here; known are prompt"),
    ({"each": {"seed": []}}, 400, "/each/seed", "at least 1"),
    ({"each": {"seed": 5}}, 400, "/each/seed", 'expected a list of its values, or {"from": …, "to": …}'),
    ({"each": {"seed": [1, 2, "3"]}}, 400, "/each/seed/2", "it is '3'; expected a whole number"),
    ({"each": {"cfg": [1, 2, 1.0]}}, 400, "/each/cfg/2", "the same as number 1"),
    ({"inputs": {"seed": [1, 2]}, "each": {"steps": [1]}}, 400, "/inputs/seed", "expected a whole number"),
    ({"inputs": {"seed": 1}, "each": {"seed": [1]}}, 422, "/each/seed", "it is in inputs, too"),
    ({"inputs": {"sed": 1}, "each": {"seed": [1]}}, 400, "/inputs/sed", "no such field"),
    ({"inputs": [], "each": {"seed": [1]}}, 400, "/inputs", "expected an object"),
    ({"each": {"seed": {"from": 1}}}, 400, "/each/seed/to", "it is missing"),
    ({"each": {"seed": {"from": 4, "to": 1}}}, 422, "/each/seed", "write the smaller one first"),
    ({"each": {"cfg": {"from": 1, "to": 2, "step": 0}}}, 400, "/each/cfg/step", "more than 0"),
    ({"each": {"seed": {"from": 1, "to": 10**15}}}, 422, "/each/seed", "a batch has at most 20 here"),
    ({"each": {"seed": {"from": 1, "to": 7}, "steps": [1, 2, 3]}}, 422, "/each", "this would be 21 jobs"),
    ({"each": {"loras": {"folder": "nowhere"}}}, 422, "/each/loras/folder",
     "no LoRA is in the folder 'nowhere'; there are LoRAs in styles, styles/old"),
    ({"each": {"loras": {"folder": "../styles"}}}, 422, "/each/loras/folder", "no LoRA is in the folder"),
    ({"each": {"loras": {}}}, 400, "/each/loras", "either folder or rows"),
    ({"each": {"loras": {"folder": "styles", "wieghts": [1]}}}, 400, "/each/loras/wieghts", "no such field"),
    ({"each": {"loras": {"folder": "styles", "weights": [1, 1]}}}, 400, "/each/loras/weights/1", "the same"),
    ({"each": {"loras": {"folder": "styles", "weights": [1, 1000]}}}, 400, "/each/loras/weights/1", "the most"),
    ({"each": {"loras": {"folder": "styles", "compare": "two rows crossed", "weights": [1]}}}, 422,
     "/each/loras", "second_weights is empty"),
    ({"each": {"loras": {"rows": [{"model": "a"}, {"model": "gone"}]}}}, 422, "/each/loras/rows/1/model", "gone"),
    ({"each": {"loras": [[{"model": "a"}], [{"model": "gone"}]]}}, 422, "/each/loras/1/0/model", "gone"),
    ({"each": {"loras": [[{"model": "a"}], [{"model": "b"}, {"model": "flux"}]]}}, 422, "/each/loras/1/1/model",
     "made for FLUX.1"),
    ({"each": {"loras": {"folder": "", "weights": [0.5]}}}, 422, "/each/loras",
     "flux.safetensors: made for FLUX.1"),
    ({"each": {"seed": [1, 2]}, "inputs": {"loras": [{"model": "flux"}]}}, 422, "/inputs/loras/0/model", "FLUX.1"),
    ({"each": {"sampler": ["euler", "nonsense"]}, "inputs": {"loras": [{"model": "gone"}]}}, 422,
     "/inputs/loras/0/model", "gone"),
)  # fmt: skip
"""What is sent, the status, the pointer, and a part of the sentence."""


def test_what_is_wrong_is_told_with_its_place_and_nothing_is_queued(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        backend.misfits |= {"flux.safetensors": "made for FLUX.1", "flux": "made for FLUX.1"}
        for body, code, pointer, said in WRONG:
            status, answer = await caller.ask("POST", BATCHES, body)
            assert status == code, (body, answer)
            assert (answer["error"]["details"] or {}).get("pointer", "") == pointer, (body, answer)
            assert said in answer["error"]["message"], (body, answer)
        assert backend.waiting == []
        assert (await caller.ask("GET", "/batches"))[1] == {"batches": []}
        assert (await caller.ask("GET", "/api/v2/jobs"))[1]["jobs"] == []

    run(tmp_path, test, most_in_batch=20)


def test_a_full_queue_takes_all_or_nothing_and_a_key_is_good_for_one(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        six = {"each": {"seed": {"from": 1, "to": 6}}}
        code, batch = await caller.ask("POST", BATCHES, six, Idempotency_Key="once")
        assert code == 202
        code, answer = await caller.ask("POST", BATCHES, six, Idempotency_Key="twice")
        assert (code, answer["error"]["code"]) == (429, "queue_full")
        assert "6 jobs wait already, and with these 6 there would be more than 10" in answer["error"]["message"]
        code, answer = await caller.ask("POST", BATCHES, {"each": {"seed": {"from": 1, "to": 11}}})
        assert code == 422 and "no more than 10 may ever wait" in answer["error"]["message"]
        assert len(backend.waiting) == 6
        code, answer = await caller.ask("POST", BATCHES, {"each": {"seed": [1]}}, Idempotency_Key="once")
        assert (code, answer["error"]["code"]) == (422, "idempotency_key_reuse")
        assert answer["error"]["details"]["batch_id"] == batch["id"]
        code, _ = await caller.ask("POST", BATCHES, {"each": {"seed": [1]}}, Idempotency_Key="twice")
        assert code == 202
        _, page = await caller.ask("GET", "/batches?limit=1")
        _, rest = await caller.ask("GET", f"/batches?limit=1&cursor={page['next_cursor']}")
        assert [one["id"] for one in rest["batches"]] == [batch["id"]] and "next_cursor" not in rest
        assert "jobs" not in rest["batches"][0]

    run(tmp_path, test, most_queued=10)


def test_failed_and_canceled_jobs_leave_empty_places_and_events_tell_all(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        _, batch = await caller.ask("POST", BATCHES, {"each": {"seed": {"from": 1, "to": 4}}})
        own = batch["id"]
        assert (await caller.send("GET", f"/batches/{own}/sheet")).status == 404  # no picture yet
        events: list[tuple[str, str, Any]] = []

        async def listen(**headers: str) -> None:
            async for event in caller.events(f"/batches/{own}/events", **headers):
                events.append(event)

        listening = asyncio.create_task(listen())
        work_one(tmp_path, backend)
        backend.run_next()
        backend.finish(failure=Failure("out of memory"))
        while (await caller.ask("GET", f"/batches/{own}"))[1]["progress"]["jobs_ended"] < 2:
            await asyncio.sleep(0.01)
        early = await caller.send("GET", f"/batches/{own}/sheet")
        with Image.open(io.BytesIO(early.body)) as picture:  # type: ignore[arg-type]
            assert picture.getpixel((15, 15)) == (0, 10, 8)
        backend.run_next()
        _, shown = await caller.ask("POST", f"/batches/{own}/cancel")
        assert (shown["status"], shown["counts"]["canceling"], shown["counts"]["canceled"]) == ("canceling", 1, 1)
        backend.finish(was_canceled=True)
        found = await ended(caller, own)
        assert found["status"] == "canceled"
        assert found["counts"] == {"succeeded": 1, "canceled": 2, "failed": 1}
        assert found["jobs"][1]["error"]["message"] == "out of memory"
        assert (await sheet_of(caller, own)).size == early_size(early.body)
        await asyncio.wait_for(listening, 10)
        jobs = [data for _, kind, data in events if kind == "job"]
        assert [(one["number"], one["status"], one["message"]) for one in jobs[:2]] == [
            (0, "succeeded", None), (1, "failed", "out of memory"),
        ]  # fmt: skip
        assert len(jobs) == 4 and events[-1][1] == "status" and events[-1][2]["sheet"] == found["sheet"]["id"]
        events.clear()
        await listen(Last_Event_ID="3-running")  # gets the fourth one alone
        assert [kind for _, kind, _ in events] == ["job", "progress", "status"]
        code, again = await caller.ask("POST", f"/batches/{own}/cancel")
        assert (code, again) == (200, found)

    run(tmp_path, test)


def early_size(data: Any) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def test_a_batch_survives_the_server(tmp_path: Path) -> None:
    """Where jobs go on, it goes on; where they do not, it has ended with what there is."""

    async def test(outlives: bool) -> Any:
        folder = tmp_path / str(outlives)
        (folder / "output").mkdir(parents=True)
        service, backend = make_service(folder)
        backend.outlives_server = outlives
        await Caller(service).ask("PUT", "/workflows/portrait", {"workflow": demo_prompt([])})
        _, batch = await Caller(service).ask("POST", BATCHES, {"each": {"seed": {"from": 1, "to": 3}}})
        work_one(folder, backend)
        while (await Caller(service).ask("GET", f"/batches/{batch['id']}"))[1]["progress"]["jobs_ended"] < 1:
            await asyncio.sleep(0.01)
        await service.close()
        again = Service(backend, service._places, {})
        try:
            await again.start()
            while outlives and backend.waiting:
                work_one(folder, backend)
            found = await ended(Caller(again), batch["id"])
            assert found["sheet"] and found["sheet_problem"] is None
            return found["status"], found["counts"]
        finally:
            await again.close()

    assert asyncio.run(test(True)) == ("succeeded", {"succeeded": 3})
    assert asyncio.run(test(False)) == ("failed", {"succeeded": 1, "failed": 2})


def test_pictures_that_were_sent_vary_and_are_kept_once(tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sent"}},
        "6": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2}},
    }

    async def test(caller: Caller, backend: ListBackend) -> None:
        sent: list[str] = []
        for side in (4, 8):
            data = io.BytesIO()
            Image.new("RGB", (side, side), "red").save(data, "PNG")
            sent.append(base64.b64encode(data.getvalue()).decode())
        for wrong, pointer in ((["not base64!"], "/each/image/0"), ([sent[0], "http://a/b.png"], "/each/image/1")):
            code, answer = await caller.ask("POST", BATCHES, {"each": {"image": wrong}})
            assert (code, answer["error"]["details"].get("path")) == (422, f"each.image[{pointer[-1]}]"), answer
        code, batch = await caller.ask("POST", BATCHES, {"each": {"seed": [1, 2], "image": sent}})
        assert code == 202, batch
        names = [backend.graphs[job["id"]]["1"]["inputs"]["image"] for job in batch["jobs"]]
        assert names[:2] == names[2:] and len(set(names)) == 2
        assert batch["each"][1] == {"input": "image", "values": names[:2], "labels": ["image 1", "image 2"]}

    run(tmp_path, test, graph)


def test_what_is_drawn_is_the_same_in_all_jobs(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        _, shown = await caller.ask("GET", "/workflows/portrait")
        own = {key: value for key, value in shown.items() if key not in ("urls", "versions")}
        for item in own["inputs"]:
            item["random"] = item["name"] == "seed"
        assert (await caller.ask("PUT", "/workflows/drawn", {"publication": own}))[0] == 201
        _, batch = await caller.ask("POST", "/workflows/drawn/batches", {"each": {"steps": [1, 2, 3]}})
        seeds = {graph["6"]["inputs"]["seed"] for graph in backend.graphs.values()}
        assert seeds == {batch["drawn"]["seed"]}

    run(tmp_path, test)


def test_a_batch_is_kept_as_long_as_jobs_and_keeps_its_own(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        _, batch = await caller.ask("POST", BATCHES, {"each": {"seed": [1, 2]}})
        work_one(tmp_path, backend)
        await asyncio.sleep(0.3)  # the first job is kept for less than that by itself
        caller.service._store._cleaned = 0
        caller.service._store._clean()
        work_one(tmp_path, backend)
        found = await ended(caller, batch["id"])
        assert found["counts"] == {"succeeded": 2}
        (sheet,) = (tmp_path / "texts").iterdir()
        await asyncio.sleep(0.3)
        caller.service._store._cleaned = 0
        code, _ = await caller.ask("POST", BATCHES, {"each": {"seed": [1]}})
        assert code == 202 and not sheet.exists()
        assert (await caller.ask("GET", f"/batches/{batch['id']}"))[0] == 404

    run(tmp_path, test, retention_hours=0.2 / 3600)


def test_a_sheet_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        (tmp_path / "texts").write_text("no folder")
        _, batch = await caller.ask("POST", BATCHES, {"each": {"seed": [1]}})
        work_one(tmp_path, backend)
        found = await ended(caller, batch["id"])
        assert (found["status"], found["sheet"]) == ("succeeded", None) and "exists" in found["sheet_problem"]

    run(tmp_path, test)
