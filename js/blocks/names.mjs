// @ts-check
/** What the editor calls groups, kinds of layers and presets. */

import { t } from "../base/words.mjs";

/** @typedef {import("../values/blocks.mjs").Group} Group */
/** @typedef {import("../values/blocks.mjs").Bar} Bar */

/** @type {Record<string, () => string>} */
const NAMES = {
  attn: () => t("Attention"), mlp: () => t("MLP"), other: () => t("Other layers"), audio: () => t("Audio"), video: () => t("Video"),
};

/** @type {Record<string, () => string>} */
const PRESETS = {
  whole: () => t("Whole"), attention: () => t("Only attention"), mlp: () => t("Only MLP"),
  early: () => t("Only the early blocks"), mid: () => t("Only the middle third"), late: () => t("Only the late blocks"),
  input: () => t("Only the input blocks"), middle: () => t("Only the middle block"), output: () => t("Only the output blocks"),
  without_text_encoder: () => t("Without the text encoder"), without_audio: () => t("Without sound"), without_video: () => t("Sound alone"),
};

/** @type {Record<Group["role"], (id: string) => string>} */
const GROUPS = {
  blocks: (id) => id, outside: () => t("Outside of the blocks"), encoders: () => t("Text encoders"), kinds: () => t("Kinds of layers"),
};

/** @param {Group} group */
export function groupName({ role, id }) {
  return GROUPS[role](id);
}

/** @param {Bar} bar */
export function barName({ id }) {
  return NAMES[id]?.() ?? id;
}

/** @param {string} id of a preset */
export function presetName(id) {
  return PRESETS[id]();
}

/** @param {Bar} bar @param {boolean} isKnown whether the LoRA's file is */
export function barLayers({ layers, touched }, isKnown) {
  return isKnown ? t("the LoRA changes {count} of {total} layers", { count: touched, total: layers }) : t("{total} layers", { total: layers });
}
