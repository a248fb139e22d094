// @ts-check
/** A list or grid of any length of which only what can be seen is in the page. All rows have the same height. */

import { create } from "../base/dom.mjs";

const SPARE = 6; // rows above and below, so that a fast wheel does not show gaps

/**
 * @typedef {object} VirtualList
 * @property {HTMLElement} element scrolls
 * @property {() => void} measure after its height has changed, where that matters before the next frame
 * @property {(count: number) => void} show shows so many rows, each anew
 * @property {() => void} render shows the rows that can be seen anew
 * @property {(index: number, place?: "nearest" | "center") => void} reveal scrolls until it can be seen
 * @property {() => number} page how many of them fit
 * @property {() => number} columns how many stand side by side
 * @property {(target: EventTarget | null) => number} indexOf the row that an element is in, or -1
 * @property {() => void} close
 */

/**
 * @param {object} options
 * @param {number} options.rowHeight in pixels
 * @param {number} [options.columnWidth] in pixels, for a grid of as many columns as there is room for
 * @param {string} options.class
 * @param {import("../base/dom.mjs").Properties} options.properties of the element that scrolls
 * @param {() => HTMLElement} options.createRow
 * @param {(row: HTMLElement, index: number) => void} options.showRow fills a row that was made by `createRow`
 * @returns {VirtualList}
 */
export function createVirtualList({ rowHeight, columnWidth = 0, class: className, properties, createRow, showRow }) {
  const space = create("div", { role: "presentation", style: "position:relative" });
  const element = create("div", { class: className, ...properties }, space);
  /** @type {{row: HTMLElement, index: number}[]} index i is always shown by the same one */
  let pool = [];
  let count = 0;
  // As they were seen last: to ask for them makes the browser lay out the page.
  let height = 0;
  let top = 0;
  let columns = 1;

  const lines = () => Math.ceil(count / columns);
  /** @param {boolean} anew */
  const render = (anew) => {
    height ||= element.clientHeight;
    top = Math.max(Math.min(top, lines() * rowHeight - height), 0);
    const spare = columnWidth ? 1 : SPARE;
    const needed = Math.min((Math.ceil(height / rowHeight) + 2 * spare + 1) * columns, count);
    if (needed !== pool.length) {
      for (const { row } of pool.splice(needed)) row.remove();
      while (pool.length < needed) {
        const row = createRow();
        row.style.cssText += `;position:absolute;top:0;height:${rowHeight}px;${columnWidth ? "inset-inline-start:0" : "inset-inline:0"}`;
        pool.push({ row, index: -1 });
        space.append(row);
      }
      anew = true;
    }
    const first = Math.max(Math.min((Math.floor(top / rowHeight) - spare) * columns, count - needed), 0);
    for (let index = first; index < first + needed; index += 1) {
      const slot = pool[index % needed];
      if (slot.index === index && !anew) continue;
      slot.index = index;
      slot.row.dataset.index = String(index);
      slot.row.style.transform = `translateY(${Math.floor(index / columns) * rowHeight}px)`;
      if (columnWidth) {
        slot.row.style.width = `${100 / columns}%`;
        slot.row.style.insetInlineStart = `${index % columns * 100 / columns}%`;
      }
      showRow(slot.row, index);
    }
  };
  const measure = () => {
    height = element.clientHeight;
    top = element.scrollTop;
    const fitting = columnWidth ? Math.max(Math.floor(element.clientWidth / columnWidth), 1) : 1;
    const isOther = fitting !== columns;
    columns = fitting;
    if (isOther) space.style.height = `${lines() * rowHeight}px`;
    if (height) render(isOther);
  };

  element.addEventListener("scroll", measure, { passive: true });
  const observer = new ResizeObserver(measure);
  observer.observe(element);

  return {
    element,
    measure,
    show(next) {
      count = next;
      space.style.height = `${lines() * rowHeight}px`;
      render(true);
    },
    render: () => render(true),
    reveal(index, place = "nearest") {
      const at = Math.floor(index / columns) * rowHeight;
      let next = top;
      if (place === "center") next = at - (height - rowHeight) / 2;
      else if (at < top) next = at;
      else if (at + rowHeight > top + height) next = at + rowHeight - height;
      if (next === top) return;
      element.scrollTop = next;
      measure();
    },
    page: () => Math.max(Math.floor(height / rowHeight) - 1, 1) * columns,
    columns: () => columns,
    indexOf(target) {
      const row = target instanceof Element ? target.closest("[data-index]") : null;
      return row && space.contains(row) ? Number(/** @type {HTMLElement} */ (row).dataset.index) : -1;
    },
    close: () => observer.disconnect(),
  };
}
