// @ts-check
/**
 * Says live whether the rows of all LoRA Stacks fit their models: one small request for all nodes, and only when
 * something has changed that matters. Where the server does not answer, rows show nothing.
 */

import { fingerprint, pruned } from "./graph.mjs";
import { completed } from "./inactive.mjs";
import { findPlaces, rememberHosts } from "./places.mjs";
import { after } from "../base/canvas.mjs";
import { setting } from "../base/settings.mjs";
import { MAX_STACKS } from "../values/limits.mjs";
import { NOTHING } from "../values/verdicts.mjs";

/** @import { Comfy, Graph, GraphNode, Prompt } from "../types.d.ts" */

const DELAY = 300; // after a change, in milliseconds
const LOOK = 1500; // between looks for changes that ComfyUI tells nobody about
const RETRY = 30_000; // after the server did not answer
const MOST_LOST = 1; // looks at which a stack was in no graph yet

/** @typedef {import("../values/verdicts.mjs").Badge} Badge */
/** @typedef {import("../values/verdicts.mjs").Model} Model */

/**
 * @typedef {object} Watched
 * @property {GraphNode} node
 * @property {string} [input]
 * @property {() => string} read
 * @property {(badges: Badge[]) => void} show
 * @property {string | undefined} id in a prompt, when it was looked for last
 * @property {number} lost how often it was in no graph before it was in one
 * @property {string | undefined} asked the text that the badges are for
 * @property {Map<string, Badge>} known the last badges by the rows' LoRAs
 * @property {Model | null} model
 */

/**
 * @param {Comfy} comfy
 * @returns {{
 *   watch: (stack: {node: GraphNode, input?: string, read: () => string, show: (badges: Badge[]) => void}) => () => void,
 *   notice: () => void, refresh: () => void, modelOf: (node: GraphNode, input?: string) => Model | null,
 * }} `watch` gives the function that ends it; `input` is where a subgraph's node has the list of a stack inside.
 *   `notice` looks for changes now instead of soon, `refresh` asks anew for all rows, because files may have changed
 */
