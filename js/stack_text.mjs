// @ts-check
/**
 * The text of a stack, read just well enough to count its rows and to add one. No DOM, no ComfyUI.
 * What counts in the end is what Python reads (`lorchestra/stack.py`); this file must not be stricter than that.
 */

export const EMPTY = '{"version": 1, "loras": []}';
const VERSION = 1;
const FIRST_WEIGHT = 0.75;
const WEIGHT_LIMIT = 100;
const TAG = /<(?:lora|lyco):([^<>]*)>/g; // <lora:styles/pixel:0.7>

/**
 * @typedef {object} Summary
 * @property {number} rows how many LoRAs the text names
 * @property {number} off how many of them are switched off
 * @property {string} note what else there is to say; empty when there is nothing
 * @property {string} error why the text cannot be read; empty when it can
 */

/**
 * A widget value from elsewhere as text: an object from a hand-written prompt becomes JSON.
 * @param {unknown} value
 * @returns {string}
 */
export function toText(value) {
  if (typeof value === "string") return value;
  return value == null ? EMPTY : JSON.stringify(value);
}

/**
 * What the text holds.
 * @param {string} text
 * @returns {Summary}
 */
export function summarise(text) {
  const summary = { rows: 0, off: 0, note: "", error: "" };
  const read = parse(text);
  if ("error" in read) return { ...summary, error: read.error };
  if ("tags" in read) return { ...summary, rows: read.tags.length, error: firstTrouble(read.tags, tagTrouble) };
  if (read.version > VERSION) summary.note = `written by a newer version (${read.version})`;
  const off = read.rows.filter((row) => isObject(row) && row.on === false).length;
  return { ...summary, rows: read.rows.length, off, error: firstTrouble(read.rows, rowTrouble) };
}

/**
 * The summary in one line: "3 LoRAs, 1 off".
 * @param {Summary} summary
 * @returns {string}
 */
export function inWords({ rows, off, note, error }) {
  if (error) return error;
  const parts = [rows === 0 ? "No LoRAs" : rows === 1 ? "1 LoRA" : `${rows} LoRAs`];
  if (off) parts.push(`${off} off`);
  if (note) parts.push(note);
  return parts.join(", ");
}

/**
 * The text with one more row, in the form that the text has already.
 * The first row gets the weight 0.75, each further one the weight of the row before.
 * @param {string} text
 * @param {string} name the LoRA's file, as ComfyUI lists it
 * @returns {{text: string} | {error: string}}
 */
export function withRow(text, name) {
  const read = parse(text);
  if ("error" in read) return { error: `${read.error} Nothing was added.` };
  if ("tags" in read) {
    if (/[<>:]/.test(name)) return { error: `<lora:…> text cannot hold the name ${name}. Write the list as JSON.` };
    const weight = read.tags.length ? tagWeight(read.tags[read.tags.length - 1]) : FIRST_WEIGHT;
    return { text: `${text.trimEnd()} <lora:${name}:${weight}>` };
  }
  const rows = [...read.rows, { lora: name, model: rowWeight(read.rows[read.rows.length - 1]) }];
  return { text: write(read.rewrap(rows)) };
}

/**
 * JSON with a line for each row, so that it can be read and edited by hand.
 * @param {unknown} data
 * @returns {string}
 */
function write(data) {
  const spaced = (/** @type {unknown} */ value) => {
    const lines = JSON.stringify(value, null, 1).split("\n");
    return lines.map((line) => line.trim()).reduce((all, line) => {
      const tight = all === "" || /[[{]$/.test(all) || /^[\]}]/.test(line);
      return tight ? all + line : `${all} ${line}`;
    }, "");
  };
  const list = (/** @type {unknown[]} */ rows) => rows.length ? `[\n  ${rows.map(spaced).join(",\n  ")}\n]` : "[]";
  if (Array.isArray(data)) return list(data);
  if (!isObject(data)) return JSON.stringify(data);
  const parts = Object.entries(data).map(([key, value]) => {
    const rows = (key === "loras" || key === "lora") && Array.isArray(value);
    return `${JSON.stringify(key)}: ${rows ? list(value) : spaced(value)}`;
  });
  return `{${parts.join(", ")}}`;
}

/**
 * @typedef {{error: string}} Unreadable
 * @typedef {{tags: string[]}} Tags
 * @typedef {{rows: unknown[], version: number, rewrap: (rows: unknown[]) => unknown}} Rows
 * `rewrap` gives the whole data with other rows in it
 */

/**
 * @param {string} text
 * @returns {Unreadable | Tags | Rows}
 */
