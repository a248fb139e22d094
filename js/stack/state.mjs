// @ts-check
/** What the list is about: the host's text, the rows in it, their badges, and which of its three faces it shows. */

import { textsOf } from "../values/json.mjs";
import { flat, groupsOf, itemsOf, picked, picks } from "../values/groups.mjs";
import { refusalOf } from "../values/problems.mjs";
import { isOn, readStack } from "../values/stack.mjs";
import { GAP, HEAD_HEIGHT, ROW_HEIGHT, TEXT_HEIGHT, TROUBLE_HEIGHT, WORDS_HEIGHT } from "./style.mjs";

/** More rows than these are scrolled. */
export const MOST_ROWS = 20;
const BORDER = 2;

export class ListState {
  /** @type {(import("../values/verdicts.mjs").Badge | undefined)[]} by row; may be out of date */
  badges = [];
  /** Whether the user asked for the text. */
  asText = false;
  /** Whether something was written that is not a step of undo yet. */
  unsettled = false;

  /**
   * @param {() => string} read gives the host's text
   * @param {() => string | undefined} [seed] that groups pick by, if it is known
   */
  constructor(read, seed = () => undefined) {
    this.read = read;
    this.seed = seed;
    this.text = read();
    this.stack = readStack(this.text);
  }

  /** Reads the host's text again if it is another one. */
  refresh() {
    const now = this.read();
    if (now === this.text) return;
    this.text = now;
    this.stack = readStack(now);
  }

  /** @param {string} text @param {import("../values/stack.mjs").Stack} stack what Python read in it */
  learn(text, stack) {
    if (text === this.text) this.stack = stack;
  }

  get rows() {
    return this.stack.rows;
  }

  get groups() {
    return groupsOf(this.stack.more);
  }

  /** The seed, where a group picks by it. */
  get asked() {
    return this.groups.some(picks) ? this.seed() : undefined;
  }

  /** The rows as they act. */
  get flat() {
    return flat(this.stack, this.asked);
  }

  /** Which row each group picks. */
  get picked() {
    const seed = this.asked;
    return seed === undefined ? new Map() : picked(this.stack, seed);
  }

  /** How many rows are on. */
  get on() {
    return this.rows.filter(isOn).length;
  }

  /** A text that cannot be read as rows here is always shown as text. */
  get isText() {
    return this.asText || this.stack.error !== "" || this.stack.notes !== null;
  }

  get isCollapsed() {
    return this.stack.more.collapsed === true && !this.isText;
  }

  /** The LoRAs whose trigger words are shown. */
  get open() {
    return new Set(textsOf(this.stack.more.words));
  }

  /** @returns {number} of the element, in pixels */
  get height() {
    if (this.isCollapsed) return HEAD_HEIGHT;
    return HEAD_HEIGHT + GAP + (this.isText ? TEXT_HEIGHT : this.rowsHeight) + BORDER;
  }

  /** @returns {number} in pixels; a list that scrolls stays as high as it is, whatever is opened in it */
  get rowsHeight() {
    const { flat: acting, open } = this;
    const items = itemsOf(this.stack);
    if (items.length > MOST_ROWS) return MOST_ROWS * ROW_HEIGHT;
    const rows = items.flatMap(({ row }) => (row === undefined ? [] : [row]));
    const refused = rows.filter((row) => refusalOf(acting[row], this.badges[row])).length;
    return Math.max(items.length, 1) * ROW_HEIGHT + refused * TROUBLE_HEIGHT
      + rows.filter((row) => open.has(this.rows[row].lora)).length * WORDS_HEIGHT;
  }
}
