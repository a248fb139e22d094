// @ts-check
/** A form of a JSON Schema: one field for each property, and what the fields hold as a request. */

import { isObject } from "./json.mjs";

/** @typedef {"text" | "line" | "integer" | "number" | "boolean" | "choice" | "media" | "loras" | "json"} Control */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} title
 * @property {string} description
 * @property {Control} control
 * @property {boolean} required
 * @property {unknown} default undefined without one
 * @property {unknown[]} choices
 * @property {number | undefined} minimum
 * @property {number | undefined} maximum
 * @property {number | undefined} step
 * @property {number} most rows of a list, characters of a text
 * @property {string} role e.g. `seed`; empty if it has none
 */

/** Longer texts than names are prompts. */
const LINE = 1024;
const MEDIA = ["image", "mask", "video", "audio"];

/**
 * @param {unknown} schema of a published workflow's inputs
 * @returns {Field[]}
 */
export function fieldsOf(schema) {
  if (!isObject(schema) || !isObject(schema.properties)) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties).flatMap(([name, data]) => isObject(data) ? [fieldOf(name, data, required.includes(name))] : []);
}

/**
 * @param {string} name
 * @param {Record<string, unknown>} data
 * @param {boolean} required
 * @returns {Field}
 */
function fieldOf(name, data, required) {
  const number = (/** @type {string} */ key) => (typeof data[key] === "number" ? data[key] : undefined);
  const text = (/** @type {string} */ key) => (typeof data[key] === "string" ? data[key] : "");
  return {
    name, title: text("title") || name, description: text("description"), control: controlOf(data), required, default: data.default,
    choices: Array.isArray(data.enum) ? data.enum : [], minimum: number("minimum"), maximum: number("maximum"),
    step: number("multipleOf") ?? number("x-step"), most: number("maxItems") ?? number("maxLength") ?? Infinity, role: text("x-role"),
  };
}

/** @param {Record<string, unknown>} data @returns {Control} */
function controlOf(data) {
  const role = String(data["x-role"] ?? "");
  if (Array.isArray(data.enum)) return "choice";
  if (data.anyOf && MEDIA.includes(role)) return "media";
  if (data.type === "array" && role === "loras") return "loras";
  switch (data.type) {
    case "integer": case "number": case "boolean": return data.type;
    case "string": return Number(data.maxLength ?? 0) > LINE ? "text" : "line";
    default: return "json";
  }
}

/**
 * What was typed into a field as the value that is sent.
 * @param {Field} field
 * @param {string} text
 * @returns {unknown} undefined for what is left to the workflow; the text itself where it is not what the field takes,
 * so that the server says why
 */
export function typedValue({ control, choices, default: own }, text) {
  if (control === "text" || control === "line") return text === "" && own === undefined ? undefined : text;
  const plain = text.trim();
  if (!plain) return undefined;
  if (control === "choice") return choices.find((one) => String(one) === text) ?? text;
  if (control === "boolean") return plain === "true";
  if (control === "integer" && /^[+-]?\d{16,20}$/.test(plain)) return new Digits(plain);
  if (control === "integer" || control === "number") return Number.isFinite(Number(plain)) ? Number(plain) : plain;
  try {
    return JSON.parse(plain);
  } catch {
    return plain;
  }
}

/** A whole number that is larger than JavaScript counts exactly: seeds have up to 20 digits. */
export class Digits {
  /** @param {string} text */
  constructor(text) {
    this.text = text.replace(/^\+/, "");
  }
}

/**
 * The body of a request, with large numbers digit by digit.
 * @param {Record<string, unknown>} values undefined ones are left out
 * @returns {string} JSON
 */
export function bodyOf(values) {
  const parts = Object.entries(values).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return [`${JSON.stringify(name)}:${value instanceof Digits ? value.text : JSON.stringify(value)}`];
  });
  return `{${parts.join(",")}}`;
}

/**
 * @param {string} path of a field in a request, e.g. `loras[1].weight`
 * @returns {{name: string, row: number | undefined}} the property that it is in, and the row of its list
 */
export function fieldAt(path) {
  const [, name, row] = /^([^.[]*)(?:\[(\d+)\])?/.exec(path) ?? [];
  return { name: name ?? "", row: row === undefined ? undefined : Number(row) };
}

/**
 * A number within a field's range that is as good as any other.
 * @param {Field} field
 * @param {() => number} [random] 0 … 1
 */
export function randomNumber({ minimum = 0, maximum = Number.MAX_SAFE_INTEGER }, random = Math.random) {
  const most = Math.min(maximum, Number.MAX_SAFE_INTEGER);
  return Math.floor(minimum + random() * (most - minimum));
}
