// @ts-check
/**
 * Says live whether the rows of all LoRA Stacks fit their models: one small request for all nodes, and only when
 * something has changed that matters. Where the server does not answer, rows show nothing.
 */

import { after } from "../base/canvas.mjs";
import { libraryOf } from "../picker/library.mjs";
import { rememberHosts } from "./places.mjs";
import { createQuestions } from "./questions.mjs";
import { lastRunOf } from "./refusals.mjs";
import { createWatchlist } from "./watchlist.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */

const DELAY = 300; // after a change, in milliseconds
const LOOK = 1500; // between looks for changes that ComfyUI does not announce
const RETRY = 30_000; // after the server did not answer
const PATIENCE = 3000; // milliseconds, while somebody waits

/** @typedef {import("../values/verdicts.mjs").Model} Model */
/** @typedef {import("./watchlist.mjs").Shown} Shown */

/**
 * @param {Comfy} comfy
 * @returns {{
 *   watch: (stack: Shown) => () => void,
 *   notice: () => void, refresh: () => void, modelOf: (node: GraphNode, input?: string) => Model | null,
 *   promptOf: (node: GraphNode, input?: string) => Promise<import("../stack/insert.mjs").Field | null>,
 *   blocksOf: (node: GraphNode, input: string | undefined, row: unknown) => Promise<import("../blocks/editor.mjs").Layout>,
 * }} `watch` gives the function that ends it. `notice` looks for changes now instead of soon, `refresh` asks anew for
 *   all rows, because files may have changed; `promptOf` and `blocksOf` ask first about the graph as it is
 */
export function createBadges(comfy) {
  const lastRun = lastRunOf(comfy);
  const list = createWatchlist(comfy.app, lastRun);
  const questions = createQuestions(comfy, list);
  const server = createTurns(async () => {
    try {
      return await questions.ask();
    } catch (error) { // offline, restarting, or without our routes: rows without badges are as good as before
      list.showNothing();
      throw error;
    }
  });
  rememberHosts(comfy.app);

  const look = () => {
    if (document.hidden || server.isResting()) return;
    const wasAway = server.isBack();
    if (wasAway) list.askForAll();
    const places = list.placed().map(({ place }) => place);
    const changed = list.noticeRows() || wasAway;
    list.noticeSetting();
    if (list.isEmpty()) stop();
    else if (changed || questions.isOther(places)) server.later();
  };
  const refresh = () => {
    list.askForAll();
    server.isBack();
    if (!list.isEmpty()) server.soon();
  };
  libraryOf(comfy).whenHashed(refresh);
  lastRun.watch(() => {
    list.placed(); // by their ids it is known whose rows were refused
    list.noticeRefusals();
  });
  const watching = createWatching(comfy, { look, refresh });
  const stop = () => {
    watching.stop();
    server.stop();
    questions.forget();
  };
  /** Nodes that tell of changes. */
  const chained = new WeakSet();
  /** @param {GraphNode} node */
  const chain = (node) => {
    if (chained.has(node)) return;
    chained.add(node);
    after(node, "onConnectionsChange", () => { if (!list.isEmpty()) server.later(); });
    after(node, "refreshComboInNode", () => { if (!list.isEmpty()) refresh(); }); // the key r
  };

  return {
    watch(shown) {
      const one = list.add(shown);
      chain(shown.node);
      watching.start();
      server.soon();
      return () => {
        list.remove(one);
        if (list.isEmpty()) stop();
      };
    },
    notice: look,
    refresh,
    blocksOf: (node, input, row) => questions.askBlocks(list.find(node, input), row),
    modelOf: (node, input) => list.find(node, input)?.model ?? null,
    async promptOf(node, input) {
      // Asked again: the graph may have changed since. Where the server is late, it is not known.
      const answered = questions.ask().then(() => true, () => { list.showNothing(); });
      const late = new Promise((resolve) => { window.setTimeout(resolve, PATIENCE); });
      return await Promise.race([answered, late]) ? list.find(node, input)?.prompt ?? null : null;
    },
  };
}

/**
 * Asks one question after another, a while after the last change; after one without an answer not for a longer while.
 * @param {() => Promise<boolean>} ask whether there is more to ask; throws without an answer
 */
function createTurns(ask) {
  let timer = 0;
  let asking = false;
  let again = false;
  let failed = 0;

  const turn = async () => {
    asking = true;
    try {
      if (await ask()) again = true;
      failed = 0;
    } catch {
      failed = Date.now();
    } finally {
      asking = false;
      if (again) soon();
      again = false;
    }
  };
  const soon = () => {
    if (asking) again = true;
    else if (!timer) timer = window.setTimeout(() => { timer = 0; void turn(); }, DELAY);
  };
  const stop = () => {
    window.clearTimeout(timer);
    timer = 0;
  };
  return {
    soon,
    stop,
    /** Counts the delay from now on. */
    later() {
      stop();
      soon();
    },
    isResting: () => failed > 0 && Date.now() - failed < RETRY,
    /** Ends the rest. @returns {boolean} whether there was one */
    isBack() {
      const was = failed > 0;
      failed = 0;
      return was;
    },
  };
}

/**
 * Looks for changes now and then, and when ComfyUI tells of one.
 * @param {Comfy} comfy
 * @param {{look: () => void, refresh: () => void}} todo
 */
function createWatching({ app, api }, { look, refresh }) {
  let timer = 0;
  return {
    start() {
      if (timer) return;
      timer = window.setInterval(look, LOOK);
      api.addEventListener("graphChanged", look);
      api.addEventListener("reconnected", refresh);
      app.canvas?.canvas?.addEventListener("subgraph-opened", look);
    },
    stop() {
      window.clearInterval(timer);
      timer = 0;
      api.removeEventListener("graphChanged", look);
      api.removeEventListener("reconnected", refresh);
      app.canvas?.canvas?.removeEventListener("subgraph-opened", look);
    },
  };
}
