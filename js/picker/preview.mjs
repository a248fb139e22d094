// @ts-check
/** The image beside the picker: what lies beside the LoRA's file, loaded when somebody stays on its row. */

import { create } from "../base/dom.mjs";
import { setting } from "../base/settings.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 120; // on a row before its image is asked for, in milliseconds
const GAP = 6;

/**
 * @typedef {object} Preview
 * @property {HTMLElement} element put it into the pop-up
 * @property {(lora: import("../values/search.mjs").Lora | null, row?: Element | null) => void} show
 * @property {() => void} close
 */

/**
 * @param {Comfy} comfy
 * @param {() => Element} panelOf what it stands beside
 * @returns {Preview}
 */
export function createPreview({ app, api }, panelOf) {
  const width = setting(app, "previewSize");
  const image = create("img", { class: "lorchestra-picker-image", alt: "", draggable: false });
  const caption = create("div", { class: "lorchestra-picker-caption" });
  const element = create("div", {
    class: "lorchestra-picker-preview", style: `width:${width}px`, hidden: true, "aria-hidden": true,
  }, image, caption);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let shown = "";
  /** @type {Element | null} */
  let beside = null;

  const hide = () => {
    shown = "";
    element.hidden = true;
    image.removeAttribute("src");
  };
  const place = () => {
    const panel = panelOf().getBoundingClientRect();
    const right = panel.right + GAP + width <= window.innerWidth;
    const left = right ? panel.right + GAP : panel.left - GAP - width;
    const row = beside?.isConnected ? beside.getBoundingClientRect() : panel;
    element.hidden = left < 0;
    element.style.left = `${left}px`;
    const lowest = window.innerHeight - GAP - element.offsetHeight;
    element.style.top = `${Math.max(Math.min(row.top - 40, lowest), GAP)}px`;
  };
  image.addEventListener("load", () => { if (shown) place(); });
  image.addEventListener("error", () => { if (image.hasAttribute("src")) hide(); });

  return {
    element,
    show(lora, row = null) {
      clearTimeout(timer);
      beside = row;
      if (!lora?.preview || !width) {
        hide();
        return;
      }
      if (lora.name === shown) return;
      timer = setTimeout(() => {
        if (!panelOf().isConnected) return;
        shown = lora.name;
        caption.textContent = lora.title;
        image.src = api.apiURL(`/lorchestra/preview?lora=${encodeURIComponent(lora.name)}`);
      }, PAUSE);
    },
    close: () => clearTimeout(timer),
  };
}
