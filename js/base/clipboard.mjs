// @ts-check
/** Writing to the clipboard, also on pages that have no secure connection: those have only the old way. */

import { create, ROOT_CLASS } from "./dom.mjs";

/**
 * @param {string} text
 * @param {HTMLElement} [within] where a text may be selected: what is open over the page, if anything
 * @returns {Promise<boolean>} whether the clipboard has it
 */
export async function writeToClipboard(text, within = document.body) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const area = create("textarea", { class: `${ROOT_CLASS} lorchestra-hidden`, value: text, "aria-hidden": true });
    within.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus?.({ preventScroll: true });
    return done;
  }
}
