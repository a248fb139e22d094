// @ts-check
/** One line of the picker: the file's name, its folder, what it is for, and a star. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { fitOf, foundBy } from "../values/search.mjs";
import { BROKEN, MISFIT } from "../values/verdicts.mjs";

export const ROW_HEIGHT = 28;
const WHOLE = 24; // letters of a text that is not cut in two
const END = 12; // letters of its end that stay
export const STAR = "M8 1.8l1.9 3.9 4.3.6-3.1 3 .7 4.3L8 11.6l-3.8 2 .7-4.3-3.1-3 4.3-.6z";

export const PLUS = "M8 3v10M3 8h10";
export const CHECK = "M3 8.5l3.5 3.5L13 4.5";

/**
 * @param {boolean} several whether it can be added while the picker stays open
 * @returns {HTMLElement}
 */
export function createRow(several) {
  return create("div", { class: "lorchestra-picker-row", role: "option" },
    create("span", { class: "lorchestra-picker-name lorchestra-picker-cut", dir: "auto" }, create("span"), create("span")), " ",
    create("span", { class: "lorchestra-picker-where lorchestra-picker-cut lorchestra-quiet", dir: "auto" },
      create("span"), create("span")), " ",
    create("span", { class: "lorchestra-picker-family" }),
    create("span", { class: "lorchestra-picker-star" }, icon(STAR)),
    several && create("span", { class: "lorchestra-picker-add", title: t("Add and leave open (Ctrl+Enter)") }, icon(PLUS), icon(CHECK)));
}

/**
 * @typedef {object} Shown
 * @property {string} id
 * @property {number} index
 * @property {number} count
 * @property {boolean} active
 * @property {boolean} selected
 * @property {boolean} added since the picker was opened
 * @property {boolean} current whether it is the LoRA that the row of the stack has now
 * @property {boolean} favourite
 * @property {string[]} words what was searched for
 * @property {string} folder the chosen one, which need not be said again
 * @property {import("../values/search.mjs").Model | null} model
 */

/**
 * @param {HTMLElement} row
 * @param {import("../values/search.mjs").Entry} entry
 * @param {Shown} shown
 */
export function showRow(row, entry, shown) {
  const { lora } = entry;
  const [name, where, family, star] = /** @type {HTMLElement[]} */ ([...row.children]);
  const found = foundBy(entry, shown.words);
  const fit = fitOf(lora, shown.model);
  const said = familyOf(lora);

  row.id = shown.id;
  row.title = describe(lora, said.title);
  row.classList.remove("lorchestra-picker-unusable");
  setAttribute(row, "aria-disabled", null);
  row.classList.toggle("lorchestra-picker-active", shown.active);
  row.classList.toggle("lorchestra-picker-selected", shown.selected && !shown.active);
  row.classList.toggle("lorchestra-picker-added", shown.added);
  row.classList.toggle("lorchestra-picker-current", shown.current);
  row.classList.toggle("lorchestra-picker-misfit", fit === MISFIT);
  setAttribute(row, "aria-selected", shown.selected);
  setAttribute(row, "aria-posinset", shown.index + 1);
  setAttribute(row, "aria-setsize", shown.count);
  const inside = entry.folder.slice(shown.folder.length).replace(/\/$/, "");
  const beside = where.hidden ? "" : found ? `“${found}”` : inside;
  setAttribute(row, "aria-label", [ // first what is seen, in its order
    entry.file, beside, said.text === "…" ? "" : said.text, where.hidden && found, inside !== beside && inside, shown.favourite && t("favourite"),
    shown.current && t("in use"), shown.added && t("added"), fit === MISFIT && t("does not fit {model}", { model: shown.model?.title ?? "" }),
  ].filter(Boolean).join(", "));

  showCut(name, entry.file);
  showCut(where, found ? `“${found}”` : inside);
  family.textContent = said.text;
  family.classList.toggle("lorchestra-picker-unread", !lora.known);
  star.classList.toggle("lorchestra-picker-starred", shown.favourite);
  star.title = shown.favourite ? t("Remove from favourites (Ctrl+F)") : t("Add to favourites (Ctrl+F)");
}

