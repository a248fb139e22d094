// @ts-check
/**
 * Weights per block: what patterns mean, as `lorchestra/stack/blocks.py` has it, and as bars that people drag. No DOM.
 *
 * A bar is a block, what stands outside of all blocks, a text encoder, or a kind of layers (attention, MLP …). Patterns
 * that mean just whole bars are shown by them; all others stay as they are, and are shown as text.
 */

import { clamp, rounded } from "./numbers.mjs";
import { isObject } from "./json.mjs";
import { WEIGHT_LIMIT } from "./limits.mjs";

/** @typedef {Record<string, number>} Blocks patterns and their factors, as a row has them */

/**
 * @typedef {object} Kind layers of one block that no pattern can tell apart
 * @property {Record<string, number | null>} of what they are called
 * @property {number} n how many there are
 * @property {number} on how many of them the LoRA changes
 */

/**
 * @typedef {object} Block
 * @property {string} name
 * @property {number | null} number
 * @property {string} encoder the text encoder that it is of; empty for the diffusion model's
 * @property {Kind[]} kinds
 */

/**
 * @typedef {object} Bar
 * @property {string} id its pattern: `double_blocks.3`, `text_encoder`, `attn`
 * @property {string} name without its number
 * @property {number | null} number
 * @property {number} layers
 * @property {number} touched by the LoRA
 */

/**
 * @typedef {object} Group bars that stand together
 * @property {string} id the pattern of all of them, if there is one
 * @property {"blocks" | "outside" | "encoders" | "kinds"} role
 * @property {Bar[]} bars
 */

/**
 * @typedef {object} Word of a pattern
 * @property {string} name
 * @property {[number, number][]} ranges empty if all are meant
 */

/**
 * The weights per block of a row.
 * @param {{blocks?: unknown}} row
 * @returns {Blocks} empty where there are none, or what is there is none
 */
export function blocksOf({ blocks }) {
  return isObject(blocks) ? /** @type {Blocks} */ (blocks) : {};
}

const EVERY = "*";
const TEXT_ENCODER = "text_encoder";
const WORD = /^([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)(?:\.([0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*))?$/;
const MOST_WORDS = 8;
const LONGEST = 200;
const KINDS = ["attn", "mlp", "other", "audio", "video"];
const OTHER_NAMES = new Map([["attention", "attn"], ["ff", "mlp"]]);
const THIRDS = ["early", "mid", "late"];

/**
 * @param {string} text
 * @returns {Word[] | null} null for what is no pattern
 */
export function parsePattern(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length || words.length > MOST_WORDS || text.length > LONGEST) return null;
  const found = words.map(parseWord);
  return found.every((word) => word !== null) ? /** @type {Word[]} */ (found) : null;
}

/** @param {string} word @returns {Word | null} */
function parseWord(word) {
  if (word === EVERY) return { name: EVERY, ranges: [] };
  const match = WORD.exec(word);
  if (!match) return null;
  const ranges = (match[2] ?? "").split(",").filter(Boolean).map((part) => {
    const [low, high] = part.split("-").map(Number);
    return /** @type {[number, number]} */ ([low, high ?? low]);
  });
  return ranges.every(([low, high]) => low <= high) ? { name: match[1], ranges } : null;
}

/** @param {Word} word @param {Kind["of"]} labels */
function wordMeans({ name, ranges }, labels) {
  if (name === EVERY) return true;
  if (!Object.hasOwn(labels, name)) return false;
  const number = labels[name];
  return !ranges.length || (number !== null && ranges.some(([low, high]) => low <= number && number <= high));
}

/** @param {string} pattern @param {Kind["of"]} labels @returns {boolean} */
export function patternMeans(pattern, labels) {
  return parsePattern(pattern)?.every((word) => wordMeans(word, labels)) ?? false;
}

/** @param {Blocks} blocks @param {Kind["of"]} labels @returns {number} what the weight is multiplied by there */
export function factorOf(blocks, labels) {
  const factors = Object.entries(blocks).filter(([pattern]) => patternMeans(pattern, labels)).map(([, factor]) => factor);
  return factors.sort((a, b) => a - b).reduce((product, factor) => product * factor, 1);
}

/**
 * The fewest patterns that give each block of this name its factor; 1 needs none.
 * @param {string} name
 * @param {readonly number[]} values by number; where all are equal, the name stands alone
 * @returns {Blocks}
 */
export function compose(name, values) {
  if (new Set(values).size <= 1) return values.length && values[0] !== 1 ? { [name]: values[0] } : {};
  /** @type {Map<number, number[]>} */
  const numbers = new Map();
  values.forEach((value, number) => {
    if (value !== 1) numbers.set(value, [...numbers.get(value) ?? [], number]);
  });
  return Object.fromEntries([...numbers].map(([value, found]) => [`${name}.${ranges(found)}`, value]));
}

/** @param {number[]} numbers e.g. 0, 1, 2, 5 → `0-2,5` */
function ranges(numbers) {
  /** @type {[number, number][]} */
  const runs = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(",");
}

/**
 * The bars of a model, group by group.
 * @param {Block[]} blocks
 * @returns {Group[]}
 */
export function groupsOf(blocks) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  const put = (/** @type {string} */ key, /** @type {Group["role"]} */ role, /** @type {string} */ id, /** @type {Bar} */ bar) => {
    const group = groups.get(key) ?? { id, role, bars: [] };
    groups.set(key, group);
    const same = group.bars.find((one) => one.id === bar.id);
    if (same) {
      same.layers += bar.layers;
      same.touched += bar.touched;
    } else group.bars.push(bar);
  };
  for (const { name, number, encoder, kinds } of blocks) {
    const layers = sum(kinds.map(({ n }) => n));
    const touched = sum(kinds.map(({ on }) => on));
    if (encoder) put(TEXT_ENCODER, "encoders", TEXT_ENCODER, { id: encoder, name: encoder, number: null, layers, touched });
    else if (number !== null) put(name, "blocks", name, { id: `${name}.${number}`, name, number, layers, touched });
    else if (name === "middle") put(name, "blocks", name, { id: name, name, number, layers, touched });
    else put("", "outside", "", { id: name, name, number, layers, touched });
  }
  for (const name of KINDS) {
    const found = blocks.flatMap(({ kinds }) => kinds).filter(({ of }) => Object.hasOwn(of, name));
    if (found.length) put(KINDS[0], "kinds", "", { id: name, name, number: null, layers: sum(found.map(({ n }) => n)), touched: sum(found.map(({ on }) => on)) });
  }
  const order = ["blocks", "outside", "encoders", "kinds"];
  return [...groups.values()].sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((all, one) => all + one, 0);
}

