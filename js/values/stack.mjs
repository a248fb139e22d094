// @ts-check
/**
 * The rows of a stack's text, to be shown and edited. No DOM, no ComfyUI.
 * What counts in the end is what Python reads (`lorchestra/exchange`); this file must not be stricter than that. Any form
 * that Python reads becomes our JSON with the first edit; what is not known here survives it. Tags that are not plain
 * ones are not read here at all: Python is asked what they mean (`js/stack/asking.mjs`).
 */

import { t } from "../base/words.mjs";
import { flat, groupsOf, isGroupOn, troubleOfGroups } from "./groups.mjs";
import { isObject } from "./json.mjs";
import { DEFAULT_WEIGHT, MAX_ROWS, WEIGHT_LIMIT } from "./limits.mjs";

export const EMPTY = '{"version": 1, "loras": []}';
const RUNWARE_WEIGHT = 1;
const VERSION = 1;
const NUMBER = String.raw`[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})`;
const NAME = String.raw`(?! |(?:urn|air|civitai|runware)[:>])[^<>＜＞&:：=@\x00-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff\ufeff]{1,1000}(?<! )`;
const PLAIN = `<(?:lora|lyco):(${NAME})(?::(${NUMBER})(?::(${NUMBER})(?::([1-9][0-9]{0,8}))?)?)?>`;
const PLAIN_TAG = new RegExp(PLAIN, "gi"); // <lora:styles/pixel:0.7>, <lora:pixel:0.5:0.7:8>
const PLAIN_TAGS = new RegExp(String.raw`^[ \t\r\n\f\v,]*(?:${PLAIN}[ \t\r\n\f\v,]*)+$`, "i");
const MOST_PLAIN = 100_000; // characters
const ANY_TAG = /(?:<|＜|&lt;)\s*(?:lora|lyco|loractl)\s*[:：]/i;
const ODD_END = /^[^\S \t\r\n\f\v]|[^\S \t\r\n\f\v]$|^[\x1c-\x1f\x85]|[\x1c-\x1f\x85]$/; // white space for one language, not for the other
const FIRST_KEYS = ["lora", "on", "model", "clip"];
const CHOICES = { conditioning: ["both", "positive", "negative"], expert: ["both", "high", "low"] };
/** What only the face uses: it is saved, and left out of the prompt. */
const FACE_KEYS = ["collapsed", "words"];

/**
 * One LoRA as our JSON has it.
 * @typedef {object} Known
 * @property {string} lora as ComfyUI lists it, an AIR or a hash
 * @property {boolean} [on]
 * @property {number} [model]
 * @property {number | null} [clip] null and undefined mean the same as `model`
 * @property {string | null} [schedule]
 * @property {"both" | "positive" | "negative"} [conditioning]
 * @property {"both" | "high" | "low" | null} [expert]
 * @property {object | string} [blocks]
 * @property {string | null} [sha256]
 * @property {string | null} [air]
 * @property {string | null} [group] the name of its group, which counts if the stack has groups
 * @property {string[] | null} [triggers] the trigger words that are meant; null and undefined mean all of the file
 */

/** @typedef {Known & Record<string, unknown>} Row with whatever else is in it */

/** @typedef {Partial<Known> & Record<string, unknown>} Changes of a row; undefined takes a key away */

/**
 * @typedef {object} Stack
 * @property {Row[]} rows
 * @property {number} version that the text was written with; may be newer than ours
 * @property {Record<string, unknown>} more keys beside the rows, verbatim
 * @property {string} error why the text cannot be shown as rows; empty when it can
 * @property {boolean} asks whether only Python can tell what is in the text; until it has, there is an error
 * @property {string[] | null} notes what is lost of a text that Python has read; null for one that was read here
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
 * @param {string} text
 * @returns {Stack}
 */
