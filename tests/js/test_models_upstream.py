"""What the face sends of a graph is enough for Python to find the same model, also where nodes are muted."""

from __future__ import annotations

from typing import Any

import pytest
from support import graphs, node_js

from lorchestra.workflow.prompts import LEFT_OUT
from lorchestra.workflow.switches import SWITCHES
from lorchestra.workflow.upstream import find_base_path

pytestmark = pytest.mark.skipif(node_js.NODE is None, reason="no Node was found")

PROMPTS = [({"9": graphs.stack(), **graph}, path) for _, graph, path in graphs.CASES]
NAMES = [name for name, _, _ in graphs.CASES]

AS_GRAPH = """
    const getNodeById = (id) => graph.nodes.find((node) => node.id === String(id)) ?? null;
    const graph = { nodes: [], _links: new Map(), getNodeById };
    for (const [id, { class_type, inputs }] of Object.entries(prompt)) {
        const outputs = [0, 1, 2, 3].map(() => ({ name: "", type: "*", links: [] }));
        graph.nodes.push({ id, graph, type: class_type, mode: 2, inputs: [], outputs, widgets: [] });
    }
    for (const node of graph.nodes) {
        for (const [name, value] of Object.entries(prompt[node.id].inputs)) {
            if (!Array.isArray(value)) { node.widgets.push({ name, value }); continue; }
            const id = graph._links.size + 1;
            const [origin_id, origin_slot] = value;
            graph._links.set(id, { id, origin_id, origin_slot, target_id: node.id, target_slot: node.inputs.length });
            node.inputs.push({ name, type: "*", link: id });
        }
    }
    return graph;
"""
"""A prompt as a graph of muted nodes, which is what a prompt leaves out."""


def found(prompt: dict[str, Any]) -> str | None:
    return find_base_path(prompt, "9", kind=graphs.kind, find=graphs.find, accepts=graphs.accepts)


def test_selectors() -> None:
    assert node_js.evaluate("badges/graph", "return [...values.SELECTORS].sort()") == sorted(
        {switch.selector for switch in SWITCHES}
    )


def test_what_is_sent_of_a_prompt() -> None:
    long = {
        **graphs.node("Mine", text="x" * 30_000, prompt="y" * 1000, more={"a": 1}, nothing=None, other=["1", 0]),
        "_meta": {},
    }
    prompts = [prompt for prompt, _ in PROMPTS]
    sent = node_js.evaluate(
        "badges/graph", 'return value.map((prompt) => values.pruned(prompt, ["9"]))', [*prompts, {"9": long}]
    )
    assert [found(prompt) for prompt in sent[:-1]] == [path for _, path in PROMPTS]
    inputs = {"text": LEFT_OUT, "prompt": "y" * 1000, "more": "…", "nothing": "…", "other": ["1", 0]}
    assert sent[-1] == {"9": {"class_type": "Mine", "inputs": inputs}}


def test_what_would_be_sent_of_muted_nodes() -> None:
    body = f"""const asGraph = (prompt) => {{ {AS_GRAPH} }};
        return value.map((prompt) => {{
            const node = asGraph(prompt).nodes.find((one) => one.id === "9");
            return values.completed({{}}, [{{ id: "9", hosts: [], node }}]);
        }});"""
    completed = node_js.evaluate("badges/inactive", body, [prompt for prompt, _ in PROMPTS])
    assert [found(prompt) for prompt in completed] == [path for _, path in PROMPTS]
