// @ts-check
/** Where a curve lies on the screen: axes, ticks and paths. Pure functions; lengths in pixels. */

import { clamp, rounded } from "./numbers.mjs";
import { weightAt } from "./schedule.mjs";

/**
 * @typedef {import("./schedule.mjs").Curve} Curve
 * @typedef {object} Run what is known about the sampler's run
 * @property {number} [steps]
 * @property {number[]} [sigmas] one more than steps
 * @property {number} [sampler] steps of the sampler, where `steps` are those of a node's own input
 * @typedef {object} Axis
 * @property {number} start position at the left end
 * @property {number} end position at the right end; of sigmas the lower one
 * @property {number} grid distance that positions snap to
 * @property {number} fine the same with Shift
 * @property {number[]} ticks
 * @typedef {{low: number, high: number, ticks: number[]}} Weights the range of the weight axis
 * @typedef {{left: number, top: number, width: number, height: number}} Box of the plot
 */

const MAX_DOTS = 250;

/**
 * @param {Curve} curve
 * @param {Run} run
 * @returns {Axis}
 */
export function axisOf({ unit, keyframes }, run) {
  if (unit === "progress") return { start: 0, end: 1, grid: 0.05, fine: 0.01, ticks: [0, 0.25, 0.5, 0.75, 1] };
  const highest = Math.max(...keyframes.map((one) => one.at));
  if (unit === "step") {
    const steps = run.sigmas?.length ? run.sigmas.length - 1 : run.steps;
    const end = Math.max(Math.ceil(highest), steps ? steps + 1 : highest + 2, 2);
    const apart = Math.max(niceStep((end - 1) / 8), 1);
    const ticks = [1];
    for (let tick = apart; tick <= end; tick += apart) if (tick - 1 >= apart / 2) ticks.push(tick);
    return { start: 1, end, grid: Math.max(niceStep((end - 1) / 200), 1), fine: 0.1, ticks };
  }
  const start = Math.max(highest, ...(run.sigmas ?? [])) || 1;
  const grid = niceStep(start / 60);
  const apart = niceStep(start / 6);
  return { start, end: 0, grid, fine: rounded(grid / 10, 9), ticks: multiples(apart, 0, start).reverse() };
}

/**
 * A range of weights that has room for all values, 0 and 1.
 * @param {number[]} values
 * @returns {Weights}
 */
export function weightsOf(values) {
  const lowest = values.reduce((least, value) => Math.min(least, value), 0);
  const highest = values.reduce((most, value) => Math.max(most, value), 1);
  const apart = niceStep((highest - lowest) / 4.5);
  const low = Math.floor(rounded(lowest / apart, 6)) * apart;
  const high = Math.ceil(rounded(highest / apart, 6)) * apart;
  return { low: rounded(low, 9), high: rounded(high, 9), ticks: multiples(apart, low, high) };
}

/**
 * 1, 2 or 5 times a power of ten, or 2.5 times for 0.25: the nearest that is not smaller.
 * @param {number} rough
 */
export function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const share = rounded(rough / power, 6);
  const nice = share <= 1 ? 1 : share <= 2 ? 2 : share <= 2.5 && power < 1 ? 2.5 : share <= 5 ? 5 : 10;
  return rounded(nice * power, 12);
}

/**
 * @param {number} apart
 * @param {number} low
 * @param {number} high
 */
function multiples(apart, low, high) {
  const result = [];
  for (let index = Math.ceil(rounded(low / apart, 6)); index <= rounded(high / apart, 6); index += 1) result.push(rounded(index * apart, 9));
  return result;
}

/** Positions and weights to pixels, and back. */
export class Scale {
  /**
   * @param {Axis} axis
   * @param {Weights} weights
   * @param {Box} box
   */
  constructor(axis, weights, box) {
    this.axis = axis;
    this.weights = weights;
    this.box = box;
  }

