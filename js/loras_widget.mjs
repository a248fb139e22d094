// @ts-check
/** The widget of the LoRA Stack, on its own node and where it was promoted to a subgraph's node. */

import { asOneStep, guardWidth, isNodes2, passPointerOn } from "./canvas.mjs";
import { createEditor, EDITOR_CLASS, EDITOR_HEIGHT } from "./loras_editor.mjs";
import { EMPTY, toText } from "./stack_text.mjs";

/** Type of the input, as Python declares it. */
export const LORAS_TYPE = "LORCHESTRA_LORAS";
const MARGIN = 10; // of a DOM widget in the classic renderer, above and below
const MIN_WIDTH = 400;

/**
 * @typedef {object} Comfy
 * @property {any} app
 * @property {any} api
 */

/**
 * @param {Comfy} comfy
 * @param {any} node
 * @param {string} name
 * @param {any} inputData the input's type and options, as `/object_info` has them
 */
export function createLorasWidget(comfy, node, name, inputData) {
  let text = toText(inputData?.[1]?.default || EMPTY);
  const editor = createEditor({
    ...hostFor(comfy, (next) => {
      text = next;
      widget.callback?.(text);
    }),
    read: () => text,
  });
  const widget = node.addDOMWidget(name, LORAS_TYPE, editor.element, {
    getValue: () => text,
    setValue: (/** @type {unknown} */ value) => {
      const next = toText(value);
      if (next === text) return;
      text = next;
      editor.render();
    },
    getMinHeight: () => EDITOR_HEIGHT + 2 * MARGIN,
    hideOnZoom: false,
  });
  guardWidth(widget);
  passPointerOn(comfy.app, editor.element);
  followLink(node, name, editor.element);
  return { widget, minWidth: MIN_WIDTH, minHeight: EDITOR_HEIGHT };
}

/**
 * Gives a subgraph's node the editor for a promoted LoRA Stack. ComfyUI itself draws nothing there but an empty row.
 * The functions used here are private to ComfyUI; where they are missing, ComfyUI's own way is left alone.
 * @param {Comfy} comfy
 * @param {any} node a subgraph's node
 */
export function installPromotion(comfy, node) {
  const original = node.createPromotedHostWidget;
  if (typeof original !== "function" || typeof node._projectPromotedWidget !== "function") return;
  node.createPromotedHostWidget = function (/** @type {any} */ input, /** @type {any} */ id, /** @type {any} */ source) {
    if (source?.type !== LORAS_TYPE) return original.call(this, input, id, source);
    if (this.graph?.getNodeById(this.id) !== this) return undefined; // a copy on its way
    try {
      return createPromotedWidget(comfy, this, input);
    } catch (error) {
      console.warn("[Lorchestra] the promoted LoRA list cannot be shown:", error);
      return undefined;
    }
  };
}

/**
 * @param {Comfy} comfy
 * @param {any} node
 * @param {any} input
 */
function createPromotedWidget(comfy, node, input) {
  const { DOMWidgetImpl, addWidget } = /** @type {any} */ (globalThis).comfyAPI?.domWidget ?? {};
  if (!DOMWidgetImpl || !addWidget) return undefined;
  input._widget = undefined;
  const stored = node._projectPromotedWidget(input); // holds the value that belongs to the subgraph's node
  if (!stored) return undefined;
  const read = () => toText(stored.value || EMPTY);
  const editor = createEditor({
    ...hostFor(comfy, (next) => { stored.value = next; }),
    read,
  });
  const widget = new DOMWidgetImpl({
    node,
    name: input.name,
    type: LORAS_TYPE,
    element: editor.element,
    options: {
      getValue: read,
      setValue: (/** @type {unknown} */ value) => {
        const next = toText(value);
        if (next === read()) return;
        stored.value = next;
        editor.render();
      },
      getMinHeight: () => EDITOR_HEIGHT + 2 * MARGIN,
      hideOnZoom: false,
    },
  });
  // Into the store of DOM widgets only: node.addDOMWidget would make a second widget of the same name.
  addWidget({ addCustomWidget() {}, graph: node.graph }, widget);
  Object.defineProperty(widget, "widgetId", { get: () => stored.widgetId, configurable: true });
  Object.defineProperty(widget, "label", {
    get: () => stored.label,
    set: (label) => { stored.label = label; },
    configurable: true,
  });
  guardWidth(widget);
  passPointerOn(comfy.app, editor.element);
  // A loaded value goes to the store without a word to the widget.
  queueMicrotask(editor.render);
  setTimeout(editor.render, 0);
  return widget;
}

/**
 * After undo and redo, newer Nodes 2.0 keep showing the element of the node that was replaced; this shows the new one.
 * @param {any} app
 */
export function showLiveElements(app) {
  const heal = () => {
    if (!isNodes2()) return;
    for (const node of app.canvas?.graph?.nodes ?? []) {
      for (const widget of node.widgets ?? []) {
        if (widget.type !== LORAS_TYPE || !widget.element) continue;
        const drawn = document.querySelector(`[data-node-id="${CSS.escape(String(node.id))}"]`);
        if (!drawn || drawn.contains(widget.element)) continue;
        drawn.querySelector(`.${EDITOR_CLASS}`)?.replaceWith(widget.element);
      }
    }
  };
  requestAnimationFrame(() => requestAnimationFrame(heal));
  setTimeout(heal, 250);
}

/**
 * @param {Comfy} comfy
 * @param {(text: string) => void} write
 */
function hostFor({ app, api }, write) {
  return {
    type: write,
    commit: (/** @type {string | undefined} */ text) => asOneStep(app, () => { if (text !== undefined) write(text); }),
    fetchLoras: async () => {
      const answer = await api.fetchApi("/models/loras");
      if (!answer.ok) throw new Error(`ComfyUI answered with ${answer.status}`);
      return /** @type {string[]} */ (await answer.json());
    },
  };
}

/**
 * Nodes 2.0 leaves a widget editable whose value comes through a link; then its edits would be for nothing.
 * @param {any} node
 * @param {string} name
 * @param {HTMLElement} element
 */
function followLink(node, name, element) {
  const original = node.onConnectionsChange;
  node.onConnectionsChange = function (/** @type {any[]} */ ...values) {
    const result = original?.apply(this, values);
    const input = this.inputs?.find((/** @type {any} */ slot) => slot.widget?.name === name);
    // Frontends without Nodes 2.0 show this very element on a subgraph's node, where it has to stay editable.
    const linked = isNodes2() && input?.link != null;
    element.inert = linked;
    element.style.opacity = linked ? "0.5" : "";
    return result;
  };
}
