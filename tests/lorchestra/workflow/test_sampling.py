"""The run that a prompt describes, or a sentence on what is not known."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lorchestra.errors import StackError
from lorchestra.workflow.sampling import Sampling
from lorchestra.workflow.sampling import find_sampling as find

PROMPT: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/base.safetensors"}},
    "2": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["1", 0], "clip": ["1", 1], "loras": ""}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1], "text": "a cat"}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1], "text": "blurry"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0], "seed": 7,
            "steps": 20, "cfg": 6.5, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0,
        },
    },
}  # fmt: skip


def find_sampling(prompt: dict[str, Any]) -> Sampling:
    """Where nothing is known of any node's types."""
    return find(prompt, lambda _class, _output: None, lambda _class, _name: None)


def test_the_run() -> None:
    assert find_sampling(PROMPT) == Sampling(
        "a cat", "blurry", 7, 20, 6.5, "euler", "karras", None, 512, 768, "sd/base.safetensors"
    )


@pytest.mark.parametrize(
    ("node", "name", "value", "sentence"),
    [
        ("6", "seed", ["9", 0], "the seed does not stand in the prompt as a number"),
        ("6", "steps", True, "the number of steps does not stand in the prompt as a number"),
        ("6", "cfg", "7", "the CFG does not"),
        ("6", "positive", ["5", 0], "the positive prompt does not stand in one text encoder"),
        ("4", "text", ["9", 0], "the negative prompt does not stand in one text encoder"),
        ("5", "width", ["9", 0], "the width does not"),
        ("6", "scheduler", None, "the scheduler does not"),
        ("6", "latent_image", "x", "the width does not"),
    ],
)
def test_what_is_not_known_is_said(node: str, name: str, value: Any, sentence: str) -> None:
    prompt = copy.deepcopy(PROMPT)
    prompt[node]["inputs"][name] = value
    with pytest.raises(StackError, match=sentence):
        find_sampling(prompt)


def test_one_run_and_no_other() -> None:
    with pytest.raises(StackError, match="the prompt has 2 samplers"):
        find_sampling({**PROMPT, "7": PROMPT["6"]})
    for odd in ({}, {"1": None}, {"1": {"inputs": []}}):
        with pytest.raises(StackError, match="the prompt has 0 samplers"):
            find_sampling(odd)


def test_a_model_in_a_circle_has_no_file() -> None:
    prompt = copy.deepcopy(PROMPT)
    prompt["2"]["inputs"]["model"] = ["2", 0]
    assert find_sampling(prompt).model is None
