// @ts-check
/**
 * The element of the LoRA Stack: a head, and below it the rows, one line, or the text.
 * It holds no value: what it shows is the host's text, and every edit is a new text for the host.
 */

import { create, icon, rounded, setAttribute, splitName, useStyle } from "../base/dom.mjs";
import { copyAs, readPasted } from "../exchange/clipboard.mjs";
import { rowsInClipboard } from "../exchange/paste.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { defaultsOf } from "./defaults.mjs";
import { dragRow } from "./drag.mjs";
import { openExplanation } from "./explain.mjs";
import { listItems, rowItems } from "./menus.mjs";
import { createRow, rowInWords } from "./row.mjs";
import { changed, clipWeight, inWords, isOn, modelWeight, moved, readStack, writeStack } from "../values/stack.mjs";
import { GAP, HEAD_HEIGHT, ICONS, ROW_HEIGHT, STYLE, TEXT_HEIGHT } from "./style.mjs";
import { whenSeen } from "./seen.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */

export const LIST_CLASS = "lorchestra-loras";
const MOST_ROWS = 20; // more than these are scrolled
const BORDER = 2;
const LEAST_SCALE = 0.35; // of the canvas at which rows can be read

/**
 * @typedef {object} Host
 * @property {Comfy} comfy
 * @property {GraphNode} node
 * @property {() => string} read the value
 * @property {(text: string) => void} write takes a value that may still change
 * @property {(change: () => void) => void} step makes one step of undo out of a change; the node takes the size of its contents
 * @property {() => any} model of the node, for the picker; null where it is not known
 * @property {() => void} onBuilt called when the list is seen for the first time
 */

/**
 * @param {Host} host
 */
