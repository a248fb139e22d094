"""What tests of the face do with the clipboard, with the menus of nodes and with workflow files of other packs."""

from __future__ import annotations

import json
from typing import Any

from lorchestra.demo.prompt import CHECKPOINT

STACK = "LorchestraLoraStack"
TOAST = ".p-toast-message, [data-testid=toast]"
"""A message, in older and in newer frontends."""
MENU = """async ([folder, id]) => {
    const node = app.canvas.graph.getNodeById(id);
    const items = app.collectNodeMenuItems?.(node) ?? [];
    if (!app.collectNodeMenuItems) node.getExtraMenuOptions?.(app.canvas, items);
    const item = items.find((one) => /LoRA Stack/.test(one?.content ?? ""));
    return item ? { content: item.content, disabled: item.disabled } : null;
}"""
CONVERT = """async ([folder, id]) => {
    const node = app.canvas.graph.getNodeById(id);
    const items = app.collectNodeMenuItems?.(node) ?? [];
    if (!app.collectNodeMenuItems) node.getExtraMenuOptions?.(app.canvas, items);
    const item = items.find((one) => /LoRA Stack/.test(one?.content ?? ""));
    const there = app.canvas.graph.nodes.length;
    const waits = () => app.canvas.graph.nodes.length === there && app.canvas.graph.getNodeById(id) === node;
    item.callback();
    for (let i = 0; i < 100 && waits(); i++) {
        await new Promise((done) => setTimeout(done, 50));
    }
}"""


