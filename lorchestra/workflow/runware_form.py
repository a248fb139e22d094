"""A published workflow as a task of Runware's image requests, where it fits one. Pure.

Source: https://runware.ai/docs/image-inference/api-reference. The checkpoint's file stands where Runware has an AIR: a
service of ours takes both.
"""

from __future__ import annotations

import uuid
from typing import cast

from ..errors import WorkflowError
from ..exchange.runware import WEIGHT_MAX, WEIGHT_MIN
from ..limits import Json
from .graph import inputs_of
from .interface import LORAS, Input
from .publication import Publication
from .roles import CFG, CHECKPOINT, DIFFUSION_MODEL, HEIGHT, NEGATIVE, PROMPT, SEED, STEPS, WIDTH, find_role

_PARAMETERS = (
    ("positivePrompt", PROMPT), ("negativePrompt", NEGATIVE), ("width", WIDTH), ("height", HEIGHT), ("steps", STEPS),
    ("CFGScale", CFG), ("seed", SEED),
)  # fmt: skip
"""Parameter → role of the input that it sets."""
_BLANK = "__BLANK__"
"""Runware's word for no prompt."""


def to_runware(publication: Publication) -> list[Json]:
    """A request with one task; raises `WorkflowError` if the workflow is none that Runware's form can ask for."""
    roles: dict[str, Input] = {}
    for item in publication.inputs:
        roles.setdefault(item.role, item)
    if PROMPT not in roles:
        raise WorkflowError("the workflow has no prompt among its inputs, and Runware's image request must have one")
    if not any(output.kind == "image" for output in publication.outputs):
        raise WorkflowError("the workflow saves no image, and Runware's form is for images")
    unsaid = [item.name for item in publication.inputs if item.is_required and item.role not in _said()]
    if unsaid:
        raise WorkflowError(
            f"the workflow must be given {', '.join(unsaid)}, for which Runware's form has no parameter"
        )
    task: dict[str, Json] = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.UUID(publication.graph_hash[:32], version=4)),
        "model": _model(publication),
    }
    for parameter, role in _PARAMETERS:
        item = roles.get(role)
        if item is None or item.default is None:
            continue
        task[parameter] = item.default if item.default != "" else _BLANK
    task.setdefault("positivePrompt", _BLANK)
    loras = roles.get(LORAS)
    if loras is not None:
        task["lora"] = [_lora(row) for row in cast("list[Json]", loras.default or [])]
    return [{**task, "numberResults": 1, "outputType": "URL"}]


def _said() -> set[str]:
    return {role for _, role in _PARAMETERS} | {LORAS, CHECKPOINT}


def _lora(row: Json) -> Json:
    weight = row["weight"]
    if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
        raise WorkflowError(f"the workflow's LoRA {row['model']} has the weight {weight:g}; Runware takes -4 to 4")
    more = [key for key in row if key not in ("model", "weight")]
    if more:
        raise WorkflowError(f"the workflow's LoRA {row['model']} has {more[0]}, which Runware's form cannot say")
    return {"model": row["model"], "weight": weight}


def _model(publication: Publication) -> str:
    """File of the checkpoint, or of the diffusion model."""
    found: dict[str, str] = {}
    for node in publication.graph:
        for name, value in inputs_of(publication.graph, node).items():
            role = find_role(name)
            if role is not None and role.name in (CHECKPOINT, DIFFUSION_MODEL) and isinstance(value, str):
                found.setdefault(role.name, value)
    model = found.get(CHECKPOINT) or found.get(DIFFUSION_MODEL)
    if model is None:
        raise WorkflowError("the workflow loads no checkpoint and no diffusion model that Runware's form could name")
    return model
