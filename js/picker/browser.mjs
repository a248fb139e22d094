// @ts-check
/**
 * All LoRAs that are there, to look through and to choose from: a search, filters, folders, and what they leave as a list
 * or as a grid of pictures. The picker and the library are made of it.
 */

import { create, setAttribute, useStyle } from "../base/dom.mjs";
import { remember, setting } from "../base/settings.mjs";
import { asSentence, t } from "../base/words.mjs";
import { formatCount } from "../values/numbers.mjs";
import { countFamilies, inOrder, nearest, select, selectUnusable, wordsOf } from "../values/search.mjs";
import { favouritesOf } from "./favourites.mjs";
import { createFilterBar } from "./filter_bar.mjs";
import { createFolderTree } from "./folder_tree.mjs";
import { cellSize, createCell, showCell, showUnusableCell } from "./cell.mjs";
import { libraryOf } from "./library.mjs";
import { writeSidecars } from "./sidecars.mjs";
import { createPreview } from "./preview.mjs";
import { createRow, ROW_HEIGHT, showRow, showUnusable } from "./row.mjs";
import { STYLE } from "./style.mjs";
import { createVirtualList } from "./virtual_list.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @typedef {import("../values/search.mjs").Model} Model */
/** @typedef {import("../values/search.mjs").Entry} Entry */
/** @typedef {import("./filter_bar.mjs").Choice} Choice */

const EXTENDING = ["ArrowDown", "ArrowUp", "PageDown", "PageUp"]; // with Shift; Home and End are the search field's

let opened = 0;

/**
 * @typedef {object} Browser
 * @property {HTMLElement} element
 * @property {HTMLElement} body what is scrolled, whose height its owner sets
 * @property {HTMLInputElement} search
 * @property {HTMLElement} preview beside the element; for its owner to put into the page
 * @property {() => string[]} selected names, in the order in which they are shown
 * @property {() => import("../values/search.mjs").Lora | null} active the one that was moved to last
 * @property {() => void} start asks the server; to be called when it is in the page
 * @property {() => void} refilter shows what the filters leave, after the owner's has changed
 * @property {() => Entry[]} entries all that are known
 * @property {(model: Model | null) => void} setModel tells what is known later
 * @property {() => void} close
 */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {string} [options.current] the LoRA that is chosen now
 * @param {Model | null} [options.model] what the LoRA is for, as far as it is known by now
 * @param {{lora: string, known: string[]}} [options.like] the LoRA that is replaced, and files that it may be: what is likely
 *   in its place comes first
 * @param {(names: string[]) => void} options.onChoose Enter, and a press on one where that does not just select it
 * @param {(names: string[]) => boolean} [options.onAdd] lets people add several one after another; false if there is no
 *   room for them
 * @param {boolean} [options.selects] whether a press selects, with Ctrl several that are apart
 * @param {() => void} [options.onSelect] called when something else is selected
 * @param {(count: number) => void} [options.onCount] called when another number of LoRAs is known
 * @param {() => void} [options.onView] called when it is a list or a grid now
 * @param {() => ((lora: import("../values/search.mjs").Lora) => boolean) | null} [options.also] a filter of the owner's
 * @param {(event: DragEvent, names: string[]) => void} [options.onDrag] called when what is selected is dragged
 * @param {() => void} [options.onClear] called when all filters are taken off
 * @returns {Browser}
 */
