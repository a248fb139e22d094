// @ts-check
/** What a person says of a workflow's inputs, and the form of a published one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, fieldAt, fieldsOf, randomNumber, typedValue } from "../../js/values/form.mjs";
import { arranged, changedRow, inputItems, moved, nameFrom, outputItems, readSaid, rowsOf, withSaid } from "../../js/values/published.mjs";

/** @param {string} name @param {number | null} [row] @returns {import("../../js/values/published.mjs").Input} */
const input = (name, row = null) => ({
  name, kind: "integer", schema: {}, default: 1, title: name, description: "", required: false, place: ["3", name], row,
});
/** @param {string} widget @param {object} [more] */
const row = (widget, more = {}) => ({ node: "3", widget, ...more });
/** @param {Partial<import("../../js/values/published.mjs").Draft>} more */
const draft = (more) => /** @type {import("../../js/values/published.mjs").Draft} */ ({
  publication: { name: "x", version: 1, inputs: [], outputs: [], notes: [], urls: {} }, programs: {}, problems: [],
  found: { inputs: [], outputs: [] }, others: [], versions: [], is_published: false, ...more,
});

test("what is said is read from anything, and leaves nothing behind when it is nothing", () => {
  const nothing = { name: "", description: "", inputs: [], outputs: [] };
  for (const extra of [undefined, null, 1, {}, { lorchestra: 7 }, { lorchestra: { inputs: "x", name: 3 } }]) assert.deepEqual(readSaid(extra), nothing);
  const said = { ...nothing, name: "a", inputs: [row("seed")] };
  const extra = withSaid({ ds: 1, lorchestra: { later: true } }, said);
  assert.deepEqual(extra, { ds: 1, lorchestra: { later: true, name: "a", inputs: [row("seed")] } });
  assert.deepEqual(readSaid(extra), said);
  assert.deepEqual(withSaid({ ds: 1, lorchestra: { name: "a" } }, nothing), { ds: 1 });
});

test("the inputs stand in the order of the rows, with what was found, what is hidden, added and gone", () => {
  const rows = [row("cfg", { hidden: true }), row("gone"), row("prefix"), row("steps", { minimum: 0 })];
  const found = [input("seed"), input("steps", 3), input("cfg", 0), input("size")];
  const made = [input("prefix", 2), input("steps", 3), input("seed"), input("size")];
  const items = inputItems(draft({
    found: { inputs: found, outputs: [] }, problems: [{ path: "inputs[3]", message: "too low" }],
    publication: { name: "x", version: 1, inputs: made, outputs: [], notes: [], urls: {} },
  }), rows);
  assert.deepEqual(items.map(({ key, found: own, made: now, order, problem }) => [key, own?.name, now?.name, order, problem]), [
    ["3 cfg", "cfg", undefined, 2, ""], ["3 gone", undefined, undefined, Infinity, ""], ["3 prefix", undefined, "prefix", Infinity, ""],
    ["3 steps", "steps", "steps", 1, "too low"], ["3 seed", "seed", "seed", 0, ""], ["3 size", "size", "size", 3, ""],
  ]);
  assert.deepEqual(rowsOf(items), rows);
  const later = arranged(items, [row("size"), row("cfg"), row("new")]);
  assert.deepEqual(later.map(({ key, found: own }) => [key, Boolean(own)]), [
    ["3 size", true], ["3 cfg", true], ["3 new", false], ["3 seed", true], ["3 steps", true],
  ]);
  assert.deepEqual(later[4].row, row("steps")); // what the row said is gone with it
});

test("there are as few rows as say the same", () => {
  const items = ["a", "b", "c", "d"].map((name, order) => ({ row: row(name), order }));
  assert.deepEqual(rowsOf(items), []);
  const said = items.map((item) => (item.order === 1 ? { ...item, row: row("b", { name: "x" }) } : item));
  assert.deepEqual(rowsOf(said), [row("a"), row("b", { name: "x" })]);
  assert.deepEqual(rowsOf(moved(items, 2, 0)), [row("c")]);
  assert.deepEqual(rowsOf(moved(items, 0, 3)), [row("b"), row("c"), row("d")]);
  assert.deepEqual(rowsOf(moved(moved(items, 0, 3), 3, 0)), []);
  assert.deepEqual(rowsOf([...items, { row: row("added"), order: Infinity }]), [...items.map((item) => item.row), row("added")]);
});

