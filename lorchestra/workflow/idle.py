"""Usual suspects that change nothing where they are, so nobody is asked for them. Pure, bounded, never raises."""

from __future__ import annotations

from collections.abc import Mapping

from ..limits import Json
from .graph import Prompt, class_of, inputs_of, link_in, links_of
from .node_classes import NodeClasses
from .roles import BATCH_SIZE, DENOISE, NEGATIVE
from .text_roles import TextRoles

_MOST_STEPS = 20_000
_FRAMES = ("length", "num_frames", "frames_number")
"""Inputs of nodes that make a video, or its sound."""
_LATENTS = ("latent_image", "latent")
_PICTURES = frozenset({"IMAGE", "LATENT", "VIDEO", "MASK"})


class Idle:
    """Looks at one graph."""

    def __init__(self, graph: Prompt, classes: NodeClasses, texts: TextRoles) -> None:
        self._graph = graph
        self._classes = classes
        self._texts = texts

    def is_idle(self, role: str, node: str, widget: str) -> bool:
        """True for a denoise of 1 over nothing, a batch of videos, and a negative prompt that no sampler reads."""
        inputs = inputs_of(self._graph, node)
        if role == DENOISE:
            return inputs.get(widget) == 1 and self._starts_empty(node)
        if role == BATCH_SIZE:
            return inputs.get(widget) == 1 and any(name in inputs for name in _FRAMES)
        return role == NEGATIVE and self._has_no_guidance(node)

    def _starts_empty(self, node: str) -> bool:
        """Whether all that samples with this denoise begins with a latent that no picture is in."""
        samplers = [node, *(taker for taker, _ in self._texts.takers(node))]
        starts = [link for one in samplers for name in _LATENTS if (link := self._link(one, name)) is not None]
        return bool(starts) and all(self._is_empty(start) for start, _ in starts)

    def _link(self, node: str, name: str) -> tuple[str, int] | None:
        return link_in(inputs_of(self._graph, node).get(name))

    def _is_empty(self, node: str) -> bool:
        kind = self._classes.find(class_of(self._graph, node))
        if kind is None or "LATENT" not in kind.outputs or "CONDITIONING" in kind.outputs:
            return False
        kinds = [self._classes.kind(class_of(self._graph, link[0]), link[1]) for _, link in links_of(self._graph, node)]
        return all(one is not None and one not in _PICTURES for one in kinds)

    def _has_no_guidance(self, node: str) -> bool:
        """Whether it leads to samplers and guiders at a CFG of 1 alone, which do not look at it."""
        waiting, seen, scales = [node], {node}, list[object]()
        while waiting:
            for taker, key in self._texts.takers(waiting.pop()):
                inputs = inputs_of(self._graph, taker)
                if key.rpartition(".")[2] == "negative" and "cfg" in inputs:
                    scales.append(inputs["cfg"])
                elif len(seen) > _MOST_STEPS:
                    return False
                elif taker not in seen:
                    seen.add(taker)
                    waiting.append(taker)
        return bool(scales) and all(scale == 1 for scale in scales)


def is_controlnet(class_type: str, inputs: Mapping[str, Json]) -> bool:
    """Whether a node's `strength` is that of a ControlNet."""
    return "control_net" in inputs or "controlnet" in class_type.lower()
