// @ts-check
/** Asks what becomes of rows that another program cannot know, because they have no AIR. */

import { create, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { t } from "../base/words.mjs";

const MOST = 6; // names that are shown
const STYLE = `
.lorchestra-unnamed { padding: 10px 12px; max-width: 340px; display: grid; gap: 8px; }
.lorchestra-unnamed p { margin: 0; overflow-wrap: anywhere; }
.lorchestra-unnamed-choices { display: flex; flex-wrap: wrap; gap: 6px; }
`;

/** Rows are copied by their names, or left out. @typedef {"names" | "out"} Choice */

/**
 * @param {Element} anchor
 * @param {string[]} names of the rows
 * @param {boolean} some whether other rows are left
 * @returns {Promise<Choice | null>} null if neither is wanted
 */
export function askAboutNames(anchor, names, some) {
  useStyle("unnamed", STYLE);
  return new Promise((resolve) => {
    /** @param {Choice} choice */
    const choose = (choice) => () => {
      resolve(choice);
      popup.close();
    };
    const summary = names.length === 1 ? t("1 row has no AIR:") : t("{count} rows have no AIR:", { count: names.length });
    const shown = names.length > MOST ? [...names.slice(0, MOST - 1), "…"] : names;
    const button = (/** @type {string} */ text, /** @type {Choice} */ choice, disabled = false) =>
      create("button", { type: "button", class: "lorchestra-button", text, disabled, onclick: choose(choice) });
    const panel = create("div", { class: "lorchestra-unnamed" },
      create("p", { text: summary }), create("p", { class: "lorchestra-quiet", text: shown.join(", ") }),
      create("div", { class: "lorchestra-unnamed-choices" },
        button(t("Copy names"), "names"), button(t("Leave them out"), "out", !some)));
    const popup = openPopup({ anchor, element: panel, label: summary, onClose: () => resolve(null) });
  });
}
