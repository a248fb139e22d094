// @ts-check
/** What a person says of a workflow's inputs and outputs, as it stands in the workflow's `extra.lorchestra`. */

import { isObject } from "./json.mjs";

/** @typedef {Record<string, unknown>} Row `node`, `widget`, and what is said; see `docs/api-inputs.md` */

/**
 * An input as the server shows it.
 * @typedef {object} Input
 * @property {string} name
 * @property {string} kind e.g. `integer`
 * @property {Record<string, unknown>} schema of its value
 * @property {unknown} default
 * @property {string} title
 * @property {string} description
 * @property {boolean} required
 * @property {[string, string]} place its node and its widget in the editor
 * @property {number | null} row that says something of it
 */

/** @typedef {{name: string, kind: string, node: string, description: string}} Output */

/**
 * What would be published, as the server says it.
 * @typedef {object} Draft
 * @property {{name: string, version: number, inputs: Input[], outputs: Output[], notes: string[], urls: Record<string, string>}} publication
 * @property {Record<string, string>} programs that call it
 * @property {{path: string, message: string}[]} problems of the rows
 * @property {{inputs: Input[], outputs: Output[]}} found before the rows say anything
 * @property {[string, string][]} others widgets that may become inputs
 * @property {number[]} versions that are published
 * @property {boolean} is_published whether the newest of them is this
 */

/** @typedef {{name: string, description: string, inputs: Row[], outputs: Row[]}} Said */

/**
 * One line of a list: what was found, what it becomes, and the row that says so.
 * @template T
 * @typedef {object} Item
 * @property {string} key the same as long as it is about the same
 * @property {Row} row what is said; just its place where nothing is
 * @property {T | null} found null for what a person has added, and for what is gone
 * @property {T | null} made null for what is hidden or gone
 * @property {number} order among those that were found; Infinity for others
 * @property {string} problem why it cannot be so; empty if it can
 */

/**
 * @param {unknown} extra of a graph
 * @returns {Said}
 */
export function readSaid(extra) {
  const said = isObject(extra) && isObject(extra.lorchestra) ? extra.lorchestra : {};
  const text = (/** @type {unknown} */ value) => (typeof value === "string" ? value : "");
  const rows = (/** @type {unknown} */ value) => (Array.isArray(value) ? value.filter(isObject) : []);
  return { name: text(said.name), description: text(said.description), inputs: rows(said.inputs), outputs: rows(said.outputs) };
}

/**
 * The `extra` of a graph with what a person says now; without it where that is nothing.
 * @param {unknown} extra
 * @param {Said} said
 * @returns {Record<string, unknown>}
 */
export function withSaid(extra, said) {
  const { lorchestra: before, ...rest } = isObject(extra) ? extra : {};
  const own = { ...(isObject(before) ? before : {}) };
  for (const [key, value] of Object.entries(said)) {
    if (value.length) own[key] = value;
    else delete own[key];
  }
  return Object.keys(own).length ? { ...rest, lorchestra: own } : rest;
}

/**
 * The inputs as a list: those with rows first, in the rows' order.
 * @param {Draft} draft of these rows
 * @param {Row[]} rows
 * @returns {Item<Input>[]}
 */
export function inputItems(draft, rows) {
  const { found } = draft;
  const at = (/** @type {Input[]} */ list, /** @type {number} */ row) => list.find((one) => one.row === row) ?? null;
  const placed = (/** @type {Input} */ one) => ({ node: one.place[0], widget: one.place[1] });
  const said = rows.map((row, index) => {
    const own = at(found.inputs, index);
    return {
      key: `${row.node} ${row.widget}`, row, found: own, made: at(draft.publication.inputs, index),
      order: own ? found.inputs.indexOf(own) : Infinity, problem: problemAt(draft, "inputs", index),
    };
  });
  const rest = found.inputs.flatMap((own, order) => {
    if (own.row !== null) return [];
    const made = draft.publication.inputs.find((one) => `${one.place}` === `${own.place}`) ?? null;
    return [{ key: own.place.join(" "), row: placed(own), found: own, made, order, problem: "" }];
  });
  return [...said, ...rest];
}

