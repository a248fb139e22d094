// @ts-check
/** Schedules that have a name: the same as `lorchestra/schedule/presets.py`, in the canonical text form. */

import { plain } from "./easings.mjs";
import { MAX_STEPS } from "./limits.mjs";

/** @type {readonly {name: string, text: string}[]} to add one, add it to Python's first */
export const PRESETS = [
  { name: "constant", text: "1" },
  { name: "fade-in", text: "0:0, 1:1" },
  { name: "fade-out", text: "0:1, 1:0" },
  { name: "smooth fade-in", text: "0:0 cosine, 1:1" },
  { name: "smooth fade-out", text: "0:1 cosine, 1:0" },
  { name: "warm-up", text: "0:0, 0.2:1" },
  { name: "cool-down", text: "0.8:1, 1:0" },
  { name: "bell", text: "0:0 cosine, 0.5:1 cosine, 1:0" },
  { name: "valley", text: "0:1 cosine, 0.5:0 cosine, 1:1" },
  { name: "first half", text: "0:1 hold, 0.5:0" },
  { name: "second half", text: "0.5:0, 0.5:1" },
  { name: "first third", text: "0:1 hold, 1/3:0" },
  { name: "middle third", text: "1/3:0, 1/3:1 hold, 2/3:0" },
  { name: "last third", text: "2/3:0, 2/3:1" },
  { name: "first step only", text: "step 1:1 hold, 2:0" },
  { name: "steps 1-2 only", text: "step 1:1 hold, 3:0" },
  { name: "all but step 1", text: "step 1:0 hold, 2:1" },
  { name: "all but steps 1-2", text: "step 1:0 hold, 3:1" },
];

/**
 * A family of schedules, one for each number from 1 to `most`.
 * @typedef {object} NumberedPreset
 * @property {string} name with `{number}` where a person puts the number
 * @property {string} text in the text form, with `{number}`, and `{rest}` for 100 minus it or `{next}` for one more
 * @property {number} most
 * @property {number} first that is offered
 */

/** @type {readonly NumberedPreset[]} to add one, add it to Python's first */
export const NUMBERED = [
  { name: "fade in over {number} %", text: "0:0, {number}%:1", most: 99, first: 30 },
  { name: "fade out over {number} %", text: "{rest}%:1, 1:0", most: 99, first: 30 },
  { name: "only the first {number} %", text: "0:1 hold, {number}%:0", most: 99, first: 30 },
  { name: "only the last {number} %", text: "{rest}%:0, {rest}%:1", most: 99, first: 30 },
  { name: "only the first {number} steps", text: "step 1:1 hold, {next}:0", most: MAX_STEPS, first: 4 },
  { name: "all but the first {number} steps", text: "step 1:0 hold, {next}:1", most: MAX_STEPS, first: 4 },
];

/**
 * @param {NumberedPreset} preset
 * @param {number} number
 * @returns {string} its text with this number
 */
export function withNumber({ text }, number) {
  return text.replaceAll("{number}", String(number)).replaceAll("{rest}", String(100 - number)).replaceAll("{next}", String(number + 1));
}

/**
 * The preset that a person means: `Fade_In`, `fade in` and `fade-in` are one; so are `30%` and `30 %`.
 * @param {string} name
 * @returns {{name: string, text: string} | undefined}
 */
export function presetTyped(name) {
  const typed = plain(name);
  return PRESETS.find((preset) => plain(preset.name) === typed) ?? numberedTyped(typed);
}

/** @param {string} typed */
function numberedTyped(typed) {
  const found = /^([a-z ]+) ([0-9]{1,5}) ?(%|steps?)$/.exec(typed);
  if (!found) return undefined;
  const name = `${found[1]} {number} ${found[3] === "step" ? "steps" : found[3]}`;
  const number = Number(found[2]);
  const preset = NUMBERED.find((one) => one.name === name && number >= 1 && number <= one.most);
  return preset && { name: preset.name.replace("{number}", String(number)), text: withNumber(preset, number) };
}
