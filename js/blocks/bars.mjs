// @ts-check
/** The bars of one group: sliders that stand side by side, or one below the other where they have names to be read. */

import { create, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { barValue } from "../values/blocks.mjs";
import { clamp, formatWeight, readNumber, rounded } from "../values/numbers.mjs";
import { barLayers, barName, groupName } from "./names.mjs";

/** @import { Bar, Group } from "../values/blocks.mjs" */

const STEP = 0.05;
const FINE = 0.01;
const PAGE = 0.25;
const TOP = 1.5; // of the picture, where no weight is greater

/**
 * @typedef {object} Hand what bars ask for
 * @property {(ids: string[], value: number) => void} set while it may go on
 * @property {() => void} begin of what is one step of undo
 * @property {() => void} finish
 * @property {(id: string) => void} select
 * @property {(id: string) => number} value
 * @property {() => boolean} isKnown whether it is known what the LoRA changes
 */

/**
 * @param {Group} group
 * @param {Hand} hand
 * @returns {{element: HTMLElement, show: (selected: string) => void, focus: (id: string) => boolean}}
 */
export function createGroup(group, hand) {
  const isFlat = group.role !== "blocks";
  const name = groupName(group);
  const bars = group.bars.map((bar) => createBar(bar, isFlat));
  const ones = isFlat ? [] : [create("div", { class: "lorchestra-blocks-one", "aria-hidden": "true" })];
  const all = group.bars.map(({ id }) => id);
  const field = create("input", {
    class: "lorchestra-field", type: "text", inputMode: "decimal", "aria-label": t("Weight of all in {group}", { group: name }),
    title: t("Weight of all in {group}", { group: name }), placeholder: "…",
    onchange: () => {
      const value = readNumber(field.value);
      if (value === null) return show(selected);
      hand.begin();
      hand.set(all, barValue(value));
      hand.finish();
    },
  });
  let selected = "";
  const plot = isFlat
    ? create("div", { class: "lorchestra-blocks-flat" }, ...bars.map((bar) => bar.line))
    : create("div", { class: "lorchestra-blocks-plot" }, ...bars.map(({ element }) => element), ...ones);
  const last = group.bars.length - 1;
  const numbers = !isFlat && last > 0 && create("div", { class: "lorchestra-blocks-numbers lorchestra-quiet", "aria-hidden": "true" },
    create("span", { text: String(group.bars[0].number ?? "") }), create("span", { text: String(group.bars[last].number ?? "") }));
  const element = create("div", { class: "lorchestra-blocks-group", role: "group", "aria-label": name, "data-flat": isFlat, "data-few": last < 6 },
    create("div", { class: "lorchestra-blocks-group-head" }, create("span", { text: name, title: name }), group.role !== "kinds" && last > 0 && field),
    plot, numbers);
  if (!isFlat) element.style.flexGrow = String(group.bars.length);
  listenToPointer(plot, bars, isFlat, hand, reach);
  for (const bar of bars) listenToKeys(bar, bars, hand);

  /** @returns {[number, number]} least and greatest weight of the picture */
  function reach() {
    const values = all.map(hand.value);
    return [Math.min(0, ...values), Math.max(TOP, ...values)];
  }

  /** @param {string} chosen */
  function show(chosen) {
    selected = chosen;
    const [low, high] = reach();
    const share = (/** @type {number} */ value) => ((value - low) / (high - low)) * 100;
    const values = all.map(hand.value);
    const stop = all.includes(chosen) ? chosen : all[0];
    for (const bar of bars) bar.show(hand.value(bar.id), share, { isSelected: bar.id === chosen, isStop: bar.id === stop, isKnown: hand.isKnown() });
    for (const one of ones) one.style.bottom = `${share(1)}%`;
    if (document.activeElement !== field) field.value = new Set(values).size === 1 ? formatWeight(values[0]) : "";
  }
  return {
    element, show,
    focus(id) {
      const bar = bars.find((one) => one.id === id);
      bar?.element.focus({ preventScroll: true });
      return Boolean(bar);
    },
  };
}

/** @typedef {ReturnType<typeof createBar>} BarView */

/**
 * @param {Bar} bar
 * @param {boolean} isFlat
 */
function createBar(bar, isFlat) {
  const name = barName(bar);
  const fill = create("div", { class: "lorchestra-blocks-fill" });
  const one = isFlat && create("div", { class: "lorchestra-blocks-one" });
  const element = create("div", {
    class: "lorchestra-blocks-bar", role: "slider", tabIndex: -1, "aria-orientation": isFlat ? "horizontal" : "vertical",
  }, fill, one);
  const output = create("output", { "aria-hidden": "true" });
  const track = create("div", { class: "lorchestra-blocks-track" }, element);
  return {
    id: bar.id, element,
    line: create("div", { class: "lorchestra-blocks-line" }, create("span", { text: name, title: bar.id }), track, output),
    /**
     * @param {number} value
     * @param {(value: number) => number} share of the picture, in percent
     * @param {{isSelected: boolean, isStop: boolean, isKnown: boolean}} state
     */
    show(value, share, { isSelected, isStop, isKnown }) {
      const from = share(Math.min(value, 0));
      const size = share(Math.max(value, 0)) - from;
      const said = `${name}, ${barLayers(bar, isKnown)}`;
      if (isFlat) Object.assign(fill.style, { insetInlineStart: `${from}%`, width: `${size}%` });
      else Object.assign(fill.style, { bottom: `${from}%`, height: `${size}%` });
      if (one) one.style.insetInlineStart = `${share(1)}%`;
      element.title = `${formatWeight(value)} · ${said}`;
      element.tabIndex = isStop ? 0 : -1;
      setAttribute(element, "aria-label", said);
      setAttribute(element, "aria-valuenow", rounded(value));
      setAttribute(element, "aria-valuetext", formatWeight(rounded(value)));
      setAttribute(element, "aria-valuemin", Math.min(0, rounded(value)));
      setAttribute(element, "aria-valuemax", Math.max(TOP, rounded(value)));
      setAttribute(element, "data-selected", isSelected);
      setAttribute(element, "data-untouched", isKnown && bar.touched === 0);
      output.textContent = formatWeight(rounded(value));
    },
  };
}

/**
 * A press sets the bar under it, and those that the pointer comes over until it is let go.
 * @param {HTMLElement} plot
 * @param {BarView[]} bars
 * @param {boolean} isFlat
 * @param {Hand} hand
 * @param {() => [number, number]} reach
 */
function listenToPointer(plot, bars, isFlat, hand, reach) {
  /** @type {[number, number]} that the picture had when the drag began: it stays under the hand */
  let range = [0, TOP];
  /** @type {BarView | undefined} of a flat one: a drag stays on it */
  let held;
  let dragging = false;
  const apply = (/** @type {PointerEvent} */ event) => {
    const bar = held ?? barAt(event.clientX);
    if (!bar) return;
    const rect = bar.element.getBoundingClientRect();
    const isBackwards = getComputedStyle(bar.element).direction === "rtl";
    const along = (event.clientX - rect.left) / rect.width;
    const share = clamp(isFlat ? (isBackwards ? 1 - along : along) : (rect.bottom - event.clientY) / rect.height, 0, 1);
    const step = event.shiftKey ? FINE : STEP;
    hand.select(bar.id);
    hand.set([bar.id], rounded(Math.round((range[0] + share * (range[1] - range[0])) / step) * step));
  };
  const barAt = (/** @type {number} */ x) => {
    const near = bars.map((bar) => {
      const { left, right } = bar.element.getBoundingClientRect();
      return { bar, away: x < left ? left - x : Math.max(x - right, 0) };
    });
    return near.sort((a, b) => a.away - b.away)[0]?.bar;
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const target = /** @type {Element} */ (event.target);
    held = isFlat ? bars.find(({ element }) => element.parentElement?.contains(target)) : undefined;
    if (isFlat && !held) return;
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
    dragging = true;
    range = reach();
    hand.begin();
    const pressed = held ?? barAt(event.clientX);
    pressed?.element.focus({ preventScroll: true });
    apply(event);
  });
  plot.addEventListener("pointermove", (event) => { if (dragging) apply(event); });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) plot.addEventListener(kind, () => {
    if (!dragging) return;
    dragging = false;
    hand.finish();
  });
}

/**
 * @param {BarView} bar
 * @param {BarView[]} bars
 * @param {Hand} hand
 */
function listenToKeys({ id, element }, bars, hand) {
  element.addEventListener("focus", () => hand.select(id));
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = bars.findIndex((one) => one.id === id);
    const isLine = element.getAttribute("aria-orientation") === "horizontal";
    const step = event.shiftKey ? FINE : STEP;
    const [less, more, before, next] = isLine ? ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] : ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"];
    const to = { [before]: at - 1, [next]: at + 1, Home: 0, End: bars.length - 1 }[event.key];
    const by = { [less]: -step, [more]: step, PageDown: -PAGE, PageUp: PAGE }[event.key];
    const value = { 0: 0, 1: 1, Delete: 1, Backspace: 1 }[event.key];
    if (to !== undefined) bars[clamp(to, 0, bars.length - 1)].element.focus({ preventScroll: true });
    else if (by !== undefined || value !== undefined) {
      hand.begin();
      hand.set([id], value ?? barValue(hand.value(id) + /** @type {number} */ (by)));
      if (value !== undefined) hand.finish(); // arrows go on until the key is up
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  element.addEventListener("keyup", () => hand.finish());
}
