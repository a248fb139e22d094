// @ts-check
/**
 * Schedules as an editor needs them: keyframes, the text form, the weight between them, and edits. Pure functions of
 * plain values; the same numbers and the same text as Python's (`lorchestra/schedule`), which the tests compare.
 *
 * A schedule is a list of curves, whose product it is; nearly always there is one.
 */

import { easingOf, easingTyped, LINEAR } from "./easings.mjs";
import { MAX_KEYFRAMES, MAX_SCHEDULE, MAX_SIGMA, MAX_STEPS, WEIGHT_LIMIT } from "./limits.mjs";
import { clamp, rounded } from "./numbers.mjs";
import { NUMBERED, presetTyped, withNumber } from "./presets.mjs";

/**
 * @typedef {"progress" | "step" | "sigma"} Unit what keyframes are placed by
 * @typedef {object} Keyframe
 * @property {number} at a progress 0 … 1; or a step from 1, meaning its start; or a sigma
 * @property {number} weight
 * @property {string} easing how the weight goes on to the next keyframe
 * @typedef {object} Curve
 * @property {Unit} unit
 * @property {Keyframe[]} keyframes in the order of the run; two at one place are a jump
 */

/** @type {Record<Unit, {low: number, high: number, forward: 1 | -1, fine: number}>} `fine` is a very small distance */
export const UNITS = {
  progress: { low: 0, high: 1, forward: 1, fine: 0.01 },
  step: { low: 1, high: MAX_STEPS + 1, forward: 1, fine: 0.1 },
  sigma: { low: 0, high: MAX_SIGMA, forward: -1, fine: 0.01 },
};
const LARGEST_BELOW = 12; // of fractions that are written
const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z](?:[A-Za-z _-]*[A-Za-z])?/y;
const UNIT = /(progress|step|sigma)s?(?![A-Za-z])/iy;
const SPACE = /\s*/y;

/**
 * The schedule of a text in the canonical form, or null if it is in another form or no schedule at all: that is for Python to say.
 * @param {string} text
 * @returns {Curve[] | null}
 */
export function readSchedule(text) {
  if (text.length > MAX_SCHEDULE || !/^[\x20-\x7e\t\n\r]*$/.test(text) || text.includes("@")) return null;
  if (/[\d.]{300}/.test(text)) return null;
  /** @type {Curve[]} */
  const curves = [];
  for (const factor of text.split("*")) {
    const preset = presetTyped(factor);
    const found = preset ? readSchedule(preset.text) : readCurve(factor);
    if (!found) return null;
    curves.push(...found);
  }
  return isValid(curves) ? curves : null;
}

/**
 * @param {string} text
 * @returns {Curve[] | null}
 */
function readCurve(text) {
  let at = 0;
  /** @param {RegExp} pattern */
  const take = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return "";
    at += found[0].length;
    SPACE.lastIndex = at;
    at += SPACE.exec(text)?.[0].length ?? 0;
    return found[0];
  };
  /** @param {string} sign */
  const takeSign = (sign) => text[at] === sign && take(/./y) !== "";
  const takeUnit = () => {
    const word = take(UNIT).toLowerCase();
    return /** @type {Unit | undefined} */ (["progress", "step", "sigma"].find((unit) => word.startsWith(unit) && word));
  };
  take(SPACE);
  const start = at;
  const named = takeUnit();
  const alone = named ? "" : take(NUMBER);
  if (alone && at === text.length) return [{ unit: "progress", keyframes: [{ at: 0, weight: Number(alone), easing: LINEAR }] }];
  if (!named) at = start;
  const unit = named ?? "progress";
  /** @type {Keyframe[]} */
  const keyframes = [];
  do {
    const again = keyframes.length ? takeUnit() : undefined;
    if (again && again !== unit) return null;
    const whole = take(NUMBER);
    const percent = takeSign("%");
    const below = !percent && takeSign("/") ? take(NUMBER) : percent ? "100" : "";
    if (percent && unit !== "progress") return null;
    const position = /^[+-]/.test(whole) ? null : readPosition(whole, below, unit);
    if (position === null || !takeSign(":")) return null;
    const weight = take(NUMBER);
    const word = weight ? take(WORD) : "";
    const easing = word ? easingTyped(word) : easingOf(LINEAR);
    if (!weight || !easing) return null;
    keyframes.push({ at: position, weight: Number(weight), easing: easing.word });
  } while (takeSign(","));
  return at === text.length ? [{ unit, keyframes }] : null;
}

