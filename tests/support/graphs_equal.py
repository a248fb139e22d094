"""Whether two graphs in API form do the same, whatever ids their nodes have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Json = Any

SHOWN_ONLY = {
    "ImageCompare": ("compare_view",),
    "SaveGLB": ("image",),
    "Preview3D": ("image",),
    "Load3D": ("image", "upload 3d model", "upload extra resources", "clear"),
}
"""What only the editor's view of a node needs, and the node does not take."""


def prints(graph: Mapping[str, Json]) -> list[str]:
    """One text for each node, made of its class, its values and the texts of what it is linked to; sorted."""
    made: dict[str, str] = {}
    waiting = list(graph)
    while waiting:
        id_ = waiting[-1]
        inputs = graph[id_]["inputs"]
        links = {name: value for name, value in inputs.items() if isinstance(value, list)}
        missing = [link[0] for link in links.values() if link[0] not in made]
        if id_ in made or not missing:
            waiting.pop()
            kind = graph[id_].get("class_type")
            values: dict[str, Json] = {name: [made[link[0]], link[1]] for name, link in links.items()}
            hidden = SHOWN_ONLY.get(kind, ())
            plain = {name: value for name, value in inputs.items() if name not in links and name not in hidden}
            values |= {name: _number(value) for name, value in plain.items()}
            text = json.dumps([kind, values], sort_keys=True)
            made[id_] = f"{kind} {hashlib.sha256(text.encode()).hexdigest()}"
        else:
            waiting += missing
    return sorted(made.values())


def _number(value: Json) -> Json:
    """1.0 as 1, as JavaScript writes it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
