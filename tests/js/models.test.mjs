// Where the model of a stack that takes no part would come from, and what of a graph makes it another one.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fingerprint } from "../../js/badges/graph.mjs";
import { completed } from "../../js/badges/inactive.mjs";

/** A graph of plain data: nodes `[id, type, inputs, outputs, more]` with slots `name:TYPE`, links `[id, from, slot, to, slot]`. */
function graphOf(nodes, links, more = {}) {
  const graph = { nodes: [], _links: new Map(), getNodeById: (id) => graph.nodes.find((node) => node.id === id) ?? null, ...more };
  const slots = (/** @type {string[]} */ list) => list.map((text) => {
    const [name, type] = text.split(":");
    return { name, type, link: null, links: [] };
  });
  for (const [id, type, inputs, outputs, rest] of nodes) {
    graph.nodes.push({ id, type, mode: 0, graph, inputs: slots(inputs), outputs: slots(outputs), widgets: [], ...rest });
  }
  for (const [id, origin_id, origin_slot, target_id, target_slot] of links) {
    graph._links.set(id, { id, origin_id, origin_slot, target_id, target_slot });
    const target = graph.getNodeById(target_id);
    if (target) target.inputs[target_slot].link = id;
  }
  return graph;
}

/** What the model of the node 9, which is muted, comes from. */
function modelOf(graph, hosts = []) {
  const node = graph.getNodeById(9);
  const id = [...hosts, node].map((one) => one.id).join(":");
  return completed({}, [{ id, hosts, node }])[id].inputs.model;
}

const STACK = [9, "LorchestraLoraStack", ["model:MODEL"], ["MODEL:MODEL"], { mode: 2 }];
const LOADER = [1, "UNETLoader", [], ["MODEL:MODEL"]];
const OTHER = [2, "UNETLoader", [], ["MODEL:MODEL"]];

describe("bypassed nodes hand on what ComfyUI lets through", () => {
  const bypassed = (/** @type {string[]} */ inputs, /** @type {string[]} */ outputs) =>
    [3, "Any", inputs, outputs, { mode: 4 }];
  const links = (/** @type {number[]} */ ...slots) => [[10, 3, 0, 9, 0], ...slots.map((slot, index) => [index + 1, index + 1, 0, 3, slot])];
  const cases = /** @type {const} */ ([
    ["the same slot", ["a:MODEL", "b:MODEL"], ["x:MODEL"], [0, 1], "1"],
    ["the first of the type", ["n:INT", "a:MODEL", "b:MODEL"], ["x:MODEL"], [1, 2], "1"],
    ["a switch: the wildcard in the same slot", ["a:*", "b:*"], ["x:*"], [0, 1], "1"],
    ["a switch behind its selector", ["select:INT", "a:*", "b:*"], ["x:*"], [1, 2], "1"],
    ["a switch: a MODEL after a wildcard of another slot", ["select:INT", "a:*", "b:MODEL"], ["x:*"], [1, 2], "2"],
    ["several types", ["n:CLIP", "a:CLIP,model"], ["x:MODEL"], [1], "1"],
  ]);
  for (const [name, inputs, outputs, slots, from] of cases) {
    test(name, () => {
      const graph = graphOf([STACK, LOADER, OTHER, bypassed([...inputs], [...outputs])], links(...slots));
      assert.deepEqual(modelOf(graph), [from, 0]);
    });
  }
  test("nothing of its kind: it counts as if it took part", () => {
    const graph = graphOf([STACK, [3, "UNETLoader", ["n:INT"], ["x:MODEL"], { mode: 4 }]], [[10, 3, 0, 9, 0]]);
    assert.deepEqual(modelOf(graph), ["3", 0]);
  });
});