/**
 * A position, rounded once as Python rounds it; null if that takes exact fractions, or if it is not a position.
 * @param {string} whole
 * @param {string} below what stands under the line of a fraction
 * @param {Unit} unit
 */
function readPosition(whole, below, unit) {
  if (!whole) return null;
  let value = Number(whole);
  if (below) {
    const digits = Math.max(...[whole, below].map((part) => (/[eE]/.test(part) ? 99 : part.split(".")[1]?.length ?? 0)));
    const [above, under] = [whole, below].map((part) => Math.round(Number(part) * 10 ** digits));
    if (digits > 15 || !(under > 0) || above > 1e15 || under > 1e15) return null;
    value = above / under;
  }
  const { low, high } = UNITS[unit];
  if (!(low <= value && value <= high)) return null;
  const atLimit = value === low || value === high;
  return atLimit && !below && whole.length > 15 ? null : value;
}

/**
 * Whether Python would take the curves, too.
 * @param {Curve[]} curves
 */
export function isValid(curves) {
  if (!curves.length || curves.reduce((sum, curve) => sum + curve.keyframes.length, 0) > MAX_KEYFRAMES) return false;
  if (curves.reduce((product, curve) => product * Math.max(...curve.keyframes.map((one) => Math.abs(one.weight))), 1) > WEIGHT_LIMIT) {
    return false;
  }
  return curves.every(({ unit, keyframes }) => keyframes.length > 0 && keyframes.every((one, index) => {
    const { low, high, forward } = UNITS[unit];
    const before = keyframes[index - 1];
    return low <= one.at && one.at <= high && Math.abs(one.weight) <= WEIGHT_LIMIT && easingOf(one.easing) !== undefined
      && !(before && forward * (one.at - before.at) < 0)
      && !(before?.at === one.at && keyframes[index - 2]?.at === one.at);
  }));
}

/**
 * The schedule in its canonical text form.
 * @param {Curve[]} curves
 */
export function writeSchedule(curves) {
  return curves.map(writeCurve).join(" * ");
}

/**
 * A preset with its number, in the canonical text form.
 * @param {import("./presets.mjs").NumberedPreset} preset
 * @param {number} number from 1 to its most
 */
export function numberedText(preset, number) {
  return writeSchedule(readSchedule(withNumber(preset, number)) ?? []);
}

/**
 * The preset with a number that a schedule is.
 * @param {string} text
 * @returns {{preset: import("./presets.mjs").NumberedPreset, number: number} | undefined}
 */
export function numberedIn(text) {
  const curves = readSchedule(text);
  if (curves?.length !== 1 || curves[0].keyframes.length !== 2) return undefined;
  const written = writeSchedule(curves);
  for (const { at } of curves[0].keyframes) {
    for (const number of [Math.round(at * 100), 100 - Math.round(at * 100), at - 1]) {
      const preset = NUMBERED.find((one) => number >= 1 && number <= one.most && numberedText(one, number) === written);
      if (preset) return { preset, number };
    }
  }
  return undefined;
}

/** @param {Curve} curve */
function writeCurve({ unit, keyframes }) {
  const [first] = keyframes;
  if (unit === "progress" && keyframes.length === 1 && first.at === 0 && first.easing === LINEAR) return writeNumber(first.weight);
  const items = keyframes.map(({ at, weight, easing }) => {
    const word = easingOf(easing)?.short;
    return `${writePosition(at)}:${writeNumber(weight)}${word ? ` ${word}` : ""}`;
  });
  return (unit === "progress" ? "" : `${unit} `) + items.join(", ");
}

