// @ts-check
/**
 * The list as an input of an app. App mode takes the element of a widget out of the node and into its panel; the classic
 * renderer, which still draws the hidden canvas, may take it back, and then the panel is empty.
 */

const TAG = "lorchestra-moved";

/**
 * App mode's row of a widget; null where the widget is no input of the app, or App mode is off.
 * @param {any} node
 * @param {any} widget
 * @returns {Element | null}
 */
export function findAppRow(node, widget) {
  const key = widget.widgetId ?? `${node.graph?.id}:${node.id}:${widget.name}`;
  return document.querySelector(`[data-widget-key="${CSS.escape(key)}"]`);
}

/**
 * Puts the element of a widget back into App mode's panel whenever it is moved to where nobody sees it.
 * @param {any} node
 * @param {any} widget
 */
export function keepInApp(node, widget) {
  const { element } = widget;
  const settle = () => {
    const row = findAppRow(node, widget);
    if (!row || row.contains(element) || element.checkVisibility?.() !== false) return;
    row.querySelector('[data-testid="node-widget"]')?.lastElementChild?.replaceChildren(element);
  };
  element.prepend(createMark(() => requestAnimationFrame(settle)));
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
