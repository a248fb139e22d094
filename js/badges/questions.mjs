// @ts-check
/** What the server is asked about LoRA Stacks: the part of the prompt that matters, and the rows that have changed. */

import { rootOf } from "../base/graph.mjs";
import { ask as askServer } from "../base/server.mjs";
import { inWords } from "../base/words.mjs";
import { identitiesOf } from "../saving/identities.mjs";
import { MAX_STACKS } from "../values/limits.mjs";
import { fingerprint, pruned } from "./graph.mjs";
import { completed } from "./inactive.mjs";
import { loraNames } from "./watchlist.mjs";

/** @import { Comfy, Prompt } from "../types.d.ts" */

/** @typedef {import("./places.mjs").Place} Place */
/** @typedef {import("./watchlist.mjs").Watched} Watched */
/** @typedef {{model: import("../values/verdicts.mjs").Model | null, prompt?: import("../stack/insert.mjs").Field | null, rows: import("../values/verdicts.mjs").Badge[]}} Checked a stack, as the server answers */

/**
 * @param {Comfy} comfy
 * @param {ReturnType<typeof import("./watchlist.mjs").createWatchlist>} list
 */
export function createQuestions({ app, api }, list) {
  /** @type {Prompt | null} the part of the prompt that matters, of the graph whose fingerprint is `seen` */
  let prompt = null;
  /** @type {string | undefined} */
  let seen;
  /** One question after the other: a late answer must not be shown in place of a later one. */
  let last = /** @type {Promise<unknown>} */ (Promise.resolve());

  /** @param {Place[]} places */
  const readGraph = async (places) => {
    const now = fingerprint(rootOf(app), places);
    if (now === seen) return;
    seen = now;
    const found = await app.graphToPrompt().then((graph) => graph?.output ?? {}, () => ({}));
    prompt = pruned(completed(found, places), places.map(({ id }) => id));
    list.askForAll();
  };

  const askNow = async () => {
    const there = list.placed();
    if (!there.length) return false;
    await readGraph(there.map(({ place }) => place));
    const asked = there.filter(({ one }) => one.asked === undefined).slice(0, MAX_STACKS).map(({ one }) => one);
    if (!asked.length) return false;
    const stacks = asked.map((one) => ({ node: one.id, loras: (one.asked = one.read()) }));
    const answer = await askServer({ api }, "/lorchestra/check", { prompt, stacks });
    const { stacks: found } = /** @type {{stacks: (Checked | undefined)[]}} */ (answer);
    asked.forEach((one, index) => {
      identitiesOf(app).learn(stacks[index].loras, found[index]?.rows ?? []);
      const isLate = one.read() !== stacks[index].loras || one.id !== stacks[index].node; // then it is asked for again
      if (list.has(one) && !isLate) show(one, found[index]);
    });
    return there.some(({ one }) => one.asked === undefined);
  };

  return {
    /** Whether the graph is another one than was asked about. @param {Place[]} places */
    isOther: (places) => seen === undefined || fingerprint(rootOf(app), places) !== seen,

    /**
     * The blocks of the model that a stack is connected to, and those that the LoRA of a row changes.
     * @param {import("./watchlist.mjs").Watched | undefined} one a stack that is in no graph is connected to nothing
     * @param {unknown} row
     */
    async askBlocks(one, row) {
      await readGraph(list.placed().map(({ place }) => place));
      const answer = await askServer({ api }, "/lorchestra/blocks", { prompt, node: one?.id ?? "", row });
      return /** @type {import("../blocks/editor.mjs").Layout} */ (inWords(/** @type {object} */ (answer)));
    },

    /** The graph is read anew before the next question. */
    forget() {
      seen = undefined;
      prompt = null;
    },

    /**
     * Asks about all stacks that have not been asked about as they are, in one request, and shows the answer.
     * @returns {Promise<boolean>} whether there is more to ask
     */
    ask() {
      const next = last.then(askNow);
      last = next.catch(() => {});
      return next;
    },
  };
}

/**
 * A badge in the user's language.
 * @param {import("../values/verdicts.mjs").Badge} badge as the server gives it
 */
export function inLanguage(badge) {
  return inWords({ ...badge, candidates: badge.candidates.map(inWords) });
}

/** @param {Watched} one @param {Checked | undefined} stack */
function show(one, stack) {
  if (!stack) return;
  one.model = stack.model;
  one.prompt = stack.prompt ?? null;
  const names = loraNames(one.read()) ?? [];
  const rows = stack.rows.map(inLanguage);
  one.known = new Map(rows.map((row, at) => [names[at], row]));
  one.show(rows);
}
