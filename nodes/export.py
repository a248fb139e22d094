"""The API Export node."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io

from ..lorchestra.exchange import DIALECTS, find_dialect_or_raise
from ..lorchestra.workflow.stack_schema import stack_schema
from .host import files
from .host.schema import schema
from .sockets import LoraStackSocket, read_rows

SCHEMA = "schema"
STACK = "json"
FORMATS = (*(dialect.id for dialect in DIALECTS), STACK, SCHEMA)


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
                io.Combo.Input("format", options=list(FORMATS), default=FORMATS[0], tooltip="The format to write."),
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
            ],
            outputs=[io.String.Output(display_name="text", tooltip="What was written.")],
        )

    @classmethod
    def execute(
        cls,
        lora_stack: Any,
        format: str,  # noqa: A002 - the name of the input
        filename_prefix: str,
        allow_names: bool,
    ) -> io.NodeOutput:
        """Writes one file and shows it."""
        stack = read_rows(lora_stack)
        losses: list[str] = []
        if format == SCHEMA:
            text, suffix = json.dumps(stack_schema(), indent=2, ensure_ascii=False), ".schema.json"
        elif format == STACK:
            text, suffix = json.dumps(stack.to_json(), indent=2, ensure_ascii=False), ".stack.json"
        else:
            dialect = find_dialect_or_raise(format)
            options = {"allow_names": allow_names} if "allow_names" in dialect.write_options else {}
            writing = dialect.write(stack, **options)
            text, suffix, losses = (
                writing.text,
                f".{dialect.id}{dialect.suffix}",
                [str(item) for item in writing.losses],
            )
        written = files.write_output(filename_prefix, {suffix: text})
        shown = "\n".join([text.rstrip(), "", *(f"Not said: {loss}" for loss in losses)]).rstrip()
        return io.NodeOutput(text, ui={"text": [shown], "files": written})
