// @ts-check
/** The elements of the list, and how they show its state: a head, and below it the rows, one line, or the text. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { groupOf, itemsOf } from "../values/groups.mjs";
import { splitName } from "../values/numbers.mjs";
import { problemsInWords, problemsOf } from "../values/problems.mjs";
import { clipWeight, inWords, isOn } from "../values/stack.mjs";
import { createGroup } from "./group.mjs";
import { createRow, rowInWords } from "./row.mjs";
import { MOST_ROWS } from "./state.mjs";
import { ICONS } from "./style.mjs";

/**
 * @typedef {object} HeadActions what the head asks for
 * @property {() => void} toggleAll
 * @property {() => void} toggleCollapsed
 * @property {() => void} showList
 * @property {(anchor: HTMLElement) => void} add
 * @property {(anchor: HTMLElement) => void} fix
 * @property {(anchor: HTMLElement) => void} menu
 */

export class ListView {
  /** @type {ReturnType<typeof createParts> | undefined} built when the list is seen for the first time */
  parts;
  /** @type {ReturnType<typeof createRow>[]} */
  rows = [];
  /** The heads of the groups, by name. @type {Map<string, ReturnType<typeof createGroup>>} */
  groups = new Map();

  /**
   * @param {HTMLElement} element
   * @param {import("./state.mjs").ListState} state
   * @param {import("./curves.mjs").Curves} curves
   * @param {ReturnType<typeof import("../balance/bars.mjs").createBars>} bars
   */
  constructor(element, state, curves, bars) {
    this.element = element;
    this.state = state;
    this.curves = curves;
    this.bars = bars;
  }

  /**
   * @param {HeadActions} head
   * @param {import("./row.mjs").RowActions} rowActions
   * @param {import("./group.mjs").GroupActions} groupActions
   */
  build(head, rowActions, groupActions) {
    const parts = createParts(head);
    this.parts = parts;
    this.rowActions = rowActions;
    this.groupActions = groupActions;
    this.element.append(parts.head, parts.box);
    return parts;
  }

  show() {
    const { parts, state } = this;
    this.element.style.minHeight = `${state.height}px`;
    if (!parts) return;
    showHead(parts, state);
    const { isText, isCollapsed, rows, text } = state;
    parts.box.hidden = isCollapsed;
    parts.list.hidden = isText || !rows.length;
    parts.empty.hidden = isText || rows.length > 0;
    parts.text.hidden = !isText;
    if (isText) {
      if (parts.text.value !== text) parts.text.value = text;
      setAttribute(parts.text, "aria-invalid", isWrong(state.stack));
    } else this.showRows();
  }

  /** Shows the rows, where they are to be seen. */
  showRows() {
    const { parts, rowActions, state: { badges, flat, isText, isCollapsed, open, rows, stack } } = this;
    if (!parts || !rowActions || isText || isCollapsed) return;
    const { list } = parts;
    const split = rows.some((row) => clipWeight(row) !== null);
    const schedules = rows.map((row) => row.schedule?.trim() ?? "");
    this.curves.about(schedules);
    const wide = schedules.some(Boolean);
    const items = itemsOf(stack);
    const scrolls = items.length > MOST_ROWS;
    list.classList.toggle("lorchestra-stack-scrolls", scrolls);
    if (scrolls) list.dataset.captureWheel = "true";
    else delete list.dataset.captureWheel;
    while (this.rows.length > rows.length) this.rows.pop()?.element.remove();
    while (this.rows.length < rows.length) {
      const row = createRow(rowActions);
      this.rows.push(row);
      list.append(row.element);
    }
    this.showGroups(list, items);
    rows.forEach((row, index) => this.rows[index].show({
      row, index, count: rows.length, split, wide, curve: this.curves.of(schedules[index]), badge: badges[index],
      open: open.has(row.lora), acting: flat[index], group: groupOf(stack, row)?.name,
    }));
    this.bars.show(flat, this.rows.map(({ element }) => element));
  }

