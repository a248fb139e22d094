// @ts-check
/** LoRAs by words, folder and architecture: what the picker shows of ten thousand files. Plain data, no page. */

import { textsOf } from "./json.mjs";
import { ENDING } from "./numbers.mjs";
import { FITS, MISFIT, UNKNOWN } from "./verdicts.mjs";

/** @typedef {import("./verdicts.mjs").State} State */

/**
 * @typedef {object} Lora one file as the server lists it
 * @property {string} name as ComfyUI lists it
 * @property {string} title what its author calls it, or ""
 * @property {string[]} triggers
 * @property {string[]} architectures ids of all that it is meant to work on
 * @property {string[]} family titles of the families it is for, the likeliest first
 * @property {string} kind `lora`, another kind of file, or "" if it is not known
 * @property {boolean} preview whether an image lies beside it
 * @property {boolean} known false until it has been read
 * @property {number} modified
 */

/**
 * @typedef {object} Entry one LoRA, and its texts as a search compares them
 * @property {Lora} lora
 * @property {string} folder `styles/old/`, or ""
 * @property {string} file its name without folder and ending
 * @property {string[]} folders all folders that it is in: `styles/`, `styles/old/`
 * @property {string} fileText
 * @property {string} pathText
 * @property {string} titleText
 * @property {string} triggerText
 * @property {string} order entries are sorted by this
 */

/**
 * @typedef {object} Unusable a file that is there and that no row can name
 * @property {string} name as it can be shown
 * @property {string} problem a word for what is wrong
 * @property {string} why in English, for a word that is not known
 */

/** @typedef {import("./verdicts.mjs").Model} Model */

/**
 * @typedef {object} Folder
 * @property {string} path `styles/old/`
 * @property {string} name `old`
 * @property {string} parent `styles/`, or ""
 * @property {number} depth 0 at the top
 * @property {string[]} children paths
 */

/**
 * @typedef {object} Filter
 * @property {string} query
 * @property {string} folder "" for all
 * @property {Model | null} fits only LoRAs that may fit this model
 * @property {string | null} family only LoRAs for this family; "" asks for those whose family is not known
 * @property {((name: string) => boolean) | null} favourite only those
 * @property {string[] | null} recent only those, the last one first
 */

/** Where no accents can be: most names. */
// eslint-disable-next-line no-control-regex
const PLAIN = /^[\x00-\x7f]*$/;

/**
 * Text as a search compares it: without case and accents. "Ünï" → "uni"
 * @param {string} text
 * @returns {string}
 */
export function fold(text) {
  if (PLAIN.test(text)) return text.toLowerCase();
  return text.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase();
}

/**
 * What the server says, in full and of the types that it should be.
 * @param {unknown} raw a row of `/lorchestra/loras`, or a name
 * @returns {Lora | null} null where there is no name
 */
export function readLora(raw) {
  const row = /** @type {Record<string, unknown> | null | undefined} */ (typeof raw === "string" ? { name: raw } : raw);
  if (typeof row?.name !== "string" || !row.name) return null;
  return {
    name: row.name,
    title: typeof row.title === "string" ? row.title : "",
    triggers: textsOf(row.triggers),
    architectures: textsOf(row.architectures),
    family: textsOf(row.family),
    kind: typeof row.kind === "string" ? row.kind : "",
    preview: row.preview === true,
    known: row.known === true,
    modified: typeof row.modified === "number" ? row.modified : 0,
  };
}

/**
 * @param {unknown} raw a file of `unusable` in `/lorchestra/loras`
 * @returns {Unusable | null} null where there is no name
 */
export function readUnusable(raw) {
  const row = /** @type {Record<string, unknown> | null | undefined} */ (raw);
  if (typeof row?.name !== "string" || !row.name) return null;
  return { name: row.name, problem: String(row.problem ?? ""), why: String(row.why ?? "") };
}

/**
 * Those that a search finds; nothing more is known of them than their names.
 * @param {Unusable[]} unusable
 * @param {Filter} filter
 * @returns {Unusable[]}
 */
