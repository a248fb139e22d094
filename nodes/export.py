"""The API Export node."""

from __future__ import annotations

import uuid

from comfy_api.latest import io

from .host import files
from .host.documents import NO_DOCUMENTS, write_documents
from .host.infotext import write_infotext
from .host.schema import category, schema
from .sockets import LoraStackSocket, read_rows, split_skipped

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
            category=category(),
            description=(
                "Writes a LoRA stack for other programs: Runware's lora array, <lora:…> text for A1111 and Forge, "
                "our own JSON, or its JSON Schema; and the whole workflow as an API. What a format can't store is "
                "listed, never dropped quietly."
            ),
            search_aliases=["export api", "runware", "a1111", "json schema", "openapi", "lora stack export"],
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
                io.Boolean.Input(
                    "documents",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Also write this workflow as an API: the schema of its inputs, an OpenAPI document and an "
                        "example request. The workflow's name is the end of filename_prefix."
                    ),
                ),
            ],
            outputs=[io.String.Output(display_name="text", tooltip="What was written.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        format: str | None = None,  # noqa: A002 - the name of the input
        documents: bool | None = None,
        **_: object,
    ) -> str:
        """The node runs each time where what it writes depends on more than its inputs: on the whole workflow."""
        return uuid.uuid4().hex if documents or format == INFOTEXT else ""

    @classmethod
    def execute(
        cls,
        lora_stack: object,
        format: str,  # noqa: A002
        filename_prefix: str,
        allow_names: bool,
        clamp: bool = False,
        documents: bool = False,
    ) -> io.NodeOutput:
        """Writes the files and shows them."""
        from ..lorchestra.exchange import suffix, write_any

        queued, pnginfo = (getattr(cls.hidden, name, None) for name in ("prompt", "extra_pnginfo"))
        kept, skipped = split_skipped(lora_stack)
        known = files.identified(read_rows(kept))
        writing = write_any(known.stack, format, {"allow_names": allow_names, "clamp": clamp})
        if format == INFOTEXT:
            writing = write_infotext(known.stack, queued, writing)
        losses = known.without_added(writing.losses)
        made = write_documents(filename_prefix, queued, pnginfo) if documents else NO_DOCUMENTS
        own = suffix(format)
        texts = {own: writing.text}
        for end, text in made.files.items():
            texts[f".workflow{end}" if end == own else end] = text  # the stack's own schema ends in the same way
        written = files.write_outputs(filename_prefix, texts)
        left_out = [f"{name}: left out, because its file is missing" for name in skipped]
        lost = "\n".join([*left_out, *(f"This format can't store: {loss}" for loss in losses)])
        shown = "\n\n".join(filter(None, (writing.text.rstrip(), lost, "\n".join(made.sentences))))
        return io.NodeOutput(writing.text, ui={"text": [shown], "files": written, "documents": list(made.shown)})
