"""Which file a node's model was loaded from, found by walking a prompt in API format upstream; pure, never raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .graph import (
    MODEL,
    OTHERS,
    Accepts,
    Kind,
    Output,
    Prompt,
    class_of,
    inputs_of,
    link_in,
    links_of,
    text_in,
    type_of,
)
from .switches import find_chosen

Find = Callable[[str, str], "str | None"]
"""The full path of a base model's file by the input's name and value; None if there is none or more than one."""

NAME_INPUTS = ("ckpt_name", "unet_name", "gguf_name", "model_name")
"""Inputs by which loaders take the name of a base model: CheckpointLoaderSimple and its like, UNETLoader and
ComfyUI-GGUF's loaders, the loader of the gguf pack, others."""

_SECOND_NAME = re.compile(r"ckpt|checkpoint|unet|gguf|diffusion_model|refiner", re.IGNORECASE)
"""Loaders of two models have one more, e.g. `refiner_ckpt_name`, which an output of theirs may come from."""

_MODEL_INPUTS = ("model", "unet")
"""What nodes that change a model call it; of these the first that is connected is followed."""

_MODEL_FILES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
_MAX_STEPS = 10_000


def find_base_path(
    prompt: Prompt,
    node_id: str,
    *,
    kind: Kind,
    find: Find,
    accepts: Accepts = lambda _class, _name: None,
    input_name: str = "model",
) -> str | None:
    """The file from which the model at an input was loaded; None if that is not certain.

    A node whose `ckpt_name`, `unet_name` … names a file is a loader. Of any other node the model may come from its
    `model` (or `unet`), from all else that carries a model and from all that can carry anything; without any of these
    from its pipe or context. A switch hands on what its widget chooses (`switches.py`), or else any of its inputs. It
    is certain where all of this ends in one file, and nothing on the way is unknown. A prompt may have loops, links
    into nowhere and values of any kind.
    """
    start = link_in(inputs_of(prompt, node_id).get(input_name))
    if start is None:
        return None
    found: set[str] = set()
    has_model: dict[Output, bool] = {}
    waiting: dict[Output, _Step] = {}
    path = [start]
    while path:
        here = path[-1]
        if here not in waiting:
            sources = _sources(prompt, here, kind, accepts, find)
            if sources is None or len(has_model) + len(waiting) > _MAX_STEPS:
                return None
            if sources.file is not None:
                found.add(sources.file)
            if len(found) > 1:
                return None
            waiting[here] = _Step(sources)
        step = waiting[here]
        if step.left:
            source = step.left[-1]
            if source in waiting:
                return None  # a loop
            if source not in has_model:
                path.append(source)
                continue
            step.left.pop()
            if not has_model[source] and source in step.sources.surely:
                return None
            step.has_model |= has_model[source]
        else:
            has_model[here] = step.has_model
            del waiting[path.pop()]
    return found.pop() if found and has_model[start] else None


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where an output may have its model from."""

    file: str | None = None
    surely: tuple[Output, ...] = ()
    """Each of these gives a model."""
    perhaps: tuple[Output, ...] = ()
    """These give a model or something else."""


class _Step:
    """An output on the way, and the sources of its that were not walked yet."""

    def __init__(self, sources: _Sources) -> None:
        self.sources = sources
        self.left = [*sources.perhaps, *sources.surely]
        self.has_model = sources.file is not None


def _sources(prompt: Prompt, output: Output, kind: Kind, accepts: Accepts, find: Find) -> _Sources | None:
    """Where an output may have its model from; None if that cannot be known."""
    node, slot = output
    name, inputs = class_of(prompt, node), inputs_of(prompt, node)
    own = kind(name, slot)
    if own in OTHERS:
        return _Sources()
    links = dict(links_of(prompt, node))
    chosen = find_chosen(name, inputs)
    if chosen is not None:
        return _Sources(perhaps=(links[chosen],) if chosen in links else ())
    types = {key: type_of(prompt, name, key, link, kind, accepts) for key, link in links.items()}
    main = next((key for key in _MODEL_INPUTS if key in links and types[key] not in OTHERS), None)
    models = [key for key, type_ in types.items() if type_ == MODEL and key not in _MODEL_INPUTS]
    surely = tuple(links[key] for key in ([main] if main else []) + models)
    anything = tuple(links[key] for key, type_ in types.items() if type_ is None and key not in _MODEL_INPUTS)
    holders = tuple(links[key] for key, type_ in types.items() if type_ not in {*OTHERS, MODEL, None})
    if (surely or anything or holders) and "loop" in name.lower():
        return None  # what its end got comes out of its start, too
    file = _loaded(inputs, find)
    if file is not None or surely:
        return _Sources(file, surely, anything)
    if any(map(_is_file_name, inputs.values())):
        return None  # a loader, whatever else is connected to it
    if anything or holders:
        return _Sources(perhaps=anything + holders)
    is_empty = own is not None and len(links) == len(inputs)
    return _Sources() if is_empty else None


def _loaded(inputs: Mapping[str, Any], find: Find) -> str | None:
    """The file that a loader names, where it names one only."""
    names = [name for name in NAME_INPUTS if inputs.get(name)]
    others = [name for name, value in inputs.items() if _SECOND_NAME.search(name) and _is_file_name(value)]
    value = text_in(inputs[names[0]]) if len({*names, *others}) == 1 and names else None
    return None if value is None else find(names[0], value)


def _is_file_name(value: object) -> bool:
    text = text_in(value)
    return text is not None and text.lower().endswith(_MODEL_FILES)
