"""Other people's workflow files, with faults that they have: whatever is converted in them, no other link changes.

Each file is saved and opened again afterwards, and its links are what they were, but for those of the LoRA Stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.exchange import LOADER_OUT, STACK, Exchange, around, saved_node
from support.frontends import NEWEST

from lorchestra.demo.prompt import CHECKPOINT

pytestmark = pytest.mark.slow

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
LINKS = """() => {
    const graph = app.canvas.graph, found = {};
    const get = (id) => graph.getLink?.(id) ?? graph.links.get?.(id) ?? graph.links[id];
    const add = (key, id) => {
        const link = get(id);
        if (!link) return;
        const from = graph.getNodeById(link.origin_id);
        found[key] = from ? `${from.type}.${link.origin_slot}` : `input.${link.origin_slot}`;
    };
    for (const node of graph.nodes) {
        (node.inputs ?? []).forEach((slot) => { if (slot.link != null) add(`${node.type} ${slot.name}`, slot.link); });
    }
    (graph.outputs ?? []).forEach((slot, at) => {
        const ids = [...new Set(slot.linkIds)].filter(get);
        ids.forEach((id, n) => add(`output.${at}.${n}`, id));
    });
    return found;
}"""
"""`type name` of an input → `type.slot` of what it comes from, as ComfyUI follows links."""
BROKEN = """async () => {
    const { workflow } = await app.graphToPrompt();
    const graphs = [workflow, ...(workflow.definitions?.subgraphs ?? [])];
    return graphs.flatMap((graph) => {
        const ids = new Set(graph.links.map((link) => (Array.isArray(link) ? link[0] : link.id)));
        const named = ({ type, inputs }) => (inputs ?? []).map((slot) => [type, slot.name, slot.link]);
        return graph.nodes.flatMap(named).filter(([, , link]) => link != null && !ids.has(link));
    });
}"""
"""The inputs of the workflow, as it would be saved, whose link is not there. Fails where ComfyUI cannot save it."""


class Foreign(Exchange):
    """A workflow file of other people's, and what becomes of it."""

    def open(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate(
            "(workflow) => app.loadGraphData(workflow, true, true, null, { showMissingNodesDialog: false })", workflow
        )
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(300)

    def wires(self) -> dict[str, str]:
        return self.page.evaluate(LINKS)

    def saved(self) -> dict[str, Any]:
        """As a file, which ComfyUI can open again and run."""
        assert self.page.evaluate(BROKEN) == []
        return self.face.workflow()

    def opened_again(self) -> dict[str, str]:
        """The links after saving and opening."""
        self.open(self.saved())
        self.saved()
        return self.wires()


@pytest.fixture
def foreign(face: Any, pack_folder: str) -> Iterator[Foreign]:
    found = Foreign(face, pack_folder)
    found.close_toasts()
    yield found
    found.close_toasts()


def workflow(nodes: list[dict[str, Any]], links: list[list[Any]], **more: Any) -> dict[str, Any]:
    """A file in which nodes and links agree."""
    for number, origin, slot, target, into, _ in links:
        by_id = {node["id"]: node for node in nodes}
        by_id[target]["inputs"][into]["link"] = number
        by_id[origin]["outputs"][slot]["links"].append(number)
    return {
        "last_node_id": max(node["id"] for node in nodes),
        "last_link_id": max(link[0] for link in links),
        "nodes": nodes, "links": links, "groups": [], "config": {}, "extra": {}, "version": 0.4, **more,
    }  # fmt: skip


def core_loader(number: int = 2) -> dict[str, Any]:
    return saved_node(number, "LoraLoader", ["model:MODEL", "clip:CLIP"], LOADER_OUT, [WARM, 0.8, 0.5])


AROUND = [
    [1, 1, 0, 2, 0, "MODEL"],
    [2, 1, 1, 2, 1, "CLIP"],
    [3, 2, 0, 98, 0, "MODEL"],
    [4, 2, 1, 99, 0, "CLIP"],
]
CONVERTED = {
    f"{STACK} model": "CheckpointLoaderSimple.0",
    f"{STACK} clip": "CheckpointLoaderSimple.1",
    "ModelSamplingDiscrete model": f"{STACK}.0",
    "CLIPTextEncode clip": f"{STACK}.1",
}


def copied(links: list[list[Any]]) -> list[list[Any]]:
    return json.loads(json.dumps(links))


def beside_missing(loader: dict[str, Any]) -> dict[str, Any]:
    """A loader between nodes of a pack that is not installed, which have links among themselves, too."""
    nodes = [
        saved_node(1, "Their Checkpoint", [], ["MODEL:MODEL", "CLIP:CLIP", "VAE:VAE"], [CHECKPOINT]),
        loader,
        saved_node(3, "Their Sampler", ["vae:VAE", "model:MODEL", "extra:*"], ["LATENT:LATENT"], [1, "euler"]),
        saved_node(4, "Their Text", ["clip:CLIP"], ["CONDITIONING:CONDITIONING"], ["a cat"]),
        saved_node(5, "Their Preview", ["latent:LATENT"], []),
    ]
    links = [
        [1, 1, 0, 2, 0, "MODEL"],
        [2, 1, 1, 2, 1, "CLIP"],
        [3, 2, 0, 3, 1, "MODEL"],
        [4, 2, 1, 4, 0, "CLIP"],
        [5, 1, 2, 3, 0, "VAE"],
        [6, 3, 0, 5, 0, "LATENT"],
    ]
    return workflow(nodes, links)


@pytest.mark.parametrize("kind", ["core's loader", "a loader of the missing pack"])
def test_beside_nodes_of_a_missing_pack(foreign: Foreign, kind: str) -> None:
    rows = [{}, {"type": "PowerLoraLoaderHeaderWidget"}, {"on": True, "lora": WARM, "strength": 0.8}]
    theirs = saved_node(2, "Power Lora Loader (rgthree)", ["model:MODEL", "clip:CLIP"], LOADER_OUT, rows)
    foreign.open(beside_missing(core_loader() if kind.startswith("core") else theirs))
    foreign.convert(2)
    expected = {
        f"{STACK} model": "Their Checkpoint.0",
        f"{STACK} clip": "Their Checkpoint.1",
        "Their Sampler vae": "Their Checkpoint.2",
        "Their Sampler model": f"{STACK}.0",
        "Their Text clip": f"{STACK}.1",
        "Their Preview latent": "Their Sampler.0",
    }
    assert foreign.wires() == expected
    assert foreign.opened_again() == expected
    assert foreign.rows()[0]["lora"] == WARM


def test_links_that_are_lost_to_a_missing_pack(foreign: Foreign) -> None:
    """An output that a LoRA Stack does not have; what it led to must not be saved with a link that is gone."""
    outputs = [*LOADER_OUT, "trigger_words:STRING"]
    rows = ["", [{"name": "warm", "strength": 0.8, "active": True}]]
    loader = saved_node(2, "Lora Loader (LoraManager)", ["model:MODEL", "clip:CLIP"], outputs, rows)
    show = saved_node(3, "Their Text", ["text:STRING"], [])
    foreign.open(workflow([*around(loader), show], [*copied(AROUND), [5, 2, 2, 3, 0, "STRING"]]))
    foreign.convert(2)
    assert "trigger_words" in foreign.toasts()
    assert foreign.wires() == CONVERTED
    assert foreign.opened_again() == CONVERTED


def stale_output(file: dict[str, Any]) -> None:
    """The loader's output names the checkpoint's link to the VAE's node, and one that is not there at all."""
    loader = next(node for node in file["nodes"] if node["id"] == 2)
    loader["outputs"][0]["links"] += [5, 77]


def stale_input(file: dict[str, Any]) -> None:
    """A widget's input names a link that is not there."""
    loader = next(node for node in file["nodes"] if node["id"] == 2)
    widget = {"name": "strength_model", "type": "FLOAT", "link": 77, "widget": {"name": "strength_model"}}
    loader["inputs"].append(widget)


def unnamed_link(file: dict[str, Any]) -> None:
    """The loader's output does not name the link that the sampling's node gets its model by."""
    loader = next(node for node in file["nodes"] if node["id"] == 2)
    loader["outputs"][0]["links"] = []


def low_count(file: dict[str, Any]) -> None:
    """New links would be numbered from 1 on."""
    file["last_link_id"] = 0


def low_count_in_the_middle(file: dict[str, Any]) -> None:
    file["last_link_id"] = 4


@pytest.mark.parametrize("fault", [stale_output, stale_input, unnamed_link, low_count, low_count_in_the_middle])
def test_what_a_file_says_wrongly_of_links(foreign: Foreign, fault: Callable[[dict[str, Any]], None]) -> None:
    decode = saved_node(3, "VAEDecode", ["samples:LATENT", "vae:VAE"], ["IMAGE:IMAGE"])
    latent = saved_node(4, "EmptyLatentImage", [], ["LATENT:LATENT"], [64, 64, 1])
    preview = saved_node(5, "PreviewImage", ["images:IMAGE"], [])
    links = [*copied(AROUND), [5, 1, 2, 3, 1, "VAE"], [6, 4, 0, 3, 0, "LATENT"], [7, 3, 0, 5, 0, "IMAGE"]]
    file = workflow([*around(core_loader()), decode, latent, preview], links)
    fault(file)
    foreign.open(file)
    foreign.convert(2)
    expected = {
        **CONVERTED,
        "VAEDecode vae": "CheckpointLoaderSimple.2",
        "VAEDecode samples": "EmptyLatentImage.0",
        "PreviewImage images": "VAEDecode.0",
    }
    assert foreign.wires() == expected
    assert foreign.opened_again() == expected
    prompt = foreign.face.prompt()
    assert {node["class_type"] for node in prompt.values()} >= {"VAEDecode", "PreviewImage"}


INNER, OTHER = 2, 3


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([13, 14], {"output.0.0": f"{STACK}.0", "output.0.1": "ModelSamplingDiscrete.0"}),
        ([14, 13], {"output.0.0": "ModelSamplingDiscrete.0", "output.0.1": f"{STACK}.0"}),
        ([77, 13], {"output.0.0": f"{STACK}.0"}),
        ([13, 77], {"output.0.0": f"{STACK}.0"}),
    ],
    ids=["first", "second", "after one that is not there", "before one that is not there"],
)
def test_a_subgraphs_output_with_several_links(foreign: Foreign, ids: list[int], expected: dict[str, str]) -> None:
    inner = [
        core_loader(INNER),
        saved_node(OTHER, "ModelSamplingDiscrete", ["model:MODEL"], ["MODEL:MODEL"], ["eps", False]),
    ]
    links = [
        {"id": 10, "origin_id": -10, "origin_slot": 0, "target_id": INNER, "target_slot": 0, "type": "MODEL"},
        {"id": 11, "origin_id": -10, "origin_slot": 1, "target_id": INNER, "target_slot": 1, "type": "CLIP"},
        {"id": 12, "origin_id": -10, "origin_slot": 0, "target_id": OTHER, "target_slot": 0, "type": "MODEL"},
        {"id": 13, "origin_id": INNER, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "MODEL"},
        {"id": 14, "origin_id": OTHER, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "MODEL"},
        {"id": 15, "origin_id": INNER, "origin_slot": 1, "target_id": -20, "target_slot": 1, "type": "CLIP"},
    ]  # fmt: skip
    links = [link for link in links if link["id"] != 14 or 14 in ids]
    inner[0]["inputs"][0]["link"], inner[0]["inputs"][1]["link"], inner[1]["inputs"][0]["link"] = 10, 11, 12
    inner[0]["outputs"][0]["links"], inner[0]["outputs"][1]["links"] = [13], [15]
    inner[1]["outputs"][0]["links"] = [14] if 14 in ids else []
    uuid = "11111111-2222-4333-8444-555555555555"
    edge = {"bounding": [0, 0, 100, 100]}
    subgraph = {
        "id": uuid, "name": "inside", "version": 1, "revision": 0, "config": {}, "groups": [], "extra": {},
        "state": {"lastGroupId": 0, "lastNodeId": 99, "lastLinkId": 15, "lastRerouteId": 0},
        "inputNode": {"id": -10, **edge}, "outputNode": {"id": -20, **edge}, "widgets": [],
        "inputs": [
            {"id": "a0000000-0000-4000-8000-000000000001", "name": "model", "type": "MODEL", "linkIds": [10, 12]},
            {"id": "a0000000-0000-4000-8000-000000000002", "name": "clip", "type": "CLIP", "linkIds": [11]},
        ],
        "outputs": [
            {"id": "a0000000-0000-4000-8000-000000000003", "name": "MODEL", "type": "MODEL", "linkIds": ids},
            {"id": "a0000000-0000-4000-8000-000000000004", "name": "CLIP", "type": "CLIP", "linkIds": [15]},
        ],
        "nodes": inner, "links": links,
    }  # fmt: skip
    host = saved_node(2, uuid, ["model:MODEL", "clip:CLIP"], LOADER_OUT)
    file = workflow(around(host), copied(AROUND), definitions={"subgraphs": [subgraph]})
    enter = """() => {
        const host = app.rootGraph.nodes.find((node) => node.subgraph);
        app.canvas.openSubgraph(host.subgraph, host);
    }""".replace("app.rootGraph", "(app.rootGraph ?? app.graph.rootGraph ?? app.graph)")
    leave = "() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph ?? app.graph)"
    foreign.open(file)
    foreign.page.evaluate(enter)
    foreign.page.wait_for_timeout(300)
    loader = foreign.page.evaluate("app.canvas.graph.nodes.find((one) => one.type === 'LoraLoader').id")
    before = foreign.wires()
    if foreign.face.version == NEWEST:  # keeps only one of them when it opens the file
        expected = {"output.0.0": f"{STACK}.0"}
    assert {key: source.replace(STACK, "LoraLoader") for key, source in expected.items()}.items() <= before.items()
    foreign.convert(loader)
    inside = {
        f"{STACK} model": "input.0",
        f"{STACK} clip": "input.1",
        "ModelSamplingDiscrete model": "input.0",
        "output.1.0": f"{STACK}.1",
        **expected,
    }
    assert foreign.wires() == inside
    foreign.page.evaluate(leave)
    foreign.page.wait_for_timeout(300)
    foreign.opened_again()
    prompt = foreign.face.prompt()
    types = {key: node["class_type"] for key, node in prompt.items()}
    source = next(node for key, node in prompt.items() if key == "98")["inputs"]["model"][0]
    assert f"{types[source]}.0" == expected["output.0.0"]
    foreign.page.evaluate(enter)
    foreign.page.wait_for_timeout(300)
    assert foreign.wires() == inside
    foreign.page.evaluate(leave)


