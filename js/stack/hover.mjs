// @ts-check
/** The preview beside the list when the pointer rests on a row's name. */

import { ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { setting } from "../base/settings.mjs";
import { libraryOf } from "../picker/library.mjs";

/** @import { Comfy } from "../types.d.ts" */

const REST = 500; // milliseconds
const GAP = 20; // to the list, so that it does not lie on the node's slots; in pixels
const ENDING = ["pointerdown", "wheel", "keydown"]; // of the window: what ends it besides the pointer's leaving

/**
 * @param {Comfy} comfy
 * @param {HTMLElement} element the list
 * @param {(name: HTMLElement) => string} loraAt the LoRA of a row, by an element that is in it
 */
export function previewRows(comfy, element, loraAt) {
  /** @type {{on: HTMLElement, timer: ReturnType<typeof setTimeout>, close?: () => void} | undefined} */
  let resting;

  const end = () => {
    if (!resting) return;
    clearTimeout(resting.timer);
    resting.close?.();
    resting = undefined;
    for (const kind of ENDING) window.removeEventListener(kind, end, true);
  };

  element.addEventListener("pointerover", (event) => {
    const name = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".lorchestra-name"));
    if (resting?.on === name) return;
    end();
    if (!name || event.pointerType === "touch" || event.buttons || !setting(comfy.app, "previewSize")) return;
    /** @type {NonNullable<typeof resting>} */
    const mine = resting = { on: name, timer: setTimeout(() => void show(), REST) };
    for (const kind of ENDING) window.addEventListener(kind, end, { capture: true, passive: true });
    const show = async () => {
      const [lora, { createPreview }, { STYLE }] = await Promise.all([
        libraryOf(comfy).find(loraAt(name)), import("../picker/preview.mjs"), import("../picker/style.mjs"),
      ]);
      if (resting !== mine || !lora || !name.isConnected) return;
      useStyle("picker", STYLE);
      const preview = createPreview(comfy, () => element, { pause: 0, gap: GAP });
      preview.element.classList.add(ROOT_CLASS);
      document.body.append(preview.element);
      preview.show(lora, name);
      mine.close = () => {
        preview.close();
        preview.element.remove();
      };
    };
  });
  element.addEventListener("pointerleave", end);
}
