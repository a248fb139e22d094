// @ts-check
/** The filters that only the library has: algorithm, tag, trigger words, broken files and files with the same content. */

import { create, icon } from "../base/dom.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";
import { countWords } from "../values/search.mjs";
import { BROKEN } from "../values/verdicts.mjs";

/** @import { Lora, Entry } from "../values/search.mjs" */

const DOWN = "M4 6l4 4 4-4";
const MOST_ITEMS = 60; // of a menu

/** @type {Record<string, {label: () => string, holds: (lora: Lora) => boolean}>} */
const TOGGLES = {
  words: { label: () => t("Has trigger words"), holds: ({ stated }) => stated },
  broken: { label: () => t("Broken or not a LoRA"), holds: ({ known, kind }) => known && kind !== "lora" || kind === BROKEN },
  twins: { label: () => t("Same content as another file"), holds: ({ twin }) => twin !== null },
};

/**
 * @typedef {object} LibraryFilters
 * @property {HTMLElement} element
 * @property {() => ((lora: Lora) => boolean) | null} filter null where nothing is filtered
 * @property {() => void} clear
 */

/**
 * @param {() => Entry[]} entries
 * @param {() => void} onChange
 * @returns {LibraryFilters}
 */
export function createLibraryFilters(entries, onChange) {
  const chosen = { algorithm: "", tag: "", toggles: new Set(/** @type {string[]} */ ([])) };

  /** @param {string} label @param {(anchor: HTMLElement) => void} open */
  const createChip = (label, open) => {
    const text = create("span", { text: label });
    const element = create("button", {
      type: "button", class: "lorchestra-picker-chip", "aria-haspopup": "menu", onclick: () => open(element),
    }, text, icon(DOWN, 10));
    return { element, text, label };
  };
  /** @param {"algorithm" | "tag"} key @param {string} label @param {(lora: Lora) => string[]} wordsIn */
  const createWordChip = (key, label, wordsIn) => createChip(label, (anchor) => openMenu({
    anchor, label,
    items: [
      { label: t("All"), checked: !chosen[key], run: () => change({ [key]: "" }) },
      "-",
      ...[...countWords(entries(), wordsIn)].slice(0, MOST_ITEMS).map(([word, count]) => ({
        label: word, hint: formatCount(count), checked: chosen[key] === word, run: () => change({ [key]: word }),
      })),
    ],
  }));
  const algorithm = createWordChip("algorithm", t("Algorithm"), (lora) => (lora.algorithm ? [lora.algorithm] : []));
  const tag = createWordChip("tag", t("Tag"), ({ tags }) => tags);
  const more = createChip(t("More"), (anchor) => openMenu({
    anchor, label: t("More"),
    items: Object.entries(TOGGLES).map(([key, { label, holds }]) => ({
      label: label(), checked: chosen.toggles.has(key), hint: formatCount(entries().filter(({ lora }) => holds(lora)).length),
      run() {
        if (!chosen.toggles.delete(key)) chosen.toggles.add(key);
        change({});
      },
    })),
  }));

  const show = () => {
    for (const [chip, value] of /** @type {const} */ ([[algorithm, chosen.algorithm], [tag, chosen.tag]])) {
      chip.text.textContent = value || chip.label;
      chip.element.classList.toggle("lorchestra-picker-chosen", value !== "");
    }
    more.text.textContent = [...chosen.toggles].map((key) => TOGGLES[key].label()).join(", ") || more.label;
    more.element.classList.toggle("lorchestra-picker-chosen", chosen.toggles.size > 0);
  };
  /** @param {Partial<typeof chosen>} changes */
  const change = (changes) => {
    Object.assign(chosen, changes);
    show();
    onChange();
  };

  return {
    element: create("div", { class: "lorchestra-picker-chips", role: "group", "aria-label": t("More filters") },
      algorithm.element, tag.element, more.element),
    filter() {
      if (!chosen.algorithm && !chosen.tag && !chosen.toggles.size) return null;
      return (lora) => (!chosen.algorithm || lora.algorithm === chosen.algorithm) && (!chosen.tag || lora.tags.includes(chosen.tag))
        && [...chosen.toggles].every((key) => TOGGLES[key].holds(lora));
    },
    clear() {
      Object.assign(chosen, { algorithm: "", tag: "", toggles: new Set() });
      show();
    },
  };
}
