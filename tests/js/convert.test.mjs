// What of a graph's links is believed, mended and compared when loaders become a LoRA Stack.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { expectedWires, otherWires } from "../../js/convert/compare.mjs";
import { connectTarget, removeNodes, sourceOf, targetsOf, wiresOf } from "../../js/convert/links.mjs";
import { countLinks, dropOthersLink, dropOthersLinks, updatePlaceholders } from "../../js/convert/repair.mjs";

/** Nodes `[id, inputs, outputs]` with slots' types, links `[id, from, slot, to, slot]`; both ends of a link name it. */
function graphOf(nodes, links, more = {}) {
  const graph = { nodes: [], links: new Map(), state: { lastLinkId: 0 }, ...more };
  graph.getNodeById = (id) => graph.nodes.find((node) => String(node.id) === String(id)) ?? null;
  graph.remove = (node) => graph.nodes.splice(graph.nodes.indexOf(node), 1);
  for (const [id, inputs, outputs] of nodes) {
    const slots = (types) => types.map((type, index) => ({ name: `${type}${index}`, type, link: null, links: [] }));
    graph.nodes.push({ id, graph, type: `T${id}`, inputs: slots(inputs), outputs: slots(outputs) });
  }
  for (const [id, origin_id, origin_slot, target_id, target_slot] of links) {
    graph.links.set(id, { id, origin_id, origin_slot, target_id, target_slot });
    const [from, to] = [graph.getNodeById(origin_id), graph.getNodeById(target_id)];
    if (from) from.outputs[origin_slot].links.push(id);
    if (to) to.inputs[target_slot].link = id;
  }
  return graph;
}

const at = (graph, id) => graph.getNodeById(id);
const ends = (targets) => targets.map(({ key }) => key);

describe("which links there are", () => {
  const graph = graphOf([[1, [], ["MODEL", "VAE"]], [2, ["MODEL"], ["MODEL"]], [3, ["MODEL", "VAE"], []]], [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 1, 1, 3, 1]]);
  test("an output that names others' links and none of its own", () => {
    at(graph, 2).outputs[0].links = [3, 77];
    assert.deepEqual(ends(targetsOf(at(graph, 2), 0)), ["3.0"]);
    assert.deepEqual(ends(targetsOf(at(graph, 1), 1)), ["3.1"]);
  });
  test("an input whose link is not there, or begins nowhere", () => {
    at(graph, 3).inputs[0].link = 77;
    assert.equal(sourceOf(at(graph, 3), 0), null);
    graph.links.set(77, { id: 77, origin_id: 55, origin_slot: 0, target_id: 3, target_slot: 0 });
    assert.equal(sourceOf(at(graph, 3), 0), null);
    graph.links.set(77, { id: 77, origin_id: 1, origin_slot: 9, target_id: 3, target_slot: 0 });
    assert.equal(sourceOf(at(graph, 3), 0), null);
  });
  test("two inputs with one link", () => {
    at(graph, 3).inputs[0].link = 1;
    assert.deepEqual(ends(targetsOf(at(graph, 1), 0)), ["2.0", "3.0"]);
  });
  test("a subgraph's own slots", () => {
    const inside = graphOf([[1, ["MODEL"], ["MODEL"]]], [[1, -10, 0, 1, 0], [2, 1, 0, -20, 0]], { inputs: [{ linkIds: [1] }], outputs: [{ linkIds: [77, 2, 2] }] });
    assert.deepEqual(sourceOf(at(inside, 1), 0), { node: undefined, slot: 0, reroute: undefined });
    assert.deepEqual(ends(targetsOf(at(inside, 1), 0)), ["out.0.0"]);
  });
});

describe("what is mended", () => {
  test("slots keep only the links that are theirs", () => {
    const graph = graphOf([[1, [], ["A", "B"]], [2, ["A"], ["A"]], [3, ["A", "B"], []]], [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 1, 1, 3, 1]]);
    const node = at(graph, 2);
    node.outputs[0].links = [3, 2, 77];
    node.inputs.push({ name: "x", type: "B", link: 3 });
    dropOthersLinks(node);
    assert.deepEqual(node.outputs[0].links, [2]);
    assert.deepEqual(node.inputs.map(({ link }) => link), [1, null]);
    at(graph, 3).inputs[0].link = 1;
    dropOthersLink(at(graph, 3), 0);
    dropOthersLink(at(graph, 3), 1);
    assert.deepEqual(at(graph, 3).inputs.map(({ link }) => link), [null, 3]);
  });
  test("new links are numbered above all that are named anywhere", () => {
    const graph = graphOf([[1, [], ["A"]], [2, ["A"], []]], [[9, 1, 0, 2, 0]], { outputs: [{ linkIds: [30] }] });
    at(graph, 1).outputs[0].links.push(12);
    countLinks(graph);
    assert.equal(graph.state.lastLinkId, 30);
    graph.state.lastLinkId = 50;
    countLinks(graph);
    assert.equal(graph.state.lastLinkId, 50);
    const old = { ...graph, links: { 60: {} }, _links: undefined };
    countLinks(old);
    assert.equal(old.state.lastLinkId, 60);
  });
  test("what a node of a missing pack is saved as gets the links of now", () => {
    const graph = graphOf([[1, ["A", "B"], ["A"]], [2, [], []]], []);
    const saved = { id: 1, inputs: [{ name: "B1", link: 5, type: "B" }, { name: "gone", link: 6 }], outputs: [{ name: "A0", links: [7] }], widgets_values: [1] };
    const kept = structuredClone(saved);
    Object.assign(at(graph, 1), { last_serialization: saved });
    at(graph, 1).inputs[1].link = 15;
    at(graph, 1).outputs[0].links = [17, 18];
    updatePlaceholders(graph);
    assert.deepEqual(at(graph, 1).last_serialization, { id: 1, inputs: [{ name: "B1", link: 15, type: "B" }, { name: "gone", link: null }], outputs: [{ name: "A0", links: [17, 18] }], widgets_values: [1] });
    assert.deepEqual(saved, kept);
    assert.equal(at(graph, 2).last_serialization, undefined);
  });
});

