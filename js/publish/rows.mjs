// @ts-check
/** The list of a workflow's inputs, or of its outputs: each a line that opens, is shown on the canvas, moved and hidden. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { ICONS } from "./style.mjs";

/** @import { Row } from "../values/published.mjs" */

/**
 * A line, as the list shows it.
 * @typedef {object} Line
 * @property {string} key
 * @property {string} name
 * @property {string} what it is
 * @property {string} where the node that it is in
 * @property {boolean} hidden
 * @property {boolean} gone whether there is nothing any more that the row speaks of
 * @property {string} problem
 */

/**
 * @typedef {object} Editor what opens below a line
 * @property {HTMLElement} element
 * @property {() => void} show
 */

/**
 * @param {object} options
 * @param {string} options.label of the list
 * @param {(key: string) => Editor} options.createEditor
 * @param {(key: string, changes: Row) => void} options.onChange
 * @param {(key: string, by: number) => void} options.onMove
 * @param {(key: string) => void} options.onForget takes the row away
 * @param {(key: string) => void} options.onShow
 */
export function createRows({ label, createEditor, onChange, onMove, onForget, onShow }) {
  const element = create("ul", { class: "lorchestra-publish-rows", "aria-label": label });
  /** @type {Map<string, ReturnType<typeof createRow>>} */
  const rows = new Map();

  /** @param {string} key */
  const createRow = (key) => {
    const id = `lorchestra-publish-${label}-${key}`.replace(/\s/g, "-");
    const name = create("span", { class: "lorchestra-publish-name" });
    const what = create("span", { class: "lorchestra-publish-what lorchestra-quiet" });
    const open = create("button", {
      type: "button", class: "lorchestra-publish-open", "aria-expanded": false, "aria-controls": id, onclick: () => toggle(),
    }, icon(ICONS.closed, 12), name, what);
    const up = button(ICONS.up, () => onMove(key, -1));
    const down = button(ICONS.down, () => onMove(key, 1));
    const hide = button(ICONS.shown, () => (line.gone ? onForget(key) : onChange(key, { hidden: line.hidden ? undefined : true })));
    const node = create("button", { type: "button", class: "lorchestra-publish-node", onclick: () => onShow(key) });
    const problem = create("p", { class: "lorchestra-bad", role: "alert" });
    const more = create("div", { class: "lorchestra-publish-more", id, hidden: true });
    const row = create("li", { class: "lorchestra-publish-row" },
      create("div", { class: "lorchestra-publish-line" }, open, up, down, hide),
      create("div", { class: "lorchestra-publish-under" }, node), problem, more);
    /** @type {Line} */
    let line = { key, name: "", what: "", where: "", hidden: false, gone: false, problem: "" };
    /** @type {Editor | undefined} */
    let editor;

    const toggle = () => {
      editor ??= createEditor(key);
      if (!more.firstChild) more.append(editor.element);
      more.hidden = !more.hidden;
      setAttribute(open, "aria-expanded", !more.hidden);
      editor.show();
    };
    row.addEventListener("keydown", (event) => {
      if (!event.altKey || event.ctrlKey || event.metaKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
      event.preventDefault();
      onMove(key, event.key === "ArrowUp" ? -1 : 1);
    });

    /** @param {Line} now @param {boolean} isFirst @param {boolean} isLast */
    const show = (now, isFirst, isLast) => {
      line = now;
      setText(name, now.name);
      setText(what, now.what);
      what.title = now.what;
      setText(node, now.where);
      node.hidden = now.gone;
      node.title = t("Show it on the canvas");
      setText(problem, now.problem);
      problem.hidden = !now.problem;
      row.classList.toggle("lorchestra-publish-out", now.hidden || now.gone);
      open.disabled = now.gone;
      say(up, t("Move {name} up (Alt+↑)", { name: now.name }));
      say(down, t("Move {name} down (Alt+↓)", { name: now.name }));
      up.disabled = isFirst;
      down.disabled = isLast;
      hide.replaceChildren(icon(now.gone ? ICONS.cross : now.hidden ? ICONS.hidden : ICONS.shown));
      say(hide, now.gone ? t("Forget {name}", { name: now.name }) : now.hidden ? t("Show {name} to callers", { name: now.name }) : t("Hide {name} from callers", { name: now.name }));
      setAttribute(hide, "aria-pressed", now.gone ? null : now.hidden);
      if (!more.hidden) editor?.show();
    };
    return { row, show };
  };

  return {
    element,
    /** @param {Line[]} lines */
    show(lines) {
      const focused = /** @type {HTMLElement | null} */ (document.activeElement);
      const elements = lines.map((line, index) => {
        let row = rows.get(line.key);
        if (!row) rows.set(line.key, row = createRow(line.key));
        row.show(line, index === 0, index === lines.length - 1);
        return row.row;
      });
      for (const key of rows.keys()) if (!lines.some((line) => line.key === key)) rows.delete(key);
      if (elements.length === element.children.length && elements.every((one, at) => element.children[at] === one)) return;
      const hadFocus = focused && element.contains(focused);
      element.replaceChildren(...elements);
      if (!hadFocus || !element.contains(focused)) return;
      const near = /** @type {HTMLButtonElement} */ (focused);
      if (!near.disabled) near.focus({ preventScroll: true });
      if (document.activeElement !== near) /** @type {HTMLElement | null} */ (near.closest("li")?.querySelector(".lorchestra-publish-open"))?.focus();
      near.closest("li")?.scrollIntoView({ block: "nearest" });
    },
  };
}

/** @param {string} path @param {() => void} onclick */
function button(path, onclick) {
  return create("button", { type: "button", class: "lorchestra-publish-icon", onclick }, icon(path));
}

/** @param {HTMLElement} element @param {string} words */
function say(element, words) {
  element.title = words;
  setAttribute(element, "aria-label", words);
}

/** @param {HTMLElement} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
