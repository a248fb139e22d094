// @ts-check
/**
 * The nodes of ComfyUI and of other packs that hold LoRAs, and how their rows are read from their widgets. Plain data
 * in and out: a node's values may come from a workflow file whose pack is not installed.
 *
 * Sources: ComfyUI `nodes.py` and its pull request 16309; rgthree/rgthree-comfy `py/lora_stack.py`,
 * `src_web/comfyui/power_lora_loader.ts`; willmiao/ComfyUI-Lora-Manager `py/nodes/`;
 * Suzie1/ComfyUI_Comfyroll_CustomNodes `nodes/nodes_lora.py`; jakechai/ComfyUI-JakeUpgrade `nodes/jake_node_lora.py`,
 * `nodes/jake_node_deprecated.py`; jags111/efficiency-nodes-comfyui `efficiency_nodes.py`; yolain/ComfyUI-Easy-Use
 * `py/nodes/loaders.py`, `py/libs/loader.py`; pythongosssss/ComfyUI-Custom-Scripts `py/better_combos.py`;
 * receyuki/comfyui-prompt-reader-node `nodes.py`; idrirap/ComfyUI-Lora-Auto-Trigger-Words `nodes_autotrigger.py`, and
 * the older node from which it came; Lightricks/ComfyUI-LTXVideo `iclora.py`; kijai/ComfyUI-KJNodes
 * `nodes/ltxv_nodes.py`, `nodes/nodes.py`; arcum42/ComfyUI_SageUtils `nodes/selector_v3.py`, `nodes/loader_v3.py`;
 * nunchaku-tech/ComfyUI-nunchaku and ussoewwin/ComfyUI-QwenImageLoraLoader `nodes/lora/`; XLabs-AI/x-flux-comfyui
 * `nodes.py`; kijai/ComfyUI-WanVideoWrapper `nodes_model_loading.py`; kijai/ComfyUI-HunyuanVideoWrapper and
 * kijai/ComfyUI-FramePackWrapper `nodes.py`; ltdrdata/ComfyUI-Inspire-Pack `inspire/lora_block_weight.py`.
 */

import { inspireBlocks } from "./inspire.mjs";
import { count, countOf, groupRows, isOff, isRgthreeRow, managerRows, rowOf, valuesIn } from "./rows.mjs";

/** @import { GraphNode } from "../types.d.ts" */

/**
 * @typedef {import("../values/stack.mjs").Row} Row
 */

/**
 * @typedef {object} Values of a node's widgets
 * @property {unknown[]} list by position
 * @property {Record<string, unknown>} named by name, where the names are known
 */

/**
 * @typedef {object} Kind
 * @property {string} type the node's class
 * @property {"loader" | "applier" | "stacker" | "checkpoint" | "wrapper"} role a loader and an applier change a model; a
 *   stacker hands rows on; a checkpoint's loader has LoRAs of its own; a wrapper's LoRAs are for its own kind of models
 * @property {boolean} [chains] whether a chain of them becomes one stack
 * @property {string[]} titles what the node is called as long as it is not renamed
 * @property {string[]} [widgets] names by position
 * @property {string[]} [parts] widgets that are weights for parts of the model, which a row does not have
 * @property {(named: Record<string, unknown>) => string} [unsaid] why a row cannot say the same; empty if it can
 * @property {boolean} [whole] whether other outputs than those of a LoRA Stack matter to the run
 * @property {"nunchaku" | "x-flux"} [only] whose models it is made for
 * @property {"nunchaku"} [knows] whose models it can change beside ComfyUI's own
 * @property {boolean} [drops] whether it may drop the rows that come in where it has no LoRA itself
 * @property {Record<string, string>} [emptied] what a checkpoint's loader says where it has no LoRA
 * @property {(values: Values) => Row[]} read
 */

