"""The API Export node."""

from __future__ import annotations

from comfy_api.latest import io

from .host import files
from .host.infotext import write_infotext
from .host.schema import schema
from .sockets import LoraStackSocket, read_rows

FORMS = (
    "runware", "a1111", "rgthree", "lora-manager", "lora-manager-recipe", "comfyui", "civitai", "civitai-orchestration",
    "infotext", "swarmui", "swarmui-prompt", "fal", "fal-input", "fal-wan", "replicate", "replicate-multi", "together",
    "diffusers", "invokeai", "invokeai-graph", "draw-things", "sglang", "vllm-omni", "lightx2v", "json", "schema",
)  # fmt: skip
"""`lorchestra.exchange.FORMS`, said again: the code of all dialects is loaded when one is written, not with ComfyUI."""


INFOTEXT = "infotext"
"""The form that tells the run, too."""


class ApiExport(io.ComfyNode):
    """Writes a stack as a request to a hosted service."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended."""
        return schema(
            node_id="LorchestraApiExport",
            display_name="API Export",
            category="loaders/Lorchestra",
            description=(
                "Writes a LoRA stack for other programs: Runware's lora array, <lora:…> text for A1111 and Forge, "
                "our own JSON, or its JSON Schema. What a format cannot say is listed, never dropped quietly."
            ),
            search_aliases=["export api", "runware", "a1111", "json schema", "lora stack export"],
            is_output_node=True,
            inputs=[
                LoraStackSocket.Input("lora_stack", tooltip="The rows to write, from a LoRA Stack node."),
                io.Combo.Input("format", options=list(FORMS), default=FORMS[0], tooltip="The format to write."),
                io.String.Input(
                    "filename_prefix",
                    default="lorchestra/stack",
                    tooltip="Where the file goes, in ComfyUI's output folder.",
                ),
                io.Boolean.Input(
                    "allow_names",
                    default=False,
                    tooltip="Write the file's name for rows that have no AIR, instead of stopping with an error.",
                ),
                io.Boolean.Input(
                    "clamp",
                    default=False,
                    optional=True,
                    tooltip="Write the nearest weight that the program takes, instead of stopping with an error.",
                ),
            ],
            outputs=[io.String.Output(display_name="text", tooltip="What was written.")],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls,
        lora_stack: object,
        format: str,  # noqa: A002 - the name of the input
        filename_prefix: str,
        allow_names: bool,
        clamp: bool = False,
    ) -> io.NodeOutput:
        """Writes one file and shows it."""
        from ..lorchestra.exchange import suffix, write_any

        known = files.identified(read_rows(lora_stack))
        writing = write_any(known.stack, format, {"allow_names": allow_names, "clamp": clamp})
        if format == INFOTEXT:
            writing = write_infotext(known.stack, getattr(cls.hidden, "prompt", None), writing)
        losses = known.without_added(writing.losses)
        written = files.write_output(filename_prefix, suffix(format), writing.text)
        shown = "\n".join([writing.text.rstrip(), "", *(f"Not said: {loss}" for loss in losses)]).rstrip()
        return io.NodeOutput(writing.text, ui={"text": [shown], "files": [written]})