/** What the bars say of a row, and what they cannot. */
export class BarValues {
  /**
   * @param {Group[]} groups
   * @param {Block[]} layout
   * @param {Blocks} blocks
   */
  constructor(groups, layout, blocks) {
    this.groups = groups;
    this.layout = layout;
    /** @type {Map<string, Kind[]>} by the id of a bar that is no kind */
    this.kinds = new Map();
    for (const { name, number, encoder, kinds } of layout) {
      const id = encoder || (number === null ? name : `${name}.${number}`);
      this.kinds.set(id, [...this.kinds.get(id) ?? [], ...kinds]);
    }
    /** @type {Map<string, number>} by the id of the bar */
    this.values = new Map(groups.flatMap(({ bars }) => bars.map(({ id }) => [id, 1])));
    /** @type {Blocks} patterns that no bar shows */
    this.others = {};
    for (const [pattern, factor] of Object.entries(blocks)) {
      const bars = this.barsOf(pattern);
      if (!bars) this.others[pattern] = factor;
      for (const id of bars ?? []) this.values.set(id, this.of(id) * factor);
    }
  }

  /** @param {string} id */
  of(id) {
    return this.values.get(id) ?? 1;
  }

  /**
   * The bars that are just what a pattern means.
   * @param {string} pattern
   * @returns {string[] | null} null if no bars are
   */
  barsOf(pattern) {
    const words = parsePattern(pattern);
    if (words?.length !== 1) return null;
    const [{ name, ranges: numbers }] = words;
    const kind = OTHER_NAMES.get(name) ?? name;
    if (this.values.has(kind) && !numbers.length && KINDS.includes(kind)) return [kind];
    const meant = this.groups.filter(({ role }) => role !== "kinds").flatMap(({ bars }) => bars).filter((bar) => this.isMeant(bar, words[0]));
    if (!meant.length || name === EVERY || THIRDS.includes(name)) return null;
    const covered = sum(meant.map(({ layers }) => layers));
    const all = this.layout.flatMap(({ kinds }) => kinds).filter(({ of }) => wordMeans(words[0], of));
    if (covered !== sum(all.map(({ n }) => n))) return null;
    const known = new Set(meant.map(({ number }) => number));
    const isWhole = numbers.every(([low, high]) => high - low < 1000 && Array.from({ length: high - low + 1 }, (_, index) => low + index).every((number) => known.has(number)));
    return isWhole ? meant.map(({ id }) => id) : null;
  }

  /** @param {Bar} bar @param {Word} word whether all layers of the bar are meant */
  isMeant(bar, word) {
    const kinds = this.kindsOf(bar.id);
    return kinds.length > 0 && kinds.every(({ of }) => wordMeans(word, of));
  }

  /** @param {string} id of a bar that is no kind */
  kindsOf(id) {
    return this.kinds.get(id) ?? [];
  }

  /**
   * The patterns that say the same as the bars and what no bar shows.
   * @returns {Blocks}
   */
  toBlocks() {
    /** @type {Blocks} */
    const result = {};
    for (const { id, role, bars } of this.groups) {
      const values = bars.map((bar) => this.of(bar.id));
      if (role === "encoders" && new Set(values).size === 1) Object.assign(result, compose(id, values));
      else if (role === "blocks" && bars.every(({ number }, index) => number === index)) Object.assign(result, compose(id, values));
      else for (const [index, bar] of bars.entries()) if (values[index] !== 1) result[bar.id] = values[index];
    }
    for (const [pattern, factor] of Object.entries(this.others)) result[pattern] = factor;
    return result;
  }

