"""The LoRA Region node."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from .host.schema import category, schema, shown
from .sockets import LoraStackSocket, read_rows, to_rows

if TYPE_CHECKING:
    from ..lorchestra.stack import Entry

WHOLE = "whole"
TEXTS = (WHOLE, "not at all", "by area")
"""`stack.region.TEXTS`, said again: what they need is loaded with the first run."""


class LoraRegion(io.ComfyNode):
    """Lets rows of a stack act in a part of the picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraLoraRegion",
            display_name="LoRA Region",
            category=category(),
            description=(
                "Lets LoRAs act in a part of the picture: what they change counts where the mask is white. For two "
                "subjects with a LoRA each. The rows go into a LoRA Stack."
            ),
            search_aliases=["regional lora", "lora mask", "masked lora", "two characters", "attention couple", "area"],
            inputs=[
                LoraStackSocket.Input("lora_stack", tooltip="The rows, from any stack node."),
                io.Mask.Input(
                    "mask",
                    tooltip=(
                        "White where the LoRAs act, gray where they act less. Any size is scaled to the picture. "
                        "For videos one mask, or one for each frame."
                    ),
                ),
                io.String.Input(
                    "rows",
                    default="",
                    optional=True,
                    tooltip=(
                        "Which rows, by number or file name with commas between: 1, 3 or ink, night. If empty, all. "
                        "The others go out as they came in."
                    ),
                ),
                io.Combo.Input(
                    "text",
                    options=list(TEXTS),
                    default=WHOLE,
                    optional=True,
                    tooltip=(
                        "What the LoRAs do where there is no picture: in the text encoders, and in layers for text and "
                        "times. whole: all, as without a mask. not at all: nothing, which keeps two subjects further "
                        "apart. by area: as much as the mask covers of the picture."
                    ),
                ),
            ],
            outputs=[
                LoraStackSocket.Output(display_name="LORA_STACK", tooltip="The rows with their region."),
                io.String.Output(display_name="report", tooltip="Which rows have the region, and how large it is."),
            ],
        )

    @classmethod
    def execute(cls, lora_stack: object, mask: object, rows: str = "", text: str = WHOLE) -> io.NodeOutput:
        """Reads the mask. What it needs is loaded with the first run, not with ComfyUI."""
        from ..lorchestra.apply.region.reading import read_region
        from ..lorchestra.errors import StackError
        from ..lorchestra.sentences import say
        from ..lorchestra.stack.choosing import choose_rows

        stack = read_rows(lora_stack)
        region, is_cut = read_region(mask, text)
        chosen = choose_rows(stack, rows)
        entries: list[Entry] = []
        lines: list[str] = []
        for row, entry in stack.rows:
            if row not in chosen:
                entries.append(entry)
                continue
            if entry.region is not None and entry.region != region:
                twice = "{lora} has a region already. Join the masks, and use one LoRA Region for it."
                raise StackError(say(twice, lora=entry.lora), row)
            entries.append(replace(entry, region=region))
            lines.append(
                say("{lora}: off, because the mask is empty", lora=entry.lora)
                if region.is_empty
                else say("{lora}: in {area} of the picture", lora=entry.lora, area=f"{region.area:.0%}")
            )
        frames, height, width = region.mask.shape
        size = say("The mask is {width} × {height}, and is scaled to the picture.", width=width, height=height)
        if frames > 1:
            size = say(
                "There are {frames} masks of {width} × {height}, one for each frame or picture. They are scaled to it.",
                frames=frames,
                width=width,
                height=height,
            )
        lines.append(size)
        if is_cut:
            lines.append(say("Numbers of the mask below 0 or above 1 were cut off."))
        return io.NodeOutput(to_rows(entries), "\n".join(lines), ui=shown(lines))
