// @ts-check
/** What fingers do that a mouse does otherwise. */

const HOLD = 500; // milliseconds
const STRAY = 10; // pixels that a finger may move and still hold
const LATE = 400; // milliseconds after the finger is up in which a click may still come of it

/**
 * Makes a right click of a long press inside an element: `contextmenu` is dispatched where the finger is, and whatever
 * the press would have done else is called off. Browsers that make one themselves do not make a second one.
 * @param {HTMLElement} element
 */
export function holdAsRightClick(element) {
  /** @type {(() => void) | undefined} */
  let forget;
  element.addEventListener("pointerdown", (press) => {
    forget?.();
    const target = /** @type {HTMLElement} */ (press.target);
    if (press.pointerType !== "touch" || !press.isPrimary || target.closest("input, textarea, select")) return;
    const { clientX, clientY, pointerId } = press;

    const takeOver = () => {
      stop();
      target.dispatchEvent(new PointerEvent("pointercancel", { pointerId, pointerType: "touch", isPrimary: true, bubbles: true }));
      if (target.hasPointerCapture(pointerId)) target.releasePointerCapture(pointerId);
      swallowRest(element, pointerId);
    };
    /** The browser's own. */
    const onMenu = () => takeOver();
    const onMove = (/** @type {PointerEvent} */ now) => {
      if (now.pointerId !== pointerId || Math.hypot(now.clientX - clientX, now.clientY - clientY) > STRAY) stop();
    };
    const timer = setTimeout(() => {
      takeOver();
      if (target.isConnected) {
        target.dispatchEvent(new MouseEvent("contextmenu", { clientX, clientY, button: 2, bubbles: true, cancelable: true }));
      }
    }, HOLD);
    const stop = () => {
      clearTimeout(timer);
      element.removeEventListener("contextmenu", onMenu, true);
      window.removeEventListener("pointermove", onMove, true);
      for (const kind of ["pointerup", "pointercancel", "pointerdown"]) window.removeEventListener(kind, stop, true);
      forget = undefined;
    };
    forget = stop;
    element.addEventListener("contextmenu", onMenu, true);
    window.addEventListener("pointermove", onMove, true);
    for (const kind of ["pointerup", "pointercancel", "pointerdown"]) window.addEventListener(kind, stop, true);
  });
}

const REST = ["contextmenu", "mousedown", "click"];

/**
 * Keeps what the browser still makes of a press from the element: its own `contextmenu`, the focus, and a click.
 * @param {HTMLElement} element
 * @param {number} pointerId
 */
function swallowRest(element, pointerId) {
  const swallow = (/** @type {Event} */ event) => {
    if (!event.isTrusted) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const onUp = (/** @type {PointerEvent} */ event) => { if (event.isTrusted && event.pointerId === pointerId) setTimeout(stop, LATE); };
  const stop = () => {
    for (const kind of REST) element.removeEventListener(kind, swallow, true);
    for (const kind of ["pointerup", "pointercancel"]) window.removeEventListener(kind, /** @type {EventListener} */ (onUp), true);
  };
  for (const kind of ["pointerup", "pointercancel"]) window.addEventListener(kind, /** @type {EventListener} */ (onUp), true);
  for (const kind of REST) element.addEventListener(kind, swallow, true);
}
