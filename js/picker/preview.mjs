// @ts-check
/**
 * The image beside a list of LoRAs, with the trigger words under it: what lies beside the LoRA's file, loaded when the
 * pointer or the focus stays on its row.
 */

import { create } from "../base/dom.mjs";
import { setting } from "../base/settings.mjs";
import { pictureAddress } from "./cell.mjs";
import { triggersInWords } from "./row.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 120; // on a row before its image is asked for, in milliseconds
const GAP = 6;

/**
 * @typedef {object} Preview
 * @property {HTMLElement} element put it into the pop-up
 * @property {(lora: import("../values/search.mjs").Lora | null, row?: Element | null) => void} show
 * @property {(by: 1 | -1) => boolean} step to the next picture or the one before; false where there is no other
 * @property {() => void} close
 */

/**
 * @param {Comfy} comfy
 * @param {() => Element} panelOf what it stands beside
 * @param {{pause?: number, gap?: number}} [options] on a row before it is shown, in milliseconds; to the panel, in pixels
 * @returns {Preview}
 */
export function createPreview({ app, api }, panelOf, { pause = PAUSE, gap = GAP } = {}) {
  const width = setting(app, "previewSize");
  const image = create("img", { class: "lorchestra-picker-image", alt: "", draggable: false });
  const title = create("div");
  const count = create("div", { class: "lorchestra-quiet lorchestra-picker-count" });
  const triggers = create("div", { class: "lorchestra-quiet" });
  const caption = create("div", { class: "lorchestra-picker-caption", dir: "auto" }, count, title, triggers);
  const element = create("div", {
    class: "lorchestra-picker-preview", style: `width:${width}px`, hidden: true, "aria-hidden": true,
  }, image, caption);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let shown = "";
  let images = 0;
  let number = 0;
  /** @type {Element | null} */
  let beside = null;

  const hide = () => {
    shown = "";
    element.hidden = true;
    image.removeAttribute("src");
  };
  const place = () => {
    const panel = panelOf().getBoundingClientRect();
    const right = panel.right + gap + width <= window.innerWidth;
    const left = right ? panel.right + gap : panel.left - gap - width;
    const row = beside?.isConnected ? beside.getBoundingClientRect() : panel;
    element.hidden = left < 0;
    element.style.left = `${left}px`;
    const lowest = window.innerHeight - GAP - element.offsetHeight;
    element.style.top = `${Math.max(Math.min(row.top - 40, lowest), GAP)}px`;
  };
  image.addEventListener("load", () => { if (shown) place(); });
  image.addEventListener("error", () => {
    if (!image.hasAttribute("src")) return;
    if (triggers.textContent) image.hidden = true;
    else hide();
  });

  /** Shows a picture of the LoRA that is shown. @param {number} next */
  const showNumber = (next) => {
    number = next;
    count.textContent = images > 1 ? `${number + 1} / ${images}` : "";
    image.src = number ? pictureAddress({ api }, "preview", shown, number) : api.apiURL(`/lorchestra/preview?lora=${encodeURIComponent(shown)}`);
  };

  return {
    element,
    step(by) {
      if (!shown || images < 2 || image.hidden) return false;
      showNumber((number + by + images) % images);
      return true;
    },
    show(lora, row = null) {
      clearTimeout(timer);
      beside = row;
      if (!width || !(lora?.preview || lora?.triggers.length)) {
        hide();
        return;
      }
      if (lora.name === shown) return;
      timer = setTimeout(() => {
        if (!panelOf().isConnected) return;
        shown = lora.name;
        title.textContent = lora.title;
        triggers.textContent = triggersInWords(lora);
        image.hidden = !lora.preview;
        image.classList.toggle("lorchestra-blurred", lora.nsfw && setting(app, "blurNsfw"));
        images = lora.images;
        count.textContent = "";
        if (lora.preview) showNumber(0);
        else place();
      }, pause);
    },
    close: () => clearTimeout(timer),
  };
}