test("an empty word takes back what was said", () => {
  assert.deepEqual(changedRow(row("a", { name: "x", minimum: 2 }), { name: "", minimum: undefined, required: true }), row("a", { required: true }));
  assert.deepEqual(changedRow(row("a"), { minimum: 0, default: false }), row("a", { minimum: 0, default: false }));
});

test("outputs are known by their nodes", () => {
  const output = (/** @type {string} */ node, /** @type {string} */ name) => ({ name, kind: "image", node, description: "" });
  const items = outputItems(draft({
    found: { inputs: [], outputs: [output("9", "image"), output("12", "image_2")] },
    publication: { name: "x", version: 1, inputs: [], outputs: [output("12", "small")], notes: [], urls: {} },
  }), [{ node: 12, name: "small" }, { node: "9", hidden: true }, { node: "77" }]);
  assert.deepEqual(items.map(({ key, made, found }) => [key, made?.name, found?.name]), [["12", "small", "image_2"], ["9", undefined, "image"], ["77", undefined, undefined]]);
});

test("a file's name becomes one that the service takes", () => {
  const names = { "Portrait, 2nd try": "portrait-2nd-try", lora_stack: "lora_stack", "Été": "ete", "": "workflow", "日本": "workflow", "-_x": "x" };
  for (const [file, name] of Object.entries(names)) {
    assert.equal(nameFrom(file), name);
    assert.match(nameFrom(file), /^[a-z0-9][a-z0-9_-]{0,63}$/);
  }
  assert.equal(nameFrom("a".repeat(63) + " b").length, 63);
});

const SCHEMA = {
  required: ["prompt"],
  properties: {
    prompt: { type: "string", maxLength: 100000, title: "Prompt" },
    seed: { type: "integer", minimum: 0, maximum: 2 ** 64, default: 1, "x-role": "seed" },
    cfg: { type: "number", minimum: 0, maximum: 100, "x-step": 0.1 },
    sampler: { type: "string", enum: ["euler", "heun"], default: "euler" },
    tiled: { type: "boolean", default: false },
    image: { anyOf: [{ type: "string" }], "x-role": "image", default: "example.png" },
    loras: { type: "array", maxItems: 20, "x-role": "loras", default: [] },
    file: { type: "string", maxLength: 1024 }, any: {},
  },
};

test("a form has a field for each property", () => {
  const fields = fieldsOf(SCHEMA);
  assert.deepEqual(fields.map(({ name, control }) => [name, control]), [
    ["prompt", "text"], ["seed", "integer"], ["cfg", "number"], ["sampler", "choice"], ["tiled", "boolean"], ["image", "media"],
    ["loras", "loras"], ["file", "line"], ["any", "json"],
  ]);
  assert.deepEqual(fields.filter(({ required }) => required).map(({ name }) => name), ["prompt"]);
  assert.equal(fields[6].most, 20);
  assert.deepEqual([fieldsOf(null), fieldsOf({ properties: { a: 1 } })], [[], []]);
});

test("what is typed is sent as what it is, and large numbers with all their digits", () => {
  const [prompt, seed, cfg, sampler, tiled, , , file, any] = fieldsOf(SCHEMA);
  const values = {
    prompt: typedValue(prompt, "a \"b\""), seed: typedValue(seed, "18446744073709551615"), cfg: typedValue(cfg, "2.5"),
    sampler: typedValue(sampler, "heun"), tiled: typedValue(tiled, "true"), file: typedValue(file, ""), any: typedValue(any, "[1]"),
  };
  assert.equal(bodyOf(values), '{"prompt":"a \\"b\\"","seed":18446744073709551615,"cfg":2.5,"sampler":"heun","tiled":true,"any":[1]}');
  assert.deepEqual([typedValue(seed, "x"), typedValue(seed, " "), typedValue(any, "{")], ["x", undefined, "{"]);
  assert.deepEqual(fieldAt("loras[1].weight"), { name: "loras", row: 1 });
  assert.deepEqual([fieldAt("steps"), fieldAt("")], [{ name: "steps", row: undefined }, { name: "", row: undefined }]);
  assert.equal(randomNumber(seed, () => 0.5), Math.floor(Number.MAX_SAFE_INTEGER / 2));
});
