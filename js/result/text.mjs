// @ts-check
/** The text that a node shows after it ran. */

import { addShownWidget, after, makeRoom, MARGIN } from "../base/canvas.mjs";
import { t, told } from "../base/words.mjs";
import { crc32 } from "../values/crc32.mjs";

/** @import { App, GraphNode, HookedNode } from "../types.d.ts" */

export const RESULT_TYPE = "LORCHESTRA_RESULT";
const NAME = "lorchestra_result";
const PREVIEW_NAME = "$$canvas-image-preview"; // of ComfyUI's own widget
const LINE_HEIGHT = 16;
const CHARACTER_WIDTH = 6.7; // of a monospace font at 11 pixels
const SIDES = 40; // margins and padding left and right of the text
const MAX_LINES = 10;
const PADDING = 14;

/**
 * @typedef {object} Result
 * @property {() => string} label what a screen reader calls the text
 * @property {(node: HookedNode) => About | undefined} [about] what the next run would be about; nothing where that is not known
 * @property {number} [known] how many lines at the beginning the node shows in other ways; a text of no more is hidden
 */

/** @typedef {{text: string, meaning: string}} About a text as it is queued, and the same for all texts that mean the same */

/**
 * @typedef {{text?: string[], said?: import("../base/words.mjs").Said[], images?: unknown[], rows?: string[]}} Output of a
 *   node's run, as its `ui` says it; `said` is the text in lines that can be translated
 */

/** What greys the report of a node whose text has become another one. @type {WeakMap<GraphNode, () => void>} */
const refreshing = new WeakMap();

/**
 * To be called when the text has changed that a node's report is about.
 * @param {GraphNode} node
 */
export function refreshResult(node) {
  refreshing.get(node)?.();
}

/**
 * Shows what `ui.text` holds each time the node ran.
 * @param {App} app
 * @param {HookedNode} node
 * @param {Result} result
 */
export function showResults(app, node, { label, about, known = 0 }) {
  after(node, "onExecuted", (value) => {
    const output = /** @type {Output | undefined} */ (value);
    if (output?.images?.length === 0) forgetPictures(node);
    if (!Array.isArray(output?.text)) return;
    const shown = node.widgets?.find((own) => own.type === RESULT_TYPE);
    const { element: area } = shown ?? create(app, node, label());
    const element = /** @type {HTMLTextAreaElement} */ (area);
    const all = (output.said?.map((line) => told(line)) ?? output.text).join("\n");
    const text = all.split("\n").slice(known).join("\n");
    const hidden = known > 0 && !text;
    element.value = hidden ? all : text;
    element.style.display = hidden ? "none" : "block";
    const perLine = Math.max(Math.floor((node.size[0] - SIDES) / CHARACTER_WIDTH), 1);
    const needed = text.split("\n").reduce((sum, line) => sum + Math.max(Math.ceil(line.length / perLine), 1), 0);
    const lines = Math.min(needed, MAX_LINES);
    element.style.minHeight = `${lines * LINE_HEIGHT + PADDING}px`;
    makeRoom(node);
    const [sum] = output.rows ?? [];
    if (!about || typeof sum !== "string") return;
    /** @type {string | undefined} of what has run, once it is known */
    let meaning;
    const grey = () => {
      const now = about(node);
      if (now && meaning === undefined && crc32(now.text) === sum) meaning = now.meaning;
      const isOld = now !== undefined && now.meaning !== meaning;
      element.classList.toggle("lorchestra-result-old", isOld);
      element.style.opacity = isOld ? "0.5" : "";
      element.title = isOld ? t("The rows have changed since this run") : "";
      element.setAttribute("aria-label", isOld ? `${label()}. ${element.title}` : label());
    };
    refreshing.set(node, grey);
    grey();
  });
}

/**
 * The classic renderer would go on showing the picture of an earlier run; and its preview, which old frontends cannot
 * draw without a picture, comes back with the next one.
 * @param {HookedNode} node
 */
function forgetPictures(node) {
  node.imgs = undefined;
  node.imageIndex = null;
  const widgets = node.widgets ?? [];
  const preview = widgets.findIndex((own) => own.name === PREVIEW_NAME);
  if (preview >= 0) widgets.splice(preview, 1)[0].onRemove?.();
  node.setDirtyCanvas?.(true, true);
}

/**
 * @param {App} app
 * @param {HookedNode} node
 * @param {string} label
 */
function create(app, node, label) {
  const element = document.createElement("textarea");
  element.readOnly = true;
  element.className = "lorchestra-result";
  element.setAttribute("aria-label", label);
  element.dataset.captureWheel = "true";
  element.style.cssText = `box-sizing:border-box;width:100%;resize:none;padding:6px 8px;font-size:11px;
    line-height:${LINE_HEIGHT}px;white-space:pre-wrap;overflow-wrap:anywhere;overflow:auto;
    font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;
    border:1px solid var(--border-color,#4e4e4e);border-radius:6px;
    background:transparent;color:var(--component-node-foreground,var(--input-text,#ddd))`;
  const isShown = () => element.style.display !== "none";
  return addShownWidget(app, node, {
    name: NAME, type: RESULT_TYPE, element, value: () => element.value,
    least: () => (isShown() ? Number.parseInt(element.style.minHeight || "0", 10) + 2 * MARGIN : 0),
    most: () => (isShown() ? undefined : 0),
  });
}
