"""How long it takes from a request to a queued job: `POST /workflows/{name}/jobs`, next to ComfyUI's own `/prompt`.

The same graph with the same ten LoRAs, in a folder of 10,000, one request after the other and turn by turn, while
ComfyUI samples something long. Besides, how late the event loop is meanwhile, by how long `/api/v2/health` takes.
Needs a ComfyUI; run it with the Python of the tests, `.venv-comfyui/bin/python`.
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
sys.path.append(str(ROOT))

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import Server, find_comfyui
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT, demo_prompt

FILES, ROWS, TIMES = 10_000, 10, 60
ASKED = 1.3
"""At most so many times ComfyUI's own, and `ASKED_MS` more."""
ASKED_MS = 15.0


def main() -> int:
    """Prints both times and their ratio; the exit code says whether it is what was asked."""
    found = find_comfyui()
    if found is None:
        print("No ComfyUI was found. Set COMFYUI_PATH.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        _fill(base)
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
    server.post("/prompt", {"prompt": demo_prompt(seed=5, steps=10_000, width=64, height=64)})
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
    times: dict[str, list[float]] = {"own": [], "ours": [], "health": []}
    for number in range(5, 5 + TIMES):
        times["own"].append(_time(own, number))
        times["ours"].append(_time(ours, number))
        times["health"].append(_time(lambda _: server.get("/lorchestra/api/v2/health"), number))
    server.post("/queue", {"clear": True})
    server.post("/interrupt", {})
    own_ms, ours_ms, health = (1000 * statistics.median(times[name]) for name in ("own", "ours", "health"))
    is_good = ours_ms <= ASKED * own_ms + ASKED_MS
    print(f"From POST to queued, with {ROWS} LoRAs of {FILES:,}, median of {TIMES}:")
    print(f"  ComfyUI's /prompt   {own_ms:7.1f} ms")
    print(f"  a published workflow{ours_ms:7.1f} ms   {ours_ms / own_ms:.2f} times, {ours_ms - own_ms:+.1f} ms")
    print(f"  a request for nothing{health:6.1f} ms, longest {1000 * max(times['health']):.1f} ms")
    print(f"  asked for: at most {ASKED} times and {ASKED_MS:g} ms more: {'yes' if is_good else 'NO'}")
    return 0 if is_good else 1


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
