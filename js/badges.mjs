// @ts-check
/**
 * Says live whether the rows of all LoRA Stacks fit their models: one small request for all nodes, and only when
 * something has changed that matters. Where the server does not answer, rows show nothing.
 */

import { fingerprint, pruned, promptId } from "./badges/graph.mjs";
import { setting } from "./settings.mjs";

const DELAY = 300; // after a change, in milliseconds
const LOOK = 1500; // between looks for changes that ComfyUI tells nobody about
const RETRY = 30_000; // after the server did not answer
const MOST_STACKS = 2000; // in one request

/**
 * @typedef {object} Badge
 * @property {"fits" | "partly" | "misfit" | "unknown" | "missing" | "broken" | "not-a-lora" | ""} state
 * @property {string} sentence
 * @property {string | null} sha256
 * @property {string | null} air
 * @property {{name: string, why: string}[]} candidates
 */

/**
 * @typedef {object} Model
 * @property {string} title
 * @property {string[]} architectures ids
 */

/**
 * @typedef {object} Watched
 * @property {any} node
 * @property {() => string} read
 * @property {(badges: Badge[]) => void} show
 * @property {string | undefined} asked the text that the badges are for
 * @property {Map<string, Badge>} known the last badges by the rows' LoRAs
 * @property {Model | null} model
 * @property {boolean} wasThere whether the node was seen in a graph
 */

/** @type {Badge} */
export const NOTHING = Object.freeze({ state: "", sentence: "", sha256: null, air: null, candidates: [] });

/**
 * @param {{app: any, api: any}} comfy
 * @returns {{
 *   watch: (stack: {node: any, read: () => string, show: (badges: Badge[]) => void}) => () => void,
 *   notice: () => void, refresh: () => void, modelOf: (node: any) => Model | null,
 * }} `watch` gives the function that ends it; `notice` looks for changes now instead of soon, `refresh` asks anew for
 *   all rows, because files may have changed
 */
export function createBadges({ app, api }) {
  /** @type {Set<Watched>} */
  const watched = new Set();
  /** Nodes that tell of changes. */
  const chained = new WeakSet();
  /** @type {any} the part of the prompt that matters, of the graph whose fingerprint is `seen` */
  let prompt = null;
  /** @type {Record<string, any>} */
  let output = {};
  /** @type {string | undefined} */
  let seen;
  let timer = 0;
  let looking = 0;
  let asking = false;
  let again = false;
  let failed = 0;
  let marked = setting(app, "badges");

  const root = () => app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
  const isThere = (/** @type {Watched} */ one) => one.node.graph?.getNodeById?.(one.node.id) === one.node;

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
    for (const one of watched) {
      if (isThere(one)) one.wasThere = true;
      else if (one.wasThere) watched.delete(one);
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
    else if (changed || seen === undefined || fingerprint(root(), [...watched].map((one) => one.node)) !== seen) later();
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
  };
  const stopLooking = () => {
    window.clearInterval(looking);
    window.clearTimeout(timer);
    looking = timer = 0;
    api.removeEventListener("graphChanged", look);
    api.removeEventListener("reconnected", refresh);
    seen = undefined;
    prompt = null;
    output = {};
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
    const nodes = [...watched].filter(isThere);
    if (!nodes.length) return;
    const now = fingerprint(root(), nodes.map((one) => one.node));
    if (now !== seen) {
      seen = now;
      output = await app.graphToPrompt().then((/** @type {any} */ found) => found?.output ?? {}, () => ({}));
      for (const one of nodes) one.asked = undefined;
      prompt = undefined;
    }
    const asked = nodes.filter((one) => one.asked === undefined).slice(0, MOST_STACKS);
    if (!asked.length) return;
    const stacks = asked.map((one) => {
      one.asked = one.read();
      return { node: promptId(root(), one.node, output, one.asked), loras: one.asked };
    });
    prompt ??= pruned(output, nodes.map((one) => promptId(root(), one.node, output, one.read())));
    const texts = asked.map((one) => one.asked);
    const answer = await api.fetchApi("/lorchestra/check", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt, stacks }),
    });
    if (!answer.ok) throw new Error(`ComfyUI answered with ${answer.status}`);
    const found = (await answer.json()).stacks;
    asked.forEach((one, index) => {
      const stack = found[index];
      if (!stack || !watched.has(one) || one.read() !== texts[index]) return; // too late: it is asked for again
      one.model = stack.model;
      const names = loraNames(one.read()) ?? [];
      one.known = new Map(stack.rows.map((/** @type {Badge} */ row, /** @type {number} */ at) => [names[at], row]));
      one.show(stack.rows);
    });
    if (nodes.some((one) => one.asked === undefined)) again = true;
  };

  return {
    watch({ node, read, show }) {
      /** @type {Watched} */
      const one = {
        node, read, show: (rows) => show(marked ? rows : rows.map(() => NOTHING)),
        asked: undefined, known: new Map(), model: null, wasThere: false,
      };
      watched.add(one);
      if (!chained.has(node)) {
        chained.add(node);
        chain(node, "onConnectionsChange", () => { if (watched.size) later(); });
        chain(node, "refreshComboInNode", () => { if (watched.size) refresh(); }); // the key r
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
    modelOf: (node) => [...watched].find((one) => one.node === node)?.model ?? null,
  };
}

/**
 * Calls a function after one of the node's own methods; what others put there before and after stays.
 * @param {any} node
 * @param {string} name
 * @param {() => void} call
 */
function chain(node, name, call) {
  const original = node[name];
  node[name] = function (/** @type {any[]} */ ...values) {
    const result = original?.apply(this, values);
    call();
    return result;
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
