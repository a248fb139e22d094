"""The walk from a stack to the words of its prompt, on graphs as they come and on graphs that cannot be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.graphs import node

from lorchestra.workflow.prompts import Prompts, Texts, find_prompt_texts

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "CheckpointLoaderSimple": ("MODEL", "CLIP", "VAE"),
    "LorchestraLoraStack": ("MODEL", "CLIP", "LORA_STACK", "STRING", "STRING"),
    "LoraLoader": ("MODEL", "CLIP"),
    "CLIPSetLastLayer": ("CLIP",),
    "ModelSamplingFlux": ("MODEL",),
    "CLIPTextEncode": ("CONDITIONING",),
    "CLIPTextEncodeSDXL": ("CONDITIONING",),
    "CLIPTextEncodeFlux": ("CONDITIONING",),
    "CLIPTextEncodeLumina2": ("CONDITIONING",),
    "TextEncodeQwenImageEdit": ("CONDITIONING",),
    "ConditioningCombine": ("CONDITIONING",),
    "ConditioningZeroOut": ("CONDITIONING",),
    "FluxGuidance": ("CONDITIONING",),
    "ControlNetApplyAdvanced": ("CONDITIONING", "CONDITIONING"),
    "LoadConditioning": ("CONDITIONING",),
    "BasicGuider": ("GUIDER",),
    "CFGGuider": ("GUIDER",),
    "PerpNegGuider": ("GUIDER",),
    "SamplerCustomAdvanced": ("LATENT", "LATENT"),
    "KSampler": ("LATENT",),
    "VAEDecode": ("IMAGE",),
    "Efficient Loader": ("MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "CLIP", "DEPENDENCIES"),
    "Reroute": ("*",),
    "Any Switch (rgthree)": ("*",),
    "ComfySwitchNode": ("COMFY_MATCHTYPE_V3",),
    "ToBasicPipe": ("BASIC_PIPE",),
    "FromBasicPipe": ("MODEL", "CLIP", "VAE", "CONDITIONING", "CONDITIONING"),
    "ImpactKSamplerBasicPipe": ("BASIC_PIPE", "LATENT", "VAE"),
    "PrimitiveString": ("STRING",),
    "PrimitiveStringMultiline": ("STRING",),
    "StringConcatenate": ("STRING",),
    "StringReplace": ("STRING",),
    "Text Multiline": ("STRING",),
    "CR Text": ("*", "STRING"),
    "ShowText|pysssss": ("STRING",),
    "TriggerWord Toggle (LoraManager)": ("STRING",),
}
INPUTS: Mapping[str, str] = {
    "model": "MODEL", "clip": "CLIP", "text": "STRING", "text_g": "STRING", "text_l": "STRING", "clip_l": "STRING",
    "t5xxl": "STRING", "prompt": "STRING", "user_prompt": "STRING", "system_prompt": "COMBO",
    "positive": "CONDITIONING", "negative": "CONDITIONING", "conditioning": "CONDITIONING", "string_a": "STRING",
    "value": "*",
}  # fmt: skip


def kind(class_type: str, output: int) -> str | None:
    types = OUTPUTS.get(class_type, ())
    return types[output] if 0 <= output < len(types) else None


def accepts(class_type: str, name: str) -> str | None:
    if class_type == "Efficient Loader":
        return "STRING" if name in ("positive", "negative") else None
    return INPUTS.get(name) if class_type in OUTPUTS else None


def find(graph: Mapping[str, Any], start: str = "9") -> Texts | None:
    return find_prompt_texts(graph, start, kind, accepts)


LOADER = node("CheckpointLoaderSimple", ckpt_name="a.safetensors")
STACK = node("LorchestraLoraStack", model=["1", 0], clip=["1", 1], loras="{}")
BASE = {"1": LOADER, "9": STACK}


def encoder(text: object, clip: object = None, name: str = "CLIPTextEncode") -> dict[str, Any]:
    return node(name, clip=clip or ["9", 1], text=text)


def sampler(positive: list[Any], negative: list[Any], model: object = None) -> dict[str, Any]:
    return node(
        "KSampler", model=model or ["9", 0], positive=positive, negative=negative, seed=1, latent_image=["8", 0]
    )


USUAL = {**BASE, "2": encoder("Pixel Art, a cat"), "3": encoder("blurry"), "4": sampler(["2", 0], ["3", 0])}


def with_text(value: object, **more: Any) -> dict[str, Any]:
    return {**USUAL, "2": encoder(value), **more}


WHOLE: tuple[tuple[str, dict[str, Any], str, tuple[str, str] | None], ...] = (
    ("the usual one", USUAL, "pixel art, a cat", ("2", "text")),
    ("an empty text", with_text(""), "", ("2", "text")),
    ("in a subgraph", {
        **BASE, "7:2": encoder("cat"), "7:3": encoder("blurry"), "7:4": sampler(["7:2", 0], ["7:3", 0]),
    }, "cat", ("7:2", "text")),
    ("without a sampler", {
        **BASE, "2": encoder("cat"), "3": node("SaveConditioning", conditioning=["2", 0]),
    }, "cat", ("2", "text")),
    ("without a CLIP", {
        "1": LOADER, "9": node("LorchestraLoraStack", model=["1", 0]), "2": encoder("cat", ["1", 1]),
        "3": encoder("blurry", ["1", 1]), "4": sampler(["2", 0], ["3", 0]),
    }, "cat", ("2", "text")),
    ("a stack in front of others", {
        **BASE, "5": node("LoraLoader", model=["9", 0], clip=["9", 1], lora_name="x"),
        "6": node("ModelSamplingFlux", model=["5", 0]), "7": node("CLIPSetLastLayer", clip=["5", 1]),
        "2": encoder("cat", ["7", 0]), "3": encoder("blurry", ["7", 0]), "4": sampler(["2", 0], ["3", 0], ["6", 0]),
    }, "cat", ("2", "text")),
    ("two samplers", {**USUAL, "5": encoder("a dog"), "6": sampler(["5", 0], ["3", 0])},
     "pixel art, a cat\0a dog", None),
    ("two samplers of one prompt", {**USUAL, "6": sampler(["2", 0], ["3", 0])}, "pixel art, a cat", ("2", "text")),
    ("a guider", {
        **BASE, "2": encoder("cat"), "3": node("FluxGuidance", conditioning=["2", 0], guidance=3.5),
        "4": node("BasicGuider", model=["9", 0], conditioning=["3", 0]),
        "5": node("SamplerCustomAdvanced", guider=["4", 0]),
    }, "cat", ("2", "text")),
    ("perpendicular negative", {
        **USUAL, "5": encoder("nothing"),
        "4": node("PerpNegGuider", model=["9", 0], positive=["2", 0], negative=["3", 0], empty_conditioning=["5", 0]),
    }, "pixel art, a cat", ("2", "text")),
    ("SDXL", {**USUAL, "2": node("CLIPTextEncodeSDXL", clip=["9", 1], width=1, text_g="cat", text_l="dog")},
     "cat\0dog", None),
    ("FLUX.1", {**USUAL, "2": node("CLIPTextEncodeFlux", clip=["9", 1], clip_l="cat", t5xxl="dog", guidance=1)},
     "cat\0dog", None),
    ("a system prompt to choose", {
        **USUAL, "2": node("CLIPTextEncodeLumina2", clip=["9", 1], system_prompt="superior", user_prompt="cat"),
    }, "cat", ("2", "user_prompt")),
    ("an image model's encoder", {
        **USUAL, "2": node("TextEncodeQwenImageEdit", clip=["9", 1], prompt="cat", image=["8", 0]),
    }, "cat", ("2", "prompt")),
    ("two encoders combined", {
        **USUAL, "5": encoder("dog"),
        "6": node("ConditioningCombine", conditioning_1=["2", 0], conditioning_2=["5", 0]),
        "4": sampler(["6", 0], ["3", 0]),
    }, "pixel art, a cat\0dog", None),
    ("a ControlNet's two", {
        **USUAL, "5": node("ControlNetApplyAdvanced", positive=["2", 0], negative=["3", 0], strength=1),
        "4": sampler(["5", 0], ["5", 1]),
    }, "pixel art, a cat", ("2", "text")),
    ("zeroed", {
        **USUAL, "5": node("ConditioningZeroOut", conditioning=["2", 0]), "4": sampler(["5", 0], ["3", 0]),
    }, "", None),
    ("reroutes", {
        **USUAL, "5": node("Reroute", value=["9", 0]), "6": node("Reroute", value=["2", 0]),
        "7": node("Reroute", value=["9", 1]), "2": encoder("cat", ["7", 0]),
        "4": sampler(["6", 0], ["3", 0], ["5", 0]),
    }, "cat", ("2", "text")),
    ("a pipe", {
        **USUAL, "5": node("ToBasicPipe", model=["9", 0], clip=["9", 1], positive=["2", 0], negative=["3", 0]),
        "6": node("FromBasicPipe", basic_pipe=["5", 0]), "4": sampler(["6", 3], ["6", 4], ["6", 0]),
    }, "pixel art, a cat", ("2", "text")),
    ("a sampler that takes a pipe", {
        **USUAL, "5": node("ToBasicPipe", model=["9", 0], clip=["9", 1], positive=["2", 0], negative=["3", 0]),
        "4": node("ImpactKSamplerBasicPipe", basic_pipe=["5", 0]),
    }, "pixel art, a cat", ("2", "text")),
    ("a loader with its own prompts", {
        "1": LOADER, "5": node("Efficient Loader", ckpt_name="a", positive="cat", negative="blurry"),
        "9": node("LorchestraLoraStack", model=["5", 0], clip=["5", 5]), "4": sampler(["5", 1], ["5", 2]),
    }, "cat", ("5", "positive")),
    ("a text node", with_text(["5", 0], **{"5": node("PrimitiveStringMultiline", value="cat")}), "cat", ("5", "value")),
    ("a concatenation", with_text(["5", 0], **{
        "5": node("StringConcatenate", string_a="pixel", string_b=["6", 0], delimiter=" "),
        "6": node("PrimitiveString", value="art"),
    }), "pixel art", None),
    ("a shown text", with_text(["5", 0], **{
        "5": node("ShowText|pysssss", text=["6", 0]), "6": node("CR Text", text="x"),
    }), "x", ("6", "text")),
    ("comments", with_text(["5", 0], **{
        "5": node("Text Multiline", text="cat\n# dog\nsun"),
    }), "cat sun", ("5", "text")),
    ("a switch of texts", with_text(["5", 0], **{
        "5": node("ComfySwitchNode", switch=True, on_true="cat", on_false="dog"),
    }), "cat", ("5", "on_true")),
    ("a switch of prompts", {
        **USUAL, "5": node("ComfySwitchNode", switch=False, on_true=["3", 0], on_false=["2", 0]),
        "4": sampler(["5", 0], ["3", 0]),
    }, "pixel art, a cat", ("2", "text")),
)  # fmt: skip


@pytest.mark.parametrize(("graph", "said", "field"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_what_is_said(graph: dict[str, Any], said: str, field: tuple[str, str] | None) -> None:
    assert find(graph) == Texts(said, True, field)


PARTS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a text of a node that is not known", with_text(["5", 0], **{"5": node("Mine")}), ""),
    ("text that is changed", with_text(["5", 0], **{"5": node("StringReplace", string="cat")}), ""),
    ("a part", with_text(["5", 0], **{
        "5": node("StringConcatenate", string_a="cat", string_b=["6", 0], delimiter=", "), "6": node("Mine"),
    }), "cat"),
    ("a delimiter", with_text(["5", 0], **{
        "5": node("StringConcatenate", string_a="cat", string_b="dog", delimiter=["6", 0]), "6": node("Mine"),
    }), "cat"),
    ("a wildcard", with_text("cat, __colors__ sky"), "cat"),
    ("a text that was not sent", with_text("…"), ""),
    ("a conditioning from a file", {**USUAL, "2": node("LoadConditioning", name="x")}, ""),
    ("an encoder that is not known", {**USUAL, "2": node("Mine", clip=["9", 1], text="cat")}, ""),
    ("a switch that is not known", {
        **USUAL, "5": node("Any Switch (rgthree)", any_01=["2", 0], any_02=["3", 0]), "4": sampler(["5", 0], ["3", 0]),
    }, ""),
    ("a loop of texts", with_text(["5", 0], **{"5": node("ShowText|pysssss", text=["5", 0])}), ""),
    ("two nodes that loop", with_text(["5", 0], **{
        "5": node("StringConcatenate", string_a="cat", string_b=["6", 0]), "6": node("CR Text", text=["5", 0]),
    }), "cat"),
    ("a link into nowhere", with_text(["77", 0]), ""),
    ("another output of a text node", with_text(["5", 1], **{"5": node("CR Text", text="cat")}), ""),
)  # fmt: skip


@pytest.mark.parametrize(("graph", "part"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_what_is_not_certain_is_unknown(graph: dict[str, Any], part: str) -> None:
    found = find(graph)
    assert found is not None and not found.is_complete and found.field is None
    assert found.find("horse") is None
    if part:
        assert found.find(part) is True


NONE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nothing", {}),
    ("a stack alone", BASE),
    ("negative alone", {**BASE, "3": encoder("blurry"), "4": node("KSampler", model=["9", 0], negative=["3", 0])}),
    ("a sampler of another model", {
        **BASE, "2": encoder("cat", ["1", 1]), "4": sampler(["2", 0], ["2", 0], ["1", 0]),
    }),
    ("a picture alone", {**BASE, "2": node("VAEDecode", vae=["1", 2])}),
)  # fmt: skip


@pytest.mark.parametrize("graph", [row[1] for row in NONE], ids=[row[0] for row in NONE])
def test_nothing_is_said(graph: dict[str, Any]) -> None:
    assert find(graph) is None


def test_the_stack_s_own_trigger_words() -> None:
    text: dict[str, Any] = {"5": node("StringConcatenate", string_a="a cat", string_b=["9", 4], delimiter=", ")}
    found = find(with_text(["5", 0], **text))
    assert found is not None and found.stacks == {"9"} and found.is_complete and found.field == ("5", "string_a")
    assert found.find("cat") is True and found.find("pixel art") is None
    report = find(with_text(["9", 3]))
    assert report is not None and not report.is_complete and not report.stacks


def test_words() -> None:
    found = find(USUAL)
    assert found is not None
    assert [found.find(word) for word in ("pixel_art", "(CAT:1.2)", "blurry", "cats")] == [True, True, False, False]


def test_a_word_does_not_reach_over_what_is_unknown() -> None:
    inner = node("StringConcatenate", string_a="pixel", string_b=["6", 0], delimiter=" ")
    outer = node("StringConcatenate", string_a=["7", 0], string_b="art", delimiter=" ")
    found = find(with_text(["5", 0], **{"5": outer, "7": inner, "6": node("Mine")}))
    assert found is not None and found.find("pixel art") is None and found.find("art") is True


def test_long_chains_take_no_time() -> None:
    """5,000 nodes: of stacks, of texts, of conditionings, and texts that double at each node."""
    count = 5000
    stacks = {str(100 + i): node("LoraLoader", model=[str(99 + i), 0], clip=[str(99 + i), 1]) for i in range(count)}
    stacks |= {"99": STACK, "2": encoder("cat", [str(99 + count), 1]), "1": LOADER}
    stacks["4"] = sampler(["2", 0], ["2", 0], [str(99 + count), 0])
    texts = {f"t{i}": node("StringConcatenate", string_a=[f"t{i + 1}", 0], string_b="x") for i in range(count)}
    doubling = {
        f"t{i}": node("StringConcatenate", string_a=[f"t{i + 1}", 0], string_b=[f"t{i + 1}", 0]) for i in range(count)
    }
    end = {f"t{count}": node("PrimitiveString", value="cat")}
    conditionings = {f"c{i}": node("FluxGuidance", conditioning=[f"c{i + 1}", 0]) for i in range(count)}
    conditionings |= {f"c{count}": encoder("cat"), "4": sampler(["c0", 0], ["3", 0])}
    start = time.process_time()
    assert find(stacks, "99") == Texts("cat", True, ("2", "text"))
    long = find(with_text(["t0", 0], **texts, **end))
    assert long is not None and long.is_complete and long.said == "cat" + "x" * count
    double = find(with_text(["t0", 0], **doubling, **end))
    assert double is not None and not double.is_complete
    assert find({**USUAL, **conditionings}) == Texts("cat", True, (f"c{count}", "text"))
    assert time.process_time() - start < 3


def test_many_stacks_are_bounded() -> None:
    graph = {str(i): node("LorchestraLoraStack", model=[str(i - 1), 0], clip=[str(i - 1), 1]) for i in range(1, 3001)}
    graph |= {"e": encoder("cat", ["3000", 1]), "k": sampler(["e", 0], ["e", 0], ["3000", 0])}
    start = time.process_time()
    prompts = Prompts(graph, kind, accepts)
    found = [prompts.find(str(i)) for i in range(3000, 0, -1)]
    assert found[0] == Texts("cat", True, ("e", "text")) and None in found
    assert time.process_time() - start < 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.sampled_from(["cat", "1", "2", "9", "…", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["content", "x"]), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["model", "clip", "text", "positive", "negative", "conditioning", "value", "string_a", ""])
NODES = st.dictionaries(
    st.sampled_from(["class_type", "inputs"]),
    st.sampled_from([*OUTPUTS, "Mine"])
    | st.dictionaries(NAMES, VALUES | st.tuples(st.sampled_from("1239"), st.integers(0, 4)).map(list)),
)


@given(st.dictionaries(st.sampled_from(["1", "2", "3", "9"]), NODES | VALUES))
def test_never_raises(graph: dict[str, Any]) -> None:
    find(graph)
