// @ts-check
/** Says once, when a workflow has been opened, that LoRAs of it are missing; nothing opens by itself. */

import { create, icon, ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { rootOf } from "../base/graph.mjs";
import { t } from "../base/words.mjs";
import { ICONS } from "../stack/style.mjs";
import { STYLE } from "./style.mjs";
import { survey } from "./survey.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Found } from "./survey.mjs" */

const DELAY = 400; // after a workflow was opened, in milliseconds

/** What has been said on this page: workflows, and what was missing in each. @type {Set<string>} */
const said = new Set();
/** @type {HTMLElement | undefined} */
let notice;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * To be called when a workflow has been loaded; what undo and redo load is none.
 * @param {Comfy} comfy
 */
export function noticeMissing(comfy) {
  if (comfy.app.extensionManager?.workflow?.activeWorkflow?.changeTracker?._restoringState) return;
  closeNotice();
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const root = rootOf(comfy.app);
    const found = await survey(comfy).catch(() => []); // without an answer, rows say it when there is one
    if (root === rootOf(comfy.app)) showNotice(comfy, found);
  }, DELAY);
}

/**
 * Asks anew by what the files of all rows are known, also of rows that are nowhere to be seen, so that they are saved.
 * @param {Comfy} comfy
 */
export async function learnAll(comfy) {
  await survey(comfy).catch(() => []);
}

/** @param {Comfy} comfy @param {Found[]} found */
function showNotice(comfy, found) {
  const missing = found.filter((one) => one.missing && one.counts);
  const key = `${rootOf(comfy.app).id} ${missing.map(({ row }) => row.lora).sort().join("\n")}`;
  if (!missing.length || said.has(key)) return;
  said.add(key);
  useStyle("missing", STYLE);
  closeNotice();
  const count = missing.length;
  const text = count === 1 ? t("1 LoRA of this workflow is missing") : t("{count} LoRAs of this workflow are missing", { count });
  notice = create("div", { class: `${ROOT_CLASS} lorchestra-notice`, role: "region", "aria-label": t("Missing LoRAs") },
    create("span", { class: "lorchestra-notice-picture" }, icon(ICONS.missing, 16)),
    create("span", { class: "lorchestra-notice-text", role: "status", text }),
    create("button", {
      type: "button", class: "lorchestra-button", text: t("Find…"), "aria-haspopup": "dialog",
      onclick: () => {
        closeNotice();
        void showMissing(comfy, found);
      },
    }),
    create("button", { type: "button", class: "lorchestra-missing-close", "aria-label": t("Dismiss"), title: t("Dismiss"), onclick: closeNotice },
      icon(ICONS.cross, 12)));
  notice.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") closeNotice();
  });
  document.body.append(notice);
}

function closeNotice() {
  notice?.remove();
  notice = undefined;
}

/**
 * Opens the dialog for the workflow that is shown.
 * @param {Comfy} comfy
 * @param {Found[]} [found] what is known already
 */
export async function showMissing(comfy, found) {
  closeNotice();
  const { openMissing } = await import("./dialog.mjs");
  openMissing(comfy, { found });
}
