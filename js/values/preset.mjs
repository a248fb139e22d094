// @ts-check
/**
 * A preset: rows of a LoRA Stack under a name, with a picture and a note, as a file in ComfyUI's user folder. Pure.
 * What is in such a file is not trusted: it may come from another person.
 */

import { t } from "../base/words.mjs";
import { groupsOf, tidied } from "./groups.mjs";
import { isObject } from "./json.mjs";
import { MAX_TEXT } from "./limits.mjs";
import { EMPTY, readStack, writeStack } from "./stack.mjs";

const KIND = "lorchestra-preset";
const VERSION = 1;
export const MAX_PRESET_NAME = 80; // characters
export const MAX_NOTE = 2000;
const MAX_PICTURE = 400_000; // characters of base64
const PICTURE = /^data:image\/(?:webp|png|jpeg);base64,[A-Za-z0-9+/]+={0,2}$/;
const BAD_CHARACTERS = /[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]/u; // Windows has none of them in names
const RESERVED = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;

/** @typedef {Pick<import("./stack.mjs").Stack, "rows" | "more">} Rows */

/**
 * @typedef {object} Preset
 * @property {string} name
 * @property {string} note
 * @property {string} picture a data URL, or ""
 * @property {Rows} stack
 * @property {string} problem why it cannot be used, or ""
 */

/**
 * @param {string} name
 * @param {string[]} [others] that there are
 * @returns {string} what is wrong with the name, or ""
 */
export function problemOfName(name, others = []) {
  if (!name.trim()) return t("Give it a name.");
  if ([...name].length > MAX_PRESET_NAME) return t("A name has at most {most} characters.", { most: MAX_PRESET_NAME });
  if (BAD_CHARACTERS.test(name)) return t('A name has no line breaks and none of {characters}', { characters: '< > : " / \\ | ? *' });
  if (name !== name.trim() || /^\.|\.$/.test(name)) return t("A name does not begin or end with a point or a space.");
  if (RESERVED.test(name)) return t("Windows keeps the name {name} for itself.", { name });
  const clash = others.find((other) => folded(other) === folded(name));
  return clash === undefined ? "" : t("There is a preset {name}.", { name: clash });
}

/** What names are compared by: file systems may not tell case or accents' spelling apart. @param {string} name */
export function folded(name) {
  return name.normalize("NFC").toLowerCase();
}

/**
 * @param {string} name of the file, without its ending
 * @param {string} text
 * @returns {Preset}
 */
export function readPreset(name, text) {
  /** @type {Preset} */
  const preset = { name, note: "", picture: "", stack: { rows: [], more: {} }, problem: "" };
  const wrong = (/** @type {string} */ problem) => ({ ...preset, problem });
  if (text.length > MAX_TEXT) return wrong(t("The file is too large."));
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return wrong(t("The file is not JSON."));
  }
  const isPreset = isObject(data) && data.kind === KIND;
  if (isPreset && data.version !== VERSION) return wrong(t("The file was written by a newer version."));
  const inner = isPreset ? data.stack : data;
  if (!isObject(inner) || !Array.isArray(inner.loras)) return wrong(t("There are no LoRAs in the file."));
  const stack = readStack(JSON.stringify(inner));
  if (stack.error) return wrong(stack.error);
  if (isPreset && typeof data.note === "string") preset.note = data.note.slice(0, MAX_NOTE);
  if (isPreset && isPicture(data.picture)) preset.picture = data.picture;
  return { ...preset, stack: { rows: stack.rows, more: groupsOnly(stack.more) } };
}

/**
 * @param {Preset} preset
 * @returns {string} the text of its file
 */
export function writePreset({ note, picture, stack }) {
  const { rows, more } = tidied(stack.rows, groupsOnly(stack.more));
  const text = writeStack({ ...readStack(EMPTY), more }, rows);
  const head = [`"kind": "${KIND}"`, `"version": ${VERSION}`];
  if (note) head.push(`"note": ${JSON.stringify(note)}`);
  if (isPicture(picture)) head.push(`"picture": ${JSON.stringify(picture)}`);
  return `{${head.join(", ")}, "stack": ${text}}\n`;
}

/**
 * @param {unknown} value
 * @returns {value is string}
 */
export function isPicture(value) {
  return typeof value === "string" && value.length <= MAX_PICTURE && PICTURE.test(value);
}

/** @param {Preset[]} presets @param {string} query @returns {Preset[]} those with all of its words in name, note or LoRAs */
export function found(presets, query) {
  const words = folded(query).split(/\s+/).filter(Boolean);
  return presets.filter(({ name, note, stack }) => {
    const text = folded([name, note, ...stack.rows.map(({ lora }) => lora)].join("\n"));
    return words.every((word) => text.includes(word));
  });
}

/** @param {Record<string, unknown>} more */
function groupsOnly(more) {
  return groupsOf(more).length ? { groups: more.groups } : {};
}

/**
 * The rows of another program in a file that people drop, as text for the server: those of a saved workflow's lists in
 * rgthree's form, or the text as it is.
 * @param {string} text
 * @returns {string}
 */
export function rowsText(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return text;
  }
  if (!isObject(data) || !Array.isArray(data.nodes)) return text;
  const rows = data.nodes.flatMap((node) => (isObject(node) && Array.isArray(node.widgets_values) ? node.widgets_values : []))
    .filter((value) => isObject(value) && "lora" in value && "strength" in value && "on" in value);
  return rows.length ? JSON.stringify(rows) : text;
}
