// @ts-check
/** LoRAs by words, folder and architecture: what the picker shows of ten thousand files. Plain data, no page. */

import { textsOf } from "./json.mjs";
import { ENDING, splitName } from "./numbers.mjs";
import { FITS, MISFIT, UNKNOWN } from "./verdicts.mjs";

/** @typedef {import("./verdicts.mjs").State} State */

/**
 * @typedef {object} Lora one file as the server lists it
 * @property {string} name as ComfyUI lists it
 * @property {string} title what its author calls it, or ""
 * @property {string[]} triggers its trigger words; where nobody states any, the most frequent tags of its training
 * @property {boolean} stated whether they are trigger words, and not tags
 * @property {string[]} architectures ids of all that it is meant to work on
 * @property {string[]} family titles of the families it is for, the likeliest first
 * @property {string} algorithm that of most of its modules, or ""
 * @property {string[]} tags that a sidecar says
 * @property {boolean | null} favourite whether a sidecar says that it is one; null if none says anything
 * @property {number | null} twin the number of its group, if other files have the same content
 * @property {string} kind `lora`, another kind of file, or "" if it is not known
 * @property {boolean} preview whether an image lies beside it
 * @property {number} images how many previews lie beside it
 * @property {number} videos how many of those move; their numbers follow those of the images
 * @property {boolean} nsfw whether a sidecar says that its pictures are not safe for work
 * @property {boolean} known false until it has been read
 * @property {number} modified in seconds
 * @property {number} size in bytes
 * @property {number} used when a run applied it for the last time, in seconds; 0 for never
 * @property {number} uses how often
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
 * @property {string[] | null} tokens its words, once a search has asked for them
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
 * @property {((lora: Lora) => boolean) | null} favourite only those
 * @property {((lora: Lora) => boolean) | null} [also] only those
 * @property {string[] | null} recent only those, the last one first
 * @property {string[]} [before] of equally good ones, these come first
 * @property {string[]} [first] these come before all others
 */

/** Where no accents can be: most names. */
// eslint-disable-next-line no-control-regex
const PLAIN = /^[\x00-\x7f]*$/;

/**
 * Text as a search compares it: without case and accents, and with a space for what stands between words.
 * "Ünï_Größe-2" → "uni grosse 2"
 * @param {string} text
 * @returns {string}
 */
export function fold(text) {
  // What has no small letter of its own, such as ß, becomes what its capitals are.
  const plain = PLAIN.test(text) ? text : text.normalize("NFKD").replace(/\p{M}+/gu, "").toUpperCase();
  return plain.toLowerCase().replace(/[-_ ]+/g, " ");
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
    stated: row.stated === true,
    architectures: textsOf(row.architectures),
    family: textsOf(row.family),
    algorithm: typeof row.algorithm === "string" ? row.algorithm : "",
    tags: textsOf(row.tags),
    favourite: typeof row.favourite === "boolean" ? row.favourite : null,
    twin: typeof row.twin === "number" ? row.twin : null,
    kind: typeof row.kind === "string" ? row.kind : "",
    preview: row.preview === true,
    images: numberIn(row.images),
    videos: numberIn(row.videos),
    nsfw: row.nsfw === true,
    known: row.known === true,
    modified: numberIn(row.modified),
    size: numberIn(row.size),
    used: numberIn(row.used),
    uses: numberIn(row.uses),
  };
}

/** @param {unknown} value */
function numberIn(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
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
  if (filter.folder || filter.favourite || filter.recent || filter.also) return [];
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
  if (old) return { ...old, lora, titleText, triggerText, tokens: null };
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
    triggerText, order: place.order + orderOf(fileText), tokens: null,
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
  const parts = query.replaceAll("\\", "/").split(/\s+/);
  return parts.map((word) => fold(word.replace(ENDING, "")).trim()).filter(Boolean);
}

/** Where a word stands, the best first; `near` is a word that is spelled nearly so. */
export const PLACES = /** @type {const} */ (["start", "word", "file", "folder", "title", "trigger", "near"]);
const NEAR = PLACES.indexOf("near");

/**
 * @param {Entry} entry
 * @param {string} word
 * @returns {number} index in `PLACES`, or -1
 */
export function placeOf(entry, word) {
  const at = entry.fileText.indexOf(word);
  if (at === 0) return 0;
  if (at > 0) return entry.fileText.includes(` ${word}`) ? 1 : 2;
  if (entry.pathText.includes(word)) return 3;
  if (entry.titleText.includes(word)) return 4;
  if (entry.triggerText.includes(word)) return 5;
  return -1;
}

/**
 * The text that a LoRA was found by, where that is neither its name nor its folder.
 * @param {Entry} entry
 * @param {string[]} words
 * @returns {string} its title, or a trigger word, or ""
 */
