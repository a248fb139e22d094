"""Node schemas that every supported ComfyUI understands."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ...lorchestra.sentences import as_json
from .prompt import core_nodes


def category() -> str:
    """Where our nodes stand in the menu: beside the LoRA loaders of the running ComfyUI, which newer ones moved."""
    return f"{core_nodes.LoraLoader.CATEGORY}/Lorchestra"


def shown(lines: Sequence[str]) -> dict[str, list[Any]]:
    """What a node shows after its run: its text, and each line in its parts, for the face."""
    return {"text": ["\n".join(lines)], "said": [as_json(line) for line in lines]}


def combo(name: str, **fields: Any) -> io.Combo.Input:
    """A choice of those fields that the running ComfyUI knows; 0.3.64, for example, has no `advanced`."""
    known = inspect.signature(io.Combo.Input).parameters
    return io.Combo.Input(name, **{key: value for key, value in fields.items() if key in known})


def schema(**fields: Any) -> io.Schema:
    """An `io.Schema` of those fields that the running ComfyUI knows.

    One unknown field would keep the whole pack from loading. 0.3.64, for example, has no `search_aliases`.
    """
    known = inspect.signature(io.Schema).parameters
    return io.Schema(**{name: value for name, value in fields.items() if name in known})
