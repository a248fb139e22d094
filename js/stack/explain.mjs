// @ts-check
/** What a row's badge says in full; for a LoRA that is not there, the files that it may be. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { ask } from "../base/server.mjs";
import { asSentence, inWords, t } from "../base/words.mjs";
import { FITS, MISSING } from "../values/verdicts.mjs";
import { BADGES, stateWord } from "./row.mjs";
import { ICONS } from "./style.mjs";

/** @import { Comfy } from "../types.d.ts" */

/** @import { Candidate } from "../values/verdicts.mjs" */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {HTMLElement} options.anchor
 * @param {import("../values/stack.mjs").Row} options.row
 * @param {import("../values/verdicts.mjs").Badge} options.badge
 * @param {boolean} [options.searches] whether all files are searched at once
 * @param {(file: Candidate) => void} options.onChoose takes the file that the row is to name
 * @param {() => void} options.onPick opens the picker
 * @param {() => void} options.onInfo opens the card
 */
export function openExplanation(comfy, { anchor, row, badge, searches = false, onChoose, onPick, onInfo }) {
  const missing = badge.state === MISSING;
  /** @type {import("../base/popup.mjs").Popup | undefined} */
  let popup;
  const sha256 = row.sha256 ?? badge.sha256;
  const air = row.air ?? badge.air;
  const result = create("div", { class: "lorchestra-find-buttons", "aria-live": "polite" });
  const facts = create("dl", {});
  for (const [label, value] of [[t("File"), row.lora], ["AIR", air], ["SHA256", sha256]]) {
    if (value && (missing || label !== t("File"))) facts.append(create("dt", { class: "lorchestra-quiet", text: label }), create("dd", { text: value }));
  }
  if (missing && badge.page) {
    const link = create("a", { href: badge.page, target: "_blank", rel: "noopener", referrerPolicy: "no-referrer", text: badge.page });
    facts.append(create("dt", { class: "lorchestra-quiet", text: t("Page") }), create("dd", {}, link));
  }
  const button = (/** @type {string} */ text, /** @type {() => void} */ run) =>
    create("button", { type: "button", class: "lorchestra-button", text, onclick: run });
  const close = (/** @type {() => void} */ then) => () => {
    popup?.close();
    then();
  };
  const showFound = (/** @type {Candidate[]} */ found, /** @type {string} */ none) => {
    const best = found.find(({ state }) => state === FITS);
    result.replaceChildren(...found.map((file) => create("button", {
      type: "button", class: "lorchestra-button lorchestra-find-found", title: file.why, autofocus: file === best,
      onclick: close(() => onChoose(file)),
    }, file.state ? markOf(file.state) : null, create("span", { text: file.name, dir: "auto" }),
    create("span", { class: "lorchestra-quiet", text: ` ${file.why}` }))));
    if (!found.length && none) result.append(create("span", { class: "lorchestra-quiet", text: none }));
    popup?.place();
  };
  const find = async () => {
    result.replaceChildren(create("span", { class: "lorchestra-quiet", text: t("Searching all files…") }));
    try {
      const answer = await ask(comfy, "/lorchestra/find", { lora: row.lora, sha256, air, deep: true });
      const { candidates } = /** @type {{candidates: Candidate[]}} */ (answer);
      showFound(candidates.map(inWords), t("There is no file with this name, AIR or hash."));
    } catch (error) {
      result.replaceChildren(create("span", { class: "lorchestra-bad", text: asSentence(/** @type {Error} */ (error).message) }));
    }
  };
  const panel = create("div", { class: "lorchestra-find" },
    create("p", { text: badge.sentence || stateWord(badge.state) }),
    facts.childElementCount > 0 && facts,
    result,
    create("div", { class: "lorchestra-find-buttons" },
      missing && button(t("Search all files"), () => void find()),
      button(t("Choose another…"), close(onPick)),
      !missing && button(t("Info…"), close(onInfo))));
  if (missing) showFound(badge.candidates ?? [], ""); // before it opens, so that the one that fits gets the focus
  popup = openPopup({ anchor, element: panel, label: stateWord(badge.state) });
  if (searches) void find();
}

/** @param {import("../values/verdicts.mjs").State} state @returns {HTMLElement} whether a candidate fits */
function markOf(state) {
  const [picture, colour] = BADGES[state];
  const mark = create("span", { class: `lorchestra-find-mark lorchestra-${colour}`, role: "img", title: stateWord(state) }, icon(ICONS[picture], 13));
  setAttribute(mark, "aria-label", stateWord(state));
  return mark;
}
