// @ts-check
/** What is wrong with the rows of a stack, by what is known before a run and what the last run refused. No DOM. */

import { t } from "../base/words.mjs";
import { isOn } from "./stack.mjs";
import { BROKEN, MISFIT, MISSING, NOT_A_LORA, offerFor } from "./verdicts.mjs";

/** @import { Row } from "./stack.mjs" */
/** @import { Badge, Candidate } from "./verdicts.mjs" */

/**
 * The numbers of the rows with a problem, from 0; rows that are off have none.
 * @typedef {object} Problems
 * @property {number[]} misfits for another model
 * @property {number[]} missing without a file
 * @property {number[]} ambiguous whose name several files have
 * @property {number[]} unusable whose file is broken or not a LoRA, or which cannot be applied themselves
 */

/** @typedef {keyof Problems} Kind */

/** @param {Badge} badge @returns {Kind | undefined} */
function kindOf({ state, ambiguous }) {
  if (state === MISFIT) return "misfits";
  if (state === MISSING) return ambiguous ? "ambiguous" : "missing";
  return state === BROKEN || state === NOT_A_LORA ? "unusable" : undefined;
}

/**
 * @param {Row[]} rows
 * @param {(Badge | undefined)[]} badges by row
 * @returns {Problems}
 */
export function problemsOf(rows, badges) {
  /** @type {Problems} */
  const found = { misfits: [], missing: [], ambiguous: [], unusable: [] };
  rows.forEach((row, index) => {
    const badge = badges[index];
    const kind = badge && isOn(row) && kindOf(badge);
    if (kind) found[kind].push(index);
  });
  return found;
}

/** @param {Problems} problems @returns {number[]} all of these rows, in their order */
export function troubled(problems) {
  return Object.values(problems).flat().sort((one, other) => one - other);
}

/**
 * @param {Problems} problems
 * @returns {string} "2 don't fit · 1 missing", or ""
 */
export function problemsInWords({ misfits, missing, ambiguous, unusable }) {
  const parts = [];
  const [other, lost, several, bad] = [misfits, missing, ambiguous, unusable].map(({ length }) => length);
  if (other) parts.push(other === 1 ? t("1 doesn't fit") : t("{count} don't fit", { count: other }));
  if (lost) parts.push(lost === 1 ? t("1 missing") : t("{count} missing", { count: lost }));
  if (several) parts.push(several === 1 ? t("1 to choose") : t("{count} to choose", { count: several }));
  if (bad) parts.push(bad === 1 ? t("1 can't be used") : t("{count} can't be used", { count: bad }));
  return parts.join(" · ");
}

/**
 * What stands under a row after a run that refused it: what is known of the row now, else what the run said.
 * @param {Row} row
 * @param {Badge | undefined} badge
 * @returns {string} "" where nothing is to be said
 */
export function refusalOf(row, badge) {
  if (!badge?.refused || badge.refused.lora !== row.lora || !isOn(row)) return "";
  return (kindOf(badge) && badge.sentence) || badge.refused.sentence;
}

/**
 * The rows whose problem one file alone solves.
 * @param {Row[]} rows
 * @param {(Badge | undefined)[]} badges
 * @param {number[]} which rows
 * @returns {{index: number, file: Candidate}[]}
 */
export function offersFor(rows, badges, which) {
  return which.flatMap((index) => {
    const file = offerFor(rows[index], badges[index]);
    return file ? [{ index, file }] : [];
  });
}
