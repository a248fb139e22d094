// @ts-check
/** How a weight goes from one keyframe to the next: the same as `lorchestra/schedule/easing.py`. */

export const LINEAR = "linear";

/**
 * @typedef {object} Easing
 * @property {string} word as keyframes say it
 * @property {string} short as the text form writes it
 * @property {string} label as a person picks it
 * @property {string} mirrored the easing of the way back
 * @property {(x: number) => number} shape share of the way that is done when the share x of the time is over
 */

/** @type {readonly Easing[]} all easings; to add one, add it to Python's first */
export const EASINGS = [
  { word: LINEAR, short: "", label: "straight", mirrored: LINEAR, shape: (x) => x },
  { word: "hold", short: "hold", label: "hold, then jump", mirrored: "hold", shape: () => 0 },
  { word: "ease-in-out", short: "ease", label: "ease", mirrored: "ease-in-out",
    shape: (x) => (x < 0.5 ? 2 * x * x : 1 - 2 * (1 - x) * (1 - x)) },
  { word: "ease-in", short: "ease-in", label: "ease in", mirrored: "ease-out", shape: (x) => x * x },
  { word: "ease-out", short: "ease-out", label: "ease out", mirrored: "ease-in", shape: (x) => 1 - (1 - x) * (1 - x) },
  { word: "cosine", short: "cosine", label: "cosine", mirrored: "cosine", shape: (x) => (1 - Math.cos(Math.PI * x)) / 2 },
  { word: "cubic", short: "cubic", label: "cubic", mirrored: "cubic",
    shape: (x) => (x < 0.5 ? 4 * x ** 3 : 1 - 4 * (1 - x) ** 3) },
];

/**
 * @param {string} word exactly as keyframes say it
 * @returns {Easing | undefined}
 */
export function easingOf(word) {
  return EASINGS.find((easing) => easing.word === word);
}

/**
 * The easing that a person means: `Ease_In`, `ease in` and `ease-in` are one; `ease` is `ease-in-out`.
 * @param {string} text
 * @returns {Easing | undefined}
 */
export function easingTyped(text) {
  const typed = plain(text);
  return EASINGS.find(({ word, short }) => typed && (typed === plain(word) || typed === plain(short)));
}

/** @param {string} text */
export function plain(text) {
  return text.toLowerCase().replace(/[-_]/g, " ").trim().split(/\s+/).join(" ");
}
