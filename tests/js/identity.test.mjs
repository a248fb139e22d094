// What a saved workflow says of files beside their names, and what a choice of another file changes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { adopting, certainOf, changeStacks, withIdentities } from "../../js/values/identity.mjs";
import { changed, readStack } from "../../js/values/stack.mjs";

const SHA = "a".repeat(64);
const OTHER = "b".repeat(64);
const AIR = "urn:air:sdxl:lora:civitai:1@2";
const KNOWN = new Map([["a.safetensors", { sha256: SHA, air: AIR }], ["b.safetensors", { sha256: null, air: AIR }]]);

/** @param {object[]} rows */
const textOf = (...rows) => JSON.stringify({ version: 1, loras: rows, collapsed: true });

describe("identities in a saved stack", () => {
  /** @param {object} row */
  const saved = (row) => readStack(withIdentities(textOf(row), KNOWN)).rows[0];
  test("what is known is added, and what the row says stays", () => {
    const cases = [
      [{ lora: "a.safetensors", model: 0.5, x: 1 }, { lora: "a.safetensors", model: 0.5, x: 1, sha256: SHA, air: AIR }],
      [{ lora: "b.safetensors" }, { lora: "b.safetensors", air: AIR }],
      [{ lora: "a.safetensors", sha256: OTHER }, { lora: "a.safetensors", sha256: OTHER }],
      [{ lora: "a.safetensors", sha256: SHA.toUpperCase() }, { lora: "a.safetensors", sha256: SHA.toUpperCase(), air: AIR }],
      [{ lora: "a.safetensors", air: "civitai:7" }, { lora: "a.safetensors", air: "civitai:7", sha256: SHA }],
      [{ lora: "a.safetensors", hash: "0123456789" }, { lora: "a.safetensors", hash: "0123456789" }],
      [{ lora: "c.safetensors" }, { lora: "c.safetensors" }],
    ];
    for (const [row, expected] of cases) assert.deepEqual(saved(row), expected);
  });
  test("a text to which there is nothing to add is the same text, and adding twice is adding once", () => {
    const texts = [textOf({ lora: "c" }), "<lora:a.safetensors:1>", "", "{", '{"loras": 1}', '["a.safetensors"]'];
    for (const text of texts) assert.equal(withIdentities(text, KNOWN), text);
    const once = withIdentities(textOf({ lora: "a.safetensors" }), KNOWN);
    assert.equal(withIdentities(once, KNOWN), once);
    assert.equal(readStack(once).more.collapsed, true);
    const text = textOf({ lora: "a.safetensors", model: 1 });
    const partly = withIdentities(text, new Map([["a.safetensors", { sha256: null, air: AIR }]]));
    assert.equal(withIdentities(partly, KNOWN), withIdentities(text, KNOWN));
  });
});

test("stacks are found in a workflow, in its subgraphs and on their nodes, and nothing else is changed", () => {
  const node = (/** @type {string} */ type, /** @type {unknown} */ value) => ({ type, widgets_values: [1, value], widgets_values_named: { loras: value } });
  const workflow = {
    nodes: [node("Stack", "s"), node("Text", "s"), node("sub", "s"), null, { type: "Stack" }],
    definitions: { subgraphs: [{ id: "sub", nodes: [node("Stack", "s"), node("inner", "s")], definitions: { subgraphs: [{ id: "inner", nodes: [node("Stack", "s")] }] } }] },
  };
  changeStacks(workflow, "Stack", (text) => `${text}!`);
  const [stack, text, host] = /** @type {ReturnType<typeof node>[]} */ (workflow.nodes);
  assert.deepEqual(stack, node("Stack", "s!"));
  assert.deepEqual(text, node("Text", "s"));
  assert.deepEqual(host, node("sub", "s!"));
  const [sub] = workflow.definitions.subgraphs;
  assert.deepEqual(sub.nodes, [node("Stack", "s!"), node("inner", "s!")]);
  assert.deepEqual(sub.definitions.subgraphs[0].nodes, [node("Stack", "s!")]);
  for (const strange of [null, 1, [], { nodes: 1, definitions: { subgraphs: {} } }]) changeStacks(strange, "Stack", String);
});

/** @param {Partial<import("../../js/values/verdicts.mjs").Candidate>} of */
const candidate = (of) => ({ name: "new.safetensors", why: "", by: "name", sha256: null, air: null, ...of });

test("a row that takes another file says what is known of that file, and nothing stale", () => {
  const row = { lora: "old", model: 1, sha256: SHA, air: AIR, hash: "1234567890" };
  const cases = /** @type {const} */ ([
    [{ by: "name" }, {}],
    [{ by: "name", sha256: OTHER, air: "civitai:3" }, { sha256: OTHER, air: "civitai:3" }],
    [{ by: "content", sha256: SHA }, { sha256: SHA, air: AIR }],
    [{ by: "name", sha256: SHA }, { sha256: SHA, air: AIR }],
    [{ by: "used" }, { sha256: SHA, air: AIR, hash: "1234567890" }],
    [{ by: "tensors", sha256: OTHER }, { sha256: OTHER, air: AIR }],
    [{ by: "air", air: AIR }, { air: AIR }],
    [{ by: "changed", sha256: OTHER }, { sha256: OTHER }],
  ]);
  for (const [of, expected] of cases) {
    assert.deepEqual(changed(row, adopting(row, candidate(of))), { lora: "new.safetensors", model: 1, ...expected }, JSON.stringify(of));
  }
});

test("one file is certain, or none", () => {
  const row = { lora: "x", sha256: SHA };
  const [content, air, name, other] = [
    candidate({ name: "1", by: "content", sha256: SHA }), candidate({ name: "2", by: "air" }), candidate({ name: "3" }),
    candidate({ name: "4", sha256: OTHER }),
  ];
  /** @type {[ReturnType<typeof candidate>[], string | undefined][]} */
  const cases = [
    [[], undefined], [[name, air, content], "1"], [[name, air], "2"], [[name, other], "3"], [[other], undefined],
    [[content, { ...content, name: "copy" }], undefined], [[name, { ...name, name: "twin" }], undefined],
    [[candidate({ by: "tensors" })], undefined], [[candidate({ by: "changed" })], undefined],
  ];
  for (const [candidates, expected] of cases) assert.equal(certainOf(row, candidates)?.name, expected, JSON.stringify(candidates));
});
