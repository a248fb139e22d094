"""The ComfyUI extension and its nodes. To add a node: its class in a file per topic, its name in `NODES`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .check import LoraCheck
from .export import ApiExport
from .host import prompt
from .schedule import LoraSchedule
from .stack import LoraStack

NODES: tuple[type[io.ComfyNode], ...] = (LoraStack, LoraSchedule, LoraCheck, ApiExport)


class Lorchestra(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        """Lets the nodes know the prompts in which they are validated."""
        prompt.listen()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Our nodes."""
        prompt.listen()  # ComfyUI 0.3.64 does not call on_load
        return list(NODES)