ENTER = """() => {
    const root = app.rootGraph ?? app.graph.rootGraph ?? app.graph;
    const host = root.nodes.find((node) => node.subgraph);
    app.canvas.openSubgraph(host.subgraph, host);
}"""
LEAVE = "() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph ?? app.graph)"
UUID = "11111111-2222-4333-8444-555555555555"
HOLDING = ["name", "strength", "seed"]
"""What the subgraph's node shows outside: of the loader, and of another node."""


def shown_outside(values: list[dict[str, Any]], linked: bool = False) -> dict[str, Any]:
    """A loader in a subgraph whose name and strength its nodes outside hold, one node for each of the values."""
    widget = [{"name": name, "type": kind, "link": None, "widget": {"name": name}}
              for name, kind in (("lora_name", "COMBO"), ("strength_model", "FLOAT"))]  # fmt: skip
    loader = saved_node(INNER, "LoraLoaderModelOnly", ["model:MODEL"], ["MODEL:MODEL"], [LINES, 9])
    loader["inputs"] += widget
    latent = saved_node(OTHER, "EmptyLatentImage", [], ["LATENT:LATENT"], [64, 64, 1])
    latent["inputs"] = [{"name": "batch_size", "type": "INT", "link": 14, "widget": {"name": "batch_size"}}]
    for slot in range(3):
        loader["inputs"][slot]["link"] = 11 + slot
    loader["outputs"][0]["links"], latent["outputs"][0]["links"] = [15], [16]
    ends = [
        (11, -10, 0, INNER, 0, "MODEL"), (12, -10, 1, INNER, 1, "COMBO"), (13, -10, 2, INNER, 2, "FLOAT"),
        (14, -10, 3, OTHER, 0, "INT"), (15, INNER, 0, -20, 0, "MODEL"), (16, OTHER, 0, -20, 1, "LATENT"),
    ]  # fmt: skip
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    edge = {"bounding": [0, 0, 100, 100]}
    slots = [("model", "MODEL", 11), ("name", "COMBO", 12), ("strength", "FLOAT", 13), ("seed", "INT", 14)]
    subgraph = {
        "id": UUID, "name": "inside", "version": 1, "revision": 0, "config": {}, "groups": [], "extra": {},
        "state": {"lastGroupId": 0, "lastNodeId": 99, "lastLinkId": 99, "lastRerouteId": 0},
        "inputNode": {"id": -10, **edge}, "outputNode": {"id": -20, **edge}, "widgets": [],
        "inputs": [{"id": f"a0000000-0000-4000-8000-00000000000{n}", "name": name, "type": kind, "linkIds": [link]}
                   for n, (name, kind, link) in enumerate(slots)],
        "outputs": [{"id": f"b0000000-0000-4000-8000-00000000000{n}", "name": name, "type": name, "linkIds": [link]}
                    for n, (name, link) in enumerate([("MODEL", 15), ("LATENT", 16)])],
        "nodes": [loader, latent], "links": [dict(zip(keys, end, strict=True)) for end in ends],
    }  # fmt: skip
    hosts = []
    for number, held in enumerate(values):
        host = saved_node(20 + number, UUID, ["model:MODEL"], ["MODEL:MODEL", "LATENT:LATENT"], list(held.values()))
        host["inputs"] += [{"name": name, "type": kind, "link": None, "widget": {"name": name}}
                           for name, kind, _ in slots[1:]]  # fmt: skip
        hosts.append(host)
    nodes = [*around(), *hosts, saved_node(50, "PrimitiveInt", [], ["INT:INT"], [3, "fixed"])]
    links: list[list[Any]] = [[1, 1, 0, 20, 0, "MODEL"], [2, 1, 1, 99, 0, "CLIP"], [3, 20, 0, 98, 0, "MODEL"]]
    links.append([4, 50, 0, 20, 3, "INT"])
    if linked:
        nodes.append(saved_node(51, "PrimitiveFloat", [], ["FLOAT:FLOAT"], [0.25]))
        links.append([5, 51, 0, 20, 2, "FLOAT"])
    return workflow(nodes, links, definitions={"subgraphs": [subgraph]})


