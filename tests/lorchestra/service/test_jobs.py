"""Jobs from the first request to the last event, over a backend that a test works through by hand."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.service import Caller, FormPart, ListBackend, make_service

from lorchestra.service.backend import Failure, Made, NodeState, Previewed, Produced, Stepped
from lorchestra.service.http import File, Stream
from lorchestra.service.job import Job
from lorchestra.service.service import MAX_STREAMS

GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"steps": 4}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100
Test = Callable[[Caller, ListBackend], Awaitable[None]]


def run(folder: Path, test: Test) -> None:
    async def all_of_it() -> None:
        service, backend = make_service(folder)
        try:
            await test(Caller(service), backend)
        finally:
            await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


async def until(caller: Caller, job: str, status: str) -> Any:
    for _ in range(500):
        _, body = await caller.ask("GET", f"/api/v2/jobs/{job}")
        if body["status"] == status:
            return body
        await asyncio.sleep(0.01)
    raise AssertionError(f"{job} never was {status}, but {body['status']}")


def write_output(folder: Path, name: str = "a.png", data: bytes = PNG) -> Made:
    (folder / "output").mkdir(exist_ok=True)
    (folder / "output" / name).write_bytes(data)
    return Made("2", "image", name)


async def submitted(caller: Caller, **headers: str) -> str:
    code, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH}, **headers)
    assert code == 201, body
    return body["id"]


def test_a_job_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        code, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH, "metadata": "a", "priority": 3})
        job = body["id"]
        assert code == 201
        assert (body["status"], body["started_at"], body["progress"], body["outputs"]) == ("queued", None, None, [])
        assert (body["metadata"], body["priority"]) == ("a", 3)
        assert body["urls"]["self"] == f"http://127.0.0.1:8188/lorchestra/api/v2/jobs/{job}"
        assert (await until(caller, job, "queued"))["queue_position"] == 1
        backend.run_next()
        body = await until(caller, job, "running")
        assert body["started_at"] and body["queue_position"] is None
        backend.tell(Stepped(job, {"1": NodeState(2, 4, False)}))
        for _ in range(200):
            _, body = await caller.ask("GET", f"/api/v2/jobs/{job}")
            if body["progress"]:
                break
            await asyncio.sleep(0.01)
        assert body["progress"] == {
            "value": 0.25, "nodes_done": 0, "nodes_total": 2, "current_node": "1", "current_node_class": "KSampler",
            "step": 2, "steps": 4, "message": "KSampler 2/4",
        }  # fmt: skip
        backend.finish(write_output(tmp_path))
        body = await until(caller, job, "succeeded")
        (output,) = body["outputs"]
        assert (output["node_id"], output["name"], output["type"]) == ("2", "a.png", "image")
        assert (output["content_type"], output["size_bytes"]) == ("image/png", len(PNG))
        assert body["progress"]["value"] == 1.0
        assert body["metrics"]["queue_ms"] >= 0 and body["metrics"]["execution_ms"] >= 0
        response = await caller.send("GET", f"/api/v2/assets/{output['id']}/content")
        assert isinstance(response.body, File) and response.body.path.read_bytes() == PNG
        code, body = await caller.ask("GET", f"/api/v2/assets/{output['id']}")
        assert (code, body["job_id"], body["size_bytes"]) == (200, job, len(PNG))
        assert (await caller.ask("GET", f"/api/v2/jobs/{job}/workflow"))[1] == {"workflow": GRAPH, "format": "api"}

    run(tmp_path, test)


def test_what_fails_says_where(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        backend.run_next()
        backend.finish(failure=Failure("out of memory", "1", "KSampler", "Traceback"))
        body = await until(caller, job, "failed")
        assert body["error"] == {
            "code": "node_execution_error", "message": "out of memory", "node_id": "1", "class_type": "KSampler",
            "traceback": "Traceback",
        }  # fmt: skip

    run(tmp_path, test)


def test_a_job_is_canceled_where_it_is(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        first, second, third = [await submitted(caller) for _ in range(3)]
        backend.run_next()
        await until(caller, first, "running")
        assert (await caller.ask("POST", f"/api/v2/jobs/{second}/cancel"))[1]["status"] == "canceled"
        assert (await caller.ask("POST", f"/api/v2/jobs/{second}/cancel"))[1]["status"] == "canceled"
        assert (await caller.ask("POST", f"/api/v2/jobs/{first}/cancel"))[1]["status"] == "canceling"
        assert backend.waiting == [third]
        backend.finish(was_canceled=True)
        assert (await until(caller, first, "canceled"))["error"] is None
        assert (await caller.ask("POST", "/api/v2/jobs/00000000-0000-4000-8000-000000000000/cancel"))[0] == 404

    run(tmp_path, test)


def test_one_that_others_took_from_the_queue_is_canceled(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        backend.waiting.clear()
        backend.tell(backend_changed())
        await until(caller, job, "canceled")

    run(tmp_path, test)


def backend_changed() -> Any:
    from lorchestra.service.backend import Changed

    return Changed()


def test_jobs_that_had_not_ended_when_the_server_did_have_failed(tmp_path: Path) -> None:
    jobs: list[str] = []

    async def before(caller: Caller, backend: ListBackend) -> None:
        jobs.extend([await submitted(caller) for _ in range(3)])
        backend.run_next()
        backend.finish(write_output(tmp_path))
        await until(caller, jobs[0], "succeeded")
        backend.run_next()
        await until(caller, jobs[1], "running")

    async def after(caller: Caller, backend: ListBackend) -> None:
        found = [(await caller.ask("GET", f"/api/v2/jobs/{job}"))[1] for job in jobs]
        assert [body["status"] for body in found] == ["succeeded", "failed", "failed"]
        assert found[1]["error"]["code"] == "server_restarted"
        _, body = await caller.ask("GET", "/api/v2/jobs?status=queued,running,canceling")
        assert body["jobs"] == []
        assert len(found[0]["outputs"]) == 1

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_key_is_good_for_one_job(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller, Idempotency_Key="k")
        for graph in (GRAPH, {"9": {"class_type": "Other", "inputs": {}}}):
            code, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": graph}, Idempotency_Key="k")
            assert (code, body["error"]["code"]) == (422, "idempotency_key_reuse")
            assert body["error"]["details"]["job_id"] == job
        assert backend.waiting == [job]
        refused = {"1": {"class_type": "Refused", "inputs": {}}}
        code, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": refused}, Idempotency_Key="l")
        assert (code, body["error"]["code"]) == (422, "invalid_workflow")
        assert body["error"]["details"]["node_errors"]["1"]["class_type"] == "Refused"
        await submitted(caller, Idempotency_Key="l")  # no job was made with it
        for key in ("", "x" * 256, "ü", "a\nb"):
            assert (await caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH}, Idempotency_Key=key))[0] == 400
        assert len(backend.waiting) == 2

    run(tmp_path, test)


def test_a_key_that_is_used_twice_at_one_time_makes_one_job(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        asked = [caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH}, Idempotency_Key="k") for _ in range(30)]
        answers = await asyncio.gather(*asked)
        assert sorted(code for code, _ in answers) == [201] + [422] * 29
        assert len(backend.waiting) == 1

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("body", "code", "error", "path"),
    [
        (b"", 400, "invalid_request", None),
        (b"{", 400, "invalid_request", None),
        (b"[" * 10_000 + b"]" * 10_000, 400, "invalid_request", None),
        (b'"' + b"x" * 50_000_000 + b'"', 413, "payload_too_large", "body"),
        ([], 400, "invalid_request", None),
        ({"workflow": None}, 422, "invalid_workflow", "workflow"),
        ({"workflow": {}}, 422, "invalid_workflow", "workflow"),
        ({"workflow": {"1": 2}}, 422, "invalid_workflow", "workflow.1"),
        ({"workflow": {"1": {"class_type": [], "inputs": {}}}}, 422, "invalid_workflow", "workflow.1"),
        ({"workflow": {"1": {"class_type": "A", "inputs": []}}}, 422, "invalid_workflow", "workflow.1"),
        ({"workflow": {"nodes": [], "links": []}}, 422, "workflow_format_ui", "workflow"),
        ({"workflow": GRAPH, "webhook_url": "http://a"}, 400, "invalid_request", "webhook_url"),
        ({"workflow": GRAPH, "extra_data": {"other": 1}}, 400, "invalid_request", "extra_data.other"),
        ({"workflow": GRAPH, "extra_data": {"api_key_comfy_org": 1}}, 400, "invalid_request",
         "extra_data.api_key_comfy_org"),
        ({"workflow": GRAPH, "priority": 1.5}, 400, "invalid_request", "priority"),
        ({"workflow": GRAPH, "metadata": {"a": 1}}, 422, "metadata_invalid", "metadata.a"),
        ({"workflow": GRAPH, "metadata": {str(n): "" for n in range(17)}}, 422, "metadata_invalid", "metadata"),
        ({"workflow": {"1": {"class_type": "A", "inputs": {"x": {"__type": "core/ASSET"}}}}}, 422, "missing_asset",
         None),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_where(tmp_path: Path, body: Any, code: int, error: str, path: str | None) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        found, answer = await caller.ask("POST", "/api/v2/jobs", body)
        assert (found, answer["error"]["code"]) == (code, error)
        assert (answer["error"]["details"] or {}).get("path") == path
        assert backend.waiting == []

    run(tmp_path, test)


def test_graphs_can_be_switched_off_and_the_queue_is_bounded(tmp_path: Path) -> None:
    async def none(caller: Caller, backend: ListBackend) -> None:
        assert (await caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH}))[0] == 403

    async def two(caller: Caller, backend: ListBackend) -> None:
        await submitted(caller)
        await submitted(caller)
        response = await caller.send("POST", "/api/v2/jobs", {"workflow": GRAPH})
        assert response.status == 429 and response.headers["Retry-After"]

    (tmp_path / "service.json").write_text('{"graphs": false}')
    run(tmp_path, none)
    (tmp_path / "service.json").write_text('{"most_queued": 2}')
    run(tmp_path, two)


def test_the_list_has_pages_labels_and_statuses(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        jobs: list[str] = []
        for number in range(5):
            labels = {"client": "odd" if number % 2 else "even"}
            _, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": GRAPH, "metadata": labels})
            jobs.insert(0, body["id"])
        _, first = await caller.ask("GET", "/api/v2/jobs?limit=2")
        _, second = await caller.ask("GET", f"/api/v2/jobs?limit=3&cursor={first['next_cursor']}")
        assert [job["id"] for job in first["jobs"] + second["jobs"]] == jobs
        assert first["jobs"][0]["queue_position"] == 5
        _, odd = await caller.ask("GET", "/api/v2/jobs?metadata[client]=odd")
        assert [job["id"] for job in odd["jobs"]] == [jobs[1], jobs[3]]
        backend.run_next()
        await until(caller, jobs[4], "running")
        _, running = await caller.ask("GET", "/api/v2/jobs?status=running")
        assert [job["id"] for job in running["jobs"]] == [jobs[4]]
        for query in ("limit=0", "limit=x", "limit=101", "status=done", "cursor=x", "other=1", "limit=%C2%B2"):
            assert (await caller.ask("GET", f"/api/v2/jobs?{query}"))[0] == 400, query

    run(tmp_path, test)


def test_events_come_in_order_and_outputs_before_the_end(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        events: list[tuple[str, str, Any]] = []

        async def follow() -> None:
            async for event in caller.events(f"/api/v2/jobs/{job}/events"):
                events.append(event)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        backend.run_next()
        for step in range(100):
            backend.tell(Stepped(job, {"1": NodeState(step, 100, False)}))
            backend.tell(Previewed(job, "1", "image/jpeg", bytes([step])))
        made = write_output(tmp_path)
        backend.tell(Produced(job, (made,)))
        await asyncio.sleep(0.8)
        backend.finish(made, write_output(tmp_path, "b.png"))
        await following
        kinds = [kind for _, kind, _ in events]
        assert kinds[0] == "status" and kinds[-1] == "status" and events[-1][2]["status"] == "succeeded"
        assert kinds.count("output") == 2 and kinds.index("output") < len(kinds) - 2
        assert 1 <= kinds.count("progress") <= 4 and 1 <= kinds.count("preview") <= 4
        last = [data for _, kind, data in events if kind == "preview"][-1]
        assert base64.b64decode(last["data_base64"]) == bytes([99])
        names = [data["name"] for _, kind, data in events if kind == "output"]
        assert names == ["a.png", "b.png"]
        again = [event async for event in caller.events(f"/api/v2/jobs/{job}/events")]
        assert [kind for _, kind, _ in again] == ["output", "output", "status"]
        after_one = next(own for own, kind, _ in events if kind == "output")
        rest = [event async for event in caller.events(f"/api/v2/jobs/{job}/events", Last_Event_ID=after_one)]
        assert [data.get("name") for _, _, data in rest] == ["b.png", None]
        for strange in ("x", "99999999999-a", "-1-running", "é"):
            assert [event async for event in caller.events(f"/api/v2/jobs/{job}/events", Last_Event_ID=strange)]

    run(tmp_path, test)


def test_streams_are_bounded_and_free_again(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        path = f"/api/v2/jobs/{job}/events"
        open_ones = []
        for _ in range(MAX_STREAMS):
            response = await caller.send("GET", path)
            assert isinstance(response.body, Stream)
            counted = response.body.counted()
            counted.__enter__()
            open_ones.append((counted, response.body.chunks))
        response = await caller.send("GET", path)
        assert response.status == 429 and response.headers["Retry-After"]
        counted, chunks = open_ones.pop()
        await chunks.aclose()  # type: ignore[attr-defined]
        counted.__exit__(None, None, None)
        assert isinstance((await caller.send("GET", path)).body, Stream)
        for counted, _ in open_ones:
            counted.__exit__(None, None, None)

    run(tmp_path, test)


def test_files_come_in_once_and_go(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        async def upload(data: bytes, **fields: str) -> tuple[int, Any]:
            import json

            parts = [FormPart(name, text.encode()) for name, text in fields.items()]
            parts.append(FormPart("file", data, "photo.PNG", "image/png"))
            response = await caller.send("POST", "/api/v2/assets", parts=parts)
            assert isinstance(response.body, bytes)
            return response.status, json.loads(response.body)

        code, first = await upload(PNG)
        assert (code, first["created_new"], first["file_path"]) == (201, True, "photo.PNG")
        code, second = await upload(PNG, file_path="input/a/other.png", expected_hash=first["hash"])
        assert (code, second["created_new"], second["id"]) == (200, False, first["id"])
        assert (await upload(b"other", expected_hash=first["hash"]))[0] == 409
        for path in ("../a.png", "/etc/a.png", "models/loras/a.png", "C:\\a.png", "input/../../a", "a//b"):
            code, body = await upload(PNG, file_path=path)
            assert (code, body["error"]["details"]["path"]) == (400, "file_path"), path
        assert (await caller.send("POST", "/api/v2/assets", parts=[FormPart("other", b"")])).status == 400
        assert (await caller.send("POST", "/api/v2/assets", parts=[])).status == 422
        assert (await caller.send("HEAD", f"/api/v2/assets/by-hash/{first['hash']}")).status == 200
        assert (await caller.send("HEAD", f"/api/v2/assets/by-hash/blake3:{'0' * 64}")).status == 404
        code, body = await caller.ask("POST", "/api/v2/assets/from-hash", {"hash": first["hash"]})
        assert (code, body["id"]) == (200, first["id"])
        assert len(list((tmp_path / "input" / "lorchestra").iterdir())) == 1
        reference = {"__type": "core/ASSET", "info": {"id": first["id"]}}
        graph = {"1": {"class_type": "LoadImage", "inputs": {"image": reference}}}
        _, job = await caller.ask("POST", "/api/v2/jobs", {"workflow": graph})
        assert backend.graphs[job["id"]]["1"]["inputs"]["image"] == f"lorchestra/{first['id']}.png"
        assert (await caller.send("DELETE", f"/api/v2/assets/{first['id']}")).status == 204
        assert (await caller.ask("GET", f"/api/v2/assets/{first['id']}"))[0] == 404
        assert list((tmp_path / "input" / "lorchestra").iterdir()) == []

    run(tmp_path, test)


def test_what_could_run_in_a_browser_is_not_shown_by_it(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        backend.run_next()
        page = replace(write_output(tmp_path, "a.html", b"<script>"), type="file")
        drawing = replace(write_output(tmp_path, "a.svg", b"<svg>"), type="file")
        text = Made("2", "text", "2-1.txt", text="a prompt")
        backend.finish(text, page, drawing, write_output(tmp_path))
        body = await until(caller, job, "succeeded")
        assert [one["type"] for one in body["outputs"]] == ["image", "file", "file", "text"]
        answers = [await caller.send("GET", f"/api/v2/assets/{one['id']}/content") for one in body["outputs"][1:]]
        assert [answer.headers.get("Content-Disposition") for answer in answers] == ["attachment", "attachment", None]
        assert isinstance(answers[2].body, File) and answers[2].body.path.read_text() == "a prompt"

    run(tmp_path, test)


def test_a_job_is_kept_as_it_is_shown() -> None:
    job = Job("a", "queued", 1.5, 2.5, 3, metadata={"a": "b"})
    assert Job.from_row(job.to_row()) == job


def test_a_full_disk_is_said_and_what_ends_meanwhile_is_told_when_there_is_space(tmp_path: Path) -> None:
    async def test(caller: Caller, backend: ListBackend) -> None:
        job = await submitted(caller)
        made = write_output(tmp_path)
        with caller.service._store._opened() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            assert free == 0
        text = base64.b64encode(random.Random(1).randbytes(20_000)).decode()
        big = {"1": {"class_type": "Text", "inputs": {"text": text}}}
        code, body = await caller.ask("POST", "/api/v2/jobs", {"workflow": big})
        assert code == 503 and "the disk of jobs.sqlite is full" in body["error"]["message"]
        many = [replace(made, name=f"{number}.png") for number in range(200)]
        for one in many:
            write_output(tmp_path, one.name)
        backend.run_next()
        backend.finish(*many)
        await asyncio.sleep(0.3)
        assert (await until(caller, job, "running"))["completed_at"] is None
        with caller.service._store._opened() as connection:
            connection.execute("PRAGMA max_page_count = 1000000")
        body = await until(caller, job, "succeeded")
        assert len(body["outputs"]) == 200

    run(tmp_path, test)
