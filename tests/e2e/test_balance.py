"""How strong rows are, seen while their weights are dragged; and weights that a run suggests, set by a button."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import expect

WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
CONNECT = """([from, output, to, input]) => {
    const graph = app.canvas.graph, target = graph.getNodeById(to);
    graph.getNodeById(from).connect(output, target, target.inputs.findIndex((one) => one.name === input));
}"""
ROWS = """([id, text]) => {
    const node = app.canvas.graph.getNodeById(id);
    app.canvas.emitBeforeChange();
    node.widgets.find((one) => one.type === 'LORCHESTRA_LORAS').value = text;
    node.setSize([420, node.computeSize()[1]]);
    app.canvas.emitAfterChange();
}"""


def set_rows(face: Any, node: int, rows: list[dict[str, Any]]) -> None:
    face.page.evaluate(ROWS, [node, json.dumps({"version": 1, "loras": rows})])
    face.settle()


def shares(face: Any) -> list[int]:
    return [int(bar.get_attribute("aria-valuenow")) for bar in face.page.get_by_role("meter").all()]


def test_bars_follow_a_drag_and_a_button_sets_the_suggested_weights(face: Any) -> None:
    stack = face.add("LorchestraLoraStack", 100, 140)
    asked: list[str] = []
    face.page.on("request", lambda request: asked.append(request.url) if "/strengths" in request.url else None)
    set_rows(face, stack, [{"lora": WARM, "model": 1}])
    face.page.wait_for_timeout(700)
    assert asked == [] and face.page.get_by_role("meter").count() == 0  # one alone is compared with nothing
    set_rows(face, stack, [{"lora": WARM, "model": 0.5}, {"lora": LINES, "model": 0.2}, {"lora": LINES, "on": False}])
    expect(face.page.get_by_role("meter")).to_have_count(2, timeout=30_000)
    first, second = shares(face)
    assert first + second in (99, 100, 101) and 0 < first < 100
    before = len(asked)
    number = face.row(1).get_by_role("spinbutton", name="Model weight of")
    box = number.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    face.page.mouse.move(x, y)
    face.page.mouse.down()
    face.page.mouse.move(x + 24, y, steps=4)
    assert shares(face)[1] > second  # before the button is up
    face.page.mouse.up()
    face.settle()
    assert len(asked) == before
    told = face.row(1).locator(".lorchestra-weight").get_attribute("title")
    assert told == f"{shares(face)[1]} % of the stack's strength"
    face.screenshot("balance-bars")

    loader = face.add("CheckpointLoaderSimple", 100, 560)
    balance = face.add("LorchestraLoraBalance", 600, 140)
    for link in ([loader, 0, stack, "model"], [loader, 0, balance, "model"], [stack, 2, balance, "lora_stack"]):
        face.page.evaluate(CONNECT, link)
    face.queue()
    group = face.page.get_by_role("group", name="Set the rows to suggested weights")
    old = json.loads(face.values()[0])["loras"]
    group.get_by_role("button", name="Equal").click()
    face.settle()
    one, other = shares(face)
    assert abs(one - other) <= 1
    new = json.loads(face.values()[0])["loras"]
    assert new[2] == old[2] and new[0]["model"] != old[0]["model"]
    face.screenshot("balance-suggested")
    group.get_by_role("button", name="Total").click()
    face.settle()
    assert json.loads(face.values()[0])["loras"] != new
    for rows in (new, old):
        face.press("Control+z")
        face.wait_for(lambda rows=rows: json.loads(face.values()[0])["loras"] == rows)
