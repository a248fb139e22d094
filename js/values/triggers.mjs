// @ts-check
/** Trigger words of a row: which of them are meant, and which of these the prompt lacks. No DOM, no ComfyUI. */

import { clipWeight, isOn, modelWeight } from "./stack.mjs";

/** @typedef {import("./stack.mjs").Row} Row */

/**
 * A trigger word of a row's file, or one that the row chooses besides.
 * @typedef {object} Word
 * @property {string} word
 * @property {boolean | null} present whether it is in the prompt; null where that is not known
 */

/**
 * @param {Row} row
 * @param {string} word
 * @returns {boolean} whether the row means it; without a choice it means all
 */
export function isChosen({ triggers }, word) {
  return !Array.isArray(triggers) || triggers.includes(word);
}

/**
 * @param {Row} row
 * @param {Word[]} words
 * @param {(present: boolean | null) => boolean} which
 * @returns {string[]} the words that the row means and of which this is so
 */
export function chosenWords(row, words, which = () => true) {
  return words.filter(({ word, present }) => isChosen(row, word) && which(present)).map(({ word }) => word);
}

/**
 * What is to be marked on a row: words that it means and that the prompt lacks.
 * @param {Row} row
 * @param {Word[]} words
 * @returns {{missing: string[], all: boolean}} `all`: none of its words is there
 */
export function lackOf(row, words) {
  const acts = isOn(row) && (modelWeight(row) !== 0 || (clipWeight(row) ?? modelWeight(row)) !== 0);
  const missing = acts ? chosenWords(row, words, (present) => present === false) : [];
  return { missing, all: missing.length === chosenWords(row, words).length };
}

/**
 * The choice of a row with one word more or less; undefined, which means all, where all are chosen.
 * @param {Row} row
 * @param {Word[]} words
 * @param {string} word
 * @returns {string[] | undefined}
 */
export function toggledWord(row, words, word) {
  const all = words.map((one) => one.word);
  const chosen = all.filter((one) => isChosen(row, one) !== (one === word));
  return chosen.length === all.length ? undefined : chosen;
}

/**
 * A prompt with words at its end.
 * @param {string} text
 * @param {string[]} words
 * @returns {string}
 */
export function withWords(text, words) {
  const start = text.trimEnd().replace(/,$/, "");
  return (start ? [start, ...words] : words).join(", ");
}
