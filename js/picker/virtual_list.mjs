// @ts-check
/** A list of any length of which only what can be seen is in the page. All rows have the same height. */

import { create } from "../dom.mjs";

const SPARE = 6; // rows above and below, so that a fast wheel does not show gaps

/**
 * @typedef {object} VirtualList
 * @property {HTMLElement} element scrolls
 * @property {(count: number) => void} show shows so many rows, each anew
 * @property {() => void} render shows the rows that can be seen anew
 * @property {(index: number, place?: "nearest" | "center") => void} reveal scrolls until it can be seen
 * @property {() => number} page how many rows fit
 * @property {(target: EventTarget | null) => number} indexOf the row that an element is in, or -1
 * @property {() => void} close
 */

/**
 * @param {object} options
 * @param {number} options.rowHeight in pixels
 * @param {string} options.class
 * @param {Record<string, any>} options.properties of the element that scrolls
 * @param {() => HTMLElement} options.createRow
 * @param {(row: any, index: number) => void} options.showRow fills a row that was made by `createRow`
 * @returns {VirtualList}
 */
export function createVirtualList({ rowHeight, class: className, properties, createRow, showRow }) {
  const space = create("div", { role: "presentation", style: "position:relative" });
  const element = create("div", { class: className, ...properties }, space);
  /** @type {{row: HTMLElement, index: number}[]} index i is always shown by the same one */
  let pool = [];
  let count = 0;

  /** @param {boolean} anew */
  const render = (anew) => {
    const height = element.clientHeight;
    const needed = Math.min(Math.ceil(height / rowHeight) + 2 * SPARE + 1, count);
    if (needed !== pool.length) {
      for (const { row } of pool.splice(needed)) row.remove();
      while (pool.length < needed) {
        const row = createRow();
        row.style.cssText += `;position:absolute;inset-inline:0;top:0;height:${rowHeight}px`;
        pool.push({ row, index: -1 });
        space.append(row);
      }
      anew = true;
    }
    const top = Math.floor(element.scrollTop / rowHeight) - SPARE;
    const first = Math.max(Math.min(top, count - needed), 0);
    for (let index = first; index < first + needed; index += 1) {
      const slot = pool[index % needed];
      if (slot.index === index && !anew) continue;
      slot.index = index;
      slot.row.dataset.index = String(index);
      slot.row.style.transform = `translateY(${index * rowHeight}px)`;
      showRow(slot.row, index);
    }
  };

  element.addEventListener("scroll", () => render(false), { passive: true });
  const observer = new ResizeObserver(() => render(false));
  observer.observe(element);

  return {
    element,
    show(next) {
      count = next;
      space.style.height = `${count * rowHeight}px`;
      render(true);
    },
    render: () => render(true),
    reveal(index, place = "nearest") {
      const top = index * rowHeight;
      const height = element.clientHeight;
      if (place === "center") element.scrollTop = top - (height - rowHeight) / 2;
      else if (top < element.scrollTop) element.scrollTop = top;
      else if (top + rowHeight > element.scrollTop + height) element.scrollTop = top + rowHeight - height;
      render(false);
    },
    page: () => Math.max(Math.floor(element.clientHeight / rowHeight) - 1, 1),
    indexOf(target) {
      const row = target instanceof Element ? target.closest("[data-index]") : null;
      return row && space.contains(row) ? Number(/** @type {HTMLElement} */ (row).dataset.index) : -1;
    },
    close: () => observer.disconnect(),
  };
}
