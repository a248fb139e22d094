"""From a publication and what a caller sent to the graph that is queued; pure, the inverse of publishing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, cast

from ..errors import InputError, LorchestraError, quoted
from ..limits import Json
from .interface import LORAS
from .publication import Publication

Resolve = Callable[[str], str]
"""A LoRA's `model` (AIR, hash or name) → the file as ComfyUI lists it; raises `LorchestraError` with the reason."""


def create(publication: Publication, inputs: Json, *, resolve: Resolve) -> dict[str, Json]:
    """The graph in API form with the values put in; what is not sent stays as the workflow has it.

    Raises `InputError` with the path of the field that is to blame.
    """
    if not isinstance(inputs, dict):
        raise InputError(f"the inputs are {quoted(inputs)}; expected an object")
    graph = cast("dict[str, Any]", copy.deepcopy(dict(publication.graph)))
    for name, value in cast("dict[str, Json]", inputs).items():
        found = publication.find_input(name)
        if found is None:
            raise InputError("the workflow has no such input", (name,))
        if found.kind == LORAS:
            rows: list[Json] = []
            for number, row in enumerate(value):
                try:
                    lora = resolve(row["model"])
                except LorchestraError as error:
                    raise InputError(str(error), (name, number, "model")) from error
                rows.append({"lora": lora, "model": row.get("weight", 1.0)})
            value = json.dumps({"version": 1, "loras": rows})
        for node, widget in found.targets:
            graph[node]["inputs"][widget] = value
    return graph
