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
 * A file that a row may mean.
 * @typedef {object} Candidate
 * @property {string} name as ComfyUI lists it
 * @property {string} why in English
 * @property {string} by what it was found by: `content`, `said`, `tensors`, `air` or `name`; `changed` is the file of the
 *   row's own path with another content, `used` the one that is used
 * @property {string | null} sha256 of the file, as far as it is known
 * @property {string | null} air
 * @property {State | null} [state] whether it fits; nothing where that was not looked into
 */

/**
 * What the server says of a row; the state is empty while nothing is known.
 * @typedef {object} Badge
 * @property {State | ""} state
 * @property {string} sentence
 * @property {string | null} sha256
 * @property {string | null} air
 * @property {Candidate[]} candidates files that a missing row may mean
 * @property {boolean} [ambiguous] whether each of them may be meant
 * @property {string | null} file the name of the file that is used
 * @property {string} how that file was found; empty if it has the path that the row says
 * @property {import("./identity.mjs").Identity | null} known what that file is known by
 * @property {string | null} page where people get a missing one
 * @property {string[]} made_for the models that a missing one's AIR tells
 * @property {{lora: string, sentence: string}} [refused] what the last run said of the row, which named this LoRA then
 * @property {import("./triggers.mjs").Word[]} [words] trigger words of its file, and those that the row chooses besides
 */

/** @type {Readonly<Badge>} */
export const NOTHING = Object.freeze({
  state: "", sentence: "", sha256: null, air: null, candidates: [], file: null, how: "", known: null, page: null, made_for: [],
});

/**
 * The file that is used for a row that says another name.
 * @param {Badge | undefined} badge
 * @returns {Candidate | undefined}
 */
export function usedFile(badge) {
  if (!badge?.file || !badge.how) return undefined;
  const { file, how, known } = badge;
  return { name: file, why: how, by: "used", sha256: known?.sha256 ?? null, air: known?.air ?? null };
}

/**
 * The model that a stack is connected to.
 * @typedef {object} Model
 * @property {string} title
 * @property {string[]} architectures ids
 */

/**
 * The one file that a row might as well name: the only candidate for a missing one, or the only one that fits; or what is
 * used in place of a path that is not there.
 * @param {{lora: string}} row
 * @param {Badge | undefined} badge
 * @returns {Candidate | undefined}
 */
export function offerFor(row, badge) {
  if (!badge) return undefined;
  if (badge.state === MISSING) {
    const fitting = badge.candidates.filter(({ state }) => state === FITS);
    const [first, ...others] = fitting.length ? fitting : badge.candidates;
    return others.length ? undefined : first;
  }
  const hasFolder = /[\\/]/.test(row.lora);
  if (!hasFolder || !badge.file || isSamePath(row.lora, badge.file)) return undefined;
  const { file, sentence, known } = badge;
  return { name: file, why: sentence, by: "used", sha256: known?.sha256 ?? null, air: known?.air ?? null };
}
