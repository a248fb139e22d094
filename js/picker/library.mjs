// @ts-check
/** The LoRAs that the server has: one list for all pickers of the page, shown at once and asked for anew. */

import { ask as askServer, statusInWords } from "../base/server.mjs";
import { t } from "../base/words.mjs";
import { createEntries, createFolders, readLora, readUnusable } from "../values/search.mjs";

/** @import { Api, Comfy } from "../types.d.ts" */

const PATIENCE = 20_000; // for one answer, in milliseconds
const LATE = 4000; // after which an answer that has not come is spoken of
const FIRST_PAUSE = 1000;
const LAST_PAUSE = 15_000;
const HASHING_PAUSE = 3000;
const NO_HASHING = { done: 0, total: 0 };

/**
 * @typedef {object} Listed
 * @property {import("../values/search.mjs").Entry[]} entries
 * @property {Map<string, import("../values/search.mjs").Folder>} folders
 * @property {import("../values/search.mjs").Unusable[]} unusable files whose names no row can hold
 * @property {number} pending files that the server has not read yet
 * @property {{done: number, total: number}} hashing how far reading whole files for their hashes is; 0 of 0 if that was
 *   not asked for
 * @property {string} unkept why the server keeps nothing of what it knows until its next start, or ""
 * @property {boolean} loaded whether there ever was a list
 * @property {boolean} loading
 * @property {boolean} late whether the server lets us wait
 * @property {boolean} namesOnly whether the server gave nothing but names
 * @property {string} problem why there is no new list, or ""
 */

/**
 * @typedef {object} Library
 * @property {Readonly<Listed>} listed
 * @property {() => Promise<void>} refresh asks the server; never throws
 * @property {() => Promise<void>} retry the same, and does not wait for what was asked before
 * @property {(name: string) => Promise<import("../values/search.mjs").Lora | undefined>} find what is known of a LoRA;
 *   asks the server if it was never asked
 * @property {(wanted: boolean) => Promise<void>} hash lets the server read all files for their hashes, or ends that; throws
 *   if it does not answer
 * @property {(listener: () => void) => void} whenHashed calls when reading for hashes has come to its end
 * @property {(listener: () => void) => () => void} watch calls when the list changes, and asks again while files are
 *   pending; returns what ends that
 */

/** @type {WeakMap<object, Library>} */
const libraries = new WeakMap();

/**
 * @param {Pick<Comfy, "api">} comfy
 * @returns {Library} the one of this page
 */
export function libraryOf({ api }) {
  let library = libraries.get(api);
  if (!library) libraries.set(api, library = createLibrary(api));
  return library;
}

/**
 * Asks for the list anew, if it has been asked for before: for ComfyUI's own refresh.
 * @param {Pick<Comfy, "api">} comfy
 */
export async function refreshLoras(comfy) {
  const library = libraries.get(comfy.api);
  if (library?.listed.loading) await library.refresh(); // whose answer may be older
  await library?.refresh();
}

/**
 * @param {Api} api
 * @returns {Library}
 */
