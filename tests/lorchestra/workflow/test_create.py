"""From a request to the graph: every value lands where it belongs, and what is wrong is said with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.workflows import OBJECT_INFO, node, text_to_image, with_subgraph

from lorchestra.demo.prompt import demo_prompt
from lorchestra.errors import InputError, LorchestraError, MissingLora
from lorchestra.exchange import parse_stack
from lorchestra.workflow.create import create
from lorchestra.workflow.publication import Publication, publish
from lorchestra.workflow.schema import example_of

Json = Any

FILES = {"civitai:120096@135931": "styles/pixel.safetensors", "a.safetensors": "a.safetensors", "b": "b.safetensors"}


def resolve(model: str) -> str:
    if model not in FILES:
        raise MissingLora(f"there is no LoRA {model} here")
    return FILES[model]


def demo(loras: Json = '{"version": 1, "loras": []}') -> Publication:
    return publish(demo_prompt(loras), None, "demo")


def listed(kind: str, **inputs: Json) -> Publication:
    """The demo with another pack's list of LoRAs."""
    graph = demo_prompt('{"version": 1, "loras": []}')
    graph["2"] = {"class_type": kind, "inputs": {"model": ["1", 0], "clip": ["1", 1], **inputs}}
    return publish(graph, None, "demo")


def test_without_inputs_the_graph_is_the_workflows_own() -> None:
    for made in (demo(), publish(text_to_image(), OBJECT_INFO, "t"), publish(with_subgraph([7]), OBJECT_INFO, "t")):
        assert create(made, {}, resolve=resolve) == made.graph
        assert create(made, {}, resolve=resolve) is not made.graph
    made = publish(text_to_image(), OBJECT_INFO, "t")
    assert create(made, example_of(made), resolve=resolve) == made.graph


def test_values_go_where_they_belong() -> None:
    made = publish(text_to_image(), OBJECT_INFO, "t")
    graph = create(made, {"prompt": "a cat", "steps": 7, "width": 640, "cfg": 2, "sampler": "heun"}, resolve=resolve)
    assert graph["6"]["inputs"]["text"] == "a cat"
    assert graph["3"]["inputs"] | {"steps": 7, "cfg": 2, "sampler_name": "heun"} == graph["3"]["inputs"]
    assert graph["5"]["inputs"]["width"] == 640
    assert made.graph["6"]["inputs"]["text"] == "a lighthouse"


ROWS = [{"model": "civitai:120096@135931", "weight": 0.7}, {"model": "b", "clip_weight": 0.2}]


def test_a_list_of_loras_is_a_stack() -> None:
    rows = [
        ROWS[0] | {"schedule": "0:0, 1:1", "conditioning": "positive", "blocks": {"down.*": 0.5}},
        ROWS[1],
    ]
    text = create(demo(), {"loras": rows}, resolve=resolve)["2"]["inputs"]["loras"]
    first, second = parse_stack(text).entries
    assert (first.lora, first.model, first.air) == ("styles/pixel.safetensors", 0.7, "civitai:120096@135931")
    assert (first.schedule, first.conditioning, first.blocks) == ("0:0, 1:1", "positive", {"down.*": 0.5})
    assert (second.lora, second.model, second.clip, second.air) == ("b.safetensors", 1.0, 0.2, None)


def test_any_number_of_loras() -> None:
    for count in (0, 1, 1000):
        text = create(demo(), {"loras": [{"model": "b"}] * count}, resolve=resolve)["2"]["inputs"]["loras"]
        assert len(json.loads(text)["loras"]) == count


def test_rgthrees_list() -> None:
    row = {"on": True, "lora": "a.safetensors", "strength": 0.5, "strengthTwo": None}
    made = listed("Power Lora Loader (rgthree)", lora_1=row, lora_7=row | {"on": False}, PowerLoraLoaderHeaderWidget={})
    loras = made.find_input("loras")
    assert loras is not None
    assert loras.default == [{"model": "a.safetensors", "weight": 0.5}]
    inputs = create(made, {"loras": ROWS}, resolve=resolve)["2"]["inputs"]
    assert inputs["lora_1"] == {"on": True, "lora": "styles/pixel.safetensors", "strength": 0.7, "strengthTwo": None}
    assert inputs["lora_2"] == {"on": True, "lora": "b.safetensors", "strength": 1.0, "strengthTwo": 0.2}
    assert "lora_7" not in inputs
    assert inputs["PowerLoraLoaderHeaderWidget"] == {}
    assert refused(made, {"loras": [{"model": "b", "schedule": "0:1"}]}).path == "loras[0].schedule"


