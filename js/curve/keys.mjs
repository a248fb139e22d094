// @ts-check
/** What keys do: on the points of the picture, and in the fields of the selected one. */

import { readNumber } from "../values/numbers.mjs";
import { movePoint, readSchedule } from "../values/schedule.mjs";

/**
 * @typedef {import("./state.mjs").CurveState} CurveState
 * @typedef {import("./edits.mjs").Edits} Edits
 */

/**
 * @param {HTMLElement} picture
 * @param {CurveState} state
 * @param {Edits} edits
 */
export function listenToPointKeys(picture, state, edits) {
  /** @type {Record<string, (fine: boolean) => void>} in one step of undo until the key is up */
  const moves = {
    ArrowLeft: (fine) => edits.nudge("at", -1, fine),
    ArrowRight: (fine) => edits.nudge("at", 1, fine),
    ArrowDown: (fine) => edits.nudge("weight", -1, fine),
    ArrowUp: (fine) => edits.nudge("weight", 1, fine),
  };
  /** @type {Record<string, () => void>} */
  const others = {
    PageUp: () => edits.select(state.selected - 1, true),
    PageDown: () => edits.select(state.selected + 1, true),
    Home: () => edits.select(0, true),
    End: () => edits.select(state.curve.keyframes.length - 1, true),
    Delete: edits.removeSelected,
    Backspace: edits.removeSelected,
    Insert: edits.addAfter,
    "+": edits.addAfter,
  };
  picture.addEventListener("keydown", (event) => {
    if (!state.isReady || event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) {
      edits.begin();
      moves[event.key](event.shiftKey);
    } else if (others[event.key]) {
      edits.finish();
      others[event.key]();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/**
 * @param {HTMLInputElement} field
 * @param {"at" | "weight"} what of the selected point
 * @param {CurveState} state
 * @param {Edits} edits
 * @param {() => void} draw
 */
export function listenToField(field, what, state, edits, draw) {
  field.addEventListener("change", () => {
    if (field.value === field.dataset.shown || !state.isReady) return;
    const value = what === "at" ? readPosition(field.value, state) : readNumber(field.value);
    delete field.dataset.shown;
    if (value === null) draw();
    else edits.step(movePoint(state.curve, state.selected, { [what]: value }));
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) field.dispatchEvent(new Event("change"));
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      edits.begin();
      edits.nudge(what, event.key === "ArrowUp" ? 1 : -1, event.shiftKey);
    }
  });
}

/**
 * @param {string} typed e.g. `30%`, `1/3`, `0.3`; a number above 1 means percent
 * @param {CurveState} state
 */
function readPosition(typed, { curve: { unit } }) {
  const plain = typed.trim().replace(",", ".");
  const read = (/** @type {string} */ at) => readSchedule(`${unit} ${at}:0`)?.[0].keyframes[0].at ?? null;
  return read(plain) ?? (unit === "progress" ? read(`${plain}%`) : null);
}
