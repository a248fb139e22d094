"""The LoRA Balance node."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from comfy_api.latest import io

from ..lorchestra.choices import AUTO, IGNORE, SKIP, Choices
from .host import files as host_files
from .host.schema import category, schema
from .sockets import LoraStackSocket, read_rows, to_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..lorchestra.analysis.balance import Balance
    from ..lorchestra.apply.plan import Change, Plan
    from ..lorchestra.fit.rows import Files
    from ..lorchestra.models.base import Base
    from ..lorchestra.stack import Entry, Stack
    from .host.protocols import Patcher

AS_THEY_ARE = "as they are"
WEIGHTS = (AS_THEY_ARE, "equal", "total", "interference")
"""`analysis.weights.SUGGESTIONS` by their ids, said again: what they need is loaded with the first run."""


class LoraBalance(io.ComfyNode):
    """Measures the LoRAs of a stack against each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended."""
        return schema(
            node_id="LorchestraLoraBalance",
            display_name="LoRA Balance",
            category=category(),
            description=(
                "Measures how strong each LoRA of a stack is, which one dominates, and which do the same work; and "
                "suggests weights. The model is not run."
            ),
            search_aliases=["lora strength", "balance loras", "compare loras", "lora weights", "lora conflict"],
            is_output_node=True,
            inputs=[
                LoraStackSocket.Input("lora_stack", tooltip="The rows to measure, from any stack node."),
                io.Combo.Input(
                    "weights",
                    options=list(WEIGHTS),
                    default=AS_THEY_ARE,
                    tooltip="The weights that go out. equal: all LoRAs as strong as each other. total: together as "
                    "strong as one at 0.75. interference: lowered where others do the same work.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The diffusion model. If nothing is connected, LoRAs are compared on the architecture that "
                    "all of them are made for, and some algorithms cannot be measured.",
                ),
            ],
            outputs=[
                LoraStackSocket.Output(
                    display_name="LORA_STACK", tooltip="The rows with the chosen weights, for a LoRA Stack."
                ),
                io.String.Output(display_name="report", tooltip="The figures, and what they mean, in sentences."),
                io.String.Output(display_name="data", tooltip="The same and more as JSON, for other programs."),
                io.Image.Output(display_name="plot", tooltip="Rows by blocks, and the matrix of pairs, as a picture."),
            ],
        )

    @classmethod
    def execute(cls, lora_stack: object, weights: str = AS_THEY_ARE, model: Patcher | None = None) -> io.NodeOutput:
        """Measures; what it needs is loaded with the first run, not with ComfyUI."""
        from ..lorchestra.analysis.balance import measure, nothing
        from ..lorchestra.analysis.report import report, to_json
        from ..lorchestra.apply.plan import make_plan
        from .host.before import read_before

        stack, files = read_rows(lora_stack), host_files.row_files(host_files.SECONDS)
        base = _base(stack, files, model)
        if base is None:
            text = "No LoRA does anything here: none is on, or no weight is other than 0."
            return _output(to_rows(stack.entries), text, "{}", nothing(), None)
        plan = make_plan(stack, files, base, Choices(SKIP, IGNORE, AUTO))
        if model is None:
            balance = measure(plan)
        else:
            balance = measure(plan, _Weights(model).find, before=read_before(model, base, files.open))
        left_out = [str(item) for item in plan.outcomes if not item.applied and item.entry.active]
        text = "\n".join([base.title, "", report(balance), *(["", *left_out] if left_out else [])])
        if any(entry.region is not None for entry in stack.entries if entry.active):
            text += "\n\nRegions are not measured: each LoRA counts as if it acted in the whole picture."
        data = json.dumps({"version": 1, "model": base.title, **to_json(balance)}, ensure_ascii=False)
        rows = to_rows(host_files.with_listed_names(_weighted(stack, plan, balance, weights)))
        return _output(rows, text, data, balance, _suggested(stack, plan, balance))


def _output(
    rows: object, text: str, data: str, balance: Balance, suggested: Mapping[str, object] | None
) -> io.NodeOutput:
    from ..lorchestra.analysis.plot import draw
    from ..lorchestra.schedule import plot

    picture = draw(balance)
    pixels = np.asarray(plot.drawn(picture), dtype=np.float32) / 255
    images = [host_files.write_preview(plot.png(picture), "lorchestra_balance")]
    ui = {"text": [text], "images": images, "suggested": [suggested] if suggested else []}
    return io.NodeOutput(rows, text, data, torch.from_numpy(pixels)[None], ui=ui)


def _base(stack: Stack, files: Files, model: Patcher | None) -> Base | None:
    """The model, else what all LoRAs that are on are made for; None if none is on."""
    from ..lorchestra.analysis.common_base import common_base
    from .host.model import live_base

    if model is not None:
        return live_base(model, None)
    made_for: dict[str, tuple[str, ...]] = {}
    for row, entry in stack.rows:
        located = files.find(entry, row) if entry.active else None
        if located is not None:
            made_for[Path(located.path).name] = files.open(located.path).examined.identity.architectures
    return common_base(made_for, "connect the model") if made_for else None


class _Weights:
    """A MODEL's own weights, without patches."""

    def __init__(self, model: Patcher) -> None:
        hooked = {key: weight.detach() for key, (weight, _) in model.hook_backup.items()}
        before = {key: kept.weight.detach() for key, kept in model.backup.items()}
        self._weights = {**model.model_state_dict(), **before, **hooked}

    def find(self, change: Change) -> torch.Tensor | None:
        """In fp32 on the CPU; None for one that is packed or is not there."""
        weight = self._weights.get(change.key)
        if weight is None or type(weight) is not torch.Tensor or not weight.is_floating_point():
            return None
        return weight.float().cpu() if weight.dtype.itemsize > 1 else None


def _weighted(stack: Stack, plan: Plan, balance: Balance, weights: str) -> list[Entry]:
    """The rows with the weights of a suggestion; all rows of one file are multiplied by the same."""
    from ..lorchestra.analysis.weights import SUGGESTIONS, suggested

    suggestion = next((item for item in SUGGESTIONS if item.id == weights), None)
    entries = list(stack.entries)
    if suggestion is None:
        return entries
    rows_of = {item.weighted.row: item.rows for item in plan.chosen}
    for lora, (model, clip) in zip(balance.loras, suggested(balance, suggestion).tolist(), strict=True):
        if lora.is_before:
            continue
        for row in rows_of[lora.row]:
            entry = entries[row - 1]
            scaled = _scaled(entry.model, model, lora.model)
            own = entry.clip if entry.clip is None else _scaled(entry.clip, clip, lora.clip)
            entries[row - 1] = replace(entry, model=scaled, clip=own)
    return entries


def _suggested(stack: Stack, plan: Plan, balance: Balance) -> Mapping[str, object] | None:
    """What the face sets the rows to if it is told to; None where there is nothing to weigh."""
    if len(balance.rows()) < 2:
        return None
    return {
        "rows": [[entry.lora, entry.model, entry.clip] for entry in stack.entries if entry.active],
        "weights": {
            weights: [
                [entry.model, entry.clip]
                for entry, before in zip(_weighted(stack, plan, balance, weights), stack.entries, strict=True)
                if before.active
            ]
            for weights in WEIGHTS
            if weights != AS_THEY_ARE
        },
    }


def _scaled(weight: float, total: float, before: float) -> float:
    return round(weight * total / before, 4) if before else weight
