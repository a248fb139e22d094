// @ts-check
/** The lines below a row that the last run refused: the sentence, and what can be done about it. */

import { create, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";

/**
 * @typedef {object} TroubleActions
 * @property {() => void} turnOff
 * @property {(anchor: HTMLElement) => void} replace
 * @property {(anchor: HTMLElement) => void} find
 */

/** @param {TroubleActions} actions */
export function createTrouble(actions) {
  const text = create("p", { class: "lorchestra-trouble-text lorchestra-bad", dir: "auto" });
  const button = (/** @type {string} */ words, /** @type {(anchor: HTMLElement) => void} */ run) => {
    const element = create("button", {
      type: "button", class: "lorchestra-button lorchestra-trouble-button", text: words, onclick: () => run(element),
    });
    return element;
  };
  const off = button(t("Turn off"), actions.turnOff);
  const replace = button(t("Replace…"), actions.replace);
  const find = button(t("Find"), actions.find);
  setAttribute(replace, "aria-haspopup", "dialog");
  setAttribute(find, "aria-haspopup", "dialog");
  const element = create("div", { class: "lorchestra-trouble", role: "group" }, text,
    create("div", { class: "lorchestra-trouble-buttons" }, off, replace, find));
  return {
    element,
    /** @param {string} name of the row @param {string} sentence @param {boolean} isMissing whether its file may be found */
    show(name, sentence, isMissing) {
      if (text.textContent !== sentence) text.textContent = text.title = sentence;
      setAttribute(element, "aria-label", t("The last run refused {name}", { name }));
      for (const one of [off, replace, find]) setAttribute(one, "aria-label", `${one.textContent}: ${name}`);
      find.hidden = !isMissing;
    },
  };
}