/**
 * The outputs, likewise.
 * @param {Draft} draft
 * @param {Row[]} rows
 * @returns {Item<Output>[]}
 */
export function outputItems(draft, rows) {
  const own = draft.found.outputs;
  const made = (/** @type {string} */ node) => draft.publication.outputs.find((one) => one.node === node) ?? null;
  const said = rows.map((row, index) => {
    const node = String(row.node);
    const found = own.find((one) => one.node === node) ?? null;
    return {
      key: node, row, found, made: row.hidden === true ? null : made(node), order: found ? own.indexOf(found) : Infinity,
      problem: problemAt(draft, "outputs", index),
    };
  });
  const rest = own.flatMap((found, order) => said.some(({ key }) => key === found.node) ? []
    : [{ key: found.node, row: { node: found.node }, found, made: made(found.node), order, problem: "" }]);
  return [...said, ...rest];
}

/**
 * The items with what the rows say now, in the rows' order; the server may not have seen these rows yet.
 * @template T
 * @param {Item<T>[]} items
 * @param {Row[]} rows
 * @returns {Item<T>[]}
 */
export function arranged(items, rows) {
  const known = new Map(items.map((item) => [item.key, item]));
  const keys = rows.map(({ node, widget }) => (widget === undefined ? String(node) : `${node} ${widget}`));
  const said = rows.map((row, index) => {
    const key = keys[index];
    return { ...(known.get(key) ?? { key, found: null, made: null, order: Infinity, problem: "" }), row };
  });
  const rest = items.filter(({ key, order }) => order !== Infinity && !keys.includes(key))
    .map((item) => ({ ...item, row: placeIn(item.row), problem: "" }));
  return [...said, ...rest.sort((one, other) => one.order - other.order)];
}

/** @param {Row} row @returns {Row} what says nothing but where it is */
function placeIn({ node, widget }) {
  return widget === undefined ? { node } : { node, widget };
}

/** @param {Draft} draft @param {string} list @param {number} index */
function problemAt(draft, list, index) {
  return draft.problems.find(({ path }) => path === `${list}[${index}]`)?.message ?? "";
}

/**
 * As few rows as say the same: what has no row comes behind, in the order in which it was found.
 * @param {{row: Row, order: number}[]} items in the order in which people shall see them
 * @returns {Row[]}
 */
export function rowsOf(items) {
  let count = items.length;
  let next = Infinity;
  while (count > 0) {
    const { row, order } = items[count - 1];
    if (order === Infinity || order > next || saysSomething(row)) break;
    next = order;
    count -= 1;
  }
  return items.slice(0, count).map(({ row }) => row);
}

/** @param {Row} row */
function saysSomething(row) {
  return Object.keys(row).some((key) => key !== "node" && key !== "widget");
}

/**
 * A row that says something else; undefined and an empty text take a word back.
 * @param {Row} row
 * @param {Row} changes
 * @returns {Row}
 */
export function changedRow(row, changes) {
  const entries = Object.entries({ ...row, ...changes }).filter(([, value]) => value !== undefined && value !== "");
  return Object.fromEntries(entries);
}

/**
 * The same list with one of its items elsewhere.
 * @template T
 * @param {T[]} items
 * @param {number} from
 * @param {number} to
 * @returns {T[]}
 */
export function moved(items, from, to) {
  const rest = items.filter((_, index) => index !== from);
  return [...rest.slice(0, to), items[from], ...rest.slice(to)];
}

/**
 * A name under which a workflow can be published, from the name of its file.
 * @param {string} text e.g. `Portrait, second try`
 * @returns {string} e.g. `portrait-second-try`
 */
export function nameFrom(text) {
  const plain = text.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase().replace(/[^a-z0-9_]+/g, "-").replace(/^[^a-z0-9]+/, "");
  return plain.slice(0, 64).replace(/-+$/, "") || "workflow";
}
