// @ts-check
/**
 * The nodes of ComfyUI and of other packs that hold LoRAs, and how their rows are read from their widgets. Plain data
 * in and out: a node's values may come from a workflow file whose pack is not installed.
 *
 * Sources: ComfyUI `nodes.py`; rgthree/rgthree-comfy `py/lora_stack.py`, `src_web/comfyui/power_lora_loader.ts`;
 * willmiao/ComfyUI-Lora-Manager `py/nodes/`; Suzie1/ComfyUI_Comfyroll_CustomNodes `nodes/nodes_lora.py`;
 * jags111/efficiency-nodes-comfyui `efficiency_nodes.py`; yolain/ComfyUI-Easy-Use `py/nodes/`.
 */

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
 * @property {"loader" | "applier" | "stacker"} role a loader and an applier change a model; a stacker hands rows on
 * @property {boolean} [chains] whether a chain of them becomes one stack
 * @property {string[]} titles what the node is called when nobody has renamed it
 * @property {string[]} [widgets] names by position
 * @property {(values: Values) => Row[]} read
 */

const CORE_WIDGETS = ["lora_name", "strength_model", "strength_clip"];
const CR_SLOTS = [1, 2, 3];
const RGTHREE_SLOTS = ["01", "02", "03", "04"];
const EFFICIENCY_SLOTS = count(49);
const EASY_SLOTS = count(10);
/** How LoRA-Manager shows a row; of no use elsewhere. */
const SHOWN_ONLY = ["expanded", "locked", "_isDummy", "selected"];

/**
 * Every known node. To add one: its entry here. Its inputs and outputs are found by their types MODEL, CLIP and
 * LORA_STACK.
 * @type {Kind[]}
 */