describe("a subgraph's output with several links", () => {
  /** Connects as ComfyUI does: the first link goes. */
  function inside(linkIds) {
    const graph = graphOf([[1, [], ["MODEL"]], [2, [], ["MODEL"]], [3, [], ["MODEL"]]], [[4, 1, 0, -20, 0], [5, 2, 0, -20, 0]]);
    const output = { linkIds, connect: (slot, node) => {
      const first = output.linkIds.find((id) => graph.links.has(id));
      graph.links.delete(first);
      graph.links.set(6, { id: 6, origin_id: node.id, origin_slot: 0, target_id: -20, target_slot: 0 });
      output.linkIds[0] = 6;
      return graph.links.get(6);
    } };
    graph.outputs = [output];
    const remove = graph.remove;
    graph.remove = (node) => { output.linkIds.length = 0; return remove(node); };
    return graph;
  }
  for (const [ids, after] of [[[4, 5], [6, 5]], [[5, 4], [5, 6]], [[77, 4], [6]], [[4, 4, 5], [6, 5]]]) {
    test(`${ids} becomes ${after}`, () => {
      const graph = inside([...ids]);
      const [target] = targetsOf(at(graph, 1), 0);
      connectTarget(at(graph, 3), 0, target);
      removeNodes(graph, [at(graph, 1)]);
      assert.deepEqual(graph.outputs[0].linkIds, after);
    });
  }
});

describe("what has changed", () => {
  const nodes = [[1, [], ["MODEL", "CLIP"]], [2, ["MODEL", "CLIP"], ["MODEL", "CLIP", "STRING"]], [3, ["MODEL", "CLIP", "STRING"], ["MODEL"]], [4, ["MODEL"], []]];
  const links = [[1, 1, 0, 2, 0], [2, 1, 1, 2, 1], [3, 2, 0, 3, 0], [4, 2, 1, 3, 1], [5, 2, 2, 3, 2], [6, 3, 0, 4, 0]];
  const before = graphOf(nodes, links);
  const loader = at(before, 2);
  const stack = { id: 9, inputs: [{ type: "MODEL" }, { type: "CLIP" }], outputs: [{ type: "MODEL" }, { type: "CLIP" }] };
  const plan = {
    loaders: [loader], stackers: [], into: null, stack: null, model: sourceOf(loader, 0), clip: sourceOf(loader, 1),
    models: targetsOf(loader, 0), clips: targetsOf(loader, 1),
  };
  const expected = expectedWires(wiresOf(before), /** @type {any} */ (plan), /** @type {any} */ (stack));
  const after = (...changed) => {
    const all = [[11, 1, 0, 9, 0], [12, 1, 1, 9, 1], [13, 9, 0, 3, 0], [14, 9, 1, 3, 1], [6, 3, 0, 4, 0]];
    const kept = all.filter(([id]) => !changed.some(([other]) => other === id));
    return wiresOf(graphOf([nodes[0], nodes[2], nodes[3], [9, ["MODEL", "CLIP"], ["MODEL", "CLIP"]], [8, ["MODEL"], ["MODEL"]]], [...kept, ...changed.filter((one) => one.length > 1)]));
  };
  test("nothing but what is the stack's now", () => assert.deepEqual(otherWires(expected, after()), []));
  test("a link that is gone", () => assert.deepEqual(otherWires(expected, after([6])), ["T4 (#4): MODEL0"]));
  test("a link that begins elsewhere", () => assert.deepEqual(otherWires(expected, after([6, 8, 0, 4, 0])), ["T4 (#4): MODEL0"]));
  test("a link that there was not", () => assert.deepEqual(otherWires(expected, after([20, 3, 0, 8, 0])), ["T8 (#8): MODEL0"]));
  test("a link that was refused", () => assert.deepEqual(otherWires(expected, after([13])), ["T3 (#3): MODEL0"]));
});
