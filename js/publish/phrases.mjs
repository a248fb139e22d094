// @ts-check
/** Inputs and outputs in words. */

import { t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";

/** @import { Input } from "../values/published.mjs" */

/** Kind → what people call it. @type {Record<string, () => string>} */
const KINDS = {
  text: () => t("text"), integer: () => t("whole number"), number: () => t("number"), boolean: () => t("yes or no"),
  choice: () => t("choice"), file: () => t("file of a model"), image: () => t("image"), mask: () => t("mask"), video: () => t("video"),
  audio: () => t("sound"), loras: () => t("list of LoRAs"), value: () => t("any value"), latent: () => t("latent"),
};

/** @param {string} kind */
export function kindInWords(kind) {
  return Object.hasOwn(KINDS, kind) ? KINDS[kind]() : kind;
}

/** @param {Input} input @returns {string} its type, range and default */
export function inputInWords({ kind, schema, default: own, required }) {
  const words = [kindInWords(kind), rangeInWords(schema)];
  if (Array.isArray(schema.enum)) words.push(t("{count} choices", { count: schema.enum.length }));
  if (typeof schema.maxItems === "number") words.push(t("at most {count}", { count: formatCount(schema.maxItems) }));
  if (required) words.push(t("required"));
  const text = typeof own === "string" ? `“${own.length > 60 ? `${own.slice(0, 59)}…` : own}”` : JSON.stringify(own);
  if (own !== null && text && kind !== "loras") words.push(t("default {value}", { value: text }));
  return words.filter(Boolean).join(" · ");
}

/** @param {Record<string, unknown>} schema @returns {string} e.g. `1 – 100`; empty without bounds */
export function rangeInWords({ minimum, maximum }) {
  // Larger numbers are not those of the schema any more, and say as much as none.
  const [least, most] = [minimum, maximum].map((bound) => (typeof bound === "number" && Math.abs(bound) <= Number.MAX_SAFE_INTEGER
    ? bound.toLocaleString("en", { maximumFractionDigits: 6 }) : ""));
  if (least && most) return `${least} – ${most}`;
  return least ? `≥ ${least}` : most ? `≤ ${most}` : "";
}
