"""Prompts in which it is hard to say where a model comes from, and the file that is certain, for Python and for js/.

Their nodes are as they are in ComfyUI and in the packs that `lorchestra/workflow/switches.py` names.
"""

from __future__ import annotations

from typing import Any

OUTPUTS = {
    "CheckpointLoaderSimple": ("MODEL", "CLIP", "VAE"),
    "CheckpointLoader": ("MODEL", "CLIP", "VAE"),
    "unCLIPCheckpointLoader": ("MODEL", "CLIP", "VAE", "CLIP_VISION"),
    "ImageOnlyCheckpointLoader": ("MODEL", "CLIP_VISION", "VAE"),
    "UNETLoader": ("MODEL",),
    "UnetLoaderGGUF": ("MODEL",),
    "UnetLoaderGGUFAdvanced": ("MODEL",),
    "LoaderGGUF": ("MODEL",),
    "CheckpointLoader|pysssss": ("MODEL", "CLIP", "VAE", "STRING"),
    "Efficient Loader": ("MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "CLIP", "DEPENDENCIES"),
    "UnknownLoader": ("MODEL",),
    "LoraLoader": ("MODEL", "CLIP"),
    "LoraLoaderModelOnly": ("MODEL",),
    "LorchestraLoraStack": ("MODEL", "CLIP", "LORA_STACK", "STRING"),
    "ModelSamplingFlux": ("MODEL",),
    "ModelMergeSimple": ("MODEL",),
    "Reroute": ("*",),
    "Any Switch (rgthree)": ("*",),
    "Power Puter (rgthree)": ("*",),
    "Context (rgthree)": ("RGTHREE_CONTEXT", "MODEL", "CLIP", "VAE"),
    "Context Merge (rgthree)": ("RGTHREE_CONTEXT", "MODEL", "CLIP", "VAE"),
    "ToBasicPipe": ("BASIC_PIPE",),
    "FromBasicPipe": ("MODEL", "CLIP", "VAE"),
    "ToDetailerPipeSDXL": ("DETAILER_PIPE",),
    "FromDetailerPipeSDXL": ("DETAILER_PIPE", "MODEL", "CLIP", "VAE"),
    "String": ("STRING",),
    "VAELoader": ("VAE",),
    "PrimitiveInt": ("INT",),
    "PrimitiveBoolean": ("BOOLEAN",),
    "ImpactSwitch": ("*", "STRING", "INT"),
    "ImpactInversedSwitch": ("*",),
    "ImpactConditionalBranch": ("*",),
    "ComfySwitchNode": ("COMFY_MATCHTYPE_V3",),
    "LazySwitchKJ": ("*",),
    "Switch any [Crystools]": ("*",),
    "easy ifElse": ("*",),
    "easy anythingIndexSwitch": ("*",),
    "easy forLoopStart": ("FLOW_CONTROL", "INT", "*"),
    "CR Model Input Switch": ("MODEL", "STRING"),
    "CR Switch Model and CLIP": ("MODEL", "CLIP", "STRING"),
    "CR Pipe Switch": ("PIPE_LINE", "STRING"),
    "Model Input Switch": ("MODEL",),
    "Many": ("MODEL,CLIP",),
}
INPUTS = {
    ("LoraLoader", "model"): "MODEL",
    ("LoraLoader", "clip"): "CLIP",
    ("LoraLoader", "lora_name"): "COMBO",
    ("LoraLoaderModelOnly", "model"): "MODEL",
    ("LoraLoaderModelOnly", "lora_name"): "COMBO",
    ("LoraLoaderModelOnly", "strength_model"): "FLOAT",
    ("ModelMergeSimple", "model1"): "MODEL",
    ("ModelMergeSimple", "model2"): "MODEL",
    ("ImpactSwitch", "input1"): "*",
}
FILES = {
    ("ckpt_name", "a.safetensors"): "/c/a",
    ("ckpt_name", "b.safetensors"): "/c/b",
    ("unet_name", "u.safetensors"): "/d/u",
    ("unet_name", "v.safetensors"): "/d/v",
    ("unet_name", "u.gguf"): "/d/g",
    ("gguf_name", "u.gguf"): "/d/g",
}


def kind(class_type: str, output: int) -> str | None:
    types = OUTPUTS.get(class_type, ())
    return types[output] if 0 <= output < len(types) else None


def accepts(class_type: str, name: str) -> str | None:
    return INPUTS.get((class_type, name))


def find(input_name: str, value: str) -> str | None:
    return FILES.get((input_name, value))


def node(class_type: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


A = node("CheckpointLoaderSimple", ckpt_name="a.safetensors")
B = node("CheckpointLoaderSimple", ckpt_name="b.safetensors")
U = node("UNETLoader", unet_name="u.safetensors", weight_dtype="default")
V = node("UNETLoader", unet_name="v.safetensors", weight_dtype="default")
UNKNOWN = node("UnknownLoader", preset="best")


def stack(source: object = ("1", 0)) -> dict[str, Any]:
    return node("LorchestraLoraStack", model=list(source) if isinstance(source, tuple) else source, loras="[]")


def link(source: str, output: int = 0) -> list[object]:
    return [source, output]


def _chosen(class_type: str, **inputs: object) -> dict[str, Any]:
    """A switch between A (node 2) and U (node 3)."""
    return {"1": node(class_type, **inputs), "2": A, "3": U}


CASES: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    # A switch between a MODEL and a wildcard: the wildcard counts as much.
    (
        "a checkpoint and a switch between two",
        {
            "1": node("ImpactSwitch", select=2, sel_mode=False, input1=link("2"), input2=link("3")),
            "2": A,
            "3": node("Any Switch (rgthree)", any_01=link("4"), any_02=link("5")),
            "4": U,
            "5": V,
        },
        None,
    ),
    (
        "a checkpoint and a switch whose choice is known",
        {
            "1": node("ImpactSwitch", select=2, sel_mode=False, input1=link("2"), input2=link("3")),
            "2": A,
            "3": node("ImpactSwitch", select=2, sel_mode=False, input1=link("4"), input2=link("5")),
            "4": U,
            "5": V,
        },
        "/d/v",
    ),
    (
        "the checkpoint beside a switch",
        {
            "1": node("ImpactSwitch", select=1, sel_mode=False, input1=link("2"), input2=link("3")),
            "2": A,
            "3": node("ImpactSwitch", select=1, sel_mode=False, input1=link("4"), input2=link("5")),
            "4": U,
            "5": V,
        },
        "/c/a",
    ),
    (
        "a switch of an unknown pack, a MODEL and a wildcard",
        {"1": node("Mine", one=link("2"), two=link("3")), "2": A, "3": node("Reroute", x=link("4")), "4": U},
        None,
    ),
    (
        "a switch of an unknown pack, one model twice",
        {"1": node("Mine", one=link("2"), two=link("3")), "2": A, "3": node("Reroute", x=link("2"))},
        "/c/a",
    ),
    (
        "a model and a wildcard that holds none",
        {"1": node("Mine", one=link("2"), two=link("3")), "2": A, "3": node("Reroute", x=link("2", 2))},
        "/c/a",
    ),
    (
        "a wildcard that nothing is known of",
        {
            "1": node("Mine", one=link("2"), two=link("3")),
            "2": A,
            "3": node("Power Puter (rgthree)", code="return 1"),
        },
        None,
    ),
    (
        "a switch of reroutes, one of them from a loader that is not known",
        {
            "1": node("Any Switch (rgthree)", any_01=link("2"), any_02=link("3")),
            "2": node("Reroute", x=link("4")),
            "3": node("Reroute", x=link("5")),
            "4": A,
            "5": UNKNOWN,
        },
        None,
    ),
    (
        "a switch of reroutes, one of them from a pack that is missing",
        {
            "1": node("Any Switch (rgthree)", any_01=link("2"), any_02=link("3")),
            "2": node("Reroute", x=link("4")),
            "3": node("Reroute", x=link("5")),
            "4": A,
            "5": node("Missing", name="x"),
        },
        None,
    ),
    (
        "a type of several",
        {"1": node("Mine", one=link("2"), two=link("3")), "2": A, "3": node("Many", x=link("4")), "4": U},
        None,
    ),
    # Choices that are plain values.
    ("ComfyUI's switch, on", _chosen("ComfySwitchNode", switch=True, on_false=link("2"), on_true=link("3")), "/d/u"),
    ("ComfyUI's switch, off", _chosen("ComfySwitchNode", switch=False, on_false=link("2"), on_true=link("3")), "/c/a"),
    ("KJNodes', on", _chosen("LazySwitchKJ", switch=True, on_false=link("2"), on_true=link("3")), "/d/u"),
    ("Crystools'", _chosen("Switch any [Crystools]", boolean=False, on_false=link("2"), on_true=link("3")), "/c/a"),
    ("Easy-Use's, on", _chosen("easy ifElse", boolean=True, on_false=link("2"), on_true=link("3")), "/d/u"),
    ("Easy-Use's, by number", _chosen("easy anythingIndexSwitch", index=0, value0=link("2"), value1=link("3")), "/c/a"),
    ("Impact's branch", _chosen("ImpactConditionalBranch", cond=True, tt_value=link("2"), ff_value=link("3")), "/c/a"),
    ("Comfyroll's", _chosen("CR Model Input Switch", Input=2, model1=link("2"), model2=link("3")), "/d/u"),
    (
        "Comfyroll's with text encoders",
        _chosen("CR Switch Model and CLIP", Input=1, model1=link("2"), clip1=link("2", 1), model2=link("3")),
        "/c/a",
    ),
    ("WAS'", _chosen("Model Input Switch", boolean=False, model_a=link("2"), model_b=link("3")), "/d/u"),
    (
        "a switch of pipes",
        {
            "1": node("FromBasicPipe", basic_pipe=link("4")),
            "2": A,
            "3": U,
            "4": node("CR Pipe Switch", Input=2, pipe1=link("5"), pipe2=link("6")),
            "5": node("ToBasicPipe", model=link("2")),
            "6": node("ToBasicPipe", model=link("3")),
        },
        "/d/u",
    ),
    # Choices that are not plain, or lead nowhere.
    (
        "a choice that comes by a link",
        {
            **_chosen("ImpactSwitch", select=link("4"), input1=link("2"), input2=link("3")),
            "4": node("PrimitiveInt", value=2),
        },
        None,
    ),
    (
        "a choice by a link between one and the same",
        {
            **_chosen("LazySwitchKJ", switch=link("4"), on_true=link("2"), on_false=link("2")),
            "4": node("PrimitiveBoolean", value=True),
        },
        "/c/a",
    ),
    ("a choice that is a text", _chosen("ImpactSwitch", select="2", input1=link("2"), input2=link("3")), None),
    ("a choice that is no number", _chosen("ImpactSwitch", select=True, input1=link("2"), input2=link("3")), None),
    ("a choice that is no truth value", _chosen("LazySwitchKJ", switch=1, on_true=link("2"), on_false=link("3")), None),
    ("no choice", _chosen("LazySwitchKJ", on_true=link("2"), on_false=link("3")), None),
    ("a choice without a link", _chosen("ImpactSwitch", select=3, input1=link("2"), input2=link("3")), None),
    ("a text of a switch", {"1": node("ImpactSwitch", select=1, input1=link("2")), "2": A, "9": stack(("1", 1))}, None),
    ("a switch that is not known", _chosen("Their Switch", select=2, input1=link("2"), input2=link("3")), None),
    (
        "a switch that takes the first with a value",
        _chosen("Any Switch (rgthree)", any_01=link("2"), any_02=link("3")),
        None,
    ),
    (
        "a switch that has one input left, the others being muted",
        _chosen("Any Switch (rgthree)", any_02=link("3")),
        "/d/u",
    ),
    ("a switch of outputs", {"1": node("ImpactInversedSwitch", select=2, input=link("2")), "2": A}, "/c/a"),
    (
        "a switch into itself",
        _chosen("ImpactSwitch", select=link("5"), input1=link("2"), input2=link("1")),
        None,
    ),
    (
        "a chosen switch past a loop",
        _chosen("ImpactSwitch", select=1, input1=link("2"), input2=link("1")),
        "/c/a",
    ),
    ("a loop that hands back", {"1": node("easy forLoopStart", total=2, initial_value1=link("2")), "2": A}, None),
    # More than one model in one node.
    (
        "a loader of two",
        {"1": node("Their Loader", ckpt_name="a.safetensors", refiner_ckpt_name="b.safetensors", vae_name="x.pt")},
        None,
    ),
    (
        "a loader that could load two",
        {"1": node("Their Loader", ckpt_name="a.safetensors", refiner_ckpt_name="None", vae_name="x.pt", lora="x.pt")},
        "/c/a",
    ),
    (
        "a loader of its own that shows a picture",
        {
            "1": node("Their Loader", which={"content": "x.safetensors"}, pipe=link("2")),
            "2": node("ToBasicPipe", model=link("3")),
            "3": A,
        },
        None,
    ),
    (
        "a pipe of two models",
        {
            "1": node("FromDetailerPipeSDXL", detailer_pipe=link("4")),
            "2": A,
            "3": U,
            "4": node("ToDetailerPipeSDXL", model=link("2"), refiner_model=link("3"), wildcard=""),
        },
        None,
    ),
    ("a model and another", {"1": node("Mine", model=link("2"), other=link("3")), "2": A, "3": U}, None),
    (
        "two contexts made one",
        {
            "1": node("Context Merge (rgthree)", ctx_01=link("4"), ctx_02=link("5")),
            "2": A,
            "3": U,
            "4": node("Context (rgthree)", model=link("2")),
            "5": node("Context (rgthree)", model=link("3")),
        },
        None,
    ),
    (
        "a pipe that may hold a model of its own",
        {
            "1": node("Any Switch (rgthree)", any_01=link("2"), any_02=link("3")),
            "2": node("ToBasicPipe", model=link("4")),
            "3": node("ToBasicPipe", preset="sdxl"),
            "4": A,
            "9": stack(("8", 0)),
            "8": node("FromBasicPipe", basic_pipe=link("1")),
        },
        None,
    ),
    # What is linked beside a model, and is none.
    (
        "text encoders from a switch",
        {
            "1": node("LoraLoader", lora_name="x.safetensors", model=link("2"), clip=link("3")),
            "2": A,
            "3": node("Any Switch (rgthree)", any_01=link("2", 1), any_02=link("4", 1)),
            "4": B,
        },
        "/c/a",
    ),
    (
        "a weight from a node that is not known",
        {
            "1": node("LoraLoaderModelOnly", model=link("2"), strength_model=link("3"), lora_name=link("3", 1)),
            "2": U,
            "3": node("Missing", value=1),
        },
        "/d/u",
    ),
    (
        "a merge with a wildcard",
        {
            "1": node("ModelMergeSimple", model1=link("2"), model2=link("3"), ratio=0.5),
            "2": A,
            "3": node("Any Switch (rgthree)", any_01=link("4")),
            "4": U,
        },
        None,
    ),
)  # fmt: skip