export function foundBy(entry, words) {
  const { title, triggers } = entry.lora;
  for (const word of words) {
    const place = placeOf(entry, word);
    if (PLACES[place] === "title") return title;
    if (PLACES[place] === "trigger") return triggers.find((trigger) => fold(trigger).includes(word)) ?? "";
    if (place >= 0) continue;
    const near = createNearness(word);
    if (near.isVain || near.meets(tokensIn(entry.pathText))) continue;
    return [title, ...triggers].find((text) => near.meets(tokensIn(fold(text)))) ?? "";
  }
  return "";
}

/**
 * @typedef {object} Nearness
 * @property {boolean} isVain whether the word is too short to be spelled in another way
 * @property {(tokens: string[]) => boolean} meets whether all parts of the word are nearly spelled so among them
 */

/** From so many letters on a word may have one typing error, and two. */
const ONE_ERROR = 5;
const TWO_ERRORS = 9;

/**
 * Whether texts have a word that is spelled nearly as one that was searched for: with a typing error or two, as British
 * and as American, or in one word instead of two. Its first letter has to be right, and so have digits.
 * @param {string} word as `wordsOf` makes it
 * @returns {Nearness}
 */
export function createNearness(word) {
  const parts = tokensIn(word);
  /** What is known of each token by now: ten thousand names share most of theirs. @type {Map<string, boolean>[]} */
  const known = parts.map(() => new Map());
  /** @param {string} token @param {string} part @param {Map<string, boolean>} before */
  const isNear = (token, part, before) => {
    let near = before.get(token);
    if (near === undefined) before.set(token, near = isNearly(token, part));
    return near;
  };
  const joined = parts.join("");
  return {
    isVain: joined.length < ONE_ERROR,
    meets: (tokens) => parts.length > 0 && (parts.every((part, at) => tokens.some((token) => isNear(token, part, known[at])))
      || tokens.some((_, at) => startsJoined(tokens, at, joined))),
  };
}

/**
 * @param {string} text folded
 * @returns {string[]} its words
 */
function tokensIn(text) {
  return text.split(PLAIN.test(text) ? /[^a-z0-9]+/ : /[^\p{L}\p{N}]+/u).filter(Boolean);
}

/**
 * Whether tokens that stand side by side begin with a text: "pixel", "art" → "pixelart".
 * @param {string[]} tokens
 * @param {number} at
 * @param {string} joined
 */
function startsJoined(tokens, at, joined) {
  if (!joined.startsWith(tokens[at]) && !tokens[at].startsWith(joined)) return false;
  let text = "";
  for (; at < tokens.length && text.length < joined.length; at += 1) text += tokens[at];
  return text.startsWith(joined);
}

/**
 * @param {string} token of a name
 * @param {string} part of what was searched for
 * @returns {boolean} whether the token begins nearly so
 */
function isNearly(token, part) {
  if (token.startsWith(part)) return true;
  const most = /\d/.test(part) ? 0 : part.length >= TWO_ERRORS ? 2 : part.length >= ONE_ERROR ? 1 : 0;
  if (!most || token[0] !== part[0] || token.length < part.length - most) return false;
  return errorsIn(part, token.slice(0, part.length + most)) <= most;
}

/**
 * How many letters have to be changed, put in, left out or exchanged with their neighbours until a word is the start of
 * a token: optimal string alignment (L. Boytsov, "Indexing methods for approximate dictionary searching", 2011).
 * @param {string} word
 * @param {string} token
 * @returns {number}
 */
