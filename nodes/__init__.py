"""The ComfyUI extension and its nodes. To add a node: its class in a file per topic, its name in `NODES`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .balance import LoraBalance
from .check import LoraCheck
from .comparison import ContactSheet, LoraVariants
from .export import ApiExport
from .host import process, prompt
from .region import LoraRegion
from .request import StackFromRequest
from .routes import add_routes, resume_soon
from .schedule import LoraSchedule
from .stack import LoraStack

NODES: tuple[type[io.ComfyNode], ...] = (
    LoraStack,
    LoraSchedule,
    LoraCheck,
    ApiExport,
    StackFromRequest,
    LoraBalance,
    LoraVariants,
    ContactSheet,
    LoraRegion,
)


class Lorchestra(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        """Lets the nodes know the prompts in which they are validated, and adds the routes of the face.

        The catalog is filled in the background.
        """
        prompt.listen()
        if add_routes():
            resume_soon()
        process.read_files_soon()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Our nodes."""
        await self.on_load()  # which ComfyUI 0.3.64 does not call
        return list(NODES)