export function readStack(text) {
  if (ODD_END.test(text)) return unread();
  const stripped = text.trim();
  if (!stripped) return stackOf([]);
  if (!/^[[{"]/.test(stripped)) return readTags(stripped);
  let data;
  try {
    data = JSON.parse(stripped);
    for (let depth = 0; typeof data === "string" && depth < 4; depth++) {
      if (ANY_TAG.test(data)) return unread();
      data = JSON.parse(data);
    }
  } catch (error) {
    if (ANY_TAG.test(stripped)) return unread(); // a prompt may begin with a bracket
    return failed(t("This is not JSON: {reason}.", { reason: /** @type {Error} */ (error).message }));
  }
  return readData(data, 0);
}

/**
 * The text with these rows; one line for each, so that it can be read and edited by hand.
 * @param {Stack} stack what is kept beside the rows
 * @param {Row[]} rows
 * @returns {string}
 */
export function writeStack(stack, rows) {
  const parts = [`"version": ${stack.version}`, `"loras": ${listText(rows)}`];
  for (const [key, value] of Object.entries(stack.more)) {
    if (value !== undefined) parts.push(`${JSON.stringify(key)}: ${spaced(value)}`);
  }
  return `{${parts.join(", ")}}`;
}

/**
 * What of a stack's text goes into the prompt: rows that are off do not, so that editing them changes nothing there.
 * @param {string} text
 * @returns {string}
 */
export function promptText(text) {
  const stack = readStack(text);
  if (stack.error) return text;
  const all = groupsOf(stack.more);
  const off = new Set(all.filter((group) => !isGroupOn(group)).map(({ name }) => name));
  const rows = stack.rows.filter((row) => isOn(row) && !(all.length && off.has(/** @type {string} */ (row.group))));
  const more = Object.fromEntries(Object.entries(stack.more).filter(([key]) => !FACE_KEYS.includes(key)));
  const groups = all.filter(({ name }) => rows.some((row) => row.group === name)).map(({ folded, ...group }) => group);
  if (all.length) more.groups = groups.length ? groups : undefined;
  const same = rows.length === stack.rows.length && Object.keys(more).length === Object.keys(stack.more).length
    && JSON.stringify(more.groups) === JSON.stringify(stack.more.groups);
  return same ? text : writeStack({ ...stack, more }, rows);
}

/**
 * What the stack holds, in one line: "3 LoRAs, 1 off".
 * @param {Stack} stack
 * @returns {string}
 */
export function inWords({ rows, more, version, error, notes }) {
  if (error) return error;
  const off = flat({ rows, more }).filter((row) => !isOn(row)).length;
  const parts = [rows.length === 0 ? t("No LoRAs") : rows.length === 1 ? t("1 LoRA") : t("{count} LoRAs", { count: rows.length })];
  if (off) parts.push(t("{count} off", { count: off }));
  if (version > VERSION) parts.push(t("written by a newer version ({version})", { version }));
  if (notes?.length) parts.push(t("not kept from the text: {notes}", { notes: notes.join("; ") }));
  return parts.join(", ");
}

/** @param {Row} row */
export function isOn(row) {
  return row.on !== false;
}

/**
 * @param {Row} row
 * @returns {number}
 */
export function modelWeight(row) {
  return row.model ?? DEFAULT_WEIGHT;
}

/**
 * @param {Row} row
 * @returns {number | null} null when it is the model weight
 */
export function clipWeight(row) {
  return row.clip ?? null;
}

/**
 * The row with other values. The keys keep their order, ours first.
 * @template {Record<string, unknown>} R
 * @param {R} row
 * @param {Changes | Record<string, unknown>} changes
 * @returns {R}
 */
export function changed(row, changes) {
  /** @type {Record<string, unknown>} */
  const all = { ...row, ...changes };
  const keys = [...FIRST_KEYS, ...Object.keys(all).filter((key) => !FIRST_KEYS.includes(key))];
  return /** @type {R} */ (Object.fromEntries(keys.filter((key) => all[key] !== undefined).map((key) => [key, all[key]])));
}

/**
 * The rows with one at another place.
 * @template T
 * @param {T[]} rows
 * @param {number} from
 * @param {number} to its place afterwards
 */
export function moved(rows, from, to) {
  const rest = rows.filter((_, index) => index !== from);
  rest.splice(to, 0, rows[from]);
  return rest;
}

/**
 * @param {Row[]} rows
 * @param {Record<string, unknown>} [more]
 * @param {number} [version]
 * @returns {Stack}
 */
function stackOf(rows, more = {}, version = VERSION) {
  return { rows, version, more, error: "", asks: false, notes: null };
}

/**
 * @param {string} error
 * @returns {Stack}
 */
export function failed(error) {
  return { ...stackOf([]), error };
}

/** @returns {Stack} of a text that Python has to be asked about */
function unread() {
  return { ...failed(t("Reading the text …")), asks: true };
}

/**
 * What Python read in a text.
 * @param {Row[]} rows
 * @param {string[]} notes
 * @returns {Stack}
 */
export function told(rows, notes) {
  return { ...stackOf(rows), notes };
}

/**
 * @param {unknown} data
 * @param {number} depth of `__value__` around it
 * @returns {Stack}
 */
function readData(data, depth) {
  if (Array.isArray(data)) return readRows(data, {}, VERSION);
  if (!isObject(data)) return failed(t("This is JSON, but not a list of LoRAs."));
  if (Object.keys(data).join() === "__value__" && depth < 5) {
    const inner = data.__value__;
    return typeof inner === "string" ? readStack(inner) : readData(inner, depth + 1);
  }
  const key = "loras" in data ? "loras" : "lora";
  const { [key]: rows, version, ...more } = data;
  if (!Array.isArray(rows)) return failed(t('This is JSON without a list of "loras".'));
  if (key === "lora") return readRows(rows, {}, VERSION); // of a request: Python takes nothing else from it
  if (version !== undefined && (!Number.isInteger(version) || /** @type {number} */ (version) < 1)) {
    return failed(t("{version} is not a version number.", { version: shorten(JSON.stringify(version)) }));
  }
  return readRows(rows, more, /** @type {number} */ (version ?? VERSION));
}

/**
 * @param {unknown[]} values
 * @param {Record<string, unknown>} more
 * @param {number} version
 * @returns {Stack}
 */
function readRows(values, more, version) {
  const rows = values.map(readRow);
  for (const [index, row] of rows.entries()) {
    const trouble = typeof row === "string" ? row : troubleOf(row);
    if (trouble) return { ...stackOf([], more, version), error: t("Row {row}: {trouble}.", { row: index + 1, trouble }) };
  }
  const trouble = troubleOfGroups(more.groups, /** @type {Row[]} */ (rows));
  if (trouble) return { ...stackOf([], more, version), error: `${trouble}.` };
  return stackOf(/** @type {Row[]} */ (rows), more, version);
}

/**
 * @param {unknown} value
 * @returns {Record<string, unknown> | string} what is wrong with it, if it is not a row
 */
function readRow(value) {
  if (Array.isArray(value)) {
    if (value.length !== 3) return t("expected a name and two weights");
    const [lora, model, clip] = value;
    return { lora, model, ...(clip === model ? {} : { clip }) };
  }
  if (!isObject(value)) return t("expected a JSON object");
  if ("lora" in value) {
    if (!("strength" in value) || "model" in value) return value;
    const { strength, strengthTwo, ...rest } = value; // rgthree's Power Lora Loader
    return changed(rest, { model: strength, clip: strengthTwo ?? undefined });
  }
  if (typeof value.model !== "string") return t("no LoRA is named");
  const { model, weight, transformer, ...rest } = value; // Runware
  const lora = model.trim();
  const expert = rest.expert ?? (CHOICES.expert.includes(/** @type {string} */ (transformer)) ? transformer : undefined);
  return changed(rest, {
    lora,
    model: weight ?? RUNWARE_WEIGHT,
    expert,
    transformer: expert === transformer ? undefined : transformer,
    air: isAir(lora) ? lora : rest.air,
  });
}

/**
 * @param {Record<string, unknown>} row
 * @returns {string} empty when nothing is wrong with it
 */
function troubleOf(row) {
  if (typeof row.lora !== "string" || !row.lora.trim()) return t("no LoRA is named");
  if ("on" in row && typeof row.on !== "boolean") return t('"on" is neither true nor false');
  for (const key of ["model", "clip"]) {
    if (row[key] === undefined || (key === "clip" && row[key] === null)) continue;
    if (!isWeight(row[key])) return t('the weight "{key}" is not a number from -100 to 100', { key });
  }
  if ("weight" in row && !("model" in row)) return t('the weights are called "model" and "clip"');
  for (const [key, known] of Object.entries(CHOICES)) {
    const value = row[key];
    if (value == null && key === "expert") continue;
    if (value !== undefined && !known.includes(/** @type {string} */ (value))) return t('"{key}" is not one of {known}', { key, known: known.join(", ") });
  }
  if (row.triggers != null && !(Array.isArray(row.triggers) && row.triggers.every((word) => typeof word === "string"))) {
    return t('"{key}" is not a list of words', { key: "triggers" });
  }
  if (row.schedule != null && typeof row.schedule !== "string") return t('"{key}" is not text', { key: "schedule" });
  return "";
}

/**
 * @param {string} text
 * @returns {Stack} the rows of plain tags
 */
function readTags(text) {
  if (!ANY_TAG.test(text)) return failed(t("This is neither JSON nor <lora:name:weight> text."));
  if (text.length > MOST_PLAIN || !PLAIN_TAGS.test(text)) return unread();
  const rows = [...text.matchAll(PLAIN_TAG)].map(([, lora, te, unet, dyn]) => {
    const clip = te === undefined ? RUNWARE_WEIGHT : Number(te);
    const model = unet === undefined ? clip : Number(unet);
    return { lora, model, ...(clip === model ? {} : { clip }), ...(dyn === undefined ? {} : { dyn: Number(dyn) }) };
  });
  return rows.length <= MAX_ROWS && rows.every((row) => isWeight(row.model) && isWeight(row.clip ?? 0)) ? stackOf(rows) : unread();
}

/** @param {unknown} data */
function spaced(data) {
  const lines = JSON.stringify(data, null, 1).split("\n");
  return lines.map((line) => line.trim()).reduce((all, line) => {
    const tight = all === "" || /[[{]$/.test(all) || /^[\]}]/.test(line);
    return tight ? all + line : `${all} ${line}`;
  }, "");
}

/** @param {Row[]} rows */
function listText(rows) {
  return rows.length ? `[\n  ${rows.map(spaced).join(",\n  ")}\n]` : "[]";
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isWeight(value) {
  return typeof value === "number" && Math.abs(value) <= WEIGHT_LIMIT;
}

/** @param {string} name e.g. `civitai:120096@135931` */
function isAir(name) {
  return /^urn:air:/i.test(name) || /^[a-z0-9_-]+:[^\s:@]+@[^\s:@]+$/i.test(name);
}

/** @param {string} text */
function shorten(text) {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