HELD = {"name": WARM, "strength": 0.5, "seed": 2}


def inside(foreign: Foreign) -> None:
    foreign.page.evaluate(ENTER)
    foreign.page.wait_for_timeout(300)


def outside(foreign: Foreign) -> None:
    foreign.page.evaluate(LEAVE)
    foreign.page.wait_for_timeout(300)


def shown(foreign: Foreign) -> list[list[list[Any]]]:
    """The widgets of the subgraph's nodes."""
    return foreign.page.evaluate(
        """() => (app.rootGraph ?? app.graph.rootGraph ?? app.graph).nodes.filter((node) => node.subgraph)
            .map((node) => (node.widgets ?? []).map(({ name, value }) => [name, value]))"""
    )


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_loader_whose_name_the_subgraphs_node_holds(foreign: Foreign, hosts: int) -> None:
    foreign.open(shown_outside([HELD] * hosts))
    before, around_it = shown(foreign), foreign.wires()
    assert [name for name, _ in before[0]] == HOLDING
    inside(foreign)
    loader = foreign.page.evaluate("app.canvas.graph.nodes.find((one) => one.type === 'LoraLoaderModelOnly').id")
    foreign.convert(loader)
    said = foreign.toasts()
    assert "name is no longer on the subgraph's node" in said
    assert "strength is no longer on the subgraph's node" in said
    rows = [{"lora": WARM, "model": 0.5, "clip": 0}]
    assert foreign.rows() == rows
    within = {
        f"{STACK} model": "input.0",
        "EmptyLatentImage batch_size": "input.1",
        "output.0.0": f"{STACK}.0",
        "output.1.0": "EmptyLatentImage.0",
    }
    assert foreign.wires() == within
    outside(foreign)
    kept = {key: source for key, source in around_it.items() if not key.endswith(("name", "strength"))}
    assert foreign.wires() == kept
    left = [[[name, value] for name, value in widgets if name == "seed"] for widgets in before]
    assert shown(foreign) == left
    prompt = foreign.face.prompt()
    stack = next(node for node in prompt.values() if node["class_type"] == STACK)
    assert json.loads(stack["inputs"]["loras"])["loras"] == rows
    latents = {key.split(":")[0]: node for key, node in prompt.items() if node["class_type"] == "EmptyLatentImage"}
    assert latents["20"]["inputs"]["batch_size"] == ["50", 0]
    assert foreign.opened_again() == kept
    assert shown(foreign) == left
    inside(foreign)
    assert foreign.wires() == within
    outside(foreign)


