// @ts-check
/**
 * Saved workflows say by what a row's file is known: its SHA-256 and its AIR, as far as the server has told them.
 *
 * They are added to the saved copy alone: the list, its value and the prompt stay as they are. ComfyUI compares such
 * copies for undo and for the mark of a modified workflow, so what has become known is added to those that it keeps as
 * well, before it compares; else an answer of the server would be a change by the user.
 */

import { changeStacks, withIdentities } from "../values/identity.mjs";
import { readStack } from "../values/stack.mjs";
import { rootOf } from "../base/graph.mjs";
import { STACK } from "../stack/node.mjs";

/** @import { App, ChangeTracker } from "../types.d.ts" */
/** @import { Badge } from "../values/verdicts.mjs" */
/** @import { Identity } from "../values/identity.mjs" */

const MOST_TEXTS = 500; // that are remembered

/**
 * @typedef {object} Identities
 * @property {(text: string, rows: (Badge | undefined)[]) => void} learn takes what the server says of a stack's rows
 * @property {(text: string) => boolean} knows whether the server has told of all rows of a stack's text
 * @property {(text: string) => string} completed a stack's text with what is known of its rows
 * @property {() => void} install adds what is known to every saved copy from now on
 * @property {(workflow: unknown) => void} forget takes it away again from a copy that undo or redo is about to show
 */

/** @type {WeakMap<App, Identities>} */
const all = new WeakMap();

/**
 * @param {App} app
 * @returns {Identities} those of this page
 */
export function identitiesOf(app) {
  let found = all.get(app);
  if (!found) all.set(app, found = createIdentities(app));
  return found;
}

/** @param {App} app @returns {Identities} */
function createIdentities(app) {
  /** @type {Map<string, Identity>} by the rows' LoRAs */
  const known = new Map();
  /** Text → the text with what is known, and back. @type {Map<string, string>} */
  const added = new Map();
  /** @type {Map<string, string>} */
  const originals = new Map();
  /** Copies that have all that is known. @type {WeakSet<object>} */
  let done = new WeakSet();

  /** @param {string} text */
  const add = (text) => {
    const before = added.get(text);
    if (before !== undefined) return before;
    const now = withIdentities(text, known);
    keep(added, text, now);
    if (now !== text) keep(originals, now, originals.get(text) ?? text);
    return now;
  };
  /** @param {unknown} workflow */
  const complete = (workflow) => changeStacks(workflow, STACK, add);

  return {
    learn(text, rows) {
      const { rows: said } = readStack(text);
      rows.forEach((badge, index) => {
        const lora = said[index]?.lora;
        if (!lora || !badge?.known || badge.how) return;
        const { sha256, air } = badge.known;
        const before = known.get(lora);
        if (sha256 === (before?.sha256 ?? null) && air === (before?.air ?? null)) return;
        known.set(lora, { sha256, air });
        added.clear();
        done = new WeakSet();
      });
    },

    knows: (text) => readStack(text).rows.every(({ lora }) => known.has(lora)),

    completed: add,

    install() {
      const graph = rootOf(app);
      const original = graph.onSerialize;
      graph.onSerialize = function (workflow) {
        original?.call(this, workflow);
        const tracker = trackerOf(app);
        if (tracker && !(tracker.activeState && tracker.initialState)) return; // then the two could not be kept equal
        complete(workflow);
        for (const state of tracker ? statesOf(tracker) : []) {
          if (done.has(state)) continue;
          done.add(state);
          complete(state);
        }
      };
    },

    forget(workflow) {
      if (trackerOf(app)?._restoringState) changeStacks(workflow, STACK, (text) => originals.get(text) ?? text);
    },
  };
}

/** @param {App} app @returns {ChangeTracker | undefined} of the workflow that is shown */
function trackerOf(app) {
  return app.extensionManager?.workflow?.activeWorkflow?.changeTracker ?? undefined;
}

/** @param {ChangeTracker} tracker @returns {object[]} all copies that it compares or goes back to */
function statesOf({ activeState, initialState, undoQueue = [], redoQueue = [] }) {
  const states = [activeState, initialState, ...undoQueue, ...redoQueue];
  return /** @type {object[]} */ (states.filter((state) => typeof state === "object" && state !== null));
}

/** @param {Map<string, string>} map @param {string} key @param {string} value */
function keep(map, key, value) {
  if (map.size >= MOST_TEXTS) map.delete(/** @type {string} */ (map.keys().next().value));
  map.set(key, value);
}
