"""What is found in a workflow, what a person says of it, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.workflows import OBJECT_INFO, node, text_to_image, with_subgraph

from lorchestra.demo.prompt import demo_prompt
from lorchestra.errors import WorkflowError
from lorchestra.limits import MAX_ROWS
from lorchestra.workflow.publication import Publication, draft, publish
from lorchestra.workflow.schema import schema_of

Json = Any

USUAL = [
    "prompt", "negative_prompt", "seed", "steps", "cfg", "sampler", "scheduler", "width", "height", "batch_size",
    "checkpoint",
]  # fmt: skip


def names(publication: Publication) -> list[str]:
    return [item.name for item in publication.inputs]


def published(workflow: Json, **more: Json) -> Publication:
    return publish(workflow, OBJECT_INFO, "test", **more)


def test_the_usual_suspects() -> None:
    made = published(text_to_image())
    assert names(made) == USUAL
    assert [(item.name, item.kind, item.node) for item in made.outputs] == [("image", "image", "9")]
    assert made.notes == ()
    properties = schema_of(made)["properties"]
    assert properties["steps"] == {
        "title": "Steps", "description": "How many steps are sampled.", "type": "integer", "minimum": 1,
        "maximum": 10000, "default": 20, "x-role": "steps",
    }  # fmt: skip
    assert properties["width"]["multipleOf"] == 8
    assert properties["cfg"] | {"x-step": 0.1, "type": "number", "maximum": 100.0} == properties["cfg"]
    assert properties["sampler"]["enum"] == ["euler", "heun"]
    assert properties["scheduler"]["enum"] == ["normal", "karras"]
    assert properties["checkpoint"]["description"] == "The checkpoint."
    assert "enum" not in properties["checkpoint"]
    listed = schema_of(published(text_to_image(), with_files=True))["properties"]["checkpoint"]
    assert listed["enum"] == ["a.safetensors", "b.safetensors"]
    assert next(item for item in made.inputs if item.name == "seed").is_random


def test_a_graph_in_api_form_says_the_same() -> None:
    form = published(text_to_image())
    again = published(dict(form.graph))
    assert [item.targets for item in again.inputs] == [item.targets for item in form.inputs]
    assert again.graph_hash == form.graph_hash
    assert published({"prompt": dict(form.graph), "client_id": "x"}).graph_hash == form.graph_hash


def test_without_object_info_the_classes_of_comfyui_are_known() -> None:
    made = publish(demo_prompt({"version": 1, "loras": [{"lora": "a.safetensors", "model": 0.5}]}), None, "demo")
    assert names(made) == ["prompt", "negative_prompt", "loras", *USUAL[2:7], "denoise", *USUAL[7:]]
    loras = next(item for item in made.inputs if item.name == "loras")
    assert loras.default == [{"model": "a.safetensors", "weight": 0.5}]
    assert loras.schema["maxItems"] == MAX_ROWS
    assert [item.kind for item in made.outputs] == ["image"]


def test_the_same_workflow_gives_the_same_bytes() -> None:
    workflow = text_to_image()
    shuffled = workflow | {"nodes": workflow["nodes"][::-1], "links": workflow["links"][::-1]}
    texts = {json.dumps(published(one).to_json()) for one in (workflow, json.loads(json.dumps(workflow)), shuffled)}
    assert len(texts) == 1


def test_a_publication_reads_back() -> None:
    made = published(text_to_image())
    again = Publication.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert again.inputs == made.inputs
    changed = made.to_json()
    changed["graph"]["3"]["inputs"]["steps"] = 99
    with pytest.raises(WorkflowError, match="its hash is another"):
        Publication.from_json(changed)


@pytest.mark.parametrize("junk", [None, 5, {}, {"form": 1}, {"form": 1, "name": "a", "version": 1, "graph": []}])
def test_what_is_no_publication(junk: Json) -> None:
    with pytest.raises(WorkflowError):
        Publication.from_json(junk)


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a.b", "-a", "a" * 65, None, "a b", "ä", "a\n"])
def test_names_are_parts_of_addresses(name: Json) -> None:
    with pytest.raises(WorkflowError, match="cannot be the name"):
        publish(text_to_image(), OBJECT_INFO, name)


def test_what_changes_nothing_is_not_asked_for() -> None:
    graph = demo_prompt()
    assert "denoise" in names(publish(graph, None, "test"))  # what the nodes are is not known
    info = {**OBJECT_INFO}

    def found(**sampler: Json) -> list[str]:
        changed = {**graph, "6": {**graph["6"], "inputs": {**graph["6"]["inputs"], **sampler}}}
        return names(publish(changed, info, "test"))

    assert found() == USUAL
    assert found(denoise=0.5) == [*USUAL[:7], "denoise", *USUAL[7:]]
    assert found(cfg=1.0) == [name for name in USUAL if name != "negative_prompt"]
    assert found(cfg=1.5) == USUAL
    latent = {"latent_image": ["20", 0]}
    info["VAEEncode"] = {"input": {"required": {"pixels": ["IMAGE"], "vae": ["VAE"]}}, "output": ["LATENT"]}
    graph = {**graph, "20": {"class_type": "VAEEncode", "inputs": {"pixels": ["21", 0], "vae": ["1", 2]}},
             "21": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}  # fmt: skip
    assert "denoise" in found(**latent)
    graph["20"] = {"class_type": "VideoLatent", "inputs": {"width": 64, "length": 9, "batch_size": 1}}
    info["VideoLatent"] = {
        "input": {"required": {"width": ["INT", {}], "length": ["INT", {}], "batch_size": ["INT", {"min": 1}]}},
        "output": ["LATENT"],
    }
    assert {"denoise", "batch_size"}.isdisjoint(found(**latent)) and "length" in found(**latent)


def test_measures_of_single_nodes() -> None:
    """Each LoRA loader has a strength of its own, and each ControlNet; a padding has its four sides."""
    graph = demo_prompt()
    info = {
        **OBJECT_INFO,
        "LoraLoader": {
            "input": {"required": {"model": ["MODEL"], "clip": ["CLIP"], "lora_name": [["a.safetensors"], {}],
                                   "strength_model": ["FLOAT", {"min": -100.0, "max": 100.0}],
                                   "strength_clip": ["FLOAT", {"min": -100.0, "max": 100.0}]}},
            "output": ["MODEL", "CLIP"],
        },
        "ControlNetApply": {
            "input": {"required": {"conditioning": ["CONDITIONING"], "control_net": ["CONTROL_NET"],
                                   "image": ["IMAGE"], "strength": ["FLOAT", {"min": 0.0, "max": 10.0}]}},
            "output": ["CONDITIONING"],
        },
        "Pad": {"input": {"required": {side: ["INT", {"min": 0}] for side in ("left", "top", "right", "bottom")}},
                "output": ["IMAGE"]},
        "ControlNetLoader": {"input": {"required": {}}, "output": ["CONTROL_NET"]},
    }  # fmt: skip
    for number, weight in (("20", 0.5), ("21", 0.5)):
        model = ["1", 0] if number == "20" else ["20", 0]
        inputs = {"model": model, "clip": [model[0], 1], "lora_name": "a.safetensors"}
        weights = {"strength_model": weight, "strength_clip": weight}
        graph[number] = {"class_type": "LoraLoader", "inputs": inputs | weights}
    graph["6"]["inputs"]["model"] = ["21", 0]
    applied = {"conditioning": ["3", 0], "control_net": ["24", 0], "image": ["23", 0], "strength": 0.8}
    graph["22"] = {"class_type": "ControlNetApply", "inputs": applied}
    graph["6"]["inputs"]["positive"] = ["22", 0]
    graph["23"] = {"class_type": "Pad", "inputs": {"left": 1, "top": 2, "right": 3, "bottom": 4}}
    graph["24"] = {"class_type": "ControlNetLoader", "inputs": {}}
    made = publish(graph, info, "test")
    assert made.find_input("lora_strength").targets == (("20", "strength_model"), ("20", "strength_clip"))  # pyright: ignore
    assert made.find_input("lora_strength_2").targets == (("21", "strength_model"), ("21", "strength_clip"))  # pyright: ignore
    assert "a.safetensors" in made.find_input("lora_strength").description  # pyright: ignore
    assert {"controlnet_strength", "left", "top", "right", "bottom"} <= set(names(made))


def test_a_seed_of_a_stack_that_picks_nothing_is_no_input() -> None:
    info = json.loads(json.dumps(OBJECT_INFO))
    info["LorchestraLoraStack"]["input"]["optional"]["pick_seed"] = info["KSampler"]["input"]["required"]["seed"]
    for pick, expected in (("all", ["seed"]), ("one", ["seed", "seed_2"])):
        rows = json.dumps({"groups": [{"name": "g", "pick": pick}], "loras": [{"lora": "a", "group": "g"}]})
        graph = dict(published(text_to_image()).graph)
        graph["10"] = {
            "class_type": "LorchestraLoraStack",
            "inputs": {"model": ["4", 0], "loras": rows, "pick_seed": 3},
        }
        graph["3"] = {**graph["3"], "inputs": {**graph["3"]["inputs"], "model": ["10", 0]}}
        found = [item for item in publish(graph, info, "test").inputs if item.role == "seed"]
        assert [item.name for item in found] == expected
        assert found[0].targets[0][0] == "3"


def test_a_zeroed_conditioning_is_no_negative_prompt() -> None:
    workflow = text_to_image()
    workflow["nodes"][2] = node(7, "ConditioningZeroOut", [], {"conditioning": 2})
    workflow["links"][1] = [2, 6, 0, 7, 0, "CONDITIONING"]
    assert "negative_prompt" not in names(published(workflow))


def test_a_schedule_is_no_prompt() -> None:
    """Its text reaches the sampler, too: through the model that it changes."""
    folder = Path(__file__).parents[3] / "example_workflows"
    made = publish(json.loads((folder / "lora_schedule.json").read_text(encoding="utf-8")), None, "example")
    assert names(made)[:3] == ["prompt", "negative_prompt", "loras"]
    assert made.inputs[0].default == "a lighthouse by the sea, evening light"


def test_one_value_for_samplers_that_share_the_work() -> None:
    workflow = text_to_image()
    workflow["nodes"] += [
        node(13, "KSampler", [5, "fixed", 20, 3, "euler", "karras", 1], {"latent_image": 13, "model": 14,
             "positive": 15, "negative": 16}),
        node(18, "VAEDecode", [], {"samples": 17, "vae": 18}),
        node(19, "SaveImage", ["b"], {"images": 19}),
    ]  # fmt: skip
    workflow["links"] += [
        [13, 3, 0, 13, 0, "LATENT"], [14, 4, 0, 13, 0, "MODEL"], [15, 6, 0, 13, 0, "CONDITIONING"],
        [16, 7, 0, 13, 0, "CONDITIONING"], [17, 13, 0, 18, 0, "LATENT"], [18, 4, 2, 18, 0, "VAE"],
        [19, 18, 0, 19, 0, "IMAGE"],
    ]  # fmt: skip
    made = published(workflow)
    assert [name for name in names(made) if name.startswith(("seed", "steps", "cfg"))] == [
        "seed", "seed_2", "steps", "cfg", "cfg_2",
    ]  # fmt: skip
    assert made.find_input("steps").targets == (("3", "steps"), ("13", "steps"))  # pyright: ignore
    assert [item.name for item in made.outputs] == ["image", "image_2"]


def test_app_mode_is_what_its_author_chose() -> None:
    workflow = text_to_image(id="e13112f7-3d09-4ae1-9e84-633a0627d945")
    data = {
        "inputs": [
            [6, "text"],
            ["e13112f7-3d09-4ae1-9e84-633a0627d945:5:width", "width", {"height": 3}],
            ["99", "x"],
            [7],
        ],
        "outputs": ["9"],
    }
    made = published(workflow | {"extra": {"linearData": data}})
    assert [(item.name, item.source) for item in made.inputs] == [
        ("prompt", "app"), ("width", "app"), ("seed", "usual"),
    ]  # fmt: skip
    assert made.notes == (
        "App mode's input 3 (99, x) is not there, or has no effect; it is left out",
        "App mode's input 4 is [7], which names no widget; it is left out",
    )


def test_app_mode_names_widgets_in_subgraphs_without_their_host() -> None:
    workflow = with_subgraph([7], depth=1)
    workflow["extra"] = {"linearData": {"inputs": [["1", "blur_radius"]]}}
    made = published(workflow)
    assert [(item.name, item.node, item.source, item.default) for item in made.inputs] == [
        ("radius", "20:1", "app", 7)
    ]  # fmt: skip
    again = dict(workflow["nodes"][1], id=21, inputs=[{"name": "image", "type": "IMAGE", "link": 32}])
    save = node(22, "SaveImage", ["y"], {"images": 33})
    links = [*workflow["links"], [32, 8, 0, 21, 0, "IMAGE"], [33, 21, 0, 22, 0, "IMAGE"]]
    twice = published(workflow | {"nodes": [*workflow["nodes"], again, save], "links": links})
    assert "App mode's input 1 (1, blur_radius) may be any of several; it is left out" in twice.notes


def test_titles_name_inputs_and_outputs() -> None:
    workflow = text_to_image()
    workflow["nodes"][1]["title"] = "the $Scene text"
    workflow["nodes"][4]["title"] = "$quality(steps, cfg)"
    workflow["nodes"][6]["title"] = "#portrait"
    made = published(workflow)
    assert names(made)[:3] == ["scene", "quality_steps", "quality_cfg"]
    assert made.find_input("scene").role == "prompt"  # pyright: ignore
    assert "steps" not in names(made)
    assert made.outputs[0].name == "portrait"


def test_what_stands_on_a_subgraphs_own_node() -> None:
    made = published(with_subgraph([7]))
    assert [(item.name, item.source) for item in made.inputs] == [("image", "usual"), ("radius", "subgraph")]


def test_media_are_sent_or_named() -> None:
    made = published(with_subgraph([7]))
    image = made.inputs[0]
    assert (image.kind, image.default) == ("image", "here.png")
    assert sorted(image.schema["anyOf"][0]) == ["description", "maxLength", "minLength", "type"]


def revised(*rows: Json, outputs: Json = (), **more: Json) -> Publication:
    said = {"inputs": list(rows), "outputs": list(outputs)} | more
    return published(text_to_image(extra={"lorchestra": said}))


def test_a_person_renames_describes_hides_reorders_bounds_and_defaults() -> None:
    made = revised(
        {
            "node": "3",
            "widget": "steps",
            "name": "quality",
            "title": "Quality",
            "minimum": 4,
            "maximum": 50,
            "default": 8,
        },
        {"node": "6", "widget": "text", "description": "The scene.", "required": True},
        {"node": "3", "widget": "denoise", "hidden": True},
        {"node": "3", "widget": "sampler_name", "choices": ["heun"], "default": "heun"},
        {"node": "9", "widget": "filename_prefix", "name": "file"},
        outputs=[{"node": "9", "name": "picture", "description": "What is shown."}],
        description="A lighthouse.",
    )
    assert names(made)[:4] == ["quality", "prompt", "sampler", "file"]
    assert "denoise" not in names(made)
    schema = schema_of(made)
    assert schema["required"] == ["prompt"]
    assert schema["description"] == "A lighthouse."
    assert (
        schema["properties"]["quality"] | {"minimum": 4, "maximum": 50, "default": 8, "title": "Quality"}
        == (schema["properties"]["quality"])
    )
    assert schema["properties"]["sampler"]["enum"] == ["heun"]
    assert made.find_input("file").source == "person"  # pyright: ignore
    assert (made.outputs[0].name, made.outputs[0].description) == ("picture", "What is shown.")


def test_bounds_that_the_own_value_breaks_leave_no_default() -> None:
    steps = revised({"node": "3", "widget": "steps", "maximum": 8}).find_input("steps")
    assert steps is not None
    assert steps.default is None


def test_rows_for_what_is_gone_are_told() -> None:
    made = revised({"node": "77", "widget": "x", "name": "old"}, outputs=[{"node": "5"}])
    assert made.notes == (
        "the input 77.x: there is no such widget any more, or it is linked; what was said of it is lost",
        "the output of node 5: it is none any more; what was said of it is lost",
    )


STEPS = {"node": "3", "widget": "steps"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (STEPS | {"name": "a b"}, "cannot be a name"),
        (STEPS | {"name": "prompt"} | {"node": "3"}, ""),
        (STEPS | {"minimum": 0}, "the node takes 1 at the least"),
        (STEPS | {"maximum": 20000}, "the node takes 10000 at the most"),
        (STEPS | {"minimum": 2.5}, "expected a whole number"),
        (STEPS | {"minimum": 9, "maximum": 3}, "its minimum is above its maximum"),
        (STEPS | {"default": 0}, "its default is not valid: it is 0; the least is 1"),
        (STEPS | {"default": "x"}, "expected a whole number"),
        (STEPS | {"choices": [1]}, "for texts alone"),
        (STEPS | {"max_items": 5}, "for lists of LoRAs alone"),
        (STEPS | {"required": 1}, "expected true or false"),
        (STEPS | {"title": 7}, "expected text"),
        (STEPS | {"colour": "red"}, "which is not known"),
        ({"node": "3", "widget": "sampler_name", "choices": ["nope"]}, "the node has no choice 'nope'"),
        ({"node": "6", "widget": "text", "minimum": 1}, "is for numbers alone"),
    ],
)
def test_what_a_person_cannot_say(row: Json, message: str) -> None:
    if not message:
        assert names(revised(row))[:2] == ["prompt", "prompt_2"]
        return
    with pytest.raises(WorkflowError, match=message):
        revised(row)


def test_two_inputs_cannot_be_given_one_name() -> None:
    with pytest.raises(WorkflowError, match="two inputs have the name 'x'"):
        revised(STEPS | {"name": "x"}, {"node": "3", "widget": "cfg", "name": "x"})


def test_a_draft_tells_all_that_cannot_be_and_keeps_the_rest() -> None:
    rows = [STEPS | {"minimum": 0, "name": "rounds"}, {"node": "3", "widget": "cfg", "name": "x"}]
    rows += [{"node": "6", "widget": "text", "name": "x"}, {"node": "3", "widget": "seed", "hidden": True}]
    said = {"inputs": rows, "outputs": [{"node": "9", "name": "a b"}]}
    made = draft(text_to_image(extra={"lorchestra": said}), OBJECT_INFO, "portrait")
    assert [(one.path, one.error.place) for one in made.problems] == [
        ("inputs[0]", "the input 3.steps"), ("inputs[2]", ""), ("outputs[0]", "the output of node 9"),
    ]  # fmt: skip
    shown = {one.place: one.item.name for one in made.inputs}
    assert [one.item for one in made.inputs] == list(made.publication.inputs)
    assert {one.place: one.row for one in made.found if one.row is not None} == {
        ("3", "steps"): 0, ("3", "cfg"): 1, ("6", "text"): 2, ("3", "seed"): 3,
    }  # fmt: skip
    assert [shown["3", "steps"], shown["3", "cfg"], shown["6", "text"]] == ["steps", "x", "x_2"]
    assert ("3", "seed") not in shown and ("3", "seed") in (found := {one.place for one in made.found})
    assert ("9", "filename_prefix") in made.others and not set(made.others) & found
    assert made.outputs[0].name == "image"


def graph(**nodes: Json) -> Json:
    return {id_: {"class_type": kind, "inputs": inputs} for id_, (kind, inputs) in nodes.items()}


SAVE = ("SaveImage", {"images": ["1", 0], "filename_prefix": "x"})


def nested(depth: int) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        (None, "which is no workflow"),
        ([], "which is no workflow"),
        ({}, "there are no nodes in it"),
        ({"1": 5}, "node 1: it is 5; this is not a workflow"),
        ({"1": {"inputs": {}}}, "node 1: it has no class_type"),
        (graph(**{"1": SAVE}), r"node 1 \(SaveImage\): links lead in a circle"),
        (graph(**{"2": SAVE}), r"node 2 \(SaveImage\): its 'images' is linked to node 1, which is not there"),
        (graph(**{"1": ("Gone", {}), "2": SAVE}), r"node 1 \(Gone\): this ComfyUI has no such node"),
        (graph(**{"1": ("LoadImage", {"image": "a.png"})}), "nothing in the workflow saves or shows"),
        (
            graph(**{"1": ("VAEDecode", {}), "2": SAVE}),
            r"node 1 \(VAEDecode\): nothing is connected to its samples, vae",
        ),
        (graph(**{"1": ("LoadImage", {"image": float("nan")}), "2": SAVE}), "it is nan, which is not a number"),
        (graph(**{"1": ("LoadImage", {"image": nested(10_000)}), "2": SAVE}), "nested more than 100 levels"),
        ({"nodes": []}, "nothing in the workflow saves or shows"),
    ],
)
def test_what_is_no_workflow(workflow: Json, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        published(workflow)


def test_a_part_that_cannot_run_is_told() -> None:
    nodes = {"1": ("LoadImage", {"image": "a.png"}), "2": SAVE, "3": ("VAEDecode", {}),
             "4": ("SaveImage", {"images": ["3", 0]})}  # fmt: skip
    made = published(graph(**nodes))
    assert made.notes == (
        "node 3 (VAEDecode): nothing is connected to its samples, vae, so a part of the workflow does not run",
    )


def large(copies: int) -> Json:
    """The usual workflow, many times beside itself."""
    nodes, links = [], []
    for copy in range(copies):
        base = text_to_image()
        for one in base["nodes"]:
            slots = [dict(slot, link=slot["link"] and slot["link"] + 100 * copy) for slot in one["inputs"]]
            nodes.append(one | {"id": one["id"] + 100 * copy, "inputs": slots})
        for id_, origin, slot, target, end, kind in base["links"]:
            links.append([id_ + 100 * copy, origin + 100 * copy, slot, target + 100 * copy, end, kind])
    return {"nodes": nodes, "links": links}


def test_two_hundred_nodes_in_a_tenth_of_a_second() -> None:
    workflow = large(29)
    assert len(workflow["nodes"]) == 203

    def seconds() -> float:
        start = time.process_time()
        schema_of(published(workflow))
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.1


def test_the_documentation_shows_what_a_person_may_say() -> None:
    text = (Path(__file__).parents[3] / "docs/api-inputs.md").read_text(encoding="utf-8")
    said = json.loads(
        next(part for part in text.split("```json\n") if part.startswith('{"lorchestra"')).split("```")[0]
    )
    made = published(text_to_image(extra=said))
    assert names(made)[:3] == ["scene", "steps", "filename_prefix"]
    assert made.outputs[0].name == "picture"
    assert made.description == "A lighthouse in any weather."
