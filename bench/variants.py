"""What twelve variants of *LoRA Variants* in one prompt cost, next to twelve plain runs; in a real ComfyUI, on its CPU.

The variants are: without LoRAs, each of ten alone, all ten. Plain runs are prompts of their own, with the model loaded:
a LoRA Stack with those rows, or ComfyUI's own loaders, one after the other. All make the same twelve pictures from one
seed, with another seed each round, so that no picture is in a cache, in turns, there and back. No round begins after
`LIMIT` seconds. Times are medians of the rounds: what ComfyUI says that the runs took, without the time between them,
and what its process takes of the processor, where the system tells.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[1]
sys.path.append(str(ROOT))

from lorchestra.demo.checkpoint import write_checkpoint
from lorchestra.demo.comfyui import Server, find_comfyui
from lorchestra.demo.loras import layers, write_lora
from lorchestra.demo.prompt import CHECKPOINT, STACK_NODE, demo_prompt

LORAS, ROUNDS, STEPS, SIDE = 10, 3, 4, 64
LIMIT = 150.0
"""Seconds after which no further round begins; one is always measured."""
ASKED = 1.05
"""At most so many times the plain runs."""
VARIANTS_NODE = "9"
Prompt = dict[str, Any]


def main() -> int:
    """Prints the times and their ratios; the exit code says whether it is what was asked."""
    found = find_comfyui()
    if found is None:
        print("No ComfyUI was found. Set COMFYUI_PATH.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_checkpoint(base / "models/checkpoints" / CHECKPOINT)
        for number in range(LORAS):
            write_lora(base / "models/loras" / name(number), layers("*.attn?.to_*"), rank=8, seed=number)
        with Server(found, base, pack=ROOT) as server:
            return _measure(server)


def name(number: int) -> str:
    """Of a LoRA's file."""
    return f"bench-{number}.safetensors"


def rows(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Of a stack with these LoRAs."""
    return [{"lora": name(number), "model": 0.5} for number in numbers]


WHAT: tuple[tuple[int, ...], ...] = ((), *((number,) for number in range(LORAS)), tuple(range(LORAS)))
"""The LoRAs of each picture."""


def variants(seed: int, mode: str) -> list[Prompt]:
    """One prompt."""
    prompt = demo_prompt(rows(range(LORAS)), seed=seed, steps=STEPS, width=SIDE, height=SIDE)
    prompt[VARIANTS_NODE] = {
        "class_type": "LorchestraLoraVariants",
        "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_stack": [STACK_NODE, 2], "mode": mode},
    }
    for node in ("3", "4"):
        prompt[node]["inputs"]["clip"] = [VARIANTS_NODE, 1]
    prompt["6"]["inputs"]["model"] = [VARIANTS_NODE, 0]
    return [prompt]


def stacks(seed: int, mode: str) -> list[Prompt]:
    """A prompt with a LoRA Stack for each picture; the first without."""
    prompts: list[Prompt] = []
    for numbers in WHAT:
        prompt = demo_prompt(rows(numbers) if numbers else None, seed=seed, steps=STEPS, width=SIDE, height=SIDE)
        if numbers:
            prompt[STACK_NODE]["inputs"]["mode"] = mode
        prompts.append(prompt)
    return prompts


def loaders(seed: int) -> list[Prompt]:
    """The same with ComfyUI's own loaders."""
    prompts: list[Prompt] = []
    for numbers in WHAT:
        prompt = demo_prompt(None, seed=seed, steps=STEPS, width=SIDE, height=SIDE)
        last = "1"
        for number in numbers:
            node = f"l{number}"
            inputs = {"model": [last, 0], "clip": [last, 1], "lora_name": name(number)}
            strengths = {"strength_model": 0.5, "strength_clip": 0.5}
            prompt[node] = {"class_type": "LoraLoader", "inputs": inputs | strengths}
            last = node
        prompt["6"]["inputs"]["model"] = [last, 0]
        for node in ("3", "4"):
            prompt[node]["inputs"]["clip"] = [last, 1]
        prompts.append(prompt)
    return prompts


WAYS: tuple[tuple[str, Callable[[int], list[Prompt]]], ...] = (
    ("LoRA Variants, live", lambda seed: variants(seed, "live")),
    ("LoRA Variants, merge", lambda seed: variants(seed, "merge")),
    ("LoRA Stack, live, 12 runs", lambda seed: stacks(seed, "live")),
    ("LoRA Stack, merge, 12 runs", lambda seed: stacks(seed, "merge")),
    ("ComfyUI's loaders, 12 runs", loaders),
)


@dataclass(frozen=True)
class Time:
    """Seconds of one round."""

    clock: float
    processor: float


def _measure(server: Server) -> int:
    times: dict[str, list[Time]] = {way: [] for way, _ in WAYS}
    start = time.perf_counter()
    for seed in range(ROUNDS + 1):
        if seed > 1 and time.perf_counter() - start > LIMIT:
            break
        for way, make in WAYS if seed % 2 else reversed(WAYS):
            clock, processor, pictures = 0.0, _processor(server), 0
            for prompt in make(seed + 1):
                pictures += len(server.run(prompt)["8"]["images"])
                clock += _ran(server)
            assert pictures == len(WHAT)
            if seed:  # the first round loads what the others have
                times[way].append(Time(clock, _processor(server) - processor))
    rounds = len(times[WAYS[0][0]])
    print(f"\n== variants: {len(WHAT)} pictures of {SIDE} pixels, {STEPS} steps, {LORAS} LoRAs; {rounds} rounds ==")
    medians = {
        way: Time(statistics.median(one.clock for one in own), statistics.median(one.processor for one in own))
        for way, own in times.items()
    }
    worst = 0.0
    for way, median in medians.items():
        print(f"{way:28} {median.clock:6.2f} s   {median.processor:6.2f} s of the processor")
    for mode in ("live", "merge"):
        variant, plain = medians[f"LoRA Variants, {mode}"], medians[f"LoRA Stack, {mode}, 12 runs"]
        ratio = variant.clock / plain.clock
        worst = max(worst, ratio)
        print(f"{mode}: the variants take {ratio:.3f} times what the plain runs take (asked: at most {ASKED:g})")
    return 0 if worst <= ASKED else 1


def _ran(server: Server) -> float:
    """Seconds that the last run took, as ComfyUI says it."""
    (entry,) = server.get("/history?max_items=1").values()
    at = {kind: data["timestamp"] for kind, data in entry["status"]["messages"]}
    return (at["execution_success"] - at["execution_start"]) / 1000


def _processor(server: Server) -> float:
    """Seconds that the server has taken of the processor; 0 where the system does not tell."""
    stat = Path(f"/proc/{server.pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
