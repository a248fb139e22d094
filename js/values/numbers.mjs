// @ts-check
/** Numbers and names as people write and read them. */

/**
 * A weight with at least two decimals, and as many as it needs: 1 → "1.00", 0.125 → "0.125".
 * @param {number} value
 * @returns {string}
 */
export function formatWeight(value) {
  const short = value.toFixed(2);
  if (Number(short) === value) return short;
  const long = String(Number(value.toFixed(6)));
  return long.includes("e") || Number(long) !== value ? String(value) : long;
}

/**
 * The number without the dirt of binary fractions: 0.1 + 0.2 → 0.3.
 * @param {number} value
 * @param {number} [digits] decimals that are kept
 * @returns {number}
 */
export function rounded(value, digits = 4) {
  return Number(value.toFixed(digits)) + 0; // + 0 makes 0 of -0
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {number}
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/**
 * The number that somebody typed, with a point or a comma; null when it is none.
 * @param {string} text
 * @returns {number | null}
 */
export function readNumber(text) {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return null;
  return Number(plain);
}

/**
 * A LoRA's name in two parts, e.g. `styles/` and `pixel` of `styles/pixel.safetensors`.
 * @param {string} name as ComfyUI lists it
 * @returns {{folder: string, title: string}}
 */
export function splitName(name) {
  const start = Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1;
  const file = name.slice(start);
  return { folder: name.slice(0, start), title: file.replace(/(.)\.(safetensors|sft|pt|pth|ckpt|bin|gguf)$/i, "$1") };
}

/** @type {Intl.NumberFormat | undefined} */
let numbers;

/**
 * @param {number} count
 * @returns {string} as people write it: 10,000
 */
export function formatCount(count) {
  numbers ??= new Intl.NumberFormat();
  return numbers.format(count);
}
