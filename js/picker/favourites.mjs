// @ts-check
/**
 * The user's favourites and the LoRAs chosen last. They are in ComfyUI's user data, which outlives the browser and our
 * pack, and is the same in all windows.
 */

import { t } from "../base/words.mjs";
import { textsOf } from "../values/json.mjs";

/** @import { Api, Comfy } from "../types.d.ts" */

const FILE = "lorchestra.json";
const MOST_RECENT = 20;

/**
 * @typedef {object} Kept
 * @property {string[]} favourites
 * @property {string[]} recent the last one first
 */

/**
 * @typedef {object} Favourites
 * @property {() => Promise<void>} load reads what was kept; never throws
 * @property {(name: string) => boolean} has
 * @property {() => string[]} recent the last one first
 * @property {(name: string) => Promise<void>} toggle
 * @property {(...names: string[]) => Promise<void>} addRecent
 * @property {string} problem why something is not kept, or ""
 */

/** @type {WeakMap<object, Favourites>} */
const all = new WeakMap();

/**
 * @param {Pick<Comfy, "api">} comfy
 * @returns {Favourites} the ones of this page
 */
export function favouritesOf({ api }) {
  let favourites = all.get(api);
  if (!favourites) all.set(api, favourites = createFavourites(api));
  return favourites;
}

/**
 * @param {Api} api
 * @returns {Favourites}
 */
function createFavourites(api) {
  let names = new Set(/** @type {string[]} */ ([]));
  let recent = /** @type {string[]} */ ([]);
  /** Changes go one after another, each on what the file holds then: another window may have changed it. */
  let queue = Promise.resolve();
  let waiting = 0;

  /** @param {Kept} kept */
  const take = (kept) => {
    names = new Set(kept.favourites);
    recent = kept.recent;
  };

  /** @param {(kept: Kept) => void} edit */
  const change = (edit) => {
    const now = { favourites: [...names], recent: [...recent] };
    edit(now);
    take(now);
    waiting += 1;
    queue = queue.then(async () => {
      try {
        const kept = await read(api);
        edit(kept);
        await write(api, kept);
        favourites.problem = "";
        if (waiting === 1) take(kept);
      } catch (error) {
        favourites.problem = /** @type {Error} */ (error).message;
      }
      waiting -= 1;
    });
    return queue;
  };

  /** @type {Favourites} */
  const favourites = {
    problem: "",
    has: (name) => names.has(name),
    recent: () => recent,
    async load() {
      try {
        const kept = await read(api);
        if (!waiting) take(kept);
        favourites.problem = "";
      } catch (error) {
        favourites.problem = /** @type {Error} */ (error).message;
      }
    },
    toggle(name) {
      const on = !names.has(name);
      return change((kept) => {
        kept.favourites = kept.favourites.filter((one) => one !== name);
        if (on) kept.favourites.push(name);
      });
    },
    addRecent(...names) {
      return change((kept) => {
        kept.recent = [...names, ...kept.recent.filter((one) => !names.includes(one))].slice(0, MOST_RECENT);
      });
    },
  };
  return favourites;
}

/**
 * @param {Api} api
 * @returns {Promise<Kept>} with whatever else is in the file
 */
async function read(api) {
  const answer = await api.fetchApi(`/userdata/${FILE}`);
  if (answer.status === 404) return { favourites: [], recent: [] };
  if (!answer.ok) throw new Error(t("favourites could not be read: error {status}", { status: answer.status }));
  let data;
  try {
    data = JSON.parse(await answer.text());
  } catch {
    throw new Error(t("favourites could not be read: {file} in ComfyUI's user folder is not valid JSON", { file: FILE }));
  }
  return { ...data, favourites: textsOf(data?.favourites), recent: textsOf(data?.recent) };
}

/**
 * @param {Api} api
 * @param {Kept} kept
 */
async function write(api, kept) {
  const body = JSON.stringify({ version: 1, ...kept }, null, 1);
  const answer = await api.fetchApi(`/userdata/${FILE}?overwrite=true`, { method: "POST", body });
  if (!answer.ok) throw new Error(t("favourites could not be saved: error {status}", { status: answer.status }));
}