@pytest.mark.parametrize("kind", ["Lora Loader (LoraManager)", "Lora Stacker (LoraManager)"])
def test_lora_managers_list(kind: str) -> None:
    rows = [{"name": "a", "strength": 0.5, "clipStrength": 0.5, "active": True}]
    made = listed(kind, text="<lora:a:0.5>", loras={"__value__": rows})
    inputs = create(made, {"loras": ROWS}, resolve=resolve)["2"]["inputs"]
    assert inputs["text"] == ""
    assert inputs["loras"] == {
        "__value__": [
            {"name": "pixel", "strength": 0.7, "clipStrength": 0.7, "active": True},
            {"name": "b", "strength": 1.0, "clipStrength": 0.2, "active": True},
        ]
    }


def test_comfyuis_own_list_and_its_partner_for_text_encoders() -> None:
    rows = {"loras.0.lora_name": "a.safetensors", "loras.0.strength": 0.5, "loras.0.enabled": True}
    graph = demo_prompt('{"version": 1, "loras": []}')
    graph["2"] = {"class_type": "LoadLoraModel", "inputs": {"model": ["1", 0], **rows}}
    graph["12"] = {"class_type": "LoadLoraTextEncoder", "inputs": {"clip": ["1", 1], **rows}}
    for id_ in ("3", "4"):
        graph[id_]["inputs"]["clip"] = ["12", 0]
    made = publish(graph, None, "demo")
    loras = made.find_input("loras")
    assert loras is not None
    assert [node for node, _ in loras.targets] == ["2", "12"]
    queued = create(made, {"loras": [{"model": "b", "weight": 0.9}, {"model": "a.safetensors"}]}, resolve=resolve)
    for id_ in ("2", "12"):
        assert queued[id_]["inputs"]["loras.0.lora_name"] == "b.safetensors"
        assert queued[id_]["inputs"]["loras.1.strength"] == 1.0
    assert not [key for key in create(made, {"loras": []}, resolve=resolve)["2"]["inputs"] if key.startswith("loras")]
    assert "at most 20" in refused(made, {"loras": [{"model": "b"}] * 21}).reason


def test_a_choice_brings_its_own_inputs() -> None:
    nodes = [node(8, "LoadImage", ["here.png"]), node(9, "SaveVideo", ["mp4", "av1", 30, "film"], {"video": 2})]
    extra = {"lorchestra": {"inputs": [{"node": "9", "widget": "format"}]}}
    made = publish({"nodes": nodes, "links": [[2, 8, 0, 9, 0, "IMAGE"]], "extra": extra}, OBJECT_INFO, "t")
    auto = create(made, {"format": "auto"}, resolve=resolve)["9"]["inputs"]
    assert auto == {"format": "auto", "prefix": "film", "video": ["8", 0]}
    kept = create(made, {"format": "mp4"}, resolve=resolve)["9"]["inputs"]
    assert (kept["format.codec"], kept["format.crf"]) == ("av1", 30)


def refused(made: Publication, inputs: Json) -> InputError:
    with pytest.raises(InputError) as caught:
        create(made, inputs, resolve=resolve)
    return caught.value


def nested(depth: int) -> Json:
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


LORA = {"model": "b"}


