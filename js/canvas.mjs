// @ts-check
/** What our elements and ComfyUI's canvas have to tell each other. Every function takes the `app`. */

/** @returns {boolean} whether nodes are drawn by Nodes 2.0 */
export function isNodes2() {
  return Boolean(/** @type {any} */ (globalThis).LiteGraph?.vueNodesMode);
}

/**
 * Makes one step of undo out of a change. ComfyUI takes its snapshot on mouseup, before a click's handlers run, so a
 * change that does not say that it is one would be undone one step too late.
 * @param {any} app
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
 * Lets the wheel and the middle button reach the canvas, where the classic renderer's overlay would swallow them.
 * The wheel stays with a text that has the focus and more lines than fit. Nodes 2.0 does all this by itself.
 * @param {any} app
 * @param {HTMLElement} element
 */
export function passPointerOn(app, element) {
  element.addEventListener("wheel", (event) => {
    if (isNodes2()) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const scrolls = target === document.activeElement && target.scrollHeight > target.clientHeight;
    if (scrolls && !event.ctrlKey && Math.abs(event.deltaY) >= Math.abs(event.deltaX)) return;
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  }, { passive: false });
  /** @type {[keyof HTMLElementEventMap, (event: PointerEvent) => boolean, string][]} */
  const forwarded = [
    ["pointerdown", (event) => event.button === 1, "processMouseDown"],
    ["pointermove", (event) => (event.buttons & 4) === 4, "processMouseMove"],
    ["pointerup", (event) => event.button === 1, "processMouseUp"],
  ];
  for (const [kind, isMiddle, method] of forwarded) {
    element.addEventListener(kind, (event) => {
      if (!isNodes2() && isMiddle(/** @type {PointerEvent} */ (event))) app.canvas[method](event);
    });
  }
}

/**
 * ComfyUI's side panel writes its own width into widgets, after which the classic overlay is drawn too narrow.
 * @param {any} widget
 */
export function guardWidth(widget) {
  Object.defineProperty(widget, "width", { get: () => undefined, set() {}, configurable: true });
}

/**
 * Makes the node at least as high as its contents.
 * @param {any} node
 */
export function makeRoom(node) {
  const height = node.computeSize()[1];
  if (node.size[1] < height) node.setSize([node.size[0], height]);
  node.setDirtyCanvas?.(true, true);
}
