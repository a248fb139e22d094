// @ts-check
/**
 * The weights per block of Inspire's LoRA loader, as a row has them. Its vector counts the blocks that the file has, which
 * is not known here: what is said of whole groups of blocks is exact, and nothing else is taken over.
 *
 * Source: ltdrdata/ComfyUI-Inspire-Pack `inspire/lora_block_weight.py`.
 */

import { t } from "../base/words.mjs";

/** @typedef {import("../values/blocks.mjs").Blocks} Blocks */

const GROUPS = { in: "input", mid: "middle", out: "output", double: "double_blocks", single: "single_blocks" };
const LEAST = 12; // values of a vector
const NUMBER = /^-?\d+(\.\d+)?$/;
const MOST = 40; // characters of a vector that are shown

/**
 * @param {Record<string, unknown>} named values of the node's widgets
 * @returns {{blocks: Blocks} | {reason: string}} the reason why a row cannot say the same
 */
export function inspireBlocks(named) {
  const text = String(named.block_vector ?? "").trim();
  const vector = text.length > MOST ? `${text.slice(0, MOST - 1)}…` : text;
  const found = text.startsWith("%") ? readSpec(text.slice(1)) : readVector(text, named);
  if (found === "random") return { reason: t("it draws its weights at random from a seed") };
  if (found === "unread") return { reason: t("its vector {vector} cannot be read", { vector }) };
  if (!found) return { reason: t("its vector {vector} goes by the blocks that the file has, and a row by those of the model; paste it into the weights per block", { vector }) };
  const weight = (/** @type {number} */ value) => (named.inverse === true ? 1 - value : value);
  const base = weight(found.base);
  const groups = Object.entries(GROUPS).map(([key, name]) => /** @type {[string, number]} */ ([name, weight(found.groups[key] ?? found.rest)]));
  if (groups.every(([, value]) => value === base)) return { blocks: base === 1 ? {} : { "*": base } };
  if (base !== 1) { // what stands outside of the blocks has no pattern of its own
    return { reason: t("its vector {vector} goes by the blocks that the file has, and a row by those of the model; paste it into the weights per block", { vector }) };
  }
  return { blocks: Object.fromEntries(groups.filter(([, value]) => value !== 1)) };
}

/**
 * @typedef {object} Found weights of whole groups
 * @property {number} base of the text encoders and what stands outside of the blocks
 * @property {number} rest of the groups that are not named
 * @property {Record<string, number>} groups
 */

/**
 * @param {string} text e.g. `1,0,0.5,A,R,…`, with a preset's name and a colon before it or not
 * @param {Record<string, unknown>} named
 * @returns {Found | "random" | "unread" | null} null where its blocks have different weights
 */
function readVector(text, named) {
  const parts = (text.split(":")[1] ?? text).split(",").map((part) => part.trim());
  if (parts.some((part) => part.split(/\s+/).some((one) => /^[RU]$/i.test(one)))) return "random";
  const [a, b] = [Number(named.A ?? 4), Number(named.B ?? 1)];
  /** @type {Record<string, number>} */
  const letters = { A: a, a: a / 2, B: b, b: b / 2 };
  const values = parts.map((part) => letters[part] ?? (NUMBER.test(part) ? Number(part) : NaN));
  if (parts.length < LEAST) return "unread";
  if (values.some((value) => !Number.isFinite(value))) return parts.some((part) => /[^\s\d.AaBb-]/.test(part)) ? "unread" : null;
  const [base, first, ...others] = values;
  return others.every((value) => value === first) ? { base, rest: first, groups: {} } : null;
}

/**
 * @param {string} text e.g. `default=1,in=0.5,out=0`
 * @returns {Found | "unread" | null} null where single blocks have weights of their own
 */
function readSpec(text) {
  const items = text.split(",").map((item) => item.trim());
  if (items.some((item) => /^(?:in|out|mid|double|single)\d/.test(item))) return null;
  /** @type {Map<string, number>} */
  const said = new Map();
  for (const item of items) {
    const match = /^(default|base|in|out|mid|double|single)=([0-9]+(?:\.[0-9]+)?)$/.exec(item);
    if (!match) return "unread";
    said.set(match[1], Number(match[2]));
  }
  const rest = said.get("default") ?? 1;
  return { base: said.get("base") ?? rest, rest, groups: Object.fromEntries([...said].filter(([key]) => key in GROUPS)) };
}