@pytest.mark.parametrize(
    ("inputs", "path", "pointer", "reason"),
    [
        (5, "", "", "the inputs are 5; expected an object"),
        ({"nope": 1}, "nope", "/nope", "there is no such field here; known are prompt, negative_prompt"),
        ({"a/b~c": 1}, "a/b~c", "/a~1b~0c", "there is no such field here"),
        ({"steps": "20"}, "steps", "/steps", "it is '20'; expected a whole number"),
        ({"steps": True}, "steps", "/steps", "expected a whole number"),
        ({"steps": 0}, "steps", "/steps", "the least is 1"),
        ({"steps": 10001}, "steps", "/steps", "the most is 10000"),
        ({"cfg": float("nan")}, "cfg", "/cfg", "it is nan, which is not a number"),
        ({"cfg": float("inf")}, "cfg", "/cfg", "it is inf, which is not a number"),
        ({"seed": 10**5000}, "seed", "/seed", "thousands of digits"),
        ({"seed": -1}, "seed", "/seed", "the least is 0"),
        ({"prompt": None}, "prompt", "/prompt", "it is None; expected text"),
        ({"prompt": "x" * 400_001}, "prompt", "/prompt", "it has 400,001 characters; at most 400,000 are read"),
        ({"prompt": nested(10_000)}, "prompt[0][0]", "/prompt/0/0", "nested more than 100 levels"),
        ({"prompt": {1: 2}}, "prompt", "/prompt", "the key 1 is not text"),
        ({"prompt": {1, 2}}, "prompt", "/prompt", "which is not JSON"),
        ({"prompt": [0] * 200_001}, "", "", "there are more than 200,000 values"),
        ({"loras": {}}, "loras", "/loras", "it is {}; expected a list"),
        ({"loras": [5]}, "loras[0]", "/loras/0", "it is 5; expected an object"),
        ({"loras": [{}]}, "loras[0].model", "/loras/0/model", "it is missing"),
        ({"loras": [LORA, {"model": ""}]}, "loras[1].model", "/loras/1/model", "it is empty"),
        ({"loras": [{"model": " "}]}, "loras[0].model", "/loras/0/model", "it is blank"),
        ({"loras": [{"model": "gone"}]}, "loras[0].model", "/loras/0/model", "there is no LoRA gone here"),
        ({"loras": [LORA | {"weight": 101}]}, "loras[0].weight", "/loras/0/weight", "the most is 100"),
        ({"loras": [LORA | {"weight": float("nan")}]}, "loras[0].weight", "/loras/0/weight", "it is nan"),
        ({"loras": [LORA | {"wieght": 1}]}, "loras[0].wieght", "/loras/0/wieght", "there is no such field here"),
        ({"loras": [LORA | {"schedule": "0:x"}]}, "loras[0].schedule", "/loras/0/schedule", ""),
        (
            {"loras": [LORA | {"conditioning": "x"}]},
            "loras[0].conditioning",
            "/loras/0/conditioning",
            "expected one of",
        ),
        ({"loras": [LORA | {"blocks": {"a": "b"}}]}, "loras[0].blocks.a", "/loras/0/blocks/a", "expected a number"),
        ({"loras": [LORA] * 1001}, "loras", "/loras", "it has 1,001 items; at most 1,000 are read"),
    ],
)
def test_what_is_refused(inputs: Json, path: str, pointer: str, reason: str) -> None:
    error = refused(demo(), inputs)
    assert (error.path, error.pointer) == (path, pointer)
    assert reason in error.reason


def test_one_of_a_kind() -> None:
    made = publish(text_to_image(), OBJECT_INFO, "t")
    assert refused(made, {"sampler": "nope"}).reason == "it is 'nope'; expected one of euler, heun"
    assert refused(made, {"width": 513}).reason == "it is 513; expected a multiple of 8"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("https://example.com/a.png", "it is an address; nothing is fetched"),
        ("file:///etc/passwd", "it is an address"),
        ("data:image/png;base64,AAAA", "it is a data URI"),
        ("../secret.png", "leads out of the folder"),
        ("/etc/passwd", "leads out of the folder"),
        ("C:\\secret.png", "leads out of the folder"),
        ("a\\..\\..\\b.png", "leads out of the folder"),
        (7, "expected text, or a reference to an asset"),
        ({"__type": "core/OTHER"}, "expected text, or a reference to an asset"),
    ],
)
def test_images_are_names_or_assets(value: Json, reason: str) -> None:
    made = publish(with_subgraph([7]), OBJECT_INFO, "t")
    error = refused(made, {"image": value})
    assert error.path == "image"
    assert reason in error.reason
    asset = {"__type": "core/ASSET", "info": {"id": "9f8a1c0d-2b3e-4f56-8a7b-1c2d3e4f5a6b"}}
    for good in ("there.png", "sub folder/there.png", "there.png [output]", asset):
        assert create(made, {"image": good}, resolve=resolve)["8"]["inputs"]["image"] == good


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
MADE = demo()


@given(st.dictionaries(st.sampled_from([item.name for item in MADE.inputs] + ["x"]), json_values, max_size=4))
def test_nothing_but_our_errors_and_nothing_but_what_was_asked(inputs: Json) -> None:
    try:
        graph = create(MADE, inputs, resolve=resolve)
    except LorchestraError as error:
        assert isinstance(error, InputError)
        return
    places = {target for item in MADE.inputs if item.name in inputs for target in item.targets}
    for id_, one in graph.items():
        for name, value in one["inputs"].items():
            assert (id_, name) in places or value == MADE.graph[id_]["inputs"][name]


@given(st.lists(st.tuples(st.sampled_from(sorted(FILES)), st.floats(-100, 100)), max_size=8))
def test_what_goes_in_is_what_is_read(rows: list[tuple[str, float]]) -> None:
    sent = [{"model": model, "weight": weight} for model, weight in rows]
    text = create(MADE, {"loras": sent}, resolve=resolve)["2"]["inputs"]["loras"]
    assert [(entry.lora, entry.model) for entry in parse_stack(text).entries] == [(FILES[m], w) for m, w in rows]
