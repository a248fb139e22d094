// The rows of every known loader, read as a workflow file has its values; and why some loaders stay as they are.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { expectedWires, otherValues, otherWires, shownValues, wiresWithout } from "../../js/convert/compare.mjs";
import { wiresOf } from "../../js/convert/links.mjs";
import { KINDS, kindOf, rowsOf } from "../../js/convert/loaders.mjs";
import { heldBy } from "../../js/convert/obstacles.mjs";
import { planFor } from "../../js/convert/plan.mjs";
import { promotedWidgets, removePromoted } from "../../js/convert/promoted.mjs";
import { setWidgets } from "../../js/convert/repair.mjs";

const A = "a.safetensors", B = "b.safetensors", C = "c.safetensors";
const none = (count, ...row) => Array.from({ length: count }, () => row).flat();

/** Type → values by position, and the rows. */
const READ = {
  "LoraLoader": [[A, 0.8, 0.5], [{ lora: A, model: 0.8, clip: 0.5 }]],
  "LoraLoaderModelOnly": [[A, -0.25], [{ lora: A, model: -0.25, clip: 0 }]],
  "LoadLoraModel": [[2, null, A, 0.8, true, null, B, 0.5, false], [{ lora: A, model: 0.8, clip: 0 }, { lora: B, on: false, model: 0.5, clip: 0 }]],
  "LoadLoraTextEncoder": [[2, A, 0.8, "none", 1], [{ lora: A, model: 0, clip: 0.8 }]],
  "Power Lora Loader (rgthree)": [[{}, { on: false, lora: A, strength: 0.8, strengthTwo: null }, ""], [{ lora: A, on: false, model: 0.8 }]],
  "Lora Loader Stack (rgthree)": [[A, 0.7, "None", 1, B, -1, "None", 1], [{ lora: A, model: 0.7 }, { lora: B, model: -1 }]],
  "Lora Loader (LoraManager)": [["", [{ name: "a", strength: "0.5", clipStrength: 0.2, active: false, expanded: true }]], [{ lora: "a", on: false, model: 0.5, clip: 0.2 }]],
  "Lora Stacker (LoraManager)": [["", { __value__: [{ name: "a", strength: 0.5 }] }], [{ lora: "a", model: 0.5 }]],
  "CR Load LoRA": [["On", A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "CR LoRA Stack": [["On", A, 0.8, 0.4, "Off", B, 1, 1, "On", "None", 1, 1], [{ lora: A, model: 0.8, clip: 0.4 }, { lora: B, on: false, model: 1 }]],
  "CR Apply LoRA Stack": [[], []],
  "CR Load LoRA JK": [[true, "model_only", A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0 }]],
  "CR LoRA Stack JK": [
    ["advanced", true, A, 0.8, 0.4, false, B, 1, 1, true, C, 1, 0, ...none(3, false, "None", 1, 1), false],
    [{ lora: A, model: 0.8, clip: 0.4 }, { lora: B, on: false, model: 1 }, { lora: C, on: false, model: 1, clip: 0 }],
  ],
  "CR LoRA Stack Model Only JK": [[true, A, 0.8, false, B, 1, ...none(4, false, "None", 1)], [{ lora: A, model: 0.8, clip: 0 }, { lora: B, on: false, model: 1, clip: 0 }]],
  "CR LoRA Stack (Model Only) JK": [[true, A, 0.8, ...none(5, false, "None", 1)], [{ lora: A, model: 0.8, clip: 0 }]],
  "CR Apply LoRA Stack JK": [[], []],
  "CR Apply LoRA Stack Model Only JK": [[], []],
  "LoRA Stacker": [["advanced", 1, A, 9, 0.8, 0.4, B, 1, 1, 1], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "Efficient Loader": [["x.ckpt", "Baked VAE", -1, A, 0.8, 0, "a cat", "", "none", "comfy", 512, 512, 1], [{ lora: A, model: 0.8, clip: 0 }]],
  "easy loraStack": [[false, "simple", 1, A, 0.5, 9, 9], [{ lora: A, on: false, model: 0.5 }]],
  "easy loraSwitcher": [[true, 2, 3, 0.5, A, B, C], [{ lora: B, model: 0.5 }]],
  "easy loraStackApply": [[], []],
  "easy fullLoader": [["x.ckpt", "Default", "Baked VAE", -2, A, 0.8, 0.4, "512 x 512"], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "easy a1111Loader": [["x.ckpt", "Baked VAE", -2, A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "easy comfyLoader": [["x.ckpt", "Baked VAE", -2, "None", 1, 1], []],
  "easy fluxLoader": [["x.ckpt", "Baked VAE", A, 0.8, 0.8], [{ lora: A, model: 0.8 }]],
  "easy hunyuanDiTLoader": [["x.ckpt", "Baked VAE", A, 0.8, 1], [{ lora: A, model: 0.8, clip: 1 }]],
  "LoraLoader|pysssss": [[{ content: A, image: null, title: A }, 0.8, 0.4, "[none]"], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "SDLoraLoader": [[A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "LoraLoaderTagsQuery": [[A, 0.8, 0.4, true, true, false, true, false], [{ lora: A, on: false, model: 0.8, clip: 0.4 }]],
  "LoraLoaderVanilla": [[A, 0.8, 0.4, false, false], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "LoraLoaderAdvanced": [[{ content: A, image: "a.png" }, 0.8, 0.8, false, false], [{ lora: A, model: 0.8 }]],
  "LoraLoaderStackedVanilla": [[A, 0.8, false, false], [{ lora: A, model: 0.8 }]],
  "LoraLoaderStackedAdvanced": [[{ content: A }, 0.8, false, false], [{ lora: A, model: 0.8 }]],
  "LTXICLoRALoaderModelOnly": [[A, 0.8], [{ lora: A, model: 0.8, clip: 0 }]],
  "LTX2LoraLoaderAdvanced": [[A, 0.8, 1, 1, 1, 1, 1], [{ lora: A, model: 0.8, clip: 0 }]],
  "LoraLoaderBlockWeight //Inspire": [
    ["All", A, 0.8, 0.5, false, 0, "fixed", 4, 1, "Preset", "%in=0.5,out=0", false],
    [{ lora: A, model: 0.8, clip: 0.5, blocks: { input: 0.5, output: 0 } }],
  ],
  "DiTBlockLoraLoader": [[0.8, A], [{ lora: A, model: 0.8, clip: 0 }]],
  "Sage_LoraStack": [[false, A, 0.8, 0.4], [{ lora: A, on: false, model: 0.8, clip: 0.4 }]],
  "Sage_QuickLoraStack": [[true, A, 0.8], [{ lora: A, model: 0.8 }]],
  "Sage_TripleLoraStack": [[true, A, 0.8, 0.4, false, B, 1, 1, true, "None", 1, 1], [{ lora: A, model: 0.8, clip: 0.4 }, { lora: B, on: false, model: 1 }]],
  "Sage_SixLoraStack": [[...none(5, false, "None", 1, 1), true, A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "Sage_NineLoraStack": [[...none(8, false, "None", 1, 1), true, A, 0.8, 0.4], [{ lora: A, model: 0.8, clip: 0.4 }]],
  "Sage_TripleQuickLoraStack": [[true, A, 0.8, false, B, 1, true, C, 0], [{ lora: A, model: 0.8 }, { lora: B, on: false, model: 1 }, { lora: C, model: 0 }]],
  "Sage_QuickSixLoraStack": [[...none(5, false, "None", 1), true, A, 0.8], [{ lora: A, model: 0.8 }]],
  "Sage_QuickNineLoraStack": [[...none(8, false, "None", 1), true, A, 0.8], [{ lora: A, model: 0.8 }]],
  "Sage_LoraStackLoader": [[], []],
  "NunchakuFluxLoraLoader": [[A, 0.8], [{ lora: A, model: 0.8, clip: 0 }]],
  "NunchakuQwenImageLoraLoader": [[A, 0.8], [{ lora: A, model: 0.8, clip: 0 }]],
  "NunchakuFluxLoraStack": [[A, 0.8, "None", 1, B, 0.5, ...none(12, "None", 1)], [{ lora: A, model: 0.8, clip: 0 }, { lora: B, model: 0.5, clip: 0 }]],
  "FluxLoraLoader": [[A, 0.8], [{ lora: A, model: 0.8, clip: 0 }]],
  "WanVideoLoraSelect": [[A, 0.8, false, true], [{ lora: A, model: 0.8 }]],
  "HyVideoLoraSelect": [[A, 0.8], [{ lora: A, model: 0.8 }]],
  "FramePackLoraSelect": [[A, 0.8, true], [{ lora: A, model: 0.8 }]],
  "WanVideoLoraSelectByName": [["a", 0.8, false, true], [{ lora: "a", model: 0.8 }]],
  "WanVideoLoraSelectMulti": [[A, 0.8, "none", 1, B, 0.5, "none", 1, "none", 1, false, true], [{ lora: A, model: 0.8 }, { lora: B, model: 0.5 }]],
  "WanVideo Lora Select (LoraManager)": [[false, true, "", [{ name: "a", strength: 0.5, active: true }]], [{ lora: "a", model: 0.5 }]],
};

const nodeOf = (type, values, more = {}) => ({ id: 1, type, inputs: [], outputs: [], serialize: () => ({ widgets_values: values }), ...more });
const read = (node) => rowsOf(node, kindOf(node));

describe("the rows of every kind of loader", () => {
  test("each has an example here, and is there once", () => {
    assert.deepEqual(KINDS.map(({ type }) => type).sort(), Object.keys(READ).sort());
  });
  for (const [type, [values, rows]] of Object.entries(READ)) test(type, () => assert.deepEqual(read(nodeOf(type, values)), rows));
  test("names count more than places, and what the pack shows more than what is saved", () => {
    const saved = { widgets_values: [A, 1, 1], widgets_values_named: { lora_name: B, strength_model: 0.5, strength_clip: 0.5 } };
    const node = nodeOf("LoraLoader", [], { serialize: () => saved });
    assert.deepEqual(read(node), [{ lora: B, model: 0.5 }]);
    assert.deepEqual(read({ ...node, widgets: [{ name: "strength_model", value: 0.25 }] }), [{ lora: B, model: 0.25, clip: 0.5 }]);
  });
  test("ComfyUI's own list by names, in the order of their numbers, at most 100", () => {
    const named = { loras: 2, "loras.10.lora_name": B, "loras.10.strength": 1, "loras.2.lora_name": A, "loras.2.strength": 0.5, "loras.2.enabled": false };
    assert.deepEqual(read(nodeOf("LoadLoraModel", named)), [{ lora: A, on: false, model: 0.5, clip: 0 }, { lora: B, model: 1, clip: 0 }]);
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`loras.${index}.lora_name`, A]));
    assert.equal(read(nodeOf("LoadLoraModel", many)).length, 100);
  });
  test("values that are none", () => {
    for (const values of [[], [null], ["x"], [1e9, A], [2, A, 1, B], undefined, "text", { loras: 3 }]) {
      for (const { type } of KINDS) for (const row of read(nodeOf(type, values))) assert.equal(typeof row.lora, "string");
    }
    assert.deepEqual(read(nodeOf("LoadLoraModel", [1e9, A, 1])), []);
  });
});

/** Nodes `[id, type, {input: TYPE}, {output: TYPE}, values]`, links `[from, slot, to, slot]`; -10 is the subgraph's inside. */
function graphOf(nodes, links, more = {}) {
  const graph = { nodes: [], links: new Map(), state: { lastLinkId: 0 }, ...more };
  graph.getNodeById = (id) => graph.nodes.find((node) => String(node.id) === String(id)) ?? null;
  for (const [id, type, inputs, outputs, values = [], extra = {}] of nodes) {
    graph.nodes.push({
      graph, mode: 0, ...nodeOf(type, values), id,
      inputs: Object.entries(inputs).map(([name, kind]) => ({ name, type: kind, link: null, ...(kind === "COMBO" || kind === "FLOAT" ? { widget: { name } } : {}) })),
      outputs: Object.entries(outputs).map(([name, kind]) => ({ name, type: kind, links: [] })), ...extra,
    });
  }
  links.forEach(([origin_id, origin_slot, target_id, target_slot], index) => {
    const id = index + 1;
    graph.links.set(id, { id, origin_id, origin_slot, target_id, target_slot });
    const [from, to] = [graph.getNodeById(origin_id), graph.getNodeById(target_id)];
    if (from) from.outputs[origin_slot].links.push(id);
    else graph.inputs?.[origin_slot]?.linkIds.push(id);
    if (to) to.inputs[target_slot].link = id;
  });
  return graph;
}

const at = (graph, id) => graph.getNodeById(id);
const reasonOf = (graph, id) => planFor(at(graph, id))?.reason;
const LOAD = [1, "UNETLoader", {}, { MODEL: "MODEL" }];
const USE = [9, "KSampler", { model: "MODEL" }, {}];

describe("why a loader stays", () => {
  const between = (type, values, { load = LOAD, use = USE, inputs = {}, outputs = {}, links = [] } = {}) => graphOf(
    [load, [2, type, { model: "MODEL", ...inputs }, { MODEL: "MODEL", ...outputs }, values], use, [8, "Other", { any: "*" }, { any: "X" }]],
    [[1, 0, 2, 0], [2, 0, 9, 0], ...links],
  );
  test("weights for parts of the model", () => {
    assert.equal(reasonOf(between("LTX2LoraLoaderAdvanced", [A, 1, 1, 1, 1, 1, 1]), 2), undefined);
    assert.match(reasonOf(between("LTX2LoraLoaderAdvanced", [A, 1, 1, 1, 0.5, 1, 1]), 2), /its weight for audio is 0.5/);
  });
  test("weights per block that go by the file", () => {
    const inspire = (vector, { inverse = false, b = 1 } = {}) => between("LoraLoaderBlockWeight //Inspire", ["All", A, 1, 1, inverse, 0, "fixed", 4, b, "Preset", vector, false]);
    const some = (value, first = value) => [first, ...Array(16).fill(value)].join();
    for (const [vector, blocks, options] of [
      [some(1), undefined], [some(0.5), { "*": 0.5 }], [`SD-ALL:${some(1)}`, undefined], [some("B"), { "*": 0.25 }, { b: 0.25 }],
      [some("b"), { "*": 0.5 }], [some(0.25), { "*": 0.75 }, { inverse: true }],
      [some(0.5, 1), { input: 0.5, middle: 0.5, output: 0.5, double_blocks: 0.5, single_blocks: 0.5 }], ["%default=0.5", { "*": 0.5 }],
      ["%default=1, mid=0", { middle: 0 }], ["%default=0,base=1,single=1", { input: 0, middle: 0, output: 0, double_blocks: 0 }],
    ]) {
      const graph = inspire(vector, options);
      assert.equal(reasonOf(graph, 2), undefined, vector);
      assert.deepEqual(rowsOf(at(graph, 2), kindOf(at(graph, 2)))[0].blocks, blocks, vector);
    }
    for (const [vector, why] of [
      [`${some(1)},0`, /goes by the blocks that the file has/], [some(0.5, 0), /goes by the blocks/], ["%in3=0.5", /goes by the blocks/], [`${some(1)},1 0.5`, /goes by the blocks/],
      ["%default=0.5,in=1", /goes by the blocks/], [some("R"), /at random/], ["1,0", /cannot be read/], ["", /cannot be read/], ["%in=x", /cannot be read/], [`${some(1)},x`, /cannot be read/],
    ]) assert.match(reasonOf(inspire(vector), 2) ?? "", why, vector);
    assert.match(reasonOf(between("LoraLoaderBlockWeight //Inspire", ["All", A, 1, 1, false, 0, "fixed", 4, 1, "Preset", some(1), false], { outputs: { populated_vector: "STRING" }, links: [[2, 1, 8, 0]] }), 2), /populated_vector is in use/);
  });
  test("an output in use that a LoRA Stack does not have", () => {
    const outputs = { latent_downscale_factor: "FLOAT" };
    assert.equal(reasonOf(between("LTXICLoRALoaderModelOnly", [A, 1], { outputs }), 2), undefined);
    assert.match(reasonOf(between("LTXICLoRALoaderModelOnly", [A, 1], { outputs, links: [[2, 1, 8, 0]] }), 2), /latent_downscale_factor is in use/);
  });
  test("blocks that come through a link", () => {
    assert.match(reasonOf(between("DiTBlockLoraLoader", [1, A], { inputs: { blocks: "SELECTEDDITBLOCKS" }, links: [[8, 0, 2, 1]] }), 2), /blocks comes through a link/);
  });
  test("Nunchaku's models", () => {
    assert.equal(reasonOf(between("NunchakuFluxLoraLoader", [A, 1]), 2), undefined);
    const load = [1, "NunchakuFluxDiTLoader", {}, { MODEL: "MODEL" }];
    assert.match(reasonOf(between("NunchakuFluxLoraLoader", [A, 1], { load }), 2), /is Nunchaku's/);
    assert.match(reasonOf(between("NunchakuFluxLoraLoader", [A, 1], { load: [1, "Some Loader", {}, { MODEL: "MODEL" }] }), 2), /not known whether/);
  });
  test("x-flux's sampler", () => {
    assert.equal(reasonOf(between("FluxLoraLoader", [A, 1]), 2), undefined);
    assert.match(reasonOf(between("FluxLoraLoader", [A, 1], { use: [9, "XlabsSampler", { model: "MODEL" }, {}] }), 2), /x-flux's sampler/);
  });
  test("wrappers' models", () => {
    const graph = graphOf([[2, "WanVideoLoraSelect", { prev_lora: "WANVIDLORA" }, { lora: "WANVIDLORA" }, [A, 1, false, true]]], []);
    assert.match(reasonOf(graph, 2), /only from their own pack's nodes/);
  });
  test("Nunchaku's models behind a loader that knows them, and others", () => {
    const load = [1, "NunchakuQwenImageDiTLoader", {}, { MODEL: "MODEL" }];
    const values = ["", [{ name: "a", strength: 1, active: true }]];
    assert.match(reasonOf(between("Lora Loader (LoraManager)", values, { load }), 2), /is Nunchaku's/);
    assert.equal(reasonOf(between("Lora Loader (LoraManager)", values, { load: [1, "Some Loader", {}, { MODEL: "MODEL" }] }), 2), undefined);
  });
  test("a switcher without a LoRA that gets rows", () => {
    const stacks = { lora_stack: "LORA_STACK" };
    const graph = graphOf([
      [2, "CR LoRA Stack", stacks, { LORA_STACK: "LORA_STACK" }, ["On", A, 1, 1]], [3, "easy loraSwitcher", { optional_lora_stack: "LORA_STACK" }, { lora_stack: "LORA_STACK" }, [true, 1, 1, 1, "None"]],
      LOAD, [4, "CR Apply LoRA Stack", { model: "MODEL", clip: "CLIP", ...stacks }, { MODEL: "MODEL" }], USE,
    ], [[2, 0, 3, 0], [3, 0, 4, 2], [1, 0, 4, 0], [4, 0, 9, 0]]);
    assert.match(reasonOf(graph, 3), /may drop the rows/);
    assert.deepEqual(planFor(at(graph, 4)).rows, []); // its stack input goes on to the LoRA Stack
    assert.equal(planFor(at(graph, 4)).stack.node.id, 3);
  });
  test("text encoders alone", () => {
    const graph = graphOf([[2, "LoadLoraTextEncoder", { clip: "CLIP" }, { CLIP: "CLIP" }, [1, A, 1]]], []);
    assert.match(reasonOf(graph, 2), /needs a model/);
  });
});

describe("ComfyUI's two lists", () => {
  const MODEL_ROWS = [3, A, 0.8, true, B, 0.5, false, C, 1, true], TEXT_ROWS = [3, A, 0.4, true, B, 0.5, true, C, 1, true];
  const graph = ({ more = [], links = [], mode = 0 } = {}) => graphOf([
    [1, "CheckpointLoaderSimple", {}, { MODEL: "MODEL", CLIP: "CLIP" }],
    [2, "LoadLoraModel", { model: "MODEL" }, { MODEL: "MODEL" }, MODEL_ROWS],
    [3, "LoadLoraTextEncoder", { clip: "CLIP", any: "*" }, { CLIP: "CLIP" }, TEXT_ROWS, { mode }],
    [9, "Sampler", { model: "MODEL", clip: "CLIP" }, { X: "X" }], ...more,
  ], [[1, 0, 2, 0], [1, 1, 3, 0], [2, 0, 9, 0], [3, 0, 9, 1], ...links]);
  test("become one stack, with one row for a LoRA that both have", () => {
    for (const id of [2, 3]) {
      const plan = planFor(at(graph(), id));
      assert.deepEqual(plan.loaders.map((node) => node.id), [2, 3]);
      assert.deepEqual(plan.rows, [
        { lora: A, model: 0.8, clip: 0.4 }, { lora: B, on: false, model: 0.5, clip: 0 }, { lora: C, model: 1 }, { lora: B, model: 0, clip: 0.5 },
      ]);
      assert.deepEqual([plan.model.slot, plan.clip.slot, plan.models[0].key, plan.clips[0].key], [0, 1, "9.0", "9.1"]);
    }
  });
  test("stay apart where it is not clear that they belong together", () => {
    const alone = { lora: A, model: 0.8, clip: 0 };
    for (const other of [graph({ more: [[4, "LoadLoraTextEncoder", { clip: "CLIP" }, { CLIP: "CLIP" }]] }), graph({ mode: 4 })]) {
      assert.deepEqual(planFor(at(other, 2)).rows[0], alone);
      assert.match(reasonOf(other, 3), /needs a model/);
    }
    const behind = graph({ more: [[4, "Other", { model: "MODEL" }, { X: "X" }]], links: [[2, 0, 4, 0], [4, 0, 3, 1]] });
    assert.match(reasonOf(behind, 3), /any comes through a link/);
  });
});

describe("a checkpoint's loader with a LoRA of its own", () => {
  const EFFICIENT = { MODEL: "MODEL", "CONDITIONING+": "CONDITIONING", "CONDITIONING-": "CONDITIONING", LATENT: "LATENT", VAE: "VAE", CLIP: "CLIP", DEPENDENCIES: "DEPENDENCIES" };
  const inputs = { model: "MODEL", positive: "CONDITIONING", vae: "VAE", clip: "CLIP", any: "*" };
  const graph = (clip, links, name = A) => graphOf(
    [[2, "Efficient Loader", { lora_stack: "LORA_STACK" }, EFFICIENT, ["x", "Baked VAE", -1, name, 0.8, clip, "", ""]], [9, "Sampler", inputs, {}]],
    links,
  );
  test("gets a LoRA Stack behind it", () => {
    const plan = planFor(at(graph(0.5, [[2, 0, 9, 0], [2, 4, 9, 2], [2, 5, 9, 3]]), 2));
    assert.deepEqual(plan.rows, [{ lora: A, model: 0.8, clip: 0.5 }]);
    assert.deepEqual([plan.behind.id, plan.model.slot, plan.clip.slot, plan.models.length, plan.clips.length], [2, 0, 5, 1, 1]);
  });
  test("keeps its LoRA where it has encoded prompts with it", () => {
    assert.match(reasonOf(graph(0.5, [[2, 0, 9, 0], [2, 1, 9, 1]]), 2), /CONDITIONING\+ is in use/);
    assert.equal(reasonOf(graph(0, [[2, 0, 9, 0], [2, 1, 9, 1]]), 2), undefined);
    assert.match(reasonOf(graph(0, [[2, 0, 9, 0], [2, 6, 9, 4]]), 2), /DEPENDENCIES is in use/);
  });
  test("is left alone without one", () => assert.equal(planFor(at(graph(1, [[2, 0, 9, 0]], "None"), 2)), null));
  test("says None afterwards, also if its pack is not installed", () => {
    const saved = { widgets_values: ["x", "Baked VAE", -1, A, 1], widgets_values_named: { lora_name: A } };
    const node = { ...nodeOf("Efficient Loader", []), widgets: [{ name: "lora_name", value: A }], last_serialization: saved };
    setWidgets(node, kindOf(node).widgets, kindOf(node).emptied);
    assert.equal(node.widgets[0].value, "None");
    assert.deepEqual(node.last_serialization, { widgets_values: ["x", "Baked VAE", -1, "None", 1], widgets_values_named: { lora_name: "None" } });
    assert.equal(saved.widgets_values[3], A);
  });
});

/** A subgraph with a loader whose name and strength are shown outside, by as many nodes as there are values. */
function shownOutside(values, { outer = [], also = [] } = {}) {
  const inside = graphOf(
    [[2, "LoraLoaderModelOnly", { model: "MODEL", lora_name: "COMBO", strength_model: "FLOAT" }, { MODEL: "MODEL" }, ["inner", 9]], [3, "Other", { x: "COMBO" }, {}]],
    [[-10, 0, 2, 0], [-10, 1, 2, 1], [-10, 2, 2, 2], [-10, 3, 3, 0], ...also],
    { inputs: ["model", "lora_name", "strength_model", "other"].map((name) => ({ name, linkIds: [] })) },
  );
  const hosts = values.map((of, index) => [10 + index, "uuid", { model: "MODEL", lora_name: "COMBO", strength_model: "FLOAT", other: "COMBO" }, {}, [], {
    subgraph: inside, widgets: Object.entries(of).map(([name, value]) => ({ name, value })),
  }]);
  const root = graphOf([[1, "Source", {}, { MODEL: "MODEL", NAME: "COMBO" }], ...hosts], [[1, 0, 10, 0], ...outer]);
  Object.assign(inside, { rootGraph: root, removeInput: (input) => {
    const index = inside.inputs.indexOf(input);
    inside.inputs.splice(index, 1);
    for (const link of inside.links.values()) if (link.origin_id === -10 && link.origin_slot > index) link.origin_slot -= 1;
    for (const host of root.nodes.filter(({ subgraph }) => subgraph)) {
      host.inputs.splice(index, 1);
      host.widgets = host.widgets.filter(({ name }) => name !== input.name);
      for (const link of root.links.values()) if (link.target_id === host.id && link.target_slot > index) link.target_slot -= 1;
    }
  } });
  return { root, inside, loader: at(inside, 2) };
}

describe("values that a subgraph's node holds outside", () => {
  const SHOWN = { lora_name: A, strength_model: 0.5, other: "o" };
  test("are those of the row", () => {
    assert.deepEqual(heldBy(shownOutside([SHOWN]).loader).rows, [{ lora: A, model: 0.5, clip: 0 }]);
    assert.deepEqual(heldBy(shownOutside([SHOWN, SHOWN]).loader).rows, [{ lora: A, model: 0.5, clip: 0 }]);
  });
  test("are the inner ones where no node outside holds any", () => {
    assert.deepEqual(heldBy(shownOutside([{}]).loader).rows, [{ lora: "inner", model: 9, clip: 0 }]);
  });
  test("that differ, or come through a link, are a reason", () => {
    assert.match(heldBy(shownOutside([SHOWN, { ...SHOWN, lora_name: B }]).loader).reason, /2 nodes have different values for lora_name/);
    assert.match(heldBy(shownOutside([SHOWN], { outer: [[1, 1, 10, 1]] }).loader).reason, /lora_name comes into the subgraph through a link/);
  });
  test("and their inputs go when nothing has them any more; the others stay what they are", () => {
    const { root, inside, loader } = shownOutside([SHOWN], { outer: [[1, 1, 10, 3]], also: [[-10, 2, 3, 0]] });
    const promoted = promotedWidgets(loader).map((one) => one.promoted);
    const hosts = root.nodes.filter(({ subgraph }) => subgraph);
    const [outside, values] = [wiresOf(root), shownValues(hosts)];
    inside.nodes.splice(inside.nodes.indexOf(loader), 1);
    for (const [id, link] of inside.links) if (link.target_id === 2) inside.links.delete(id);
    const before = wiresOf(inside);
    const { removed, names, kept } = removePromoted(promoted);
    assert.deepEqual([names, kept], [["lora_name"], ["strength_model"]]);
    assert.deepEqual(inside.inputs.map(({ name }) => name), ["model", "strength_model", "other"]);
    assert.deepEqual(otherWires(wiresWithout(outside, root, removed), wiresOf(root)), []);
    assert.deepEqual(otherWires(wiresWithout(before, inside, removed), wiresOf(inside)), []);
    assert.deepEqual(otherValues(values, shownValues(hosts), removed), []);
    hosts[0].widgets.find(({ name }) => name === "other").value = "another";
    assert.deepEqual(otherValues(values, shownValues(hosts), removed), ["uuid (#10): other"]);
    assert.deepEqual(otherWires(outside, wiresOf(root)), ["uuid (#10): 3", "uuid (#10): other"]);
  });
  test("a plan names them", () => {
    const { loader } = shownOutside([SHOWN]);
    const plan = planFor(loader);
    assert.deepEqual(plan.promoted.map(({ name, slot }) => [name, slot.name]), [["lora_name", "lora_name"], ["strength_model", "strength_model"]]);
    const stack = { id: 7, inputs: [{ type: "MODEL" }], outputs: [{ type: "MODEL" }] };
    const expected = expectedWires(wiresOf(loader.graph), plan, /** @type {any} */ (stack));
    assert.deepEqual(expected.map(({ key, from }) => [key, from]), [["3.0", "-10.3"], ["7.0", "-10.0"]]);
  });
});