def test_a_loader_whose_name_the_subgraphs_node_holds_and_undo(foreign: Foreign) -> None:
    foreign.open(shown_outside([HELD]))
    before, links = shown(foreign), foreign.wires()
    inside(foreign)
    foreign.convert(
        foreign.page.evaluate("app.canvas.graph.nodes.find((one) => one.type === 'LoraLoaderModelOnly').id")
    )
    foreign.close_toasts()
    outside(foreign)
    foreign.face.press("Control+z")
    foreign.face.wait_for(lambda: shown(foreign) == before)
    outside(foreign)
    assert foreign.wires() == links
    assert not any(node["class_type"] == STACK for node in foreign.face.prompt().values())


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (shown_outside([HELD, {**HELD, "name": LINES}]), "the subgraph's 2 nodes have different values for lora_name"),
        (shown_outside([HELD], linked=True), "strength_model comes into the subgraph through a link"),
    ],
    ids=["different values", "a link from outside"],
)
def test_what_the_subgraphs_nodes_do_not_hold_as_one_value(foreign: Foreign, file: dict[str, Any], reason: str) -> None:
    foreign.open(file)
    inside(foreign)
    loader = foreign.page.evaluate("app.canvas.graph.nodes.find((one) => one.type === 'LoraLoaderModelOnly').id")
    assert foreign.menu(loader) == {"content": f"Convert to LoRA Stack ({reason})", "disabled": True}
    outside(foreign)