/** @param {number} at as a fraction where that is the same number and reads better: 2/3 */
export function writePosition(at) {
  const plain = writeNumber(at);
  if (at >= 1 || plain.length <= 8) return plain;
  for (let below = 2; below <= LARGEST_BELOW; below += 1) {
    const above = Math.round(at * below);
    if (above / below === at) return `${above}/${below}`;
  }
  return plain;
}

/**
 * A position as the axis says it: the progress in percent.
 * @param {number} at
 * @param {Unit} unit
 */
export function positionOnAxis(at, unit) {
  return unit === "progress" ? `${writeNumber(rounded(at * 100, 2))}%` : writeNumber(rounded(at, 4));
}

/** @param {number} value as short as it can be and still be the same, as Python writes it: 1, 0.3, 1e-07 */
export function writeNumber(value) {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e16) return String(value);
  const [mantissa, exponent] = value.toExponential().split("e");
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

/**
 * The server's answer to a text: its keyframes, or what is wrong with it, and where.
 * @typedef {object} Answer
 * @property {(Keyframe & {unit: Unit, curve?: number})[]} [keyframes]
 * @property {string} [error]
 * @property {number} [column]
 */

/**
 * The curves of the server's answer to a text.
 * @param {Answer | null | undefined} answer
 * @returns {Curve[] | null}
 */
export function curvesOf(answer) {
  if (!Array.isArray(answer?.keyframes)) return null;
  /** @type {Curve[]} */
  const curves = [];
  for (const { at, unit, weight, easing, curve = 0 } of answer.keyframes) {
    curves[curve] ??= { unit, keyframes: [] };
    curves[curve].keyframes.push({ at, weight, easing });
  }
  return curves.length && isValid(curves) ? curves : null;
}

/**
 * The weight at a place; exact at keyframes, and never outside the two that are around it.
 * @param {Curve} curve
 * @param {number} at in the curve's unit
 */
export function weightAt({ unit, keyframes }, at) {
  const { forward } = UNITS[unit];
  let low = 0; // the first keyframe after the place
  for (let high = keyframes.length; low < high;) {
    const middle = (low + high) >> 1;
    if (forward * (keyframes[middle].at - at) > 0) high = middle;
    else low = middle + 1;
  }
  if (low === 0) return keyframes[0].weight;
  const start = keyframes[low - 1];
  const end = keyframes[low];
  if (!end || start.easing === "hold") return start.weight;
  const share = easingOf(start.easing)?.shape((at - start.at) / (end.at - start.at)) ?? 0;
  const weight = start.weight + (end.weight - start.weight) * share;
  return clamp(weight, Math.min(start.weight, end.weight), Math.max(start.weight, end.weight));
}

/**
 * The curve with another keyframe, which has the way of the one before it. Null where a third would be at one place.
 * @param {Curve} curve
 * @param {number} at
 * @param {number} [weight] without it, the curve's own there
 * @returns {{curve: Curve, index: number} | null}
 */
export function insertPoint(curve, at, weight = rounded(weightAt(curve, at), 3)) {
  const { unit, keyframes } = curve;
  const { low, high, forward } = UNITS[unit];
  const place = clamp(at, low, high);
  if (keyframes.filter((one) => one.at === place).length > 1) return null;
  const after = keyframes.findIndex((one) => forward * (one.at - place) > 0);
  const index = after < 0 ? keyframes.length : after;
  const easing = keyframes[index - 1]?.easing ?? LINEAR;
  const point = { at: place, weight: clamp(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT), easing };
  return { curve: { unit, keyframes: keyframes.toSpliced(index, 0, point) }, index };
}

/**
 * The curve with one keyframe elsewhere, but never past its neighbours, and never a third at one place.
 * @param {Curve} curve
 * @param {number} index
 * @param {Partial<Keyframe>} to
 * @returns {Curve}
 */
