"""A saved workflow as a prompt, for workflows without subgraphs whose widget values are saved by name."""

from __future__ import annotations

from typing import Any, cast

from ..errors import LorchestraError

Json = Any

_FACE_ONLY = ("Note", "MarkdownNote")
_FRONTEND_WIDGETS = ("control_after_generate",)
"""Widgets that the frontend adds and that no node reads."""


def to_prompt(workflow: Json) -> dict[str, Json]:
    """The API form of a workflow in format 0.4 with `widgets_values_named`, as frontends since 1.4x write it.

    Raises `LorchestraError` for a node whose widget values are not named.
    """
    links = {link[0]: link for link in workflow["links"]}
    prompt: dict[str, Json] = {}
    for node in workflow["nodes"]:
        if node["type"] in _FACE_ONLY:
            continue
        named = node.get("widgets_values_named")
        if named is None and node.get("widgets_values"):
            raise LorchestraError(f"node {node['id']} ({node['type']}) does not name its widget values")
        values = cast("dict[str, Json]", named or {})
        inputs = {name: value for name, value in values.items() if name not in _FRONTEND_WIDGETS}
        for slot in node.get("inputs", []):
            link = links.get(slot.get("link"))
            if link is not None:
                inputs[slot["name"]] = [str(link[1]), link[2]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt
