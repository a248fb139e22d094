// @ts-check
/** The settings of the face, under one heading in ComfyUI's settings. They are read at the moment of use. */

import { DEFAULT_WEIGHT, WEIGHT_LIMIT } from "../values/limits.mjs";

/** @import { App, GraphNode } from "../types.d.ts" */

const HEADING = "Lorchestra";

/**
 * @typedef {object} Setting
 * @property {string} id in ComfyUI's settings; it never changes
 * @property {string} section under our heading
 * @property {string} name
 * @property {string} tooltip
 * @property {"number" | "boolean" | "combo"} type
 * @property {number | boolean | string} defaultValue
 * @property {Record<string, number>} [attrs] of a number
 * @property {{text: string, value: string}[]} [options] of a choice
 * @property {(value: unknown) => boolean} allowed whether a stored value can be used
 */

/** @param {number} low @param {number} high */
const between = (low, high) => (/** @type {unknown} */ value) => typeof value === "number" && value >= low && value <= high;
const isSwitch = (/** @type {unknown} */ value) => typeof value === "boolean";
/** @param {string[]} known */
const oneOf = (known) => (/** @type {unknown} */ value) => known.some((one) => one === value);

/**
 * Every setting, by the name that the code has for it. To add one: its entry here, and its words in
 * `locales/<language>/settings.json`, where its id has `_` instead of dots.
 * @satisfies {Record<string, Setting>}
 */
export const SETTINGS = {
  defaultWeight: {
    id: "Lorchestra.DefaultWeight",
    section: "New rows",
    name: "Weight of a new row",
    tooltip: "A double-click on a weight also resets it to this.",
    type: "number",
    defaultValue: DEFAULT_WEIGHT,
    attrs: { min: -WEIGHT_LIMIT, max: WEIGHT_LIMIT, step: 0.05, minFractionDigits: 2, maxFractionDigits: 4 },
    allowed: between(-WEIGHT_LIMIT, WEIGHT_LIMIT),
  },
  splitClip: {
    id: "Lorchestra.SplitClip",
    section: "New rows",
    name: "New rows have a separate CLIP weight",
    tooltip: "Otherwise the text encoders get the model weight, until a row's menu splits the two.",
    type: "boolean",
    defaultValue: false,
    allowed: isSwitch,
  },
  weightStep: {
    id: "Lorchestra.WeightStep",
    section: "Weights",
    name: "Step of a weight",
    tooltip: "For the arrow keys, the wheel and dragging. Shift makes it finer, Ctrl coarser.",
    type: "number",
    defaultValue: 0.05,
    attrs: { min: 0.01, max: 1, step: 0.01, minFractionDigits: 2, maxFractionDigits: 3 },
    allowed: between(0.001, 10),
  },
  policy: {
    id: "Lorchestra.Policy",
    section: "New nodes",
    name: "If a LoRA is missing or doesn't fit, in new LoRA Stacks",
    tooltip: "Stop with an error, skip it with a warning in the log, or skip it silently. Nodes that exist keep theirs.",
    type: "combo",
    defaultValue: "refuse",
    options: [
      { text: "stop", value: "refuse" }, { text: "skip and warn", value: "warn" }, { text: "skip silently", value: "ignore" },
    ],
    allowed: oneOf(["refuse", "warn", "ignore"]),
  },
  pickerFits: {
    id: "Lorchestra.PickerFits",
    section: "LoRA picker",
    name: "Show only fitting LoRAs at first",
    tooltip: "Otherwise the picker starts with all LoRAs.",
    type: "boolean",
    defaultValue: true,
    allowed: isSwitch,
  },
  previewSize: {
    id: "Lorchestra.PreviewSize",
    section: "LoRA picker",
    name: "Width of the preview image",
    tooltip: "In pixels; 0 turns it off.",
    type: "number",
    defaultValue: 232,
    attrs: { min: 0, max: 640, step: 8 },
    allowed: between(0, 640),
  },
  pickerView: {
    id: "Lorchestra.PickerView",
    section: "LoRA picker",
    name: "List or grid",
    tooltip: "The picker remembers what was chosen in it.",
    type: "combo",
    defaultValue: "list",
    options: [{ text: "list", value: "list" }, { text: "grid", value: "grid" }],
    allowed: oneOf(["list", "grid"]),
  },
  pickerOrder: {
    id: "Lorchestra.PickerOrder",
    section: "LoRA picker",
    name: "Order",
    tooltip: "By name, or what is newest, was used last, is used most or is largest first.",
    type: "combo",
    defaultValue: "name",
    options: [
      { text: "name", value: "name" }, { text: "newest", value: "newest" }, { text: "last-used", value: "last-used" },
      { text: "most-used", value: "most-used" }, { text: "size", value: "size" },
    ],
    allowed: oneOf(["name", "newest", "last-used", "most-used", "size"]),
  },
  pictureSize: {
    id: "Lorchestra.PictureSize",
    section: "LoRA picker",
    name: "Size of the pictures in the grid",
    tooltip: "The picker remembers what was chosen in it.",
    type: "combo",
    defaultValue: "medium",
    options: [{ text: "small", value: "small" }, { text: "medium", value: "medium" }, { text: "large", value: "large" }],
    allowed: oneOf(["small", "medium", "large"]),
  },
  blurNsfw: {
    id: "Lorchestra.BlurNsfw",
    section: "LoRA picker",
    name: "Blur pictures that are not safe for work",
    tooltip: "Those of which a file beside the LoRA says so, from R on.",
    type: "boolean",
    defaultValue: true,
    allowed: isSwitch,
  },
  tagOrder: {
    id: "Lorchestra.TagOrder",
    section: "Pasting",
    name: "First of two weights in a tag",
    tooltip: "In <lora:name:a:b>. Programs differ: with A1111 and Forge it is the text encoders', with SwarmUI and LoRA-Manager the model's.",
    type: "combo",
    defaultValue: "ask",
    options: [{ text: "ask", value: "ask" }, { text: "CLIP", value: "te-first" }, { text: "model", value: "model-first" }],
    allowed: oneOf(["ask", "te-first", "model-first"]),
  },
  badges: {
    id: "Lorchestra.Badges",
    section: "Rows",
    name: "Show whether LoRAs fit",
    tooltip: "The mark on each row, before anything runs. Only the files' headers and alphas are read for it.",
    type: "boolean",
    defaultValue: true,
    allowed: isSwitch,
  },
  strengthBars: {
    id: "Lorchestra.StrengthBars",
    section: "Rows",
    name: "Show how strong LoRAs are",
    tooltip: "A thin bar below each row, against the other rows. Each file is read once for it, when nothing runs.",
    type: "boolean",
    defaultValue: true,
    allowed: isSwitch,
  },
};

