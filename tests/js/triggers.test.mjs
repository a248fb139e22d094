// Which trigger words a row means and lacks, and where in a graph the prompt is written.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fingerprint, pruned } from "../../js/badges/graph.mjs";
import { findTextWidget } from "../../js/stack/insert.mjs";
import { ListState } from "../../js/stack/state.mjs";
import { ROW_HEIGHT, WORDS_HEIGHT } from "../../js/stack/style.mjs";
import { promptText } from "../../js/values/stack.mjs";
import { chosenWords, lackOf, toggledWord, withWords } from "../../js/values/triggers.mjs";

const WORDS = [{ word: "pixel art", present: true }, { word: "8-bit", present: false }, { word: "sprite", present: null }];

describe("what a row means", () => {
  test("all without a choice", () => assert.deepEqual(chosenWords({ lora: "a" }, WORDS), ["pixel art", "8-bit", "sprite"]));
  test("null is no choice", () => assert.equal(chosenWords({ lora: "a", triggers: null }, WORDS).length, 3));
  test("its own", () => assert.deepEqual(chosenWords({ lora: "a", triggers: ["8-bit"] }, WORDS), ["8-bit"]));
  test("none", () => assert.deepEqual(chosenWords({ lora: "a", triggers: [] }, WORDS), []));
  test("one less, and again all", () => {
    const less = toggledWord({ lora: "a" }, WORDS, "8-bit");
    assert.deepEqual(less, ["pixel art", "sprite"]);
    assert.equal(toggledWord({ lora: "a", triggers: less }, WORDS, "8-bit"), undefined);
    assert.deepEqual(toggledWord({ lora: "a", triggers: ["sprite"] }, WORDS, "sprite"), []);
  });
});

describe("what the prompt lacks", () => {
  test("a part", () => assert.deepEqual(lackOf({ lora: "a" }, WORDS), { missing: ["8-bit"], all: false }));
  test("all that is chosen", () => assert.deepEqual(lackOf({ lora: "a", triggers: ["8-bit"] }, WORDS), { missing: ["8-bit"], all: true }));
  for (const row of [{ lora: "a", on: false }, { lora: "a", model: 0 }, { lora: "a", triggers: ["sprite"] }, { lora: "a", triggers: [] }]) {
    test(`nothing of ${JSON.stringify(row)}`, () => assert.deepEqual(lackOf(row, WORDS).missing, []));
  }
  test("with a clip weight alone", () => assert.deepEqual(lackOf({ lora: "a", model: 0, clip: 1 }, WORDS).missing, ["8-bit"]));
});

test("words at the end of a prompt", () => {
  assert.equal(withWords("a cat", ["8-bit", "sprite"]), "a cat, 8-bit, sprite");
  assert.equal(withWords("a cat,\n", ["8-bit"]), "a cat, 8-bit");
  assert.equal(withWords("  \n", ["8-bit"]), "8-bit");
});

test("which words are shown is saved, makes room, and is not in the prompt", () => {
  const text = '{"version": 1, "loras": [{"lora": "a"}, {"lora": "b"}], "words": ["b", "gone", 3]}';
  const [open, closed] = [new ListState(() => text), new ListState(() => text.replace('"b", "gone", ', ""))];
  assert.deepEqual([...open.open], ["b", "gone"]);
  assert.equal(open.height - closed.height, WORDS_HEIGHT);
  assert.equal(open.rowsHeight, 2 * ROW_HEIGHT + WORDS_HEIGHT);
  assert.ok(!promptText(text).includes("words"));
});

/** Nodes `[id, inputs, widgets, more]` with inputs `name: link or null`, links `id: [from, slot]`. */
function graphOf(nodes, links = {}) {
  const graph = {
    nodes: [],
    getNodeById: (id) => graph.nodes.find((node) => node.id === id) ?? null,
    getLink: (id) => links[id] && { id, origin_id: links[id][0], origin_slot: links[id][1] },
  };
  for (const [id, inputs, widgets, more] of nodes) {
    graph.nodes.push({
      id, graph, type: "x", outputs: [],
      inputs: Object.entries(inputs).map(([name, link]) => ({ name, link, widget: name in widgets ? { name } : undefined })),
      widgets: Object.entries(widgets).map(([name, value]) => ({ name, value, type: "customtext" })), ...more,
    });
  }
  return graph;
}