export function createBadges({ app, api }) {
  /** @type {Set<Watched>} */
  const watched = new Set();
  /** Nodes that tell of changes. */
  const chained = new WeakSet();
  /** @type {Prompt | null} the part of the prompt that matters, of the graph whose fingerprint is `seen` */
  let prompt = null;
  /** @type {string | undefined} */
  let seen;
  let timer = 0;
  let looking = 0;
  let asking = false;
  let again = false;
  let failed = 0;
  let marked = setting(app, "badges");
  rememberHosts(app);

  const root = () => /** @type {Graph} */ (app.rootGraph ?? app.graph?.rootGraph ?? app.graph);
  /** Those that are in a graph, each with its place; the others are forgotten when they have been in one, or come to none. */
  const placed = () => {
    const all = [...watched];
    return findPlaces(root(), all).flatMap((place, index) => {
      const one = all[index];
      if (!place) {
        if (one.id !== undefined || (one.lost += 1) > MOST_LOST) watched.delete(one);
        return [];
      }
      if (one.id !== undefined && one.id !== place.id) { // entered by another of the subgraph's nodes
        one.asked = undefined;
        one.model = null;
        one.known.clear();
        showKnown(one, one.read());
      }
      one.id = place.id;
      return [{ one, place }];
    });
  };

  const soon = () => {
    if (asking) again = true;
    else if (!timer && watched.size) timer = window.setTimeout(() => { timer = 0; void ask(); }, DELAY);
  };
  const later = () => { // counts the delay from the last change on
    window.clearTimeout(timer);
    timer = 0;
    soon();
  };
  /** Shows what is known already, e.g. after rows have been moved. @param {Watched} one @param {string} text */
  const showKnown = (one, text) => {
    const names = loraNames(text);
    if (names) one.show(names.map((name) => one.known.get(name) ?? NOTHING));
  };
  const look = () => {
    if (document.hidden || (failed && Date.now() - failed < RETRY)) return;
    let changed = failed > 0;
    if (failed) for (const one of watched) one.asked = undefined;
    failed = 0;
    const places = placed().map(({ place }) => place);
    for (const one of watched) {
      if (one.asked !== undefined && one.read() !== one.asked) {
        one.asked = undefined;
        showKnown(one, one.read());
        changed = true;
      }
    }
    if (setting(app, "badges") !== marked) {
      marked = !marked;
      for (const one of watched) showKnown(one, one.read());
    }
    if (!watched.size) stopLooking();
    else if (changed || seen === undefined || fingerprint(root(), places) !== seen) later();
  };
  const refresh = () => {
    for (const one of watched) one.asked = undefined;
    failed = 0;
    soon();
  };
  const startLooking = () => {
    if (looking) return;
    looking = window.setInterval(look, LOOK);
    api.addEventListener("graphChanged", look);
    api.addEventListener("reconnected", refresh);
    app.canvas?.canvas?.addEventListener("subgraph-opened", look);
  };
  const stopLooking = () => {
    window.clearInterval(looking);
    window.clearTimeout(timer);
    looking = timer = 0;
    api.removeEventListener("graphChanged", look);
    api.removeEventListener("reconnected", refresh);
    app.canvas?.canvas?.removeEventListener("subgraph-opened", look);
    seen = undefined;
    prompt = null;
  };

  const ask = async () => {
    asking = true;
    try {
      await askOnce();
      failed = 0;
    } catch {
      // Offline, restarting, or without our routes: rows without badges are as good as before.
      failed = Date.now();
      for (const one of watched) {
        one.known.clear();
        one.asked = one.read();
        one.show((loraNames(one.asked) ?? []).map(() => NOTHING));
      }
    } finally {
      asking = false;
      if (again) soon();
      again = false;
    }
  };
  const askOnce = async () => {
    const there = placed();
    if (!there.length) return;
    const places = there.map(({ place }) => place);
    const now = fingerprint(root(), places);
    if (now !== seen) {
      seen = now;
      const found = await app.graphToPrompt().then((graph) => graph?.output ?? {}, () => ({}));
      prompt = pruned(completed(found, places), places.map(({ id }) => id));
      for (const { one } of there) one.asked = undefined;
    }
    const asked = there.filter(({ one }) => one.asked === undefined).slice(0, MAX_STACKS).map(({ one }) => one);
    if (!asked.length) return;
    const stacks = asked.map((one) => ({ node: one.id, loras: (one.asked = one.read()) }));
    const answer = await api.fetchApi("/lorchestra/check", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt, stacks }),
    });
    if (!answer.ok) throw new Error(`ComfyUI answered with ${answer.status}`);
    const found = (await answer.json()).stacks;
    asked.forEach((one, index) => {
      const stack = found[index];
      const isLate = one.read() !== stacks[index].loras || one.id !== stacks[index].node; // then it is asked for again
      if (!stack || !watched.has(one) || isLate) return;
      one.model = stack.model;
      const names = loraNames(one.read()) ?? [];
      one.known = new Map(stack.rows.map((/** @type {Badge} */ row, /** @type {number} */ at) => [names[at], row]));
      one.show(stack.rows);
    });
    if (there.some(({ one }) => one.asked === undefined)) again = true;
  };

  return {
    watch({ node, input, read, show }) {
      /** @type {Watched} */
      const one = {
        node, input, read, show: (rows) => show(marked ? rows : rows.map(() => NOTHING)),
        id: undefined, lost: 0, asked: undefined, known: new Map(), model: null,
      };
      watched.add(one);
      if (!chained.has(node)) {
        chained.add(node);
        after(node, "onConnectionsChange", () => { if (watched.size) later(); });
        after(node, "refreshComboInNode", () => { if (watched.size) refresh(); }); // the key r
      }
      startLooking();
      soon();
      return () => {
        watched.delete(one);
        if (!watched.size) stopLooking();
      };
    },
    notice: look,
    refresh,
    modelOf: (node, input) => [...watched].find((one) => one.node === node && one.input === input)?.model ?? null,
  };
}

/**
 * The LoRAs of the rows, in their order.
 * @param {string} text the stack's value
 * @returns {string[] | undefined} nothing for text that is not our JSON
 */
function loraNames(text) {
  try {
    const data = JSON.parse(text);
    const rows = Array.isArray(data) ? data : data.loras;
    return Array.isArray(rows) ? rows.map((row) => String(row?.lora ?? row?.model ?? "")) : undefined;
  } catch {
    return undefined;
  }
}
