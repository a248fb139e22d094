// @ts-check
/**
 * The list as an input of an app. App mode takes the element of a widget out of the node and into its panel; the classic
 * renderer, which still draws the hidden canvas, may take it back, and then the panel is empty.
 */

/** @import { DomWidget, GraphNode, Widget } from "../types.d.ts" */

const TAG = "lorchestra-moved";

/** What is to be looked at in the next frame. @type {Set<(rows: Map<string, Element>) => void>} */
const moved = new Set();

/**
 * App mode's rows by their keys; an empty map where App mode is off.
 * @returns {Map<string, Element>}
 */
export function appRows() {
  const rows = [...document.querySelectorAll("[data-widget-key]")];
  return new Map(rows.map((row) => [row.getAttribute("data-widget-key") ?? "", row]));
}

/** The key of a widget's row. @param {GraphNode} node @param {Widget} widget @returns {string} */
export function appKey(node, widget) {
  return widget.widgetId ?? `${node.graph?.id}:${node.id}:${widget.name}`;
}

/**
 * Puts the element of a widget back into App mode's panel whenever it is moved out of sight.
 * @param {GraphNode} node
 * @param {DomWidget} widget
 */
export function keepInApp(node, widget) {
  const { element } = widget;
  /** @param {Map<string, Element>} rows */
  const settle = (rows) => {
    const row = rows.get(appKey(node, widget));
    if (!row || row.contains(element) || element.checkVisibility?.() !== false) return;
    row.querySelector('[data-testid="node-widget"]')?.lastElementChild?.replaceChildren(element);
  };
  element.prepend(createMark(() => {
    if (!moved.size) requestAnimationFrame(settleAll);
    moved.add(settle);
  }));
}

function settleAll() {
  const all = [...moved];
  moved.clear();
  const rows = appRows();
  if (rows.size) for (const settle of all) settle(rows);
}

/**
 * An element without any looks that tells when it, and what is around it, has been moved.
 * @param {() => void} onMove
 * @returns {HTMLElement}
 */
function createMark(onMove) {
  if (!customElements.get(TAG)) {
    customElements.define(TAG, class extends HTMLElement {
      /** @type {(() => void) | undefined} */
      onMove;

      connectedCallback() {
        this.onMove?.();
      }
    });
  }
  const mark = /** @type {HTMLElement & {onMove?: () => void}} */ (document.createElement(TAG));
  mark.onMove = onMove;
  mark.hidden = true;
  return mark;
}
