"""The walk from a node to the file of its model, on graphs as they come and on graphs that cannot be."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import graphs
from support.graphs import OUTPUTS, A, B, U, find, kind, node, stack

from lorchestra.workflow.switches import SWITCHES
from lorchestra.workflow.upstream import find_base_path


def walk(graph: dict[str, Any], start: str = "9") -> str | None:
    return find_base_path(graph, start, kind=kind, find=find, accepts=graphs.accepts)


def switch(*sources: str) -> dict[str, Any]:
    return node("Any Switch (rgthree)", **{f"any_{index:02}": [source, 0] for index, source in enumerate(sources, 1)})


def pipe(**inputs: object) -> dict[str, Any]:
    return node("ToBasicPipe", **inputs)


def lora(model: str, clip: str | None = None) -> dict[str, Any]:
    return node("LoraLoader", lora_name="x.safetensors", model=[model, 0], clip=[clip or model, 1])


GRAPHS: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    ("checkpoint", {"1": A}, "/c/a"),
    ("with a configuration", {"1": node("CheckpointLoader", config_name="v1.yaml", ckpt_name="a.safetensors")}, "/c/a"),
    ("unCLIP", {"1": node("unCLIPCheckpointLoader", ckpt_name="a.safetensors")}, "/c/a"),
    ("video", {"1": node("ImageOnlyCheckpointLoader", ckpt_name="a.safetensors")}, "/c/a"),
    ("diffusion model", {"1": U}, "/d/u"),
    ("GGUF", {"1": node("UnetLoaderGGUF", unet_name="u.gguf")}, "/d/g"),
    ("GGUF, advanced", {"1": node("UnetLoaderGGUFAdvanced", unet_name="u.gguf", dequant_dtype="default")}, "/d/g"),
    ("GGUF of another pack", {"1": node("LoaderGGUF", gguf_name="u.gguf")}, "/d/g"),
    ("a name with a picture", {"1": node("CheckpointLoader|pysssss", ckpt_name={"content": "a.safetensors"})}, "/c/a"),
    (
        "a loader with links",
        {"1": node("Efficient Loader", ckpt_name="a.safetensors", x=["2", 0]), "2": pipe(model=["3", 0]), "3": B},
        "/c/a",
    ),
    ("a class that is not known", {"1": node("Mine", ckpt_name="a.safetensors")}, "/c/a"),
    ("LoRA loaders", {"1": lora("2"), "2": lora("3"), "3": A}, "/c/a"),
    ("our own nodes", {"1": stack(("2", 0)), "2": A}, "/c/a"),
    ("a patch", {"1": node("ModelSamplingFlux", max_shift=1.15, model=["2", 0]), "2": U}, "/d/u"),
    ("other files on the way", {"1": lora("2", clip="3"), "2": A, "3": B}, "/c/a"),
    ("a patch that calls it unet", {"1": node("Mine", unet=["2", 0], vae=["3", 2]), "2": A, "3": B}, "/c/a"),
    ("model before unet", {"1": node("Mine", unet=["3", 0], model=["2", 0]), "2": A, "3": B}, "/c/a"),
    ("a name beside a model", {"1": node("Mine", model=["2", 0], ckpt_name="a.safetensors"), "2": A}, "/c/a"),
    ("another name beside a model", {"1": node("Mine", model=["2", 0], ckpt_name="b.safetensors"), "2": A}, None),
    ("a name of something else", {"1": node("Mine", model=["2", 0], model_name="motion.ckpt"), "2": A}, "/c/a"),
    ("a text called model", {"1": node("Mine", model=["2", 0], m=["3", 0]), "2": node("String"), "3": A}, "/c/a"),
    ("reroutes", {"1": node("Reroute", value=["2", 0]), "2": node("Reroute", **{"": ["3", 0]}), "3": A}, "/c/a"),
    ("subgraphs", {"1": lora("12:3"), "12:3": lora("12:4:5"), "12:4:5": A}, "/c/a"),
    ("numbers as ids", {"1": node("Mine", model=[2, 0]), "2": A}, "/c/a"),
    ("a switch between one", {"1": switch("2", "3"), "2": A, "3": A}, "/c/a"),
    ("a switch between two", {"1": switch("2", "3"), "2": A, "3": B}, None),
    (
        "a switch with one that is not known",
        {"1": switch("2", "3"), "2": A, "3": node("UnknownLoader")},
        None,
    ),
    (
        "a switch of reroutes",
        {
            "1": switch("2", "3"),
            "2": node("Reroute", value=["4", 0]),
            "3": node("Reroute", value=["5", 0]),
            "4": A,
            "5": B,
        },
        None,
    ),
    (
        "a switch of a model and a context without one",
        {
            "1": node("ModelMergeSimple", model1=["2", 0], model2=["3", 1]),
            "2": A,
            "3": node("Context (rgthree)", x=["4", 0], y=["5", 0]),
            "4": pipe(),
            "5": pipe(),
        },
        None,
    ),
    ("a merge of two", {"1": node("ModelMergeSimple", model1=["2", 0], model2=["3", 0]), "2": A, "3": B}, None),
    ("a merge of one with itself", {"1": node("ModelMergeSimple", model1=["2", 0], model2=["2", 0]), "2": A}, "/c/a"),
    (
        "a pipe",
        {
            "1": node("FromBasicPipe", basic_pipe=["2", 0]),
            "2": pipe(model=["3", 0], clip=["4", 1], vae=["4", 2]),
            "3": A,
            "4": B,
        },
        "/c/a",
    ),
    (
        "a context",
        {
            "1": node("Context (rgthree)", base_ctx=["2", 0], clip=["4", 1]),
            "2": node("Context (rgthree)", model=["3", 0]),
            "3": A,
            "4": B,
        },
        "/c/a",
    ),
    ("a context of a vae", {"1": node("Context (rgthree)", vae=["2", 2]), "2": A}, None),
    ("a loader of its own", {"1": node("Mine", x="x.gguf", y=["2", 0]), "2": pipe(model=["3", 0]), "3": A}, None),
    ("two pipes, one of them empty", {"1": switch("2", "3"), "2": pipe(model=["4", 0]), "3": pipe(), "4": A}, "/c/a"),
    ("two pipes, both empty", {"1": switch("2", "3"), "2": pipe(), "3": pipe()}, None),
    ("a loop", {"1": lora("2"), "2": lora("1")}, None),
    ("a loop of itself", {"1": lora("1")}, None),
    ("a link into nowhere", {}, None),
    ("no such file", {"1": node("CheckpointLoaderSimple", ckpt_name="none.safetensors")}, None),
    ("two names", {"1": node("Mine", ckpt_name="a.safetensors", unet_name="u.safetensors")}, None),
    ("a name by a link", {"1": node("Mine", ckpt_name=["2", 0]), "2": node("String", value="a.safetensors")}, None),
    ("a number as a name", {"1": node("CheckpointLoaderSimple", ckpt_name=7)}, None),
    ("an empty name", {"1": node("CheckpointLoaderSimple", ckpt_name="")}, None),
    ("another loader", {"1": node("VAELoader", vae_name="a.safetensors")}, None),
    ("no class", {"1": {"inputs": {"ckpt_name": "a.safetensors"}}}, "/c/a"),
    ("a class that is a list", {"1": node("Mine", model=["2", 0]), "2": {"class_type": [], "inputs": {}}}, None),
    ("no inputs", {"1": {"class_type": "CheckpointLoaderSimple"}}, None),
    ("inputs that are a list", {"1": {"class_type": "CheckpointLoaderSimple", "inputs": []}}, None),
    ("a node that is a text", {"1": "CheckpointLoaderSimple"}, None),
    ("an output that is a text", {"1": node("Mine", model=["2", "0"]), "2": A}, None),
    ("an output that is not there", {"1": node("Mine", model=["2", -1]), "2": A}, "/c/a"),
)  # fmt: skip


@pytest.mark.parametrize(("graph", "path"), [row[1:] for row in GRAPHS], ids=[row[0] for row in GRAPHS])
def test_walk(graph: dict[str, Any], path: str | None) -> None:
    assert walk({"9": stack(), **graph}) == path


@pytest.mark.parametrize(("graph", "path"), [row[1:] for row in graphs.CASES], ids=[row[0] for row in graphs.CASES])
def test_only_what_is_certain(graph: dict[str, Any], path: str | None) -> None:
    assert walk({"9": stack(), **graph}) == path


def test_every_switch_hands_on_what_its_widget_chooses() -> None:
    """And each of their inputs counts as long as the choice comes by a link."""
    for switch in SWITCHES:
        choices = (1, 2) if isinstance(switch.inputs, str) else (True, False)
        names = [switch.find_input(choice) for choice in choices]
        assert len(set(names)) == 2 and None not in names
        links = {name: [source, 0] for name, source in zip(names, "23", strict=True) if name}
        for choice, path in zip(choices, ("/c/a", "/d/u"), strict=True):
            chosen = node(switch.class_type, **links, **{switch.selector: choice})
            assert walk({"9": stack(), "1": chosen, "2": A, "3": U}) == path, switch
        linked = node(switch.class_type, **links, **{switch.selector: ["4", 0]})
        assert walk({"9": stack(), "1": linked, "2": A, "3": U, "4": node("PrimitiveInt", value=1)}) is None, switch


@pytest.mark.parametrize("source", [None, "1", [], ["1"], [None, 0], [[], 0], {"1": 0}, ["1", 0, 0], ["1", 0.5]])
def test_a_model_that_is_not_connected(source: object) -> None:
    assert walk({"9": stack(source), "1": A}) is None


def test_a_node_that_is_not_there() -> None:
    assert walk({"1": A}) is None
    assert walk({"9": A, "1": A}) is None


def test_another_input() -> None:
    graph = {"9": node("Mine", a=["1", 0], b=["2", 0]), "1": A, "2": B}
    assert find_base_path(graph, "9", kind=kind, find=find, input_name="b") == "/c/b"


def test_large_graphs_end_soon() -> None:
    count = 9_000
    chain = {str(number): lora(str(number + 1)) for number in range(10, count)} | {str(count): A, "9": stack(("10", 0))}
    started = time.process_time()
    assert walk(chain) == "/c/a"
    # every node leads to all others
    links = {f"x{number}": [str(number), 0] for number in range(300)}
    assert walk({str(number): node("Reroute", **links) for number in range(300)} | {"9": stack()}) is None
    endless = {str(number): lora(str(number + 1)) for number in range(10, 99_999)}
    assert walk({**endless, "9": stack(("10", 0))}) is None
    assert time.process_time() - started < 10


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.sampled_from(["1", "2", "3", "a.safetensors"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["inputs", "model"]), inner, max_size=2)
    ),
    max_leaves=4,
)
LINKS = st.tuples(st.sampled_from("12349"), st.integers(0, 2)).map(list)
NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(sorted(OUTPUTS)) | VALUES,
        "inputs": st.dictionaries(st.sampled_from(["model", "unet", "ckpt_name", "pipe", "vae"]), LINKS | VALUES)
        | VALUES,
    }
)


@given(st.dictionaries(st.sampled_from("12349"), NODES | VALUES))
def test_never_raises(graph: dict[str, Any]) -> None:
    assert walk(graph) in (None, "/c/a")
