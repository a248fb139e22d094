"""What metadata claims, and that no metadata costs much."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.lora.metadata import Training, claims, shorten, trained_on, training, trigger_words, unread


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "  pixel  art "}, ("pixel art",)),
        ({"modelspec.trigger_phrase": " ", "ss_tag_frequency": '{"10_a": {"cat": 2}}'}, ("cat",)),
        ({"ss_tag_frequency": '{"1_ohwx": {"ohwx": 1}}'}, ("ohwx",)),  # ai-toolkit
        ({"ss_tag_frequency": '{"a": {"cat": 2, "dog ": 5, "": 9}, "b": {"cat": 4, "x": ""}}'}, ("cat", "dog", "x")),
        ({"ss_tag_frequency": json.dumps({"a": {f"{n}": n for n in range(30)}})}, tuple(map(str, range(29, 17, -1)))),
        ({"ss_tag_frequency": "oops"}, ()),
        ({"ss_tag_frequency": "[1]"}, ()),
        ({"ss_tag_frequency": '{"a": [1]}'}, ()),
        ({"ss_tag_frequency": "[" * 100_000}, ()),
        ({"ss_tag_frequency": '{"a": {"b": ' + "9" * 5000 + "}}"}, ()),
    ],
)  # fmt: skip
def test_trigger_words(metadata: Mapping[str, str], words: tuple[str, ...]) -> None:
    assert trigger_words(metadata) == words


def found(metadata: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    return [(claim.key, claim.architectures) for claim in claims(metadata)]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, [("ss_base_model_version", ("sdxl",))]),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, [("modelspec.architecture", ("sdxl",))]),
        ({"ss_base_model_version": "sd_1.5"}, []),  # ai-toolkit's word for not knowing
        ({"ss_base_model_version": "unknown", "ss_v2": "True"}, [("ss_v2", ("sd21",))]),
        ({"ss_v2": "False"}, []),
        ({"ss_base_model_version": "sd_v2", "ss_v2": "True"}, [("ss_base_model_version", ("sd21",))]),
        ({"ss_network_module": "networks.lora"}, []),
        ({"ss_network_module": "lycoris.kohya"}, []),
        ({"ss_network_module": "networks.lora_qwen_image"}, [("ss_network_module", ("qwen_image",))]),
        ({"ss_base_model_version": "a model of tomorrow"}, [("ss_base_model_version", ())]),
        ({"ss_base_model_version": " - "}, []),
        (
            {"modelspec.architecture": "flux-1-dev/lora", "ss_base_model_version": "flux1"},
            [
                ("ss_base_model_version", ("flux1_dev", "flux1_schnell", "flux1_fill")),
                ("modelspec.architecture", ("flux1_dev", "flux1_schnell", "flux1_fill")),
            ],
        ),
    ],
)
def test_claims(metadata: Mapping[str, str], expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert found(metadata) == expected


@pytest.mark.parametrize(
    ("metadata", "label"),
    [
        ({}, None),
        ({"ss_sd_model_name": "ponyDiffusionV6XL_v6StartWithThisOne.safetensors"}, "Pony"),
        ({"ss_sd_model_name": "/models/pony/sd_xl_base_1.0.safetensors"}, None),
        ({"ss_sd_model_name": "D:\\models\\Illustrious-XL-v0.1.safetensors"}, "Illustrious"),
        ({"ss_sd_model_name": "noobaiXLNAIXL_vPred10Version.safetensors"}, "NoobAI"),
        ({"ss_sd_model_name": "animagine-xl-3.1.safetensors"}, "Animagine"),
        ({"ss_sd_model_name": "ponytail_mix.safetensors"}, None),
        ({"ss_sd_model_name": "krea2_raw.safetensors"}, None),
        ({"ss_base_model_version": "flux_kontext"}, "FLUX.1 Kontext"),
    ],
)
def test_trained_on(metadata: Mapping[str, str], label: str | None) -> None:
    assert trained_on(metadata) == label


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, Training(None, None, None, None, None)),
        (
            {"ss_network_dim": "16", "ss_network_alpha": "8.0", "ss_network_module": "networks.lora_flux",
             "modelspec.implementation": "https://github.com/kohya-ss/sd-scripts"},
            Training(16, 8.0, "networks.lora_flux", None, "sd-scripts"),
        ),
        (
            {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "lokr", "factor": "8"}'},
            Training(None, None, "lycoris.kohya", "lokr", None),
        ),
        ({"software": '{"name": "ai-toolkit", "version": "0.1.0"}'}, Training(None, None, None, None, "ai-toolkit")),
        ({"ot_branch": "master"}, Training(None, None, None, None, "OneTrainer")),
        ({"ss_network_dim": "Dynamic", "ss_network_alpha": "nan"}, Training(None, None, None, None, None)),
        ({"ss_network_dim": "inf", "ss_network_alpha": "None"}, Training(None, None, None, None, None)),
        ({"ss_network_dim": "4.5", "ss_network_args": '{"algo": 1}'}, Training(None, None, None, None, None)),
        ({"software": "[1]", "ss_network_args": "[" * 50_000}, Training(None, None, None, None, None)),
    ],
)  # fmt: skip
def test_training(metadata: Mapping[str, str], expected: Training) -> None:
    assert training(metadata) == expected


def test_shorten() -> None:
    assert shorten(" a\n b\t") == "a b"
    assert shorten("x" * 400) == "x" * 299 + "…"
    assert shorten("a " * 10_000_000).endswith("…")


BOMBS: dict[str, Callable[[], str]] = {
    "fifty megabytes of tags": lambda: json.dumps({"a": {f"tag {number}": number for number in range(2_500_000)}}),
    "tags just below the limit": lambda: json.dumps({"a": {f"{number}": number for number in range(110_000)}}),
    "lists": lambda: "[" + "[]," * 660_000 + "[]]",
    "objects": lambda: "[" + "{}," * 660_000 + "{}]",
    "depth": lambda: "[" * 1_900_000,
    "depth of objects": lambda: '{"a":' * 380_000,
    "one number": lambda: "1" * 1_900_000,
    "one text": lambda: '"' + "\\u0041" * 330_000 + '"',
    "spaces": lambda: " " * 50_000_000,
    "words": lambda: "a " * 25_000_000,
}
"""Made when they are needed: large ones take long."""


TOO_LONG = {"fifty megabytes of tags", "spaces", "words"}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_metadata_costs_much(bomb: str) -> None:
    """Less than 100 MB and about a second; tracing memory slows Python down, so time is taken without it."""
    text = BOMBS[bomb]()
    assert (len(text) < 2_000_000) is (bomb not in TOO_LONG)
    keys = ("modelspec.trigger_phrase", "ss_tag_frequency", "ss_network_args", "software", "ss_sd_model_name",
            "ss_base_model_version", "modelspec.architecture", "ss_network_module", "ss_network_dim", "ss_v2",
            "ss_network_alpha", "modelspec.implementation")  # fmt: skip
    for metadata in ({**dict.fromkeys(keys, text), "modelspec.trigger_phrase": ""}, dict.fromkeys(keys, text)):
        started = time.process_time()
        everything(metadata)
        assert time.process_time() - started < 5  # a second on a quiet machine; a hang is far beyond
        tracemalloc.start()
        everything(metadata)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000_000


def everything(metadata: Mapping[str, str]) -> None:
    trigger_words(metadata)
    claims(metadata)
    trained_on(metadata)
    training(metadata)
    unread(metadata)


def test_entries_that_are_too_long_are_named() -> None:
    assert unread({"ss_tag_frequency": "x" * 2_000_001, "software": "x"}) == ("ss_tag_frequency",)


JSON = st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner)
                    | st.dictionaries(st.text() | st.sampled_from(["algo", "name"]), inner))  # fmt: skip


@given(st.dictionaries(
    st.sampled_from(["ss_tag_frequency", "ss_network_args", "software", "ss_sd_model_name", "ss_base_model_version",
                     "ss_network_dim", "ss_network_alpha", "modelspec.architecture", "ss_v2"]),
    st.text() | JSON.map(json.dumps)))  # fmt: skip
def test_any_metadata_is_read(metadata: dict[str, str]) -> None:
    everything(metadata)
