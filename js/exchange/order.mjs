// @ts-check
/** Asks what the first of two weights in a `<lora:name:a:b>` tag is, which programs have in either order. */

import { create, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { formatWeight, splitName } from "../values/numbers.mjs";
import { clipWeight, modelWeight } from "../values/stack.mjs";

/** @typedef {"te-first" | "model-first"} Order */

const WIDTH = 340;
const STYLE = `
.lorchestra-order { padding: 10px 12px; width: ${WIDTH}px; max-width: 100%; display: grid; gap: 8px; }
.lorchestra-order p { margin: 0; overflow-wrap: anywhere; }
.lorchestra-order button { text-align: start; }
`;

/**
 * @param {import("../values/stack.mjs").Row} row that has two weights, read with that of the text encoders first
 * @returns {Promise<Order | null>} null if nothing is to be pasted
 */
export function askAboutOrder(row) {
  useStyle("order", STYLE);
  const [first, second] = [clipWeight(row) ?? modelWeight(row), modelWeight(row)].map(formatWeight);
  return new Promise((resolve) => {
    const button = (/** @type {Order} */ order, /** @type {string} */ text, /** @type {string} */ programs) => create("button", {
      type: "button", class: "lorchestra-button", onclick: () => {
        resolve(order);
        popup.close();
      },
    }, create("span", { text }), create("span", { class: "lorchestra-quiet", text: ` ${programs}` }));
    const question = t("Which number is the model's?");
    const panel = create("div", { class: "lorchestra-order" },
      create("p", { text: question }),
      create("p", { class: "lorchestra-quiet", dir: "auto", text: `${splitName(row.lora).title}:${first}:${second}` }),
      button("te-first", t("The second: model {model}, CLIP {clip}", { model: second, clip: first }), "A1111, Forge"),
      button("model-first", t("The first: model {model}, CLIP {clip}", { model: first, clip: second }), "SwarmUI, LoRA-Manager"),
      create("p", { class: "lorchestra-quiet", text: t("This is remembered, and can be changed in the settings.") }));
    const anchor = { x: (window.innerWidth - WIDTH) / 2, y: window.innerHeight / 3 };
    const popup = openPopup({ anchor, element: panel, label: question, onClose: () => resolve(null) });
  });
}