  /** @param {number} at */
  x(at) {
    const { start, end } = this.axis;
    return rounded(this.box.left + ((at - start) / (end - start)) * this.box.width, 2);
  }

  /** @param {number} weight */
  y(weight) {
    const { low, high } = this.weights;
    return rounded(this.box.top + ((high - weight) / (high - low)) * this.box.height, 2);
  }

  /** @param {number} x */
  at(x) {
    const { start, end } = this.axis;
    const at = start + ((x - this.box.left) / this.box.width) * (end - start);
    return clamp(at, Math.min(start, end), Math.max(start, end));
  }

  /** @param {number} y above and below the plot the scale goes on */
  weight(y) {
    const { low, high } = this.weights;
    return high - ((y - this.box.top) / this.box.height) * (high - low);
  }
}

/**
 * The line of a curve from one end of the axis to the other, or of the way from one keyframe to the next.
 * @param {Curve} curve
 * @param {Scale} scale
 * @param {number} [only] number of the keyframe that the way begins at
 */
export function linePath(curve, scale, only) {
  const { keyframes } = curve;
  const { start, end } = scale.axis;
  const [first, last] = only === undefined ? [0, keyframes.length - 1] : [only, only + 1];
  const path = only === undefined ? [`M${scale.x(start)} ${scale.y(keyframes[0].weight)}`] : [];
  for (let index = first; index <= Math.min(last, keyframes.length - 1); index += 1) {
    const { at, weight } = keyframes[index];
    path.push(`${path.length ? "L" : "M"}${scale.x(at)} ${scale.y(weight)}`);
    const next = keyframes[index + 1];
    if (!next || index === last || next.at === at) continue;
    const { easing } = keyframes[index];
    if (easing === "hold") path.push(`H${scale.x(next.at)}`);
    else if (easing !== "linear") {
      const wide = Math.abs(scale.x(next.at) - scale.x(at));
      const parts = Math.round(clamp(wide / 3, 2, 40));
      for (let part = 1; part < parts; part += 1) {
        const place = at + ((next.at - at) * part) / parts;
        path.push(`L${scale.x(place)} ${scale.y(weightAt(curve, place))}`);
      }
    }
  }
  if (only === undefined) path.push(`H${scale.x(end)}`);
  return path.join("");
}

/**
 * The line of a product, from one end of the axis to the other.
 * @param {Curve[]} curves
 * @param {Scale} scale
 */
export function productPath(curves, scale) {
  const { start, end } = scale.axis;
  const places = new Set(Array.from({ length: 121 }, (_, index) => start + ((end - start) * index) / 120));
  const points = [...places].map((at) => {
    const weight = curves.reduce((product, curve) => product * weightAt(curve, at), 1);
    return `${scale.x(at)} ${scale.y(weight)}`;
  });
  return `M${points.join("L")}`;
}

/**
 * The starts of the sampler's steps, in the curve's unit; empty if they are not known, or too many to show.
 * @param {Curve} curve
 * @param {Run} run
 * @returns {number[]}
 */
export function startsOf({ unit }, { steps, sigmas }) {
  const count = sigmas?.length ? sigmas.length - 1 : steps ?? 0;
  if (count < 1 || count > MAX_DOTS) return [];
  if (unit === "sigma") return sigmas?.slice(0, -1) ?? [];
  return Array.from({ length: count }, (_, index) => (unit === "step" ? index + 1 : index / count));
}

/**
 * The next position of a grid.
 * @param {number} value
 * @param {number} grid
 * @param {1 | -1} direction
 */
export function nextOnGrid(value, grid, direction) {
  const steps = rounded(value / grid, 6);
  const next = direction > 0 ? Math.floor(steps) + 1 : Math.ceil(steps) - 1;
  return rounded(next * grid, 6);
}

/**
 * @param {number} value
 * @param {number} grid
 */
export function onGrid(value, grid) {
  return rounded(Math.round(value / grid) * grid, 6);
}
