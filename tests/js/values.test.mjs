// Numbers, names, axes, pasted texts and the search of the picker.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { axisOf, linePath, nextOnGrid, niceStep, onGrid, Scale, startsOf, weightsOf } from "../../js/values/axis.mjs";
import { withListedNames } from "../../js/values/names.mjs";
import { clamp, formatCount, formatWeight, readNumber, rounded, splitName } from "../../js/values/numbers.mjs";
import { mayBeRows } from "../../js/values/pasted.mjs";
import { offerFor } from "../../js/values/verdicts.mjs";
import {
  countFamilies, createEntries, createFolders, fitOf, fold, foundBy, isFor, inOrder, ORDERS, readLora, select, wordsOf,
} from "../../js/values/search.mjs";

describe("numbers", () => {
  test("weights have two decimals, and as many as they need", () => {
    const cases = /** @type {const} */ ([[1, "1.00"], [0.5, "0.50"], [0.125, "0.125"], [-2.5, "-2.50"], [1e-7, "1e-7"], [0.1 + 0.2, "0.30000000000000004"]]);
    for (const [value, written] of cases) assert.equal(formatWeight(value), written);
  });
  test("typed numbers", () => {
    const cases = /** @type {const} */ ([["0,5", 0.5], [" −1.5 ", -1.5], [".5", 0.5], ["2.", 2], ["1e2", 100], ["", null], ["1 2", null], ["0x1", null], ["Infinity", null]]);
    for (const [text, value] of cases) assert.equal(readNumber(text), value, text);
  });
  test("rounded and clamped", () => {
    assert.equal(rounded(0.1 + 0.2), 0.3);
    assert.ok(Object.is(rounded(-0.00001), 0));
    assert.equal(clamp(5, 0, 1), 1);
    assert.equal(clamp(-5, 0, 1), 0);
    assert.equal(formatCount(12), "12");
  });
  test("a name's folder and title", () => {
    assert.deepEqual(splitName("styles/old/pixel.safetensors"), { folder: "styles/old/", title: "pixel" });
    assert.deepEqual(splitName("a\\b.v2.GGUF"), { folder: "a\\", title: "b.v2" });
    assert.deepEqual(splitName(".safetensors"), { folder: "", title: ".safetensors" });
  });
});

describe("names that leave out the folder or the ending", () => {
  const listed = ["styles/pixel.safetensors", "one/twin.safetensors", "two/twin.safetensors", "bare.pt"];
  const named = (/** @type {string} */ lora) => withListedNames([{ lora, model: 1 }], listed);
  test("become the file that is meant", () => {
    assert.deepEqual(named("pixel").rows, [{ lora: "styles/pixel.safetensors", model: 1 }]);
    assert.deepEqual(named("styles\\pixel").rows[0].lora, "styles/pixel.safetensors");
    assert.deepEqual(named("bare.pt"), { rows: [{ lora: "bare.pt", model: 1 }], notes: [] });
  });
  test("stay where there is no such file, or several", () => {
    assert.equal(named("pix").rows[0].lora, "pix");
    assert.equal(named("other/pixel").rows[0].lora, "other/pixel");
    const { rows, notes } = named("twin");
    assert.equal(rows[0].lora, "twin");
    assert.equal(notes.length, 1);
    assert.match(notes[0], /twin.*one\/twin\.safetensors, two\/twin\.safetensors/);
  });
  test("with a folder that is not there, are told with the files of the same name", () => {
    assert.deepEqual(named("old/pixel.safetensors"), {
      rows: [{ lora: "old/pixel.safetensors", model: 1 }],
      notes: ["Row 1: old/pixel.safetensors is not there. The row offers styles/pixel.safetensors, which has the same file name."],
    });
    assert.match(named("old\\twin").notes[0], /is the name of 2 files\. Choose one: one\/twin\.safetensors, two\/twin\.safetensors/);
    assert.deepEqual(named("old/ixel.safetensors").notes, []);
  });
});

