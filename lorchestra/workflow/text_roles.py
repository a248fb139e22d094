"""Which texts of a graph are prompts, and which negative ones: by where they lead to. Pure, bounded, never raises.

From each text the walk goes downstream: what enters an input for what is to be avoided is negative; a sampler's, a
guider's or a maker's other inputs make it a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .graph import OTHERS, Prompt, class_of, links_of
from .node_classes import NodeClasses
from .roles import NEGATIVE, PROMPT

_AGAINST = re.compile(r"neg(?:ative)?(?:_.*)?|.*_neg(?:ative)?|uncond.*|.*negative.*|cond2", re.IGNORECASE)
"""Inputs for what is to be avoided. Example: `negative`, `empty_conditioning` is none."""
_FOR = re.compile(r"pos(?:itive)?(?:_.*)?|.*positive.*|prompt\d?|.*_prompt|caption|lyrics", re.IGNORECASE)
"""Inputs for what is to be made."""
_SYSTEM = re.compile(r".*system.*|.*instruction.*|.*template.*", re.IGNORECASE)
"""Inputs with what a model is told to be, which nobody changes from run to run."""
_NOTHING = frozenset({"ConditioningZeroOut"})
"""Nodes behind which nothing of the text is left."""
_TEXTS = frozenset({"STRING", "CONDITIONING", "COMBO", "GUIDER"})
_HOLDING_NONE = OTHERS | {"MODEL"}
_NO_TEXT = frozenset(
    {
        "model", "clip", "vae", "control_net", "image", "images", "pixels", "mask", "samples", "latent_image", "latent",
        "schedule", "lora_stack", "sampler", "sigmas", "noise", "audio", "video",
    }
)  # fmt: skip
"""Inputs that take no text, where the types are not known."""
_MOST_STEPS = 200_000
"""Of all walks in one graph."""

Output = tuple[str, int]


class TextRoles:
    """The walks of one graph."""

    def __init__(self, graph: Prompt, classes: NodeClasses) -> None:
        self._graph = graph
        self._steps = 0
        self._takers: dict[str, list[tuple[str, str]]] = {}
        self._readers: dict[str, list[tuple[str, str]]] = {}
        """The takers of what may hold a text, or a conditioning that is made of one."""
        for node in graph:
            for name, link in links_of(graph, node):
                self._takers.setdefault(link[0], []).append((node, name))
                kind = classes.kind(class_of(graph, link[0]), link[1])
                if name not in _NO_TEXT if kind is None else kind in _TEXTS or kind not in _HOLDING_NONE:
                    self._readers.setdefault(link[0], []).append((node, name))

    def takers(self, node: str) -> list[tuple[str, str]]:
        """(node, input) of all that a node's outputs go to."""
        return self._takers.get(node, [])

    def find(self, node: str, widget: str, makes: Mapping[str, bool]) -> str:
        """`prompt`, `negative_prompt`, or empty for a text that is neither, or of which it is not known.

        `makes` says of a class whether it makes something of a text itself, and hands on no conditioning.
        """
        name = widget.rpartition(".")[2]
        if _SYSTEM.fullmatch(name):
            return ""
        if _AGAINST.fullmatch(name):
            return NEGATIVE
        found: set[str] = set()
        if makes.get(class_of(self._graph, node), False) or not self._takers.get(node):
            return PROMPT if _FOR.fullmatch(name) or name == "text" else ""
        waiting, seen = [node], {node}
        while waiting and self._steps < _MOST_STEPS:
            for taker, key in self._readers.get(waiting.pop(), ()):
                self._steps += 1
                kind = class_of(self._graph, taker)
                key = key.rpartition(".")[2]
                if _AGAINST.fullmatch(key):
                    found.add(NEGATIVE)
                elif kind in _NOTHING or _SYSTEM.fullmatch(key):
                    continue
                elif self._is_for(key, kind, makes):
                    found.add(PROMPT)
                elif taker not in seen:
                    seen.add(taker)
                    waiting.append(taker)
        if not found and name == "prompt":
            return PROMPT
        return PROMPT if PROMPT in found else NEGATIVE if NEGATIVE in found else ""

    @staticmethod
    def _is_for(key: str, kind: str, makes: Mapping[str, bool]) -> bool:
        is_end = key.lower() in _ENDS or (key == "conditioning" and "Guider" in kind)
        return is_end or (makes.get(kind, False) and _FOR.fullmatch(key) is not None)


_ENDS = frozenset({"positive", "cond1", "positive_1", "positive_pos", "positive_conditioning", "text_embeds"})
"""Inputs of samplers and guiders that take what is to be made; also those of nodes on the way there."""
