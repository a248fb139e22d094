// @ts-check
/**
 * Groups of rows: one switch and one factor for several rows, and which of them act. No DOM.
 * What counts in the end is what Python does (`lorchestra/stack/groups.py`); tests hold both together.
 */

import { t } from "../base/words.mjs";
import { isObject } from "./json.mjs";
import { DEFAULT_WEIGHT, MAX_GROUP_NAME, MAX_GROUPS, WEIGHT_LIMIT } from "./limits.mjs";
import { sha256 } from "./sha256.mjs";

export const PICKS = ["all", "one", "next"];

/** @typedef {import("./stack.mjs").Row} Row */
/** @typedef {Pick<import("./stack.mjs").Stack, "rows" | "more">} Stack */

/**
 * @typedef {object} Known
 * @property {string} name
 * @property {boolean} [on]
 * @property {number} [factor] what its rows' weights are multiplied by
 * @property {"all" | "one" | "next"} [pick] which of its rows act
 * @property {boolean} [folded] only the face uses it
 */

/** @typedef {Known & Record<string, unknown>} Group */

/**
 * @param {Record<string, unknown>} more what a stack has beside its rows
 * @returns {Group[]}
 */
export function groupsOf(more) {
  return Array.isArray(more.groups) ? more.groups : [];
}

/**
 * @param {Stack} stack
 * @param {Row} row
 * @returns {Group | undefined} the row's group
 */
export function groupOf({ more }, row) {
  return row.group == null ? undefined : groupsOf(more).find(({ name }) => name === row.group);
}

/** @param {Group} group */
export const factorOf = (group) => group.factor ?? 1;

/** @param {Group} group @returns {boolean} whether any of its rows can act */
export const isGroupOn = (group) => group.on !== false && factorOf(group) !== 0;

/** @param {Group} group */
export const picks = (group) => isGroupOn(group) && (group.pick ?? "all") !== "all";

/**
 * @param {unknown} value the groups of a stack
 * @param {Row[]} rows
 * @returns {string} what is wrong with them, with the row if there is one; empty when nothing is
 */
export function troubleOfGroups(value, rows) {
  if (value == null) return "";
  if (!Array.isArray(value) || value.length > MAX_GROUPS) return t('"groups" is not a list of at most {most} groups', { most: MAX_GROUPS });
  const names = new Set();
  for (const group of value) {
    if (!isObject(group) || !isGroupName(group.name)) return t("a group's name is not text of 1 to {most} characters", { most: MAX_GROUP_NAME });
    const { name, on = true, factor = 1, pick = "all" } = group;
    if (names.has(name)) return t("two groups have the name {name}", { name: `${name}` });
    names.add(name);
    const key = typeof on !== "boolean" ? "on" : typeof factor !== "number" || !(Math.abs(factor) <= WEIGHT_LIMIT) ? "factor"
      : PICKS.includes(`${pick}`) ? "" : "pick";
    if (key) return t('"{key}" of the group {name} is not right', { key, name: `${name}` });
  }
  const lost = rows.findIndex((row) => row.group != null && !names.has(row.group));
  if (lost >= 0) return t('row {row}: "groups" has no group with the name {name}', { row: lost + 1, name: `${rows[lost].group}` });
  const far = flat({ rows, more: { groups: value } }, "0").findIndex((row) => [row.model, row.clip].some((weight) => Math.abs(weight ?? 0) > WEIGHT_LIMIT));
  return far < 0 ? "" : t("row {row}: with the factor of its group, its weight is not from -100 to 100", { row: far + 1 });
}

/**
 * @param {unknown} name
 * @returns {name is string}
 */
export function isGroupName(name) {
  return typeof name === "string" && name.trim() !== "" && [...name].length <= MAX_GROUP_NAME && !/[\x00-\x1f\ud800-\udfff]/u.test(name);
}

/**
 * Which row each group picks, among those that are on.
 * @param {Stack} stack
 * @param {string} seed as the prompt has it
 * @returns {Map<string, number | null>} by the names of the groups that pick; null where no row is on
 */
export function picked({ rows, more }, seed) {
  /** @type {Map<string, number | null>} */
  const found = new Map();
  for (const group of groupsOf(more).filter(picks)) {
    const active = [...rows.keys()].filter((index) => rows[index].group === group.name && isActive(rows[index]));
    if (!active.length) found.set(group.name, null);
    else if (group.pick === "next") found.set(group.name, active[Number(whole(seed) % BigInt(active.length))]);
    else found.set(group.name, drawn(rows, active, group.name, `${whole(seed)}`));
  }
  return found;
}

/**
 * The rows as they act: their weights multiplied, and off where their group does not want them.
 * @param {Stack} stack
 * @param {string} [seed] without it, all rows of a group that picks may act
 * @returns {Row[]}
 */
export function flat(stack, seed) {
  const groups = new Map(groupsOf(stack.more).map((group) => [group.name, group]));
  if (!groups.size) return stack.rows;
  const chosen = seed === undefined ? new Map() : picked(stack, seed);
  return stack.rows.map((row, index) => {
    const group = groups.get(/** @type {string} */ (row.group));
    if (!group) return row;
    const { group: _, ...made } = row;
    if (group.on === false || (chosen.has(group.name) && chosen.get(group.name) !== index)) made.on = false;
    const factor = factorOf(group);
    if (factor === 1) return /** @type {Row} */ (made);
    made.model = scaled(row.model ?? DEFAULT_WEIGHT, factor);
    if (row.clip != null) made.clip = scaled(row.clip, factor);
    return /** @type {Row} */ (made);
  });
}