describe("the file that a row offers", () => {
  const badge = (/** @type {object} */ more) => ({ state: /** @type {const} */ ("fits"), sentence: "s", sha256: null, air: null, candidates: [], ...more });
  const offer = (/** @type {string} */ lora, /** @type {object} */ more) => offerFor({ lora }, badge(more))?.name;
  const [one, two] = ["a.pt", "b/a.pt"].map((name) => ({ name, why: "w" }));
  test("for one that is missing, is the only candidate", () => {
    assert.equal(offer("x/a.pt", { state: "missing", candidates: [one] }), "a.pt");
    assert.equal(offer("x/a.pt", { state: "missing", candidates: [one, two] }), undefined);
    assert.equal(offer("x/a.pt", { state: "missing" }), undefined);
    assert.equal(offerFor({ lora: "x/a.pt" }, undefined), undefined);
  });
  test("is what is used in place of a path that is not there", () => {
    assert.equal(offer("x/a.pt", { file: "b/a.pt" }), "b/a.pt");
    for (const same of ["b/a.pt", "b\\a", "b/a"]) assert.equal(offer(same, { file: "b/a.pt" }), undefined, same);
    for (const other of ["a", "a.pt", "civitai:1@2"]) assert.equal(offer(other, { file: "b/a.pt" }), undefined, other);
  });
});

describe("axes", () => {
  const at = (/** @type {number[]} */ ...places) => places.map((place) => ({ at: place, weight: 1, easing: "linear" }));
  test("of steps and sigmas", () => {
    assert.equal(axisOf({ unit: "progress", keyframes: at(0) }, {}).end, 1);
    assert.equal(axisOf({ unit: "step", keyframes: at(1) }, { steps: 20 }).end, 21);
    assert.equal(axisOf({ unit: "step", keyframes: at(30) }, { steps: 20 }).end, 30);
    const sigma = axisOf({ unit: "sigma", keyframes: at(7) }, { sigmas: [14, 5, 0] });
    assert.deepEqual([sigma.start, sigma.end], [14, 0]);
  });
  test("of weights have room for all values, 0 and 1", () => {
    assert.deepEqual(weightsOf([]), { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] });
    const { low, high } = weightsOf([-0.3, 4]);
    assert.ok(low <= -0.3 && high >= 4);
  });
  test("grids", () => {
    assert.equal(niceStep(0.22), 0.25);
    assert.equal(niceStep(3), 5);
    assert.equal(nextOnGrid(0.32, 0.05, 1), 0.35);
    assert.equal(nextOnGrid(0.3, 0.05, -1), 0.25);
    assert.equal(onGrid(0.33, 0.05), 0.35);
  });
  test("positions and weights to pixels and back", () => {
    const scale = new Scale(axisOf({ unit: "progress", keyframes: at(0) }, {}), weightsOf([]), { left: 10, top: 0, width: 200, height: 100 });
    assert.deepEqual([scale.x(0.5), scale.y(0.25)], [110, 75]);
    assert.deepEqual([scale.at(110), scale.weight(75)], [0.5, 0.25]);
    assert.equal(scale.at(-50), 0);
    const hold = { unit: /** @type {const} */ ("progress"), keyframes: [{ at: 0, weight: 1, easing: "hold" }, { at: 0.5, weight: 0, easing: "linear" }] };
    assert.equal(linePath(hold, scale), "M10 0L10 0H110L110 100H210");
  });
  test("starts of steps", () => {
    assert.deepEqual(startsOf({ unit: "progress", keyframes: [] }, { steps: 4 }), [0, 0.25, 0.5, 0.75]);
    assert.deepEqual(startsOf({ unit: "step", keyframes: [] }, { steps: 2 }), [1, 2]);
    assert.deepEqual(startsOf({ unit: "sigma", keyframes: [] }, { sigmas: [14, 5, 0] }), [14, 5]);
    assert.deepEqual(startsOf({ unit: "step", keyframes: [] }, {}), []);
  });
});

