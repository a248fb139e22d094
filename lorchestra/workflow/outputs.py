"""What a workflow gives: its nodes that save or show something, with the kind of each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import shortened
from ..limits import Json
from .api_form import ApiForm, find_kind, in_order
from .editor import mapping, sequence
from .graph import class_of, links_of
from .interface import Output
from .names import Names, slug
from .node_classes import NodeClass, NodeClasses

_KINDS: tuple[tuple[str, str], ...] = (
    ("VIDEO", "video"), ("IMAGE", "image"), ("MASK", "image"), ("AUDIO", "audio"), ("STRING", "text"),
    ("LATENT", "latent"),
)  # fmt: skip
_BY_CLASS: tuple[tuple[str, str], ...] = (
    # ComfyUI, nodes.py and comfy_extras/
    ("SaveImage|PreviewImage|SaveImageAdvanced|SaveAnimatedWEBP|SaveAnimatedPNG|MaskPreview|ImageCompare", "image"),
    ("SaveVideo|SaveWEBM|VHS_VideoCombine", "video"),
    ("SaveAudio.*|PreviewAudio", "audio"),
    ("PreviewAny|SaveText|ShowText\\|pysssss|LorchestraApiExport", "text"),
    ("SaveLatent", "latent"),
    ("Save(?:GLB|3D.*|GaussianSplat|PointCloud|SVGNode|LoRA)|.*Save|Preview3D.*", "file"),
)
_SHOWS = re.compile(r"Preview.*|.*Preview|ImageCompare|ShowText\|pysssss|LossGraphNode|SAM3_TrackPreview")
"""Classes that show and do not save."""
_TITLE = re.compile(r"#([A-Za-z][\w-]{0,63})")
"""Example: `#portrait`."""
_PLAIN_TITLE = re.compile(r"(?:save|preview|show|output|image|video|audio|text)\b", re.IGNORECASE)
"""Titles that say nothing of what is saved. Example: `Save Image`."""


def find_outputs(form: ApiForm, classes: NodeClasses) -> tuple[Output, ...]:
    """The outputs, those that App mode shows first; what only shows something counts where nothing is saved."""
    graph = form.graph
    ends = [node for node in sorted(graph, key=in_order) if _is_end(graph, node, classes)]
    shown = _declared(form, ends)
    saving = [node for node in ends if not _SHOWS.fullmatch(class_of(graph, node))]
    rest = saving or ([] if shown else ends)
    chosen: dict[str, None] = dict.fromkeys([*shown, *rest])
    names = Names()
    titles = {place.targets[0][0]: place.title for place in form.places.values()}
    found: list[Output] = []
    for node in chosen:
        kind = _kind(graph, node, find_kind(classes, graph, node))
        title = mapping(mapping(graph[node]).get("_meta")).get("title")
        match = _TITLE.search(title) if isinstance(title, str) else None
        own = match[1] if match is not None else _own_title(titles.get(node, ""))
        found.append(Output(names.take(slug(own) or kind), kind, node, shortened(own)))
    return tuple(found)


def _own_title(title: str) -> str:
    """What a person calls it; empty for a title that says no more than its class."""
    return "" if _PLAIN_TITLE.match(title) or title.startswith("$") else title


def _is_end(graph: Mapping[str, Json], node: str, classes: NodeClasses) -> bool:
    kind = find_kind(classes, graph, node)
    if kind is not None:
        return kind.is_output
    name = class_of(graph, node)
    return not classes.is_known and any(re.fullmatch(pattern, name) for pattern, _ in _BY_CLASS)


def _declared(form: ApiForm, ends: Sequence[str]) -> list[str]:
    """The ends that App mode shows; of a subgraph's own node, those inside it."""
    data = mapping(form.extra.get("linearData"))
    found: list[str] = []
    for item in sequence(data.get("outputs"))[:1000]:
        where = str(item)
        found += [node for node in ends if node == where or node.startswith(f"{where}:")]
    return found


def _kind(graph: Mapping[str, Json], node: str, kind: NodeClass | None) -> str:
    name = class_of(graph, node)
    known = next((word for pattern, word in _BY_CLASS if re.fullmatch(pattern, name)), None)
    if known is not None:
        return known
    if kind is not None and kind.is_partner:  # it saves what it gives, and takes something else
        return "file"
    linked = {key for key, _ in links_of(graph, node)}
    types = [spec.type for spec in kind.specs if spec.name in linked] if kind is not None else []
    return next((word for type_, word in _KINDS if any(type_ in given.split(",") for given in types)), "file")
