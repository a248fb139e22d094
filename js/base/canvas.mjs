// @ts-check
/** What our elements, ComfyUI's nodes and its canvas have to tell each other. */

/** @import { App, GraphNode, HookedNode, Page, Widget } from "../types.d.ts" */

/** Of a DOM widget in the classic renderer, above and below; in pixels. */
export const MARGIN = 10;
/** Nodes 2.0 make nodes this much higher than they compute, at most; in pixels. */
const NODES2_SLACK = 30;

/** @returns {Page} what ComfyUI puts beside its two objects */
export function page() {
  return /** @type {Page} */ (globalThis);
}

/** @returns {boolean} whether nodes are drawn by Nodes 2.0 */
export function isNodes2() {
  return Boolean(page().LiteGraph?.vueNodesMode);
}

/**
 * Calls a function after one of the own functions of a node or of a widget, with the first of the same values; what
 * others put there before and after stays.
 * @param {GraphNode | Widget} of
 * @param {string} name
 * @param {(value: unknown) => void} then
 */
export function after(of, name, then) {
  const functions = /** @type {Record<string, ((...values: unknown[]) => unknown) | undefined>} */ (/** @type {unknown} */ (of));
  const original = functions[name];
  functions[name] = function (...values) {
    const result = original?.apply(this, values);
    then(values[0]);
    return result;
  };
}

/**
 * The element that Nodes 2.0 draw for a node on the canvas.
 * @param {GraphNode} node
 * @returns {Element | null}
 */
export function drawnOnCanvas(node) {
  return document.querySelector(`[data-node-id="${CSS.escape(String(node.id))}"]`);
}

/**
 * Calls a function when the page has been drawn after undo and redo, and once more for slower parts of ComfyUI.
 * @param {() => void} run
 */
export function whenDrawn(run) {
  requestAnimationFrame(() => requestAnimationFrame(run));
  setTimeout(run, 250);
}

/**
 * Makes one step of undo out of a change. ComfyUI takes its snapshot on mouseup, before a click's handlers run, so a
 * change that does not say that it is one would be undone one step too late.
 * @param {App} app
 * @param {() => void} change
 */
export function asOneStep(app, change) {
  app.canvas?.emitBeforeChange?.();
  try {
    change();
  } finally {
    app.canvas?.emitAfterChange?.();
  }
}

/**
 * The same for a change that may turn out wrong at its end: then ComfyUI undoes it, and cannot do it again.
 * @param {App} app
 * @param {() => boolean} change whether it may stay; where it throws, it may not
 * @returns {Promise<boolean>} whether it stays
 */
export async function asOneStepOrNone(app, change) {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker); // what has not been one yet is a step of its own
  const last = tracker?.undoQueue?.at(-1);
  let stays = false;
  try {
    asOneStep(app, () => { stays = change(); });
  } finally {
    if (!stays && tracker?.undoQueue?.length && tracker.undoQueue.at(-1) !== last) {
      await tracker.undo();
      tracker.redoQueue?.pop();
    }
  }
  return stays;
}

/**
 * Lets the wheel and the middle button reach the canvas, where the classic renderer's overlay would swallow them.
 * The wheel stays with a text or a list that has the focus in it and more than fits. Nodes 2.0 does all this by itself.
 * @param {App} app
 * @param {HTMLElement} element
 */
export function passPointerOn(app, element) {
  element.addEventListener("wheel", (event) => {
    if (isNodes2()) return;
    const scrolls = scrollsIn(/** @type {HTMLElement} */ (event.target), element);
    if (scrolls && !event.ctrlKey && Math.abs(event.deltaY) >= Math.abs(event.deltaX)) return;
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  }, { passive: false });
  /** @type {[keyof HTMLElementEventMap, (event: PointerEvent) => boolean, "processMouseDown" | "processMouseMove" | "processMouseUp"][]} */
  const forwarded = [
    ["pointerdown", (event) => event.button === 1, "processMouseDown"],
    ["pointermove", (event) => (event.buttons & 4) === 4, "processMouseMove"],
    ["pointerup", (event) => event.button === 1, "processMouseUp"],
  ];
  for (const [kind, isMiddle, method] of forwarded) {
    element.addEventListener(kind, (event) => {
      const pointer = /** @type {PointerEvent} */ (event);
      if (!isNodes2() && isMiddle(pointer)) app.canvas[method](pointer);
    });
  }
}

