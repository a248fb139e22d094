// @ts-check
/** Schedules that have a name: the same as `lorchestra/schedule/presets.py`, in the canonical text form. */

import { plain } from "./easings.mjs";

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
 * The preset that a person means: `Fade_In`, `fade in` and `fade-in` are one.
 * @param {string} name
 */
export function presetTyped(name) {
  const typed = plain(name);
  return PRESETS.find((preset) => plain(preset.name) === typed);
}