export function selectUnusable(unusable, filter) {
  if (filter.folder || filter.favourite || filter.recent) return [];
  const words = wordsOf(filter.query);
  return unusable.filter(({ name }) => words.every((word) => fold(name).replaceAll("\\", "/").includes(word)));
}

/**
 * Entries in the order of their paths, where 2 comes before 10. What did not change is taken from the entries before.
 * @param {Lora[]} loras
 * @param {Entry[]} [before]
 * @returns {Entry[]}
 */
export function createEntries(loras, before = []) {
  const known = new Map(before.map((entry) => [entry.lora.name, entry]));
  /** @type {Map<string, Place>} */
  const places = new Map();
  const entries = loras.map((lora) => createEntry(lora, known.get(lora.name), places));
  return entries.sort((one, other) => (one.order < other.order ? -1 : Number(one.order > other.order)));
}

/**
 * @typedef {object} Place a folder, for all that is in it
 * @property {string} folder
 * @property {string[]} folders
 * @property {string} text
 * @property {string} order
 */

/**
 * @param {Lora} lora
 * @param {Entry | undefined} old
 * @param {Map<string, Place>} places the folders by now
 * @returns {Entry}
 */
function createEntry(lora, old, places) {
  const titleText = lora.title && fold(lora.title);
  const triggerText = lora.triggers.length ? fold(lora.triggers.join("\n")) : "";
  if (old) return { ...old, lora, titleText, triggerText };
  const { name } = lora;
  const start = Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1;
  const path = name.slice(0, start);
  let place = places.get(path);
  if (!place) {
    const folder = path.replaceAll("\\", "/");
    place = { folder, folders: foldersOf(folder), text: fold(folder), order: orderOf(fold(folder)) };
    places.set(path, place);
  }
  const dot = name.lastIndexOf(".");
  const file = dot > start && ENDING.test(name.slice(dot)) ? name.slice(start, dot) : name.slice(start);
  const fileText = fold(file);
  return {
    lora, file, folder: place.folder, folders: place.folders, fileText, pathText: place.text + fileText, titleText,
    triggerText, order: place.order + orderOf(fileText),
  };
}

/**
 * A text that sorts paths as people do: digits by their number, what is in a folder before its neighbours.
 * @param {string} path
 */
function orderOf(path) {
  let result = "";
  let end = 0;
  const numbers = /\d+/g;
  for (let digits = numbers.exec(path); digits; digits = numbers.exec(path)) {
    result += path.slice(end, digits.index) + digits[0].padStart(12, "0");
    end = numbers.lastIndex;
  }
  return (result + path.slice(end)).replaceAll("/", "\u0001");
}

/**
 * @param {string} folder `styles/old/`
 * @returns {string[]} `styles/`, `styles/old/`
 */
export function foldersOf(folder) {
  const result = [];
  for (let end = folder.indexOf("/"); end >= 0; end = folder.indexOf("/", end + 1)) result.push(folder.slice(0, end + 1));
  return result;
}

/**
 * @param {Entry[]} entries
 * @returns {Map<string, Folder>} by path, in the order of the entries; "" is the top
 */
export function createFolders(entries) {
  /** @type {Map<string, Folder>} */
  const result = new Map([["", { path: "", name: "", parent: "", depth: -1, children: [] }]]);
  let last = "";
  for (const { folder, folders } of entries) {
    if (folder === last) continue;
    last = folder;
    for (const [depth, path] of folders.entries()) {
      if (result.has(path)) continue;
      const parent = folders[depth - 1] ?? "";
      result.set(path, { path, name: path.slice(parent.length, -1), parent, depth, children: [] });
      result.get(parent)?.children.push(path);
    }
  }
  return result;
}

/**
 * @param {string} query
 * @returns {string[]} words as `fold` makes them; a pasted file name goes without its ending
 */
export function wordsOf(query) {
  return fold(query).replaceAll("\\", "/").split(/\s+/).map((word) => word.replace(ENDING, "")).filter(Boolean);
}

/** Where a word stands, the best first. */
export const PLACES = /** @type {const} */ (["start", "file", "folder", "title", "trigger"]);

/**
 * @param {Entry} entry
 * @param {string} word
 * @returns {number} index in `PLACES`, or -1
 */
