// @ts-check
/** Finds a LoRA among all that are there: by words, folders, architecture, favourites and recent ones. */

import { create, setAttribute, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { setting } from "../base/settings.mjs";
import { asSentence, t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";
import { countFamilies, newestFirst, select, selectUnusable, wordsOf } from "../values/search.mjs";
import { favouritesOf } from "./favourites.mjs";
import { createFilterBar } from "./filter_bar.mjs";
import { createFolderTree } from "./folder_tree.mjs";
import { libraryOf } from "./library.mjs";
import { createPreview } from "./preview.mjs";
import { createRow, ROW_HEIGHT, showRow, showUnusable } from "./row.mjs";
import { STYLE } from "./style.mjs";
import { createVirtualList } from "./virtual_list.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @typedef {import("../values/search.mjs").Model} Model */

const FEWEST_ROWS = 5; // that the list has room for
const MOST_ROWS = 40;
const EXTENDING = ["ArrowDown", "ArrowUp", "PageDown", "PageUp"]; // with Shift; Home and End are the search field's

let opened = 0;
let newest = false; // as it was left, until the page is closed

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {import("../base/popup.mjs").Anchor} options.anchor the picker opens under it
 * @param {string} [options.current] the LoRA that is chosen now
 * @param {Model | null} [options.model] what the LoRA is for, as far as it is known by now
 * @param {(name: string) => void} options.onChoose called after the picker has closed
 * @param {(names: string[]) => boolean} [options.onAdd] lets people add several, and is called while the picker stays
 *   open; false if there is no room for them
 * @param {() => void} [options.onClose]
 * @returns {{close: () => void, setModel: (model: Model | null) => void}} `setModel` tells what is known later
 */
export function openPicker(comfy, { anchor, current = "", model = null, onChoose, onAdd, onClose }) {
  useStyle("picker", STYLE);
  const id = `lorchestra-picker-${opened += 1}`;
  const { listed, refresh, retry, watch, hash } = libraryOf(comfy);
  const favourites = favouritesOf(comfy);
  /** @type {Model | null} */
  let target = null;
  const choice = {
    query: "", folder: "", fits: false,
    family: /** @type {string | null} */ (null), favourites: false, recent: false, newest,
  };
  /** @type {import("../values/search.mjs").Entry[]} */
  let found = [];
  /** @type {import("../values/search.mjs").Unusable[]} what stands behind them and cannot be chosen */
  let unusable = [];
  let active = -1;
  /** The other end of the range that is selected; -1 if it is the active one alone. */
  let from = -1;
  /** @type {Set<string>} what was added since it was opened */
  const added = new Set();
  /** Whether the user has filtered or moved. */
  let touched = false;
  let closed = false;
  /** The list that is shown, and what follows from it. */
  let known = { entries: listed.entries, byDate: newestFirst([]), families: countFamilies(listed.entries) };

  const search = create("input", {
    class: "lorchestra-field lorchestra-picker-search", type: "text", placeholder: t("Find a LoRA…"),
    autocomplete: "off", spellcheck: false, autofocus: true, role: "combobox", "aria-label": t("Find a LoRA"),
    "aria-expanded": true, "aria-controls": `${id}-list`, "aria-autocomplete": "list", "aria-haspopup": "listbox",
  });
  const list = createVirtualList({
    rowHeight: ROW_HEIGHT,
    class: "lorchestra-picker-list",
    properties: {
      role: "listbox", id: `${id}-list`, "aria-label": t("LoRAs"), tabIndex: -1, "aria-multiselectable": onAdd ? true : null,
    },
    createRow: () => createRow(onAdd !== undefined),
    showRow: (row, index) => index >= found.length ? showUnusable(row, unusable[index - found.length], {
      id: `${id}-${index}`, index, count: found.length + unusable.length,
    }) : showRow(row, found[index], {
      id: `${id}-${index}`, index, count: found.length + unusable.length, active: index === active,
      selected: isSelected(index), current: nameAt(index) === current, added: added.has(nameAt(index)), favourite: favourites.has(nameAt(index)), words: wordsOf(choice.query), folder: choice.folder, model: target,
    }),
  });
  const tree = createFolderTree(id, (folder) => {
    touched = true;
    choice.folder = folder;
    update(0);
  });
  const families = () => known.families;
  const bar = createFilterBar(choice, {
    model: () => target, families,
    onChange() {
      touched = true;
      update(0);
      search.focus();
    },
  });
  const says = create("div", { class: "lorchestra-picker-says", hidden: true, "aria-live": "polite" });
  const status = create("span", { role: "status", "aria-live": "polite" });
  const hint = create("span", { class: "lorchestra-quiet" });
  const unkept = create("div", { class: "lorchestra-picker-unkept lorchestra-warn", hidden: true });
  const body = create("div", { class: "lorchestra-picker-body" }, tree.element, list.element, says);
  const panel = create("div", { class: "lorchestra-picker-panel" },
    create("div", { class: "lorchestra-picker-top" }, search), bar.element, body, unkept,
    create("div", { class: "lorchestra-picker-foot" }, status, hint));
  const preview = createPreview(comfy, () => panel);

  /** @param {number} index */
  const nameAt = (index) => found[index]?.lora.name ?? "";

  /** @param {typeof choice} chosen */
  const filterOf = (chosen) => ({
    query: chosen.query,
    folder: chosen.folder,
    fits: chosen.fits ? target : null,
    family: chosen.family,
    favourite: chosen.favourites ? favourites.has : null,
    recent: chosen.recent ? favourites.recent() : null,
    before: chosen.newest ? [] : favourites.recent(),
  });

  /** The first and the last of the rows that are selected. @returns {[number, number]} */
  const range = () => (from < 0 ? [active, active] : [Math.min(from, active), Math.max(from, active)]);
  /** @param {number} index */
  const isSelected = (index) => index >= range()[0] && index <= range()[1];

  const inOrder = () => {
    if (!choice.newest) return known.entries;
    if (known.byDate.length !== known.entries.length) known.byDate = newestFirst(known.entries);
    return known.byDate;
  };

  /**
   * Shows what the filters leave.
   * @param {number | string} next the row that is active then, by number, or by name where it is still there
   * @param {"nearest" | "center" | "stay"} [place] where it is scrolled to
   */
  const update = (next, place) => {
    newest = choice.newest;
    from = -1;
    if (!listed.folders.has(choice.folder)) choice.folder = "";
    const result = select(inOrder(), filterOf(choice));
    found = result.found;
    unusable = selectUnusable(listed.unusable, filterOf(choice));
    const same = typeof next === "string" ? found.findIndex((entry) => entry.lora.name === next) : next;
    const fallback = typeof next === "string" ? Math.max(active, 0) : 0;
    active = Math.min(same < 0 ? fallback : same, found.length - 1);
    bar.show();
    tree.show(listed.folders, result.counts, choice.folder);
    showMessage();
    list.show(found.length + unusable.length);
    sayCount();
    showActive(place);
  };

  /** @param {"nearest" | "center" | "stay"} [place] */
  const showActive = (place = "nearest") => {
    if (active >= 0 && place !== "stay") list.reveal(active, place);
    setAttribute(search, "aria-activedescendant", active < 0 ? null : `${id}-${active}`);
    showPreview();
  };

  const showPreview = () => preview.show(found[active]?.lora ?? null, document.getElementById(`${id}-${active}`));

  /** @param {number} index @param {boolean} [extend] selects all from the one that was active */
  const move = (index, extend = false) => {
    if (!found.length) return;
    touched = true;
    from = !extend || !onAdd ? -1 : from < 0 ? active : from;
    active = Math.max(Math.min(index, found.length - 1), 0);
    list.render();
    sayCount();
    showActive();
  };

  const sayCount = () => {
    const total = listed.entries.length;
    const [count, all] = [formatCount(found.length), formatCount(total)];
    const words = [];
    const [first, last] = range();
    if (last > first) words.push(t("{count} selected", { count: formatCount(last - first + 1) }));
    if (added.size) words.push(t("{count} added", { count: formatCount(added.size) }));
    if (listed.loaded) {
      const every = total === 1 ? t("1 LoRA") : t("{count} LoRAs", { count: all });
      words.push(found.length === total ? every : t("{count} of {all} LoRAs", { count, all }));
    }
    if (unusable.length) words.push(t("{count} cannot be used", { count: formatCount(unusable.length) }));
    if (listed.pending) {
      words.push(t("reading {done} of {total}", { done: formatCount(Math.max(total - listed.pending, 0)), total: formatCount(total) }));
    }
    const { hashing } = listed;
    if (hashing.total) words.push(t("hashing {done} of {total}", { done: formatCount(hashing.done), total: formatCount(hashing.total) }));
    if (listed.namesOnly) words.push(t("only their names are known"));
    if (listed.loaded && listed.late) words.push(t("the server has not answered yet"));
    if (listed.loaded && listed.problem) words.push(t("the list is out of date: {problem}", { problem: listed.problem }));
    if (favourites.problem) words.push(favourites.problem);
    const text = words.join(" · ");
    if (status.textContent !== text) status.textContent = text;
    if (unkept.textContent !== listed.unkept) unkept.textContent = asSentence(listed.unkept);
    unkept.hidden = !listed.unkept;
    const offer = listed.loaded && (listed.late || listed.problem || listed.namesOnly) ? "again" : hashing.total ? "stop" : "keys";
    if (hint.dataset.offer === offer) return; // a button that has the focus stays
    hint.dataset.offer = offer;
    hint.replaceChildren({
      again: () => createButton(t("Try again"), retry),
      stop: () => createButton(t("Stop hashing"), () => void hash(false).catch(refresh)),
      keys: () => (onAdd
        ? t("Enter to add · Ctrl+Enter to add more · Ctrl+F to favourite") : t("Enter to choose · Ctrl+F to favourite")),
    }[offer]());
  };

  /** @param {string} text @param {() => void} run */
  const createButton = (text, run) => create("button", {
    type: "button", class: "lorchestra-button", text, onclick: () => { run(); search.focus(); },
  });

  const showMessage = () => {
    says.hidden = found.length + unusable.length > 0;
    list.element.hidden = !says.hidden;
    if (says.hidden) return;
    if (!listed.loaded) {
      if (listed.problem && !listed.loading) {
        says.replaceChildren(t("The LoRAs cannot be listed: {problem}.", { problem: listed.problem }),
          create("div", {}, createButton(t("Try again"), retry)));
      } else if (listed.late) {
        says.replaceChildren(t("The server has not answered yet. It may be busy, or gone."),
          create("div", {}, createButton(t("Try again"), retry)));
      } else says.replaceChildren(t("Reading the list of LoRAs…"));
    } else if (!listed.entries.length) {
      says.replaceChildren(t("There are no LoRAs in ComfyUI's LoRA folders."));
    } else says.replaceChildren(...nothingFound());
  };

  /** @returns {(string | Node)[]} why nothing is shown, and the filters that one may take off */
  const nothingFound = () => {
    const where = [
      choice.folder, choice.fits ? target?.title : choice.family === "" ? t("Unknown") : choice.family,
      choice.favourites && t("Favourites"), choice.recent && t("Recent"),
    ].filter(Boolean).join(", ");
    const values = { query: choice.query.trim(), where };
    const sentence = !values.query
      ? t("There are no LoRAs in {where}.", values)
      : where ? t("No LoRA matches “{query}” in {where}.", values) : t("No LoRA matches “{query}”.", values);
    /** @type {[boolean, string, Partial<typeof choice>][]} */
    const ways = [
      [choice.fits || choice.family !== null, t("Show all architectures"), { fits: false, family: null }],
      [choice.folder !== "", t("Search all folders"), { folder: "" }],
      [choice.favourites, t("Not only favourites"), { favourites: false }],
      [choice.recent, t("Not only recent ones"), { recent: false }],
    ];
    const offered = ways.filter(([on]) => on);
    if (offered.length > 1) {
      const none = { fits: false, family: null, folder: "", favourites: false, recent: false };
      offered.push([true, t("Clear all filters"), none]);
    }
    const buttons = offered.map(([, text, change]) => {
      const count = select(known.entries, filterOf({ ...choice, ...change })).found.length;
      if (!count) return null;
      return createButton(`${text} (${formatCount(count)})`, () => {
        Object.assign(choice, change);
        update(0);
      });
    });
    return [sentence, create("div", {}, ...buttons)];
  };

  const namesInRange = () => {
    const [first, last] = range();
    return found.slice(Math.max(first, 0), last + 1).map((entry) => entry.lora.name);
  };

  /** Takes what is selected, and closes. */
  const choose = () => {
    const names = namesInRange();
    if (!names.length || (names.length > 1 && !onAdd?.(names))) return;
    popup.close();
    void favourites.addRecent(...names);
    if (names.length === 1) onChoose(names[0]);
  };

  /** Adds what is selected, and stays open. */
  const add = () => {
    const names = namesInRange();
    if (!names.length || !onAdd?.(names)) return;
    touched = true;
    for (const name of names) added.add(name);
    void favourites.addRecent(...names);
    from = -1;
    list.render();
    sayCount();
  };

  /** @param {number} index */
  const toggleStar = async (index) => {
    const name = nameAt(index);
    if (!name) return;
    active = index;
    const stored = favourites.toggle(name);
    update(name);
    await stored;
    if (!closed) update(nameAt(active), "stay");
  };

  search.addEventListener("input", () => {
    touched = true;
    choice.query = search.value;
    update(0);
  });
  panel.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const control = event.ctrlKey || event.metaKey;
    if (control && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "f") {
      event.preventDefault();
      void toggleStar(active);
    }
    if (control && event.key === "Enter" && event.target === search) {
      event.preventDefault();
      if (onAdd) add();
      else choose();
    }
    const extend = event.shiftKey && EXTENDING.includes(event.key);
    if (control || event.altKey || event.shiftKey && event.key.length > 1 && !extend) return;
    const moves = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + list.page(), PageUp: active - list.page(),
      Home: 0, End: found.length - 1,
    };
    if (event.key in moves) {
      event.preventDefault();
      search.focus();
      move(moves[/** @type {keyof typeof moves} */ (event.key)], extend);
    } else if (event.key === "Enter" && event.target === search) {
      event.preventDefault();
      choose();
    } else if (event.key.length === 1 && event.key !== " " && event.target !== search) search.focus();
  });
  // The focus stays in the search field.
  list.element.addEventListener("mousedown", (event) => { if (list.indexOf(event.target) >= 0) event.preventDefault(); });
  list.element.addEventListener("click", (event) => {
    const index = list.indexOf(event.target);
    if (index < 0) return;
    const { classList } = /** @type {Element} */ (event.target).closest(".lorchestra-picker-star, .lorchestra-picker-add") ?? list.element;
    if (classList.contains("lorchestra-picker-star")) void toggleStar(index);
    else if (index >= found.length) return;
    else if (event.shiftKey && onAdd) move(index, true);
    else {
      // What is selected is taken whole by a press on its "+".
      const isPlus = classList.contains("lorchestra-picker-add");
      if (!isPlus || !isSelected(index)) move(index);
      if (isPlus || (onAdd && (event.ctrlKey || event.metaKey))) add();
      else choose();
    }
  });
  list.element.addEventListener("pointermove", (event) => {
    const entry = found[list.indexOf(event.target)];
    if (entry) preview.show(entry.lora, /** @type {Element} */ (event.target).closest("[data-index]"));
  });
  list.element.addEventListener("pointerleave", showPreview);

  const fitHeight = () => {
    const rows = Math.max(Math.min(listed.entries.length + listed.unusable.length, MOST_ROWS), FEWEST_ROWS);
    body.style.height = `${rows * ROW_HEIGHT + 2}px`;
  };

  const stopWatching = watch(() => {
    setAttribute(list.element, "aria-busy", listed.loading ? true : null);
    if (known.entries === listed.entries && listed.loaded) {
      sayCount();
      return;
    }
    const isFirst = !known.entries.length;
    known = { entries: listed.entries, byDate: [], families: countFamilies(listed.entries) };
    fitHeight();
    popup.place();
    list.measure();
    if (isFirst && !choice.query) update(current, "center");
    else update(nameAt(active), "stay");
  });

  fitHeight();
  const popup = openPopup({
    anchor, element: panel, label: t("Choose a LoRA"), class: "lorchestra-picker",
    onClose() {
      closed = true;
      onClose?.();
      stopWatching();
      list.close();
      tree.close();
      preview.close();
    },
  });
  /** @param {Model | null} known */
  const setModel = (known) => {
    const next = known?.architectures?.length ? known : null;
    if (closed || next?.title === target?.title) return;
    const isFirst = !target;
    target = next;
    if (!target) choice.fits = false;
    else if (isFirst && !touched) choice.fits = setting(comfy.app, "pickerFits");
    if (touched) update(nameAt(active), "stay");
    else update(current, "center");
  };

  popup.element.append(preview.element);
  bar.show();
  popup.place();
  setModel(model);
  if (!target) update(current, "center");
  void refresh();
  void favourites.load().then(() => { if (!closed) update(nameAt(active), "stay"); });
  return { close: popup.close, setModel };
}
