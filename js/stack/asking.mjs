// @ts-check
/** Texts whose rows only Python can tell: it is asked, and what it says is what the node applies. */

import { readWhole } from "../exchange/clipboard.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 250; // milliseconds without a change, while somebody types

/**
 * @param {Pick<Comfy, "api">} comfy
 * @param {(text: string, stack: import("../values/stack.mjs").Stack) => void} onAnswer
 */
export function createAsking(comfy, onAnswer) {
  /** @type {string | undefined} the text that Python was asked about last */
  let asked;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  return {
    /** Asks about a text that was not asked about yet. @param {Pick<import("./state.mjs").ListState, "text" | "stack">} state */
    about({ text, stack }) {
      if (!stack.asks) {
        clearTimeout(waiting);
        asked = undefined;
      } else if (text !== asked) {
        clearTimeout(waiting);
        asked = text;
        waiting = setTimeout(async () => onAnswer(text, await readWhole(comfy, text)), PAUSE);
      }
    },
  };
}
