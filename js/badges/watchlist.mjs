// @ts-check
/** The LoRA Stacks whose rows get badges: where each stands, what it shows, and what is known of it. */

import { rootOf } from "../base/graph.mjs";
import { setting } from "../base/settings.mjs";
import { FITS, NOTHING, PARTLY } from "../values/verdicts.mjs";
import { findPlaces } from "./places.mjs";

/** @import { App, GraphNode } from "../types.d.ts" */

/** What a row is that may be applied. @type {string[]} */
const GOOD = [FITS, PARTLY];
const MOST_LOST = 1; // looks at which a stack was in no graph yet

/** @typedef {import("../values/verdicts.mjs").Badge} Badge */
/** @typedef {import("../values/verdicts.mjs").Model} Model */
/** @typedef {import("../stack/insert.mjs").Field} Field */
/** @typedef {{one: Watched, place: import("./places.mjs").Place}} Placed */

/**
 * @typedef {object} Shown
 * @property {GraphNode} node
 * @property {string} [input] where a subgraph's node has the list of a stack inside
 * @property {() => string} read
 * @property {(badges: Badge[]) => void} show
 */

/**
 * @typedef {Shown & {
 *   id: string | undefined, lost: number, asked: string | undefined, known: Map<string, Badge>, model: Model | null,
 *   prompt: Field | null,
 * }} Watched `id` in a prompt, when it was looked for last; `lost`: how often it was in no graph before it was in one;
 *   `asked`: the text that the badges are for; `known`: the last badges by the rows' LoRAs
 */

/**
 * @param {App} app
 * @param {import("./refusals.mjs").LastRun} lastRun
 */
export function createWatchlist(app, lastRun) {
  /** @type {Set<Watched>} */
  const watched = new Set();
  let marked = setting(app, "badges");

  return {
    /** @returns {boolean} */
    isEmpty: () => watched.size === 0,
    /** @param {Watched} one */
    has: (one) => watched.has(one),
    /** @param {Watched} one */
    remove: (one) => { watched.delete(one); },
    /** @param {GraphNode} node @param {string} [input] */
    find: (node, input) => [...watched].find((one) => one.node === node && one.input === input),

    /** @param {Shown} shown @returns {Watched} */
    add({ node, input, read, show }) {
      /** @type {Watched} */
      const one = {
        node, input, read, show: (rows) => show(withRefusals(one, marked ? rows : rows.map(unmarked), lastRun.of(one.id))),
        id: undefined, lost: 0, asked: undefined, known: new Map(), model: null, prompt: null,
      };
      watched.add(one);
      return one;
    },

    /**
     * Those that are in a graph. The others are forgotten once they have been in one, or if they never get there.
     * @returns {Placed[]}
     */
    placed() {
      const all = [...watched];
      return findPlaces(rootOf(app), all).flatMap((place, index) => {
        const one = all[index];
        if (!place) {
          if (one.id !== undefined || (one.lost += 1) > MOST_LOST) watched.delete(one);
          return [];
        }
        if (one.id !== undefined && one.id !== place.id) forget(one); // entered by another of the subgraph's nodes
        one.id = place.id;
        return [{ one, place }];
      });
    },

    /** Lets all be asked for again. */
    askForAll() {
      for (const one of watched) one.asked = undefined;
    },

    /**
     * Lets those be asked for again whose rows are others now; what is known already is shown until then.
     * @returns {boolean} whether there are any
     */
    noticeRows() {
      const others = [...watched].filter((one) => one.asked !== undefined && one.read() !== one.asked);
      for (const one of others) {
        one.asked = undefined;
        showKnown(one);
      }
      return others.length > 0;
    },

    /** Shows and hides the badges as the setting says. */
    noticeSetting() {
      if (setting(app, "badges") === marked) return;
      marked = !marked;
      for (const one of watched) showKnown(one);
    },

    /** Shows what the last run refused, now that it is another one. */
    noticeRefusals() {
      for (const one of watched) {
        for (const [lora, refusal] of lastRun.of(one.id)) refusal.despite ||= GOOD.includes(one.known.get(lora)?.state ?? "");
        showKnown(one);
      }
    },

    /** Nothing is known of any row, and nothing is asked for until its stack changes. */
    showNothing() {
      for (const one of watched) {
        one.known.clear();
        one.asked = one.read();
        one.show((loraNames(one.asked) ?? []).map(() => NOTHING));
      }
    },
  };
}

/**
 * What is shown of a row by the wish to see no badges: its trigger words, without a mark.
 * @param {Badge} badge
 * @returns {Badge}
 */
function unmarked({ words }) {
  return words ? { ...NOTHING, words: words.map(({ word }) => ({ word, present: null })) } : NOTHING;
}

/**
 * @param {Watched} one
 * @param {Badge[]} badges of its rows
 * @param {import("./refusals.mjs").Refusals} refusals
 * @returns {Badge[]} with what the last run said of the rows, unless they have become good since
 */
function withRefusals(one, badges, refusals) {
  if (!refusals.size) return badges;
  const names = loraNames(one.read()) ?? [];
  return badges.map((badge, at) => {
    const lora = names[at];
    const refusal = refusals.get(lora);
    const isGood = GOOD.includes(one.known.get(lora)?.state ?? "");
    return refusal && (refusal.despite || !isGood) ? { ...badge, refused: { lora, sentence: refusal.sentence } } : badge;
  });
}

/** @param {Watched} one */
function forget(one) {
  one.asked = undefined;
  one.model = null;
  one.prompt = null;
  one.known.clear();
  showKnown(one);
}

/** Shows what is known already, e.g. after rows have been moved. @param {Watched} one */
function showKnown(one) {
  const names = loraNames(one.read());
  if (names) one.show(names.map((name) => one.known.get(name) ?? NOTHING));
}

/**
 * The LoRAs of the rows, in their order.
 * @param {string} text the stack's value
 * @returns {string[] | undefined} nothing for text that is not our JSON
 */
export function loraNames(text) {
  try {
    const data = JSON.parse(text);
    const rows = Array.isArray(data) ? data : data.loras;
    return Array.isArray(rows) ? rows.map((row) => String(row?.lora ?? row?.model ?? "")) : undefined;
  } catch {
    return undefined;
  }
}
