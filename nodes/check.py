"""The LoRA Check node."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lorchestra.choices import IGNORE, Choices
from .host import files
from .host.schema import category, schema, shown
from .sockets import LoraStackSocket, read_rows, to_rows

if TYPE_CHECKING:
    from ..lorchestra.apply.plan import Plan
    from ..lorchestra.fit.outcome import Outcome
    from .host.protocols import Clip, Patcher

VERSION = 1
"""Version of the data that the node gives."""


class LoraCheck(io.ComfyNode):
    """Says of each row of a stack whether it fits a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended."""
        return schema(
            node_id="LorchestraLoraCheck",
            display_name="LoRA Check",
            category=category(),
            description=(
                "Checks whether each LoRA in a stack fits the model, and says why not. Only the files' headers and "
                "alphas are read, and nothing is changed."
            ),
            search_aliases=["check lora", "lora compatibility", "lora info", "validate lora", "filter lora stack"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs are for. It passes through."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoders. Without them the text encoder parts of the LoRAs are not looked at.",
                ),
                LoraStackSocket.Input("lora_stack", tooltip="The rows to check, from any stack node."),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The model as it came in."),
                io.String.Output(display_name="report", tooltip="One line per row: whether it fits, and why not."),
                io.String.Output(display_name="data", tooltip="The same and more as JSON, for other programs."),
                LoraStackSocket.Output(
                    display_name="fitting", tooltip="The rows that fit the model, in whole or in part, or may fit it."
                ),
            ],
        )

    @classmethod
    def execute(cls, model: Patcher, lora_stack: object, clip: Clip | None = None) -> io.NodeOutput:
        """Makes a plan and throws it away. What it needs is loaded with the first run, not with ComfyUI."""
        from ..lorchestra.apply.plan import make_plan
        from ..lorchestra.architectures.names import family_titles
        from ..lorchestra.fit.outcome import COMPATIBLE, PARTIAL, UNKNOWN, report_lines
        from .host.model import live_base

        stack = read_rows(lora_stack)
        base = live_base(model, clip)
        plan = make_plan(stack, files.row_files(files.SECONDS), base, Choices(policy=IGNORE))
        outcomes = _with_evidence(plan)
        title = next(iter(family_titles(base.architectures, 1)), None)
        data = {
            "version": VERSION,
            "model": {"architectures": base.architectures, "title": title},
            "rows": [item.to_json() for item in outcomes],
        }
        fitting = [item.entry for item in outcomes if item.verdict in (COMPATIBLE, PARTIAL, UNKNOWN)]
        rows = to_rows(files.with_listed_names(fitting))
        lines = report_lines(outcomes)
        return io.NodeOutput(model, "\n".join(lines), json.dumps(data, ensure_ascii=False), rows, ui=shown(lines))


def _with_evidence(plan: Plan) -> list[Outcome]:
    """The outcomes in the order of the rows, each with why its file is taken for what it is."""
    evidence = {item.weighted.row: item.file.examined.evidence for item in plan.chosen}
    return [replace(item, evidence=tuple(evidence.get(item.row or 0, ()))) for item in plan.outcomes]
