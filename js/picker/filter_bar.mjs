// @ts-check
/** The chips over the list: what fits the model, one architecture, favourites, recent ones, and the order. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";

const DOWN = "M4 6l4 4 4-4";

/**
 * @typedef {object} Choice what the chips say
 * @property {boolean} fits
 * @property {string | null} family null for all, "" for those whose family is not known
 * @property {boolean} favourites
 * @property {boolean} recent
 * @property {boolean} newest
 */

/**
 * @typedef {object} FilterBar
 * @property {HTMLElement} element
 * @property {() => void} show shows the choice as it is now
 */

/**
 * @param {Choice} choice is changed in place
 * @param {object} options
 * @param {() => import("../values/search.mjs").Model | null} options.model as far as it is known by now
 * @param {() => Map<string, number>} options.families titles and how many there are
 * @param {() => void} options.onChange
 * @returns {FilterBar}
 */
export function createFilterBar(choice, { model, families, onChange }) {
  /** @param {"fits" | "favourites" | "recent" | "newest"} name @param {string} text @param {string} title */
  const createToggle = (name, text, title) => create("button", {
    type: "button", class: "lorchestra-picker-chip", title, "aria-pressed": choice[name],
    onclick() {
      choice[name] = !choice[name];
      if (name === "fits" && choice.fits) choice.family = null;
      onChange();
    },
  }, create("span", { text }));

  const fits = createToggle("fits", "", "");
  const familyText = create("span");
  const family = create("button", {
    type: "button", class: "lorchestra-picker-chip", "aria-haspopup": "menu", onclick: () => openFamilies(),
  }, familyText, icon(DOWN, 10));
  const favourites = createToggle("favourites", t("Favourites"), t("Only LoRAs with a star"));
  const recent = createToggle("recent", t("Recent"), t("The LoRAs chosen most recently"));
  const newest = createToggle("newest", t("Newest first"), t("By file date instead of by name"));
  const element = create("div", {
    class: "lorchestra-picker-chips", role: "group", "aria-label": t("Filters"),
  }, fits, family, favourites, recent, newest);

  /** @param {string | null} title */
  const chooseFamily = (title) => {
    choice.family = title;
    choice.fits = false;
    onChange();
  };
  const openFamilies = () => openMenu({
    anchor: family,
    label: t("Architecture"),
    items: [
      { label: t("All architectures"), checked: choice.family === null && !choice.fits, run: () => chooseFamily(null) },
      "-",
      ...[...families()].map(([title, count]) => ({
        label: title || t("Unknown"), hint: formatCount(count), checked: choice.family === title,
        run: () => chooseFamily(title),
      })),
    ],
  });

  return {
    element,
    show() {
      const title = model()?.title;
      fits.hidden = title === undefined;
      if (title !== undefined) {
        fits.children[0].textContent = t("Fits {model}", { model: title });
        fits.title = t("Only LoRAs that may fit {model}. Those not read yet are shown, too.", { model: title });
      }
      for (const [chip, on] of /** @type {const} */ ([
        [fits, choice.fits], [favourites, choice.favourites], [recent, choice.recent], [newest, choice.newest],
      ])) setAttribute(chip, "aria-pressed", on);
      familyText.textContent = choice.family === null ? t("Architecture") : choice.family || t("Unknown");
      family.classList.toggle("lorchestra-picker-chosen", choice.family !== null);
      family.hidden = !families().size;
    },
  };
}