describe("pasted texts", () => {
  const rows = [
    '{"version": 1, "loras": []}', '[{"model": "civitai:1@2", "weight": 1}]', "a cat <lora:pixel:0.7>, [b]", "[a] <lora:x:1>", '[["a", 1, 1]]',
    '[{"lora": null, "strength": 1}]', '[{"name": "a", "strength": "0.5"}]', '{"lora_1": {"lora": "a", "on": true}}', '{"__value__": [{"lora": "a"}]}',
    '[{"taskType": "imageInference", "lora": []}]',
  ];
  for (const text of rows) test(`may be rows: ${text}`, () => assert.equal(mayBeRows(text), true));
  const others = ["", "hello [1]", '{"a": 1}', "[1, 2, 3]", "[]", '{"1": {"class_type": "KSampler", "inputs": {}}}', "<b>x</b>", '{"nodes": [], "lora": "a"}', '{"loras": 1}'];
  for (const text of others) test(`are none: ${text}`, () => assert.equal(mayBeRows(text), false));
  test("are none when they are too long", () => assert.equal(mayBeRows(`<lora:a:1>${" ".repeat(4_000_000)}`), false));
});

describe("the picker's search", () => {
  const lora = (/** @type {string} */ name, /** @type {object} */ facts = {}) =>
    /** @type {import("../../js/values/search.mjs").Lora} */ (readLora({ name, known: true, ...facts }));
  const filter = { query: "", folder: "", fits: null, family: null, favourite: null, recent: null };
  const found = (/** @type {any} */ entries, /** @type {object} */ more) =>
    select(entries, { ...filter, ...more }).found.map((entry) => entry.lora.name);
  const entries = createEntries([
    lora("styles/v10.safetensors"), lora("styles/v2.safetensors", { title: "Märchen" }), lora("styles/old/pixel.safetensors", { triggers: ["Glow"] }),
    lora("pixel art.safetensors", { architectures: ["sdxl"], family: ["SDXL"] }),
  ]);
  test("2 comes before 10, folders before their neighbours", () => {
    assert.deepEqual(entries.map((entry) => entry.lora.name), [
      "pixel art.safetensors", "styles/old/pixel.safetensors", "styles/v2.safetensors", "styles/v10.safetensors",
    ]);
  });
  test("words", () => {
    assert.equal(fold("Ünï_Größe - 2"), "uni grosse 2");
    assert.deepEqual(wordsOf(" Pixel.safetensors  ART "), ["pixel", "art"]);
    assert.deepEqual(found(entries, { query: "pix" }), ["pixel art.safetensors", "styles/old/pixel.safetensors"]);
    assert.deepEqual(found(entries, { query: "marchen" }), ["styles/v2.safetensors"]);
    assert.deepEqual(found(entries, { query: "glow" }), ["styles/old/pixel.safetensors"]);
    assert.equal(foundBy(entries[1], ["glow"]), "Glow");
    assert.equal(foundBy(entries[1], ["pixel"]), "");
  });
  test("spelling and typing errors", () => {
    const names = ["watercolor_style", "a/Watercolour", "pixel-art", "style-1998", "Schnee"].map((name) => lora(`${name}.safetensors`));
    const all = createEntries([...names, lora("x.safetensors", { title: "Ölgemälde", triggers: ["sumi-e wash", "chiaroscuro"] })]);
    const by = (/** @type {string} */ query) => found(all, { query }).map((name) => name.replace(".safetensors", ""));
    for (const query of ["watercolor", "watrecolor", "watercolors", "watercollor"]) {
      assert.deepEqual(by(query).sort(), ["a/Watercolour", "watercolor_style"], query);
    }
    assert.deepEqual([by("watercolor")[0], by("watercolour")[0]], ["watercolor_style", "a/Watercolour"]);
    for (const query of ["pixelart", "pixel_art", "pixel art", "PIXEL-ART", "pixle-art"]) assert.deepEqual(by(query), ["pixel-art"], query);
    for (const query of ["style-1999", "pexil", "snow", "wash x1"]) assert.deepEqual(by(query), [], query);
    assert.deepEqual([by("chiaroscurro"), by("olgemelde"), by("sumie")], [["x"], ["x"], ["x"]]);
    const [x] = all.filter((entry) => entry.file === "x");
    assert.deepEqual([foundBy(x, ["chiaroscurro"]), foundBy(x, ["olgemelde"]), foundBy(x, ["x"])], ["chiaroscuro", "Ölgemälde", ""]);
  });
  test("exact names come first, then words, then what was used last", () => {
    const all = createEntries(["ink", "inky", "my_ink", "pink", "blue/ink", "top"].map((name) => lora(`${name}.safetensors`)));
    const by = (/** @type {object} */ more) => found(all, more).map((name) => name.replace(".safetensors", ""));
    assert.deepEqual(by({ query: "ink" }), ["blue/ink", "ink", "inky", "my_ink", "pink"]);
    assert.deepEqual(by({ query: "ink", before: ["ink.safetensors", "pink.safetensors"] }), ["ink", "blue/ink", "inky", "my_ink", "pink"]);
    assert.deepEqual(by({ query: "", before: ["top.safetensors"] })[0], "blue/ink");
  });
  test("folders", () => {
    assert.deepEqual([...createFolders(entries).keys()], ["", "styles/", "styles/old/"]);
    assert.deepEqual(found(entries, { folder: "styles/old/" }), ["styles/old/pixel.safetensors"]);
    assert.deepEqual([...select(entries, { ...filter, folder: "styles/old/" }).counts], [["", 4], ["styles/", 3], ["styles/old/", 1]]);
  });
  test("what fits", () => {
    const model = { title: "SDXL", architectures: ["sdxl"] };
    assert.equal(fitOf(lora("a", { architectures: ["sdxl"] }), model), "fits");
    assert.equal(fitOf(lora("a", { architectures: ["flux"] }), model), "misfit");
    assert.equal(fitOf(lora("a"), model), "unknown");
    assert.equal(fitOf(lora("a", { known: false }), model), "unread");
    assert.equal(fitOf(lora("a", { kind: "checkpoint", architectures: ["sdxl"] }), model), "misfit");
    assert.equal(fitOf(lora("a"), null), "");
    assert.equal(isFor(lora("a", { family: ["SDXL"] }), ""), false);
    assert.equal(isFor(lora("a", { known: false }), "SDXL"), true);
    assert.deepEqual([...countFamilies(entries)], [["", 3], ["SDXL", 1]]);
  });
  test("recent ones in their order, new ones first", () => {
    const recent = ["styles/v10.safetensors", "pixel art.safetensors"];
    assert.deepEqual(found(entries, { recent }), recent);
    const all = createEntries([
      lora("a", { modified: 1, size: 5, uses: 2, used: 3 }), lora("b", { modified: 3, uses: 1, used: 9 }), lora("c", { modified: 3, size: 5 }),
    ]);
    const orders = { name: "abc", newest: "bca", "last-used": "bac", "most-used": "abc", size: "acb" };
    assert.deepEqual(Object.fromEntries(ORDERS.map((order) => [order, inOrder(all, order).map((entry) => entry.lora.name).join("")])), orders);
  });
  test("a row of the server is of the types that it should be", () => {
    assert.equal(readLora({ name: 3 }), null);
    assert.equal(readLora(null), null);
    const { triggers, preview, modified, title } = lora("a", { triggers: [1, "x"], preview: 1, modified: "2", title: null });
    assert.deepEqual([triggers, preview, modified, title], [["x"], false, 0, ""]);
  });
});
