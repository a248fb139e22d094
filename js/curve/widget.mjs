// @ts-check
/** The curve editor on the LoRA Schedule node. Its value is that of the node's `preset` and `text`; it has none itself. */

import { after, drawnOnCanvas, guardWidth, isNodes2, passPointerOn, whenDrawn } from "../base/canvas.mjs";
import { inputNamed, isInGraph, widgetNamed } from "../base/graph.mjs";
import { t } from "../base/words.mjs";
import { createCurveEditor, CURVE_CLASS } from "./editor.mjs";
import { runAfter, runOf } from "./run.mjs";
import { askServer } from "./server.mjs";
import { CURVE_HEIGHT } from "./style.mjs";

/** @import { Comfy, GraphNode, HookedNode, Widget } from "../types.d.ts" */

export const CURVE_TYPE = "LORCHESTRA_CURVE";
const NAME = "lorchestra_curve";
const FROM_TEXT = "from text"; // the choice of `preset` with which the text counts
const MARGIN = 10; // of a DOM widget in the classic renderer, above and below
const MIN_WIDTH = 380;

/**
 * Gives a LoRA Schedule its curve; to be called when the node is made.
 * @param {Comfy} comfy
 * @param {HookedNode} node
 */
export function installCurve({ app, api }, node) {
  const preset = widgetNamed(node, "preset");
  const text = widgetNamed(node, "text");
  if (!preset || !text) return;
  /** @type {number[] | undefined} of the last run; a link alone does not say them */
  let sigmas;
  const steps = widgetNamed(node, "steps");
  const hasOwnSteps = () => steps && !isLinked(node, "steps") && !isLinked(node, "sigmas");
  const run = () => (sigmas ? { sigmas } : { ...runOf(node), sampler: hasOwnSteps() ? runAfter(node).steps : undefined });
  const isFromText = () => !preset.value || preset.value === FROM_TEXT;
  const write = (/** @type {Widget | undefined} */ widget, /** @type {string | number} */ value) => {
    if (!widget || widget.value === value) return;
    widget.value = value;
    widget.callback?.(value);
  };
  const editor = createCurveEditor({
    read: () => ({
      text: isFromText() ? String(text.value ?? "") : String(preset.value),
      preset: isFromText() ? undefined : String(preset.value),
      locked: isLinked(node, "preset") || (isFromText() && isLinked(node, "text")) ? t("The schedule comes through a link") : "",
    }),
    write: (value) => {
      write(text, value);
      write(preset, FROM_TEXT);
    },
    choose: (name) => write(preset, name),
    begin: () => {
      keepHistoryOut(text, editor.element);
      app.canvas?.emitBeforeChange?.();
    },
    finish: () => app.canvas?.emitAfterChange?.(),
    ask: (value) => askServer(api, value, run()),
    run,
    takeSteps: (count) => write(steps, count),
  });

  // Last of the node's widgets and saved nowhere: values are restored by position, so one before others would shift them.
  const widget = node.addDOMWidget(NAME, CURVE_TYPE, editor.element, {
    getValue: () => "",
    setValue: () => {},
    getMinHeight: () => CURVE_HEIGHT + 2 * MARGIN,
    hideOnZoom: false,
    serialize: false,
  });
  widget.serialize = false;
  guardWidth(widget);
  passPointerOn(app, editor.element);

  let waiting = false;
  const renderSoon = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      editor.render();
    });
  };
  for (const own of [preset, text, steps]) if (own) after(own, "callback", renderSoon);
  text.element?.addEventListener?.("input", renderSoon);
  after(node, "onConfigure", renderSoon);
  after(node, "onConnectionsChange", () => {
    if (!isLinked(node, "sigmas")) sigmas = undefined;
    renderSoon();
  });
  after(node, "onExecuted", (output) => {
    const found = /** @type {{sigmas?: unknown} | undefined} */ (output)?.sigmas;
    sigmas = Array.isArray(found) && found.length > 1 && found.every(Number.isFinite) ? found : undefined;
    renderSoon();
  });
  after(node, "onRemoved", () => editor.destroy());
  node.setSize?.([Math.max(node.size[0], MIN_WIDTH), Math.max(node.size[1], node.computeSize()[1])]);
  showLive(node, editor.element);
}

/** @type {WeakSet<Element>} */
const guarded = new WeakSet();

/**
 * Ctrl+Z on the canvas is also the browser's own undo of what was last typed into the text. After the curve has written
 * there, that would put pieces of old text between new ones, so it is only for a text that has the focus.
 * @param {Widget} text
 * @param {HTMLElement} element of the curve
 */
function keepHistoryOut(text, element) {
  const root = isNodes2() ? element.closest("[data-node-id]") : text.element;
  if (!root || guarded.has(root)) return;
  guarded.add(root);
  root.addEventListener("beforeinput", (event) => {
    if (/^history/.test(/** @type {InputEvent} */ (event).inputType) && event.target !== document.activeElement) event.preventDefault();
  });
}

/**
 * After undo and redo, newer Nodes 2.0 keep showing the element of the node that was replaced; this shows the new one.
 * @param {GraphNode} node
 * @param {HTMLElement} element
 */
function showLive(node, element) {
  const heal = () => {
    if (!isNodes2() || !isInGraph(node)) return;
    const drawn = drawnOnCanvas(node);
    if (!drawn || drawn.contains(element)) return;
    drawn.querySelector(`.${CURVE_CLASS}`)?.replaceWith(element);
  };
  whenDrawn(heal);
}

/**
 * @param {GraphNode} node
 * @param {string} name
 */
function isLinked(node, name) {
  return inputNamed(node, name)?.link != null;
}