/**
 * A file that is there and cannot be chosen, with the reason.
 * @param {HTMLElement} row
 * @param {import("../values/search.mjs").Unusable} file
 * @param {Pick<Shown, "id" | "index" | "count">} shown
 */
export function showUnusable(row, file, shown) {
  const [name, where, family, star] = /** @type {HTMLElement[]} */ ([...row.children]);
  const why = WHY[file.problem]?.() ?? file.why;
  row.id = shown.id;
  row.title = `${file.name}\n${why}`;
  row.classList.remove("lorchestra-picker-active", "lorchestra-picker-selected", "lorchestra-picker-current",
    "lorchestra-picker-added", "lorchestra-picker-misfit");
  row.classList.add("lorchestra-picker-unusable");
  setAttribute(row, "aria-disabled", true);
  setAttribute(row, "aria-selected", false);
  setAttribute(row, "aria-posinset", shown.index + 1);
  setAttribute(row, "aria-setsize", shown.count);
  setAttribute(row, "aria-label", `${file.name}, ${why}, ${t("cannot be used")}`);
  showCut(name, file.name);
  showCut(where, why);
  family.textContent = t("cannot be used");
  family.classList.remove("lorchestra-picker-unread");
  star.classList.remove("lorchestra-picker-starred");
}

/** @type {Record<string, () => string>} by the server's word */
const WHY = {
  length: () => t("Its name is too long, or blank; rename the file."),
  characters: () => t("Its name has a line break or bytes that are not text; rename the file."),
};

/**
 * @param {import("../values/search.mjs").Lora} lora
 * @returns {{text: string, title: string}} what it is for, in short and in words
 */
function familyOf(lora) {
  if (!lora.known) return { text: "…", title: t("The file has not been read yet.") };
  if (lora.kind === "unreadable") return { text: t("unreadable"), title: t("The file cannot be read.") };
  if (lora.kind === BROKEN) return { text: t("broken"), title: t("The LoRA cannot be applied.") };
  if (lora.kind && lora.kind !== "lora") return { text: t("not a LoRA"), title: t("The file is not a LoRA.") };
  if (!lora.family.length) return { text: "?", title: t("It is not known which model it is for.") };
  return { text: lora.family[0], title: t("For {families}.", { families: lora.family.join(", ") }) };
}

/**
 * @param {import("../values/search.mjs").Lora} lora
 * @param {string} family
 */
function describe(lora, family) {
  return [lora.name, lora.title, family, triggersInWords(lora)].filter(Boolean).join("\n");
}

/**
 * @param {import("../values/search.mjs").Lora} lora
 * @returns {string} "" without any
 */
export function triggersInWords({ triggers, stated }) {
  if (!triggers.length) return "";
  const words = triggers.join(", ");
  return stated ? t("Trigger words: {words}", { words }) : t("Frequent training tags: {words}", { words });
}

/**
 * Shows a text in two parts, of which the first one is cut where there is no room, so that the end can be read.
 * @param {HTMLElement} element
 * @param {string} text
 */
function showCut(element, text) {
  if (element.textContent === text) return;
  const [start, end] = element.children;
  const at = text.length > WHOLE ? endOf(text) : text.length;
  start.textContent = text.slice(0, at);
  end.textContent = text.slice(at);
}

/**
 * Where the end of a text starts, without cutting what is one sign to people, such as a flag.
 * @param {string} text
 */
function endOf(text) {
  const tail = text.slice(-2 * END);
  // eslint-disable-next-line no-control-regex
  if (/^[\x00-\x7f]*$/.test(tail)) return text.length - END;
  let at = text.length;
  for (const part of partsOf(tail).slice(1).reverse()) {
    if (text.length - at + part.length > END) break;
    at -= part.length;
  }
  return at;
}

/** @type {Intl.Segmenter | undefined} */
let segmenter;

/** @param {string} text */
function partsOf(text) {
  if (!globalThis.Intl?.Segmenter) return Array.from(text);
  segmenter ??= new Intl.Segmenter();
  return [...segmenter.segment(text)].map((part) => part.segment);
}