def test_types_that_do_not_go_together_are_said_before(foreign: Foreign) -> None:
    """ComfyUI would not make such a link any more; it was lost without a word."""
    theirs = saved_node(97, "Their Sampler", ["video_model:VIDEOMODEL"], [])
    nodes = [*around(core_loader()), theirs]
    foreign.open(workflow(nodes, [*copied(AROUND), [5, 2, 0, 97, 0, "VIDEOMODEL"]]))
    before = foreign.wires()
    assert foreign.menu(2) == {
        "content": "Convert to LoRA Stack (the input video_model takes no MODEL)",
        "disabled": True,
    }
    foreign.call("convert/convert", "convert", {"graph": None})
    assert "The node cannot be converted" in foreign.toasts()
    assert foreign.wires() == before


@pytest.mark.parametrize("how", ["refuses", "takes another slot", "throws"])
def test_a_conversion_that_changes_another_link_is_undone(foreign: Foreign, how: str) -> None:
    foreign.open(workflow(around(core_loader()), copied(AROUND)))
    before, file = foreign.wires(), foreign.saved()
    foreign.page.evaluate(
        """(how) => {
            const node = app.canvas.graph.getNodeById(98);
            const from = (slot, type, output, origin) => origin?.type === "LorchestraLoraStack";
            if (how === "refuses") node.onConnectInput = (...all) => !from(...all);
            else if (how === "throws") {
                node.onConnectInput = (...all) => { if (from(...all)) throw new Error("no more"); };
            } else {
                node.addInput("second", "MODEL");
                node.onBeforeConnectInput = () => 1;
            }
        }""",
        how,
    )
    foreign.page.evaluate("app.canvas.emitBeforeChange(); app.canvas.emitAfterChange();")
    foreign.page.evaluate("(id) => { app.canvas.graph.getNodeById(id).title = 'renamed'; }", 99)
    foreign.convert(2)
    said = foreign.toasts()
    assert "The conversion was undone" in said
    assert ("no more" if how == "throws" else "(#98): model") in said
    assert foreign.count(STACK) == 0
    assert foreign.count("LoraLoader") == 1
    assert foreign.wires() == before
    assert foreign.page.evaluate("app.canvas.graph.getNodeById(99).title") == "renamed"
    foreign.face.press("Control+y")
    foreign.page.wait_for_timeout(500)
    assert foreign.count(STACK) == 0
    assert [sorted(node["type"] for node in one["nodes"]) for one in (file, foreign.saved())] == [
        ["CLIPTextEncode", "CheckpointLoaderSimple", "LoraLoader", "ModelSamplingDiscrete"]
    ] * 2


def test_a_conversion_is_one_step_of_undo(foreign: Foreign) -> None:
    foreign.open(beside_missing(core_loader()))
    before = foreign.wires()
    foreign.convert(2)
    foreign.face.press("Control+z")
    foreign.face.wait_for(lambda: foreign.count(STACK) == 0)
    assert foreign.wires() == before
    assert foreign.opened_again() == before
