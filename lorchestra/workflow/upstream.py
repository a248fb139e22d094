"""Which file a node's model was loaded from, found by walking a prompt in API format upstream; pure, never raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

Prompt = Mapping[str, Any]
"""Node id → `{"class_type": …, "inputs": {name: value or [node id, output]}}`, as a client sends it: not trusted."""

Kind = Callable[[str, int], "str | None"]
"""The type of a node class's output by its number, e.g. `MODEL`; None if it is not known."""

Find = Callable[[str, str], "str | None"]
"""The full path of a base model's file by the input's name and value; None if there is none or more than one."""

NAME_INPUTS = ("ckpt_name", "unet_name", "gguf_name", "model_name")
"""Inputs by which loaders take the name of a base model: CheckpointLoaderSimple and its like, UNETLoader and
ComfyUI-GGUF's loaders, the loader of the gguf pack, others."""

_MODEL = "MODEL"
_MODEL_INPUTS = ("model", "unet")
"""What nodes that change a model call it; the first that is connected is followed, whatever else is."""

_OTHERS = frozenset(
    {
        "CLIP", "CLIP_VISION", "CLIP_VISION_OUTPUT", "VAE", "CONDITIONING", "CONTROL_NET", "STYLE_MODEL", "GLIGEN",
        "UPSCALE_MODEL", "LATENT", "IMAGE", "MASK", "AUDIO", "VIDEO", "SAMPLER", "SIGMAS", "NOISE", "GUIDER", "HOOKS",
        "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "LORA_STACK",
    }
)  # fmt: skip
"""Types that hold no diffusion model. Any other type may: a pipe, a context, the wildcard of a switch."""

_MODEL_FILES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
_MAX_STEPS = 10_000


def find_base_path(prompt: Prompt, node_id: str, *, kind: Kind, find: Find, input_name: str = "model") -> str | None:
    """The file from which the model at an input was loaded; None if that is not certain.

    Follows `model` (or `unet`) of whatever node there is, else all links that carry models, else all that may: a pipe,
    a context, a switch. A node whose `ckpt_name`, `unet_name` … names a file is a loader. It is certain where all of
    this ends in one file. A prompt may have loops, links into nowhere and values of any kind.
    """
    start = _link(_inputs(prompt, node_id).get(input_name))
    waiting = [(start[0], "")] if start else []
    """(node, whose): a model must come from the node, or from one of those that stand in for the node `whose`."""
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    settled = {""}
    while waiting and len(seen) < _MAX_STEPS:
        step = waiting.pop()
        if step in seen:
            continue
        seen.add(step)
        node, whose = step
        sources, is_model = _sources(prompt, node, kind)
        path = _loaded(_inputs(prompt, node), find)
        if path is not None:
            found.add(path)
            settled.add(whose)
        if is_model or (path is None and len(sources) == 1 and not whose):
            waiting += [(source, "") for source in sources]
            settled.add(whose)  # each of these must lead to a file
        elif path is None and sources:
            waiting += [(source, whose or node) for source in sources]
        elif path is None and not whose:
            return None
        if len(found) > 1:
            return None
    if waiting or any(whose not in settled for _, whose in seen):
        return None
    return found.pop() if found else None


def _sources(prompt: Prompt, node: str, kind: Kind) -> tuple[list[str], bool]:
    """The nodes that a node may have its model from, and whether what comes from them surely is a model."""
    links = dict(_links(prompt, node))
    kinds = {name: kind(_class(prompt, source), output) for name, (source, output) in links.items()}
    for name in _MODEL_INPUTS:
        if name in links and kinds[name] not in _OTHERS:
            return [links[name][0]], True
    models = [source for name, (source, _) in links.items() if kinds[name] == _MODEL]
    if models:
        return models, True
    if any(map(_is_file_name, _inputs(prompt, node).values())):
        return [], False  # a loader, whatever else is connected to it
    return [source for name, (source, _) in links.items() if kinds[name] not in _OTHERS], False


def _loaded(inputs: Mapping[str, Any], find: Find) -> str | None:
    """The file that a loader names, where it names one only."""
    names = [(name, inputs[name]) for name in NAME_INPUTS if inputs.get(name)]
    if len(names) != 1:
        return None
    name, value = names[0]
    if isinstance(value, dict):  # ComfyUI-Custom-Scripts: {"content": name, "image": …}
        value = cast("dict[str, Any]", value).get("content")
    return find(name, value) if isinstance(value, str) else None


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and value.lower().endswith(_MODEL_FILES)


def _links(prompt: Prompt, node: str) -> Iterator[tuple[str, tuple[str, int]]]:
    for name, value in _inputs(prompt, node).items():
        link = _link(value)
        if link is not None:
            yield name, link


def _link(value: object) -> tuple[str, int] | None:
    """(node id, output) of a linked input; None for any other value."""
    if not isinstance(value, list):
        return None
    match cast("list[Any]", value):
        case [str() | int() as node, int() as output]:
            return str(node), output
        case _:
            return None


def _inputs(prompt: Prompt, node: str) -> Mapping[str, Any]:
    inputs = _node(prompt, node).get("inputs")
    return cast("dict[str, Any]", inputs) if isinstance(inputs, dict) else {}


def _class(prompt: Prompt, node: str) -> str:
    name = _node(prompt, node).get("class_type")
    return name if isinstance(name, str) else ""


def _node(prompt: Prompt, node: str) -> Mapping[str, Any]:
    value = prompt.get(node)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
