// @ts-check
/** What the pointer does on the picture: selects, drags and adds points, and opens their menu. */

import { onGrid } from "../values/axis.mjs";
import { insertPoint, movePoint, UNITS, weightAt } from "../values/schedule.mjs";
import { FINE_WEIGHT_GRID } from "./edits.mjs";
import { openPointMenu } from "./menus.mjs";

const DEAD_ZONE = 3; // pixels that a pointer may go astray before the point leaves its position or its weight
const ON_LINE = 10; // pixels

/**
 * @typedef {object} Drag
 * @property {number} index of the point
 * @property {number} id of the pointer
 * @property {number} x where it was pressed
 * @property {number} y
 * @property {import("../values/schedule.mjs").Curve} curve as it was then
 * @property {import("../values/axis.mjs").Scale} scale
 * @property {boolean} movedAt whether the point has left its position
 * @property {boolean} movedWeight
 */

/**
 * @param {import("./plot.mjs").Plot} plot
 * @param {import("./state.mjs").CurveState} state
 * @param {import("./edits.mjs").Edits} edits
 * @param {() => void} draw
 */
export function listenToPointer(plot, state, edits, draw) {
  /** @type {Drag | undefined} */
  let drag;

  /** @param {import("../values/axis.mjs").Scale} scale @param {{x: number, y: number}} place */
  const isOnLine = (scale, { x, y }) => Math.abs(scale.y(weightAt(state.curve, scale.at(x))) - y) <= ON_LINE;

  /** A press beside all points selects the one before it on the line. @param {{x: number, y: number}} place */
  const selectOnLine = (place) => {
    const { scale } = plot;
    if (!scale) return;
    const { keyframes, unit } = state.curve;
    const at = scale.at(place.x);
    const index = isOnLine(scale, place) ? keyframes.findLastIndex((one) => UNITS[unit].forward * (at - one.at) >= 0) : -1;
    if (index >= 0) edits.select(index, true);
    else if (!edits.hasFocus()) plot.points[state.selected]?.focus({ preventScroll: true });
  };
  plot.svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !state.isReady || !plot.scale || drag) return;
    event.preventDefault(); // no text is selected
    const place = plot.locate(event);
    const index = plot.nearest(place, state.selected);
    if (index < 0) {
      selectOnLine(place);
      return;
    }
    edits.select(index, true);
    plot.svg.setPointerCapture(event.pointerId);
    plot.element.dataset.dragging = "";
    drag = { index, id: event.pointerId, ...place, curve: state.curve, scale: plot.scale, movedAt: false, movedWeight: false };
  });
  plot.svg.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.id) return;
    const { scale, index } = drag;
    const place = plot.locate(event);
    drag.movedAt ||= Math.abs(place.x - drag.x) > DEAD_ZONE;
    drag.movedWeight ||= Math.abs(place.y - drag.y) > DEAD_ZONE;
    if (!drag.movedAt && !drag.movedWeight) return;
    const own = drag.curve.keyframes[index];
    const at = scale.at(scale.x(own.at) + place.x - drag.x);
    const level = scale.weight(scale.y(own.weight) + place.y - drag.y);
    const { axis } = scale;
    const next = movePoint(drag.curve, index, {
      at: drag.movedAt ? onGrid(at, event.shiftKey ? axis.fine : axis.grid) : own.at,
      weight: drag.movedWeight ? onGrid(level, event.shiftKey ? FINE_WEIGHT_GRID : edits.weightGrid()) : own.weight,
    });
    const now = state.keyframe;
    const { at: nextAt, weight: nextWeight } = next.keyframes[index];
    if (nextAt === now.at && nextWeight === now.weight) return;
    edits.begin();
    edits.apply(next);
  });
  const end = () => {
    if (!drag) return;
    drag = undefined;
    delete plot.element.dataset.dragging;
    edits.finish();
    draw();
  };
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) plot.svg.addEventListener(kind, end);

  plot.svg.addEventListener("dblclick", (event) => {
    event.preventDefault();
    const { scale } = plot;
    if (!state.isReady || !scale) return;
    const place = plot.locate(event);
    if (plot.nearest(place, state.selected) >= 0) return;
    const { axis } = scale;
    const at = onGrid(scale.at(place.x), event.shiftKey ? axis.fine : Math.min(axis.grid, UNITS[state.curve.unit].fine * 10));
    const level = isOnLine(scale, place) ? undefined : onGrid(scale.weight(place.y), edits.weightGrid());
    const added = insertPoint(state.curve, at, level);
    if (added && edits.step(added.curve)) edits.select(added.index, true);
  });
  plot.svg.addEventListener("contextmenu", (event) => {
    const focused = plot.points.indexOf(/** @type {SVGGElement} */ (document.activeElement));
    const index = event.button === 2 ? plot.nearest(plot.locate(event), state.selected) : focused;
    if (index < 0 || !state.isReady) return;
    event.preventDefault();
    event.stopPropagation();
    edits.select(index, true);
    const isAtPointer = event.clientX !== 0 || event.clientY !== 0; // not where a key asked for it
    openPointMenu(isAtPointer ? { x: event.clientX, y: event.clientY } : plot.points[index], index, state, edits);
  });

  return {
    isDragging: () => drag !== undefined,
    /** Forgets the drag; what it has done so far stays. */
    cancel: () => { drag = undefined; },
  };
}
