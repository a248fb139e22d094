// @ts-check
/** The chips over the list: what fits the model, one architecture, favourites, recent ones, the order, list or grid. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";
import { ORDERS } from "../values/search.mjs";

const DOWN = "M4 6l4 4 4-4";
const GRID = "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z";

/** @type {Record<import("../values/search.mjs").Order, () => string>} */
const ORDER_WORDS = {
  name: () => t("By name"),
  newest: () => t("Newest first"),
  "last-used": () => t("Last used first"),
  "most-used": () => t("Most used first"),
  size: () => t("Largest first"),
};

/**
 * @typedef {object} Choice what the chips say
 * @property {boolean} fits
 * @property {string | null} family null for all, "" for those whose family is not known
 * @property {boolean} favourites
 * @property {boolean} recent
 * @property {import("../values/search.mjs").Order} order
 * @property {"list" | "grid"} view
 * @property {import("./cell.mjs").PictureSize} size of pictures
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
 * @param {() => void} options.onArrange another order, view or size
 * @returns {FilterBar}
 */
export function createFilterBar(choice, { model, families, onChange, onArrange }) {
  /** @param {"fits" | "favourites" | "recent"} name @param {string} text @param {string} title */
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
  const orderText = create("span");
  const order = create("button", {
    type: "button", class: "lorchestra-picker-chip", "aria-haspopup": "menu", onclick: () => openArrangement(),
  }, orderText, icon(DOWN, 10));
  const grid = create("button", {
    type: "button", class: "lorchestra-picker-chip lorchestra-picker-view", title: t("Show as grid"), "aria-label": t("Show as grid"),
    onclick: () => arrange({ view: choice.view === "grid" ? "list" : "grid" }),
  }, icon(GRID));
  const element = create("div", {
    class: "lorchestra-picker-chips", role: "group", "aria-label": t("Filters"),
  }, fits, family, favourites, recent, order, grid);

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

  /** @param {Partial<Choice>} change */
  const arrange = (change) => {
    Object.assign(choice, change);
    onArrange();
  };
  const openArrangement = () => openMenu({
    anchor: order,
    label: t("Order and view"),
    items: [
      ...ORDERS.map((one) => ({
        label: ORDER_WORDS[one](), checked: choice.order === one, run: () => arrange({ order: one }),
      })),
      "-",
      { label: t("View"), choices: [
        { label: t("List"), checked: choice.view === "list", run: () => arrange({ view: "list" }) },
        { label: t("Grid"), checked: choice.view === "grid", run: () => arrange({ view: "grid" }) },
      ] },
      choice.view === "grid" && { label: t("Pictures"), choices: [
        { label: t("Small"), checked: choice.size === "small", run: () => arrange({ size: "small" }) },
        { label: t("Medium"), checked: choice.size === "medium", run: () => arrange({ size: "medium" }) },
        { label: t("Large"), checked: choice.size === "large", run: () => arrange({ size: "large" }) },
      ] },
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
        [fits, choice.fits], [favourites, choice.favourites], [recent, choice.recent], [grid, choice.view === "grid"],
      ])) setAttribute(chip, "aria-pressed", on);
      familyText.textContent = choice.family === null ? t("Architecture") : choice.family || t("Unknown");
      family.classList.toggle("lorchestra-picker-chosen", choice.family !== null);
      family.hidden = !families().size;
      orderText.textContent = ORDER_WORDS[choice.order]();
      setAttribute(order, "aria-label", t("Order: {order}", { order: ORDER_WORDS[choice.order]() }));
    },
  };
}
