"""One order on its way through a ComfyUI: begun there or found there, followed to its end, its files kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import cast

from ...limits import Json
from ..assets import FOLDER
from ..backend import Ended, Failure, Graph, Made, Signal
from .comfyui import ComfyUI, ComfyUIError, ComfyUIStuck
from .former import find_former
from .kept import INPUTS, Kept, output_name
from .logs import LOGGER
from .table import Order, Table


class TakenAway(Exception):
    """An order that another worker runs by now."""


@dataclass
class Run:
    """An order in the hands of a worker."""

    order: Order
    worker: str
    url: str
    """Of the worker's ComfyUI."""
    table: Table
    kept: Kept
    tell: Callable[[Signal], object]
    is_canceled: Callable[[], bool]
    has_begun: bool = False
    """Whether the worker's ComfyUI may have heard of it."""
    is_elsewhere: bool = False
    """Whether it ran on another ComfyUI, where it was begun before."""

    async def run(self) -> Ended:
        """How it ended. Raises `ComfyUIError`, `ComfyUIRefused`, `KeptError`, `TableError`, and `TakenAway`."""
        order = self.order
        former = await find_former(order, self.url)
        if former is not None:
            LOGGER.info("the job was begun at %s, and is followed there", former, extra={"job": order.job})
            try:
                self.is_elsewhere = True
                async with ComfyUI(former) as comfyui:
                    return await self._follow(comfyui, None)
            except ComfyUIStuck as error:
                return Ended(order.job, (), failure=Failure(f"{error}."))
            except ComfyUIError as error:
                self.is_elsewhere = False
                LOGGER.warning("%s; the job is begun anew", error, extra={"job": order.job})
        async with ComfyUI(self.url) as comfyui:
            await comfyui.waiting()  # what does not answer need not be begun
            if not await asyncio.to_thread(self.table.begin, order, self.worker, self.url):
                raise TakenAway
            for name in uploads_of(order.graph):
                path = await asyncio.to_thread(self.kept.find, f"{INPUTS}/{name}")
                if path is not None:
                    folder, _, own = name.rpartition("/")
                    await comfyui.upload(own, folder, await asyncio.to_thread(path.read_bytes))
            self.has_begun = True
            return await self._follow(comfyui, order.graph)

    async def _follow(self, comfyui: ComfyUI, graph: Graph | None) -> Ended:
        """The end with its files, fetched and kept."""
        order = self.order
        ended = await comfyui.run(order.job, graph, self.tell, self.is_canceled, order.seconds)
        if order.attempt > 1:  # what an attempt has left that was lost
            await asyncio.to_thread(self.kept.remove, order.job)
        files: list[Made] = []
        for number, made in enumerate(ended.files):
            if made.text is None:
                name = output_name(order.job, number, made.name)
                await self.kept.write(name, comfyui.fetch(made))
                made = replace(made, folder="output", subfolder=str(PurePosixPath(name).parent))
                made = replace(made, name=PurePosixPath(name).name)
            files.append(made)
        return replace(ended, files=tuple(files))


def uploads_of(graph: Graph) -> Iterable[str]:
    """Uploaded files that a graph loads, as the door has named them."""
    for node in graph.values():
        inputs = cast("dict[str, Json]", node).get("inputs") if isinstance(node, dict) else None
        for value in cast("dict[str, Json]", inputs).values() if isinstance(inputs, dict) else ():
            if isinstance(value, str) and re.fullmatch(re.escape(FOLDER) + r"/[\w-]+\.\w{1,8}", value):
                yield value
