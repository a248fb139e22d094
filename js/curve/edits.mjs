// @ts-check
/** Every change of the curve: each makes a new text for the host; what lies between `begin` and `finish` is one step of undo. */

import { nextOnGrid, niceStep } from "../values/axis.mjs";
import { clamp, rounded } from "../values/numbers.mjs";
import { insertPoint, invertedCurve, isValid, mirroredCurve, movePoint, removePoint, UNITS } from "../values/schedule.mjs";

/**
 * @typedef {import("../values/schedule.mjs").Curve} Curve
 * @typedef {import("./editor.mjs").Host} Host
 * @typedef {import("./state.mjs").CurveState} CurveState
 */

const WEIGHT_GRID = 0.05;
export const FINE_WEIGHT_GRID = 0.01;

/**
 * @param {object} of
 * @param {CurveState} of.state
 * @param {Host} of.host
 * @param {import("./plot.mjs").Plot} of.plot whose scale the grids come from, and whose points get the focus
 * @param {() => void} of.draw shows the state
 * @param {() => void} of.render shows the host's value
 */
export function createEdits({ state, host, plot, draw, render }) {
  let gesture = false;
  const begin = () => {
    if (gesture) return;
    gesture = true;
    host.begin();
  };
  const finish = () => {
    if (!gesture) return;
    gesture = false;
    host.finish();
  };
  /** One step of undo. @param {() => void} change */
  const asStep = (change) => {
    begin();
    change();
    finish();
  };
  /**
   * @param {Curve} next in the place of the edited curve
   * @returns {boolean} false where Python would not take it; then nothing is changed
   */
  const apply = (next) => {
    const all = state.curves.with(state.which, next);
    if (!state.isReady || !isValid(all)) return false;
    state.put(all);
    draw();
    return true;
  };
  /** @param {Curve} next */
  const step = (next) => {
    let done = false;
    asStep(() => { done = apply(next); });
    if (!done) draw();
    return done;
  };
  /** @param {number} index @param {boolean} [focus] whether the point gets the focus */
  const select = (index, focus = false) => {
    state.select(index);
    draw();
    if (focus) plot.points[state.selected]?.focus({ preventScroll: true });
  };
  const hasFocus = () => plot.group.contains(document.activeElement);
  const weightGrid = () => {
    const { low, high } = plot.scale?.weights ?? { low: 0, high: 1 };
    return Math.max(WEIGHT_GRID, niceStep((high - low) / 200));
  };

  return {
    begin, finish, apply, step, select, hasFocus, weightGrid,

    addAfter() {
      const { curve, keyframe: own, selected } = state;
      const { keyframes, unit } = curve;
      const { axis } = plot.scale ?? {};
      if (!axis || !state.isReady) return;
      const next = keyframes[selected + 1];
      const last = keyframes[keyframes.length - 1];
      const [from, to] = next ? [own.at, next.at]
        : last.at !== axis.end ? [last.at, axis.end] : [keyframes[selected - 1]?.at ?? axis.start, own.at];
      const middle = rounded((from + to) / 2, 4);
      const added = insertPoint(curve, unit === "step" && Math.abs(to - from) > 1 ? Math.round(middle) : middle);
      if (added && step(added.curve)) select(added.index, hasFocus());
    },
    removeSelected() {
      const focus = hasFocus();
      const next = removePoint(state.curve, state.selected);
      if (next === state.curve) return;
      const index = Math.max(state.selected - 1, 0);
      step(next);
      select(index, focus);
    },
    invert() {
      const next = invertedCurve(state.curve);
      if (next) step(next);
    },
    mirror() {
      const axis = plot.scale?.axis;
      if (!axis) return;
      const next = mirroredCurve(state.curve, axis.start, axis.end);
      state.selected = clamp(next.keyframes.length - 1 - state.selected, 0, next.keyframes.length - 1);
      step(next);
    },
    /**
     * Moves the selected point by one place of a grid; a part of a step of undo.
     * @param {"at" | "weight"} what
     * @param {1 | -1} direction to the right, or up
     * @param {boolean} fine
     */
    nudge(what, direction, fine) {
      const { curve, keyframe: own, selected } = state;
      const axis = plot.scale?.axis;
      if (!axis) return;
      if (what === "weight") {
        const grid = fine ? FINE_WEIGHT_GRID : weightGrid();
        apply(movePoint(curve, selected, { weight: nextOnGrid(own.weight, grid, direction) }));
      } else {
        const along = /** @type {1 | -1} */ (direction * UNITS[curve.unit].forward);
        const at = nextOnGrid(own.at, fine ? axis.fine : axis.grid, along);
        apply(movePoint(curve, selected, { at: clamp(at, Math.min(axis.start, axis.end), Math.max(axis.start, axis.end)) }));
      }
    },

    /** @param {number} which factor of a product */
    chooseFactor(which) {
      state.which = which;
      state.selected = 0;
      draw();
    },
    /** @param {string} name */
    choosePreset(name) {
      asStep(() => host.choose(name));
      state.which = state.selected = 0;
      render();
    },
    /** @param {string} text of a preset with its number */
    chooseText(text) {
      asStep(() => host.write(text));
      state.which = state.selected = 0;
      render();
    },
    takeSteps() {
      const { sampler } = host.run();
      if (!sampler) return;
      asStep(() => host.takeSteps?.(sampler));
      draw();
    },
  };
}

/** @typedef {ReturnType<typeof createEdits>} Edits */