function parse(text) {
  const stripped = text.trim();
  if (!stripped) return { rows: [], version: VERSION, rewrap: (rows) => ({ version: VERSION, loras: rows }) };
  if (!/^[[{"]/.test(stripped)) return parseTags(stripped);
  let data;
  try {
    data = JSON.parse(stripped);
    for (let depth = 0; typeof data === "string" && depth < 4; depth++) data = JSON.parse(data);
  } catch (error) {
    return { error: `This is not JSON: ${/** @type {Error} */ (error).message}.` };
  }
  return findRows(data);
}

/**
 * @param {string} text
 * @returns {Unreadable | Tags}
 */
function parseTags(text) {
  const tags = [...text.matchAll(TAG)].map((match) => match[1]);
  const rest = text.replace(TAG, " ").replace(/[\s,]+/g, " ").trim();
  if (!tags.length && !rest.startsWith("<l")) {
    return { error: "This is neither JSON nor <lora:name:weight> text." };
  }
  return rest ? { error: `There is more than <lora:name:weight> tags here: ${shorten(rest)}` } : { tags };
}

/**
 * @param {unknown} data
 * @returns {Unreadable | Rows}
 */
function findRows(data) {
  if (Array.isArray(data)) return { rows: data, version: VERSION, rewrap: (rows) => rows };
  if (!isObject(data)) return { error: "This is JSON, but no list of LoRAs." };
  if (Object.keys(data).join() === "__value__") {
    const inner = findRows(data.__value__);
    return "error" in inner ? inner : { ...inner, rewrap: (rows) => ({ __value__: inner.rewrap(rows) }) };
  }
  const key = "loras" in data ? "loras" : "lora";
  const rows = data[key];
  if (!Array.isArray(rows)) return { error: 'This is JSON without a list of "loras".' };
  const version = typeof data.version === "number" && key === "loras" ? data.version : VERSION;
  return { rows, version, rewrap: (other) => ({ ...data, [key]: other }) };
}

/**
 * @template T
 * @param {T[]} rows
 * @param {(row: T) => string} find
 * @returns {string}
 */
function firstTrouble(rows, find) {
  for (const [index, row] of rows.entries()) {
    const trouble = find(row);
    if (trouble) return `Row ${index + 1}: ${trouble}.`;
  }
  return "";
}

/**
 * @param {unknown} row
 * @returns {string}
 */
function rowTrouble(row) {
  if (Array.isArray(row)) return row.length === 3 ? "" : "expected a name and two weights";
  if (!isObject(row)) return "expected a JSON object";
  const name = row.lora ?? row.model;
  if (typeof name !== "string" || !name.trim()) return "no LoRA is named";
  if ("on" in row && typeof row.on !== "boolean") return '"on" is neither true nor false';
  for (const key of "lora" in row ? ["model", "clip"] : ["weight"]) {
    const weight = row[key];
    if (weight == null && key !== "model") continue;
    if (weight !== undefined && !isWeight(weight)) return `the weight "${key}" is no number in -100 to 100`;
  }
  return "";
}

/**
 * @param {string} tag
 * @returns {string}
 */
function tagTrouble(tag) {
  const [name, ...rest] = tag.split(":");
  if (!name.trim()) return "no LoRA is named";
  const wrong = rest.filter((part) => !part.includes("=")).slice(0, 2).find((part) => !isWeight(numberIn(part)));
  return wrong === undefined ? "" : `the weight ${shorten(wrong)} is no number in -100 to 100`;
}

/**
 * @param {unknown} row
 * @returns {number}
 */
function rowWeight(row) {
  const weights = Array.isArray(row) ? [row[1]] : isObject(row) ? [row.model, row.weight, row.strength] : [];
  return /** @type {number} */ (weights.find(isWeight) ?? FIRST_WEIGHT);
}

/**
 * @param {string} tag
 * @returns {number}
 */
function tagWeight(tag) {
  const parts = tag.split(":").slice(1);
  const named = parts.find((part) => part.trim().startsWith("unet="));
  const positional = parts.filter((part) => !part.includes("="));
  if (!parts.length) return 1;
  const weight = numberIn(named ? named.split("=")[1] : (positional[1] ?? positional[0] ?? ""));
  return isWeight(weight) ? weight : FIRST_WEIGHT;
}

/**
 * @param {string} text
 * @returns {number}
 */
function numberIn(text) {
  return text.trim() ? Number(text) : Number.NaN;
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isWeight(value) {
  return typeof value === "number" && Math.abs(value) <= WEIGHT_LIMIT;
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {string} text
 * @returns {string}
 */
function shorten(text) {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
