// @ts-check
/** How a weight goes over the run: in a few numbers, and as a small picture. Pure functions. */

import { axisOf, linePath, productPath, Scale } from "./axis.mjs";
import { formatWeight, rounded } from "./numbers.mjs";
import { UNITS, weightAt, writeNumber } from "./schedule.mjs";

/** @typedef {import("./schedule.mjs").Curve} Curve */

const SAMPLES = 240; // of a product
const NEAR = 1e-9; // before a jump
const LONGEST = 9; // characters of a course: 0.25→0.75
const ARROW = "→";
const PICTURE = { left: 1.5, top: 3, width: 13, height: 10 }; // in a box of 16 × 16

/**
 * The weights of a schedule in the order of the run: at its start, where it turns, and at its end. What no step can come
 * to, such as a jump at the very end, is left out. Null for a product of curves by different units.
 * @param {Curve[]} curves
 * @returns {number[] | null}
 */
export function courseOf(curves) {
  const constant = curves.filter(isLevel).reduce((product, { keyframes }) => product * keyframes[0].weight, 1);
  const [first, ...others] = curves.filter((curve) => !isLevel(curve));
  if (!first) return [rounded(constant)];
  if (others.some(({ unit }) => unit !== first.unit)) return null;
  const weights = others.length ? sampled([first, ...others]) : reached(first);
  return turns(weights.map((weight) => rounded(weight * constant)));
}

/**
 * A weight with its schedule, as a row has room for it: `0→0.75`, `0→1→0`, `0.25…0.75` where it turns more often, and
 * `0.75×0.5` where it stays the same.
 * @param {number} weight
 * @param {number[] | null} course of the schedule
 */
export function inShort(weight, course) {
  const [first, ...later] = scaled(weight, course);
  if (!later.length) return first === weight || !course ? formatWeight(weight) : `${brief(weight)}×${brief(course[0])}`;
  const way = [first, ...later].map(brief).join(ARROW);
  const { low, high } = ends([first, ...later]);
  return later.length < 3 && way.length <= LONGEST ? way : `${brief(low)}…${brief(high)}`;
}

/**
 * The weights that a weight takes over the run, each other than the one before.
 * @param {number} weight
 * @param {number[] | null} course of the schedule
 */
export function scaled(weight, course) {
  return turns((course ?? [1]).map((factor) => rounded(factor * weight, 6)));
}

/** @param {number[]} weights */
export function ends(weights) {
  return { low: Math.min(...weights), high: Math.max(...weights) };
}

/**
 * The line of a schedule in a box of 16 × 16, from 0 to 1 or as far as it goes. Null for a product of curves by
 * different units.
 * @param {Curve[]} curves
 * @param {import("./axis.mjs").Run} [run]
 * @returns {string | null}
 */
export function courseLine(curves, run = {}) {
  const [first] = curves;
  if (curves.some(({ unit }) => unit !== first.unit)) return null;
  const course = [0, 1, ...courseOf(curves) ?? []];
  const scale = new Scale(axisOf({ unit: first.unit, keyframes: curves.flatMap(({ keyframes }) => keyframes) }, run), {
    ...ends(course), ticks: [],
  }, PICTURE);
  return curves.length > 1 ? productPath(curves, scale) : linePath(first, scale);
}

/** @param {Curve} curve */
function isLevel({ keyframes }) {
  return keyframes.length === 1;
}

/** @param {Curve} curve @returns {number[]} its keyframes' weights that a step can come to, or nearly */
function reached({ unit, keyframes }) {
  const { low, high, forward } = UNITS[unit];
  const [start, end] = forward > 0 ? [low, high] : [high, low];
  const [first, second] = keyframes;
  const [before, last] = keyframes.slice(-2);
  const jumps = last.at === end && (before.at === end || before.easing === "hold");
  return keyframes.slice(first.at === start && second.at === start ? 1 : 0, jumps ? -1 : undefined).map(({ weight }) => weight);
}

/** @param {Curve[]} curves of one unit @returns {number[]} the weights of their product that a step can come to, or nearly */
function sampled(curves) {
  const { unit } = curves[0];
  const { forward } = UNITS[unit];
  const places = curves.flatMap(({ keyframes }) => keyframes.map(({ at }) => at));
  const { low, high } = ends(places);
  const even = Array.from({ length: SAMPLES - 1 }, (_, index) => low + (high - low) * (index + 1) / SAMPLES);
  const before = places.map((at) => at - forward * NEAR);
  const isReached = (/** @type {number} */ at) => unit === "sigma" || (at >= UNITS[unit].low && (unit === "step" || at < 1));
  const all = [...even, ...before, ...places].filter(isReached).sort((a, b) => forward * (a - b));
  return all.map((at) => curves.reduce((product, curve) => product * weightAt(curve, at), 1));
}

/** @param {number[]} weights @returns {number[]} the first and the last, and those between at which it turns */
function turns(weights) {
  const other = weights.filter((weight, index) => weight !== weights[index - 1]);
  return other.filter((weight, index) => {
    const [before, after] = [other[index - 1], other[index + 1]];
    return before === undefined || after === undefined || (weight - before) * (after - weight) < 0;
  });
}

/** @param {number} weight */
function brief(weight) {
  return writeNumber(rounded(weight, 2));
}
