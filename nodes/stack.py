"""The LoRA Stack node."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..lorchestra.check import report
from ..lorchestra.errors import LorchestraError
from ..lorchestra.plan import ERROR, MISSING_POLICIES, make_plan
from ..lorchestra.stack import Stack
from .host import files, patch
from .host import model as live
from .host.schema import schema
from .sockets import Loras, LoraStackSocket, read_rows, to_rows

EMPTY = '{"version": 1, "loras": []}'


class LoraStack(io.ComfyNode):
    """Applies a list of LoRAs to a model and its text encoders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraLoraStack",
            display_name="LoRA Stack",
            category="loaders/Lorchestra",
            description=(
                "Applies a list of LoRAs at once. The order of the rows does not change the result; "
                "rows that are off or at weight 0 cost nothing."
            ),
            search_aliases=["lora", "load lora", "lora loader", "lora stack", "power lora loader", "multi lora"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs change."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoders. Without them the text encoder parts of the LoRAs are not used.",
                ),
                Loras.Input(
                    "loras",
                    optional=True,
                    tooltip=(
                        "The LoRAs and their weights: our JSON, <lora:name:0.7> text, or a Runware lora array. "
                        "Weights lie in -100 to 100."
                    ),
                    extra_dict={"default": EMPTY},
                ),
                io.Combo.Input(
                    "missing",
                    options=list(MISSING_POLICIES),
                    default=ERROR,
                    optional=True,
                    tooltip="What happens to a row whose file is not there: stop with an error, or skip the row.",
                ),
                LoraStackSocket.Input(
                    "lora_stack", optional=True, tooltip="Rows from another stack node, of this pack or of another."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Clip.Output(display_name="CLIP"),
                LoraStackSocket.Output(display_name="LORA_STACK", tooltip="All rows that are on."),
                io.String.Output(display_name="report", tooltip="One line per row: what was applied."),
            ],
        )

    @classmethod
    def validate_inputs(cls, loras: Any = None, missing: str = ERROR) -> bool | str:
        """Runs when the prompt is queued: text that does not parse and files that are missing stop it there."""
        try:
            stack = Stack.parse(loras)
            if missing not in MISSING_POLICIES:
                return f"missing is {missing!r}; expected one of {', '.join(MISSING_POLICIES)}"
            if missing == ERROR:
                files.require_all(stack)
        except LorchestraError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, loras: Any = None, **_: Any) -> str:
        """The node runs again when a LoRA file changed on disk."""
        try:
            return files.fingerprint(Stack.parse(loras))
        except LorchestraError as error:
            return str(error)

    @classmethod
    def execute(
        cls, model: Any, clip: Any = None, loras: Any = None, missing: str = ERROR, lora_stack: Any = None
    ) -> io.NodeOutput:
        """Parses, finds, checks and applies the rows."""
        own, upstream = Stack.parse(loras), read_rows(lora_stack)
        stack = own.joined(upstream)  # so that errors count this node's rows from 1
        listing = files.read_listing()
        plan = make_plan(
            stack,
            find=files.finder(listing),
            open_file=files.lora_cache().open,
            targets=live.targets(model, clip),
            fallback=lambda: live.fallback(model, clip),
            missing=missing,
        )
        patched_model, patched_clip = patch.apply(plan, model, clip)
        notes = [f"Written by a newer version ({stack.version}): what this one does not know is kept."]
        text = report(plan.outcomes, notes if stack.is_newer else [])
        rows = to_rows(files.with_listed_names([*upstream.entries, *own.entries], listing))
        return io.NodeOutput(patched_model, patched_clip, rows, text, ui={"text": [text]})