export function movePoint(curve, index, to) {
  const { unit, keyframes } = curve;
  const own = keyframes[index];
  const { low, high, forward } = UNITS[unit];
  const weight = clamp(to.weight ?? own.weight, -WEIGHT_LIMIT, WEIGHT_LIMIT);
  let at = clamp(to.at ?? own.at, low, high);
  if (at !== own.at) {
    const [before, beforeThat] = [keyframes[index - 1]?.at, keyframes[index - 2]?.at];
    const [after, afterThat] = [keyframes[index + 1]?.at, keyframes[index + 2]?.at];
    const first = before ?? (forward > 0 ? low : high);
    const last = after ?? (forward > 0 ? high : low);
    const step = Math.min(UNITS[unit].fine, Math.abs(last - first) / 2) * forward;
    if (forward * (at - first) <= 0) at = before !== undefined && before === beforeThat ? rounded(first + step) : first;
    else if (forward * (last - at) <= 0) at = after !== undefined && after === afterThat ? rounded(last - step) : last;
    if (first === last) at = own.at;
  }
  return { unit, keyframes: keyframes.with(index, { ...own, ...to, at, weight }) };
}

/**
 * The curve without one keyframe; the last one stays.
 * @param {Curve} curve
 * @param {number} index
 * @returns {Curve}
 */
export function removePoint(curve, index) {
  return curve.keyframes.length < 2 ? curve : { ...curve, keyframes: curve.keyframes.toSpliced(index, 1) };
}

/**
 * 1 − the curve. Null where that leaves the limits.
 * @param {Curve} curve
 * @returns {Curve | null}
 */
export function invertedCurve({ unit, keyframes }) {
  if (keyframes.some((one) => 1 - one.weight > WEIGHT_LIMIT)) return null;
  return { unit, keyframes: keyframes.map((one) => ({ ...one, weight: rounded(1 - one.weight, 14) })) };
}

/**
 * The curve from its end to its beginning.
 * @param {Curve} curve
 * @param {number} start of the axis
 * @param {number} end of the axis
 * @returns {Curve}
 */
export function mirroredCurve(curve, start, end) {
  const { unit, keyframes } = curve;
  if (keyframes.length < 2) return curve;
  /** @type {Keyframe[]} */
  const mirrored = [];
  for (let index = keyframes.length - 1; index >= 0; index -= 1) {
    const own = keyframes[index];
    const before = keyframes[index - 1];
    const at = tidyPosition(start + end - own.at);
    const way = before?.easing ?? LINEAR; // from the one before to here, which becomes the way from here to it
    if (way === "hold") {
      mirrored.push({ at, weight: own.weight, easing: LINEAR }, { at, weight: before.weight, easing: LINEAR });
    } else mirrored.push({ at, weight: own.weight, easing: easingOf(way)?.mirrored ?? way });
  }
  return { unit, keyframes: tidied(mirrored) };
}

/**
 * Without the dirt of binary fractions, also where the position is a simple fraction: 1 − 1/3 → 2/3.
 * @param {number} at
 */
function tidyPosition(at) {
  for (let below = 2; below <= LARGEST_BELOW; below += 1) {
    const near = Math.round(at * below) / below;
    if (Math.abs(near - at) < 1e-12) return near;
  }
  return rounded(at, 12);
}

/**
 * Without what says nothing: the middle ones of more than two at one place, the same one twice, and levels that end in
 * a jump as two keyframes where one that holds says it.
 * @param {Keyframe[]} keyframes
 * @returns {Keyframe[]}
 */
function tidied(keyframes) {
  const pairs = keyframes.filter((one, index) => !(keyframes[index - 1]?.at === one.at && keyframes[index + 1]?.at === one.at));
  const single = pairs.filter((one, index) => {
    const next = pairs[index + 1];
    return !(next && next.at === one.at && next.weight === one.weight);
  });
  /** @type {Keyframe[]} */
  const result = [];
  for (const [index, one] of single.entries()) {
    const [before, next] = [result[result.length - 1], single[index + 1]];
    const isLevel = before && before.weight === one.weight && before.at !== one.at;
    if (isLevel && next?.at === one.at) before.easing = "hold";
    else result.push({ ...one });
  }
  const last = result[result.length - 1];
  if (result.length > 1 && last.weight === result[result.length - 2].weight) {
    result.pop();
    result[result.length - 1].easing = LINEAR;
  }
  return result;
}
