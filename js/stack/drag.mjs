// @ts-check
/** Moves a row by its handle; the pointer is captured, so that it works wherever ComfyUI puts the element. */

const EDGE = 20; // of a list that scrolls, in pixels
const SCROLL = 6;

/**
 * @param {object} options
 * @param {PointerEvent} options.event the press on the handle
 * @param {HTMLElement} options.list
 * @param {(to: number) => void} options.onDrop called when the row has another place among all that is seen
 */
export function dragRow({ event, list, onDrop }) {
  if (event.button !== 0) return;
  event.preventDefault();
  event.stopPropagation();
  const handle = /** @type {HTMLElement} */ (event.currentTarget);
  const rows = /** @type {HTMLElement[]} */ ([...list.children].filter((one) => !/** @type {HTMLElement} */ (one).hidden)); // heads of groups among them
  const row = /** @type {HTMLElement} */ (handle.closest(".lorchestra-row"));
  const index = rows.indexOf(row);
  const height = row.offsetHeight;
  const places = rows.map(({ offsetTop, offsetHeight }) => ({ top: offsetTop, middle: offsetTop + offsetHeight / 2, bottom: offsetTop + offsetHeight }));
  const { top, bottom } = places[index];
  const scale = row.getBoundingClientRect().height / height || 1; // the canvas may be zoomed
  const start = event.clientY;
  const scrolled = list.scrollTop;
  let to = index;

  const show = (/** @type {number} */ clientY) => {
    const moved = (clientY - start) / scale + list.scrollTop - scrolled;
    const offset = Math.min(Math.max(moved, places[0].top - top), places[rows.length - 1].bottom - bottom);
    const above = places.findIndex(({ middle }, at) => at < index && top + offset < middle);
    const below = places.findLastIndex(({ middle }, at) => at > index && bottom + offset > middle);
    to = above >= 0 ? above : below >= 0 ? below : index;
    rows.forEach((one, at) => {
      const shift = at === index ? offset : at > index && at <= to ? -height : at < index && at >= to ? height : 0;
      one.style.transform = shift ? `translateY(${shift}px)` : "";
    });
  };
  const move = (/** @type {PointerEvent} */ now) => {
    const box = list.getBoundingClientRect();
    if (list.scrollHeight > list.clientHeight) {
      if (now.clientY < box.top + EDGE * scale) list.scrollTop -= SCROLL;
      if (now.clientY > box.bottom - EDGE * scale) list.scrollTop += SCROLL;
    }
    show(now.clientY);
  };
  const end = (/** @type {Event} */ now) => {
    handle.removeEventListener("pointermove", move);
    handle.removeEventListener("pointerup", end);
    handle.removeEventListener("pointercancel", end);
    list.classList.remove("lorchestra-stack-moving");
    row.classList.remove("lorchestra-lifted");
    for (const one of rows) one.style.transform = "";
    if (now.type === "pointerup" && to !== index) onDrop(to);
  };
  handle.setPointerCapture(event.pointerId);
  handle.addEventListener("pointermove", move);
  handle.addEventListener("pointerup", end);
  handle.addEventListener("pointercancel", end);
  list.classList.add("lorchestra-stack-moving");
  row.classList.add("lorchestra-lifted");
}