const CORE_WIDGETS = ["lora_name", "strength_model", "strength_clip"];
const LTX_PARTS = ["video", "video_to_audio", "audio", "audio_to_video", "other"];
const OWN_LORA = ["lora_name", "lora_model_strength", "lora_clip_strength"];
const NO_LORA = { lora_name: "None" };
const CR_SLOTS = count(3);
const JAKE_SLOTS = count(6);
const RGTHREE_SLOTS = ["01", "02", "03", "04"];
const EFFICIENCY_SLOTS = count(49);
const EASY_SLOTS = count(10);
const NUNCHAKU_SLOTS = count(15);
const WAN_SLOTS = [0, 1, 2, 3, 4];

/** @param {Values} values of core's own loader, and of many that do as it does */
const bothWeights = ({ named }) => rowOf(named.lora_name, named.strength_model, named.strength_clip);
/** @param {Values} values */
const modelOnly = ({ named }) => rowOf(named.lora_name, named.strength_model, 0);
/** @param {Values} values */
const ownLora = ({ named }) => rowOf(named.lora_name, named.lora_model_strength, named.lora_clip_strength);

/**
 * Every known node. To add one: its entry here, with a row in the tests. Its inputs and outputs are found by their types
 * MODEL, CLIP and LORA_STACK.
 * @type {Kind[]}
 */
