"""A prompt in API format as a graph: its links, and the types of what comes through them; pure, never raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

Prompt = Mapping[str, Any]
"""Node id → `{"class_type": …, "inputs": {name: value or [node id, output]}}`, as a client sends it: not trusted."""

Kind = Callable[[str, int], "str | None"]
"""The type of a node class's output by its number, e.g. `MODEL`; None if it is not known."""

Accepts = Callable[[str, str], "str | None"]
"""The type of a node class's input by its name, e.g. `MODEL`; None if it is not known."""

Output = tuple[str, int]
"""(node id, number of its output)"""

MODEL = "MODEL"

OTHERS = frozenset(
    {
        "CLIP", "CLIP_VISION", "CLIP_VISION_OUTPUT", "VAE", "CONDITIONING", "CONTROL_NET", "STYLE_MODEL", "GLIGEN",
        "UPSCALE_MODEL", "LATENT", "IMAGE", "MASK", "AUDIO", "VIDEO", "SAMPLER", "SIGMAS", "NOISE", "GUIDER", "HOOKS",
        "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "LORA_STACK",
    }
)  # fmt: skip
"""Types that hold no diffusion model. Any other type may: a pipe, a context, the wildcard of a switch."""

_ANY = re.compile(r"\*|any|.*,.*|COMFY_\w+_V3", re.IGNORECASE)
"""Types that stand for others: `*`, `MODEL,CLIP`, ComfyUI's `COMFY_MATCHTYPE_V3`."""


def type_of(prompt: Prompt, name: str, key: str, link: Output, kind: Kind, accepts: Accepts) -> str | None:
    """The type of what comes through a link, by what gives it or else by what takes it; None if it may be any."""
    given = certain(kind(class_of(prompt, link[0]), link[1]))
    return certain(accepts(name, key)) if given is None else given


def certain(type_: str | None) -> str | None:
    """A type that stands for no others; None for one that does."""
    return None if type_ is None or _ANY.fullmatch(type_) else type_


def text_in(value: object) -> str | None:
    """The text that a widget holds, if it holds one."""
    if isinstance(value, dict):  # ComfyUI-Custom-Scripts: {"content": name, "image": …}
        value = cast("dict[str, Any]", value).get("content")
    return value if isinstance(value, str) else None


def links_of(prompt: Prompt, node: str) -> Iterator[tuple[str, Output]]:
    """The linked inputs of a node, by their names."""
    for name, value in inputs_of(prompt, node).items():
        link = link_in(value)
        if link is not None:
            yield name, link


def link_in(value: object) -> Output | None:
    """(node id, output) of a linked input; None for any other value."""
    if not isinstance(value, list):
        return None
    match cast("list[Any]", value):
        case [str() | int() as node, int() as output]:
            return str(node), output
        case _:
            return None


def inputs_of(prompt: Prompt, node: str) -> Mapping[str, Any]:
    """What a node gets, by the inputs' names; empty for a node that is not there."""
    inputs = _node(prompt, node).get("inputs")
    return cast("dict[str, Any]", inputs) if isinstance(inputs, dict) else {}


def class_of(prompt: Prompt, node: str) -> str:
    """The class of a node; empty if it has none."""
    name = _node(prompt, node).get("class_type")
    return name if isinstance(name, str) else ""


def _node(prompt: Prompt, node: str) -> Mapping[str, Any]:
    value = prompt.get(node)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