describe("the text of a prompt", () => {
  const valueAt = (root, node, input = "text") => findTextWidget(root, { node, input })?.value;
  test("of an encoder", () => assert.equal(valueAt(graphOf([[2, { text: null }, { text: "cat" }]]), "2"), "cat"));
  test("of a frontend without slots for widgets", () => assert.equal(valueAt(graphOf([[2, {}, { text: "cat" }]]), "2"), "cat"));
  test("of a primitive node behind a reroute", () => {
    const root = graphOf([
      [2, { text: 1 }, { text: "old" }], [3, { "": 2 }, {}, { isVirtualNode: true }], [4, {}, { value: "cat" }, { isVirtualNode: true }],
    ], { 1: [3, 0], 2: [4, 0] });
    assert.equal(valueAt(root, "2"), "cat");
  });
  test("not of a node that runs", () => {
    assert.equal(valueAt(graphOf([[2, { text: 1 }, { text: "old" }], [3, {}, { value: "cat" }]], { 1: [3, 0] }), "2"), undefined);
  });
  test("in a subgraph, and promoted to its node", () => {
    const inner = (link) => graphOf([[2, { text: link }, { text: "inner" }]], { 1: [-10, 0] });
    const root = (link) => graphOf([[7, { prompt: null }, { prompt: "cat" }, { subgraph: inner(link) }]]);
    assert.equal(valueAt(root(null), "7:2"), "inner");
    assert.equal(valueAt(root(1), "7:2"), "cat");
  });
  test("in a circle", () => {
    const root = graphOf([[2, { text: 1 }, {}], [3, { a: 2 }, {}, { isVirtualNode: true }]], { 1: [3, 0], 2: [3, 0] });
    assert.equal(valueAt(root, "2"), undefined);
  });
  for (const id of ["", "9", "2:3", "x:y"]) {
    test(`nowhere: ${id}`, () => assert.equal(valueAt(graphOf([[2, { text: null }, { text: "cat" }]]), id), undefined));
  }
  test("no number", () => assert.equal(valueAt(graphOf([[2, {}, { text: 3 }]]), "2"), undefined));
});

describe("what makes it another prompt", () => {
  const shown = (/** @type {object} */ more) => {
    const root = graphOf([[2, { text: null }, { text: "cat" }], [9, {}, {}]]);
    Object.assign(root.nodes[0].widgets[0], more);
    return fingerprint(root, [{ id: "9", hosts: [], node: root.getNodeById(9) }]);
  };
  test("a text", () => assert.notEqual(shown({ value: "dog" }), shown({})));
  test("a long text", () => assert.notEqual(shown({ value: "a".repeat(1000) }), shown({ value: "b".repeat(1000) })));
  test("no choice", () => assert.equal(shown({ type: "combo", value: "dog" }), shown({ type: "combo" })));
});

test("what is sent goes downstream to the prompt, too", () => {
  const node = (/** @type {string} */ class_type, inputs = {}) => ({ class_type, inputs });
  const prompt = {
    1: node("CheckpointLoaderSimple"), 9: node("LorchestraLoraStack", { model: ["1", 0] }), 2: node("CLIPTextEncode", { clip: ["9", 1], text: ["5", 0] }),
    4: node("KSampler", { positive: ["2", 0], model: ["9", 0] }), 5: node("PrimitiveString", { value: "x".repeat(1000) }), 6: node("Unrelated"),
    7: node("CLIPTextEncode", { text: "x".repeat(30_000) }), 8: node("ConditioningCombine", { a: ["2", 0], b: ["7", 0] }),
  };
  const sent = pruned(prompt, ["9"]);
  assert.deepEqual(Object.keys(sent).sort(), ["1", "2", "4", "5", "7", "8", "9"]);
  assert.equal(sent[5].inputs.value.length, 1000);
  assert.equal(sent[7].inputs.text, "…");
});