export const KINDS = [
  // ComfyUI
  {
    type: "LoraLoader", role: "loader", chains: true, titles: ["Load LoRA", "Load LoRA (Model and CLIP)"], widgets: CORE_WIDGETS,
    read: bothWeights,
  },
  {
    type: "LoraLoaderModelOnly", role: "loader", chains: true, titles: ["LoraLoaderModelOnly", "Load LoRA (Model)"],
    widgets: CORE_WIDGETS.slice(0, 2), read: modelOnly,
  },
  {
    type: "LoadLoraModel", role: "loader", chains: true, titles: ["Load LoRA (Model)"],
    read: ({ list, named }) => groupRows(list, named).flatMap(({ lora, strength, on }) => rowOf(lora, strength, 0, on)),
  },
  {
    type: "LoadLoraTextEncoder", role: "loader", titles: ["Load LoRA (Text Encoder)"],
    read: ({ list, named }) => groupRows(list, named).flatMap(({ lora, strength, on }) => rowOf(lora, 0, strength, on)),
  },
  // rgthree
  {
    type: "Power Lora Loader (rgthree)", role: "loader", titles: ["Power Lora Loader (rgthree)"],
    read: ({ list, named }) => valuesIn(list, named).filter(isRgthreeRow).flatMap((value) => {
      const { on, lora, strength, strengthTwo, ...rest } = value;
      return rowOf(lora, strength ?? 1, strengthTwo ?? undefined, on !== false, rest);
    }),
  },
  {
    type: "Lora Loader Stack (rgthree)", role: "loader", titles: ["Lora Loader Stack (rgthree)"],
    widgets: RGTHREE_SLOTS.flatMap((slot) => [`lora_${slot}`, `strength_${slot}`]),
    read: ({ named }) => RGTHREE_SLOTS.flatMap((slot) => rowOf(named[`lora_${slot}`], named[`strength_${slot}`])),
  },
  // LoRA-Manager
  {
    type: "Lora Loader (LoraManager)", role: "loader", knows: "nunchaku", titles: ["Lora Loader (LoraManager)"],
    read: ({ list, named }) => managerRows(valuesIn(list, named)),
  },
  {
    type: "Lora Stacker (LoraManager)", role: "stacker", titles: ["Lora Stacker (LoraManager)"],
    read: ({ list, named }) => managerRows(valuesIn(list, named)),
  },
  // Comfyroll
  {
    type: "CR Load LoRA", role: "loader", chains: true, titles: ["CR Load LoRA", "💊 CR Load LoRA"],
    widgets: ["switch", ...CORE_WIDGETS],
    read: ({ named }) => rowOf(named.lora_name, named.strength_model, named.strength_clip, named.switch !== "Off"),
  },
  {
    type: "CR LoRA Stack", role: "stacker", titles: ["CR LoRA Stack", "💊 CR LoRA Stack"],
    widgets: CR_SLOTS.flatMap((slot) => [`switch_${slot}`, `lora_name_${slot}`, `model_weight_${slot}`, `clip_weight_${slot}`]),
    read: ({ named }) => CR_SLOTS.flatMap((slot) => rowOf(
      named[`lora_name_${slot}`], named[`model_weight_${slot}`], named[`clip_weight_${slot}`], named[`switch_${slot}`] === "On",
    )),
  },
  { type: "CR Apply LoRA Stack", role: "applier", titles: ["CR Apply LoRA Stack", "💊 CR Apply LoRA Stack"], read: () => [] },
  // JakeUpgrade
  {
    type: "CR Load LoRA JK", role: "loader", titles: ["CR Load LoRA JK"],
    widgets: ["switch", "input_mode", "lora_name", "model_weight", "clip_weight"],
    read: ({ named }) => rowOf(
      named.lora_name, named.model_weight, named.input_mode === "advanced" ? named.clip_weight : 0, !isOff(named.switch),
    ),
  },
  {
    type: "CR LoRA Stack JK", role: "stacker", whole: true, titles: ["CR LoRA Stack JK"],
    widgets: ["input_mode", ...JAKE_SLOTS.flatMap((slot) => [`lora_${slot}`, `lora_name_${slot}`, `model_weight_${slot}`, `clip_weight_${slot}`])],
    read: ({ named }) => JAKE_SLOTS.flatMap((slot) => {
      const [lora, model, clip] = [named[`lora_name_${slot}`], named[`model_weight_${slot}`], named[`clip_weight_${slot}`]];
      const on = !isOff(named[`lora_${slot}`]);
      if (named.input_mode !== "advanced") return rowOf(lora, model, 0, on);
      return rowOf(lora, model, clip, on && Number(model) !== 0 && Number(clip) !== 0); // it leaves out the others
    }),
  },
  ...["CR LoRA Stack Model Only JK", "CR LoRA Stack (Model Only) JK"].map((type) => /** @type {Kind} */ ({
    type, role: "stacker", titles: [type],
    widgets: JAKE_SLOTS.flatMap((slot) => [`lora_${slot}`, `lora_name_${slot}`, `model_weight_${slot}`]),
    read: ({ named }) => JAKE_SLOTS.flatMap((slot) => rowOf(named[`lora_name_${slot}`], named[`model_weight_${slot}`], 0, !isOff(named[`lora_${slot}`]))),
  })),
  { type: "CR Apply LoRA Stack JK", role: "applier", titles: ["CR Apply LoRA Stack JK"], read: () => [] },
  { type: "CR Apply LoRA Stack Model Only JK", role: "applier", titles: ["CR Apply LoRA Stack Model Only JK"], read: () => [] },
  // Efficiency nodes
  {
    type: "LoRA Stacker", role: "stacker", titles: ["LoRA Stacker"],
    widgets: ["input_mode", "lora_count", ...EFFICIENCY_SLOTS.flatMap((slot) =>
      [`lora_name_${slot}`, `lora_wt_${slot}`, `model_str_${slot}`, `clip_str_${slot}`])],
    read: ({ named }) => EFFICIENCY_SLOTS.slice(0, countOf(named.lora_count)).flatMap((slot) => named.input_mode === "advanced"
      ? rowOf(named[`lora_name_${slot}`], named[`model_str_${slot}`], named[`clip_str_${slot}`])
      : rowOf(named[`lora_name_${slot}`], named[`lora_wt_${slot}`])),
  },
  {
    type: "Efficient Loader", role: "checkpoint", titles: ["Efficient Loader"], emptied: NO_LORA,
    widgets: ["ckpt_name", "vae_name", "clip_skip", ...OWN_LORA], read: ownLora,
  },
  // Easy-Use
  {
    type: "easy loraStack", role: "stacker", titles: ["easy loraStack", "EasyLoraStack"],
    widgets: ["toggle", "mode", "num_loras", ...EASY_SLOTS.flatMap((slot) =>
      [`lora_${slot}_name`, `lora_${slot}_strength`, `lora_${slot}_model_strength`, `lora_${slot}_clip_strength`])],
    read: ({ named }) => EASY_SLOTS.slice(0, countOf(named.num_loras)).flatMap((slot) => named.mode === "advanced"
      ? rowOf(named[`lora_${slot}_name`], named[`lora_${slot}_model_strength`], named[`lora_${slot}_clip_strength`], !isOff(named.toggle))
      : rowOf(named[`lora_${slot}_name`], named[`lora_${slot}_strength`], undefined, !isOff(named.toggle))),
  },
  {
    type: "easy loraSwitcher", role: "stacker", whole: true, drops: true, titles: ["easy loraSwitcher", "EasyLoraSwitcher"],
    widgets: ["toggle", "select", "num_loras", "lora_strength", ...count(50).map((slot) => `lora_${slot}_name`)],
    read: ({ named }) => rowOf(named[`lora_${countOf(named.select)}_name`], named.lora_strength, undefined, !isOff(named.toggle)),
  },
  { type: "easy loraStackApply", role: "applier", titles: ["easy loraStackApply", "Easy Apply LoraStack"], read: () => [] },
  {
    type: "easy fullLoader", role: "checkpoint", titles: ["easy fullLoader", "EasyLoader (Full)"], emptied: NO_LORA,
    widgets: ["ckpt_name", "config_name", "vae_name", "clip_skip", ...OWN_LORA], read: ownLora,
  },
  ...[["easy a1111Loader", "EasyLoader (A1111)"], ["easy comfyLoader", "EasyLoader (Comfy)"]].map(([type, title]) => /** @type {Kind} */ ({
    type, role: "checkpoint", titles: [type, title], emptied: NO_LORA,
    widgets: ["ckpt_name", "vae_name", "clip_skip", ...OWN_LORA], read: ownLora,
  })),
  ...[["easy fluxLoader", "EasyLoader (Flux)"], ["easy hunyuanDiTLoader", "EasyLoader (HunyuanDiT)"]].map(([type, title]) => /** @type {Kind} */ ({
    type, role: "checkpoint", titles: [type, title], emptied: NO_LORA, widgets: ["ckpt_name", "vae_name", ...OWN_LORA], read: ownLora,
  })),
  // Custom-Scripts
  {
    type: "LoraLoader|pysssss", role: "loader", chains: true, whole: true, titles: ["LoraLoader|pysssss", "Lora Loader 🐍"],
    widgets: CORE_WIDGETS, read: bothWeights,
  },
  // SD Prompt Reader
  {
    type: "SDLoraLoader", role: "loader", chains: true, whole: true, titles: ["SDLoraLoader", "SD Lora Loader"], widgets: CORE_WIDGETS,
    read: bothWeights,
  },
  // LoRA trigger words
  {
    type: "LoraLoaderTagsQuery", role: "loader", chains: true, whole: true, titles: ["LoraLoaderTagsQuery"],
    widgets: [...CORE_WIDGETS, "query_tags", "tags_out", "print_tags", "bypass", "force_fetch"],
    read: ({ named }) => rowOf(named.lora_name, named.strength_model, named.strength_clip, named.bypass !== true),
  },
  ...["LoraLoaderVanilla", "LoraLoaderAdvanced"].map((type) => /** @type {Kind} */ ({
    type, role: "loader", chains: true, whole: true, titles: [type], widgets: CORE_WIDGETS, read: bothWeights,
  })),
  ...["LoraLoaderStackedVanilla", "LoraLoaderStackedAdvanced"].map((type) => /** @type {Kind} */ ({
    type, role: "stacker", whole: true, titles: [type], widgets: ["lora_name", "lora_weight"],
    read: ({ named }) => rowOf(named.lora_name, named.lora_weight),
  })),
  // LTX-Video and KJNodes
  {
    type: "LTXICLoRALoaderModelOnly", role: "loader", chains: true, whole: true,
    titles: ["LTXICLoRALoaderModelOnly", "🅛🅣🅧 IC-LoRA Loader Model Only"], widgets: CORE_WIDGETS.slice(0, 2), read: modelOnly,
  },
  {
    type: "LTX2LoraLoaderAdvanced", role: "loader", chains: true, whole: true, parts: LTX_PARTS,
    titles: ["LTX2LoraLoaderAdvanced", "LTX2 LoRA Loader Advanced"], widgets: [...CORE_WIDGETS.slice(0, 2), ...LTX_PARTS], read: modelOnly,
  },
  {
    type: "DiTBlockLoraLoader", role: "loader", chains: true, whole: true, titles: ["DiTBlockLoraLoader", "DiT Block Lora Loader"],
    widgets: ["strength_model", "lora_name"], read: modelOnly,
  },
  // Inspire
  {
    type: "LoraLoaderBlockWeight //Inspire", role: "loader", chains: true, whole: true,
    titles: ["LoraLoaderBlockWeight //Inspire", "LoRA Loader (Block Weight)"],
    widgets: ["category_filter", "lora_name", "strength_model", "strength_clip", "inverse", "seed", "control_after_generate", "A", "B", "preset", "block_vector", "bypass"],
    unsaid: (named) => {
      const found = inspireBlocks(named);
      return "reason" in found ? found.reason : "";
    },
    read: ({ named }) => {
      const found = inspireBlocks(named);
      const blocks = "blocks" in found && Object.keys(found.blocks).length ? { blocks: found.blocks } : {};
      return rowOf(named.lora_name, named.strength_model, named.strength_clip, named.bypass !== true, blocks);
    },
  },
  // Sage Utils
  {
    type: "Sage_LoraStack", role: "stacker", titles: ["Sage_LoraStack", "Lora Stack"],
    widgets: ["enabled", "lora_name", "model_weight", "clip_weight"],
    read: ({ named }) => rowOf(named.lora_name, named.model_weight, named.clip_weight, !isOff(named.enabled)),
  },
  {
    type: "Sage_QuickLoraStack", role: "stacker", titles: ["Sage_QuickLoraStack", "Quick Lora Stack"],
    widgets: ["enabled", "lora_name", "model_weight"],
    read: ({ named }) => rowOf(named.lora_name, named.model_weight, undefined, !isOff(named.enabled)),
  },
  ...sageStacks([["Sage_TripleLoraStack", 3], ["Sage_SixLoraStack", 6], ["Sage_NineLoraStack", 9]], true),
  ...sageStacks([["Sage_TripleQuickLoraStack", 3], ["Sage_QuickSixLoraStack", 6], ["Sage_QuickNineLoraStack", 9]], false),
  { type: "Sage_LoraStackLoader", role: "applier", whole: true, titles: ["Sage_LoraStackLoader", "Lora Stack Loader"], read: () => [] },
  // Nunchaku
  ...[["NunchakuFluxLoraLoader", "Nunchaku FLUX LoRA Loader"],
    ["NunchakuQwenImageLoraLoader", "Nunchaku Qwen Image LoRA Loader"]].map(([type, title]) => /** @type {Kind} */ ({
    type, role: "loader", chains: true, only: "nunchaku", titles: [type, title], widgets: ["lora_name", "lora_strength"],
    read: ({ named }) => rowOf(named.lora_name, named.lora_strength, 0),
  })),
  {
    type: "NunchakuFluxLoraStack", role: "loader", only: "nunchaku", titles: ["NunchakuFluxLoraStack", "Nunchaku FLUX LoRA Stack"],
    widgets: NUNCHAKU_SLOTS.flatMap((slot) => [`lora_name_${slot}`, `lora_strength_${slot}`]),
    read: ({ named }) => NUNCHAKU_SLOTS.flatMap((slot) => rowOf(named[`lora_name_${slot}`], named[`lora_strength_${slot}`], 0)),
  },
  // x-flux
  {
    type: "FluxLoraLoader", role: "loader", chains: true, only: "x-flux", titles: ["FluxLoraLoader", "Load Flux LoRA"],
    widgets: CORE_WIDGETS.slice(0, 2), read: modelOnly,
  },
  // Wrappers, whose models are none of ComfyUI's
  ...["WanVideoLoraSelect", "HyVideoLoraSelect", "FramePackLoraSelect"].map((type) => /** @type {Kind} */ ({
    type, role: "wrapper", titles: [type], widgets: ["lora", "strength"], read: ({ named }) => rowOf(named.lora, named.strength),
  })),
  {
    type: "WanVideoLoraSelectByName", role: "wrapper", titles: ["WanVideoLoraSelectByName"], widgets: ["lora_name", "strength"],
    read: ({ named }) => rowOf(named.lora_name, named.strength),
  },
  {
    type: "WanVideoLoraSelectMulti", role: "wrapper", titles: ["WanVideoLoraSelectMulti"],
    widgets: WAN_SLOTS.flatMap((slot) => [`lora_${slot}`, `strength_${slot}`]),
    read: ({ named }) => WAN_SLOTS.flatMap((slot) => rowOf(named[`lora_${slot}`], named[`strength_${slot}`])),
  },
  {
    type: "WanVideo Lora Select (LoraManager)", role: "wrapper", titles: ["WanVideo Lora Select (LoraManager)"],
    read: ({ list, named }) => managerRows(valuesIn(list, named)),
  },
];

