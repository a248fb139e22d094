// Bars of rows against each other, and rows that get suggested weights.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { flat } from "../../js/values/groups.mjs";
import { askedOf, barsOf } from "../../js/values/strengths.mjs";
import { weighed } from "../../js/values/suggested.mjs";

/** @type {Record<string, import("../../js/values/strengths.mjs").Known>} */
const KNOWN = { a: { model: 3, clip: 4 }, b: { model: 5, clip: 0 }, odd: { why: "of the model" } };
/** @param {import("../../js/values/stack.mjs").Row} row */
const find = (row) => KNOWN[row.lora];

describe("bars", () => {
  /** @type {[string, import("../../js/values/stack.mjs").Row[], unknown[]][]} */
  const cases = [
    ["the clip weight counts for the text encoders", [{ lora: "a", model: 1, clip: 0 }, { lora: "b", model: 1 }], [[0.375, 0.6], [0.625, 1]]],
    ["without one, the model weight does; signs do not count", [{ lora: "a", model: -1 }, { lora: "b", model: 1 }], [[0.5, 1], [0.5, 1]]],
    ["two rows of one file count each by itself", [{ lora: "b", model: 1 }, { lora: "b", model: 1 }], [[0.5, 1], [0.5, 1]]],
    ["one alone has none", [{ lora: "a" }, { lora: "b", on: false }], [undefined, undefined]],
    ["a weight of 0 does not count", [{ lora: "a" }, { lora: "b", model: 0 }], [undefined, undefined]],
    ["none while one is not known yet", [{ lora: "a" }, { lora: "b" }, { lora: "later" }], [undefined, undefined, undefined]],
    ["none for one that cannot be told", [{ lora: "a" }, { lora: "b" }, { lora: "odd" }], [[0.5, 1], [0.5, 1], "of the model"]],
    ["nor for one beside it", [{ lora: "a" }, { lora: "odd" }], [undefined, "of the model"]],
  ];
  for (const [name, rows, expected] of cases) {
    test(name, () => {
      const found = barsOf(rows, find).map((one) => (one && ("why" in one ? one.why : [one.share, one.length])));
      assert.deepEqual(found, expected);
    });
  }
  test("without text encoders only the model counts", () => {
    const found = barsOf([{ lora: "a", model: 1 }, { lora: "b", model: 1 }], find, false);
    assert.deepEqual(found.map((one) => one && "share" in one && one.share), [0.375, 0.625]);
  });
  test("what is asked does not change with the weight", () => {
    assert.deepEqual(askedOf({ lora: "a", model: 2, on: true, air: null, blocks: { attn: 0.5 } }), { lora: "a", blocks: { attn: 0.5 } });
  });
  test("200 rows are drawn within a frame", () => {
    const rows = Array.from({ length: 200 }, (_, index) => ({ lora: index % 2 ? "a" : "b", model: index + 1 }));
    const start = performance.now();
    for (let turn = 0; turn < 20; turn++) barsOf(rows, find);
    assert.ok((performance.now() - start) / 20 < 16);
  });
});

describe("suggested weights", () => {
  /** @type {import("../../js/values/suggested.mjs").Suggested} */
  const suggested = { rows: [["x/a.safetensors", 1, null], ["b.safetensors", 0.5, 0.2]], weights: { equal: [[0.5, null], [0.75, 0.3]] } };
  const first = { lora: "x/a.safetensors", model: 1, schedule: "1@0 -> 0@1" };
  const off = { lora: "c.safetensors", on: false, model: 3 };
  const last = { lora: "b.safetensors", model: 0.5, clip: 0.2 };
  test("go to the rows that are on, of several stacks; the rest stays", () => {
    assert.deepEqual(weighed([[first, off], [last]], suggested, "equal"), [
      [{ lora: "x/a.safetensors", model: 0.5, schedule: "1@0 -> 0@1" }, off], [{ lora: "b.safetensors", model: 0.75, clip: 0.3 }],
    ]);
  });
  test("go to rows that have other suggested weights by now", () => {
    const [[one, two]] = weighed([[first, last]], suggested, "equal") ?? [[]];
    assert.deepEqual(weighed([[one, two]], { ...suggested, weights: { ...suggested.weights, total: [[2, null], [1, 1]] } }, "total"),
      [[{ ...first, model: 2 }, { ...last, model: 1, clip: 1 }]]);
  });
  test("go to rows so that they act with them where a group multiplies them", () => {
    const rows = [{ ...first, model: 2, group: "x" }, { ...last, model: 1, clip: 0.4, group: "x" }];
    const acting = flat({ rows, more: { groups: [{ name: "x", factor: 0.5 }] } });
    assert.deepEqual(acting.map(({ model }) => model), [first.model, last.model]);
    assert.deepEqual(weighed([rows], suggested, "equal", [acting]),
      [[{ ...rows[0], model: 1 }, { ...rows[1], model: 1.5, clip: 0.6 }]]);
  });
  test("a row that is found by its hash has another name", () => {
    assert.ok(weighed([[{ ...first, lora: "old.safetensors", sha256: "ab" }, last]], suggested, "equal"));
  });
  for (const [name, rows] of /** @type {[string, import("../../js/values/stack.mjs").Row[]][]} */ ([
    ["another weight", [{ ...first, model: 0.9 }, last]], ["another order", [last, first]], ["one more", [first, last, first]],
    ["another file", [{ ...first, lora: "z.safetensors" }, last]],
  ])) test(`not to other rows than were measured: ${name}`, () => assert.equal(weighed([rows], suggested, "equal"), null));
});
