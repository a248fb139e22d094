"""How long it takes from a request to a queued job: `POST /workflows/{name}/jobs`, next to ComfyUI's own `/prompt`.

The same graph with the same ten LoRAs, in a folder of 10,000, one request after the other and turn by turn, while
ComfyUI is busy with something that takes no time of the processor. Besides: the schema of a workflow of 200 nodes, and
how long the event loop does not turn meanwhile, as a node pack sees it from inside. Needs a ComfyUI, and in its Python
or in this one what the pack needs: `jsonschema`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import Server, find_comfyui
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT, demo_prompt
from lorchestra.workflow.publication import publish
from lorchestra.workflow.schema import schema_of
from support.loop_watcher import SLEEP, Blocked, put_watcher, read_blocked

FILES, ROWS, TIMES = 10_000, 10, 60
ASKED = 1.3
"""At most so many times ComfyUI's own, and `ASKED_MS` more."""
ASKED_MS = 15.0
NODES, SCHEMA_MS = 200, 100.0
BLOCKED_MS = 20.0


def main() -> int:
    """Prints both times and their ratio; the exit code says whether it is what was asked."""
    found = find_comfyui()
    if found is None:
        print("No ComfyUI was found. Set COMFYUI_PATH.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        _fill(base)
        put_watcher(base)
        with Server(replace(found, python=Path(sys.executable)), base, pack=ROOT) as server:
            return _measure(server)


def _fill(base: Path) -> None:
    write_checkpoint(base / "models/checkpoints" / CHECKPOINT)
    first = write_lora(base / "models/loras/bench-0.safetensors", layers("*attn1.to_q"))
    data = first.read_bytes()
    for number in range(1, ROWS):
        (base / f"models/loras/bench-{number}.safetensors").write_bytes(data)
    for number in range(FILES - ROWS):
        (base / f"models/loras/other-{number:05}.safetensors").touch()


def _measure(server: Server) -> int:
    _send(server, "/lorchestra/workflows/bench", {"workflow": demo_prompt([], steps=2, width=64, height=64)}, "PUT")
    server.post("/prompt", {"prompt": SLEEP})
    while not server.get("/queue")["queue_running"]:
        time.sleep(0.1)
    rows = [{"lora": f"bench-{number}.safetensors", "model": 0.5} for number in range(ROWS)]
    sent = [{"model": f"bench-{number}", "weight": 0.5} for number in range(ROWS)]

    def own(number: int) -> None:
        server.post("/prompt", {"prompt": demo_prompt(rows, seed=number, steps=2, width=64, height=64)})

    def ours(number: int) -> None:
        _send(server, "/lorchestra/workflows/bench/jobs", {"loras": sent, "seed": number})

    for number in range(5):
        own(number)
        ours(number)
    read_blocked(server)
    blocked = {"own": Blocked(0, 0, 0, ""), "ours": Blocked(0, 0, 0, "")}
    times: dict[str, list[float]] = {"own": [], "ours": []}
    for number in range(5, 5 + TIMES):
        for name, work in (("own", own), ("ours", ours)):
            times[name].append(_time(work, number))
            blocked[name] = max(blocked[name], read_blocked(server))
    server.post("/queue", {"clear": True})
    server.post("/interrupt", {})
    own_ms, ours_ms = (1000 * statistics.median(times[name]) for name in ("own", "ours"))
    own_block, our_block = (1000 * blocked[name].seconds for name in ("own", "ours"))
    collected, kernel = 1000 * blocked["ours"].collected, 1000 * blocked["ours"].kernel
    schema_ms = _schema(server)
    asked_ms = ASKED * own_ms + ASKED_MS
    # What ComfyUI's own validation takes of the loop, it takes of the loop for us too.
    most_block = max(BLOCKED_MS, own_block)
    is_good = ours_ms <= asked_ms and our_block <= most_block and schema_ms < SCHEMA_MS
    print(f"From POST to queued, with {ROWS} LoRAs of {FILES:,}, median of {TIMES}:")
    print(f"  ComfyUI's /prompt   {own_ms:7.1f} ms")
    print(f"  a published workflow{ours_ms:7.1f} ms   {ours_ms / own_ms:.2f} times, {ours_ms - own_ms:+.1f} ms")
    print(f"  asked at most {asked_ms:.1f} ms ({ASKED} times and {ASKED_MS:g} ms more): {_word(ours_ms <= asked_ms)}")
    print(f"The event loop did not turn for {our_block:.1f} ms at most, and for {own_block:.1f} ms with /prompt;")
    print(f"  of ours, Python's garbage collector took {collected:.1f} ms, and the kernel {kernel:.0f} ms.")
    print(f"  asked at most {BLOCKED_MS:g} ms, or what /prompt takes: {_word(our_block <= most_block)}")
    print(
        f"Schema of {NODES} nodes: {schema_ms:.1f} ms; asked less than {SCHEMA_MS:g} ms: {_word(schema_ms < SCHEMA_MS)}"
    )
    return 0 if is_good else 1


def _word(is_good: bool) -> str:
    return "yes" if is_good else "NO"


def _schema(server: Server) -> float:
    """Milliseconds from a workflow of so many nodes to its schema, as ComfyUI describes the nodes; the best of five."""
    parts = [demo_prompt([], steps=2, seed=number) for number in range(NODES // 8 + 1)]
    graph = {
        f"{number}{node}": {
            **data,
            "inputs": {key: _renumbered(value, number) for key, value in data["inputs"].items()},
        }
        for number, part in enumerate(parts, 1)
        for node, data in part.items()
    }
    kinds = {data["class_type"] for data in graph.values()}
    info = {kind: server.object_info(kind)[kind] for kind in kinds}
    return 1000 * min(_time(lambda _: schema_of(publish(graph, info, "bench")), 0) for _ in range(5))


def _renumbered(value: object, number: int) -> object:
    return [f"{number}{value[0]}", value[1]] if isinstance(value, list) and len(value) == 2 else value


def _time(work: Callable[[int], object], number: int) -> float:
    begin = time.perf_counter()
    work(number)
    return time.perf_counter() - begin


def _send(server: Server, path: str, body: object, method: str = "POST") -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        answer.read()


if __name__ == "__main__":
    sys.exit(main())
