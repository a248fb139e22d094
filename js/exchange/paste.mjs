// @ts-check
/** Pasting rows onto a LoRA Stack that is selected. With the focus in the list, the list takes them itself. */

import { asOneStep } from "../base/canvas.mjs";
import { ROOT_CLASS } from "../base/dom.mjs";
import { isInGraph } from "../base/graph.mjs";
import { readStack, toText, writeStack } from "../values/stack.mjs";
import { t } from "../base/words.mjs";
import { mayBeRows, readPasted } from "./clipboard.mjs";
import { tell } from "../base/toast.mjs";

/** @import { App, Comfy, GraphNode, Widget } from "../types.d.ts" */

const LORAS_TYPE = "LORCHESTRA_LORAS"; // as Python declares it

/**
 * Listens for pasting, before ComfyUI does. Every paste that is not rows onto one selected stack is left untouched.
 * @param {Comfy} comfy
 */
export function installPaste(comfy) {
  document.addEventListener("paste", (event) => {
    const target = /** @type {Element | null} */ (event.target);
    const data = event.clipboardData;
    if (!data || event.defaultPrevented || data.files.length) return;
    if (target?.closest?.(`.${ROOT_CLASS}, input, textarea, select, [contenteditable="true"]`)) return;
    if (data.getData("text/html").includes("data-metadata=")) return; // nodes that were copied
    const node = selectedStack(comfy.app);
    const text = node && data.getData("text/plain");
    if (!text || !mayBeRows(text)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    void pasteInto(comfy, node, text);
  }, true);
}

/**
 * The rows that are in the clipboard, for a menu. Where there are none to be had, a toast says why.
 * @param {Comfy} comfy
 * @returns {Promise<import("../values/stack.mjs").Row[]>}
 */
export async function rowsInClipboard(comfy) {
  let text;
  try {
    text = await navigator.clipboard.readText();
  } catch { // refused, or a page over plain http, which has no clipboard
    tell(comfy.app, "warn", t("The browser does not let this page read the clipboard"), [
      t("Press Ctrl+V instead, while the LoRA Stack is selected. On a Mac: Cmd+V."),
    ]);
    return [];
  }
  if (!mayBeRows(text)) tell(comfy.app, "warn", t("There are no LoRAs in the clipboard"));
  return (await readPasted(comfy, text))?.rows ?? [];
}

/**
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @param {string} text
 */
async function pasteInto(comfy, node, text) {
  const found = await readPasted(comfy, text);
  const widget = lorasWidget(node);
  if (!found || !widget || !isInGraph(node)) return;
  if (!appendRows(comfy.app, widget, found.rows)) {
    tell(comfy.app, "error", t("The LoRAs could not be pasted"), [readStack(toText(widget.value)).error]);
  }
}

/**
 * Rows at the end of a stack, as one step of undo.
 * @param {App} app
 * @param {Widget} widget
 * @param {import("../values/stack.mjs").Row[]} rows
 * @returns {boolean} false where the stack's text cannot be read; then nothing is changed
 */
export function appendRows(app, widget, rows) {
  const stack = readStack(toText(widget.value));
  if (stack.error) return false;
  asOneStep(app, () => {
    widget.value = writeStack(stack, [...stack.rows, ...rows]);
    widget.callback?.(widget.value);
  });
  return true;
}

/**
 * @param {GraphNode} node
 * @returns {Widget | undefined} the widget with the rows, also one that was promoted to a subgraph's node; undefined
 *   where the rows come through a link
 */
export function lorasWidget(node) {
  const widget = node?.widgets?.find((one) => one.type === LORAS_TYPE);
  const input = widget && node.inputs?.find((one) => one.widget?.name === widget.name);
  return input?.link == null ? widget : undefined;
}

/** @param {App} app @returns {GraphNode | undefined} the only selected node, when it has rows */
function selectedStack(app) {
  const selected = /** @type {GraphNode[]} */ ([...(app.canvas?.selectedItems ?? Object.values(app.canvas?.selected_nodes ?? {}))]);
  return selected.length === 1 && lorasWidget(selected[0]) ? selected[0] : undefined;
}
