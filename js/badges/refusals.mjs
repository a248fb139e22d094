// @ts-check
/**
 * What the server said of rows that the last run refused. It says so by rows to the page that queued the run: ComfyUI's
 * own error is one text for the whole node.
 */

import { rootOf } from "../base/graph.mjs";
import { inWords } from "../base/words.mjs";

/** @import { Api, App, Comfy } from "../types.d.ts" */

const REFUSED = "lorchestra.refused"; // as `nodes/host/refused.py` has it
const MOST_NODES = 1000;

/**
 * @typedef {object} Refusal
 * @property {string} sentence
 * @property {boolean} despite whether the row seemed to fit when it was refused; then that it seems so says nothing
 */

/** @typedef {ReadonlyMap<string, Refusal>} Refusals by the rows' LoRAs */

/** @type {Refusals} */
const NONE = new Map();

/**
 * @typedef {object} LastRun
 * @property {() => void} install listens from now on
 * @property {(node: string | undefined) => Refusals} of a node, by its id in a prompt
 * @property {(listener: () => void) => void} watch calls when something was refused, and when a new run begins
 */

/** @type {WeakMap<Api, LastRun>} */
const all = new WeakMap();

/** @param {Comfy} comfy @returns {LastRun} that of this page */
export function lastRunOf({ app, api }) {
  let found = all.get(api);
  if (!found) all.set(api, found = createLastRun(app, api));
  return found;
}

/** @param {App} app @param {Api} api @returns {LastRun} */
function createLastRun(app, api) {
  /** @type {Map<string, Map<string, Refusal>>} */
  const byNode = new Map();
  /** @type {Set<() => void>} */
  const listeners = new Set();
  let run = "";
  let workflow = rootOf(app)?.id;

  /** @param {string} id @returns {boolean} whether it is another run than the last one */
  const begin = (id) => {
    if (id === run) return false;
    run = id;
    workflow = rootOf(app)?.id;
    byNode.clear();
    return true;
  };
  const tell = () => { for (const listener of listeners) listener(); };

  return {
    install() {
      api.addEventListener(REFUSED, (event) => {
        const { prompt_id: id, node, rows } = /** @type {CustomEvent} */ (event).detail ?? {};
        if (typeof node !== "string" || !Array.isArray(rows)) return;
        begin(String(id));
        if (byNode.size >= MOST_NODES) return;
        byNode.set(node, new Map(rows.map(inWords).map(({ lora, sentence }) => [String(lora), { sentence: String(sentence), despite: false }])));
        tell();
      });
      api.addEventListener("execution_start", (event) => {
        const had = byNode.size > 0;
        if (begin(String(/** @type {CustomEvent} */ (event).detail?.prompt_id)) && had) tell();
      });
    },
    of: (node) => (node !== undefined && workflow === rootOf(app)?.id && byNode.get(node)) || NONE,
    watch: (listener) => { listeners.add(listener); },
  };
}
