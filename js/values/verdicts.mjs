// @ts-check
/** The words for whether a row's LoRA fits: the states of Python's badges, with which the tests compare them. */

import { isSamePath } from "./names.mjs";

export const FITS = "fits";
export const PARTLY = "partly";
export const MISFIT = "misfit";
export const UNKNOWN = "unknown";
export const MISSING = "missing";
export const BROKEN = "broken";
export const NOT_A_LORA = "not-a-lora";

/** In the order in which Python lists them. */
export const STATES = /** @type {const} */ ([FITS, PARTLY, MISFIT, UNKNOWN, MISSING, BROKEN, NOT_A_LORA]);

/** @typedef {(typeof STATES)[number]} State */

/**
 * What the server says of a row; the state is empty while nothing is known.
 * @typedef {object} Badge
 * @property {State | ""} state
 * @property {string} sentence
 * @property {string | null} sha256
 * @property {string | null} air
 * @property {{name: string, why: string}[]} candidates files that a missing row may mean
 * @property {string | null} [file] the file that is used, as ComfyUI lists it
 * @property {import("./triggers.mjs").Word[]} [words] trigger words of its file, and those that the row chooses besides
 */

/** @type {Readonly<Badge>} */
export const NOTHING = Object.freeze({ state: "", sentence: "", sha256: null, air: null, candidates: [] });

/**
 * The model that a stack is connected to.
 * @typedef {object} Model
 * @property {string} title
 * @property {string[]} architectures ids
 */

/**
 * The one file that a row might as well name: the only candidate for a missing one, or what is used in place of a path
 * that is not there.
 * @param {{lora: string}} row
 * @param {Badge | undefined} badge
 * @returns {{name: string, why: string} | undefined}
 */
export function offerFor(row, badge) {
  if (!badge) return undefined;
  if (badge.state === MISSING) return badge.candidates.length === 1 ? badge.candidates[0] : undefined;
  const hasFolder = /[\\/]/.test(row.lora);
  return hasFolder && badge.file && !isSamePath(row.lora, badge.file) ? { name: badge.file, why: badge.sentence } : undefined;
}
