"""The ComfyUI extension and its nodes. To add a node: its class in a file per topic, its name in `NODES`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .export import ApiExport
from .stack import LoraStack

NODES: tuple[type[io.ComfyNode], ...] = (LoraStack, ApiExport)


class Lorchestra(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Our nodes."""
        return list(NODES)
