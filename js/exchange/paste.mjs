// @ts-check
/** Pasting rows onto a LoRA Stack that is selected. With the focus in the list, the list takes them itself. */

import { asOneStep } from "../base/canvas.mjs";
import { ROOT_CLASS } from "../base/dom.mjs";
import { isInGraph } from "../base/graph.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { lorasWidget } from "../stack/node.mjs";
import { joined } from "../values/groups.mjs";
import { mayBeRows } from "../values/pasted.mjs";
import { toText, writeStack } from "../values/stack.mjs";
import { readPasted, readWhole } from "./clipboard.mjs";

/** @import { App, Comfy, GraphNode } from "../types.d.ts" */
/** @import { Row, Stack } from "../values/stack.mjs" */

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
 * The rows that are in the clipboard, for a menu. If there are none, a toast says why.
 * @param {Comfy} comfy
 * @returns {Promise<Pick<Stack, "rows" | "more">>}
 */
export async function rowsInClipboard(comfy) {
  let text;
  try {
    text = await navigator.clipboard.readText();
  } catch { // refused, or a page over plain http, which has no clipboard
    tell(comfy.app, "warn", t("The browser does not let this page read the clipboard"), [
      t("Press Ctrl+V instead (Cmd+V on a Mac) while the LoRA Stack is selected."),
    ]);
    return { rows: [], more: {} };
  }
  if (!mayBeRows(text)) tell(comfy.app, "warn", t("There are no LoRAs in the clipboard"));
  return (await readPasted(comfy, text)) ?? { rows: [], more: {} };
}

/**
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @param {string} pasted
 */
async function pasteInto(comfy, node, pasted) {
  const found = await readPasted(comfy, pasted);
  if (found) await appendRows(comfy, node, found.rows, found.more);
}

/**
 * Adds rows at the end of a node's stack, as one step of undo. What stands in the way is told in a toast.
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @param {Row[]} rows
 * @param {Record<string, unknown>} [more] with their groups
 */
export async function appendRows(comfy, node, rows, more = {}) {
  const widget = lorasWidget(node);
  if (!widget || !isInGraph(node)) return;
  const text = toText(widget.value);
  const stack = await readWhole(comfy, text);
  if (stack.error) {
    tell(comfy.app, "error", t("The LoRAs could not be pasted"), [stack.error]);
  } else if (isInGraph(node) && toText(widget.value) === text) {
    asOneStep(comfy.app, () => {
      const both = joined(stack, { rows, more });
      widget.value = writeStack({ ...stack, more: both.more }, both.rows);
      widget.callback?.(widget.value);
    });
    if (stack.notes?.length) tell(comfy.app, "info", t("Not kept from the text"), stack.notes);
  }
}

/** @param {App} app @returns {GraphNode | undefined} the only selected node, when it has rows */
export function selectedStack(app) {
  const selected = /** @type {GraphNode[]} */ ([...(app.canvas?.selectedItems ?? Object.values(app.canvas?.selected_nodes ?? {}))]);
  return selected.length === 1 && lorasWidget(selected[0]) ? selected[0] : undefined;
}