/**
 * The product of two numbers as they are written: 0.7 and 0.8 give 0.56.
 * @param {number} weight
 * @param {number} factor
 */
export function scaled(weight, factor) {
  const [a, b] = [digits(weight), digits(factor)];
  return Number(`${a.whole * b.whole}e${a.exponent + b.exponent}`);
}

/** @param {number} value */
function digits(value) {
  const [mantissa, exponent = "0"] = String(value).split("e");
  const [whole, behind = ""] = mantissa.split(".");
  return { whole: BigInt(whole + behind), exponent: Number(exponent) - behind.length };
}

/** @param {string} seed @returns {bigint} */
function whole(seed) {
  return /^[0-9]{1,20}$/.test(seed) ? BigInt(seed) : 0n;
}

/** @param {Row} row */
function isActive(row) {
  const model = row.model ?? DEFAULT_WEIGHT;
  return row.on !== false && (model !== 0 || (row.clip ?? model) !== 0);
}

/**
 * The row that draws the greatest lot; so a row more or less changes nothing between the others.
 * @param {Row[]} rows
 * @param {number[]} active
 * @param {string} name of the group
 * @param {string} seed
 */
function drawn(rows, active, name, seed) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  let best = { index: active[0], lot: "" };
  for (const index of active) {
    const { lora } = rows[index];
    const same = seen.get(lora) ?? 0;
    seen.set(lora, same + 1);
    const lot = sha256(`${seed}\n${name}\n${lora}\n${same}`);
    if (lot >= best.lot) best = { index, lot };
  }
  return best.index;
}

/**
 * The rows with those of a group side by side; without groups that no row is in, and without names of no group.
 * @param {Row[]} rows
 * @param {Record<string, unknown>} more
 * @returns {Stack}
 */
export function tidied(rows, more) {
  if (!Array.isArray(more.groups)) return { rows, more };
  const used = groupsOf(more).filter(({ name }) => rows.some((row) => row.group === name));
  const names = new Set(used.map(({ name }) => name));
  const kept = rows.map((row) => {
    if (row.group === undefined || names.has(/** @type {string} */ (row.group))) return row;
    const { group: _, ...rest } = row;
    return /** @type {Row} */ (rest);
  });
  /** @type {Set<string>} */
  const seen = new Set();
  const beside = kept.flatMap((row) => {
    if (row.group == null) return [row];
    if (seen.has(row.group)) return [];
    seen.add(row.group);
    return kept.filter(({ group }) => group === row.group);
  });
  return { rows: beside, more: { ...more, groups: used.length ? used : undefined } };
}

/**
 * Rows and groups of another stack behind those of this one; where both have a group of a name, the other's gets a new one.
 * @param {Stack} stack
 * @param {Stack} other
 * @returns {Stack}
 */
export function joined(stack, other) {
  const groups = [...groupsOf(stack.more)];
  /** @type {Map<unknown, string>} */
  const names = new Map();
  for (const group of groupsOf(other.more)) {
    const name = freeName(group.name, groups);
    names.set(group.name, name);
    groups.push({ ...group, name });
  }
  const rows = other.rows.map((row) => (names.has(row.group) ? { ...row, group: names.get(row.group) } : row));
  return { rows: [...stack.rows, ...rows], more: groups.length ? { ...stack.more, groups } : stack.more };
}

/**
 * @param {string} name
 * @param {Group[]} groups
 * @returns {string} the name, with a number behind it where a group has it
 */
export function freeName(name, groups) {
  let free = name;
  for (let number = 2; groups.some((group) => group.name === free); number++) {
    const end = ` ${number}`;
    free = [...name].slice(0, MAX_GROUP_NAME - end.length).join("") + end;
  }
  return free;
}

/** @typedef {{group: string, row?: undefined} | {row: number, group: string | undefined}} Item the head of a group, or a row */

/**
 * What the list shows, from above.
 * @param {Stack} stack
 * @returns {Item[]} without the rows of folded groups
 */
export function itemsOf(stack) {
  /** @type {Item[]} */
  const items = [];
  const seen = new Set();
  stack.rows.forEach((row, index) => {
    const group = groupOf(stack, row);
    if (group && !seen.has(group.name)) items.push({ group: group.name });
    if (group) seen.add(group.name);
    if (!group?.folded) items.push({ row: index, group: group?.name });
  });
  return items;
}

/**
 * Where a row goes that is moved among the items.
 * @param {Stack} stack
 * @param {number} index of the row
 * @param {number} to its place among the items afterwards
 * @returns {{to: number, group: string | undefined}} its place among the rows afterwards, and its group
 */
export function placeAt(stack, index, to) {
  const items = itemsOf(stack);
  const from = items.findIndex(({ row }) => row === index);
  const own = items[from]?.group;
  const rest = items.filter((_, at) => at !== from);
  const [before, after] = [rest[to - 1], rest[to]];
  const isInside = before && (before.row === undefined || before.group === own || (after?.row !== undefined && after.group === before.group));
  const group = isInside ? before.group : undefined;
  const others = [...stack.rows.keys()].filter((row) => row !== index);
  if (!before) return { to: 0, group };
  if (before.row !== undefined) return { to: others.indexOf(before.row) + 1, group };
  const inside = [...others.keys()].filter((at) => stack.rows[others[at]].group === before.group);
  if (!inside.length) return { to: others.filter((row) => row < index).length, group }; // the head of its own group
  const isFolded = groupsOf(stack.more).find(({ name }) => name === before.group)?.folded;
  return { to: isFolded ? inside[inside.length - 1] + 1 : inside[0], group };
}
