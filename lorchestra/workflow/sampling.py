"""The one run that a prompt in API format describes: sampler, texts, size, model; pure.

For what people read beside a picture. Only what stands in the prompt itself is told; where it describes several runs,
or a value comes from a node that computes it, a sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import StackError
from .graph import Accepts, Kind, Prompt, class_of, inputs_of, link_in
from .upstream import find_base_path

_SEEDS = ("seed", "noise_seed")


@dataclass(frozen=True, slots=True)
class Sampling:
    """One run, in ComfyUI's words."""

    positive: str
    negative: str
    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float | None
    width: int
    height: int
    model: str | None
    """The name of the model's file as the loader has it; None if that is not certain."""


def find_sampling(prompt: Prompt, kind: Kind, accepts: Accepts) -> Sampling:
    """The run; raises `StackError`, which says what is not known, where there is none or more than one."""
    nodes = [node for node in prompt if {"sampler_name", "positive", "negative"} <= set(inputs_of(prompt, node))]
    if len(nodes) != 1:
        raise StackError(f"the prompt has {len(nodes)} samplers with a positive and a negative prompt; a run has one")
    (node,) = nodes
    inputs = inputs_of(prompt, node)
    seed = next((name for name in _SEEDS if name in inputs), _SEEDS[0])
    latent = link_in(inputs.get("latent_image"))
    size: Mapping[str, Any] = inputs_of(prompt, latent[0]) if latent else {}
    denoise = inputs.get("denoise")
    return Sampling(
        _text(prompt, node, "positive"),
        _text(prompt, node, "negative"),
        _whole(inputs.get(seed), "the seed"),
        _whole(inputs.get("steps"), "the number of steps"),
        _number(inputs.get("cfg"), "the CFG"),
        _word(inputs.get("sampler_name"), "the sampler"),
        _word(inputs.get("scheduler"), "the scheduler"),
        float(denoise) if isinstance(denoise, int | float) and denoise != 1 else None,
        _whole(size.get("width"), "the width"),
        _whole(size.get("height"), "the height"),
        find_base_path(prompt, node, kind=kind, find=lambda _, name: name, accepts=accepts),
    )


def _text(prompt: Prompt, node: str, name: str) -> str:
    """The text of the encoder that is linked straight to the sampler."""
    link = link_in(inputs_of(prompt, node).get(name))
    text = inputs_of(prompt, link[0]).get("text") if link and "TextEncode" in class_of(prompt, link[0]) else None
    if not isinstance(text, str):
        raise StackError(f"the {name} prompt does not stand in one text encoder that is linked to the sampler")
    return text


def _whole(value: object, what: str) -> int:
    if type(value) is not int:
        raise StackError(f"{what} does not stand in the prompt as a number")
    return value


def _number(value: object, what: str) -> float:
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise StackError(f"{what} does not stand in the prompt as a number")
    return float(value)


def _word(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise StackError(f"{what} does not stand in the prompt as a word")
    return value
