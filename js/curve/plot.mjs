// @ts-check
/** The picture of a curve: grid, line, steps and points, as SVG. It draws; what happens to it is the editor's. */

import { useStyle } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { axisOf, linePath, productPath, Scale, startsOf, weightsOf } from "../values/axis.mjs";
import { easingOf, LINEAR } from "../values/easings.mjs";
import { clamp, rounded } from "../values/numbers.mjs";
import { positionOnAxis, weightAt, writeNumber } from "../values/schedule.mjs";

/**
 * @typedef {import("../values/schedule.mjs").Curve} Curve
 * @typedef {object} Picture
 * @property {Curve} curve
 * @property {Curve[]} [others] factors that the curve is multiplied with, of the same unit
 * @property {import("../values/axis.mjs").Run} run
 * @property {number} selected number of a point
 * @property {boolean} locked points take no focus
 */

const SVG = "http://www.w3.org/2000/svg";
const SIDES = { left: 48, right: 14, top: 11, bottom: 32 };
const REACH = 12; // of a point, in pixels
const STYLE = `
.lorchestra-curve-plot {
  position: relative; flex: 1; min-height: 96px; overflow: hidden; border-radius: 6px; touch-action: none;
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); user-select: none; cursor: crosshair;
}
.lorchestra-curve-plot svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.lorchestra-curve-plot text { fill: var(--lorchestra-quiet); font-size: 10px; font-variant-numeric: tabular-nums; }
.lorchestra-curve-plot text.lorchestra-curve-axis { font-size: 11px; }
.lorchestra-curve-grid { stroke: var(--lorchestra-line); stroke-width: 1; opacity: 0.55; fill: none; }
.lorchestra-curve-zero { stroke: var(--lorchestra-quiet); stroke-width: 1; opacity: 0.6; fill: none; }
.lorchestra-curve-fill { fill: var(--lorchestra-accent); opacity: 0.14; stroke: none; }
.lorchestra-curve-line { fill: none; stroke: var(--lorchestra-accent); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.lorchestra-curve-product { fill: none; stroke: var(--lorchestra-quiet); stroke-width: 1.25; stroke-dasharray: 4 3; }
.lorchestra-curve-way { fill: none; stroke: var(--lorchestra-accent); stroke-width: 6; opacity: 0.28; stroke-linecap: round; stroke-linejoin: round; }
.lorchestra-curve-steps { fill: none; stroke: color-mix(in srgb, var(--lorchestra-text) 80%, var(--lorchestra-accent)); stroke-width: 3.6; stroke-linecap: round; }
.lorchestra-curve-point { cursor: grab; }
.lorchestra .lorchestra-curve-point:is(:focus, :focus-visible) { outline: none; }
.lorchestra-curve-point .lorchestra-curve-knob { fill: var(--lorchestra-field); stroke: var(--lorchestra-accent); stroke-width: 2; }
.lorchestra-curve-point.lorchestra-selected .lorchestra-curve-knob { fill: var(--lorchestra-accent); }
.lorchestra-curve-point:hover .lorchestra-curve-knob { stroke: var(--lorchestra-text); }
.lorchestra-curve-reach { fill: transparent; stroke: none; }
.lorchestra-curve-ring { fill: none; stroke: transparent; stroke-width: 2; }
.lorchestra-curve-point:focus-visible .lorchestra-curve-ring { stroke: var(--lorchestra-text); }
.lorchestra-curve-plot[data-dragging] , .lorchestra-curve-plot[data-dragging] .lorchestra-curve-point { cursor: grabbing; }
.lorchestra-curve[data-state="wrong"] svg, .lorchestra-curve[data-state="locked"] svg { opacity: 0.4; }
.lorchestra-curve:not([data-state="ready"]) :is(.lorchestra-curve-plot, .lorchestra-curve-point) { cursor: default; }
`;

/** @type {Record<Curve["unit"], () => string>} what the axis along the run is called */
const AXES = {
  progress: () => t("Progress of the sampling, in %"), step: () => t("Step"), sigma: () => t("Sigma"),
};

