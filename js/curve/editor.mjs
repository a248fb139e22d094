// @ts-check
/**
 * The curve editor: a picture with points to drag, fields for the selected one, and the text that is their value.
 * `state` says what there is to show, `edits` change it, `plot` and `bars` draw it, `pointer` and `keys` hear the user.
 */

import { create, ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { holdAsRightClick } from "../base/touch.mjs";
import { t } from "../base/words.mjs";
import { createBars, createText } from "./bars.mjs";
import { createEdits } from "./edits.mjs";
import { listenToField, listenToPointKeys } from "./keys.mjs";
import { Plot } from "./plot.mjs";
import { listenToPointer } from "./pointer.mjs";
import { CurveState } from "./state.mjs";
import { STYLE } from "./style.mjs";

export const CURVE_CLASS = "lorchestra-curve";

/**
 * Where the editor's value is, and what is known around it.
 * @typedef {object} Host
 * @property {() => {text: string, locked?: string, preset?: string}} read the value; `locked` says why it cannot be
 *   edited; `preset` is the name of the chosen one
 * @property {(text: string) => void} write takes another text
 * @property {(name: string) => void} choose takes a preset
 * @property {() => void} begin what is written until `finish` is one step of undo
 * @property {() => void} finish
 * @property {(text: string) => Promise<import("../values/schedule.mjs").Answer>} ask the server's answer to a text
 * @property {() => import("../values/axis.mjs").Run} run the sampler's steps, as far as they are known
 * @property {(steps: number) => void} [takeSteps] shows the sampler's steps, where the node has others
 * @property {boolean} [withText] the text stands in the editor, too
 * @property {string} [whenEmpty] said where the text is empty, if that means something
 */

/**
 * @param {Host} host
 * @returns {{element: HTMLElement, render: () => void, destroy: () => void}} `render` shows the host's value
 */
export function createCurveEditor(host) {
  useStyle("curve", STYLE);
  const plot = new Plot();
  /** Shows the state. */
  const draw = () => {
    const { curve, curves, isReady } = state;
    state.select(state.selected);
    element.dataset.state = state.phase;
    const run = host.run();
    const others = curves.every((one) => one.unit === curve.unit) ? curves.filter((one) => one !== curve) : [];
    plot.draw({ curve, others, run, selected: state.selected, locked: !isReady });
    bars.show(run);
    showText();
  };
  const showText = () => {
    if (!text) return;
    const { text: value } = host.read();
    if (text.value !== value) text.value = value;
    text.setAttribute("aria-invalid", String(state.error !== ""));
  };
  /** Shows the host's value. */
  const render = () => {
    if (state.refresh()) pointer.cancel();
    draw();
  };
  const state = new CurveState(host, draw);
  const edits = createEdits({ state, host, plot, draw, render });
  const bars = createBars(state, edits, host);
  const text = host.withText ? createText(host, edits, render) : undefined;
  const element = create("div", { class: `${ROOT_CLASS} ${CURVE_CLASS}`, role: "group", "aria-label": t("Curve editor") },
    bars.top, plot.element, bars.bottom, text);

  const pointer = listenToPointer(plot, state, edits, draw);
  holdAsRightClick(plot.element);
  listenToPointKeys(plot.element, state, edits);
  listenToField(bars.fields.position, "at", state, edits, draw);
  listenToField(bars.fields.weight, "weight", state, edits, draw);
  // On the HTML element: Chromium lets SVG elements with such listeners take the focus themselves.
  plot.element.addEventListener("focusin", (event) => {
    const index = plot.points.indexOf(/** @type {SVGGElement} */ (event.target));
    if (index >= 0 && index !== state.selected) edits.select(index);
  });
  const finish = () => { if (!pointer.isDragging()) edits.finish(); };
  element.addEventListener("keyup", finish);
  element.addEventListener("focusout", finish);
  element.addEventListener("dblclick", (event) => event.stopPropagation());
  // Delete, letters and the like are the canvas's shortcuts, but not while something in here has the focus.
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape") event.stopPropagation();
  });
  element.addEventListener("pointerenter", () => { if (!pointer.isDragging()) render(); });

  const observer = new ResizeObserver(draw);
  observer.observe(plot.element);
  render();
  return {
    element,
    render,
    destroy() {
      observer.disconnect();
      state.stop();
      pointer.cancel();
      edits.finish();
    },
  };
}
