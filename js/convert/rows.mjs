// @ts-check
/** Rows out of other nodes' values. Plain data in and out. */

import { isObject } from "../values/json.mjs";

/** @typedef {import("../values/stack.mjs").Row} Row */

const NONE = /^none$/i; // in a list of files: no LoRA
/** How LoRA-Manager shows a row; of no use elsewhere. */
const SHOWN_ONLY = ["expanded", "locked", "_isDummy", "selected"];
const MOST_ROWS = 100; // in a numbered list; ComfyUI's own has 20 at most, and once had 50

/**
 * A row in a list, which is empty if no LoRA is chosen.
 * @param {unknown} lora a name, also as `{content: name}`
 * @param {unknown} model
 * @param {unknown} [clip] undefined means the same as `model`
 * @param {boolean} [on]
 * @param {Record<string, unknown>} [rest] keys that are not known here
 * @returns {Row[]}
 */
export function rowOf(lora, model, clip, on = true, rest = {}) {
  const name = isObject(lora) ? lora.content : lora; // packs that show pictures in the list of files
  if (typeof name !== "string" || !name.trim() || NONE.test(name)) return [];
  const weights = [model, clip].map((weight) => (weight === undefined || weight === null ? undefined : Number(weight)));
  const own = Number.isFinite(weights[0]) ? /** @type {number} */ (weights[0]) : 1;
  const forText = weights[1] !== undefined && Number.isFinite(weights[1]) && weights[1] !== own ? { clip: weights[1] } : {};
  return [{ lora: name, ...(on ? {} : { on: false }), model: own, ...forText, ...rest }];
}

/**
 * @param {unknown[]} values
 * @returns {Row[]} the rows of the list that LoRA-Manager keeps beside its text
 */
export function managerRows(values) {
  const lists = values.map((value) => /** @type {{__value__?: unknown} | null | undefined} */ (value)?.__value__ ?? value).filter(Array.isArray);
  /** @type {unknown[]} */
  const rows = lists.find((list) => list.some(isManagerRow)) ?? [];
  return rows.filter(isManagerRow).flatMap((value) => {
    const { name, strength, clipStrength, active, ...rest } = value;
    for (const key of SHOWN_ONLY) delete rest[key];
    return rowOf(name, strength, clipStrength, active !== false, rest);
  });
}

/**
 * The rows of ComfyUI's own list: widgets `loras.<number>.lora_name`, `.strength` and, in newer versions, `.enabled`.
 * Without their names, a file has the number of rows and then their values in order.
 * @param {unknown[]} list
 * @param {Record<string, unknown>} named
 * @returns {{lora: unknown, strength: unknown, on: boolean}[]}
 */
export function groupRows(list, named) {
  /** @type {Map<number, Record<string, unknown>>} */
  const rows = new Map();
  for (const [key, value] of Object.entries(named)) {
    const [, number, field] = /^loras\.(\d{1,4})\.(lora_name|strength|enabled)$/.exec(key) ?? [];
    if (field) rows.set(Number(number), { ...rows.get(Number(number)), [field]: value });
  }
  const found = rows.size ? [...rows].sort(([a], [b]) => a - b).map(([, row]) => row) : unnamedRows(list);
  return found.slice(0, MOST_ROWS).map(({ lora_name, strength, enabled }) => ({ lora: lora_name, strength, on: enabled !== false }));
}

/** @param {unknown[]} list @returns {Record<string, unknown>[]} */
function unnamedRows(list) {
  const [count, ...values] = list.filter((value) => value !== null && value !== undefined);
  const size = values.length / Number(count);
  if (!Number.isInteger(size) || size < 2) return [];
  return Array.from({ length: Number(count) }, (_, index) => {
    const row = values.slice(index * size, (index + 1) * size);
    const first = (/** @type {string} */ type) => row.find((value) => typeof value === type);
    return { lora_name: first("string"), strength: first("number"), enabled: first("boolean") };
  });
}

/** @param {unknown[]} list @param {Record<string, unknown>} named */
export function valuesIn(list, named) {
  return list.length ? list : Object.values(named);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export function isRgthreeRow(value) {
  return isObject(value) && "lora" in value && ("strength" in value || "strengthTwo" in value);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isManagerRow(value) {
  const row = /** @type {Record<string, unknown> | null | undefined} */ (value);
  return typeof row?.name === "string" && "strength" in row && row._isDummy !== true;
}

/** @param {unknown} value */
export function countOf(value) {
  const number = Number(value);
  return Number.isFinite(number) ? Math.max(number, 0) : 0;
}

/** @param {unknown} value of a switch, as packs write it */
export function isOff(value) {
  return value === undefined || value === null || value === false || value === "False" || value === "Off";
}

/** @param {number} last @returns {number[]} 1, 2, 3 … */
export function count(last) {
  return Array.from({ length: last }, (_, index) => index + 1);
}
