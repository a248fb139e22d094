"""What `/object_info` says of nodes, without asking for all of them, through ComfyUI's own table of nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ...lorchestra.limits import Json
from . import process
from .prompt import core_nodes


def describe(kinds: Iterable[str]) -> Mapping[str, Json]:
    """The inputs and outputs of these nodes, without kinds that are not there. From any thread.

    A node that cannot describe itself is left out, as if it was not there.
    """
    found: dict[str, Json] = {}
    for kind in sorted(kinds):
        node = core_nodes.NODE_CLASS_MAPPINGS.get(kind)
        if node is not None:
            try:
                found[kind] = json.loads(json.dumps(_described(kind, node), default=str))
            except Exception:  # it is another pack's code
                process.warn_once(f"the node {kind} cannot describe its inputs, and is left out of what is published")
    return found


def _described(kind: str, node: Any) -> Mapping[str, Any]:
    describe_itself = getattr(node, "GET_NODE_INFO_V1", None)
    if callable(describe_itself):
        return cast("Mapping[str, Any]", describe_itself())
    inputs = node.INPUT_TYPES()
    outputs = getattr(node, "RETURN_TYPES", ())
    return {
        "input": inputs,
        "input_order": {group: list(items) for group, items in inputs.items()},
        "output": outputs,
        "output_is_list": getattr(node, "OUTPUT_IS_LIST", [False] * len(outputs)),
        "output_name": getattr(node, "RETURN_NAMES", outputs),
        "name": kind,
        "display_name": core_nodes.NODE_DISPLAY_NAME_MAPPINGS.get(kind, kind),
        "description": getattr(node, "DESCRIPTION", ""),
        "category": getattr(node, "CATEGORY", ""),
        "output_node": getattr(node, "OUTPUT_NODE", False) is True,
        "python_module": getattr(node, "RELATIVE_PYTHON_MODULE", "nodes"),
    }
