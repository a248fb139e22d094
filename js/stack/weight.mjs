// @ts-check
/** A number on a row: typed, stepped by keys or the wheel, dragged to the side; a double click resets it. */

import { create, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { ends, inShort, scaled } from "../values/course.mjs";
import { WEIGHT_LIMIT } from "../values/limits.mjs";
import { clamp, formatWeight, readNumber, rounded } from "../values/numbers.mjs";

const FINE = 0.01;
const COARSE = 0.5;
const COARSE_DRAG = 0.1; // a drag passes many steps
const PIXELS_A_STEP = 4;
const STILL = 3; // pixels that a press may move and still be a click
const WHEEL_PAUSE = 400; // after which a turn of the wheel is one step of undo

/**
 * @typedef {object} WeightActions
 * @property {() => number} step of a plain key or turn of the wheel
 * @property {(value: number) => void} live takes a value that may still change
 * @property {(value: number) => void} commit
 * @property {() => void} settle makes one step of undo of what was live
 * @property {() => void} reset
 */

/**
 * @typedef {object} Weight as it is shown
 * @property {number} value
 * @property {string} label
 * @property {string} letter of its column; empty if there is one column
 * @property {boolean} [same] whether it is another weight's, until it is given one of its own
 * @property {number[] | null} [course] of the schedule that it is multiplied with
 */

/**
 * @param {WeightActions} actions
 * @returns {{element: HTMLElement, show: (weight: Weight) => void, edit: () => void}}
 */
export function createWeight(actions) {
  const letter = create("span", { class: "lorchestra-weight-letter", "aria-hidden": "true" });
  const number = create("span", { class: "lorchestra-weight-number" });
  const spin = create("span", {
    class: "lorchestra-weight-spin", role: "spinbutton", tabIndex: 0, "aria-valuemin": -WEIGHT_LIMIT, "aria-valuemax": WEIGHT_LIMIT,
  }, letter, number);
  const element = create("span", { class: "lorchestra-weight", "data-capture-wheel": "true" }, spin);
  let value = 0;
  let label = "";
  let same = false;
  /** @type {HTMLInputElement | null} */
  let input = null;
  let turning = 0;

  /** @param {number[] | null} course */
  const display = (course) => {
    number.textContent = inShort(value, course);
    setAttribute(spin, "aria-valuenow", value);
    setAttribute(spin, "aria-valuetext", inWords(value, course));
    spin.classList.toggle("lorchestra-weight-course", number.textContent !== formatWeight(value));
  };
  /** @param {{shiftKey: boolean, ctrlKey: boolean, metaKey: boolean}} event @param {number} coarse */
  const stepOf = (event, coarse) => (event.shiftKey ? FINE : event.ctrlKey || event.metaKey ? coarse : actions.step());
  /** @param {number} from @param {number} by */
  const stepped = (from, by) => clamp(rounded(from + by), -WEIGHT_LIMIT, WEIGHT_LIMIT);
  const settleTurn = () => {
    if (!turning) return;
    window.clearTimeout(turning);
    turning = 0;
    actions.settle();
  };

  /** @param {string} [typed] the first key, which replaces the number */
  const edit = (typed) => {
    if (input) return;
    const field = create("input", {
      class: "lorchestra-weight-input", type: "text", inputMode: "decimal", "aria-label": label, value: typed ?? formatWeight(value),
      autocomplete: "off", spellcheck: false,
    });
    input = field;
    let done = false;
    const close = (/** @type {boolean} */ keep, /** @type {boolean} */ focus) => {
      if (done) return;
      done = true;
      input = null;
      const read = keep ? readNumber(field.value) : null;
      const isEntered = same && focus; // the same number may be meant as its own
      field.replaceWith(spin);
      if (focus) spin.focus({ preventScroll: true });
      if (read !== null && (isEntered || rounded(read, 6) !== value)) actions.commit(clamp(rounded(read, 6), -WEIGHT_LIMIT, WEIGHT_LIMIT));
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Enter" || event.key === "Escape") close(event.key === "Enter", true);
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        const by = stepOf(event, COARSE) * (event.key === "ArrowUp" ? 1 : -1);
        field.value = formatWeight(stepped(readNumber(field.value) ?? value, by));
      } else return;
      event.preventDefault();
    });
    for (const kind of ["keyup", "copy", "cut", "paste"]) field.addEventListener(kind, (event) => event.stopPropagation());
    field.addEventListener("blur", () => close(field.isConnected, false));
    spin.replaceWith(field);
    field.focus({ preventScroll: true });
    if (typed === undefined) field.select();
  };

  spin.addEventListener("keydown", (event) => {
    if (event.altKey || event.isComposing) return;
    const directions = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    const direction = directions[/** @type {keyof typeof directions} */ (event.key)];
    if (direction) {
      const next = stepped(value, direction * stepOf(event, COARSE));
      if (event.repeat) actions.live(next);
      else actions.commit(next);
    } else if (event.key === "Enter" || event.key === "F2") edit();
    else if (/^[-+\d.,]$/.test(event.key) && !event.ctrlKey && !event.metaKey) edit(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  spin.addEventListener("keyup", (event) => { if (/^(Arrow|Page)(Up|Down)$/.test(event.key)) actions.settle(); });
  spin.addEventListener("wheel", (event) => {
    if (document.activeElement !== spin || Math.abs(event.deltaY) < Math.abs(event.deltaX)) return;
    event.preventDefault();
    event.stopPropagation();
    actions.live(stepped(value, (event.deltaY < 0 ? 1 : -1) * stepOf(event, COARSE_DRAG)));
    window.clearTimeout(turning);
    turning = window.setTimeout(settleTurn, WHEEL_PAUSE);
  }, { passive: false });
  spin.addEventListener("blur", settleTurn);

  spin.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault(); // no selection of text, and no focus by the press
    spin.focus({ preventScroll: true });
    spin.setPointerCapture(event.pointerId);
    const { clientX } = event;
    let last = clientX;
    let exact = value;
    let dragging = false;
    const move = (/** @type {PointerEvent} */ now) => {
      if (!dragging && Math.abs(now.clientX - clientX) <= STILL) return;
      dragging = true;
      spin.classList.add("lorchestra-dragged");
      const step = stepOf(now, COARSE_DRAG);
      exact = clamp(exact + ((now.clientX - last) / PIXELS_A_STEP) * step, -WEIGHT_LIMIT, WEIGHT_LIMIT);
      last = now.clientX;
      const next = rounded(Math.round(exact / step) * step);
      if (next !== value) actions.live(next);
    };
    const end = (/** @type {PointerEvent} */ now) => {
      spin.removeEventListener("pointermove", move);
      spin.removeEventListener("pointerup", end);
      spin.removeEventListener("pointercancel", end);
      spin.classList.remove("lorchestra-dragged");
      if (dragging) actions.settle();
      else if (now.type === "pointerup") edit();
    };
    spin.addEventListener("pointermove", move);
    spin.addEventListener("pointerup", end);
    spin.addEventListener("pointercancel", end);
  });
  element.addEventListener("dblclick", (event) => {
    event.stopPropagation();
    if (input) {
      input.value = "";
      input.blur();
    }
    if (!same) actions.reset();
    spin.focus({ preventScroll: true });
  });

  return {
    element,
    edit: () => edit(),
    show: (weight) => {
      value = weight.value;
      label = weight.label;
      same = weight.same ?? false;
      const course = weight.course ?? null;
      letter.textContent = weight.letter;
      element.classList.toggle("lorchestra-weight-lettered", weight.letter !== "");
      element.classList.toggle("lorchestra-weight-same", same);
      setAttribute(spin, "aria-label", label);
      const how = t("{label}. Type, scroll or drag; Shift: fine, Ctrl: coarse; double-click: default", { label });
      const over = inWords(value, course);
      spin.title = over ? `${how}\n${over}` : how;
      display(course);
    },
  };
}

/**
 * What a weight with a schedule is over the run.
 * @param {number} value
 * @param {number[] | null} course
 * @returns {string | null} null where it is the same as without
 */
function inWords(value, course) {
  const weights = scaled(value, course);
  if (weights.length === 1 && weights[0] === value) return null;
  const [weight, ...over] = [value, ...weights].map(formatWeight);
  if (over.length === 1) return t("{weight}, with the schedule {over}", { weight, over: over[0] });
  if (over.length === 2) return t("{weight}, over the steps from {first} to {last}", { weight, first: over[0], last: over[1] });
  const { low, high } = ends(weights);
  return t("{weight}, over the steps between {low} and {high}", { weight, low: formatWeight(low), high: formatWeight(high) });
}
