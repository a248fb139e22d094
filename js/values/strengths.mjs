// @ts-check
/** How strong the rows of a stack are against each other, from what is known of their files at weight 1. No DOM. */

import { clipWeight, isOn, modelWeight } from "./stack.mjs";

/** @typedef {import("./stack.mjs").Row} Row */
/** @typedef {{model: number, clip: number} | {why: string}} Known of a row's file at weight 1; or why nothing is */

/**
 * @typedef {object} Bar of one row
 * @property {number} share of the strengths of all rows that are known, 0 … 1
 * @property {number} length against the strongest row's, 0 … 1
 * @property {boolean} isWhole whether all rows are known
 */

/**
 * What the server is asked about; the same for rows of one file with the same weights per block.
 * @param {Row} row
 * @returns {Row}
 */
export function askedOf({ lora, sha256, air, blocks }) {
  return { lora, ...Object.fromEntries(Object.entries({ sha256, air, blocks }).filter(([, value]) => value != null && value !== "")) };
}

/** @param {Row} row whether it does anything */
export function isActive(row) {
  return isOn(row) && (modelWeight(row) !== 0 || (clipWeight(row) ?? 0) !== 0);
}

/**
 * A row's bar, why there is none, or nothing. Each row counts by itself, also where several have one file.
 * @param {Row[]} rows
 * @param {(row: Row) => Known | undefined} find undefined for what is not known yet
 * @param {boolean} [hasClip] whether there are text encoders
 * @returns {(Bar | {why: string} | undefined)[]} nothing while a row that is on is not known, and for fewer than two
 */
export function barsOf(rows, find, hasClip = true) {
  const none = rows.map(() => undefined);
  const known = rows.map((row) => (isActive(row) ? find(row) : undefined));
  const active = rows.filter(isActive).length;
  if (active < 2 || known.filter(Boolean).length < active) return none;
  const strengths = rows.map((row, index) => strengthOf(row, known[index], hasClip));
  const told = strengths.filter((one) => one !== null);
  const most = Math.max(...told, 0);
  const total = told.reduce((sum, one) => sum + one, 0);
  const isWhole = told.length === active;
  return strengths.map((strength, index) => {
    const one = known[index];
    if (one && "why" in one) return one;
    if (strength === null || told.length < 2) return undefined;
    return { share: total ? strength / total : 0, length: most ? strength / most : 0, isWhole };
  });
}

/**
 * ‖s·Δ‖ over the diffusion model and the text encoders; without what a schedule changes.
 * @param {Row} row
 * @param {Known | undefined} known
 * @param {boolean} hasClip
 * @returns {number | null}
 */
function strengthOf(row, known, hasClip) {
  if (!known || "why" in known) return null;
  if (!hasClip) return Math.abs(modelWeight(row) * known.model);
  return Math.hypot(modelWeight(row) * known.model, (clipWeight(row) ?? modelWeight(row)) * known.clip);
}
