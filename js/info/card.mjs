// @ts-check
/** The card of one LoRA: all that its file and the files beside it say, with words to copy and a weight to take over. */

import { writeToClipboard } from "../base/clipboard.mjs";
import { create, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { ask } from "../base/server.mjs";
import { setting } from "../base/settings.mjs";
import { asSentence, t } from "../base/words.mjs";
import { pictureAddress } from "../picker/cell.mjs";
import { splitName } from "../values/numbers.mjs";
import { createDetails } from "./details.mjs";
import { STYLE } from "./style.mjs";

/** @import { Comfy } from "../types.d.ts" */

/**
 * Opens the card. Nothing in it is ever read as HTML.
 * @param {Comfy} comfy
 * @param {object} options
 * @param {import("../base/popup.mjs").Anchor} options.anchor
 * @param {string} options.lora as ComfyUI lists it
 * @param {import("../values/stack.mjs").Row} [options.row] the row's data, if it is a row's card
 * @param {(changes: {model?: number, clip?: number, sha256?: string, air?: string}) => void} [options.onChange] takes
 *   the keys of the row that are to change; without it the card offers nothing to take over
 * @param {() => void} [options.onClose]
 * @returns {{close: () => void}}
 */
export function openInfoCard({ app, api }, { anchor, lora, row, onChange, onClose }) {
  useStyle("info", STYLE);
  const said = create("div", { class: "lorchestra-hidden", role: "status" });
  const body = create("div", { class: "lorchestra-info-body" });
  const { folder, title } = splitName(lora);
  const heading = create("strong", { class: "lorchestra-info-title", text: title, title: lora });
  const card = create("div", { class: "lorchestra-info" },
    create("div", { class: "lorchestra-info-head" },
      create("div", { class: "lorchestra-info-names" }, heading,
        create("span", { class: "lorchestra-quiet lorchestra-info-folder", text: folder, title: lora })),
      create("button", { type: "button", class: "lorchestra-button", text: "✕", "aria-label": t("Close"),
        onclick: () => popup.close() })),
    body, said);
  let open = true;
  const popup = openPopup({
    anchor, element: card, label: t("About {name}", { name: title }),
    onClose: () => { open = false; onClose?.(); },
  });

  const say = (/** @type {string} */ words) => { said.textContent = words; };
  const fetchInfo = async (/** @type {Record<string, string>} */ more = {}) => {
    const info = await ask({ api }, `/lorchestra/info?${new URLSearchParams({ lora, ...more })}`);
    return /** @type {import("./details.mjs").Info} */ (info);
  };
  const load = async () => {
    body.setAttribute("aria-busy", "true");
    body.replaceChildren(create("p", { class: "lorchestra-quiet lorchestra-info-wait", text: t("Reading…") }));
    say(t("Reading…"));
    try {
      const info = await fetchInfo();
      if (!open) return;
      if (info.title && info.title !== title) heading.textContent = info.title;
      body.replaceChildren(createDetails(info, {
        row, onChange, say, copy: (text, button) => copy(text, card, button, say),
        blur: info.nsfw === true && setting(app, "blurNsfw"),
        preview: (number) => pictureAddress({ api }, "preview", lora, number),
        hash: async () => (await fetchInfo({ hash: "1" })).sha256,
      }));
      say(t("About {name}", { name: title }));
    } catch (error) {
      if (!open) return;
      body.replaceChildren(create("div", { class: "lorchestra-info-wait", role: "alert" },
        create("p", { class: "lorchestra-bad", text: asSentence(/** @type {Error} */ (error).message) }),
        create("button", { type: "button", class: "lorchestra-button", text: t("Try again"), onclick: () => void load() })));
      say("");
    }
    body.removeAttribute("aria-busy");
    popup.place();
  };
  void load();
  return { close: popup.close };
}

/**
 * Puts a text into the clipboard and says so.
 * @param {string} text
 * @param {HTMLElement} card that is open over the page
 * @param {HTMLElement} button
 * @param {(words: string) => void} say
 */
async function copy(text, card, button, say) {
  const done = await writeToClipboard(text, card);
  say(done ? t("Copied: {text}", { text }) : t("The browser does not allow copying"));
  button.dataset.copied = String(done);
  setTimeout(() => { delete button.dataset.copied; }, 1200);
}