export const KINDS = [
  {
    type: "LoraLoader", role: "loader", chains: true, titles: ["Load LoRA", "Load LoRA (Model and CLIP)"], widgets: CORE_WIDGETS,
    read: ({ named }) => rowOf(named.lora_name, named.strength_model, named.strength_clip),
  },
  {
    type: "LoraLoaderModelOnly", role: "loader", chains: true, titles: ["LoraLoaderModelOnly", "Load LoRA (Model)"],
    widgets: CORE_WIDGETS.slice(0, 2),
    read: ({ named }) => rowOf(named.lora_name, named.strength_model, 0),
  },
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
  {
    type: "Lora Loader (LoraManager)", role: "loader", titles: ["Lora Loader (LoraManager)"],
    read: ({ list, named }) => managerRows(valuesIn(list, named)),
  },
  {
    type: "Lora Stacker (LoraManager)", role: "stacker", titles: ["Lora Stacker (LoraManager)"],
    read: ({ list, named }) => managerRows(valuesIn(list, named)),
  },
  {
    type: "CR LoRA Stack", role: "stacker", titles: ["CR LoRA Stack", "💊 CR LoRA Stack"],
    widgets: CR_SLOTS.flatMap((slot) => [`switch_${slot}`, `lora_name_${slot}`, `model_weight_${slot}`, `clip_weight_${slot}`]),
    read: ({ named }) => CR_SLOTS.flatMap((slot) => rowOf(
      named[`lora_name_${slot}`], named[`model_weight_${slot}`], named[`clip_weight_${slot}`], named[`switch_${slot}`] === "On",
    )),
  },
  {
    type: "LoRA Stacker", role: "stacker", titles: ["LoRA Stacker"],
    widgets: ["input_mode", "lora_count", ...EFFICIENCY_SLOTS.flatMap((slot) =>
      [`lora_name_${slot}`, `lora_wt_${slot}`, `model_str_${slot}`, `clip_str_${slot}`])],
    read: ({ named }) => EFFICIENCY_SLOTS.slice(0, countOf(named.lora_count)).flatMap((slot) => named.input_mode === "advanced"
      ? rowOf(named[`lora_name_${slot}`], named[`model_str_${slot}`], named[`clip_str_${slot}`])
      : rowOf(named[`lora_name_${slot}`], named[`lora_wt_${slot}`])),
  },
  {
    type: "easy loraStack", role: "stacker", titles: ["easy loraStack", "EasyLoraStack"],
    widgets: ["toggle", "mode", "num_loras", ...EASY_SLOTS.flatMap((slot) =>
      [`lora_${slot}_name`, `lora_${slot}_strength`, `lora_${slot}_model_strength`, `lora_${slot}_clip_strength`])],
    read: ({ named }) => EASY_SLOTS.slice(0, countOf(named.num_loras)).flatMap((slot) => {
      const on = ![false, "False", undefined, null].includes(/** @type {boolean | string | null | undefined} */ (named.toggle));
      return named.mode === "advanced"
        ? rowOf(named[`lora_${slot}_name`], named[`lora_${slot}_model_strength`], named[`lora_${slot}_clip_strength`], on)
        : rowOf(named[`lora_${slot}_name`], named[`lora_${slot}_strength`], undefined, on);
    }),
  },
  { type: "CR Apply LoRA Stack", role: "applier", titles: ["CR Apply LoRA Stack", "💊 CR Apply LoRA Stack"], read: () => [] },
  { type: "easy loraStackApply", role: "applier", titles: ["easy loraStackApply", "Easy Apply LoraStack"], read: () => [] },
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
 * @returns {Row[]}
 */
export function rowsOf(node, kind) {
  const saved = node.serialize();
  const values = saved.widgets_values;
  const list = Array.isArray(values) ? values : [];
  /** @type {Record<string, unknown>} */
  const named = {};
  list.forEach((value, index) => { if (kind.widgets?.[index]) named[kind.widgets[index]] = value; });
  if (values && !Array.isArray(values)) Object.assign(named, values);
  for (const widget of node.widgets ?? []) if (kind.widgets?.includes(widget.name)) named[widget.name] = widget.value;
  return kind.read({ list, named });
}

/**
 * A row, or none where no LoRA is chosen.
 * @param {unknown} lora
 * @param {unknown} model
 * @param {unknown} [clip] undefined means the same as `model`
 * @param {boolean} [on]
 * @param {Record<string, unknown>} [rest] keys that are not known here
 * @returns {Row[]}
 */
function rowOf(lora, model, clip, on = true, rest = {}) {
  if (typeof lora !== "string" || !lora.trim() || lora === "None") return [];
  const weights = [model, clip].map((weight) => (weight === undefined || weight === null ? undefined : Number(weight)));
  const own = Number.isFinite(weights[0]) ? /** @type {number} */ (weights[0]) : 1;
  const forText = weights[1] !== undefined && Number.isFinite(weights[1]) && weights[1] !== own ? { clip: weights[1] } : {};
  return [{ lora, ...(on ? {} : { on: false }), model: own, ...forText, ...rest }];
}

/**
 * @param {unknown[]} values
 * @returns {Row[]} the rows of the list that LoRA-Manager keeps beside its text
 */
function managerRows(values) {
  const lists = values.map((value) => /** @type {{__value__?: unknown} | null | undefined} */ (value)?.__value__ ?? value).filter(Array.isArray);
  /** @type {unknown[]} */
  const rows = lists.find((list) => list.some(isManagerRow)) ?? [];
  return rows.filter(isManagerRow).flatMap((value) => {
    const { name, strength, clipStrength, active, ...rest } = value;
    for (const key of SHOWN_ONLY) delete rest[key];
    return rowOf(name, strength, clipStrength, active !== false, rest);
  });
}

/** @param {unknown[]} list @param {Record<string, unknown>} named */
function valuesIn(list, named) {
  return list.length ? list : Object.values(named);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isRgthreeRow(value) {
  return typeof value === "object" && value !== null && "lora" in value && ("strength" in value || "strengthTwo" in value);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isManagerRow(value) {
  const row = /** @type {Record<string, unknown> | null | undefined} */ (value);
  return typeof row?.name === "string" && "strength" in row && row._isDummy !== true;
}

/** @param {unknown} value */
function countOf(value) {
  const number = Number(value);
  return Number.isFinite(number) ? Math.max(number, 0) : 0;
}

/** @param {number} last @returns {number[]} 1, 2, 3 … */
function count(last) {
  return Array.from({ length: last }, (_, index) => index + 1);
}
