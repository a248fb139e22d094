// @ts-check
/** The line below a row with the trigger words of its LoRA: a press chooses a word or not. */

import { create, icon, ROOT_CLASS, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { chosenWords, isChosen } from "../values/triggers.mjs";
import { ICONS } from "./style.mjs";

/** @typedef {import("../values/triggers.mjs").Word} Word */

/**
 * @typedef {object} WordActions
 * @property {(word: string) => void} choose a word, or not any more
 * @property {(word: string, anchor: HTMLElement | {x: number, y: number}) => void} menu
 * @property {(words: string[]) => void} insert
 */

/** @param {WordActions} actions */
export function createWords(actions) {
  /** @type {string[]} */
  let missing = [];
  let key = "";
  /** @type {HTMLButtonElement[]} */
  let chips = [];
  const list = create("div", { class: "lorchestra-chips", role: "group", "aria-label": t("Trigger words"), "data-capture-wheel": "true" });
  const insert = create("button", {
    type: "button", class: "lorchestra-button lorchestra-insert", onclick: () => actions.insert(missing),
  }, icon(ICONS.add, 10), t("Insert"));
  const element = create("div", { class: "lorchestra-words" }, list, insert);
  list.addEventListener("wheel", (event) => {
    const hasFocus = list.closest(`.${ROOT_CLASS}`)?.contains(document.activeElement); // without it, the wheel is the canvas's
    if (event.ctrlKey || list.scrollWidth <= list.clientWidth || !hasFocus) return;
    list.scrollLeft += event.deltaY || event.deltaX;
    event.preventDefault();
    event.stopPropagation();
  }, { passive: false });
  list.addEventListener("focusin", (event) => /** @type {HTMLElement} */ (event.target).scrollIntoView?.({ block: "nearest", inline: "nearest" }));

  /** @param {string} word */
  const createChip = (word) => {
    const chip = create("button", { type: "button", class: "lorchestra-chip", dir: "auto", text: word, onclick: () => actions.choose(word) });
    chip.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation();
      actions.menu(word, event.clientX || event.clientY ? { x: event.clientX, y: event.clientY } : chip);
    });
    return chip;
  };

  return {
    element,
    /**
     * @param {import("../values/stack.mjs").Row} row
     * @param {Word[] | undefined} words undefined while nothing is known
     */
    show(row, words) {
      const next = JSON.stringify(words?.map(({ word }) => word) ?? null);
      if (next !== key) {
        key = next;
        chips = (words ?? []).map(({ word }) => createChip(word));
        list.replaceChildren(...chips);
        if (!chips.length) list.append(create("span", { class: "lorchestra-quiet", text: words ? t("No trigger words are known") : "…" }));
      }
      (words ?? []).forEach(({ word, present }, index) => {
        const chosen = isChosen(row, word);
        const chip = chips[index];
        setAttribute(chip, "aria-pressed", chosen);
        chip.classList.toggle("lorchestra-chip-missing", chosen && present === false);
        const state = present === null ? t("Whether it is in the prompt is not known") : present ? t("In the prompt") : t("Not in the prompt");
        chip.title = `${word}\n${chosen ? state : t("Not chosen")}`;
      });
      missing = chosenWords(row, words ?? [], (present) => present !== true);
      insert.hidden = !chips.length;
      insert.disabled = !missing.length;
      insert.title = missing.length ? t("Insert into the prompt: {words}", { words: missing.join(", ") }) : t("All chosen words are in the prompt");
      setAttribute(insert, "aria-label", insert.title);
    },
  };
}