/** One picture that is drawn anew whenever something changes. Its points stay, so that they keep the focus. */
export class Plot {
  constructor() {
    useStyle("curvePlot", STYLE);
    this.element = document.createElement("div");
    this.element.className = "lorchestra-curve-plot";
    this.svg = make("svg", { role: "group", "aria-label": t("Points of the curve") });
    this.element.append(this.svg);
    this.grid = make("path", { class: "lorchestra-curve-grid" });
    this.zero = make("path", { class: "lorchestra-curve-zero" });
    this.labels = make("g", { "aria-hidden": "true" });
    this.fill = make("path", { class: "lorchestra-curve-fill" });
    this.way = make("path", { class: "lorchestra-curve-way" });
    this.product = make("path", { class: "lorchestra-curve-product" });
    this.line = make("path", { class: "lorchestra-curve-line" });
    this.steps = make("path", { class: "lorchestra-curve-steps" });
    this.group = make("g", {});
    this.svg.append(this.grid, this.zero, this.labels, this.fill, this.way, this.product, this.line, this.steps, this.group);
    /** @type {SVGElement[]} */
    this.points = [];
    /** @type {Scale | undefined} */
    this.scale = undefined;
    /** @type {Curve | undefined} */
    this.curve = undefined;
  }

  /**
   * Draws into the size that the element has now. Returns false while it has no size.
   * @param {Picture} picture
   */
  draw({ curve, others = [], run, selected, locked }) {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (width < SIDES.left + SIDES.right + 8 || height < SIDES.top + SIDES.bottom + 8) return false;
    const box = {
      left: SIDES.left, top: SIDES.top, width: width - SIDES.left - SIDES.right, height: height - SIDES.top - SIDES.bottom,
    };
    const axis = axisOf(curve, run);
    const scale = new Scale(axis, weightsOf(curve.keyframes.map((one) => one.weight)), box);
    this.scale = scale;
    this.curve = curve;
    this.drawGrid(scale, curve.unit, height);
    const line = linePath(curve, scale);
    const zero = scale.y(clamp(0, scale.weights.low, scale.weights.high));
    set(this.line, { d: line });
    set(this.fill, { d: `${line}V${zero}H${scale.x(axis.start)}Z` });
    set(this.way, { d: curve.keyframes[selected + 1] && !locked ? linePath(curve, scale, selected) : "" });
    set(this.product, { d: others.length ? productPath([curve, ...others], scale) : "" });
    const dots = startsOf(curve, run).filter((at) => scale.x(at) >= box.left - 1 && scale.x(at) <= box.left + box.width + 1);
    set(this.steps, { d: dots.map((at) => `M${scale.x(at)} ${scale.y(weightAt(curve, at))}h0`).join("") });
    this.drawPoints(curve, scale, selected, locked);
    return true;
  }

  /**
   * @param {Scale} scale
   * @param {Curve["unit"]} unit
   * @param {number} height of the element
   */
  drawGrid(scale, unit, height) {
    const { box, axis, weights } = scale;
    const across = weights.ticks.map((tick) => `M${box.left} ${scale.y(tick)}h${box.width}`);
    const up = axis.ticks.map((tick) => `M${scale.x(tick)} ${box.top}v${box.height}`);
    set(this.grid, { d: [...across, ...up].join("") });
    set(this.zero, { d: `M${box.left} ${scale.y(0)}h${box.width}` });
    const apart = box.height / Math.max(weights.ticks.length - 1, 1);
    const every = Math.max(Math.ceil(13 / apart), 1);
    const names = [
      ...weights.ticks.filter((_, index) => index % every === 0).map((tick) =>
        label(writeNumber(tick), box.left - 6, scale.y(tick) + 3.5, "end")),
      ...axis.ticks.map((tick) => label(writeNumber(rounded(tick * (unit === "progress" ? 100 : 1), 9)), scale.x(tick), height - 19, "middle")),
      axisName(AXES[unit](), box.left + box.width / 2, height - 5),
      axisName(t("Weight"), 11, box.top + box.height / 2, -90),
    ];
    this.labels.replaceChildren(...names);
  }