function createLibrary(api) {
  /** @type {Listed} */
  const listed = {
    entries: [], folders: createFolders([]), unusable: [], pending: 0, hashing: NO_HASHING, unkept: "", loaded: false,
    loading: false, late: false, namesOnly: false, problem: "",
  };
  /** @type {Set<() => void>} */
  const listeners = new Set();
  /** @type {Set<() => void>} */
  const hashed = new Set();
  let answered = "";
  let ordered = 0; // how often hashing was begun or ended
  let pause = FIRST_PAUSE;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<void> | undefined} */
  let asking;
  let turn = new AbortController(); // of what is asked for now

  const tell = () => { for (const listener of [...listeners]) listener(); };

  /** @param {import("../values/search.mjs").Lora[]} loras */
  const take = (loras) => {
    listed.entries = createEntries(loras, listed.entries);
    listed.folders = createFolders(listed.entries);
    listed.loaded = true;
  };

  /** @param {Listed["hashing"]} hashing */
  const takeHashing = (hashing) => {
    const was = listed.hashing.total;
    listed.hashing = hashing;
    if (was && !hashing.total) for (const listener of [...hashed]) listener();
  };

  /** @param {AbortSignal} signal */
  const askForAll = async (signal) => {
    const since = ordered;
    const text = await ask(api, "/lorchestra/loras", signal);
    if (text !== answered) {
      const data = JSON.parse(text);
      if (!Array.isArray(data?.loras)) throw new Error(t("the server did not answer with a list"));
      take(lorasIn(data.loras));
      const unusable = Array.isArray(data.unusable) ? data.unusable.map(readUnusable).filter(Boolean) : [];
      listed.unusable = /** @type {Listed["unusable"]} */ (unusable);
      listed.pending = typeof data.pending === "number" ? data.pending : 0;
      listed.unkept = typeof data.problem === "string" ? data.problem : "";
      answered = text;
      if (since === ordered) takeHashing(data.hashing ?? NO_HASHING);
      else answered = ""; // hashing was begun or ended while the server wrote this
    }
    listed.namesOnly = false;
  };

  /** @param {AbortSignal} signal */
  const askForNames = async (signal) => {
    const names = JSON.parse(await ask(api, "/models/loras", signal));
    if (!Array.isArray(names)) throw new Error(t("the server did not answer with a list"));
    const known = new Map(listed.entries.map(({ lora }) => [lora.name, lora]));
    take(lorasIn(names).map((lora) => known.get(lora.name) ?? lora));
    listed.unusable = [];
    listed.pending = 0;
    listed.namesOnly = true;
    answered = "";
  };

  const load = async () => {
    const { signal } = turn = new AbortController();
    listed.loading = true;
    tell();
    const lateness = setTimeout(() => { listed.late = true; tell(); }, LATE);
    signal.addEventListener("abort", () => clearTimeout(lateness));
    let problem = "";
    try {
      await askForAll(signal).catch(() => askForNames(signal));
    } catch (error) {
      problem = /** @type {Error} */ (error).message;
    }
    if (signal.aborted) return; // it was asked again
    clearTimeout(lateness);
    Object.assign(listed, { problem, loading: false, late: false });
    asking = undefined;
    schedule();
    tell();
  };

  const refresh = () => (asking ??= load());
  const retry = () => {
    turn.abort();
    listed.late = false;
    return asking = load();
  };

  const schedule = () => {
    clearTimeout(timer);
    const { pending, hashing } = listed;
    if (!hashing.total && !(pending && listeners.size)) {
      pause = FIRST_PAUSE;
      return;
    }
    timer = setTimeout(refresh, listeners.size ? pause : LAST_PAUSE);
    pause = Math.min(pause * 1.6, hashing.total ? HASHING_PAUSE : LAST_PAUSE);
  };

  return {
    listed,
    refresh,
    retry,
    async find(name) {
      if (!listed.loaded) await refresh();
      return listed.entries.find(({ lora }) => lora.name === name)?.lora;
    },
    async hash(wanted) {
      const answer = await askServer({ api }, "/lorchestra/index", { hash: wanted });
      ordered += 1;
      answered = ""; // the next list counts, even if it is as the last one
      listed.hashing = /** @type {{hashing: {done: number, total: number}}} */ (answer).hashing;
      tell();
      schedule();
    },
    whenHashed: (listener) => { hashed.add(listener); },
    watch(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (!listeners.size) schedule();
      };
    },
  };
}

/** @param {unknown[]} rows */
function lorasIn(rows) {
  return /** @type {import("../values/search.mjs").Lora[]} */ (rows.map(readLora).filter(Boolean));
}

/**
 * @param {Api} api
 * @param {string} route
 * @param {AbortSignal} signal
 * @returns {Promise<string>} the answer's text
 */
async function ask(api, route, signal) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PATIENCE);
  signal.addEventListener("abort", () => abort.abort(), { signal: abort.signal });
  if (signal.aborted) abort.abort();
  try {
    const answer = await api.fetchApi(route, { signal: abort.signal });
    if (!answer.ok) throw new Error(statusInWords(answer.status));
    return await answer.text();
  } catch (error) {
    if (abort.signal.aborted) throw new Error(t("the server did not answer"));
    if (error instanceof TypeError) throw new Error(t("the server cannot be reached"));
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