/**
 * @param {HTMLElement} target of the wheel
 * @param {HTMLElement} outermost
 * @returns {boolean} whether something around it has the focus in it and can be scrolled
 */
function scrollsIn(target, outermost) {
  for (let at = /** @type {HTMLElement | null} */ (target); at && outermost.contains(at); at = at.parentElement) {
    const overflow = getComputedStyle(at).overflowY;
    const canScroll = at.scrollHeight > at.clientHeight && (overflow === "auto" || overflow === "scroll");
    if (canScroll) return at.contains(document.activeElement);
  }
  return false;
}

/**
 * ComfyUI's side panel writes its own width into widgets, after which the classic overlay is drawn too narrow.
 * @param {Widget} widget
 */
export function guardWidth(widget) {
  Object.defineProperty(widget, "width", { get: () => undefined, set() {}, configurable: true });
}

/**
 * A widget that only shows something. It is the last of the node's widgets and saved nowhere: values are restored by
 * position, so one before others would shift them.
 * @param {App} app
 * @param {HookedNode} node
 * @param {object} of
 * @param {string} of.name
 * @param {string} of.type
 * @param {HTMLElement} of.element
 * @param {() => string} [of.value] what others may read
 * @param {() => number} of.least height in pixels
 * @param {() => number | undefined} [of.most]
 */
export function addShownWidget(app, node, { name, type, element, value = () => "", least, most }) {
  const widget = node.addDOMWidget(name, type, element, {
    getValue: value,
    setValue: () => {},
    getMinHeight: least,
    ...(most && { getMaxHeight: most }),
    hideOnZoom: false,
    hideInPanel: true, // where ComfyUI would leave a gap
    serialize: false,
  });
  widget.serialize = false;
  guardWidth(widget);
  passPointerOn(app, element);
  return widget;
}

/**
 * Makes the node at least as high as its contents.
 * @param {GraphNode} node
 */
export function makeRoom(node) {
  const height = node.computeSize()[1];
  if (node.size[1] < height) node.setSize([node.size[0], height]);
  node.setDirtyCanvas?.(true, true);
}

/**
 * One step of undo that may change how high the node's contents are; see `sized`.
 * @param {App} app
 * @param {GraphNode} node
 * @param {() => void} change
 */
export function asOneSizedStep(app, node, change) {
  sized(node, change, (run) => asOneStep(app, run));
}

/**
 * A change of how high a node's contents may be. The node follows them, unless it was made higher than they are. It
 * follows by the difference: Nodes 2.0 measure more than is computed, and a size that is not the measured one would be a
 * change of its own after the next undo.
 * @param {GraphNode} node
 * @param {() => void} change
 * @param {(run: () => void) => void} [around] what both are done in
 */
export function sized(node, change, around = (run) => run()) {
  const before = node.computeSize()[1];
  const slack = node.size[1] - before;
  const fitted = slack < (isNodes2() ? NODES2_SLACK : 2);
  const fit = () => {
    const least = node.computeSize()[1];
    const height = fitted ? least + Math.max(slack, 0) : Math.max(node.size[1], least);
    if (node.size[1] !== height) node.setSize([node.size[0], height]);
    node.setDirtyCanvas?.(true, true);
  };
  around(() => {
    change();
    fit();
  });
  // Newer Nodes 2.0 do not go below the height that was measured last: once more when the page has been laid out.
  if (isNodes2() && node.computeSize()[1] < before) requestAnimationFrame(() => requestAnimationFrame(fit));
}