/**
 * What a setting with this default can be.
 * @template D
 * @typedef {D extends boolean ? boolean : D extends number ? number : string} Value
 */

/**
 * What the user has set, or the default where nothing usable is set.
 * @template {keyof typeof SETTINGS} K
 * @param {App} app
 * @param {K} name e.g. `defaultWeight`
 * @returns {Value<(typeof SETTINGS)[K]["defaultValue"]>}
 */
export function setting(app, name) {
  const { id, defaultValue, allowed } = SETTINGS[name];
  const value = app?.extensionManager?.setting?.get?.(id);
  return /** @type {Value<(typeof SETTINGS)[K]["defaultValue"]>} */ (allowed(value) ? value : defaultValue);
}

/**
 * Changes a setting for the user, who has chosen it where it is used.
 * @param {App} app
 * @param {keyof typeof SETTINGS} name
 * @param {string | number | boolean} value
 */
export function remember(app, name, value) {
  const settings = app?.extensionManager?.setting;
  if (setting(app, name) !== value) void settings?.set?.(SETTINGS[name].id, value);
}

/**
 * The settings as ComfyUI's `settings` hook takes them; the last one of a heading stands first.
 * @returns {object[]}
 */
export function settingsForComfy() {
  return Object.values(SETTINGS).reverse().map(({ allowed, section, ...rest }) => ({
    ...rest, category: [HEADING, section, rest.id.split(".")[1]],
  }));
}

/**
 * Gives a node that was just made what new nodes begin with. A workflow's own values come after it.
 * @param {App} app
 * @param {GraphNode} node a LoRA Stack
 */
export function applyToNewNode(app, node) {
  const widget = node.widgets?.find((one) => one.name === "policy");
  const policy = setting(app, "policy");
  if (widget && widget.value !== policy) widget.value = policy;
}
