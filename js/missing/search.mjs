// @ts-check
/** Searches for files by the hashes that rows say, one row after another; whole files are read for it on the server. */

import { ask } from "../base/server.mjs";
import { inWords } from "../base/words.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Row } from "../values/stack.mjs" */
/** @import { Candidate } from "../values/verdicts.mjs" */

const LOOK = 700; // milliseconds between looks at how far it is

/** @param {Row} row @returns {string} the hash by which its file can be searched for, or "" */
export function hashOf(row) {
  return row.sha256 || (typeof row.hash === "string" ? row.hash : "");
}

/**
 * @template {{row: Row}} F
 * @param {Comfy} comfy
 * @param {F[]} rows
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {(at: {row: F, number: number, done: number, total: number}) => void} options.onProgress `done` of `total` files
 * @param {(row: F, candidates: Candidate[]) => void} options.onFound
 * @returns {Promise<void>} ends early without a word when it is aborted
 */
export async function searchByHash(comfy, rows, { signal, onProgress, onFound }) {
  for (const [number, row] of rows.entries()) {
    const tell = (/** @type {number} */ done, /** @type {number} */ total) => {
      if (!signal.aborted) onProgress({ row, number, done, total });
    };
    tell(0, 0);
    const timer = setInterval(async () => {
      const answer = await ask(comfy, "/lorchestra/index", {}).catch(() => null);
      const { searching } = /** @type {{searching?: {done: number, total: number}}} */ (answer ?? {});
      if (searching?.total) tell(searching.done, searching.total);
    }, LOOK);
    try {
      await searchOne(comfy, row, signal, onFound);
    } finally {
      clearInterval(timer);
    }
    if (signal.aborted) return;
  }
}

/**
 * The server reads for a while at a time and keeps what it has read; it is asked again as long as it gets on.
 * @template {{row: Row}} F
 * @param {Comfy} comfy
 * @param {F} found
 * @param {AbortSignal} signal
 * @param {(row: F, candidates: Candidate[]) => void} onFound
 */
async function searchOne(comfy, found, signal, onFound) {
  const { row } = found;
  for (let left = Infinity; ;) {
    const body = { lora: row.lora, sha256: hashOf(row), air: row.air, deep: true };
    const answer = await ask(comfy, "/lorchestra/find", body, signal).catch((error) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (!answer || signal.aborted) return;
    const { candidates, left: now } = /** @type {{candidates: Candidate[], left: number}} */ (answer);
    onFound(found, candidates.map(inWords));
    const isFound = candidates.some(({ by }) => by === "content");
    if (isFound || !now || now >= left) return;
    left = now;
  }
}
