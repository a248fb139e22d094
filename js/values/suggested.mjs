// @ts-check
/** Rows with the weights that a run suggested for them. No DOM. */

import { splitName } from "./numbers.mjs";
import { changed, clipWeight, modelWeight } from "./stack.mjs";
import { isActive } from "./strengths.mjs";

/** @typedef {import("./stack.mjs").Row} Row */
/** @typedef {[model: number, clip: number | null]} Weights */

/**
 * @typedef {object} Suggested what a run measured and suggests
 * @property {[lora: string, model: number, clip: number | null][]} rows as they came in: those that are on
 * @property {Record<string, Weights[]>} weights of these rows, by the suggestion's id
 */

const SAME = 1e-6;

/**
 * @param {Row[][]} stacks one after another
 * @param {Suggested} suggested
 * @param {string} id
 * @param {Row[][]} acting the rows as they act, with what their groups say; the same where there are none
 * @returns {Row[][] | null} null if these are other rows than were measured, or have weights that were not suggested
 */
export function weighed(stacks, { rows: measured, weights }, id, acting = stacks) {
  const active = acting.flat().filter(isActive);
  const known = [measured.map(([, ...own]) => own), ...Object.values(weights)];
  const isKnown = known.some((own) => active.every((row, at) => isWeighed(row, own[at])));
  if (active.length !== measured.length || !isKnown || !active.every((row, at) => isNamed(row, measured[at][0]))) return null;
  let next = 0;
  return stacks.map((rows, stack) => rows.map((row, at) => {
    const acts = acting[stack][at];
    if (!isActive(acts)) return row;
    const [model, clip] = weights[id][next++];
    return changed(row, {
      model: written(modelWeight(row), modelWeight(acts), model),
      ...(clip === null ? {} : { clip: written(clipWeight(row) ?? modelWeight(row), clipWeight(acts) ?? modelWeight(acts), clip) }),
    });
  }));
}

/**
 * What to write into a row so that it acts with a weight.
 * @param {number} own weight of the row
 * @param {number} acts what it acts with now, by its group's factor
 * @param {number} wanted
 */
function written(own, acts, wanted) {
  return own === acts || !acts ? wanted : Number((wanted * (own / acts)).toPrecision(12));
}

/**
 * A row that is found by a hash or an AIR may be called otherwise.
 * @param {Row} row
 * @param {string} lora
 */
function isNamed(row, lora) {
  return splitName(row.lora).title === splitName(lora).title || Boolean(row.sha256 || row.air) || !/\.\w+$/.test(row.lora);
}

/** @param {Row} row @param {Weights | undefined} weights */
function isWeighed(row, weights) {
  if (!weights) return false;
  const [model, clip] = weights;
  return near(modelWeight(row), model) && near(clipWeight(row) ?? modelWeight(row), clip ?? model);
}

/** @param {number} one @param {number} other */
function near(one, other) {
  return Math.abs(one - other) < SAME;
}