  /**
   * What the layers of a bar get in effect, with all other patterns: least and most.
   * @param {string} id
   * @returns {[number, number]}
   */
  effect(id) {
    const kinds = KINDS.includes(id) && !this.kindsOf(id).length
      ? this.layout.flatMap((block) => block.kinds).filter(({ of }) => Object.hasOwn(of, id)) : this.kindsOf(id);
    const all = this.toBlocks();
    const factors = kinds.map(({ of }) => factorOf(all, of));
    return factors.length ? [Math.min(...factors), Math.max(...factors)] : [1, 1];
  }

  /** @returns {{touched: number, left: number}} layers that the LoRA changes, and those of them that stay out at 0 */
  count() {
    const all = this.toBlocks();
    const kinds = this.layout.flatMap((block) => block.kinds).filter(({ on }) => on > 0);
    return { touched: sum(kinds.map(({ on }) => on)), left: sum(kinds.filter(({ of }) => factorOf(all, of) === 0).map(({ on }) => on)) };
  }

  /** @returns {string[]} patterns that mean no layer of this model */
  unknown() {
    const kinds = this.layout.flatMap((block) => block.kinds);
    return Object.keys(this.others).filter((pattern) => !kinds.some(({ of }) => patternMeans(pattern, of)));
  }

  /** @returns {string[]} patterns whose layers the LoRA does not change */
  untouched() {
    const kinds = this.layout.flatMap((block) => block.kinds);
    if (!kinds.some(({ on }) => on > 0)) return [];
    return Object.keys(this.toBlocks()).filter((pattern) => !kinds.some(({ of, on }) => on > 0 && patternMeans(pattern, of)));
  }
}

/**
 * A preset: patterns that stand for all that bars show.
 * @typedef {object} Preset
 * @property {string} id
 * @property {Blocks} blocks
 */

/**
 * The presets that mean something for these bars.
 * @param {Group[]} groups
 * @returns {Preset[]}
 */
export function presetsFor(groups) {
  const kinds = groups.find(({ role }) => role === "kinds")?.bars.map(({ id }) => id) ?? [];
  const stacks = groups.filter(({ role, bars }) => role === "blocks" && bars.length > 0);
  const isUnet = stacks.some(({ id }) => id === "input");
  /** @type {Preset[]} */
  const presets = [{ id: "whole", blocks: {} }];
  const only = (/** @type {string} */ id) => Object.fromEntries(["attn", "mlp", "other"].filter((one) => one !== id && kinds.includes(one)).map((one) => [one, 0]));
  if (kinds.includes("attn")) presets.push({ id: "attention", blocks: only("attn") });
  if (kinds.includes("mlp")) presets.push({ id: "mlp", blocks: only("mlp") });
  const part = (/** @type {number} */ wanted) => Object.assign({}, ...stacks.map(({ id, bars }) => {
    if (isUnet) return ["input", "middle", "output"].indexOf(id) === wanted ? {} : { [id]: 0 };
    return bars.length < 3 ? {} : compose(id, bars.map((_, index) => Number(Math.floor((index * 3) / bars.length) === wanted)));
  }));
  if (isUnet || stacks.some(({ bars }) => bars.length >= 3)) {
    presets.push({ id: isUnet ? "input" : "early", blocks: part(0) }, { id: isUnet ? "middle" : "mid", blocks: part(1) },
      { id: isUnet ? "output" : "late", blocks: part(2) });
  }
  if (groups.some(({ role }) => role === "encoders")) presets.push({ id: "without_text_encoder", blocks: { [TEXT_ENCODER]: 0 } });
  if (kinds.includes("audio")) presets.push({ id: "without_audio", blocks: { audio: 0 } }, { id: "without_video", blocks: { video: 0 } });
  return presets;
}

/**
 * Patterns out of JSON that somebody pasted: those of a row, a row, or a list of one.
 * @param {string} text
 * @returns {Blocks | null} null if there are none in it
 */
export function readBlocks(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return null;
  }
  if (isObject(data) && Array.isArray(data.loras)) data = data.loras;
  if (Array.isArray(data)) data = data[0];
  if (isObject(data) && isObject(data.blocks)) data = data.blocks;
  if (!isObject(data)) return null;
  const entries = Object.entries(data);
  const isGood = entries.every(([pattern, factor]) => parsePattern(pattern) && typeof factor === "number" && Math.abs(factor) <= WEIGHT_LIMIT);
  return isGood ? /** @type {Blocks} */ (data) : null;
}

/** @param {number} value @returns {number} as a bar keeps it */
export function barValue(value) {
  return rounded(clamp(value, -WEIGHT_LIMIT, WEIGHT_LIMIT));
}