  /**
   * @param {Curve} curve
   * @param {Scale} scale
   * @param {number} selected
   * @param {boolean} locked
   */
  drawPoints(curve, scale, selected, locked) {
    const { keyframes } = curve;
    while (this.points.length > keyframes.length) this.points.pop()?.remove();
    const crowded = scale.box.width / keyframes.length < 9;
    const radius = crowded ? 3 : 4.5;
    for (const [index, keyframe] of keyframes.entries()) {
      const point = this.points[index] ?? this.addPoint();
      const words = sentenceOf(keyframe, index, curve.unit);
      set(point, {
        transform: `translate(${scale.x(keyframe.at)} ${scale.y(keyframe.weight)})`,
        class: `lorchestra-curve-point${index === selected ? " lorchestra-selected" : ""}`,
        tabindex: !locked && index === selected ? "0" : "-1",
        "aria-label": words, "aria-valuetext": words, "aria-valuenow": writeNumber(keyframe.weight),
        "aria-valuemin": "-100", "aria-valuemax": "100", "aria-disabled": locked ? "true" : "false",
      });
      const [reach, ring, knob] = point.children;
      set(/** @type {SVGElement} */ (reach), { r: String(crowded ? 5 : REACH) });
      set(/** @type {SVGElement} */ (ring), { r: String(radius + 4) });
      set(/** @type {SVGElement} */ (knob), { r: String(radius) });
    }
  }

  addPoint() {
    const point = make("g", { role: "slider", "aria-roledescription": t("point") });
    point.append(make("circle", { class: "lorchestra-curve-reach" }), make("circle", { class: "lorchestra-curve-ring" }),
      make("circle", { class: "lorchestra-curve-knob" }));
    this.points.push(point);
    this.group.append(point);
    return point;
  }

  /**
   * Where a pointer is in the picture, whatever size the canvas shows it in.
   * @param {MouseEvent} event
   */
  locate(event) {
    const rect = this.svg.getBoundingClientRect();
    const { clientWidth: width, clientHeight: height } = this.element;
    return { x: ((event.clientX - rect.left) * width) / rect.width, y: ((event.clientY - rect.top) * height) / rect.height };
  }

  /**
   * Number of the point that is meant, or -1. Of several at one place the selected one is, so that it can be dragged on.
   * @param {{x: number, y: number}} place
   * @param {number} selected
   */
  nearest({ x, y }, selected) {
    const { scale, curve } = this;
    if (!scale || !curve) return -1;
    let found = -1;
    let least = REACH + 0.01;
    for (const [index, { at, weight }] of curve.keyframes.entries()) {
      const far = Math.hypot(scale.x(at) - x, scale.y(weight) - y) - (index === selected ? 0.5 : 0);
      if (far <= least) [found, least] = [index, far];
    }
    return found;
  }
}

/**
 * What a screen reader says of a point, e.g. `point 2: at 30%, weight 1, ease`.
 * @param {import("../values/schedule.mjs").Keyframe} keyframe
 * @param {number} index
 * @param {Curve["unit"]} unit
 */
function sentenceOf({ at, weight, easing }, index, unit) {
  const values = { number: index + 1, at: positionOnAxis(at, unit), weight: writeNumber(weight) };
  const words = t("point {number}: at {at}, weight {weight}", values);
  return easing === LINEAR ? words : `${words}, ${easingOf(easing)?.short ?? easing}`;
}

/**
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {string} anchor
 */
function label(text, x, y, anchor) {
  const element = make("text", { x: String(x), y: String(y), "text-anchor": anchor });
  element.textContent = text;
  return element;
}

/**
 * @param {string} text
 * @param {number} x its middle
 * @param {number} y
 * @param {number} [turn] degrees
 */
function axisName(text, x, y, turn = 0) {
  const element = label(text, x, y, "middle");
  set(element, { class: "lorchestra-curve-axis", ...(turn && { transform: `rotate(${turn} ${x} ${y})` }) });
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 */
function make(tag, attributes) {
  const element = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  set(element, attributes);
  return element;
}

/**
 * @param {SVGElement} element
 * @param {Record<string, string>} attributes
 */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}