export function createStackList(host) {
  useStyle("stack", STYLE);
  const { comfy } = host;
  const element = create("div", { class: `lorchestra ${LIST_CLASS}`, role: "group", "aria-label": t("LoRAs") });
  let value = host.read();
  let stack = readStack(value);
  let asText = false;
  /** @type {any[]} */
  let badges = [];
  /** @type {ReturnType<typeof createParts> | undefined} */
  let parts;
  /** @type {ReturnType<typeof createRow>[]} */
  let rows = [];
  let unsettled = false;

  const isText = () => asText || stack.error !== "";
  const isCollapsed = () => stack.more.collapsed === true && !isText();
  const height = () => {
    if (isCollapsed()) return HEAD_HEIGHT;
    const body = isText() ? TEXT_HEIGHT : Math.min(Math.max(stack.rows.length, 1), MOST_ROWS) * ROW_HEIGHT;
    return HEAD_HEIGHT + GAP + body + BORDER;
  };
  /** Reads the value anew, when it is another. */
  const read = () => {
    const now = host.read();
    if (now === value) return;
    value = now;
    stack = readStack(value);
  };

  /** Shows the host's value. */
  const render = () => {
    read();
    element.style.minHeight = `${height()}px`;
    if (parts) show(parts);
  };

  /** @param {NonNullable<typeof parts>} of */
  const show = ({ all, fold, status, line, box, list, empty, text, done }) => {
    const words = inWords(stack);
    if (status.textContent !== words) status.textContent = status.title = words;
    status.classList.toggle("lorchestra-bad", stack.error !== "");
    const on = stack.rows.filter(isOn).length;
    all.hidden = stack.rows.length === 0 || isText();
    setAttribute(all, "aria-checked", on === 0 ? "false" : on === stack.rows.length ? "true" : "mixed");
    const collapsed = isCollapsed();
    fold.hidden = isText() || stack.rows.length === 0;
    setAttribute(fold, "aria-expanded", !collapsed);
    fold.title = collapsed ? t("Show the rows") : t("Collapse to one line");
    fold.replaceChildren(icon(collapsed ? ICONS.closed : ICONS.open));
    line.textContent = collapsed ? stack.rows.filter(isOn).map(rowInWords).join(" · ") : "";
    line.title = line.textContent;
    done.hidden = !isText() || stack.error !== "";
    box.hidden = collapsed;
    list.hidden = isText() || !stack.rows.length;
    empty.hidden = isText() || stack.rows.length > 0;
    text.hidden = !isText();
    if (isText()) {
      if (text.value !== value) text.value = value;
      setAttribute(text, "aria-invalid", stack.error !== "");
    } else if (!collapsed) showRows(list);
  };

  /** @param {HTMLElement} list */
  const showRows = (list) => {
    const split = stack.rows.some((row) => clipWeight(row) !== null);
    list.classList.toggle("lorchestra-stack-scrolls", stack.rows.length > MOST_ROWS);
    if (stack.rows.length > MOST_ROWS) list.dataset.captureWheel = "true";
    else delete list.dataset.captureWheel;
    while (rows.length > stack.rows.length) rows.pop()?.element.remove();
    while (rows.length < stack.rows.length) {
      const row = createRow(actions);
      rows.push(row);
      list.append(row.element);
    }
    stack.rows.forEach((row, index) => rows[index].show({ row, index, count: stack.rows.length, split, badge: badges[index] }));
  };

  /**
   * One edit of the rows, and one step of undo.
   * @param {(rows: import("../values/stack.mjs").Row[]) => import("../values/stack.mjs").Row[]} change
   * @param {Record<string, any>} [more] keys beside the rows
   */
  const edit = (change, more = stack.more) => {
    if (stack.error) return;
    unsettled = false;
    host.step(() => {
      const { rows: before } = stack;
      put(writeStack({ ...stack, more }, change(before)));
    });
  };
  /** @param {string} next */
  const put = (next) => {
    if (next === host.read()) return;
    host.write(next);
    render();
  };
  /** @param {import("../values/stack.mjs").Row[]} all @param {number} index @param {import("../values/stack.mjs").Row} changes */
  const withChanges = (all, index, changes) => all.map((row, at) => (at === index ? changed(row, changes) : row));
  /** @param {number} index @param {import("../values/stack.mjs").Row} changes */
  const change = (index, changes) => edit((all) => withChanges(all, index, changes));
  /** A change that may go on: no step of undo yet. @param {number} index @param {import("../values/stack.mjs").Row} changes */
  const changeLive = (index, changes) => {
    put(writeStack(stack, withChanges(stack.rows, index, changes)));
    unsettled = true;
  };
  const settle = () => {
    if (!unsettled) return;
    unsettled = false;
    host.step(() => {});
  };
  /** @param {number} index @param {string} [selector] what of the row gets the focus */
  const focusRow = (index, selector = ".lorchestra-name") => {
    const row = rows[Math.min(Math.max(index, 0), rows.length - 1)];
    if (!row) parts?.add.focus({ preventScroll: true });
    else {
      const wanted = /** @type {HTMLElement | null} */ (row.element.querySelector(selector));
      const visible = wanted?.offsetParent && getComputedStyle(wanted).visibility !== "hidden" ? wanted : row.element.querySelector(".lorchestra-name");
      /** @type {HTMLElement} */ (visible).focus({ preventScroll: true });
      row.element.scrollIntoView?.({ block: "nearest" });
    }
  };
  /** @param {number} index */
  const remove = (index) => {
    const part = focusedPart();
    badges = badges.filter((_, at) => at !== index);
    edit((all) => all.filter((_, at) => at !== index));
    focusRow(index, part);
  };
  /** @param {number} index @param {number} to */
  const move = (index, to) => {
    if (to < 0 || to >= stack.rows.length || to === index) return;
    const at = focusedPart();
    badges = moved(badges.length === stack.rows.length ? badges : stack.rows.map(() => undefined), index, to);
    edit((all) => moved(all, index, to));
    focusRow(to, at);
  };
  /** @param {number} index */
  const duplicate = (index) => {
    badges.splice(index, 0, badges[index]);
    edit((all) => [...all.slice(0, index + 1), structuredClone(all[index]), ...all.slice(index + 1)]);
    focusRow(index + 1);
  };
  /** @param {number} index */
  const toggle = (index) => change(index, { on: isOn(stack.rows[index]) ? false : undefined });

  /** @param {string} lora */
  const add = (lora) => {
    const { weight, split } = defaultsOf(comfy.app);
    const fresh = { lora, model: weight, ...(split ? { clip: weight } : {}) };
    edit((all) => [...all, fresh], { ...stack.more, collapsed: undefined });
    parts?.list.scrollTo?.(0, parts.list.scrollHeight);
  };
  /** @param {HTMLElement} anchor @param {string} current @param {(name: string) => void} onChoose */
  const pick = async (anchor, current, onChoose) => {
    const { openPicker } = await import("../picker/picker.mjs");
    openPicker(comfy, { anchor, current, model: host.model(), onChoose });
  };
  /** @param {number} index @param {HTMLElement} [anchor] */
  const pickFor = (index, anchor = partOf(index, ".lorchestra-name")) =>
    pick(anchor, stack.rows[index].lora, (lora) => { change(index, { lora, sha256: undefined, air: undefined }); focusRow(index); });
  /** @param {number} index @param {HTMLElement} [anchor] */
  const openSchedule = async (index, anchor = partOf(index, ".lorchestra-schedule")) => {
    const { openCurve } = await import("../curve/popover.mjs");
    const setSchedule = (/** @type {string} */ text) => changeLive(index, { schedule: text.trim() ? text : undefined });
    openCurve(comfy, {
      anchor, text: stack.rows[index].schedule ?? "", node: host.node,
      onChange: setSchedule,
      onCommit: (text) => { setSchedule(text); settle(); },
      onClose: settle,
    });
  };
  /** @param {number} index */
  const openInfo = async (index) => {
    const { openInfoCard } = await import("../info/card.mjs");
    const row = stack.rows[index];
    openInfoCard(comfy, { anchor: partOf(index, ".lorchestra-name"), lora: row.lora, row, onChange: (changes) => change(index, changes) });
  };
  /** @param {number} index @param {string} selector @returns {HTMLElement} */
  const partOf = (index, selector) => /** @type {HTMLElement} */ (rows[index].element.querySelector(selector));
  const focusedPart = () => {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const kind = [...(focused?.classList ?? [])].find((name) => name.startsWith("lorchestra-") && name !== "lorchestra-mark");
    if (kind !== "lorchestra-weight-spin") return kind ? `.${kind}` : undefined;
    const second = focused?.closest(".lorchestra-weight")?.previousElementSibling?.classList.contains("lorchestra-weight");
    return second ? ".lorchestra-weight + .lorchestra-weight .lorchestra-weight-spin" : ".lorchestra-weight-spin";
  };

  /** @type {import("./row.mjs").RowActions} */
  const actions = {
    toggle,
    pick: (index, anchor) => void pickFor(index, anchor),
    schedule: (index, anchor) => void openSchedule(index, anchor),
    explain: (index, anchor) => openExplanation(comfy, {
      anchor, row: stack.rows[index], badge: badges[index] ?? { state: "" },
      onChoose: (lora) => change(index, { lora }),
      onPick: () => void pickFor(index),
      onInfo: () => void openInfo(index),
    }),
    menu: (index, anchor) => openMenu({
      anchor, label: t("LoRA {number}", { number: index + 1 }),
      items: rowItems({
        row: stack.rows[index], index, count: stack.rows.length,
        change: (changes) => change(index, changes),
        toggle: () => toggle(index),
        duplicate: () => duplicate(index),
        move: (to) => move(index, to),
        remove: () => remove(index),
        schedule: () => void openSchedule(index),
        info: () => void openInfo(index),
        pick: () => void pickFor(index),
        copy: () => void copyAs(comfy, [stack.rows[index]], "json"),
      }),
    }),
    lift: (index, event) => dragRow({ event, list: /** @type {any} */ (parts).list, index, onDrop: (to) => move(index, to) }),
    weigh: (index, key, weight, live) => {
      if (!stack.rows[index]) return;
      if (live) changeLive(index, { [key]: weight });
      else change(index, { [key]: weight });
    },
    reset: (index, key) => change(index, { [key]: rounded(defaultsOf(comfy.app).weight) }),
    settle,
    step: () => defaultsOf(comfy.app).step,
  };

  /** @param {import("../values/stack.mjs").Row[]} fresh */
  const append = (fresh) => { if (fresh.length && !stack.error) edit((all) => [...all, ...fresh]); };
  /** @param {string} text */
  const pasteText = async (text) => { append((await readPasted(comfy, text))?.rows ?? []); };
  const paste = async () => { append(await rowsInClipboard(comfy)); };

  const toggleText = () => {
    host.step(() => {
      asText = !asText;
      render();
    });
    if (asText) parts?.text.focus({ preventScroll: true });
  };
  const toggleCollapsed = () => edit((all) => all, { ...stack.more, collapsed: isCollapsed() ? undefined : true });
  /** @param {HTMLElement} anchor */
  const openListMenu = (anchor) => {
    const missing = stack.rows.map((_, index) => badges[index]?.state === "missing");
    openMenu({
      anchor, label: t("All LoRAs"),
      items: listItems({
        rows: stack.rows, readable: stack.error === "", asText: isText(), collapsed: isCollapsed(),
        missing: missing.filter(Boolean).length,
        setRows: (next) => edit(() => next.map((row) => changed(row, {}))),
        toggleText, toggleCollapsed, paste: () => void paste(), copyAs: (dialect) => void copyAs(comfy, stack.rows, dialect),
        removeMissing: () => edit((all) => all.filter((_, index) => !missing[index])),
      }),
    });
  };

  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const index = rows.findIndex((row) => row.element.contains(target));
    if (target.matches("input, textarea") || event.isComposing) return;
    const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
    const plain = !altKey && !ctrlKey && !metaKey && !shiftKey;
    const up = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
    if (index < 0) {
      if (up !== 1 || !plain || !rows.length) return keepKey(event, target);
      focusRow(0);
    } else if (altKey && up && !ctrlKey && !metaKey) move(index, index + up);
    else if (plain && up) focusRow(index + up, focusedPart());
    else if (plain && (key === "ArrowLeft" || key === "ArrowRight")) focusBeside(rows[index].element, target, key === "ArrowRight" ? 1 : -1);
    else if (plain && (key === "Home" || key === "End")) focusRow(key === "Home" ? 0 : rows.length - 1, focusedPart());
    else if (plain && key === "Delete") remove(index);
    else if (plain && key === " " && target.role === "spinbutton") toggle(index);
    else if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "d") duplicate(index);
    else return keepKey(event, target);
    event.preventDefault();
    event.stopPropagation();
  };

  const createParts = () => {
    const all = create("button", {
      type: "button", class: "lorchestra-switch", role: "switch", "aria-label": t("All LoRAs are on"), title: t("All on or off"),
      onclick: () => {
        const on = stack.rows.some((row) => !isOn(row));
        edit((rows) => rows.map((row) => changed(row, { on: on ? undefined : false })));
      },
    });
    const fold = create("button", { type: "button", class: "lorchestra-more", "aria-label": t("Rows"), onclick: toggleCollapsed });
    const status = create("span", { class: "lorchestra-stack-status", role: "status" });
    const line = create("span", { class: "lorchestra-stack-line lorchestra-quiet", dir: "auto" });
    const done = create("button", { type: "button", class: "lorchestra-button lorchestra-stack-add", text: t("Show as list"), onclick: () => {
      settle();
      toggleText();
    } });
    const addButton = create("button", {
      type: "button", class: "lorchestra-button lorchestra-stack-add", "aria-haspopup": "dialog", "aria-label": t("Add a LoRA"), title: t("Add a LoRA"),
      onclick: () => void pick(addButton, "", add),
    }, icon(ICONS.add, 12), t("Add"));
    const more = create("button", {
      type: "button", class: "lorchestra-more", "aria-haspopup": "menu", "aria-label": t("More for all LoRAs"), title: t("More"),
      onclick: () => openListMenu(more),
    }, icon(ICONS.more));
    const list = create("div", { class: "lorchestra-stack-rows", role: "list", "aria-label": t("LoRAs") });
    const empty = create("button", {
      type: "button", class: "lorchestra-stack-empty lorchestra-quiet", text: t("Add the first LoRA"), onclick: () => void pick(addButton, "", add),
    });
    const text = create("textarea", {
      class: "lorchestra-stack-text", spellcheck: false, autocomplete: "off", "aria-label": t("LoRAs and their weights"), "data-capture-wheel": "true",
      placeholder: t("JSON, or <lora:name:0.7> text"),
    });
    const box = create("div", { class: "lorchestra-stack-box" }, list, empty, text);
    const head = create("div", { class: "lorchestra-stack-head" }, fold, all, status, line, done, addButton, more);
    listenToText(text);
    element.append(head, box);
    element.addEventListener("keydown", onKey);
    element.addEventListener("keyup", (event) => { if (event.key === " ") event.stopPropagation(); });
    element.addEventListener("paste", (event) => {
      if (/** @type {HTMLElement} */ (event.target).matches("input, textarea")) return;
      const pasted = event.clipboardData?.getData("text/plain") ?? "";
      if (!/<l(ora|yco):|[[{]/.test(pasted)) return;
      event.preventDefault();
      event.stopPropagation();
      void pasteText(pasted);
    });
    element.addEventListener("focusout", (event) => {
      if (!element.contains(/** @type {Node | null} */ (event.relatedTarget))) settle();
    });
    return { all, fold, status, line, box, list, empty, text, done, add: addButton };
  };

  /** @param {HTMLTextAreaElement} text */
  const listenToText = (text) => {
    // The browser's own undo reaches a text without the focus, too, before ComfyUI's undo runs, and may focus it on the
    // way: that is no edit.
    let typed = true;
    text.addEventListener("beforeinput", () => { typed = document.activeElement === text; });
    text.addEventListener("input", () => {
      if (!typed || document.activeElement !== text) {
        text.value = host.read();
        return;
      }
      asText = true;
      put(text.value);
      unsettled = true;
    });
    text.addEventListener("change", () => {
      // ComfyUI's undo may be what took the focus away; a step of ours would be the end of redo.
      setTimeout(() => { if (text.isConnected && text.value === host.read()) settle(); }, 0);
    });
    for (const kind of ["keydown", "keyup", "copy", "cut", "paste"]) text.addEventListener(kind, (event) => {
      const key = /** @type {KeyboardEvent} */ (event);
      const command = (key.ctrlKey || key.metaKey) && key.key === "Enter"; // queues the prompt
      if (!command) event.stopPropagation();
    });
  };

  const stopWaiting = () => { stopSeeing?.(); stopSeeing = undefined; };
  /** @type {(() => void) | undefined} */
  let stopSeeing;
  const start = () => {
    stopWaiting();
    if (parts) host.onBuilt();
    else {
      stopSeeing = whenSeen(element, () => comfy.app.canvas.ds.scale >= LEAST_SCALE, () => {
        parts ??= createParts();
        render();
        host.onBuilt();
      });
    }
  };
  render();
  return {
    element,
    render,
    height,
    /** Waits until the element is seen, and then builds what is in it. */
    start,
    stop: stopWaiting,
    showBadges: (/** @type {any[]} */ next) => {
      badges = next;
      if (parts && !isText() && !isCollapsed()) showRows(parts.list);
    },
  };
}

/**
 * Keys that a button uses, or that would do something to the node, stay here.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} target
 */
function keepKey(event, target) {
  const own = [" ", "Enter", "Delete", "Backspace"].includes(event.key) && !event.ctrlKey && !event.metaKey;
  if (own && target.closest("button, [role=spinbutton]")) event.stopPropagation();
}

/**
 * @param {HTMLElement} row
 * @param {HTMLElement} from
 * @param {number} by
 */
function focusBeside(row, from, by) {
  const all = /** @type {HTMLElement[]} */ ([...row.querySelectorAll("button, [tabindex='0']")]);
  const shown = all.filter((one) => one.offsetParent && getComputedStyle(one).visibility !== "hidden");
  shown[shown.indexOf(from) + by]?.focus({ preventScroll: true });
}
