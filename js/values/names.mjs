// @ts-check
/** Full names for rows that name a file without its folder or ending, as LoRA-Manager and `<lora:…>` text do. */

import { t } from "../base/words.mjs";

const SUFFIX = /\.(safetensors|sft|ckpt|pt|pt2|pth|bin|pkl)$/i;

/**
 * The rows with the listed names where exactly one file is meant; by whole names, never by a part of one.
 * Names that are listed, AIRs, names that several files have, and those with a folder that is not there stay as they
 * are; the notes say which files they may mean.
 * @template {{lora: string}} R
 * @param {R[]} rows
 * @param {string[]} listed
 * @returns {{rows: R[], notes: string[]}}
 */
export function withListedNames(rows, listed) {
  const known = new Set(listed);
  /** @type {Map<string, string[]>} */
  const byPath = new Map();
  /** @type {Map<string, string[]>} */
  const byFile = new Map();
  for (const name of listed) {
    const path = name.replaceAll("\\", "/");
    const bare = path.replace(SUFFIX, "");
    for (const key of new Set([path, bare])) put(byPath, key, name);
    for (const key of new Set([fileOf(path), fileOf(bare)])) put(byFile, key, name);
  }
  /** @type {string[]} */
  const notes = [];
  const result = rows.map((row, index) => {
    const wanted = row.lora;
    if (typeof wanted !== "string" || known.has(wanted)) return row;
    const path = wanted.replaceAll("\\", "/");
    const meant = byPath.get(path) ?? (path.includes("/") ? undefined : byFile.get(path));
    if (meant?.length === 1) return { ...row, lora: meant[0] };
    const found = meant ?? byFile.get(fileOf(path)) ?? [];
    if (found.length === 1) {
      notes.push(t("Row {row}: {name} is not there. The row offers {found}, which has the same file name.", { row: index + 1, name: wanted, found: found[0] }));
    }
    if (found.length > 1) notes.push(t("Row {row}: “{name}” is the name of {count} files. Choose one: {names}", { row: index + 1, name: wanted, count: found.length, names: found.join(", ") }));
    return row;
  });
  return { rows: result, notes };
}

/** @param {Map<string, string[]>} map @param {string} key @param {string} name */
function put(map, key, name) {
  const names = map.get(key);
  if (names) names.push(name);
  else map.set(key, [name]);
}

/** @param {string} path */
function fileOf(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Whether two names are of one path: with either slash, and with or without the ending.
 * @param {string} one
 * @param {string} other
 */
export function isSamePath(one, other) {
  const [a, b] = [one, other].map((name) => name.replaceAll("\\", "/"));
  return a === b || a.replace(SUFFIX, "") === b || a === b.replace(SUFFIX, "");
}