describe("subgraphs", () => {
  const inner = (/** @type {number[]} */ linkIds) => graphOf([LOADER, OTHER], [[5, 1, 0, -20, 0], [6, 2, 0, -20, 0]], { outputs: [{ linkIds }] });
  const outer = (/** @type {object} */ subgraph) => graphOf([STACK, [7, "sub", [], ["x:MODEL"], { subgraph }]], [[10, 7, 0, 9, 0]]);
  test("the first link of an output that there is counts, as for ComfyUI", () => {
    assert.deepEqual(modelOf(outer(inner([5, 6]))), ["7:1", 0]);
    assert.deepEqual(modelOf(outer(inner([6, 5]))), ["7:2", 0]);
    assert.deepEqual(modelOf(outer(inner([4, 6]))), ["7:2", 0]);
    assert.equal(modelOf(outer(inner([4]))), undefined);
  });
  test("inputs lead out again", () => {
    const subgraph = graphOf([STACK], [[3, -10, 1, 9, 0]]);
    const root = graphOf([LOADER, OTHER, [7, "sub", ["a:MODEL", "b:MODEL"], [], { subgraph }]], [[1, 1, 0, 7, 0], [2, 2, 0, 7, 1]]);
    assert.deepEqual(modelOf(subgraph, [root.getNodeById(7)]), ["2", 0]);
  });
});

describe("links without a line", () => {
  test("Set and Get in one graph", () => {
    const graph = graphOf([STACK, LOADER, [3, "SetNode", ["x:MODEL"], ["*:*"], { isVirtualNode: true }], [4, "GetNode", [], ["x:MODEL"], { isVirtualNode: true }]], [[1, 1, 0, 3, 0], [10, 4, 0, 9, 0]]);
    graph.getNodeById(4).getInputLink = () => graph._links.get(1);
    assert.deepEqual(modelOf(graph), ["1", 0]);
  });
  test("from a graph outside", () => {
    const subgraph = graphOf([STACK, [4, "GetNode", [], ["x:MODEL"], { isVirtualNode: true }]], [[10, 4, 0, 9, 0]]);
    const root = graphOf([LOADER, [7, "sub", [], [], { subgraph }]], []);
    subgraph.getNodeById(4).resolveVirtualOutput = () => ({ node: root.getNodeById(1), slot: 0 });
    assert.deepEqual(modelOf(subgraph, [root.getNodeById(7)]), ["1", 0]);
  });
  test("in a circle", () => {
    const graph = graphOf([STACK, [3, "Reroute", ["x:*"], ["x:*"], { isVirtualNode: true }]], [[1, 3, 0, 3, 0], [10, 3, 0, 9, 0]]);
    graph.getNodeById(3).getInputLink = () => graph._links.get(1);
    assert.equal(modelOf(graph), undefined);
  });
});

describe("what makes it another model", () => {
  const graph = graphOf([STACK, [3, "ImpactSwitch", [], ["x:*"]], [4, "KSampler", ["model:MODEL"], []]], [[1, 3, 0, 9, 0]]);
  const places = [{ id: "9", hosts: [], node: graph.getNodeById(9) }];
  const withValue = (/** @type {number} */ id, /** @type {string} */ name, /** @type {unknown} */ value) => {
    graph.getNodeById(id).widgets = [{ name, value }];
    return fingerprint(graph, places);
  };
  test("a switch's choice", () => {
    assert.notEqual(withValue(3, "select", 1), withValue(3, "select", 2));
    assert.notEqual(withValue(3, "boolean", true), withValue(3, "boolean", false));
  });
  test("no seed", () => assert.equal(withValue(4, "seed", 1), withValue(4, "seed", 2)));
  test("a switch's choice that a subgraph's node has", () => {
    const inside = graphOf([[3, "ImpactSwitch", ["select:INT"], ["x:*"]], [5, "KSampler", ["seed:INT"], []]], [[1, -10, 0, 3, 0], [2, -10, 1, 5, 0]], { inputs: [{ linkIds: [1] }, { linkIds: [2] }] });
    const root = graphOf([STACK, [7, "sub", ["which:INT", "seed:INT"], [], { subgraph: inside }]], []);
    const at = [{ id: "9", hosts: [], node: root.getNodeById(9) }];
    const shown = (/** @type {number} */ which, /** @type {number} */ seed) => {
      root.getNodeById(7).widgets = [{ name: "which", value: which }, { name: "seed", value: seed }];
      return fingerprint(root, at);
    };
    assert.notEqual(shown(1, 5), shown(2, 5));
    assert.equal(shown(1, 5), shown(1, 6));
  });
});