const BY_TYPE = new Map(KINDS.map((kind) => [kind.type, kind]));

/**
 * @param {GraphNode} node
 * @returns {Kind | undefined}
 */
export function kindOf(node) {
  return BY_TYPE.get(node?.comfyClass ?? "") ?? BY_TYPE.get(node?.type ?? "");
}

/**
 * The rows that a node holds, those that are off too.
 * @param {GraphNode} node in a graph; the pack that it is from need not be installed
 * @param {Kind} kind
 * @param {Record<string, unknown>} [outside] values of widgets that a subgraph's node has
 * @returns {Row[]}
 */
export function rowsOf(node, kind, outside = {}) {
  const { list, named } = valuesOf(node, kind);
  return kind.read({ list, named: { ...named, ...outside } });
}

/**
 * The values of a node's widgets: as its pack shows them, else as the workflow file has them.
 * @param {GraphNode} node
 * @param {Kind} kind
 * @returns {Values}
 */
export function valuesOf(node, kind) {
  const { widgets_values: values, widgets_values_named: byName } = node.serialize();
  const list = Array.isArray(values) ? values : [];
  /** @type {Record<string, unknown>} */
  const named = {};
  list.forEach((value, index) => { if (kind.widgets?.[index]) named[kind.widgets[index]] = value; });
  if (values && !Array.isArray(values)) Object.assign(named, values);
  Object.assign(named, byName);
  for (const widget of node.widgets ?? []) named[widget.name] = widget.value;
  return { list, named };
}

/**
 * @param {[type: string, slots: number][]} types
 * @param {boolean} split whether the text encoders have a weight of their own
 * @returns {Kind[]}
 */
function sageStacks(types, split) {
  return types.map(([type, slots]) => ({
    type, role: "stacker", titles: [type, `${split ? "" : "Quick "}Lora Stack (x${slots})`],
    widgets: count(slots).flatMap((slot) => [`enabled_${slot}`, `lora_${slot}_name`, `model_${slot}_weight`, ...(split ? [`clip_${slot}_weight`] : [])]),
    read: ({ named }) => count(slots).flatMap((slot) => rowOf(
      named[`lora_${slot}_name`], named[`model_${slot}_weight`], split ? named[`clip_${slot}_weight`] : undefined, !isOff(named[`enabled_${slot}`]),
    )),
  }));
}
