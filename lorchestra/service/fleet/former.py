"""Jobs whose worker was lost while its ComfyUI went on: each is found there, or taken from it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from .comfyui import ComfyUI, ComfyUIError
from .logs import LOGGER
from .table import ENDED, RUNNING, Order, Table

_SECONDS = 3.0
"""For an answer of a ComfyUI that may be gone."""
_PAUSE_SECONDS = 1.0
"""Until a ComfyUI has queued what it was just sent."""
_HERE = "127.0.0.1"
_LOCAL = ("localhost", "::1", "0.0.0.0", "::")


def is_local(url: str) -> bool:
    """Whether an address is of the machine that asks."""
    return _place(url)[0] == _HERE


def is_same(url: str, other: str) -> bool:
    """Whether two addresses are one, however this machine is called."""
    return _place(url) == _place(other)


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url.lower().rstrip("/"))
    host = parts.hostname or ""
    host = _HERE if host in _LOCAL or host.startswith("127.") else host
    return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def find_former(order: Order, url: str) -> str | None:
    """The ComfyUI that has a job from an attempt before; None where that is the one at `url`, or none that answers.

    On another machine `127.0.0.1` may be another ComfyUI, which does no harm: only the job's own id counts.
    """
    if order.begun is None or is_same(order.begun, url):
        return None
    try:
        async with ComfyUI(order.begun, _SECONDS) as comfyui:
            if await comfyui.knows(order.job):
                return order.begun
            await asyncio.sleep(_PAUSE_SECONDS)  # what a killed worker sent last may be on its way to the queue
            return order.begun if await comfyui.knows(order.job) else None
    except ComfyUIError as error:
        LOGGER.info("%s; the job is begun anew", error, extra={"job": order.job})
        return None


async def clear_stale(table: Table, comfyui: ComfyUI) -> None:
    """Takes from a ComfyUI the jobs that have ended without it, or run elsewhere: they would hold it up for nothing.

    What others have queued there is left alone. Raises `ComfyUIError` and `TableError`.
    """
    waiting = await comfyui.waiting()
    for job, state, begun in await asyncio.to_thread(table.find_orders, waiting) if waiting else ():
        is_elsewhere = state == RUNNING and begun is not None and not is_same(begun, comfyui.url)
        if state == ENDED or is_elsewhere:
            LOGGER.warning("a job that nobody waits for is taken from %s", comfyui.url, extra={"job": job})
            await comfyui.cancel(job)