  /**
   * @param {HTMLElement} list
   * @param {import("../values/groups.mjs").Item[]} items
   */
  showGroups(list, items) {
    const { groups, groupActions, state } = this;
    const names = new Set(state.groups.map(({ name }) => name));
    for (const [name, head] of groups) {
      if (names.has(name)) continue;
      head.element.remove();
      groups.delete(name);
    }
    const { picked } = state;
    for (const group of state.groups) {
      const head = groups.get(group.name) ?? createGroup(/** @type {import("./group.mjs").GroupActions} */ (groupActions));
      groups.set(group.name, head);
      const chosen = state.rows[picked.get(group.name) ?? -1];
      head.show(group, state.rows.filter((row) => row.group === group.name).length, chosen && (splitName(chosen.lora).title || chosen.lora));
    }
    const shown = items.map((item) => (item.row === undefined ? groups.get(item.group)?.element : this.rows[item.row].element));
    const folded = new Set(this.rows.map(({ element }) => element));
    for (const element of shown) folded.delete(/** @type {HTMLElement} */ (element));
    for (const { element } of this.rows) element.hidden = folded.has(element);
    [...shown, ...folded].forEach((element, at) => {
      if (element && list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    });
  }

  /**
   * @param {number} index
   * @param {string} selector of a part of the row
   * @returns {HTMLElement}
   */
  partOf(index, selector) {
    return /** @type {HTMLElement} */ (this.rows[index].element.querySelector(selector));
  }
}

/** @param {HeadActions} actions */
function createParts(actions) {
  const all = create("button", {
    type: "button", class: "lorchestra-switch", role: "switch", "aria-label": t("All LoRAs are on"), title: t("All on or off"),
    onclick: actions.toggleAll,
  });
  const fold = create("button", { type: "button", class: "lorchestra-more", "aria-label": t("Rows"), onclick: actions.toggleCollapsed });
  const status = create("span", { class: "lorchestra-stack-status", role: "status" });
  const problems = create("span", { class: "lorchestra-stack-problems lorchestra-bad", "aria-live": "polite" });
  const fix = create("button", {
    type: "button", class: "lorchestra-button lorchestra-stack-fix", "aria-haspopup": "menu", text: t("Fix…"), hidden: true,
    onclick: () => actions.fix(fix),
  });
  const line = create("span", { class: "lorchestra-stack-line lorchestra-quiet", dir: "auto" });
  const done = create("button", {
    type: "button", class: "lorchestra-button lorchestra-stack-add", text: t("Show as list"), onclick: actions.showList,
  });
  const add = create("button", {
    type: "button", class: "lorchestra-button lorchestra-stack-add", "aria-haspopup": "dialog", "aria-label": t("Add a LoRA"),
    title: t("Add a LoRA"), onclick: () => actions.add(add),
  }, icon(ICONS.add, 12), create("span", { text: t("Add") }));
  const more = create("button", {
    type: "button", class: "lorchestra-more", "aria-haspopup": "menu", "aria-label": t("More for all LoRAs"), title: t("More"),
    onclick: () => actions.menu(more),
  }, icon(ICONS.more));
  const list = create("div", { class: "lorchestra-stack-rows", role: "list", "aria-label": t("LoRAs") });
  const empty = create("button", {
    type: "button", class: "lorchestra-stack-empty lorchestra-quiet", text: t("Add the first LoRA"), onclick: () => actions.add(add),
  });
  const text = create("textarea", {
    class: "lorchestra-stack-text", spellcheck: false, autocomplete: "off", "aria-label": t("LoRAs and their weights"),
    "data-capture-wheel": "true", placeholder: t("JSON, or <lora:name:0.7> text"),
  });
  const box = create("div", { class: "lorchestra-stack-box" }, list, empty, text);
  const head = create("div", { class: "lorchestra-stack-head" }, fold, all, status, problems, fix, line, done, add, more);
  return { head, box, fold, all, status, problems, fix, line, done, add, list, empty, text };
}

/**
 * @param {ReturnType<typeof createParts>} parts
 * @param {import("./state.mjs").ListState} state
 */
function showHead({ all, fold, status, problems, fix, line, done }, { badges, flat, isCollapsed, isText, on, rows, stack }) {
  const words = inWords(stack);
  if (status.textContent !== words) status.textContent = status.title = words;
  status.classList.toggle("lorchestra-bad", isWrong(stack) || Boolean(stack.notes?.length));
  const wrong = isText ? "" : problemsInWords(problemsOf(flat, badges));
  if (problems.textContent !== wrong) problems.textContent = problems.title = wrong;
  problems.hidden = fix.hidden = !wrong;
  setAttribute(fix, "aria-label", `${fix.textContent} ${wrong}`);
  all.hidden = rows.length === 0 || isText;
  setAttribute(all, "aria-checked", on === 0 ? "false" : on === rows.length ? "true" : "mixed");
  fold.hidden = isText || rows.length === 0;
  setAttribute(fold, "aria-expanded", !isCollapsed);
  fold.title = isCollapsed ? t("Show the rows") : t("Collapse to one line");
  fold.replaceChildren(icon(isCollapsed ? ICONS.closed : ICONS.open));
  line.textContent = isCollapsed ? flat.filter(isOn).map(rowInWords).join(" · ") : "";
  line.title = line.textContent;
  done.hidden = !isText || stack.error !== "";
}

/** @param {import("../values/stack.mjs").Stack} stack */
function isWrong(stack) {
  return stack.error !== "" && !stack.asks;
}