export function createBrowser(comfy, {
  current = "", model = null, like, onChoose, onAdd, selects = false, onSelect, onCount, onView,
  also, onDrag, onClear,
}) {
  useStyle("picker", STYLE);
  const id = `lorchestra-picker-${opened += 1}`;
  const { app } = comfy;
  const { listed, refresh, retry, watch, hash } = libraryOf(comfy);
  const favourites = favouritesOf(comfy);
  const several = selects || onAdd !== undefined;
  /** Whether the focus in a text field opens a keyboard over the list. */
  const byTouch = matchMedia("(hover: none)").matches;
  /** @type {Model | null} */
  let target = null;
  /** @type {Choice & {query: string, folder: string}} */
  const choice = {
    query: "", folder: "", fits: false, family: null, favourites: false, recent: false,
    order: /** @type {Choice["order"]} */ (setting(app, "pickerOrder")),
    view: /** @type {Choice["view"]} */ (setting(app, "pickerView")),
    size: /** @type {Choice["size"]} */ (setting(app, "pictureSize")),
  };
  /** @type {Entry[]} */
  let found = [];
  /** @type {import("../values/search.mjs").Unusable[]} what stands behind them and cannot be chosen */
  let unusable = [];
  let active = -1;
  /** The other end of the range that is selected; -1 if there is none. */
  let from = -1;
  /** @type {Set<string>} names */
  let selection = new Set();
  /** @type {Set<string>} what was added since it was opened */
  const added = new Set();
  /** Whether the user has filtered or moved. */
  let touched = false;
  /** Whether the arrows to the sides move in the grid, and not in the search field. */
  let steers = false;
  let closed = false;
  /** The list that is shown, and what follows from it. */
  let known = { entries: listed.entries, families: countFamilies(listed.entries) };
  /** @type {{entries: Entry[], model: Model | null, names: string[]}} */
  let likely = { entries: [], model: null, names: [] };
  /** @type {{entries: Entry[], order: string, sorted: Entry[]}} */
  let sorted = { entries: [], order: "", sorted: [] };

  const search = create("input", {
    class: "lorchestra-field lorchestra-picker-search", type: "text", placeholder: t("Find a LoRA…"),
    autocomplete: "off", spellcheck: false, autofocus: !byTouch, role: "combobox", "aria-label": t("Find a LoRA"),
    "aria-expanded": true, "aria-controls": `${id}-list`, "aria-autocomplete": "list", "aria-haspopup": "listbox",
  });
  /** @param {number} index @returns {import("./row.mjs").Shown} */
  const shownAt = (index) => ({
    id: `${id}-${index}`, index, count: found.length + unusable.length, active: index === active,
    selected: selection.has(nameAt(index)), current: nameAt(index) === current, added: added.has(nameAt(index)),
    favourite: index < found.length && isFavourite(found[index].lora), words: wordsOf(choice.query), folder: choice.folder, model: target,
  });
  const properties = {
    role: "listbox", "aria-label": t("LoRAs"), tabIndex: -1, "aria-multiselectable": several ? true : null,
  };
  /** @param {HTMLElement} row */
  const draggable = (row) => Object.assign(row, { draggable: onDrag !== undefined });
  const lists = {
    list: () => createVirtualList({
      rowHeight: ROW_HEIGHT, class: "lorchestra-picker-list", properties: { ...properties, id: `${id}-list` },
      createRow: () => draggable(createRow(onAdd !== undefined)),
      showRow(row, index) {
        if (index < found.length) showRow(row, found[index], shownAt(index));
        else showUnusable(row, unusable[index - found.length], shownAt(index));
      },
    }),
    grid: () => createVirtualList({
      ...cellSize(choice.size), class: `lorchestra-picker-list lorchestra-picker-grid lorchestra-picker-${choice.size}`,
      properties: { ...properties, id: `${id}-list` },
      createRow: () => draggable(createCell(comfy, onAdd !== undefined)),
      showRow(row, index) {
        if (index < found.length) showCell(row, found[index], shownAt(index));
        else showUnusableCell(row, unusable[index - found.length], shownAt(index));
      },
    }),
  };
  let list = lists[choice.view]();
  const tree = createFolderTree(id, (folder) => {
    touched = true;
    choice.folder = folder;
    update(0);
  });
  const bar = createFilterBar(choice, {
    model: () => target,
    families: () => known.families,
    onChange() {
      touched = true;
      update(0);
      goOn();
    },
    onArrange() {
      remember(app, "pickerOrder", choice.order);
      remember(app, "pickerView", choice.view);
      remember(app, "pictureSize", choice.size);
      arrange();
      goOn();
    },
  });
  const says = create("div", { class: "lorchestra-picker-says", hidden: true, "aria-live": "polite" });
  const status = create("span", { role: "status", "aria-live": "polite" });
  const hint = create("span", { class: "lorchestra-quiet" });
  const unkept = create("div", { class: "lorchestra-picker-unkept lorchestra-warn", hidden: true });
  const body = create("div", { class: "lorchestra-picker-body", tabIndex: -1, autofocus: byTouch }, tree.element, list.element, says);
  const panel = create("div", { class: "lorchestra-picker-panel" },
    create("div", { class: "lorchestra-picker-top" }, search), bar.element, body, unkept,
    create("div", { class: "lorchestra-picker-foot" }, status, hint));
  const preview = createPreview(comfy, () => panel);

  /** Gives the focus back to the search, from which the keys work. */
  const goOn = () => (byTouch ? body : search).focus();

  /** @param {number} index */
  const nameAt = (index) => found[index]?.lora.name ?? "";

  /**
   * What a sidecar says counts before the user's own list: it goes with the file.
   * @param {import("../values/search.mjs").Lora} lora
   */
  const isFavourite = (lora) => lora.favourite ?? favourites.has(lora.name);

  /** @param {typeof choice} chosen @returns {import("../values/search.mjs").Filter} */
  const filterOf = (chosen) => ({
    query: chosen.query,
    folder: chosen.folder,
    fits: chosen.fits ? target : null,
    family: chosen.family,
    favourite: chosen.favourites ? isFavourite : null,
    also: also?.() ?? null,
    recent: chosen.recent ? favourites.recent() : null,
    before: chosen.order === "name" ? favourites.recent() : [],
    first: first(),
  });

  /** What is likely in the place of what is replaced; looked for once as long as nothing else is known. */
  const first = () => {
    if (!like) return [];
    if (likely.entries !== known.entries || likely.model !== target) {
      likely = { entries: known.entries, model: target, names: nearest(known.entries, like.lora, target, like.known) };
    }
    return likely.names;
  };

  const entriesInOrder = () => {
    const { entries } = known;
    if (sorted.entries !== entries || sorted.order !== choice.order) {
      sorted = { entries, order: choice.order, sorted: inOrder(entries, choice.order) };
    }
    return sorted.sorted;
  };

  const names = () => found.filter(({ lora }) => selection.has(lora.name)).map(({ lora }) => lora.name);

  /** Selects what is active, and what lies between it and the other end of the range. */
  const selectRange = () => {
    const [first, last] = from < 0 ? [active, active] : [Math.min(from, active), Math.max(from, active)];
    selection = new Set(found.slice(Math.max(first, 0), last + 1).map(({ lora }) => lora.name));
    onSelect?.();
  };

  /**
   * Shows what the filters leave.
   * @param {number | string} next the row that is active then, by number, or by name where it is still there
   * @param {"nearest" | "center" | "stay"} [place] where it is scrolled to
   */
  const update = (next, place) => {
    from = -1;
    if (!listed.folders.has(choice.folder)) choice.folder = "";
    const result = select(entriesInOrder(), filterOf(choice));
    found = result.found;
    unusable = selectUnusable(listed.unusable, filterOf(choice));
    const same = typeof next === "string" ? found.findIndex((entry) => entry.lora.name === next) : next;
    const fallback = typeof next === "string" ? Math.max(active, 0) : 0;
    active = Math.min(same < 0 ? fallback : same, found.length - 1);
    if (place !== "stay" || selection.size < 2) selectRange();
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

  /** Shows it as a list or as a grid, as is chosen. */
  const arrange = () => {
    const old = list;
    list = lists[choice.view]();
    listen();
    old.element.replaceWith(list.element);
    old.close();
    onView?.();
    list.measure();
    update(nameAt(active), "center");
  };

  /** @param {number} index @param {boolean} [extend] selects all from the one that was active */
  const move = (index, extend = false) => {
    if (!found.length) return;
    touched = true;
    from = !extend || !several ? -1 : from < 0 ? active : from;
    active = Math.max(Math.min(index, found.length - 1), 0);
    selectRange();
    list.render();
    sayCount();
    showActive();
  };

  const sayCount = () => {
    const total = listed.entries.length;
    const [count, all] = [formatCount(found.length), formatCount(total)];
    const words = [];
    if (selection.size > 1) words.push(t("{count} selected", { count: formatCount(selection.size) }));
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
      keys: keysInWords,
    }[offer]());
  };

  const keysInWords = () => {
    if (selects) return t("Ctrl or Shift to select several · Ctrl+F to favourite");
    if (onAdd) return t("Enter to add · Ctrl+Enter to add more · Ctrl+F to favourite");
    return t("Enter to choose · Ctrl+F to favourite");
  };

  /** @param {string} text @param {() => void} run */
  const createButton = (text, run) => create("button", {
    type: "button", class: "lorchestra-button", text, onclick: () => { run(); goOn(); },
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
      ? where ? t("There are no LoRAs in {where}.", values) : t("No LoRA matches the filters.")
      : where ? t("No LoRA matches “{query}” in {where}.", values) : t("No LoRA matches “{query}”.", values);
    /** @type {[boolean, string, Partial<typeof choice>][]} */
    const ways = [
      [choice.fits || choice.family !== null, t("Show all architectures"), { fits: false, family: null }],
      [choice.folder !== "", t("Search all folders"), { folder: "" }],
      [choice.favourites, t("Not only favourites"), { favourites: false }],
      [choice.recent, t("Not only recent ones"), { recent: false }],
    ];
    const offered = ways.filter(([on]) => on);
    if (offered.length > 1 || also?.()) {
      const none = { fits: false, family: null, folder: "", favourites: false, recent: false };
      offered.push([true, t("Clear all filters"), none]);
    }
    const buttons = offered.map(([, text, change]) => {
      const clears = Object.keys(change).length > 2;
      const filter = filterOf({ ...choice, ...change });
      const count = select(known.entries, clears ? { ...filter, also: null } : filter).found.length;
      if (!count) return null;
      return createButton(`${text} (${formatCount(count)})`, () => {
        Object.assign(choice, change);
        if (clears) onClear?.();
        update(0);
      });
    });
    return [sentence, create("div", {}, ...buttons)];
  };

  /** Takes what is selected. */
  const choose = () => {
    const chosen = names();
    if (!chosen.length) return;
    void favourites.addRecent(...chosen);
    onChoose(chosen);
  };

  /** Adds what is selected, and goes on. */
  const add = () => {
    const chosen = names();
    if (!chosen.length || !onAdd?.(chosen)) return;
    touched = true;
    for (const name of chosen) added.add(name);
    void favourites.addRecent(...chosen);
    from = -1;
    selectRange();
    list.render();
    sayCount();
  };

  /** @param {number} index */
  const toggleStar = async (index) => {
    const lora = found[index]?.lora;
    if (!lora) return;
    const { name } = lora;
    active = index;
    if (lora.favourite === null) {
      const stored = favourites.toggle(name);
      update(name);
      await stored;
    } else {
      lora.favourite = !lora.favourite;
      update(name);
      await writeSidecars(comfy, [name], { favourite: lora.favourite });
    }
    if (!closed) update(nameAt(active), "stay");
  };

  search.addEventListener("input", () => {
    touched = true;
    steers = false;
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
    if (event.altKey && !control && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      event.preventDefault(); // the browser would go back
      preview.step(event.key === "ArrowRight" ? 1 : -1);
    }
    const extend = event.shiftKey && EXTENDING.includes(event.key);
    if (control || event.altKey || event.shiftKey && event.key.length > 1 && !extend) return;
    const columns = list.columns();
    const moves = {
      ArrowDown: active + columns, ArrowUp: active - columns, PageDown: active + list.page(), PageUp: active - list.page(),
      Home: 0, End: found.length - 1,
      ...(columns > 1 && (steers || !search.value) && { ArrowRight: active + 1, ArrowLeft: active - 1 }),
    };
    if (event.key in moves) {
      event.preventDefault();
      search.focus();
      steers = true;
      move(moves[/** @type {keyof typeof moves} */ (event.key)] ?? active, extend);
    } else if (event.key === "Enter" && event.target === search) {
      event.preventDefault();
      choose();
    } else if (event.key.length === 1 && event.key !== " " && (event.target === panel || body.contains(/** @type {Node} */ (event.target))
      || bar.element.contains(/** @type {Node} */ (event.target)))) search.focus();
  });

  const listen = () => {
    const { element } = list;
    // The focus stays in the search field.
    element.addEventListener("mousedown", (event) => { if (!onDrag && list.indexOf(event.target) >= 0) event.preventDefault(); });
    element.addEventListener("dragstart", (event) => {
      const index = list.indexOf(event.target);
      if (index < 0 || index >= found.length) return;
      if (!selection.has(nameAt(index))) move(index);
      onDrag?.(event, names());
    });
    element.addEventListener("click", (event) => {
      const index = list.indexOf(event.target);
      if (index < 0) return;
      const part = /** @type {Element} */ (event.target).closest(".lorchestra-picker-star, .lorchestra-picker-add");
      const isPlus = part?.classList.contains("lorchestra-picker-add");
      const control = event.ctrlKey || event.metaKey;
      if (part && !isPlus) void toggleStar(index);
      else if (index >= found.length) return;
      else if (event.shiftKey && several) move(index, true);
      else if (isPlus || (control && onAdd)) {
        if (!isPlus || !selection.has(nameAt(index))) move(index); // what is selected is added whole by a press on its "+"
        add();
      } else if (control && selects) toggleSelected(index);
      else {
        move(index);
        if (selects) search.focus({ preventScroll: true });
        else choose();
      }
    });
    element.addEventListener("dblclick", () => { if (selects) choose(); });
    element.addEventListener("pointermove", (event) => {
      const entry = found[list.indexOf(event.target)];
      if (entry) preview.show(entry.lora, /** @type {Element} */ (event.target).closest("[data-index]"));
    });
    element.addEventListener("pointerleave", showPreview);
  };

  /** @param {number} index */
  const toggleSelected = (index) => {
    const name = nameAt(index);
    if (!selection.delete(name)) selection.add(name);
    active = index;
    from = -1;
    onSelect?.();
    list.render();
    sayCount();
    showActive("stay");
  };

  /** Where it begins: at the LoRA that is there, or at the likeliest one in its place. */
  const begin = () => {
    if (like) update(0);
    else update(current, "center");
  };
  /** The list is another one: what somebody has gone to stays the active one. */
  const stay = () => {
    if (like && !touched) begin();
    else update(nameAt(active), "stay");
  };

  const stopWatching = watch(() => {
    setAttribute(list.element, "aria-busy", listed.loading ? true : null);
    if (known.entries === listed.entries && listed.loaded) {
      sayCount();
      return;
    }
    const isFirst = !known.entries.length;
    known = { entries: listed.entries, families: countFamilies(listed.entries) };
    onCount?.(listed.entries.length + listed.unusable.length);
    list.measure();
    if (isFirst && !choice.query) begin();
    else stay();
  });
  listen();

  /** @param {Model | null} next */
  const setModel = (next) => {
    const usable = next?.architectures?.length ? next : null;
    if (closed || usable?.title === target?.title) return;
    const isFirst = !target;
    target = usable;
    if (!target) choice.fits = false;
    else if (isFirst && !touched && !selects) choice.fits = setting(app, "pickerFits");
    if (touched) stay();
    else begin();
  };

  return {
    element: panel, body, search, preview: preview.element, selected: names, setModel,
    refilter() {
      touched = true;
      update(0);
    },
    entries: () => known.entries,
    active: () => found[active]?.lora ?? null,
    start() {
      bar.show();
      onCount?.(listed.entries.length + listed.unusable.length);
      onView?.();
      setModel(model);
      if (!target) begin();
      void refresh();
      void favourites.load().then(() => { if (!closed) stay(); });
    },
    close() {
      closed = true;
      stopWatching();
      list.close();
      tree.close();
      preview.close();
    },
  };
}
