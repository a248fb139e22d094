// What is wrong with rows, what stands under those that a run refused, and what may stand in their place.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fixItems } from "../../js/stack/fix.mjs";
import { crc32 } from "../../js/values/crc32.mjs";
import { problemsInWords, problemsOf, refusalOf, troubled } from "../../js/values/problems.mjs";
import { createEntries, nearest, readLora, select } from "../../js/values/search.mjs";
import { NOTHING, offerFor } from "../../js/values/verdicts.mjs";

/** @typedef {import("../../js/values/verdicts.mjs").Badge} Badge */
/** @typedef {import("../../js/values/verdicts.mjs").State} State */

/** @param {State} state @param {Partial<Badge>} [more] @returns {Badge} */
const badge = (state, more) => ({ ...NOTHING, state, sentence: `it is ${state}`, ...more });
/** @param {string} name @param {State | null} [state] */
const file = (name, state) => ({ name, why: "the same file name", by: "name", sha256: null, air: null, state });
const rows = ["a", "b", "c", "d", "e", "f"].map((lora) => ({ lora }));
const badges = [
  badge("misfit"), badge("missing"), badge("missing", { ambiguous: true, candidates: [file("x/c", "misfit"), file("y/c", "fits")] }),
  badge("broken"), badge("partly"), badge("misfit"),
];

describe("problems", () => {
  test("are those of rows that are on", () => {
    const found = problemsOf(rows, badges);
    assert.deepEqual(found, { misfits: [0, 5], missing: [1], ambiguous: [2], unusable: [3] });
    assert.deepEqual(troubled(found), [0, 1, 2, 3, 5]);
    assert.equal(problemsInWords(found), "2 don't fit · 1 missing · 1 to choose · 1 can't be used");
    assert.equal(problemsInWords(problemsOf(rows.map((row) => ({ ...row, on: false })), badges)), "");
    assert.equal(problemsInWords(problemsOf(rows, [])), "");
    assert.equal(problemsInWords(problemsOf(rows, badges.slice(0, 1))), "1 doesn't fit");
  });
  test("that a run refused are told as they are known now", () => {
    const refused = { lora: "a", sentence: "a: what the run said" };
    assert.equal(refusalOf({ lora: "a" }, badge("misfit", { refused })), "it is misfit");
    assert.equal(refusalOf({ lora: "a" }, badge("unknown", { refused })), "a: what the run said");
    assert.equal(refusalOf({ lora: "a" }, { ...NOTHING, refused }), "a: what the run said");
    assert.equal(refusalOf({ lora: "a", on: false }, badge("misfit", { refused })), "");
    assert.equal(refusalOf({ lora: "b" }, badge("misfit", { refused })), ""); // another one was chosen since
    assert.equal(refusalOf({ lora: "a" }, badge("misfit")), "");
    assert.equal(refusalOf({ lora: "a" }, undefined), "");
  });
  test("of a name with several files are solved by the only one that fits", () => {
    const of = (/** @type {(State | null)[]} */ ...states) =>
      offerFor({ lora: "c" }, badge("missing", { candidates: states.map((state, at) => file(String(at), state)) }))?.name;
    assert.equal(of("misfit", "fits"), "1");
    assert.equal(of("fits", "fits"), undefined);
    assert.equal(of("unknown", "misfit"), undefined);
    assert.equal(of(null), "0");
    assert.equal(of("misfit"), "0");
  });
  test("are mended by the menu in single steps", () => {
    /** @type {[string, unknown][]} */
    const done = [];
    const does = (/** @type {string} */ name) => (/** @type {unknown} */ what) => { done.push([name, what]); };
    const items = fixItems({
      rows, badges, problems: problemsOf(rows, badges), use: does("use"), turnOff: does("off"), replace: does("replace"),
      show: does("show"), showMissing: () => {},
    });
    for (const item of items) if (item && item !== "-" && item.label !== "Missing LoRAs…") item.run?.();
    assert.deepEqual(done, [
      ["show", 0], ["use", [{ index: 2, file: file("y/c", "fits") }]], ["replace", [0, 1, 3, 5]], ["off", [0, 5]], ["off", [1]],
      ["off", [0, 1, 2, 3, 5]],
    ]);
  });
});

describe("what is likely in the place of a LoRA", () => {
  /** @param {string} name @param {string[]} [architectures] */
  const lora = (name, architectures = []) => /** @type {import("../../js/values/search.mjs").Lora} */ (readLora({ name, known: true, architectures }));
  const model = { title: "SDXL", architectures: ["sdxl"] };
  const entries = createEntries([
    lora("ink/water_colour.safetensors", ["flux"]), lora("sdxl/Water-Color-v2.safetensors", ["sdxl"]), lora("pixel.safetensors", ["sdxl"]),
    lora("other/watercolor.safetensors", ["sdxl"]), lora("水彩风格.safetensors", ["sdxl"]), lora("水彩风格-v2.safetensors"), lora("oil.safetensors", ["sdxl"]),
  ]);
  test("is what fits and is named nearly so", () => {
    assert.deepEqual(nearest(entries, "gone/water_color.safetensors", model),
      ["other/watercolor.safetensors", "sdxl/Water-Color-v2.safetensors", "ink/water_colour.safetensors"]);
    assert.deepEqual(nearest(entries, "ink/water_colour.safetensors", model).slice(0, 2), ["other/watercolor.safetensors", "sdxl/Water-Color-v2.safetensors"]);
    assert.deepEqual(nearest(entries, "水彩风格.safetensors", model), ["水彩风格-v2.safetensors"]);
  });
  test("and what is known to be likely, whatever its name is", () => {
    assert.deepEqual(nearest(entries, "abc", model, ["oil.safetensors"]), ["oil.safetensors"]);
    assert.deepEqual(nearest(entries, "civitai:1@2", model), []);
    assert.deepEqual(nearest(entries, "", null), []);
  });
  test("comes first, also among what is searched for", () => {
    const filter = { query: "", folder: "", fits: null, family: null, favourite: null, recent: null, first: ["oil.safetensors", "pixel.safetensors"] };
    assert.deepEqual(select(entries, filter).found.slice(0, 2).map((entry) => entry.lora.name), filter.first);
    assert.equal(select(entries, filter).found.length, entries.length);
  });
});

test("the sum of a text is zlib's", () => {
  assert.equal(crc32("123456789"), "cbf43926");
  assert.equal(crc32(""), "00000000");
  assert.equal(crc32("水彩 <lora:é:1>"), "4a8e8e36");
});