function errorsIn(word, token) {
  /** @type {number[]} */
  let before = [];
  let last = Array.from({ length: token.length + 1 }, (_, at) => at);
  for (let row = 1; row <= word.length; row += 1) {
    const next = [row];
    for (let at = 1; at <= token.length; at += 1) {
      const same = word[row - 1] === token[at - 1];
      next[at] = Math.min(last[at] + 1, next[at - 1] + 1, last[at - 1] + Number(!same));
      const isSwapped = row > 1 && at > 1 && word[row - 1] === token[at - 2] && word[row - 2] === token[at - 1];
      if (isSwapped) next[at] = Math.min(next[at], before[at - 2] + 1);
    }
    before = last;
    last = next;
  }
  return Math.min(...last);
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
  const search = createSearch(words);
  const recent = filter.recent && new Map(filter.recent.map((name, index) => [name, index]));
  /** @type {Entry[][]} by how well they match */
  const ranks = [];
  /** @type {Map<string[], number>} how many are right in each folder */
  const held = new Map();
  for (const entry of entries) {
    const { lora } = entry;
    if (filter.favourite && !filter.favourite(lora)) continue;
    if (filter.also && !filter.also(lora)) continue;
    if (recent && !recent.has(lora.name)) continue;
    if (filter.fits && fitOf(lora, filter.fits) === MISFIT) continue;
    if (filter.family !== null && !isFor(lora, filter.family)) continue;
    const rank = search.rankOf(entry);
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
  const first = recent ?? new Map(words.length ? filter.before?.map((name, index) => [name, index]) : []);
  /** @param {Entry} entry */
  const turn = (entry) => first.get(entry.lora.name) ?? first.size;
  if (first.size) for (const rank of ranks) rank?.sort((one, other) => turn(one) - turn(other));
  const found = ranks.flat();
  if (filter.first?.length) {
    const places = new Map(filter.first.map((name, index) => [name, index]));
    const placeIn = (/** @type {Entry} */ { lora }) => places.get(lora.name) ?? places.size;
    found.sort((one, other) => placeIn(one) - placeIn(other));
  }
  return { found, counts };
}

const MOST_NEAR = 20;
const LEAST_NEAR = 0.4; // of the letters of a name

/**
 * The LoRAs that may replace one: those that fit first, then those whose names have most of its words, spelled nearly so.
 * @param {Entry[]} entries
 * @param {string} lora the name of the one that is replaced
 * @param {Model | null} model
 * @param {string[]} [known] names that are known to be likely; they count as if they had all of its words
 * @returns {string[]} names, the best first
 */
export function nearest(entries, lora, model, known = []) {
  const words = [...new Set(tokensIn(fold(splitName(lora).title)))];
  const letters = words.join("").length;
  const near = words.map(createNearness);
  const whole = createNearness(words.join("")); // written in one word
  const likely = new Set(known);
  const fits = (/** @type {Lora} */ one) => [FITS, "", UNKNOWN, "unread", MISFIT].indexOf(fitOf(one, model));
  /** @param {Entry} entry */
  const shareOf = (entry) => {
    if (likely.has(entry.lora.name)) return 1;
    const tokens = tokensIn(`${entry.fileText} ${entry.titleText}`);
    if (whole.meets(tokens)) return 1;
    return words.reduce((sum, word, at) => sum + (near[at].meets(tokens) ? word.length : 0), 0) / (letters || 1);
  };
  return entries.flatMap((entry) => {
    if (entry.lora.name === lora && !likely.has(lora)) return [];
    const share = shareOf(entry);
    return share >= LEAST_NEAR ? [{ name: entry.lora.name, share, fit: fits(entry.lora) }] : [];
  }).sort((one, other) => one.fit - other.fit || other.share - one.share).slice(0, MOST_NEAR).map(({ name }) => name);
}

/**
 * @param {string[]} words
 * @returns {{rankOf: (entry: Entry) => number}} less is better; -1 where a word does not occur
 */
function createSearch(words) {
  const whole = words.join(" ");
  const near = words.map(createNearness);
  /** @param {Entry} entry @param {number} at */
  const rankAt = (entry, at) => {
    const place = placeOf(entry, words[at]);
    if (place >= 0) return place;
    if (near[at].isVain) return -1;
    entry.tokens ??= tokensIn(`${entry.pathText}\n${entry.titleText}\n${entry.triggerText}`);
    // Behind all that have the words as they are.
    return near[at].meets(entry.tokens) ? NEAR * words.length + 1 : -1;
  };
  return {
    rankOf(entry) {
      if (entry.fileText === whole || entry.pathText === whole) return 0;
      let rank = 1;
      for (let at = 0; at < words.length; at += 1) {
        const place = rankAt(entry, at);
        if (place < 0) return -1;
        rank += place;
      }
      return rank;
    },
  };
}

/**
 * How many LoRAs say each of some words, the most first.
 * @param {Entry[]} entries
 * @param {(lora: Lora) => string[]} wordsIn
 * @returns {Map<string, number>}
 */
export function countWords(entries, wordsIn) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { lora } of entries) for (const word of wordsIn(lora)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return new Map([...counts].sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1)));
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

/** The orders of a list, and what each compares: more comes first, and equal ones are in the order of their names. */
export const ORDERS = /** @type {const} */ (["name", "newest", "last-used", "most-used", "size"]);
/** @typedef {(typeof ORDERS)[number]} Order */

/** @type {Record<Exclude<Order, "name">, (lora: Lora) => number>} */
const VALUES = {
  newest: ({ modified }) => modified,
  "last-used": ({ used }) => used,
  "most-used": ({ uses }) => uses,
  size: ({ size }) => size,
};

/**
 * @param {Entry[]} entries by name
 * @param {Order} order
 * @returns {Entry[]}
 */
export function inOrder(entries, order) {
  if (order === "name") return entries;
  const valueOf = VALUES[order];
  return [...entries].sort((one, other) => valueOf(other.lora) - valueOf(one.lora));
}
