"""How long ComfyUI's event loop is blocked: a node pack that watches it from inside, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lorchestra.demo.comfyui import Server

SLEEP = {"1": {"class_type": "LoopWatcherSleep", "inputs": {"seconds": 100_000}}}
"""A graph that keeps ComfyUI's worker busy, with nothing: what is sent meanwhile waits."""
_PACK = '''
"""Looks at the clock a thousand times a second; /blocked tells the longest gap since it was asked last, and where."""
import asyncio
import gc
import os
import sys
import threading
import time
import traceback

import comfy.model_management
from aiohttp import web
from server import PromptServer


class Sleep:
    CATEGORY, FUNCTION, OUTPUT_NODE, RETURN_TYPES = "test", "sleep", True, ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seconds": ("INT", {"max": 10**9})}}

    def sleep(self, seconds):
        for _ in range(10 * seconds):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.1)
        return ()


NODE_CLASS_MAPPINGS = {"LoopWatcherSleep": Sleep}
worst, beat, seen = [0.0, 0.0, 0.0, ""], [0.0], [""]
collecting, collected = [0.0], [0.0]


def on_collection(phase, info):
    if phase == "start":
        collecting[0] = time.perf_counter()
    else:
        collected[0] += time.perf_counter() - collecting[0]


async def watch():
    while True:
        beat[0], used, seen[0], collected[0] = time.perf_counter(), time.process_time(), "", 0.0
        kernel = os.times().system
        await asyncio.sleep(0.001)
        # What another process takes of the machine is not ours: a gap counts as far as this one was working in it.
        gap = min(time.perf_counter() - beat[0] - 0.001, time.process_time() - used)
        if gap > worst[0]:
            worst[:] = gap, min(collected[0], gap), min(os.times().system - kernel, gap), seen[0]


def look():
    while True:
        time.sleep(0.004)
        if time.perf_counter() - beat[0] > 0.012 and not seen[0]:
            stacks = [traceback.format_stack(frame)[-3:] for thread, frame in sys._current_frames().items()
                      if thread != threading.get_ident()]
            seen[0] = "\\n".join("".join(stack) for stack in stacks)


@PromptServer.instance.routes.get("/blocked")
async def blocked(request):
    found, worst[:] = list(worst), (0.0, 0.0, 0.0, "")
    return web.json_response(found)


async def start(app):
    gc.callbacks.append(on_collection)
    app["watcher"] = asyncio.ensure_future(watch())
    threading.Thread(target=look, daemon=True).start()


PromptServer.instance.app.on_startup.append(start)
'''


def put_watcher(base: Path) -> None:
    """Puts the pack into the base folder of a ComfyUI that has not started yet."""
    folder = base / "custom_nodes/loop_watcher"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(_PACK)


class Blocked(NamedTuple):
    """A time without a turn of the event loop, in seconds."""

    seconds: float
    collected: float
    """How much of it Python's garbage collector took: it stops all threads, whoever has made the objects."""
    kernel: float
    """How much of it the kernel worked for this process, such as finding memory; in steps of 10 ms."""
    where: str
    """Where the threads were."""


def read_blocked(server: Server) -> Blocked:
    """The longest one since the last call."""
    seconds, collected, kernel, where = server.get("/blocked")
    return Blocked(float(seconds), float(collected), float(kernel), str(where))