export function placeOf(entry, word) {
  const at = entry.fileText.indexOf(word);
  if (at === 0) return 0;
  if (at > 0) return 1;
  if (entry.pathText.includes(word)) return 2;
  if (entry.titleText.includes(word)) return 3;
  if (entry.triggerText.includes(word)) return 4;
  return -1;
}

/**
 * The text that a LoRA was found by, where that is neither its name nor its folder.
 * @param {Entry} entry
 * @param {string[]} words
 * @returns {string} its title, or a trigger word, or ""
 */
export function foundBy(entry, words) {
  for (const word of words) {
    const place = PLACES[placeOf(entry, word)];
    if (place === "title") return entry.lora.title;
    if (place === "trigger") return entry.lora.triggers.find((trigger) => fold(trigger).includes(word)) ?? "";
  }
  return "";
}

/**
 * @param {Lora} lora
 * @param {Model | null | undefined} model
 * @returns {State | "unread" | ""} "" without a model
 */
export function fitOf(lora, model) {
  if (!model) return "";
  if (!lora.known) return "unread";
  if (lora.kind && lora.kind !== "lora") return MISFIT;
  if (!lora.architectures.length) return UNKNOWN;
  return lora.architectures.some((id) => model.architectures.includes(id)) ? FITS : MISFIT;
}

/**
 * @param {Lora} lora
 * @param {string} family a title, or "" for LoRAs whose family is not known
 * @returns {boolean} what has not been read yet may be for any
 */
export function isFor(lora, family) {
  if (!lora.known) return true;
  return family ? lora.family.includes(family) : lora.family.length === 0;
}

/**
 * What is left of the entries: the best first, equal ones in the order that they came in.
 * @param {Entry[]} entries
 * @param {Filter} filter
 * @returns {{found: Entry[], counts: Map<string, number>}} how many each folder holds, "" all, whichever is chosen
 */
export function select(entries, filter) {
  const words = wordsOf(filter.query);
  const recent = filter.recent && new Map(filter.recent.map((name, index) => [name, index]));
  /** @type {Entry[][]} by how well they match */
  const ranks = [];
  /** @type {Map<string[], number>} how many are right in each folder */
  const held = new Map();
  for (const entry of entries) {
    const { lora } = entry;
    if (filter.favourite && !filter.favourite(lora.name)) continue;
    if (recent && !recent.has(lora.name)) continue;
    if (filter.fits && fitOf(lora, filter.fits) === MISFIT) continue;
    if (filter.family !== null && !isFor(lora, filter.family)) continue;
    const rank = rankOf(entry, words);
    if (rank < 0) continue;
    held.set(entry.folders, (held.get(entry.folders) ?? 0) + 1);
    if (!entry.folder.startsWith(filter.folder)) continue;
    (ranks[rank] ??= []).push(entry);
  }
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const [folders, count] of held) {
    for (const folder of ["", ...folders]) counts.set(folder, (counts.get(folder) ?? 0) + count);
  }
  const found = ranks.flat();
  if (recent && !words.length) {
    found.sort((one, other) => Number(recent.get(one.lora.name)) - Number(recent.get(other.lora.name)));
  }
  return { found, counts };
}

/**
 * @param {Entry} entry
 * @param {string[]} words
 * @returns {number} less is better; -1 where a word does not occur
 */
function rankOf(entry, words) {
  let rank = 0;
  for (const word of words) {
    const place = placeOf(entry, word);
    if (place < 0) return -1;
    rank += place;
  }
  return rank;
}

/**
 * @param {Entry[]} entries
 * @returns {Map<string, number>} families and how many LoRAs are for each, the most first; "" for those not known
 */
export function countFamilies(entries) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { lora } of entries) {
    if (!lora.known) continue;
    for (const family of lora.family.length ? lora.family : [""]) counts.set(family, (counts.get(family) ?? 0) + 1);
  }
  return new Map([...counts].sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1)));
}

/**
 * @param {Entry[]} entries
 * @returns {Entry[]} the same, the newest first
 */
export function newestFirst(entries) {
  return [...entries].sort((one, other) => other.lora.modified - one.lora.modified);
}
