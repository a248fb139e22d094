"""Saved workflows as graphs in API form; `tests/e2e/test_api_form.py` compares with the editor itself."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from support.workflows import OBJECT_INFO, node, subgraph, text_to_image, with_subgraph

from lorchestra.errors import LorchestraError, WorkflowError
from lorchestra.workflow.api_form import to_api

Json = Any


def inputs(workflow: Json, id_: str) -> Json:
    return to_api(workflow, OBJECT_INFO).graph[id_]["inputs"]


def test_the_usual_workflow() -> None:
    form = to_api(text_to_image(), OBJECT_INFO)
    assert list(form.graph) == ["3", "4", "5", "6", "7", "8", "9"]
    assert form.graph["3"] == {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1234, "steps": 20, "cfg": 7, "sampler_name": "euler", "scheduler": "karras", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
        "_meta": {"title": "KSampler"},
    }  # fmt: skip
    assert form.places["3", "seed"].control == "randomize"
    assert form.places["6", "text"].targets == (("6", "text"),)


def without(workflow: Json, *ids: int) -> Json:
    return workflow | {"nodes": [one for one in workflow["nodes"] if one["id"] not in ids]}


def test_muted_nodes_and_links_to_nothing_are_gone() -> None:
    workflow = text_to_image()
    workflow["nodes"][2]["mode"] = 2  # the negative prompt
    form = to_api(workflow, OBJECT_INFO)
    assert "7" not in form.graph
    assert "negative" not in form.graph["3"]["inputs"]
    assert "negative" not in inputs(without(text_to_image(), 7), "3")


def test_a_bypassed_node_is_bridged_by_type() -> None:
    workflow = text_to_image()
    blur = node(10, "ImageBlur", [5], {"image": 9}, mode=4)
    workflow["nodes"][6] = node(9, "SaveImage", ["picture"], {"images": 10})
    workflow["nodes"].append(blur)
    workflow["links"] = [*workflow["links"][:-1], [9, 8, 0, 10, 0, "IMAGE"], [10, 10, 0, 9, 0, "IMAGE"]]
    assert inputs(workflow, "9")["images"] == ["8", 0]
    blur["mode"] = 0
    assert inputs(workflow, "9")["images"] == ["10", 0]


def test_reroutes_primitives_and_notes_are_gone() -> None:
    workflow = text_to_image()
    workflow["nodes"] += [
        node(11, "Reroute", None, {"": 3}, outputs=[{"type": "MODEL"}]),
        {
            "id": 12,
            "type": "PrimitiveNode",
            "outputs": [{"type": "INT"}],
            "widgets_values": [30, "fixed"],
            "title": "S",
        },
        {"id": 13, "type": "Note", "widgets_values": ["about"]},
    ]
    sampler = workflow["nodes"][4]
    sampler["inputs"][0]["link"] = 11
    next(slot for slot in sampler["inputs"] if slot["name"] == "steps")["link"] = 12
    workflow["links"] += [[11, 11, 0, 3, 0, "MODEL"], [12, 12, 0, 3, 2, "INT"]]
    form = to_api(workflow, OBJECT_INFO)
    assert not {"11", "12", "13"} & form.graph.keys()
    assert form.graph["3"]["inputs"]["model"] == ["4", 0]
    assert form.graph["3"]["inputs"]["steps"] == 30
    assert form.places["12", "value"].targets == (("3", "steps"),)
    assert ("3", "steps") not in form.places


def test_a_dynamic_choice_has_its_own_widgets() -> None:
    links = [[1, 4, 2, 8, 1, "VAE"]]
    nodes = [
        node(8, "LoadImage", ["here.png", "image"]),
        node(9, "SaveVideo", ["mp4", "av1", 30, "film"], {"video": 2}),
    ]
    form = to_api({"nodes": nodes, "links": [*links, [2, 8, 0, 9, 0, "IMAGE"]]}, OBJECT_INFO)
    assert form.graph["9"]["inputs"] == {
        "format": "mp4", "format.codec": "av1", "format.crf": 30, "prefix": "film", "video": ["8", 0],
    }  # fmt: skip
    nodes[1]["widgets_values"] = ["auto", "film"]
    short = to_api({"nodes": nodes, "links": [[2, 8, 0, 9, 0, "IMAGE"]]}, OBJECT_INFO)
    assert short.graph["9"]["inputs"] == {"format": "auto", "prefix": "film", "video": ["8", 0]}


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_subgraphs_are_opened(depth: int) -> None:
    form = to_api(with_subgraph([17], depth=depth), OBJECT_INFO)
    own = "20" + ":1" * depth
    assert form.graph[own]["inputs"] == {"blur_radius": 17, "image": ["8", 0]}
    assert form.graph["9"]["inputs"]["images"] == [own, 0]
    assert form.places["20", "radius"].targets == ((own, "blur_radius"),)
    assert form.places["20", "radius"].is_host


def test_without_a_value_on_its_own_node_the_one_inside_counts() -> None:
    assert inputs(with_subgraph(), "20:1")["blur_radius"] == 5
    assert inputs(with_subgraph([None]), "20:1")["blur_radius"] == 5


def test_widgets_promoted_by_older_editors() -> None:
    assert inputs(with_subgraph([9], [["1", "blur_radius"]]), "20:1")["blur_radius"] == 9
    assert inputs(with_subgraph([8], [["-1", "radius"]]), "20:1")["blur_radius"] == 8
    workflow = with_subgraph([7], [["1", "blur_radius"]])
    inner = workflow["definitions"]["subgraphs"][0]
    inner["inputs"] = inner["inputs"][:1]  # no input for it: the tuple alone says so
    inner["nodes"][0]["inputs"][1]["link"] = None
    form = to_api(workflow, OBJECT_INFO)
    assert form.graph["20:1"]["inputs"]["blur_radius"] == 7
    assert form.places["20:1", "blur_radius"].is_host


@pytest.mark.parametrize(("mode", "images"), [(4, ["8", 0]), (2, None)])
def test_a_subgraph_that_does_not_run(mode: int, images: Json) -> None:
    form = to_api(with_subgraph(mode=mode), OBJECT_INFO)
    assert "20:1" not in form.graph
    assert form.graph["9"]["inputs"].get("images") == images


def test_names_are_enough_without_object_info() -> None:
    workflow = text_to_image()
    for one in workflow["nodes"]:
        one["widgets_values"] = []
    workflow["nodes"][4]["widgets_values_named"] = {"seed": 5, "control_after_generate": "fixed", "steps": 3}
    form = to_api(workflow, None)
    assert form.graph["3"]["inputs"] | {"seed": 5, "steps": 3} == form.graph["3"]["inputs"]
    assert form.places["3", "seed"].control == "fixed"
    with pytest.raises(WorkflowError, match=r"node 4 \(CheckpointLoaderSimple\): its widgets have no names"):
        to_api(text_to_image(), None)


def itself() -> Json:
    workflow = with_subgraph(depth=2)
    inner = workflow["definitions"]["subgraphs"][0]
    inner["nodes"].append({"id": 2, "type": "inner-1", "inputs": [], "outputs": []})
    return workflow


def doubling() -> Json:
    """Twenty subgraphs, each with two of the one before: a million nodes."""
    made = [subgraph("d0", [node(1, "LoadImage"), node(2, "LoadImage")], [])]
    for level in range(1, 20):
        made.append(subgraph(f"d{level}", [{"id": one, "type": f"d{level - 1}"} for one in (1, 2)], []))
    return {"nodes": [{"id": 1, "type": "d19"}], "links": [], "definitions": {"subgraphs": made}}


def circle() -> Json:
    links = [[1, 2, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"], [3, 1, 0, 9, 0, "IMAGE"]]
    loop = [node(id_, "Reroute", None, {"": link}) for id_, link in ((1, 1), (2, 2))]
    return {"nodes": [*loop, node(9, "SaveImage", ["x"], {"images": 3})], "links": links}


@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        (itself(), "has itself in it"),
        (doubling(), "more than 100,000 nodes"),
        (circle(), r"node 9 \(SaveImage\): links lead in a circle"),
        ({"nodes": [node(5, "Gone", [1])]}, r"node 5 \(Gone\): this ComfyUI has no such node"),
        ({"nodes": [node(1, "VAEDecode"), node(1, "VAEDecode")]}, "two nodes have the id '1'"),
        ({"nodes": [7]}, "the 1. node is 7"),
        ({"nodes": [{"type": "VAEDecode"}]}, "the 1. node has no id"),
        (with_subgraph(depth=70), "nested more than 64 levels"),
    ],
)
def test_what_is_refused(workflow: Json, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        to_api(workflow, OBJECT_INFO)


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, [[]], [None], {"a": 1}, float("nan"), [[1, 2]], -1, True])
@pytest.mark.parametrize("key", ["id", "type", "inputs", "outputs", "widgets_values", "properties", "mode", "title"])
def test_odd_values_are_no_foreign_errors(key: str, junk: Json) -> None:
    for workflow in (text_to_image(), with_subgraph([3], [["1", "blur_radius"]])):
        for number in range(len(workflow["nodes"])):
            nodes = [dict(one) for one in workflow["nodes"]]
            nodes[number][key] = junk
            with contextlib.suppress(LorchestraError):
                to_api(workflow | {"nodes": nodes}, OBJECT_INFO)
    for key_ in ("links", "definitions", "extra"):
        with contextlib.suppress(LorchestraError):
            to_api(text_to_image() | {key_: junk}, OBJECT_INFO)


@pytest.mark.parametrize("junk", [None, 5, "x", [], {"KSampler": 5}, {"KSampler": {"input": {"required": {"a": []}}}}])
def test_odd_object_info_is_no_foreign_error(junk: Json) -> None:
    with pytest.raises(WorkflowError):
        to_api(text_to_image(), junk)


def test_many_reroutes_in_a_row() -> None:
    count = 5000
    nodes = [node(0, "LoadImage", ["here.png"]), *(node(one, "Reroute", None, {"": one}) for one in range(1, count))]
    links = [[one, one - 1, 0, one, 0, "IMAGE"] for one in range(1, count)]
    end = node(count, "SaveImage", ["x"], {"images": count})
    form = to_api({"nodes": [*nodes, end], "links": [*links, [count, count - 1, 0, count, 0, "IMAGE"]]}, OBJECT_INFO)
    assert form.graph[str(count)]["inputs"]["images"] == ["0", 0]