class Exchange:
    """What the tests do with the clipboard and with the menus of nodes."""

    def __init__(self, face: Any, pack_folder: str) -> None:
        self.face, self.page, self.folder = face, face.page, pack_folder

    def clipboard(self, text: str | None = None) -> str:
        """Sets the clipboard, or gives what is in it."""
        if text is not None:
            self.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
        return self.page.evaluate("() => navigator.clipboard.readText()")

    def select(self, node: int | str) -> None:
        self.page.evaluate(
            "(id) => { app.canvas.deselectAll?.(); app.canvas.selectNode(app.canvas.graph.getNodeById(id)); }", node
        )

    def paste(self, node: int, text: str) -> None:
        self.clipboard(text)
        self.select(node)
        self.face.press("Control+v")

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """Calls a function of one of our modules that takes ComfyUI first."""
        return self.page.evaluate(
            """async ([folder, module, name, rest]) => {
                const { api } = await import("/scripts/api.js");
                const found = await import(`/extensions/${folder}/${module}.mjs`);
                return found[name]({ app, api }, ...rest);
            }""",
            [self.folder, module, function, list(arguments)],
        )

    def pure(self, module: str, function: str, *arguments: Any) -> Any:
        """Calls a function of one of our modules."""
        return self.page.evaluate(
            "async ([at, module, name, rest]) => (await import(`/extensions/${at}/${module}.mjs`))[name](...rest)",
            [self.folder, module, function, list(arguments)],
        )

    def rows(self, node: int | str | None = None) -> list[dict[str, Any]]:
        """The rows of a LoRA Stack, or of the only one."""
        text = self.page.evaluate(
            """([id, kind]) => {
                const mine = (one) => one.type === kind && (id === null || one.id == id);
                const nodes = app.canvas.graph.nodes.filter(mine);
                return nodes.length === 1 ? nodes[0].widgets.find((one) => one.name === "loras").value : nodes.length;
            }""",
            [node, STACK],
        )
        assert isinstance(text, str), f"{text} nodes"
        return json.loads(text)["loras"]

    def wait_for_rows(self, rows: list[dict[str, Any]], node: int | None = None) -> None:
        for _ in range(60):
            if self.count(STACK) == 1 and self.rows(node) == rows:
                return
            self.page.wait_for_timeout(100)
        assert self.rows(node) == rows

    def count(self, kind: str) -> int:
        return self.page.evaluate("(kind) => app.canvas.graph.nodes.filter((one) => one.type === kind).length", kind)

    def toasts(self) -> str:
        """What the messages say; they are closed then."""
        messages = self.page.locator(TOAST)
        messages.first.wait_for(timeout=5000)
        text = "\n".join(messages.all_inner_texts())
        self.close_toasts()
        return text

    def close_toasts(self) -> None:
        self.page.evaluate("(({ toast }) => { toast.removeAll?.(); toast.dismissAll?.(); })(app.extensionManager)")
        self.page.wait_for_function("(toast) => !document.querySelector(toast)", arg=TOAST)

    def menu(self, node: int | str) -> dict[str, Any] | None:
        return self.page.evaluate(MENU, [self.folder, node])

    def convert(self, node: int | str) -> None:
        self.page.evaluate(CONVERT, [self.folder, node])
        self.page.wait_for_timeout(200)

    def load(self, nodes: list[dict[str, Any]], links: list[list[Any]], groups: list[Any] | None = None) -> None:
        """Opens a workflow as a file of another pack's user would be."""
        outgoing: dict[tuple[int, int], list[int]] = {}
        for number, origin, slot, target, into, _ in links:
            outgoing.setdefault((origin, slot), []).append(number)
            next(node for node in nodes if node["id"] == target)["inputs"][into]["link"] = number
        for node in nodes:
            for slot, output in enumerate(node["outputs"]):
                output["links"] = outgoing.get((node["id"], slot), [])
        last = max(node["id"] for node in nodes)
        workflow = {
            "last_node_id": last,
            "last_link_id": len(links),
            "nodes": nodes,
            "links": links,
            "groups": groups or [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }
        self.page.evaluate(
            "(workflow) => app.loadGraphData(workflow, true, true, null, { showMissingNodesDialog: false })", workflow
        )
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(300)

    def links(self, number: int | str | None = None) -> dict[str, list[str]]:
        """What a LoRA Stack is linked to: input or output → `type.slot` of the other ends."""
        return self.page.evaluate(
            """([id, kind]) => {
                const graph = app.canvas.graph;
                const node = graph.nodes.find((one) => one.type === kind && (id === null || one.id == id));
                const named = (id, slot, side) => {
                    const other = graph.getNodeById(id);
                    return other ? `${other.type}.${other[side][slot].name}` : `subgraph.${slot}`;
                };
                const get = (link) => graph.getLink?.(link) ?? graph.links.get?.(link) ?? graph.links[link];
                const found = {};
                for (const slot of node.inputs) {
                    const link = slot.link != null && get(slot.link);
                    if (link) found[slot.name] = [named(link.origin_id, link.origin_slot, "outputs")];
                }
                for (const slot of node.outputs) {
                    const links = (slot.links ?? []).map(get);
                    const ends = links.map((link) => named(link.target_id, link.target_slot, "inputs"));
                    if (ends.length) found[slot.name] = ends.sort();
                }
                return found;
            }""",
            [number, STACK],
        )


def saved_node(
    number: int, kind: str, inputs: list[str], outputs: list[str], values: Any = None, **more: Any
) -> dict[str, Any]:
    """A node as a workflow file has it; slots are `name:TYPE`."""
    slots = [[part.rpartition(":") for part in side] for side in (inputs, outputs)]
    return {
        "id": number,
        "type": kind,
        "pos": [number * 300, 100],
        "size": [250, 150],
        "flags": {},
        "order": number,
        "mode": 0,
        "inputs": [{"name": name, "type": type_, "link": None} for name, _, type_ in slots[0]],
        "outputs": [
            {"name": name, "type": type_, "links": [], "slot_index": n} for n, (name, _, type_) in enumerate(slots[1])
        ],
        "properties": {"Node name for S&R": kind},
        "widgets_values": values if values is not None else [],
        **more,
    }


LOADER_OUT = ["MODEL:MODEL", "CLIP:CLIP"]


def around(*middle: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes between a checkpoint's loader (1) and what uses the model (98) and the text encoders (99)."""
    return [
        saved_node(1, "CheckpointLoaderSimple", [], ["MODEL:MODEL", "CLIP:CLIP", "VAE:VAE"], [CHECKPOINT]),
        *middle,
        saved_node(98, "ModelSamplingDiscrete", ["model:MODEL"], ["MODEL:MODEL"], ["eps", False]),
        saved_node(99, "CLIPTextEncode", ["clip:CLIP"], ["CONDITIONING:CONDITIONING"], ["a cat"]),
    ]
