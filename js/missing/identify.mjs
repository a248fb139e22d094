// @ts-check
/** What reads all LoRA files for their hashes, and how far it is. */

import { create, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { asSentence, t } from "../base/words.mjs";
import { libraryOf } from "../picker/library.mjs";
import { formatCount } from "../values/numbers.mjs";

/** @import { Comfy } from "../types.d.ts" */

const STYLE = `
.lorchestra-identify { width: 340px; max-width: 100%; padding: 12px; display: flex; flex-direction: column; gap: 8px; }
.lorchestra-identify p { margin: 0; }
.lorchestra-identify progress { width: 100%; height: 8px; accent-color: var(--lorchestra-accent); }
.lorchestra-identify button { align-self: flex-start; }
`;

/**
 * @param {Comfy} comfy
 * @param {import("../base/popup.mjs").Anchor} anchor
 */
export function openIdentify(comfy, anchor) {
  useStyle("identify", STYLE);
  const { listed, refresh, watch, hash } = libraryOf(comfy);
  let problem = "";
  const says = create("p", { role: "status", "aria-live": "polite", class: "lorchestra-quiet" });
  const bar = create("progress", { hidden: true, "aria-label": t("Files that have been read") });
  const button = create("button", {
    type: "button", class: "lorchestra-button", autofocus: true,
    onclick: async () => {
      problem = "";
      await hash(!listed.hashing.total).catch((error) => { problem = asSentence(error.message); });
      show();
    },
  });
  const panel = create("div", { class: "lorchestra-identify" },
    create("p", { text: t("Reads every LoRA file once, in the background, for its SHA-256. Rows then find a file under any name, and saved workflows say which files they mean. Nothing is sent anywhere.") }),
    says, bar, button);
  const show = () => {
    const { done, total } = listed.hashing;
    bar.hidden = !total;
    if (total) Object.assign(bar, { max: total, value: done });
    says.textContent = problem || (total ? t("hashing {done} of {total}", { done: formatCount(done), total: formatCount(total) }) : "");
    says.hidden = !says.textContent;
    button.textContent = total ? t("Stop") : t("Identify all files");
  };
  const stop = watch(show);
  show();
  openPopup({ anchor, element: panel, label: t("Identify all files"), onClose: stop });
  void refresh();
}
