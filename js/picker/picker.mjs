// @ts-check
/** Finds a LoRA among all that are there, in a pop-up beside where it is wanted. */

import { create } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { createBrowser } from "./browser.mjs";
import { ROW_HEIGHT } from "./row.mjs";

/** @import { Comfy } from "../types.d.ts" */

const FEWEST_ROWS = 5; // that the list has room for
const MOST_ROWS = 40;

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {import("../base/popup.mjs").Anchor} options.anchor the picker opens under it
 * @param {string} [options.current] the LoRA that is chosen now
 * @param {import("../values/search.mjs").Model | null} [options.model] what the LoRA is for, as far as it is known by now
 * @param {{lora: string, known: string[]}} [options.like] the LoRA that is replaced, and files that it may be
 * @param {(name: string) => void} options.onChoose called after the picker has closed
 * @param {(names: string[]) => boolean} [options.onAdd] lets people add several, and is called while the picker stays
 *   open; false if there is no room for them
 * @param {() => void} [options.onClose]
 * @returns {{close: () => void, setModel: (model: import("../values/search.mjs").Model | null) => void}}
 */
export function openPicker(comfy, { anchor, current, model, like, onChoose, onAdd, onClose }) {
  let files = 0;
  const fit = () => {
    const isGrid = popup.element.querySelector(".lorchestra-picker-grid") !== null;
    popup.element.classList.toggle("lorchestra-picker-wide", isGrid);
    const rows = Math.max(Math.min(files, MOST_ROWS), FEWEST_ROWS);
    browser.body.style.height = isGrid ? "100vh" : `${rows * ROW_HEIGHT + 2}px`; // the pop-up has less
    popup.place();
  };
  const browser = createBrowser(comfy, {
    current, model, like, onAdd,
    onChoose(names) {
      if (names.length > 1 && !onAdd?.(names)) return;
      popup.close();
      if (names.length === 1) onChoose(names[0]);
    },
    onCount(count) {
      files = count;
      fit();
    },
    onView: () => fit(),
  });
  const popup = openPopup({
    anchor, element: browser.element, label: t("Choose a LoRA"), class: "lorchestra-picker",
    onClose() {
      visualViewport?.removeEventListener("resize", makeRoom);
      browser.close();
      onClose?.();
    },
  });
  popup.element.append(browser.preview);
  browser.search.after(create("button", {
    type: "button", class: "lorchestra-button lorchestra-picker-close", text: "✕", "aria-label": t("Close"), onclick: () => popup.close(),
  }));
  const { visualViewport } = window;
  /** Keeps a sheet above the keyboard on the screen. */
  const makeRoom = () => {
    if (!visualViewport) return;
    const { height, offsetTop, scale } = visualViewport;
    const hidden = scale > 1 ? 0 : Math.max(window.innerHeight - height - offsetTop, 0);
    popup.element.style.setProperty("--lorchestra-keyboard", `${hidden}px`);
  };
  visualViewport?.addEventListener("resize", makeRoom);
  browser.start();
  return { close: popup.close, setModel: browser.setModel };
}
