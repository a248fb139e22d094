// @ts-check
/** What new rows and steps are, as the user has set them. */

import { setting } from "../base/settings.mjs";

/** @import { App } from "../types.d.ts" */

/**
 * @typedef {object} Defaults
 * @property {number} weight of a new row, and what a double click resets to
 * @property {number} step of a weight by a plain key
 * @property {boolean} split whether a new row has a clip weight of its own
 */

/**
 * @param {App} app
 * @returns {Defaults}
 */
export function defaultsOf(app) {
  return { weight: setting(app, "defaultWeight"), step: setting(app, "weightStep"), split: setting(app, "splitClip") };
}

/**
 * @param {App} app
 * @param {string[]} loras as ComfyUI lists them
 * @returns {import("../values/stack.mjs").Row[]} new rows, as the user has set them
 */
export function newRows(app, loras) {
  const { weight, split } = defaultsOf(app);
  return loras.map((lora) => ({ lora, model: weight, ...(split ? { clip: weight } : {}) }));
}
