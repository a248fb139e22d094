// Weights per block as bars: what bars show, what stays as it is, and the fewest patterns for them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { BarValues, compose, factorOf, groupsOf, parsePattern, presetsFor, readBlocks } from "../../js/values/blocks.mjs";

const kind = (of, n = 2, on = n) => ({ of, n, on });
const third = (number, count) => ["early", "mid", "late"][Math.floor((number * 3) / count)];
const stack = (name, short, count) => Array.from({ length: count }, (_, number) => ({
  name, number, encoder: "", kinds: ["attn", "mlp"].map((part) => kind({ [name]: number, [short]: number, [part]: null, [third(number, count)]: null })),
}));
const encoder = (name) => ({ name: `${name}.layers`, number: 0, encoder: name, kinds: [kind({ [`${name}.layers`]: 0, [name]: null, text_encoder: null, attn: null }, 3, 0)] });
const FLUX = [...stack("double_blocks", "double", 6), { name: "img_in", number: null, encoder: "", kinds: [kind({ img_in: null, other: null }, 1, 0)] },
  ...stack("single_blocks", "single", 9), encoder("clip_l"), encoder("t5xxl")];
const GROUPS = groupsOf(FLUX);

/** @param {Record<string, number>} blocks */
const valuesFor = (blocks) => new BarValues(GROUPS, FLUX, blocks);

test("the groups and their bars", () => {
  assert.deepEqual(GROUPS.map(({ role, id, bars }) => [role, id, bars.length]),
    [["blocks", "double_blocks", 6], ["blocks", "single_blocks", 9], ["outside", "", 1], ["encoders", "text_encoder", 2], ["kinds", "", 3]]);
  assert.deepEqual(GROUPS[4].bars.map(({ id, layers, touched }) => [id, layers, touched]), [["attn", 36, 30], ["mlp", 30, 30], ["other", 1, 0]]);
});

describe("what bars show", () => {
  for (const [blocks, bars, written] of [
    [{ "double_blocks.0-2": 0.5 }, { "double_blocks.0": 0.5, "double_blocks.2": 0.5 }],
    [{ "double.1,3": 0 }, { "double_blocks.1": 0, "double_blocks.3": 0 }, { "double_blocks.1,3": 0 }],
    [{ double_blocks: 0.5 }, { "double_blocks.5": 0.5 }],
    [{ "double_blocks.0-2": 0.5, double: 0.5 }, { "double_blocks.1": 0.25, "double_blocks.4": 0.5 }, { "double_blocks.0-2": 0.25, "double_blocks.3-5": 0.5 }],
    [{ text_encoder: 0 }, { clip_l: 0, t5xxl: 0 }],
    [{ clip_l: 0.5 }, { clip_l: 0.5 }],
    [{ attention: 0.5, MLP: 0 }, { attn: 0.5, mlp: 0 }, { attn: 0.5, mlp: 0 }],
    [{ img_in: 2 }, { img_in: 2 }],
    [{}, { attn: 1, "single_blocks.8": 1 }],
  ]) {
    test(JSON.stringify(blocks), () => {
      const values = valuesFor(blocks);
      for (const [id, value] of Object.entries(bars)) assert.equal(values.of(id), value, id);
      assert.deepEqual(values.others, {});
      assert.deepEqual(values.toBlocks(), written ?? blocks);
    });
  }
});

describe("what no bar shows stays as it is", () => {
  for (const pattern of ["double attn", "early", "*", "double_blocks.0-90", "blocks.3", "clip_l.layers.0", "single_blocks.9", "attn.3", "(attn)"]) {
    test(pattern, () => {
      const values = valuesFor({ [pattern]: 0.5, "single.0": 0 });
      assert.deepEqual(values.others, { [pattern]: 0.5 });
      values.values.set("double_blocks.2", 0.25);
      assert.deepEqual(values.toBlocks(), { "double_blocks.2": 0.25, "single_blocks.0": 0, [pattern]: 0.5 });
    });
  }
});

test("what is said of the layers", () => {
  const values = valuesFor({ "double attn": 0, "double_blocks.0": 0.5, "blocks.3": 0, text_encoder: 0 });
  assert.deepEqual(values.effect("double_blocks.0"), [0, 0.5]);
  assert.deepEqual(values.effect("mlp"), [0.5, 1]);
  assert.deepEqual(values.count(), { touched: 60, left: 12 });
  assert.deepEqual(values.unknown(), ["blocks.3"]);
  assert.deepEqual(values.untouched(), ["text_encoder", "blocks.3"]);
});

test("presets", () => {
  const blocks = Object.fromEntries(presetsFor(GROUPS).map((preset) => [preset.id, preset.blocks]));
  assert.deepEqual(blocks, {
    whole: {}, attention: { mlp: 0, other: 0 }, mlp: { attn: 0, other: 0 },
    early: { "double_blocks.2-5": 0, "single_blocks.3-8": 0 }, mid: { "double_blocks.0-1,4-5": 0, "single_blocks.0-2,6-8": 0 },
    late: { "double_blocks.0-3": 0, "single_blocks.0-5": 0 }, without_text_encoder: { text_encoder: 0 },
  });
  for (const preset of Object.values(blocks)) assert.deepEqual(valuesFor(preset).others, {});
  const unet = ["input", "middle", "output"].map((name) => ({ name, number: name === "middle" ? null : 0, encoder: "", kinds: [kind({ [name]: name === "middle" ? null : 0, audio: null, video: null })] }));
  assert.deepEqual(presetsFor(groupsOf(unet)).map(({ id, blocks: one }) => [id, one]), [
    ["whole", {}], ["input", { middle: 0, output: 0 }], ["middle", { input: 0, output: 0 }], ["output", { input: 0, middle: 0 }],
    ["without_audio", { audio: 0 }], ["without_video", { video: 0 }],
  ]);
});

test("pasted text", () => {
  const blocks = { "input.4": 0.5 };
  for (const data of [blocks, { blocks }, { lora: "a", blocks }, [{ lora: "a", blocks }], { loras: [{ lora: "a", blocks }] }]) {
    assert.deepEqual(readBlocks(JSON.stringify(data)), blocks);
  }
  for (const text of ["", "lbw=1,0", "[]", "3", '{"input.4": "x"}', '{"input.4": 1e9}', '{"(x)": 1}', '{"input.4": null}']) assert.equal(readBlocks(text), null, text);
});

test("patterns that are none", () => {
  for (const text of ["", "3", "a..b", "a.1-", "(x)", "a.5-2", "x".repeat(201)]) assert.equal(parsePattern(text), null, text);
  assert.equal(factorOf({ "(x)": 0 }, { x: null }), 1);
  assert.deepEqual(compose("input", []), {});
});
